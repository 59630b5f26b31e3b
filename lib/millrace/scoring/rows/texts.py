"""What becomes of the texts of one row."""

from __future__ import annotations

from math import log, sqrt

from millrace.plan.kinds import WORD_PATTERN
from millrace.plan.kinds.texts import with_defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    Tokens = Callable[[Sequence[Any]], Iterable[str]]

__all__ = ["KINDS", "hashed", "murmur_hash", "tokens"]

_NAN = float("nan")
_BITS = 0xFFFFFFFF


def tokens(spec: dict[str, Any]) -> Tokens:
    """Return what cuts the row of an encoder into tokens; ``plan.kinds.texts`` describes them."""
    # Imported here, and below: not every text needs all of them.
    import re

    kind = spec["tokens"]
    if kind == "inputs":
        return lambda row: [value for value in row if value is not None]
    clean = _cleaner(spec["lower"], spec["accents"])
    fewest, most = spec["ngrams"]
    if kind == "words":
        find, stop = re.compile(WORD_PATTERN).findall, frozenset(spec["stop"])
        if most == 1 and not stop:
            return lambda row: find(clean(row[0] or ""))
        return lambda row: _grams([w for w in find(clean(row[0] or "")) if w not in stop], fewest, most)
    squeeze = re.compile(r"\s\s+").sub
    if kind == "characters":
        return lambda row: _slices(squeeze(" ", clean(row[0] or "")), fewest, most)
    return lambda row: [
        token for word in clean(row[0] or "").split() for token in _slices_of_word(f" {word} ", fewest, most)
    ]


def _cleaner(lower: bool, accents: str | None) -> Callable[[str], str]:
    if accents is None:
        return str.lower if lower else str
    from unicodedata import combining, normalize

    def clean(text: str) -> str:
        text = text.lower() if lower else text
        if text.isascii():
            return text
        text = normalize("NFKD", text)
        if accents == "ascii":
            return text.encode("ascii", "ignore").decode("ascii")
        return "".join([letter for letter in text if not combining(letter)])

    return clean


def _grams(words: list[str], fewest: int, most: int) -> list[str]:
    result = list(words) if fewest == 1 else []
    for size in range(max(fewest, 2), min(most, len(words)) + 1):
        result += [" ".join(words[i : i + size]) for i in range(len(words) - size + 1)]
    return result


def _slices(text: str, fewest: int, most: int) -> list[str]:
    return [
        text[i : i + size]
        for size in range(fewest, min(most, len(text)) + 1)
        for i in range(len(text) - size + 1)
    ]


def _slices_of_word(word: str, fewest: int, most: int) -> list[str]:
    # A word that is shorter than the shortest slice is a token itself.
    return _slices(word, fewest, most) if len(word) > fewest else [word]


def murmur_hash(data: bytes) -> int:
    """Return MurmurHash3 as a signed integer of 32 bits.

    Notes
    -----
    A. Appleby, "MurmurHash3", https://github.com/aappleby/smhasher: ``MurmurHash3_x86_32`` with seed 0. It is
    in the public domain.
    """
    whole = len(data) & ~3
    found = 0
    for start in range(0, whole, 4):
        block = int.from_bytes(data[start : start + 4], "little") * 0xCC9E2D51 & _BITS
        block = (block << 15 | block >> 17) & _BITS
        found ^= block * 0x1B873593 & _BITS
        found = (found << 13 | found >> 19) & _BITS
        found = found * 5 + 0xE6546B64 & _BITS
    if whole < len(data):
        block = int.from_bytes(data[whole:], "little") * 0xCC9E2D51 & _BITS
        block = (block << 15 | block >> 17) & _BITS
        found ^= block * 0x1B873593 & _BITS
    found ^= len(data)
    found = (found ^ found >> 16) * 0x85EBCA6B & _BITS
    found = (found ^ found >> 13) * 0xC2B2AE35 & _BITS
    found ^= found >> 16
    return found - (1 << 32) if found >> 31 else found


