"""Walks the trees of forests and boosted trees for one row."""

from __future__ import annotations

from operator import add

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS", "inputs"]

_INFINITY = float("inf")
_LIST_LIMIT = 1 << 18
"""Tables of up to this many nodes become lists, which are quicker to walk. A larger one stays a view into
the file: turning it into lists would take longer than its first rows, and several times its memory."""


class Trees:
    """Forests and boosted trees; ``plan.kinds`` describes the table of nodes."""

    __slots__ = (
        "_baseline",
        "_feature",
        "_masks",
        "_mean",
        "_number",
        "_outputs",
        "_roots",
        "_single",
        "_skip",
        "_values",
    )

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._feature = _quick(arrays[spec["feature"]])
        self._skip = _quick(arrays[spec["skip"]])
        self._number = _quick(arrays[spec["number"]])
        self._roots: list[int] = arrays[spec["roots"]].tolist()
        self._outputs: int = spec["outputs"]
        self._single: bool = spec["single"]
        self._mean = float(len(self._roots)) if spec["mean"] else 0.0
        zeros = [0.0] * self._outputs
        self._baseline = zeros if spec["baseline"] is None else arrays[spec["baseline"]].tolist()
        self._values: list[list[float]] | None = None
        if spec["values"] is not None:
            flat, k = arrays[spec["values"]].tolist(), self._outputs
            self._values = [flat[i : i + k] for i in range(0, len(flat), k)]
        # By float, as the nodes name them; as text, because a text's items are the quickest to look up.
        self._masks: dict[float, str] = {}
        if spec["masks"] is not None:
            masks = bytes(arrays[spec["masks"]])
            for i in range(0, len(masks), 32):
                bits = int.from_bytes(masks[i : i + 32], "little")
                self._masks[i / 32] = f"{bits:0256b}"[::-1]

    def __call__(self, row: list[float]) -> list[float]:
        values = inputs(row, self._single, bool(self._masks))
        result = list(self._baseline)
        leaves = self._sets(values, 2 * len(row)) if self._masks else self._leaves(values)
        if self._values is not None:
            for leaf in leaves:
                result = list(map(add, result, self._values[int(leaf)]))
        elif self._outputs == 1:
            # A loop, not sum(): that rounds in another way since Python 3.12.
            total = result[0]
            for leaf in leaves:
                total += leaf
            result[0] = total
        else:
            for number, leaf in enumerate(leaves):
                result[number % self._outputs] += leaf
        return [value / self._mean for value in result] if self._mean else result

    def _leaves(self, values: list[Any]) -> list[float]:
        feature, skip, number = self._feature, self._skip, self._number
        leaves = []
        for node in self._roots:
            while step := skip[node]:
                if values[feature[node]] <= number[node]:
                    node += 1
                else:
                    node += step
            leaves.append(number[node])
        return leaves

    def _sets(self, values: list[Any], first_set: int) -> list[float]:
        feature, skip, number, masks = self._feature, self._skip, self._number, self._masks
        leaves = []
        for node in self._roots:
            while step := skip[node]:
                chosen = feature[node]
                if chosen < first_set:
                    if values[chosen] <= number[node]:
                        node += 1
                    else:
                        node += step
                elif masks[number[node]][values[chosen]] == "1":
                    node += 1
                else:
                    node += step
            leaves.append(number[node])
        return leaves


def inputs(row: list[float], single: bool, sets: bool) -> list[Any]:
    """Return the row thrice: missing goes right, missing goes left, with sets as codes of categories."""
    if single:
        from array import array

        row = array("f", row).tolist()
    # Minus infinity is at most any number, so it goes left; NaN compares false and goes right.
    total = sum(row)
    result: list[Any] = row + (row if total == total else [-_INFINITY if v != v else v for v in row])
    if sets:
        result += [int(v) if 0.0 <= v < 255.0 else 255 for v in row]
    return result


def _quick(array: memoryview) -> Any:
    return array.tolist() if len(array) <= _LIST_LIMIT else array


KINDS = {"trees": Trees}
