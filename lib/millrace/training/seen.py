"""Which rows a model was trained on, so that a later trial can leave them out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from millrace.contracts import Schema
from millrace.features.fingerprints import fingerprints

if TYPE_CHECKING:
    from millrace.features.blocks import Table

__all__ = ["trained_on"]


def trained_on(
    table: Table, schema: Schema, rows: NDArray[np.intp], *, others: Sequence[NDArray[np.uint64]] = ()
) -> bytes:
    """Return the fingerprints of the rows at these positions, sorted, as numpy writes an array.

    ``others`` are those of rows that the model has seen besides.
    """
    found = np.unique(np.concatenate([fingerprints(table, schema)[rows], *others]))
    buffer = io.BytesIO()
    np.save(buffer, found, allow_pickle=False)
    return buffer.getvalue()
