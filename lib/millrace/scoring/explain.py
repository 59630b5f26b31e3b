"""Exact Shapley values of one row, for weighted sums and for tree ensembles, with the standard library alone.

What is explained is the raw output, before the link: log-odds of a logistic model and of boosted trees,
the probability itself of a forest, the prediction of a regression. The contributions and the base, which is
the raw output that training saw on average, add up to it. What is explained neither here nor as a mean of
such models has :mod:`millrace.scoring.typical`.

*Weighted sums* [1]_: a value contributes its weight times its distance from the mean that training saw.

*Trees* [2]_: the game in which a split at a feature that is not known sends a row down both sides, each with
its share of the training rows. A leaf with the value ``v`` is reached, when the features ``S`` are known,
with the weight ``prod(o_j for j in S) * prod(a_j for j not in S)``: ``o_j`` is 1 when the row takes all the
turns at ``j`` that lead to the leaf, else 0, and ``a_j`` is the share of the rows that take them. So the
Shapley value of ``i`` is ``v * (o_i - a_i)`` times the integral from 0 to 1 of the product of
``a_j * (1 - t) + o_j * t`` over all other ``j``: a polynomial, for which Gauss' quadrature is exact. The
products are carried down a tree and their sums up again, so a tree costs its nodes times the points, as
in [3]_.

*Means of models* whose outputs are taken as they are: Shapley values of a sum of games are the sums of
theirs, so each member's count with its weight.

References
----------
.. [1] E. Strumbelj, I. Kononenko, "Explaining prediction models and individual predictions with feature
   contributions", Knowledge and Information Systems 41 (2014).
.. [2] S. Lundberg et al., "From local explanations to global understanding with explainable AI for trees",
   Nature Machine Intelligence 2 (2020), algorithm 2: the tree-path-dependent game.
.. [3] P. Yu, A. Bifet, J. Read, C. Xu, "Linear TreeShap", NeurIPS 2022.
"""

from __future__ import annotations

from array import array
from math import cos, pi
from operator import add, mul

from millrace.errors import Unprocessable
from millrace.scoring.rows import steps
from millrace.scoring.rows.trees import inputs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from millrace.plan import Plan

    Origin = tuple[int, ...]

    class Explained(Protocol):
        """An estimator that can be explained."""

        outputs: int

        def explain(self, row: list[Any], output: int) -> tuple[float, list[float]]:
            """Return base and contributions of one raw output of an encoded row."""
            ...

    class Node(Protocol):
        """One with the encoders before it."""

        outputs: int
        origins: list[Origin]
        """The fields that each contribution comes from."""

        def explain(self, values: Sequence[Any], output: int) -> tuple[float, list[float]]:
            """Return base and contributions of one raw output of a row that no encoder has seen."""
            ...


__all__ = ["Explainer", "weighted_sums"]

MAX_DEPTH = 128
"""Splits on the way to a leaf; forests without a bound rarely have 40."""


class Explainer:
    """Explains rows of a plan.

    Parameters
    ----------
    plan : Plan
        As ``plan.read`` returns it.

    Raises
    ------
    Unprocessable
        ``explanation-unavailable``: the model is neither a weighted sum nor an ensemble of trees nor a mean
        of these, or its plan lacks what training would have to tell.
    """

    __slots__ = ("_names", "_node", "_parts", "outputs")

    def __init__(self, plan: Plan) -> None:
        spec, arrays = plan.header["estimator"], plan.arrays
        self._names = [field["name"] for field in plan.signature.fields]
        origins: list[Origin] = [(number,) for number in range(len(self._names))]
        self._node = _node(spec, arrays, plan.header["features"], origins)
        self._parts = [
            " & ".join([self._names[number] for number in origin]) for origin in self._node.origins
        ]
        self.outputs = self._node.outputs

    def explain(self, values: Sequence[Any], output: int) -> tuple[float, dict[str, float]]:
        """Explain one raw output of one row.

        Parameters
        ----------
        values : sequence
            Converted values, as ``plan.signature.convert_row`` returns them.
        output : int
            Which raw output, below ``outputs``.

        Returns
        -------
        base : float
            The raw output that training saw on average.
        contributions : dict of str to float
            By field; what several fields make together stands under their names with `` & `` between them.
            They and the base add up to the raw output.
        """
        base, parts = self.encoded(values, output)
        contributions: dict[str, float] = dict.fromkeys(self._names, 0.0)
        for name, part in zip(self._parts, parts, strict=True):
            if name:  # what comes from no field is a constant, and contributes nothing
                contributions[name] = contributions.get(name, 0.0) + part
        return base, contributions

    def encoded(self, values: Sequence[Any], output: int) -> tuple[float, list[float]]:
        """Explain like :meth:`explain`, but by encoded feature, in the estimator's order."""
        return self._node.explain(values, output)


