"""Emits forests and boosted trees as the operator TreeEnsemble, whose comparisons are in float64.

Where leaves are rows of a table of values, each tree becomes an output of its own that says which row its
leaf names, and the rows are looked up and added behind the operator: a leaf of TreeEnsemble adds to one
output, and to repeat the trees for each class would make the file as many times as large.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from millrace.compiler.onnx.common import not_expressed
from millrace.compiler.onnx.graph import ML, Graph
from millrace.plan.kinds import MASK_BITS

__all__ = ["KINDS"]

_LEQ, _MEMBER = 0, 6
"""Numbers of ``nodes_modes`` in the operator's specification: x <= split, and x in a set."""
_SUM, _NOTHING = 1, 0
_UNKNOWN = 255.0
"""The code of a missing or unknown category."""


def _trees(spec: dict[str, Any], matrix: str, arrays: Sequence[Any], graph: Graph) -> str:
    width, outputs = graph.width(matrix), spec["outputs"]
    roots = np.asarray(arrays[spec["roots"]], dtype=np.int64)
    if not len(roots):
        return graph.repeated(_baseline(spec, arrays))
    if spec["single"]:
        matrix = graph.cast(graph.cast(matrix, TensorProto.FLOAT))
    table = _Table(spec, arrays, width)
    if len(table.sets):
        matrix = graph.add("Concat", matrix, _codes(matrix, table.sets, graph), axis=1)
    if spec["values"] is None:
        targets = table.tree_of_leaf % outputs
        result = table.emit(matrix, targets, outputs, graph)
    else:
        named = table.emit(matrix, table.tree_of_leaf, len(roots), graph)
        values = np.asarray(arrays[spec["values"]]).reshape(-1, outputs)
        rows = graph.add("Gather", graph.constant(values), graph.cast(named, TensorProto.INT64), axis=0)
        result = graph.reduce("ReduceSum", rows, 1, keepdims=False)
    if spec["baseline"] is not None:
        result = graph.add("Add", result, graph.constant([_baseline(spec, arrays)]))
    if spec["mean"]:
        result = graph.do("Div", result, float(len(roots)))
    graph.columns(result, outputs)
    return result


def _baseline(spec: dict[str, Any], arrays: Sequence[Any]) -> NDArray[np.float64]:
    if spec["baseline"] is None:
        return np.zeros(spec["outputs"])
    return np.asarray(arrays[spec["baseline"]])


def _codes(matrix: str, features: NDArray[np.int64], graph: Graph) -> str:
    """Return the columns as codes of categories: whole, and 255 when missing or unknown."""
    value = graph.add("Gather", matrix, graph.constant(features, np.int64), axis=1)
    known = graph.add("And", graph.do("GreaterOrEqual", value, 0.0), graph.do("Less", value, _UNKNOWN))
    return graph.where(known, graph.add("Floor", value), _UNKNOWN)


class _Table:
    """The plan's table of nodes as the operator wants it: inner nodes and leaves apart."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[Any], width: int) -> None:
        roots = np.asarray(arrays[spec["roots"]], dtype=np.int64)
        if np.any(np.diff(roots) <= 0):
            raise not_expressed("Trees that do not stand one behind the other")
        skip = np.asarray(arrays[spec["skip"]]).astype(np.int64)
        feature = np.asarray(arrays[spec["feature"]]).astype(np.int64)
        number = np.asarray(arrays[spec["number"]]).astype(np.float64)
        leaf = skip == 0
        inner = np.flatnonzero(~leaf)
        section, feature = np.divmod(feature[inner], width)
        chosen = section == 2
        self.sets: NDArray[np.int64] = np.unique(feature[chosen])
        """The inputs that are split by a set of categories."""
        self._weights = number[leaf]
        self.tree_of_leaf: NDArray[np.int64] = np.searchsorted(roots, np.flatnonzero(leaf), "right") - 1
        place = np.where(leaf, np.cumsum(leaf) - 1, np.cumsum(~leaf) - 1)
        children = [inner + 1, inner + skip[inner]]
        split = number[inner].copy()
        if chosen.any():
            feature[chosen] = width + np.searchsorted(self.sets, feature[chosen])
            split[chosen] = 0.0
        self._members, swapped = _members(spec, arrays, number[inner][chosen])
        swap = np.zeros(len(inner), dtype=bool)
        swap[chosen] = swapped
        left, right = (np.where(swap, children[1 - i], children[i]) for i in (0, 1))
        # A tree that is a leaf alone becomes a node with that leaf on both sides.
        alone = leaf[roots]
        self._roots = place[roots].copy()
        self._roots[alone] = len(inner) + np.arange(alone.sum())
        bare, none = roots[alone], np.zeros(int(alone.sum()))
        left, right = np.concatenate([left, bare]), np.concatenate([right, bare])
        self._sides = [(leaf[side], place[side]) for side in (left, right)]
        self._feature = np.concatenate([feature, none])
        self._split = np.concatenate([split, none])
        self._mode = np.concatenate([np.where(chosen, _MEMBER, _LEQ), none])
        self._to_left = np.concatenate([section == 1, none])

    def emit(self, matrix: str, targets: NDArray[np.int64], outputs: int, graph: Graph) -> str:
        """Add the operator; a leaf adds to its target."""
        (left_ends, left), (right_ends, right) = self._sides
        attributes: dict[str, Any] = {}
        if len(self._members):
            attributes["membership_values"] = numpy_helper.from_array(self._members, "members")
        result = graph.add(
            "TreeEnsemble",
            matrix,
            domain=ML,
            aggregate_function=_SUM,
            post_transform=_NOTHING,
            n_targets=outputs,
            tree_roots=self._roots.tolist(),
            nodes_featureids=self._feature.astype(np.int64).tolist(),
            nodes_splits=numpy_helper.from_array(self._split, "splits"),
            nodes_modes=numpy_helper.from_array(self._mode.astype(np.uint8), "modes"),
            nodes_missing_value_tracks_true=self._to_left.astype(np.int64).tolist(),
            nodes_trueleafs=left_ends.astype(np.int64).tolist(),
            nodes_truenodeids=left.tolist(),
            nodes_falseleafs=right_ends.astype(np.int64).tolist(),
            nodes_falsenodeids=right.tolist(),
            leaf_targetids=targets.tolist(),
            leaf_weights=numpy_helper.from_array(self._weights, "weights"),
            **attributes,
        )
        graph.columns(result, outputs)
        return result


def _members(
    spec: dict[str, Any], arrays: Sequence[Any], chosen: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the sets, a NaN behind each, and which of them stand for their complement.

    A set holds the codes that go another way than a missing one: those are categories that training knew,
    and few, while the codes that go its way are all the others.
    """
    if not len(chosen):
        return np.empty(0), np.empty(0, dtype=bool)
    bits = np.unpackbits(np.asarray(arrays[spec["masks"]]), bitorder="little").astype(np.bool_)
    bits = bits.reshape(-1, MASK_BITS)[chosen.astype(np.int64)]
    swapped: NDArray[np.bool_] = bits[:, -1]
    members: list[float] = []
    for others in bits != swapped[:, None]:
        # No code is -1: it stands in a set that would be empty.
        members += [*(np.flatnonzero(others).astype(float).tolist() or [-1.0]), np.nan]
    return np.asarray(members, dtype=np.float64), swapped


KINDS = {"trees": _trees}
