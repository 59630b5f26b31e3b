"""Nearest neighbours of one row."""

from __future__ import annotations

from math import sqrt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]

_INFINITY = float("inf")
_NAN = float("nan")


class Neighbors:
    """Nearest neighbours; ``plan.kinds`` describes the members.

    The walk is scikit-learn's: the nearer child first, and a heap that a point enters when it is nearer than
    its farthest. Distances are compared as their squares (Euclidean), added from left to right.
    """

    __slots__ = (
        "_classes",
        "_end",
        "_high",
        "_low",
        "_metric",
        "_neighbors",
        "_points",
        "_start",
        "_targets",
        "_uniform",
    )

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        # Views into the file: a row looks at few of the points, and lists of all would take longer to make.
        self._points, self._targets = arrays[spec["points"]], arrays[spec["targets"]]
        self._start, self._end = arrays[spec["start"]], arrays[spec["end"]]
        self._low, self._high = arrays[spec["low"]], arrays[spec["high"]]
        self._classes: int = spec["classes"]
        self._neighbors: int = spec["neighbors"]
        self._metric: str = spec["metric"]
        self._uniform = spec["weights"] == "uniform"

    def __call__(self, row: list[float]) -> list[float]:
        distances, points = self.nearest(row)
        return self.answer(distances, [self._targets[point] for point in points])

    def nearest(self, row: list[float]) -> tuple[list[float], list[int]]:
        """Return the nearest points, and how far they are: reduced distances, ascending."""
        heap, points = [_INFINITY] * self._neighbors, [0] * self._neighbors
        self._walk(0, 0.0 if not self._neighbors else self._bound(0, row), row, heap, points)
        order = sorted(range(len(heap)), key=heap.__getitem__)
        return [heap[i] for i in order], [points[i] for i in order]

    def answer(self, reduced: list[float], targets: list[Any]) -> list[float]:
        """Return the outputs for the neighbours' reduced distances and targets."""
        if self._uniform:
            weights = [1.0] * len(reduced)
        else:
            distances = reduced
            if self._metric == "euclidean":
                distances = [sqrt(value) if value >= 0.0 else _NAN for value in reduced]
            if 0.0 in distances:
                weights = [1.0 if value == 0.0 else 0.0 for value in distances]
            else:
                weights = [1.0 / value for value in distances]
        if not self._classes:
            products = targets if self._uniform else [t * w for t, w in zip(targets, weights, strict=True)]
            total = _plain(weights)
            return [_plain(products) / total if total else _NAN]
        result = [0.0] * self._classes
        for target, weight in zip(targets, weights, strict=True):
            result[target] += weight
        total = _plain(result)
        return [value / total for value in result] if total else result

    def _walk(self, node: int, bound: float, row: list[float], heap: list[float], points: list[int]) -> None:
        if bound > heap[0]:
            return
        end = self._end[node]
        if end:
            for point, distance in enumerate(self._distances(self._start[node], end, row), self._start[node]):
                if not distance >= heap[0]:
                    _push(heap, points, distance, point)
            return
        first, second = 2 * node + 1, 2 * node + 2
        of_first, of_second = self._bound(first, row), self._bound(second, row)
        if of_first <= of_second:
            self._walk(first, of_first, row, heap, points)
            self._walk(second, of_second, row, heap, points)
        else:
            self._walk(second, of_second, row, heap, points)
            self._walk(first, of_first, row, heap, points)

    def _distances(self, start: int, end: int, row: list[float]) -> list[float]:
        width = len(row)
        flat = self._points[start * width : end * width].tolist()
        result = []
        for first in range(0, len(flat), width) if width else ():
            total = 0.0
            pairs = zip(row, flat[first : first + width], strict=True)
            if self._metric == "euclidean":
                for value, other in pairs:
                    apart = value - other
                    total += apart * apart
            elif self._metric == "manhattan":
                for value, other in pairs:
                    total += abs(value - other)
            else:
                for value, other in pairs:
                    apart = abs(value - other)
                    if apart > total:
                        total = apart
            result.append(total)
        return result

    def _bound(self, node: int, row: list[float]) -> float:
        """Return the least reduced distance of the row from what a node bounds."""
        width, total = len(row), 0.0
        low = self._low[node * width : (node + 1) * width]
        high = self._high[node * width : (node + 1) * width]
        for value, least, most in zip(row, low, high, strict=True):
            apart = least - value if value < least else value - most if value > most else 0.0
            if self._metric == "euclidean":
                total += apart * apart
            elif self._metric == "manhattan":
                total += apart
            elif apart > total:
                total = apart
        return total


def _push(heap: list[float], points: list[int], distance: float, point: int) -> None:
    """Put a point in the place of the farthest, which is at the top, and restore the heap."""
    place, size = 0, len(heap)
    while True:
        left, right = 2 * place + 1, 2 * place + 2
        if left >= size:
            break
        larger = left
        if right < size and not heap[left] >= heap[right]:
            larger = right
        if not distance < heap[larger]:
            break
        heap[place], points[place] = heap[larger], points[larger]
        place = larger
    heap[place], points[place] = distance, point


def _plain(values: list[float]) -> float:
    # Not sum(): that rounds in another way since Python 3.12.
    total = 0.0
    for value in values:
        total += value
    return total


KINDS = {"neighbors": Neighbors}
