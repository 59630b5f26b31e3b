"""Whole columns of text become what a plan computes with, by the rules by which one value does.

There is one rule for what a text means, :func:`millrace.plan.convert`; it is asked once for each different
text of a column. Arrow reads a column of plain decimal numbers itself: what it accepts, and finite, the rule
accepts too, and both give the nearest float64.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from millrace.errors import Unprocessable
from millrace.plan import convert

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

__all__ = ["Converted", "Words", "convert_column"]


class Words:
    """A column of categories or texts that is mapped once for each different one, not once a row.

    Parameters
    ----------
    different : NDArray of object, shape (k,)
        ``str`` or None.
    kind : NDArray of int64, shape (n,)
        Each row's place there.
    """

    __slots__ = ("_different", "_kind")

    def __init__(self, different: NDArray[np.object_], kind: NDArray[np.int64]) -> None:
        self._different = different
        self._kind = kind

    def __len__(self) -> int:
        return len(self._kind)

    def __getitem__(self, rows: NDArray[Any] | slice) -> Words:
        return Words(self._different, self._kind[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self._different[self._kind], dtype=dtype)

    def tolist(self) -> list[str | None]:
        """Return one value a row."""
        found: list[str | None] = self._different[self._kind].tolist()
        return found

    def mapped(self, function: Callable[[Any], float]) -> NDArray[np.float64]:
        """Return what the function makes of each row's value."""
        return np.array([function(value) for value in self._different.tolist()], np.float64)[self._kind]


@dataclass(frozen=True)
class Converted:
    """One column.

    Attributes
    ----------
    values : NDArray of float64, or Words
        One a row; NaN where missing.
    refused : dict of int to str
        Why the value of a row does not convert, as a sentence without its full stop, by row; the row's value
        is then missing.
    noticed : dict of str to NDArray of int64
        The rows that ``POST /predict`` would warn of, by code: ``missing``, ``unseen``, ``outside``. What it
        would say, :func:`millrace.plan.convert` says of the row's text.
    """

    values: NDArray[np.float64] | Words
    refused: dict[int, str] = field(default_factory=dict)
    noticed: dict[str, NDArray[np.int64]] = field(default_factory=dict)


def convert_column(described: Mapping[str, Any], cells: pa.ChunkedArray) -> Converted:
    """Convert a column of texts.

    Parameters
    ----------
    described : mapping
        The field, as :mod:`millrace.plan.signature` describes one.
    cells : pyarrow.ChunkedArray of string
        Without nulls.
    """
    if described["type"] == "number" and not described.get("format"):
        numbers = _numbers(cells)
        if numbers is not None:
            return _plain(described, numbers)
    return _by_spelling(described, cells)


def _numbers(cells: pa.ChunkedArray) -> NDArray[np.float64] | None:
    """Return the column if every cell is empty or a finite decimal number, None otherwise."""
    import pyarrow as pa
    import pyarrow.compute as pc  # type: ignore[import-untyped]

    empty = pc.equal(cells, "")
    try:
        numbers = pc.cast(pc.if_else(empty, pa.scalar(None, pa.string()), cells), pa.float64())
    except pa.ArrowInvalid:
        return None
    values: NDArray[np.float64] = numbers.to_numpy()
    # Arrow also reads "nan" and "inf": those are for the rule to judge.
    return values if bool(np.all(np.isfinite(values) | empty.to_numpy())) else None


def _plain(described: Mapping[str, Any], numbers: NDArray[np.float64]) -> Converted:
    low, high = described.get("minimum", -np.inf), described.get("maximum", np.inf)
    found = {
        "missing": np.flatnonzero(np.isnan(numbers)),
        "outside": np.flatnonzero((numbers < low) | (numbers > high)),
    }
    return Converted(numbers, noticed={code: rows for code, rows in found.items() if len(rows)})


def _by_spelling(described: Mapping[str, Any], cells: pa.ChunkedArray) -> Converted:
    """Convert each different text once."""
    spelled = cells.combine_chunks().dictionary_encode()
    kind: NDArray[np.int64] = spelled.indices.to_numpy().astype(np.int64)
    texts = spelled.dictionary.to_pylist()
    words = described["type"] in ("category", "text")
    values = np.empty(len(texts), dtype=object) if words else np.full(len(texts), np.nan)
    refusals: dict[int, str] = {}
    notices: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        try:
            values[place], notice = convert(described, text)
        except Unprocessable as error:
            refusals[place] = error.what
            continue
        if notice is not None:
            notices.setdefault(notice[0], []).append(place)
    refused = {row: refusals[kind[row]] for row in _rows_of(kind, refusals).tolist()}
    noticed = {code: _rows_of(kind, places) for code, places in notices.items()}
    return Converted(Words(values, kind) if words else values[kind], refused, noticed)


def _rows_of(kind: NDArray[np.int64], places: Collection[int]) -> NDArray[np.int64]:
    """Return the rows whose text is at one of the places in the dictionary."""
    if not places:
        return np.empty(0, np.int64)
    return np.flatnonzero(np.isin(kind, np.fromiter(places, np.int64, len(places))))
