"""Rows known again by their content, in another file, in another order, under another schema.

A fingerprint is the sum of one hash for each feature, of its name and the row's value, so that neither the
order of the columns counts nor where in the file the row stands. A category and a text have the same hash,
and so have a number, a boolean and a time of the same value: only where a column turns from one of these two
kinds into the other are rows not known again.

The target does not count. Else the rows whose labels a new file corrects, and they alone, would pass for new
ones: a trial on them would judge an old model by what it could not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from millrace.contracts import Schema

if TYPE_CHECKING:
    from millrace.features.blocks import Table

__all__ = ["fingerprints", "is_word"]

Hashes = NDArray[np.uint64]


def fingerprints(table: Table, schema: Schema, columns: Sequence[str] | None = None) -> Hashes:
    """Return one hash for each row.

    Parameters
    ----------
    table : Table
        Rows.
    schema : Schema
        What they were converted under.
    columns : sequence of str, optional
        Features to count; all of them when absent.

    Returns
    -------
    ndarray of uint64, shape (n,)
        Two different rows have the same one by a chance of 2**-64.
    """
    total: Hashes = np.zeros(len(table), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for column in schema.features:
            if columns is None or column.name in columns:
                values = table.columns[column.name]
                total = total + (_words if is_word(column.type) else _numbers)(values, column.name)
    return total


def is_word(kind: str) -> bool:
    """Tell whether a column of this type holds words, not numbers."""
    return kind in ("category", "text")


def _words(values: NDArray[Any], name: str) -> Hashes:
    seed = name.encode() + b"\x00"
    known: dict[Any, int] = {None: _hash(seed)}
    hashes = np.empty(len(values), dtype=np.uint64)
    for row, value in enumerate(values):
        if value not in known:
            known[value] = _hash(seed + b"=" + value.encode())
        hashes[row] = known[value]
    return hashes


def _numbers(values: NDArray[np.float64], name: str) -> Hashes:
    plain = np.asarray(values, dtype=np.float64) + 0.0  # minus zero is zero
    bits = np.where(np.isnan(plain), np.uint64(0x7FF8 << 48), plain.view(np.uint64))
    with np.errstate(over="ignore"):
        return _mixed(bits ^ np.uint64(_hash(name.encode() + b"\x00")))


def _hash(text: bytes) -> int:
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def _mixed(x: Hashes) -> Hashes:
    """Return the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Hashes = x ^ (x >> np.uint64(31))
    return mixed
