"""Which rows a model was trained on, so that a later trial can leave them out."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from millrace.contracts import Schema
from millrace.features.fingerprints import fingerprints
from millrace.training.train import split

if TYPE_CHECKING:
    from millrace.features.blocks import Table

__all__ = ["trained_on"]


def trained_on(table: Table, schema: Schema, *, seed: int) -> bytes:
    """Return the fingerprints of the rows that are not held out, sorted, as numpy writes an array."""
    rows = split(table, schema, seed=seed).training
    found = np.unique(fingerprints(table, schema)[rows])
    buffer = io.BytesIO()
    np.save(buffer, found, allow_pickle=False)
    return buffer.getvalue()