def weighted_sums(
    spec: dict[str, Any], encoders: Sequence[dict[str, Any]]
) -> list[tuple[dict[str, Any], list[dict[str, Any]]]] | None:
    """Return the weighted sums in an estimator, whose ``background`` an explanation counts from.

    Parameters
    ----------
    spec : dict
        A node, as ``plan.kinds`` describes it.
    encoders : sequence of dict
        Those before it.

    Returns
    -------
    list of (spec, encoders) or None
        Each with all encoders before it; None when the estimator has no exact explanation.
    """
    encoders = [*encoders, *spec.get("steps", ())]
    members = _members(spec, encoders)
    if members is None:
        return [(spec, encoders)] if spec["kind"] == "linear" else [] if spec["kind"] in _EXPLAINED else None
    found = []
    for member in members:
        below = weighted_sums(member, encoders[:-1])
        if below is None:
            return None
        found += below
    return found


def _node(
    spec: dict[str, Any],
    arrays: Sequence[memoryview],
    before: Sequence[dict[str, Any]],
    origins: list[Origin],
) -> Node:
    encoders = [*before, *spec.get("steps", ())]
    members = _members(spec, encoders)
    if members is None:
        return _Encoded(spec, arrays, encoders, origins)
    weights = spec["weights"] or [1.0] * len(members)
    return _Mean([_node(member, arrays, encoders[:-1], origins) for member in members], weights)


def _members(spec: dict[str, Any], encoders: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]] | None:
    """Return the members of a mean that takes their raw outputs as they are; else None."""
    last = encoders[-1] if spec["kind"] == "mean" and spec["outputs"] == 1 and encoders else {}
    if last.get("kind") != "predictions" or last["inputs"] or any(take is not None for take in last["take"]):
        return None
    members: Sequence[dict[str, Any]] = last["members"]
    return members if all(member["link"] == "identity" for member in members) else None


class _Encoded:
    """One model with the encoders before it."""

    def __init__(
        self,
        spec: dict[str, Any],
        arrays: Sequence[memoryview],
        encoders: Sequence[dict[str, Any]],
        origins: list[Origin],
    ) -> None:
        kind = _EXPLAINED.get(spec["kind"])
        if kind is None:
            raise _unavailable(f"A model of the kind {spec['kind']!r} has no exact explanation")
        for step in encoders:
            origins = _origins(step, origins)
        self.origins = origins
        self._steps = steps(encoders, arrays)
        self._model: Explained = kind(spec, arrays)
        self.outputs = self._model.outputs

    def explain(self, values: Sequence[Any], output: int) -> tuple[float, list[float]]:
        row = list(values)
        for step in self._steps:
            row = step(row)
        return self._model.explain(row, output)


