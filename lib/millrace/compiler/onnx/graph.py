"""An ONNX graph under construction.

A block of rows is, as in :mod:`millrace.scoring.blocks`, a list of columns: here each is a tensor with its
position in it, so that a matrix of a thousand columns is one tensor and not a thousand. All numbers are
float64, and texts are strings, the empty one standing for a missing value.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["ML", "Column", "Graph", "text_tensor"]

Column = tuple[str, int]
"""A tensor of shape (rows, width), and a position in it."""
ML = "ai.onnx.ml"
"""The domain of the standard operators for trees and tables."""


def text_tensor(name: str, values: Sequence[str], shape: Sequence[int]) -> onnx.TensorProto:
    """Return a tensor of strings."""
    encoded: Any = [value.encode("utf-8", "surrogatepass") for value in values]
    return helper.make_tensor(name, TensorProto.STRING, shape, encoded)


class Graph:
    """Nodes, constants and inputs, in the order in which they were asked for: the same calls, the same bytes.

    Attributes
    ----------
    inputs : list of ValueInfoProto
        The inputs, in order.
    """

    def __init__(self) -> None:
        self.inputs: list[onnx.ValueInfoProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._known: dict[tuple[Any, ...], str] = {}
        self._width: dict[str, int] = {}
        self._texts: set[str] = set()
        self._taken: set[str] = set()
        self._count = 0

    # --- tensors and columns -------------------------------------------------------------------

    def input(self, name: str, width: int = 1, *, text: bool = False) -> list[Column]:
        """Add an input of shape (rows, width) and return its columns."""
        kind = TensorProto.STRING if text else TensorProto.DOUBLE
        self.inputs.append(helper.make_tensor_value_info(name, kind, ["rows", width]))
        self._taken.add(name)
        return self.columns(name, width, text=text)

    def columns(self, tensor: str, width: int, *, text: bool = False) -> list[Column]:
        """Return the columns of a tensor of shape (rows, width)."""
        self._width[tensor] = width
        if text:
            self._texts.add(tensor)
        return [(tensor, position) for position in range(width)]

    def is_text(self, column: Column) -> bool:
        """Return whether the column holds texts."""
        return column[0] in self._texts

    def matrix(self, columns: Sequence[Column]) -> str:
        """Return one tensor with the columns side by side; they are all numbers or all texts."""
        parts = []
        for tensor, run in groupby(columns, key=lambda column: column[0]):
            positions = [position for _, position in run]
            if positions != list(range(self._width[tensor])):
                tensor = self._picked(tensor, positions)
            parts.append(tensor)
        if not parts:
            return self.repeated(np.zeros(0))
        joined = parts[0] if len(parts) == 1 else self.add("Concat", *parts, axis=1)
        self.columns(joined, len(columns), text=self.is_text(columns[0]))
        return joined

    def _picked(self, tensor: str, positions: list[int]) -> str:
        key = ("picked", tensor, *positions)
        if key not in self._known:
            self._known[key] = self.add("Gather", tensor, self.constant(positions, np.int64), axis=1)
            self.columns(self._known[key], len(positions), text=tensor in self._texts)
        return self._known[key]

    def width(self, tensor: str) -> int:
        """Return the number of columns of a tensor that :meth:`matrix` or :meth:`columns` has seen."""
        return self._width[tensor]

    def repeated(self, values: ArrayLike) -> str:
        """Return a tensor with the same float64 values in each row."""
        row = np.asarray(values, dtype=np.float64).reshape(1, -1)
        first = self.inputs[0].name
        key = ("rows",)
        if key not in self._known:
            rows = self.add("Shape", first, start=0, end=1)
            self._known[key] = self.add("Concat", rows, self.constant([1], np.int64), axis=0)
        tensor = self.add("Expand", self.constant(row), self._known[key])
        self.columns(tensor, row.shape[1])
        return tensor

    # --- nodes and constants -------------------------------------------------------------------

    def constant(self, values: ArrayLike, dtype: Any = np.float64) -> str:
        """Return a constant; equal ones are one."""
        array = np.ascontiguousarray(np.asarray(values, dtype=dtype))
        key = (array.dtype.str, array.shape, array.tobytes())
        return self._constant(key, lambda name: numpy_helper.from_array(_little(array), name))

    def texts(self, values: Sequence[str], shape: Sequence[int]) -> str:
        """Return a constant of strings."""
        key = ("texts", tuple(shape), *values)
        return self._constant(key, lambda name: text_tensor(name, values, shape))

    def _constant(self, key: tuple[Any, ...], make: Any) -> str:
        if key not in self._known:
            self._known[key] = self._name("constant")
            self._constants.append(make(self._known[key]))
        return self._known[key]

    def add(self, operator: str, *inputs: str, domain: str = "", output: str = "", **attributes: Any) -> str:
        """Add a node and return its output."""
        output = output or self._name(operator.lower())
        self._taken.add(output)
        self._nodes.append(
            helper.make_node(
                operator, list(inputs), [output], name=f"node_{len(self._nodes)}", domain=domain, **attributes
            )
        )
        return output

    def several(self, operator: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """Add a node with several outputs and return them."""
        names = [self._name(operator.lower()) for _ in range(outputs)]
        node = f"node_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), names, name=node, **attributes))
        return names

    def free(self, name: str) -> str:
        """Return the name, with underscores behind it until nothing else bears it."""
        while name in self._taken:
            name += "_"
        return name

    def _name(self, stem: str) -> str:
        self._count += 1
        name = self.free(f"{stem}_{self._count}")
        self._taken.add(name)
        return name

    def cast(self, tensor: str, to: int = TensorProto.DOUBLE) -> str:
        """Return the tensor in another type, float64 unless said otherwise."""
        return self.add("Cast", tensor, to=to)

    def where(self, condition: str, then: str | float, otherwise: str | float) -> str:
        """Return ``then`` where the condition holds and ``otherwise`` elsewhere."""
        return self.add("Where", condition, self._scalar(then), self._scalar(otherwise))

    def do(self, operator: str, *operands: str | float) -> str:
        """Add a node whose operands are tensors or float64 numbers."""
        return self.add(operator, *(self._scalar(operand) for operand in operands))

    def _scalar(self, value: str | float) -> str:
        return value if isinstance(value, str) else self.constant(float(value))

    def reduce(self, operator: str, tensor: str, axis: int = 1, *, keepdims: bool = True) -> str:
        """Reduce a tensor along an axis."""
        return self.add(operator, tensor, self.constant([axis], np.int64), keepdims=int(keepdims))

    def proto(self, name: str, outputs: list[onnx.ValueInfoProto]) -> onnx.GraphProto:
        """Return the graph."""
        return helper.make_graph(self._nodes, name, self.inputs, outputs, initializer=self._constants)


def _little(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("<"), copy=False)
