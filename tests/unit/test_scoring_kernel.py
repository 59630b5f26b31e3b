"""The kernel computes what the row path does: trees to the last bit, sums almost, networks up to rounding."""

from __future__ import annotations

import ctypes.util
import itertools
import math
import random
from array import array
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline

from millrace import compiler, plan
from millrace.compiler.common import Arrays
from millrace.compiler.neighbors import ESTIMATORS
from millrace.contracts import Task
from millrace.plan.kinds import FUNCTIONS, LINKS, PAIR_LINKS
from millrace.scoring import fastest
from millrace.scoring.blocks import BlockScorer
from millrace.scoring.kernel import KernelScorer, NotCovered, Unavailable, library
from millrace.scoring.kernel.library import ABI, _load, address, start
from millrace.scoring.kernel.links import link as translated
from millrace.scoring.kernel.mlp import ACTIVATIONS
from millrace.scoring.kernel.mlp import KINDS as NETWORKS
from millrace.scoring.kernel.program import Program, _Owned
from millrace.scoring.kernel.svm import KINDS as MACHINES
from millrace.scoring.kernel.trees import METHODS
from millrace.scoring.rows import RowScorer
from millrace.scoring.rows import links as row_links
from millrace.scoring.rows.mlp import Network
from millrace.scoring.rows.svm import Kernel
from tests import pipelines, plans
from tests.unit.test_plan_format import FIELDS, document

COLOURS = ["red", "green", "blue", None]
SIGNATURE: list[dict[str, Any]] = [
    *({"name": f"x{i}", "type": "number"} for i in range(3)),
    {"name": "colour", "type": "category", "categories": COLOURS[:3]},
]


