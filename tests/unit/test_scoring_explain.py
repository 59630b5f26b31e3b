"""Explanations: Shapley values by their definition, by adding up, and as ``shap`` computes them."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
from array import array
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace import compiler, plan
from millrace.contracts import Column, Schema
from millrace.edge.predict.explained import SCALES
from millrace.errors import Unprocessable
from millrace.scoring.explain import _ORIGINS, Explainer, _Trees, gauss
from millrace.scoring.kernel.library import library
from tests import explained
from tests.infra.template import ROOT

FEATURES = 4


class Forest:
    """A random table of trees, and what a split does with a row, straight from the kind's description."""

    def __init__(self, seed: int, *, trees: int, depth: int, outputs: int = 1, shared: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.feature: list[int] = []
        self.skip: list[int] = []
        self.number: list[float] = []
        self.cover: list[int] = []
        self.masks: list[bytes] = []
        self.values: list[list[float]] = []
        self.outputs, self.shared = outputs, shared
        self.roots = [self._grow(depth, int(self.rng.integers(40, 400)))[0] for _ in range(trees)]

    def _grow(self, depth: int, cover: int) -> tuple[int, int]:
        node = len(self.skip)
        for table in (self.feature, self.skip, self.number, self.cover):
            table.append(0)
        self.cover[node] = cover
        if depth == 0 or cover < 4 or self.rng.random() < 0.2:
            self.number[node] = self._leaf()
            return node, 1
        left = int(self.rng.integers(1, cover))
        feature, section = int(self.rng.integers(FEATURES)), int(self.rng.integers(3))
        self.feature[node] = feature + section * FEATURES
        self.number[node] = float(self.rng.integers(-2, 3))
        if section == 2:
            self.number[node] = len(self.masks)
            self.masks.append(self.rng.bytes(32))
        _, size = self._grow(depth - 1, left)
        self.skip[node] = size + 1
        _, other = self._grow(depth - 1, cover - left)
        return node, size + other + 1

    def _leaf(self) -> float:
        if not self.shared:
            return float(self.rng.normal())
        self.values.append(self.rng.normal(size=self.outputs).tolist())
        return float(len(self.values) - 1)

    def plan(self) -> plan.Plan:
        spec: dict[str, Any] = {
            "kind": "trees",
            "outputs": self.outputs,
            "mean": self.shared,
            "single": False,
        }
        arrays = [
            array("i", self.roots),
            array("H", self.feature),
            array("H", self.skip),
            array("d", self.number),
            array("H", self.cover),
            array("d", [0.5 + number for number in range(self.outputs)]),
            array("B", b"".join(self.masks)),
            array("d", list(itertools.chain(*self.values))),
        ]
        names = ("roots", "feature", "skip", "number", "cover", "baseline", "masks", "values")
        spec |= {name: number for number, name in enumerate(names)} | {"link": "identity"}
        if not self.shared:
            spec["values"] = None
        header = {
            **{"model": "m", "task": "regression", "classes": [], "ignored": [], "features": []},
            "signature": [{"name": f"f{j}", "type": "number"} for j in range(FEATURES)],
            "estimator": spec,
        }
        return plan.Plan(header, tuple(map(memoryview, arrays)))

    def worth(self, row: list[float], known: frozenset[int], output: int) -> float:
        """Return the raw output when only the known features are: the game that the values belong to."""
        chosen = [
            root for number, root in enumerate(self.roots) if self.shared or number % self.outputs == output
        ]
        total = 0.5 + output + sum(self._down(root, row, known, output) for root in chosen)
        return total / len(self.roots) if self.shared else total

    def _down(self, node: int, row: list[float], known: frozenset[int], output: int) -> float:
        if not self.skip[node]:
            return self.values[int(self.number[node])][output] if self.shared else self.number[node]
        left, right = node + 1, node + self.skip[node]
        section, feature = divmod(self.feature[node], FEATURES)
        if feature in known:
            value = row[feature]
            if section == 2:
                code = int(value) if 0.0 <= value < 255.0 else 255
                goes = bool(self.masks[int(self.number[node])][code // 8] >> code % 8 & 1)
            else:
                goes = section == 1 if value != value else value <= self.number[node]
            return self._down(left if goes else right, row, known, output)
        share = self.cover[left] / self.cover[node]
        return share * self._down(left, row, known, output) + (1.0 - share) * self._down(
            right, row, known, output
        )


def by_definition(forest: Forest, row: list[float], output: int) -> list[float]:
    values = []
    for feature in range(FEATURES):
        others, total = [f for f in range(FEATURES) if f != feature], 0.0
        for size in range(FEATURES):
            weight = math.factorial(size) * math.factorial(FEATURES - 1 - size) / math.factorial(FEATURES)
            for chosen in itertools.combinations(others, size):
                known = frozenset(chosen)
                total += weight * (
                    forest.worth(row, known | {feature}, output) - forest.worth(row, known, output)
                )
        values.append(total)
    return values


cells = st.sampled_from([-3.0, -1.0, 0.0, 0.5, 1.0, 2.0, 200.0, 255.0, math.nan])


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32),
    st.lists(cells, min_size=FEATURES, max_size=FEATURES),
    st.sampled_from([(1, False), (3, False), (2, True)]),
)
def test_trees_give_the_values_of_the_definition(
    seed: int, row: list[float], shape: tuple[int, bool]
) -> None:
    outputs, shared = shape
    forest = Forest(seed, trees=2 * outputs, depth=6, outputs=outputs, shared=shared)
    explainer = Explainer(forest.plan())
    assert library()  # or the walk in Python would be all that is tested
    for output in range(outputs):
        base, parts = explainer.encoded(row, output)
        assert base == pytest.approx(forest.worth(row, frozenset(), output), rel=1e-12, abs=1e-12)
        np.testing.assert_allclose(parts, by_definition(forest, row, output), rtol=1e-10, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.lists(cells, min_size=FEATURES, max_size=FEATURES))
def test_the_kernel_and_the_walk_in_python_agree(seed: int, row: list[float]) -> None:
    explainer = Explainer(Forest(seed, trees=8, depth=9).plan())
    base, by_kernel = explainer.encoded(row, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Trees, "_by_kernel", lambda *_: None)
        assert explainer.encoded(row, 0) == (base, pytest.approx(by_kernel, rel=1e-12, abs=1e-13))


@pytest.mark.parametrize("cover", [0, None])
def test_without_the_rows_of_a_branch_there_is_no_explanation(cover: int | None) -> None:
    forest = Forest(3, trees=1, depth=3)
    forest.cover[1] = 0
    found = forest.plan()
    if cover is None:
        del found.header["estimator"]["cover"]
    with pytest.raises(Unprocessable) as refusal:
        Explainer(found)
    assert refusal.value.code == "explanation-unavailable"


@pytest.mark.parametrize("points", [1, 2, 3, 7, 20, 64])
def test_the_quadrature_is_exact_for_its_degree(points: int) -> None:
    nodes, weights = gauss(points)
    assert sum(weights) == pytest.approx(1.0, rel=1e-14)
    for degree in (0, 1, points, 2 * points - 1):
        found = sum(w * t**degree for w, t in zip(weights, nodes, strict=True))
        assert found == pytest.approx(1.0 / (degree + 1), rel=1e-12)


def test_every_kind_of_encoder_says_where_its_outputs_come_from() -> None:
    assert set(_ORIGINS) == set(plan.kinds.ENCODERS)


def test_every_link_has_a_scale() -> None:
    assert set(SCALES) == set(plan.kinds.LINKS)


@pytest.mark.slow
def test_values_are_those_of_shap() -> None:
    python = ROOT / ".tools" / "shap" / "bin" / "python"
    command = [python, "-W", "ignore", "-m", "tests.shap_values"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name, theirs in json.loads(done.stdout).items():
        estimator, frame, target = explained.fitted(name)
        columns = [Column(c, j, "number", "feature") for j, c in enumerate(frame.columns)]
        classes = tuple(map(str, np.unique(target))) if hasattr(estimator, "classes_") else ()
        task: Any = "regression" if not classes else "binary" if len(classes) == 2 else "multiclass"
        schema = Schema((*columns, Column("y", len(columns), "number", "target")), "y", task, "", classes)
        compiled = compiler.compile(estimator, schema=schema, model="m", background=frame)
        explainer = Explainer(plan.read(compiled))
        scale = max(1.0, abs(theirs["base"]))
        for row, values in zip(frame.to_numpy()[: explained.ROWS], theirs["values"], strict=True):
            base, parts = explainer.encoded(row.tolist(), explained.MODELS[name][2])
            assert abs(base - theirs["base"]) <= 1e-9 * scale, name
            np.testing.assert_allclose(parts, values, rtol=0, atol=1e-9 * scale, err_msg=name)
