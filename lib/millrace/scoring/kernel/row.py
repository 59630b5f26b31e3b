"""Walks the trees for one row in the kernel: what a sandbox that has scored some rows goes on with."""

from __future__ import annotations

from array import array

from millrace.scoring.kernel.library import address, library
from millrace.scoring.rows.trees import inputs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["RowTrees"]


class RowTrees:
    """Does what :class:`millrace.scoring.rows.trees.Trees` does, to the last bit.

    Parameters
    ----------
    spec : dict
        The estimator of the kind ``trees``.
    arrays : sequence of memoryview
        The plan's arrays.

    Raises
    ------
    Unavailable
        There is no kernel.
    """

    __slots__ = ("_arguments", "_baseline", "_kept", "_mean", "_out", "_row", "_run", "_sets", "_single")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._run = library().millrace_row_trees
        tables = [array("i", arrays[spec[name]]) for name in ("feature", "skip")]
        tables += [array("d", arrays[spec["number"]]), array("i", arrays[spec["roots"]])]
        masks = b"" if spec["masks"] is None else bytearray(arrays[spec["masks"]])
        values = array("d", b"" if spec["values"] is None else bytes(arrays[spec["values"]]))
        outputs: int = spec["outputs"]
        self._sets, self._single = spec["masks"] is not None, spec["single"]
        self._mean = float(len(tables[3])) if spec["mean"] else 0.0
        self._baseline = array("d", bytes(8 * outputs))
        if spec["baseline"] is not None:
            self._baseline = array("d", arrays[spec["baseline"]])
        self._out = array("d", bytes(8 * outputs))
        self._row = array("d")
        self._kept = (*tables, masks, values)
        self._arguments = [address(table)[0] for table in tables] + [
            *(len(tables[3]), 0, 0, address(masks)[0], address(values)[0] if values else 0),
            *(outputs, address(self._out)[0]),
        ]

    def __call__(self, row: list[float]) -> list[float]:
        """Return the raw outputs for a row."""
        values, out, arguments = inputs(row, self._single, self._sets), self._out, self._arguments
        if len(self._row) != len(values):  # the first row
            self._row = array("d", values)
            arguments[5], arguments[6] = address(self._row)[0], 2 * len(row)
        else:
            self._row[:] = array("d", values)
        out[:] = self._baseline
        self._run(*arguments)
        result = out.tolist()
        return [value / self._mean for value in result] if self._mean else result