def hashed(token: str, width: int, signed: bool) -> tuple[int, float]:
    """Return the output at which a token is counted, and what it counts."""
    number = murmur_hash(token.encode("utf-8", "surrogatepass"))
    return abs(number) % width, -1.0 if signed and number < 0 else 1.0


class _Weights:
    """What a document's counts become."""

    __slots__ = ("_idf", "_norm", "_sublinear", "width")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview], width: int) -> None:
        self._idf = None if spec["idf"] is None else arrays[spec["idf"]].tolist()
        self._norm, self._sublinear, self.width = spec["norm"], spec["sublinear"], width

    def sparse(self, counts: dict[int, float]) -> tuple[list[int], list[float]]:
        """Return the outputs that a document has, ascending, and their weights."""
        outputs = sorted(counts)
        weights = [counts[output] for output in outputs]
        if self._sublinear:
            weights = [log(weight) + 1.0 if weight > 0.0 else _NAN for weight in weights]
        if self._idf is not None:
            idf = self._idf
            weights = [weight * idf[output] for output, weight in zip(outputs, weights, strict=True)]
        if self._norm is not None:
            # In the order of the outputs, and not by sum(): a tree may split between two documents whose
            # weights differ in the last bit, so that bit has to be scikit-learn's.
            length = 0.0
            if self._norm == "l2":
                for weight in weights:
                    length += weight * weight
                length = sqrt(length)
            else:
                for weight in weights:
                    length += abs(weight)
            if length:
                weights = [weight / length for weight in weights]
        return outputs, weights

    def dense(self, counts: dict[int, float]) -> list[float]:
        result = [0.0] * self.width
        for output, weight in zip(*self.sparse(counts), strict=True):
            result[output] = weight
        return result


class Words:
    """Weights of the terms in one document."""

    __slots__ = ("_binary", "_numbers", "_tokens", "_weights", "width")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        spec = with_defaults(spec)
        self._tokens = tokens(spec)
        self._numbers = {term: i for i, term in enumerate(spec["terms"])}
        self._binary: bool = spec["binary"]
        self.width = len(spec["terms"])
        self._weights = _Weights(spec, arrays, self.width)

    def _counts(self, row: Sequence[Any]) -> dict[int, float]:
        counts: dict[int, float] = {}
        number_of = self._numbers.get
        for token in self._tokens(row):
            number = number_of(token)
            if number is not None:
                counts[number] = counts.get(number, 0.0) + 1.0
        return dict.fromkeys(counts, 1.0) if self._binary else counts

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        return self._weights.dense(self._counts(row))

    def sparse(self, row: Sequence[Any]) -> tuple[list[int], list[float]]:
        """Return the outputs that are not 0, ascending, and their values."""
        return self._weights.sparse(self._counts(row))


class Hash:
    """Counts of a document's tokens, each at its hash."""

    __slots__ = ("_binary", "_signed", "_tokens", "_weights", "width")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._tokens = tokens(spec)
        self._binary, self._signed, self.width = spec["binary"], spec["signed"], spec["width"]
        self._weights = _Weights({**spec, "idf": None, "sublinear": False}, arrays, self.width)

    def _counts(self, row: Sequence[Any]) -> dict[int, float]:
        counts: dict[int, float] = {}
        for token in self._tokens(row):
            output, count = hashed(token, self.width, self._signed)
            counts[output] = counts.get(output, 0.0) + count
        return dict.fromkeys(counts, 1.0) if self._binary else counts

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        return self._weights.dense(self._counts(row))

    def sparse(self, row: Sequence[Any]) -> tuple[list[int], list[float]]:
        """Return the outputs that are not 0, ascending, and their values."""
        return self._weights.sparse(self._counts(row))


class Weigh:
    """Weights of counts that are there already."""

    __slots__ = ("_weights",)

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        width = 0 if spec["idf"] is None else len(arrays[spec["idf"]])
        self._weights = _Weights(spec, arrays, width)

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        result = [0.0] * len(row)
        counts = {output: count for output, count in enumerate(row) if count}
        for output, weight in zip(*self._weights.sparse(counts), strict=True):
            result[output] = weight
        return result


KINDS = {"words": Words, "hash": Hash, "weigh": Weigh}