@pytest.fixture(params=["wide", "plain"])
def vectors(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both variants of the loops."""
    start(request.param == "wide")
    yield
    start()


def test_there_is_a_kernel() -> None:
    assert library().millrace_abi() == ABI, "`make setup` builds it"


def written(features: list[Any], estimator: dict[str, Any], arrays: list[Any], classes: int) -> plan.Plan:
    header = {
        "model": "m",
        "task": "regression" if not classes else "binary" if classes == 2 else "multiclass",
        "classes": [f"c{k}" for k in range(classes)],
        "signature": SIGNATURE,
        "ignored": [],
        "features": features,
        "estimator": estimator,
    }
    return plan.read(plan.write(header, arrays))


def one_hot(inputs: int) -> dict[str, Any]:
    """The numbers as they are, and the colour as three columns."""
    encoder = {
        "kind": "one-hot",
        "categories": [COLOURS[:3]],
        "codes": [None],
        "widths": [3],
        "unknown": [-1],
    }
    return {
        "kind": "columns",
        "branches": [
            {"inputs": list(range(inputs)), "steps": []},
            {"inputs": [inputs], "steps": [encoder]},
        ],
    }


def rows_of(seed: int, rows: int, thresholds: list[float]) -> list[list[Any]]:
    """Rows with values at the thresholds, around them, missing ones and infinities."""
    random_ = random.Random(seed)
    edges = [*thresholds, 0.0, -0.0, 254.0, 255.0, 1e39, -1e39, 5e-324, math.nan, math.inf, -math.inf]
    edges += [math.nextafter(value, math.inf) for value in thresholds]

    def number() -> float:
        return random_.choice(edges) if random_.random() < 0.5 else random_.gauss(0.0, 3.0)

    return [[*(number() for _ in range(3)), random_.choice([*COLOURS, "unseen"])] for _ in range(rows)]


def forest(
    seed: int,
    *,
    trees: int,
    leaves: int,
    outputs: int,
    single: bool,
    sets: bool,
    values: bool,
    mean: bool,
    levels: int,
) -> tuple[plan.Plan, list[float]]:
    """Return a random forest over six inputs, and thresholds that it has; ``levels`` bounds their number."""
    random_ = random.Random(seed)
    width, masks = 6, 4
    feature, skip, number, roots = array("i"), array("i"), array("d"), array("i")

    def grow(count: int) -> None:
        at = len(skip)
        feature.append(0)
        skip.append(0)
        if count == 1:
            number.append(float(random_.randrange(5)) if values else random_.gauss(0.0, 1.0))
            return
        section = random_.choice((0, 1, 2) if sets else (0, 1))
        feature[at] = section * width + random_.randrange(width)
        number.append(
            float(random_.randrange(masks)) if section == 2 else random_.randrange(levels) / 8 - 2.0
        )
        left = random_.randrange(1, count)
        grow(left)
        skip[at] = len(skip) - at
        grow(count - left)

    for _ in range(trees):
        roots.append(len(skip))
        grow(random_.randrange(1, leaves + 1))
    arrays: list[Any] = [
        feature,
        skip,
        number,
        roots,
        array("d", [random_.gauss(0, 1) for _ in range(outputs)]),
    ]
    estimator: dict[str, Any] = {
        **{"kind": "trees", "feature": 0, "skip": 1, "number": 2, "roots": 3, "baseline": 4},
        **{"outputs": outputs, "values": None, "masks": None, "mean": mean, "single": single},
        "link": "identity" if outputs == 1 else "probabilities",
    }
    if values:
        estimator["values"] = len(arrays)
        arrays.append(array("d", [random_.gauss(0, 1) for _ in range(5 * outputs)]))
    if sets:
        estimator["masks"] = len(arrays)
        arrays.append(array("B", b"".join(mask(random_) for _ in range(masks))))
    read = written([one_hot(3)], estimator, arrays, 0 if outputs == 1 else outputs)
    return read, sorted({n for n, step in zip(number, skip, strict=True) if step})[:20]


def mask(random_: random.Random) -> bytes:
    """Return a set of some of the first categories; all behind them are in it or not."""
    known, behind = random_.choice([0, 3, 7, 8, 15, 16, 40, 255, 256]), random_.randrange(2)
    bits = [random_.randrange(2) if code < known else behind for code in range(256)]
    return sum(bit << code for code, bit in enumerate(bits)).to_bytes(32, "little")


def columns_of(read: plan.Plan, rows: list[list[Any]]) -> dict[str, Any]:
    names = [field["name"] for field in read.signature.fields]
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def scored(read: plan.Plan, rows: list[list[Any]]) -> tuple[list[Any], list[Any]]:
    """Return what kernel and row path say."""
    scorer = KernelScorer(read)
    columns = columns_of(read, rows)
    flat = scorer.score(columns).tolist()
    score_row = scorer.row()
    assert repr([value for row in rows for value in score_row(row)]) == repr(flat)
    assert repr(scorer.score(columns).tolist()) == repr(flat)
    found = [flat[at : at + scorer.width] for at in range(0, len(flat), scorer.width)]
    by_row = [RowScorer(read).score(row) for row in rows]
    return found, [[prediction] if shares is None else shares for prediction, shares in by_row]


def same(found: list[Any], expected: list[Any]) -> None:
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def method_of(scorer: KernelScorer) -> str:
    (trees,) = (kept for kept in scorer._program._kept if isinstance(kept, _Owned))
    return METHODS[library().millrace_trees_method(trees.handle)]


@pytest.mark.usefixtures("vectors")
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    trees=st.integers(1, 7),
    leaves=st.sampled_from([1, 2, 5, 31, 300]),
    outputs=st.sampled_from([1, 3]),
    rows=st.sampled_from([1, 7, 64, 129]),
    levels=st.sampled_from([4, 40, 5000]),
    single=st.booleans(),
    sets=st.booleans(),
    values=st.booleans(),
    mean=st.booleans(),
)
def test_any_trees_are_the_row_paths_to_the_last_bit(seed: int, rows: int, **shape: Any) -> None:
    with np.errstate(over="ignore"):
        read, thresholds = forest(seed, **shape)
        table = rows_of(seed, rows, thresholds)
        same(*scored(read, table))


@pytest.mark.usefixtures("vectors")
@pytest.mark.parametrize("sets", [False, True])
@pytest.mark.parametrize(
    ("method", "trees", "leaves", "levels", "single"),
    [
        ("byte ranks", 20, 60, 30, False),
        ("word ranks", 250, 60, 100_000, True),
        ("small nodes", 5, 2000, 100_000, True),
        ("large nodes", 5, 2000, 100_000, False),
    ],
)
def test_each_method_has_its_trees(
    method: str, trees: int, leaves: int, levels: int, single: bool, sets: bool
) -> None:
    shape = {"outputs": 3, "single": single, "values": True, "mean": True, "sets": sets}
    read, thresholds = forest(1, trees=trees, leaves=leaves, levels=levels, **shape)  # type: ignore[arg-type]
    # Small nodes have no room for sets.
    assert method_of(KernelScorer(read)) == ("large nodes" if sets and method == "small nodes" else method)
    same(*scored(read, rows_of(2, 2200 if method == "byte ranks" else 70, thresholds)))


def test_a_table_that_is_no_tree_is_left_to_the_row_path() -> None:
    # Both children of the root are node 1: the walk ends, but there are no sides.
    nodes = [array("i", [0, 0]), array("i", [1, 0]), array("d", [0.5, 2.0]), array("i", [0])]
    estimator = {
        **{"kind": "trees", "feature": 0, "skip": 1, "number": 2, "roots": 3, "baseline": None, "outputs": 1},
        **{"values": None, "masks": None, "mean": False, "single": False, "link": "identity"},
    }
    read = written([one_hot(3)], estimator, nodes, 0)
    assert RowScorer(read).score([0.0, 0.0, 0.0, "red"]) == (2.0, None)
    with pytest.raises(NotCovered):
        KernelScorer(read)
    assert isinstance(fastest.block_scorer(read), BlockScorer)


def ulps(found: list[Any], expected: list[Any]) -> float:
    one, other = np.asarray(found), np.asarray(expected)
    assert np.array_equal(np.isnan(one), np.isnan(other))
    known = ~np.isnan(one) & (one != other)
    distance = np.abs(one[known] - other[known])
    return float(np.max(distance / np.spacing(np.abs(other[known])), initial=0.0))


numbers = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 1e300, -1e300, 5e-324])


@pytest.mark.usefixtures("vectors")
@settings(max_examples=25, deadline=None)
@given(
    table=st.lists(
        st.tuples(numbers, numbers, numbers, st.sampled_from([*COLOURS, "unseen"])), min_size=1, max_size=70
    ),
    weights=st.lists(st.floats(-100, 100), min_size=18, max_size=18),
    link=st.sampled_from(["identity", "exp", "logistic", "softmax"]),
)
def test_weighted_sums_are_those_of_the_row_path(table: list[Any], weights: list[float], link: str) -> None:
    outputs = 3 if link == "softmax" else 1
    arrays = [array("d", weights[: 6 * outputs]), array("d", weights[:outputs])]
    estimator = {"kind": "linear", "coef": 0, "intercept": 1, "link": link}
    classes = {"logistic": 2, "softmax": 3}.get(link, 0)
    read = written([one_hot(3)], estimator, arrays, classes)
    found, expected = scored(read, [list(row) for row in table])
    assert ulps(found, expected) <= 2.0


def layers_of(sizes: list[int], weights: list[float]) -> tuple[list[dict[str, int]], list[Any]]:
    """Return layers of these sizes, the inputs' first, and their arrays; weights are taken in turn."""
    layers, arrays = [], []
    for inputs, outputs in itertools.pairwise(sizes):
        layers.append({"coef": len(arrays), "intercept": len(arrays) + 1})
        for size in (inputs * outputs, outputs):
            arrays.append(array("d", [weights[(7 * k + len(arrays)) % len(weights)] for k in range(size)]))
    return layers, arrays


units = st.floats(-3, 3) | st.sampled_from([0.0, -0.0, math.nan, math.inf, 5e-324])


@pytest.mark.usefixtures("vectors")
@pytest.mark.parametrize("activation", ACTIVATIONS)
@settings(max_examples=10, deadline=None)
@given(
    table=st.lists(
        st.tuples(units, units, units, st.sampled_from([*COLOURS, "unseen"])), min_size=1, max_size=70
    ),
    hidden=st.lists(st.sampled_from([1, 3, 4, 9]), max_size=2),
    weights=st.lists(st.floats(-1, 1), min_size=5, max_size=11),
)
def test_networks_are_those_of_the_row_path(
    activation: str, table: list[Any], hidden: list[int], weights: list[float]
) -> None:
    layers, arrays = layers_of([6, *hidden, 1], weights)
    estimator = {"kind": "mlp", "layers": layers, "activation": activation, "link": "identity"}
    read = written([one_hot(3)], estimator, arrays, 0)
    assert KernelScorer(read).is_native
    # Sums of up to 1,500 that cancel, compensated there and not here.
    np.testing.assert_allclose(*scored(read, [list(row) for row in table]), rtol=1e-13, atol=3e-12)


@pytest.mark.usefixtures("vectors")
def test_a_network_takes_words_beside_numbers() -> None:
    layers, arrays = layers_of([5, 6, 2], [0.5, -1.25, 2.0, 0.1, -0.7])
    spec = {"layers": layers, "activation": "tanh"}
    rows = 21  # no multiple of what is summed at once
    starts, index = array("q", [0]), array("i")
    for row in range(rows):
        index.extend(k for k in range(3) if row >> k & 1)
        starts.append(len(index))
    values = array("d", [0.5 + k for k in range(len(index))])
    program = Program([memoryview(each) for each in arrays])
    words = program.sparse(lambda _: (starts, index, values), 3)
    flow = [program.field("a"), *words, program.field("b")]
    program.finish(NETWORKS["mlp"](program, spec, flow))
    columns = {name: [math.sin(k + row) for row in range(rows)] for k, name in enumerate("ab")}
    network = Network(spec, [memoryview(each) for each in arrays])
    expected: list[float] = []
    for row in range(rows):
        dense = [0.0] * 3
        for at in range(starts[row], starts[row + 1]):
            dense[index[at]] = values[at]
        expected += network([columns["a"][row], *dense, columns["b"][row]])
    np.testing.assert_allclose(program.run(columns, rows), expected, rtol=1e-13, atol=1e-14)


def family(name: str, kind: str) -> tuple[Any, Any]:
    """Return a kind's translation and its class in the row path."""
    kernel, rows = (import_module(f"millrace.scoring.{path}.{name}") for path in ("kernel", "rows"))
    return kernel.KINDS[kind], rows.KINDS[kind]


def beside_rows(
    name: str, spec: dict[str, Any], arrays: list[Any], columns: list[list[float]]
) -> tuple[list[float], list[float]]:
    """Return what the kernel and the row path say of columns, row by row."""
    views = [memoryview(each) for each in arrays]
    translate, by_row = family(name, spec["kind"])
    program = Program(views)
    program.finish(translate(program, spec, [program.field(str(k)) for k in range(len(columns))]))
    assert program.is_native
    found = program.run({str(k): column for k, column in enumerate(columns)}, len(columns[0])).tolist()
    step = by_row(spec, views)
    return found, [value for row in zip(*columns, strict=True) for value in step(list(row))]


def columns_in(seed: int, width: int, rows: int) -> list[list[float]]:
    """Return columns of a few numbers, so that many are equal, and of some that are none or endless."""
    random_ = random.Random(seed)
    ends = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0]

    def number() -> float:
        chosen = random_.random()
        return random_.choice(ends) if chosen < 0.1 else round(random_.gauss(0, 2), 0 if chosen < 0.5 else 3)

    return [[number() for _ in range(rows)] for _ in range(width)]


