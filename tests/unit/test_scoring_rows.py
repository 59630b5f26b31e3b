"""The row path: what it imports, and its arithmetic at the edges, beside numpy's."""

from __future__ import annotations

import datetime
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils import murmurhash3_32

from millrace import compiler, plan
from millrace.features.transformers import TIME_PARTS, TimeParts
from millrace.plan import kinds
from millrace.scoring import blocks, rows
from millrace.scoring.blocks import links as block_links
from millrace.scoring.blocks import shapes as block_shapes
from millrace.scoring.blocks import times as block_times
from millrace.scoring.rows import links as row_links
from millrace.scoring.rows import shapes as row_shapes
from millrace.scoring.rows import texts as row_texts
from millrace.scoring.rows import times as row_times
from millrace.scoring.rows import trees as row_trees
from tests import pipelines, plans
from tests.unit.test_plan_format import FIELDS, document

LIBRARY = Path(plan.__file__).parents[2]

HEAVY = {
    "contextlib",
    "dataclasses",
    "datetime",
    "inspect",
    "millrace.contracts",
    "numpy",
    "pathlib",
    "typing",
}


def imported(code: str) -> set[str]:
    """Return what a bare interpreter imports for the code, beyond what it starts with."""
    script = f"import sys; sys.path.insert(0, {str(LIBRARY)!r}); before = set(sys.modules)\n{code}\n"
    script += "print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_a_row_imports_nothing_heavy() -> None:
    data = plans.binary()
    code = (
        "from millrace import plan; from millrace.scoring.rows import RowScorer\n"
        f"p = plan.read({data!r}); s = RowScorer(p)\n"
        "s.score(p.signature.convert_row({'age': 5, 'city': 'Bern'})[0])"
    )
    modules = imported(code)
    assert "millrace.scoring.rows" in modules
    assert modules.isdisjoint(HEAVY)


def test_beyond_json_hashlib_and_zlib_it_imports_only_our_rooms() -> None:
    ours = imported("from millrace import plan; from millrace.scoring import rows")
    assert ours - imported("import __future__, hashlib, json, math, operator, struct, zlib") == {
        "millrace",
        "millrace.errors",
        "millrace.plan",
        "millrace.plan.format",
        "millrace.plan.kinds",
        "millrace.plan.signature",
        "millrace.scoring",
        "millrace.scoring.rows",
        "millrace.scoring.rows.links",
        "millrace.values",
    }


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([30.0, "Köln"], plans.logistic(4.0)),
        ([math.nan, "Bern"], plans.logistic(-1.0)),
        ([5.0, None], plans.logistic(0.5)),
        ([1e300, "unseen"], 1.0),
        ([-1e300, "unseen"], 0.0),
    ],
)
def test_a_row_by_hand(row: list[Any], expected: float) -> None:
    prediction, probabilities = rows.RowScorer(plan.read(plans.binary())).score(row)
    assert probabilities == [1.0 - expected, expected]
    assert prediction == ("yes" if expected > 0.5 else "no")


def test_regression_has_no_probabilities() -> None:
    assert rows.RowScorer(plan.read(plans.regression(intercept=2.0))).score([10.0, "Köln"]) == (4.0, None)


def test_the_first_of_equal_classes_is_predicted() -> None:
    assert rows.RowScorer(plan.read(plans.binary())).score([0.0, None]) == ("no", [0.5, 0.5])


raw = st.floats(-1e3, 1e3) | st.sampled_from([0.0, -0.0, 1e300, -1e300, math.inf, -math.inf, math.nan])


@given(st.sampled_from(kinds.LINKS), st.lists(raw, min_size=1, max_size=5))
def test_links_agree(link: str, values: list[float]) -> None:
    if link in kinds.PAIR_LINKS:
        values = values[:1]
    with np.errstate(all="ignore"):
        by_block = block_links.LINKS[link](np.asarray([values]))[0]
    np.testing.assert_allclose(row_links.LINKS[link](values), by_block, rtol=1e-15, atol=1e-300)


