"""Writes scoring plans; :mod:`millrace.plan.format` describes the file.

Apart from reading, because ``predict`` reads and never writes.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Mapping

from millrace.errors import TooLarge
from millrace.plan.format import (
    DIGEST_BYTES,
    ITEM_BYTES,
    MAGIC,
    MAX_HEADER_BYTES,
    MAX_PLAN_BYTES,
    MAX_TEXTS,
    PREAMBLE,
    PROTOCOL,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

__all__ = ["Packed", "pack", "write"]

_LONG = 16
"""Lists of at least so many texts are stored apart."""
_INFLATE, _JOIN, _CALL = 0.4, 0.1, 600
"""What it takes to inflate a byte, to put one into its plane, and to begin at all, in bytes that could be
fetched instead: about 4 ns, 1 ns and 6 µs beside 10 ns for one from S3."""
_LEVEL = 6
"""Of the nine of zlib. The last one takes ten times as long on the arrays of a forest, for 2 to 6 % of
them."""


class Packed:
    """Arrays as a plan stores them.

    Attributes
    ----------
    stored : list
        The entry and the content of each.
    size_bytes : int
        What they take when they are read.
    """

    __slots__ = ("size_bytes", "stored")

    def __init__(self, stored: list[tuple[list[Any], bytes]], size_bytes: int) -> None:
        self.stored = stored
        self.size_bytes = size_bytes


def pack(arrays: Sequence[Any]) -> Packed:
    """Deflate arrays where that pays, for plans that differ in their headers alone.

    Parameters
    ----------
    arrays : sequence of buffers
        One-dimensional and contiguous: ``array.array``, numpy arrays or memoryviews of the five types.

    Raises
    ------
    ValueError
        An array is of another type: a fault of the caller.
    """
    views = [memoryview(array) for array in arrays]
    for view in views:
        if view.format not in ITEM_BYTES or view.ndim != 1 or not view.contiguous:
            raise ValueError(f"A plan holds no array of type {view.format!r} with {view.ndim} dimensions")
    return Packed([_store(view) for view in views], sum(view.nbytes for view in views))


def write(header: Mapping[str, Any], arrays: Sequence[Any] | Packed) -> bytes:
    """Write a plan.

    Parameters
    ----------
    header : mapping
        Everything but ``arrays`` and ``texts``, in JSON types without NaN and infinity.
    arrays : sequence of buffers, or Packed
        As :func:`pack` takes or returns them.

    Returns
    -------
    bytes
        The file. The same input gives the same bytes, on one build of zlib.

    Raises
    ------
    TooLarge
        ``plan-too-large``: no reader would take it.
    ValueError
        A number of the header is not finite, or an array is of another type: a fault of the caller.
    """
    packed = arrays if isinstance(arrays, Packed) else pack(arrays)
    stored = packed.stored
    bare, texts = _take_texts(dict(header))
    document = {**bare, "texts": texts, "arrays": [entry for entry, _ in stored]}
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
    encoded = text.encode("utf-8", "surrogatepass")
    deflated = _deflate(encoded)
    parts = [deflated, bytes(-len(deflated) % 8)]
    for _, content in stored:
        parts += [content, bytes(-len(content) % 8)]
    total = PREAMBLE.size + sum(map(len, parts)) + DIGEST_BYTES
    _check_size("header", len(encoded), MAX_HEADER_BYTES)
    _check_size("arrays", max(total, packed.size_bytes), MAX_PLAN_BYTES)
    body = b"".join([PREAMBLE.pack(MAGIC, PROTOCOL, len(deflated), total, len(encoded)), *parts])
    return body + hashlib.sha256(body).digest()


def _check_size(what: str, size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(
            f"The scoring plan's {what} would have {size:,} bytes, and at most {limit:,} are read",
            code="plan-too-large",
            remedy="Train with a smaller budget or fewer columns.",
        )


def _deflate(content: bytes, level: int = _LEVEL) -> bytes:
    deflater = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
    return deflater.compress(content) + deflater.flush()


def _store(view: memoryview) -> tuple[list[Any], bytes]:
    """Return an array's entry and how it is stored: what is quickest to fetch and make.

    What deflating gains is found at the quickest level, and only what is stored is deflated well.
    """
    raw, size, elements = view.tobytes(), view.itemsize, len(view)
    whole, apart = _cost(_tried(raw), len(raw)), math.inf
    parts = [raw[byte::size] for byte in range(size)] if size > 1 else []
    tried = [_tried(part) for part in parts]
    gains = [length + _INFLATE * elements < elements for length in tried]
    if any(gains):
        kept = sum(length if gain else elements for length, gain in zip(tried, gains, strict=True))
        apart = _cost(kept, sum(gains) * elements) + _JOIN * len(raw)
    if len(raw) <= min(whole, apart):
        return [view.format, elements], raw
    if whole <= apart:
        content = _deflate(raw)
        return [view.format, elements, len(content)], content
    content = b"".join(part for part, gain in zip(parts, gains, strict=True) if not gain)
    content += _deflate(b"".join(part for part, gain in zip(parts, gains, strict=True) if gain))
    planes = sum(gain << byte for byte, gain in enumerate(gains))
    return [view.format, elements, len(content), planes], content


def _cost(stored: int, inflated: int) -> float:
    return stored + _INFLATE * inflated + _CALL


def _tried(content: bytes) -> int:
    return len(_deflate(content, 1))


def _take_texts(header: dict[str, Any]) -> tuple[Any, list[Any]]:
    """Return the header without its long lists of texts, and ``texts``."""
    found: dict[tuple[str | None, ...], list[list[str | int]]] = {}
    bare = _without(header, [], found)
    pool: dict[str, int] = {}
    lists: list[Any] = []
    # A list that others were taken from comes first, so that they become few runs of its texts.
    for texts, paths in sorted(found.items(), key=lambda item: -len(item[0])):
        lists.append([list(_runs(texts, pool)), *paths])
    total = sum(map(len, found))
    if total > MAX_TEXTS:
        raise TooLarge(
            f"The model has lists of {total:,} texts in all, and at most {MAX_TEXTS:,} are read",
            code="plan-too-large",
            remedy="Leave out columns with many categories.",
        )
    return bare, [list(pool), *lists]


def _without(value: Any, path: list[str | int], found: dict[Any, list[Any]]) -> Any:
    if isinstance(value, Mapping):
        return {key: _without(item, [*path, key], found) for key, item in value.items()}
    if not isinstance(value, (list, tuple)):
        return value
    if len(value) >= _LONG and all(item is None or isinstance(item, str) for item in value):
        found.setdefault(tuple(value), []).append(path)
        return []
    return [_without(item, [*path, number], found) for number, item in enumerate(value)]


def _runs(texts: Sequence[str | None], pool: dict[str, int]) -> Iterator[int]:
    """Yield pairs of a position in the pool and a count; texts that it lacks are added."""
    first, count = -1, 0
    for text in texts:
        place = -1 if text is None else pool.setdefault(text, len(pool))
        if count and place == (first + count if first >= 0 else -1):
            count += 1
            continue
        if count:
            yield from (first, count)
        first, count = place, 1
    if count:
        yield from (first, count)