@pytest.mark.usefixtures("vectors")
@pytest.mark.parametrize("width", [1, 3, 8, 29, 300])
def test_naive_bayes_is_the_row_paths_to_the_last_bit(width: int) -> None:
    random_ = random.Random(width)
    sizes = {"prior": 3, "norm": 3, "mean": 3 * width, "variance": 3 * width}
    arrays = [array("d", [random_.expovariate(1.0) + 1e-9 for _ in range(n)]) for n in sizes.values()]
    spec = {"kind": "gaussian", **{name: k for k, name in enumerate(sizes)}}
    same(*beside_rows("bayes", spec, arrays, columns_in(width, width, 19)))


@pytest.mark.usefixtures("vectors")
@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev"])
@pytest.mark.parametrize(("classes", "neighbors", "leaf"), [(0, 1, 40), (0, 7, 5), (3, 20, 17), (2, 60, 3)])
def test_neighbours_are_those_of_the_row_path(
    classes: int, neighbors: int, leaf: int, metric: str, weights: str
) -> None:
    random_ = random.Random(neighbors)
    # On a grid, many points are equally far: the walk through the tree decides between them.
    points = np.asarray([[random_.randrange(4) for _ in range(3)] for _ in range(90)], dtype=np.float64)
    target = [random_.randrange(classes) if classes else random_.gauss(0, 1) for _ in points]
    kind = KNeighborsClassifier if classes else KNeighborsRegressor
    chosen = {"metric": metric, "algorithm": "kd_tree", "leaf_size": leaf, "weights": weights}
    fitted = kind(neighbors, **chosen).fit(points, target)
    arrays = Arrays()
    spec = ESTIMATORS["KNeighborsClassifier"](fitted, arrays)
    columns = columns_in(neighbors, 3, 60)
    found, expected = beside_rows("neighbors", spec, arrays.items, columns)
    same(found, expected)


