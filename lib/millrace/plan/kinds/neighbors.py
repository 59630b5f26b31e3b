"""Nearest neighbours.

``neighbors``
    ``points`` (n x inputs) and ``targets`` (n): a class each, or a value. ``classes``: their number, 0 for
    values. ``neighbors``: how many are asked; ``metric``: ``euclidean``, ``manhattan`` or ``chebyshev``;
    ``weights``: ``uniform`` or ``distance``. The outputs are each class's share of the weights, or the mean.

    The points lie in the order of a k-d tree, whose node ``i`` has the children ``2 i + 1`` and ``2 i + 2``:
    ``start`` and ``end`` are the points of a leaf, and ``end`` is 0 for a node that is none; ``low`` and
    ``high`` (nodes x inputs) bound the points of each node. Which of several points that are equally far is
    among the nearest follows from the walk through the tree, so that walk is part of the kind.
"""

from __future__ import annotations

from millrace.plan.kinds import MAX_WIDTH, array, fits, indices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]


def _neighbors(spec: dict[str, Any], width: int, arrays: Sequence[memoryview]) -> int:
    fits(spec["metric"] in ("euclidean", "manhattan", "chebyshev"), "neighbors.metric")
    fits(spec["weights"] in ("uniform", "distance"), "neighbors.weights")
    indices([spec["classes"]], MAX_WIDTH, "neighbors.classes")
    classes: int = spec["classes"]
    targets = array(arrays, spec["targets"], "BHi" if classes else "d", -1, "neighbors.targets")
    size = len(targets)
    fits(not classes or (size > 0 and min(targets) >= 0 and max(targets) < classes), "neighbors.targets")
    array(arrays, spec["points"], "d", size * width, "neighbors.points")
    indices([spec["neighbors"]], size + 1, "neighbors.neighbors")
    fits(spec["neighbors"] > 0, "neighbors.neighbors")
    end = array(arrays, spec["end"], "BHi", -1, "neighbors.end")
    nodes = len(end)
    start = array(arrays, spec["start"], "BHi", nodes, "neighbors.start")
    array(arrays, spec["low"], "d", nodes * width, "neighbors.low")
    array(arrays, spec["high"], "d", nodes * width, "neighbors.high")
    points = 0
    for node, (first, last) in enumerate(zip(start, end, strict=True)):
        fits(0 <= first <= last <= size if last else 2 * node + 2 < nodes, "neighbors.start")
        points += last - first if last else 0
    # Each point lies in one leaf, so a row takes no longer than there are points.
    fits(points == size, "neighbors.end")
    return classes or 1


KINDS = {"neighbors": _neighbors}