instants = st.floats(-7e10, 3e11) | st.sampled_from(
    [-62_135_596_800.0, -62_135_596_800.5, 253_402_300_799.0, 253_402_300_800.0, 1e300, -math.inf, math.nan]
)


@given(st.lists(instants, min_size=1, max_size=20))
def test_calendar_parts_agree_with_the_transformer(seconds: list[float]) -> None:
    spec = {"parts": list(TIME_PARTS)}
    column = np.asarray(seconds)
    by_row = [row_times.TimeParts(spec, [])([value]) for value in seconds]
    by_block = np.column_stack(block_times.TimeParts(spec, [])([column], len(column)))
    np.testing.assert_array_equal(by_row, by_block)
    if not np.isinf(column).any():
        transformer = TimeParts(TIME_PARTS).fit(column[:, None])
        np.testing.assert_array_equal(by_row, transformer.transform(column[:, None]))


@given(st.datetimes(datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59)))
def test_calendar_parts_are_those_of_datetime(moment: datetime.datetime) -> None:
    moment = moment.replace(microsecond=0)
    seconds = (moment - datetime.datetime(1970, 1, 1)).total_seconds()
    assert row_times.TimeParts({"parts": list(TIME_PARTS)}, [])([seconds]) == [
        seconds / 86400.0,
        moment.year,
        moment.month,
        moment.day,
        moment.weekday(),
        moment.timetuple().tm_yday,
        moment.hour,
        moment.minute,
        moment.second,
    ]


def test_the_parts_have_one_list() -> None:
    assert TIME_PARTS == kinds.TIME_PARTS


def test_parts_have_names_and_unknown_ones_are_refused() -> None:
    frame = pd.DataFrame({"when": [0.0, math.nan]})
    named = TimeParts(("year", "hour")).fit(frame)
    assert named.get_feature_names_out().tolist() == ["when_year", "when_hour"]
    with pytest.raises(ValueError, match="no part 'moon'"):
        TimeParts(("moon",)).fit(frame)


cells = st.floats(-1e6, 1e6) | st.sampled_from(
    [math.nan, 0.0, -0.0, 0.5, 1.0, 2.0, 254.0, 255.0, 1e39, -1e39]
)
texts = st.none() | st.sampled_from(["a", "b", "one", "two", "One two two"]) | st.text(max_size=10)


@settings(deadline=None)
@given(st.lists(st.tuples(cells, texts, texts, instants), min_size=1, max_size=8))
def test_rows_and_blocks_agree_on_every_kind(table: list[tuple[Any, ...]]) -> None:
    read = plan.read(plan.write(*document()))
    columns: dict[str, Any] = {}
    for field, values in zip(FIELDS, zip(*table, strict=True), strict=True):
        kind = object if field["type"] in ("category", "text") else np.float64
        columns[str(field["name"])] = np.asarray([*values, None], dtype=object)[:-1].astype(kind)
    by_block = blocks.BlockScorer(read).score(columns)
    scorer = rows.RowScorer(read)
    np.testing.assert_allclose([scorer.score(row)[1] for row in table], by_block, rtol=1e-15, atol=0)


def test_large_tables_stay_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    read = plan.read(plan.write(*document()))
    row = [1.5, "a", "one two", 0.0]
    expected = rows.RowScorer(read).score(row)
    monkeypatch.setattr(row_trees, "_LIST_LIMIT", 1)
    scorer = rows.RowScorer(read)
    assert isinstance(scorer._node._estimator._skip, memoryview)  # type: ignore[attr-defined]
    assert scorer.score(row) == expected


def test_an_empty_block_has_no_scores() -> None:
    columns = {str(f["name"]): np.empty(0, object if f["type"] != "number" else float) for f in FIELDS}
    columns["t"] = np.empty(0)
    assert blocks.BlockScorer(plan.read(plan.write(*document()))).score(columns).shape == (0, 3)