POINTS = array("d", [-1.0, 0.0, 0.0, 0.5, 2.0])
LEVELS = array("d", [0.0, 0.25, 0.5, 0.75, 1.0])
COMBINED: dict[str, tuple[str, dict[str, Any], list[Any]]] = {
    "platt": ("combine", {"a": 0, "b": 1}, [array("d", [-1.5, 0.3, 2.0]), array("d", [0.1, 0.0, -1.0])]),
    "isotonic": (
        "combine",
        {"x": 0, "y": 1, "sizes": [1, 2, 3]},
        [array("d", [0.0, -1.0, 1.0, 0.0, 1.0, 3.0]), array("d", [0.4, 0.1, 0.9, 0.2, 0.3, 0.7])],
    ),
    "temperature": ("combine", {"beta": 1.7, "log": False}, []),
    "temperature of probabilities": ("combine", {"beta": 0.3, "log": True}, []),
    "votes": ("svm", {"classes": 3}, []),
    "products": ("shapes", {"terms": [[], [0], [1, 1], [2, 0, 1]]}, []),
    **{
        f"interpolate {output}": (
            "shapes",
            {"points": 0, "values": 1, "output": output},
            [POINTS * 3, LEVELS],
        )
        for output in ("uniform", "normal")
    },
    **{f"normalize {norm}": ("shapes", {"norm": norm}, []) for norm in ("l1", "l2", "max")},
    **{
        f"power {method} {power}": (
            "shapes",
            {"method": method, "lambdas": 0},
            [array("d", [power, 0.7, -1.3])],
        )
        for method in ("box-cox", "yeo-johnson")
        for power in (0.0, 2.0)
    },
    **{f"function {name}": ("shapes", {"name": name}, []) for name in FUNCTIONS},
}


