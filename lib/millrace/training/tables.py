"""The rows of a run as training reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from millrace import keys
from millrace.contracts import ObjectStore, Run, Schema
from millrace.features.blocks import read_blocks, read_target
from millrace.features.search import drawn_rows
from millrace.training.splits import hashed

if TYPE_CHECKING:
    from millrace.features.blocks import Table

__all__ = ["RARE_ROWS", "read_table"]

RARE_ROWS = 1000
"""Of a class with no more rows than this, all are drawn, however large the table is."""


def read_table(run: Run, schema: Schema, artifacts: ObjectStore) -> Table:
    """Return the run's rows, or of very many a part; blocks are read one after the other and let go.

    Beyond twice the rows that a candidate is trained on, a part is drawn by the hash of the record number, so
    that the memory that training takes does not depend on the file's size. Classes are drawn in proportion,
    but rare ones whole.
    """
    block_keys = list(artifacts.list(keys.blocks(run.run_id)))
    most = drawn_rows(run.spec.budget)
    if run.rows_kept is None or run.rows_kept <= most:
        table = read_blocks(map(artifacts.get, block_keys), schema)
        _check_rows(run, len(table))
        return table
    counts = np.zeros(max(1, len(schema.classes)), dtype=np.int64)
    for key in block_keys:
        codes = _class_codes(read_target(artifacts.get(key)), schema)
        counts += np.bincount(codes, minlength=len(counts))
    _check_rows(run, int(counts.sum()))
    shares = np.maximum(most / counts.sum(), RARE_ROWS / np.maximum(counts, 1))

    def choose(record: NDArray[np.int64], target: NDArray[Any]) -> NDArray[np.bool_]:
        drawn: NDArray[np.bool_] = (
            hashed(record, run.spec.seed) < shares[_class_codes(target, schema)] * 2.0**64
        )
        return drawn

    return read_blocks(map(artifacts.get, block_keys), schema, choose)


def _class_codes(target: NDArray[Any], schema: Schema) -> NDArray[np.intp]:
    if schema.task == "regression":
        return np.zeros(len(target), dtype=np.intp)
    return target.astype(np.intp)


def _check_rows(run: Run, found: int) -> None:
    if run.rows_kept is not None and found != run.rows_kept:
        raise RuntimeError(f"{run.rows_kept} rows were kept, and the training blocks hold {found}")