def test_on_a_circle_december_is_next_to_january() -> None:
    moments = [
        datetime.datetime(2024, month, 15, 23, tzinfo=datetime.UTC).timestamp() for month in (12, 1, 7)
    ]
    cycles = TimeParts((), cycles=("month", "hour")).fit(np.asarray([[0.0]]))
    december, january, july = cycles.transform(np.asarray(moments)[:, None])
    assert np.hypot(*(december - january)[:2]) < np.hypot(*(january - july)[:2]) / 3.0
    assert list(cycles.get_feature_names_out()) == [
        "x0_month_sin",
        "x0_month_cos",
        "x0_hour_sin",
        "x0_hour_cos",
    ]
    assert december[2:] == pytest.approx([-math.sin(math.pi / 12.0), math.cos(math.pi / 12.0)])
    assert np.isnan(cycles.transform(np.asarray([[math.nan]]))).all()


def test_a_cycle_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no cycle 'year'; the cycles are month, weekday, hour"):
        TimeParts(cycles=("year",)).fit(np.asarray([[0.0]]))


WIDE = {
    "words": TfidfVectorizer(preprocessor=pipelines.lower_text, analyzer="char", ngram_range=(1, 3)),
    "hashes": HashingVectorizer(preprocessor=pipelines.lower_text, n_features=1 << 17),
}


@pytest.mark.parametrize("texts", WIDE)
def test_rows_without_their_zeros_and_blocks_in_parts_score_alike(texts: str) -> None:
    frame = pipelines.table(40, 0)
    features = ColumnTransformer(
        [
            ("c", OneHotEncoder(handle_unknown="ignore"), pipelines.CATEGORIES),
            ("t", WIDE[texts], "note"),
            ("n", SimpleImputer(keep_empty_features=True), [*pipelines.NUMBERS, "void"]),
            ("p", "passthrough", ["small"]),
        ]
    )
    pipeline = Pipeline([("features", features), ("estimator", Ridge())])
    pipeline.fit(frame, pipelines.target(frame, "regression"))
    data = compiler.compile(pipeline, schema=pipelines.schema("regression", frame), model="m")
    read = plan.read(data)
    scorer = rows.RowScorer(read)
    assert scorer._features[-1].__name__ == "sparse"
    expected = pipeline.predict(frame)
    columns = {
        field["name"]: frame[field["name"]].to_numpy(dtype=object if field["type"] != "number" else float)
        for field in read.signature.fields
    }
    by_row = [scorer.score(row)[0] for row in zip(*[c.tolist() for c in columns.values()], strict=True)]
    np.testing.assert_allclose(by_row, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(blocks.BlockScorer(read).score(columns), expected, rtol=1e-12, atol=1e-12)
    plain = rows.Node(read.header["estimator"], read.arrays)
    row: Any = [column[3] for column in columns.values()]
    for step in rows.steps(read.header["features"], read.arrays):
        row = step(row)
    assert plain(row) == [by_row[3]]


def test_a_row_is_taken_with_its_zeros_where_the_estimator_needs_them() -> None:
    scorer = rows.RowScorer(plan.read(plans.binary()))
    assert isinstance(scorer._features[-1], rows.Columns)


@given(st.floats(0.0, 1.0) | st.floats(0.0, 1e-7) | st.floats(1.0 - 1e-7, 1.0))
def test_the_normal_quantile_is_that_of_scipy(p: float) -> None:
    expected = float(ndtri(p))
    by_row = row_shapes.normal_quantile(p)
    assert by_row == pytest.approx(expected, rel=2e-15, abs=0.0)
    assert block_shapes.normal_quantile(np.asarray([p]))[0] == pytest.approx(by_row, rel=1e-15, abs=0.0)


@given(st.sampled_from(kinds.FUNCTIONS), raw | st.floats())
def test_functions_are_those_of_numpy(name: str, value: float) -> None:
    with np.errstate(all="ignore"):
        expected = float(getattr(np, name)(value))
    found = row_shapes.FUNCTIONS[name](value)
    assert found == pytest.approx(expected, rel=1e-15, abs=0.0, nan_ok=True)
    assert math.isnan(found) or math.copysign(1.0, found) == math.copysign(1.0, expected)


@given(st.binary(max_size=40))
def test_the_hash_is_that_of_scikit_learn(data: bytes) -> None:
    assert row_texts.murmur_hash(data) == murmurhash3_32(data, seed=0)
