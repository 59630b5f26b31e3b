"""Forests and boosted trees.

``trees``
    ``roots``, ``feature``, ``skip``, ``number``, ``outputs``, ``values``, ``baseline``, ``masks``, ``mean``,
    ``single``; ``cover``, which may be absent or null.

Trees are one table of nodes in preorder: the left child of node ``i`` is ``i + 1``, the right one is
``i + skip[i]``, and ``skip`` is 0 for a leaf. A child lies behind its parent, so no walk can loop. For
``w`` inputs, ``feature`` is ``f`` where a missing value goes right, ``w + f`` where it goes left (both
compare with ``number``: at most goes left), and ``2 w + f`` for a set of categories: ``number`` is the
index of a mask of 256 bits whose bit ``code`` sends left; every missing or unknown code is 255. A leaf's
``number`` is its value, added to output ``tree % outputs``; with ``values`` it is the index of a row of
them, added to all outputs. ``mean`` divides by the number of trees; ``single`` rounds the inputs to float32
first, as scikit-learn's forests do. ``cover`` is the weight of the training rows that passed each node, which
explanations need; a file may hold any numbers there, so who divides by them must mind zeros.
"""

from __future__ import annotations

from millrace.plan.kinds import MASK_BITS, MAX_WIDTH, array, fits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]


def _trees(spec: dict[str, Any], width: int, arrays: Sequence[memoryview]) -> int:
    outputs: int = spec["outputs"]
    fits(type(outputs) is int and 0 < outputs <= MAX_WIDTH, "trees.outputs")
    fits(type(spec["mean"]) is bool and type(spec["single"]) is bool, "trees.mean")
    skip = array(arrays, spec["skip"], "BHi", -1, "trees.skip")
    nodes = len(skip)
    feature = array(arrays, spec["feature"], "BHi", nodes, "trees.feature")
    number = array(arrays, spec["number"], "df", nodes, "trees.number")
    roots = array(arrays, spec["roots"], "i", -1, "trees.roots")
    highest = 0
    if nodes:
        # Only a node nearer to the end than the longest step can point beyond it.
        near = max(nodes - max(skip), 0)
        fits(_not_negative(skip) and skip[-1] == 0, "trees.skip")
        fits(all(i + step < nodes for i, step in enumerate(skip[near:].tolist(), near)), "trees.skip")
        highest = max(feature)
        fits(_not_negative(feature) and highest < 3 * width, "trees.feature")
    fits(len(roots) == 0 or (min(roots) >= 0 and max(roots) < nodes), "trees.roots")
    fits(len(roots) > 0 or not spec["mean"], "trees.roots")
    if spec.get("cover") is not None:
        array(arrays, spec["cover"], "BHifd", nodes, "trees.cover")
    if spec["baseline"] is not None:
        array(arrays, spec["baseline"], "d", outputs, "trees.baseline")
    if spec["values"] is not None:
        values = array(arrays, spec["values"], "d", -1, "trees.values")
        fits(len(values) % outputs == 0, "trees.values")
        leaves = [leaf for leaf, step in zip(number, skip, strict=True) if not step]
        fits(_below(leaves, len(values) // outputs), "trees.number")
    masks = 0
    if spec["masks"] is not None:
        masks = len(array(arrays, spec["masks"], "B", -1, "trees.masks")) * 8 // MASK_BITS
    if nodes and highest >= 2 * width:
        splits = zip(feature, number, skip, strict=True)
        chosen = [value for f, value, step in splits if f >= 2 * width and step]
        fits(_below(chosen, masks) and all(map(float.is_integer, chosen)), "trees.masks")
    return outputs


def _not_negative(array: memoryview) -> bool:
    return array.format != "i" or min(array) >= 0


def _below(values: Sequence[float], limit: int) -> bool:
    # A NaN anywhere makes the sum one; and no loop in Python, for a forest may have a million leaves.
    return not values or (min(values) >= 0 and max(values) < limit and sum(values) >= 0)


KINDS = {"trees": _trees}