@pytest.mark.parametrize("case", COMBINED)
def test_what_combines_and_bends_is_the_row_paths_to_the_last_bit(case: str) -> None:
    name, spec, arrays = COMBINED[case]
    same(*beside_rows(name, {"kind": case.split()[0], **spec}, arrays, columns_in(7, 3, 200)))


def test_one_score_has_a_temperature_for_each_of_two_classes() -> None:
    spec = {"kind": "temperature", "beta": 1.7, "log": False}
    same(*beside_rows("combine", spec, [], columns_in(7, 1, 30)))


@pytest.mark.usefixtures("vectors")
@pytest.mark.parametrize("counts", [None, [3, 2, 6]])
@pytest.mark.parametrize("kernel", ["rbf", "poly", "sigmoid"])
def test_kernel_machines_are_those_of_the_row_path(kernel: str, counts: list[int] | None) -> None:
    random_ = random.Random(5)
    outputs = 1 if counts is None else 3
    sizes = {"vectors": 11 * 4, "coef": 11 * (1 if counts is None else 2), "intercept": outputs}
    arrays = [memoryview(array("d", [random_.gauss(0, 1) for _ in range(n)])) for n in sizes.values()]
    spec: dict[str, Any] = {name: k for k, name in enumerate(sizes)}
    spec |= {"kernel": kernel, "counts": counts, "gamma": 0.3, "coef0": -0.5, "degree": 5}
    columns = {str(k): [random_.gauss(0, 2) for _ in range(21)] for k in range(4)}
    columns["2"][3:6] = [math.nan, math.inf, 1e200]
    program = Program(arrays)
    program.finish(MACHINES["kernel"](program, spec, [program.field(name) for name in columns]))
    assert program.is_native
    machine = Kernel(spec, arrays)
    expected = [value for row in zip(*columns.values(), strict=True) for value in machine(list(row))]
    assert len(expected) == 21 * outputs
    np.testing.assert_allclose(program.run(columns, 21), expected, rtol=1e-13, atol=1e-11)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize(
    ("name", "case"),
    [
        (name, case)
        for name in pipelines.ESTIMATORS
        if name.startswith("MLP") or name in ("SVR", "NuSVR")
        for case in pipelines.ESTIMATORS[name]
    ],
)
def test_fitted_networks_and_machines_run_in_the_kernel_as_they_do_in_scikit_learn(
    name: str, case: str
) -> None:
    task: Task = "multiclass" if name == "MLPClassifier" else "regression"
    frame = pipelines.table(120, 0)
    features = pipelines.ENCODERS["ColumnTransformer"]["mixed"]
    pipeline = Pipeline([("features", clone(features)), ("model", pipelines.ESTIMATORS[name][case]())])
    pipeline.fit(frame, pipelines.target(frame, task))
    data = compiler.compile(pipeline, schema=pipelines.schema(task), model="m")
    assert KernelScorer(plan.read(data)).is_native
    paths = compiler.parity(pipeline, data, pipelines.held_out()).paths
    assert set(paths) == {"rows", "blocks", "kernel"}
    # The coefficients of a machine are as large as C, and their products cancel.
    assert max(paths.values()) <= (1e-13 if name.startswith("MLP") else 1e-10)