class _Mean:
    """A weighted mean of models with one output each."""

    outputs = 1

    def __init__(self, members: list[Node], weights: Sequence[float]) -> None:
        if any(member.outputs != 1 for member in members):
            raise _unavailable("A mean of several outputs has no exact explanation")
        total = sum(weights)
        self._members = [(member, weight / total) for member, weight in zip(members, weights, strict=True)]
        self.origins = [origin for member in members for origin in member.origins]

    def explain(self, values: Sequence[Any], output: int) -> tuple[float, list[float]]:
        base, parts = 0.0, []
        for member, share in self._members:
            of_member, contributions = member.explain(values, output)
            base += share * of_member
            parts += [share * contribution for contribution in contributions]
        return base, parts


class _Linear:
    """Weights times distances from the mean."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        if spec.get("background") is None:
            raise _unavailable("The plan does not tell the means of what training saw")
        self._mean: list[float] = arrays[spec["background"]].tolist()
        self._intercept: list[float] = arrays[spec["intercept"]].tolist()
        self._coef = arrays[spec["coef"]]
        self.outputs = len(self._intercept)

    def explain(self, row: list[float], output: int) -> tuple[float, list[float]]:
        width = len(self._mean)
        weights = self._coef[output * width : (output + 1) * width].tolist()
        base = sum(map(float.__mul__, weights, self._mean)) + self._intercept[output]
        return base, [w * (v - mean) for w, v, mean in zip(weights, row, self._mean, strict=True)]


class _Trees:
    """The trees, walked down both sides of every split: by the kernel if it is there, else here."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        if spec.get("cover") is None:
            raise _unavailable("The plan does not tell how many training rows went down each branch")
        self._skip = array("i", arrays[spec["skip"]])
        self._feature = array("i", arrays[spec["feature"]])
        self._number = array("d", arrays[spec["number"]])
        self._cover = array("d", arrays[spec["cover"]])
        if not all(cover > 0.0 for cover in self._cover):
            raise _unavailable("The plan has branches that no training row went down")
        self._roots = array("i", arrays[spec["roots"]])
        self._values = None if spec["values"] is None else arrays[spec["values"]]
        self._masks = None if spec["masks"] is None else bytearray(arrays[spec["masks"]])
        self._baseline = None if spec["baseline"] is None else arrays[spec["baseline"]]
        self._single: bool = spec["single"]
        self._scale = len(self._roots) if spec["mean"] else 1
        self._leaves: dict[int, array[float]] = {}
        self._bases: dict[int, float] = {}
        self.outputs: int = spec["outputs"]
        deepest = _depth(self._skip, self._roots)
        if deepest > MAX_DEPTH:
            raise _unavailable(
                f"A tree has {deepest} splits on one way, and at most {MAX_DEPTH} are explained"
            )
        points, weights = gauss((deepest + 1) // 2)
        self._points, self._weights = array("d", points), array("d", weights)

    def explain(self, row: list[float], output: int) -> tuple[float, list[float]]:
        roots = self._roots
        if self._values is None:
            roots = roots[output :: self.outputs]
        values = inputs(row, self._single, self._masks is not None)
        leaves = self._leaves_of(output)
        parts: Sequence[float] | None = self._by_kernel(values, len(row), roots, leaves)
        if parts is None:
            parts = self._by_walking(values, len(row), roots, leaves)
        if output not in self._bases:
            self._bases[output] = self._base(roots, leaves, output)
        return self._bases[output], [part / self._scale for part in parts]

    def _by_kernel(
        self, row: list[Any], width: int, roots: array[int], leaves: array[float]
    ) -> array[float] | None:
        from millrace.scoring.kernel.library import Unavailable, address, library

        try:
            shapley = library().millrace_shapley
        except Unavailable:
            return None
        values, parts = array("d", row), array("d", bytes(8 * width))
        scratch = array("d", bytes(8 * width * (2 + len(self._points))))
        tables = (self._skip, self._feature, self._number, self._cover, leaves, self._masks or b"", roots)
        shapley(
            *[address(table)[0] for table in tables],
            *(len(roots), address(values)[0], width, len(self._points)),
            *[address(table)[0] for table in (self._points, self._weights, scratch, parts)],
        )
        return parts

    def _by_walking(self, row: list[Any], width: int, roots: array[int], leaves: array[float]) -> list[float]:
        parts, goes_left = [0.0] * width, self._turns(row, 2 * width)
        for root in roots:
            self._play(root, [1.0] * len(self._points), {}, width, goes_left, leaves, parts)
        return parts

    def _leaves_of(self, output: int) -> array[float]:
        """Return for each node what it adds to the output if it is a leaf."""
        if self._values is None:
            return self._number
        if output not in self._leaves:
            values = self._values[output :: self.outputs].tolist()
            nodes = zip(self._skip, self._number, strict=True)
            self._leaves[output] = array("d", [0.0 if s else values[int(n)] for s, n in nodes])
        return self._leaves[output]

    def _base(self, roots: Sequence[int], leaves: Sequence[float], output: int) -> float:
        """Return the mean over the training rows."""
        means = list(leaves)
        for node in range(len(means) - 1, -1, -1):
            if step := self._skip[node]:
                left, right = node + 1, node + step
                both = self._cover[left] * means[left] + self._cover[right] * means[right]
                means[node] = both / self._cover[node]
        total = sum([means[root] for root in roots]) / self._scale
        return total if self._baseline is None else total + self._baseline[output] / self._scale

    def _turns(self, row: list[Any], first_set: int) -> Callable[[int], bool]:
        """Return a function that tells whether the row goes left at a node."""
        feature, number, masks = self._feature, self._number, self._masks

        def goes_left(node: int) -> bool:
            chosen = feature[node]
            if chosen < first_set or masks is None:
                return bool(row[chosen] <= number[node])
            code = row[chosen]
            return bool(masks[32 * int(number[node]) + code // 8] >> code % 8 & 1)

        return goes_left

    def _play(
        self,
        node: int,
        products: list[float],
        known: dict[int, tuple[float, bool, list[float]]],
        width: int,
        goes_left: Callable[[int], bool],
        leaves: Sequence[float],
        parts: list[float],
    ) -> list[float]:
        """Add what the splits below ``node`` contribute; return the sum of its leaves times their products.

        ``known`` has for each feature on the way here its share, whether the row took every turn, and its
        factor at each point. A feature that comes again replaces its own factor, and takes back what was
        added for the leaves below with the old one.
        """
        step = self._skip[node]
        if not step:
            leaf = leaves[node]
            return [leaf * product for product in products]
        feature = self._feature[node] % width
        before = known.get(feature)
        left, sums = goes_left(node), [0.0] * len(products)
        for child, taken in ((node + 1, left), (node + step, not left)):
            share = self._cover[child] / self._cover[node]
            if before is not None:
                share, taken = share * before[0], taken and before[1]
            if not taken and share == 0.0:
                continue  # neither a training row nor this one comes here
            factors = [share * (1.0 - t) + t if taken else share * (1.0 - t) for t in self._points]
            if before is None:
                below = list(map(mul, products, factors))
            else:
                below = [p * f / old for p, f, old in zip(products, factors, before[2], strict=True)]
            known[feature] = share, taken, factors
            below = self._play(child, below, known, width, goes_left, leaves, parts)
            parts[feature] += (taken - share) * self._integral(below, factors)
            if before is not None:
                parts[feature] -= (before[1] - before[0]) * self._integral(below, before[2])
            sums = list(map(add, sums, below))
        if before is None:
            del known[feature]
        else:
            known[feature] = before
        return sums

    def _integral(self, sums: list[float], factors: list[float]) -> float:
        return sum([w * s / f for w, s, f in zip(self._weights, sums, factors, strict=True)])


def gauss(points: int) -> tuple[list[float], list[float]]:
    """Return points and weights of Gauss' quadrature from 0 to 1, exact up to the degree ``2 points - 1``.

    Newton's method on the Legendre polynomial from Tricomi's starting values.
    """
    points = max(points, 1)
    nodes, weights = [], []
    for number in range(1, points + 1):
        x, slope = cos(pi * (number - 0.25) / (points + 0.5)), 1.0
        for _ in range(8):
            last, value = 1.0, x
            for degree in range(2, points + 1):
                last, value = value, ((2 * degree - 1) * x * value - (degree - 1) * last) / degree
            slope = points * (x * value - last) / (x * x - 1.0)
            x -= value / slope
        nodes.append(0.5 * (1.0 - x))
        weights.append(1.0 / ((1.0 - x * x) * slope * slope))
    return nodes, weights


def _depth(skip: Sequence[int], roots: Sequence[int]) -> int:
    """Return the most splits on a way from a root to a leaf."""
    depth = [0] * len(skip)
    for node in range(len(skip) - 1, -1, -1):
        if step := skip[node]:
            depth[node] = 1 + max(depth[node + 1], depth[node + step])
    return max([depth[root] for root in roots], default=0)


def _origins(step: dict[str, Any], origins: list[Origin]) -> list[Origin]:
    """Return which fields each output of an encoder comes from, given the same for its inputs."""
    kind = step["kind"]
    if kind == "columns":
        result = []
        for branch in step["branches"]:
            part = [origins[i] for i in branch["inputs"]]
            for inner in branch["steps"]:
                part = _origins(inner, part)
            result += part
        return result
    if kind not in _ORIGINS:
        raise _unavailable(f"The encoder {kind!r} has no exact explanation")
    return _ORIGINS[kind](step, origins)


def _unavailable(what: str) -> Unprocessable:
    return Unprocessable(
        what,
        code="explanation-unavailable",
        where="field 'explain'",
        remedy="Leave out 'explain', or train the model again with this release.",
    )


_EXPLAINED: dict[str, Callable[[dict[str, Any], Sequence[memoryview]], Explained]] = {
    "linear": _Linear,
    "trees": _Trees,
}


def _kept(step: dict[str, Any], origins: list[Origin]) -> list[Origin]:
    return origins


def _mixed(step: dict[str, Any], origins: list[Origin]) -> list[Origin]:
    return [_union(origins)] * len(origins)


def _union(origins: Sequence[Origin]) -> Origin:
    return tuple(sorted({number for origin in origins for number in origin}))


def _imputed(step: dict[str, Any], origins: list[Origin]) -> list[Origin]:
    kept = [origin for origin, fill in zip(origins, step["fill"], strict=True) if fill is not None]
    return kept + [origins[i] for i in step["indicators"]]


def _predicted(step: dict[str, Any], origins: list[Origin]) -> list[Origin]:
    if step["inputs"] or any(take is None for take in step["take"]):
        raise _unavailable("A model of models has no exact explanation")
    return [_union(origins)] * sum(map(len, step["take"]))


_ORIGINS: dict[str, Callable[[dict[str, Any], list[Origin]], list[Origin]]] = {
    "impute": _imputed,
    "scale": _kept,
    "affine": _kept,
    "clip": _kept,
    "power": _kept,
    "interpolate": _kept,
    "function": _kept,
    "normalize": _mixed,
    "bins": _kept,
    "products": lambda step, origins: [_union([origins[i] for i in term]) for term in step["terms"]],
    "ordinal": _kept,
    "one-hot": lambda step, origins: [
        o for o, n in zip(origins, step["widths"], strict=True) for _ in range(n)
    ],
    "lookup": lambda step, origins: [origin for origin in origins for _ in range(step["outputs"])],
    "words": lambda step, origins: [_union(origins)] * len(step["terms"]),
    "hash": lambda step, origins: [_union(origins)] * step["width"],
    "weigh": lambda step, origins: origins if step["norm"] is None else _mixed(step, origins),
    "predictions": _predicted,
    "time-parts": lambda step, origins: [origin for origin in origins for _ in step["parts"]],
}
"""By kind of encoder: which fields each output comes from, given the same of the inputs."""