cells = st.floats(-1e6, 1e6) | st.sampled_from([math.nan, 0.0, -0.0, 0.5, 1.0, 254.0, 255.0, 1e39, -1e39])
texts = st.none() | st.sampled_from(["a", "b", "one", "two", "One two two"]) | st.text(max_size=10)
instants = st.floats(-7e10, 3e11) | st.sampled_from([-62_135_596_800.5, 253_402_300_800.0, 1e300, math.nan])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(cells, texts, texts, instants), min_size=1, max_size=40))
def test_every_kind_of_encoder_is_the_row_paths(table: list[tuple[Any, ...]]) -> None:
    found, expected = scored(plan.read(plan.write(*document())), [list(row) for row in table])
    assert ulps(found, expected) <= 2.0


def test_columns_may_be_any_buffer_of_floats() -> None:
    read = plan.read(plans.binary())
    ages = np.asarray([30.0, math.nan, 5.0])
    ages.flags.writeable = False
    expected = [
        RowScorer(read).score([age, city])[1] for age, city in zip(ages, ["Bern", None, "x"], strict=True)
    ]
    flat = [share for shares in expected for share in shares or ()]
    scorer = KernelScorer(read)
    every: list[Any] = [ages, ages.tolist(), array("d", ages), memoryview(array("d", ages))]
    every += [
        memoryview(array("d", ages).tobytes()).cast("d"),
        np.asarray([30.0, 0.0, math.nan, 0.0, 5.0])[::2],
    ]
    for given_ages in every:
        assert scorer.score({"age": given_ages, "city": ("Bern", None, "x")}).tolist() == flat
    cities = np.asarray(["Bern", None, "x"], dtype=object)
    found = fastest.block_scorer(read).score({"age": ages, "city": cities})
    assert found.shape == (3, 2)
    assert found.ravel().tolist() == flat


def test_no_rows_have_no_scores_and_columns_of_other_lengths_are_refused() -> None:
    scorer = KernelScorer(plan.read(plan.write(*document())))
    assert scorer.score({str(field["name"]): [] for field in FIELDS}).tolist() == []
    with pytest.raises(ValueError, match="a column has 1 values instead of 2"):
        KernelScorer(plan.read(plans.binary())).score({"age": [1.0, 2.0], "city": ["Bern"]})


def test_what_python_raises_inside_a_block_is_raised() -> None:
    program = Program(())
    result = program.python(lambda row: [1.0 / row[0]], [program.field("x")], 1)
    program.finish(result)
    with pytest.raises(ZeroDivisionError):
        program.run({"x": [1.0, 0.0]}, 2)
    assert program.run({"x": [4.0, 2.0]}, 2).tolist() == [0.25, 0.5]


def test_a_library_of_another_build_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match="make setup"):
        _load(str(tmp_path / "kernel.so"))
    (tmp_path / "kernel.so").write_bytes(b"no library")
    with pytest.raises(Unavailable):
        _load(str(tmp_path / "kernel.so"))
    with pytest.raises(Unavailable, match="undefined symbol"):
        _load(ctypes.util.find_library("m") or "")
    monkeypatch.setattr(ctypes, "CDLL", lambda path: SimpleNamespace(millrace_abi=lambda: ABI))
    with pytest.raises(Unavailable, match=r"millrace_run.*make setup"):
        _load("a library that lacks a function")
    monkeypatch.setattr(ctypes, "CDLL", lambda path: SimpleNamespace(millrace_abi=lambda: ABI + 1))
    with pytest.raises(Unavailable, match="build it again"):
        _load("a library of another ABI")
    monkeypatch.undo()
    assert address(b"")[0] == 0


@pytest.mark.parametrize("link", LINKS)
def test_every_link_is_the_row_paths(link: str) -> None:
    pair = link in PAIR_LINKS
    raw = [[0.3, 1.5, -2.0], [0.0, 0.0, 0.0], [700.0, -700.0, 1.0], [0.2, 0.7, 0.1]]
    rows = [row[:1] if pair else row for row in raw]
    program = Program(())
    flow = [program.field(str(k)) for k in range(len(rows[0]))]
    program.finish(translated(program, link, flow))
    columns = {str(k): list(column) for k, column in enumerate(zip(*rows, strict=True))}
    found = program.run(columns, len(rows)).tolist()
    assert ulps(found, [value for row in rows for value in row_links.LINKS[link](list(row))]) <= 2.0
