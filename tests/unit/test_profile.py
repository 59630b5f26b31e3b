from __future__ import annotations

import json
import math
import statistics as reference
import subprocess
import sys
import weakref
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import millrace
from millrace.contracts import encode
from millrace.csvfile import Record, Reject
from millrace.errors import BadInput
from millrace.profile import MAX_DISTINCT, ColumnProfile, Profile, merge, profile_chunk
from tests.tables import CsvTable

CELL = st.one_of(
    st.sampled_from(
        ["", " ", "NA", "none", "true", "No", "0", "1", "007", "1,5", "1,234", "2024-01-31", "1/2/2024"]
    ),
    st.sampled_from(
        ["31.12.2023", "Jan 5, 2024", "1e400", "-inf", "12E45", "12345678901234567890", "two words"]
    ),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-100, 100).map(str),
    st.text(alphabet="abc é", max_size=4),
)


def records_of(rows: list[tuple[str, ...]], first: int = 0) -> list[Record]:
    return [Record(first + i, first + i + 2, 0, list(row), b"") for i, row in enumerate(rows)]


def column(values: list[str]) -> ColumnProfile:
    return profile_chunk(records_of([(value,) for value in values]), ["v"]).columns[0]


@given(st.lists(st.tuples(CELL, CELL), max_size=60), st.lists(st.integers(0, 60), max_size=6), st.randoms())
@settings(max_examples=150, deadline=None)
def test_parts_add_up_to_the_same_profile_in_any_cut_and_order(
    rows: list[tuple[str, str]], cuts: list[int], random: object
) -> None:
    records = records_of(list(rows))
    whole = profile_chunk(records, ["a", "b"])
    edges = sorted({0, len(records), *(min(cut, len(records)) for cut in cuts)})
    parts = [profile_chunk(records[a:b], ["a", "b"]) for a, b in pairwise(edges)]
    parts = parts or [whole]
    random.shuffle(parts)  # type: ignore[attr-defined]
    assert json.dumps(encode(merge(parts))) == json.dumps(encode(whole))


@pytest.mark.parametrize("pieces", [1, 2, 7, 64])
def test_beyond_the_distinct_limit_parts_still_add_up(pieces: int) -> None:
    data = b"id,word,size\n" + b"".join(b"%d,w%d,%d.5\n" % (i, i % 1500, i * i) for i in range(6000))
    whole = CsvTable.of(data).profile
    cut = CsvTable.of(data, target_bytes=len(data) // pieces)
    assert len(cut.layout.chunks) >= min(pieces, 2)
    assert encode(cut.profile) == encode(whole)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
@settings(deadline=None)
def test_sums_are_exact(values: list[float]) -> None:
    found = column([repr(value) for value in values]).plain
    exact = sum(map(Fraction, values)) / len(values)
    assert found.mean == float(exact)
    assert (found.minimum, found.maximum) == (min(values), max(values))


def test_counts_of_a_column() -> None:
    found = column(["1", "2", "2", "", " ", "NA", "NA", "x y", "007", "1,5", "1,234", "3.5", "1e999", "yes"])
    assert (found.count, found.missing, dict(found.words)) == (12, 2, {"NA": 2})
    assert (found.plain.count, found.plain.integers, found.plain.codes, found.plain.too_large) == (6, 4, 1, 1)
    assert (found.comma.commas, found.comma.grouped) == (2, 1)
    assert (found.multiword, found.tokens, found.longest) == (1, 13, 5)
    assert found.booleans == 2  # yes, and the 1
    assert found.distinct is not None
    assert found.distinct["2"] == 2
    assert found.example == "1,234"


def test_times_are_counted_by_format() -> None:
    found = column(["2024-01-31", "31/12/2023", "01/02/2024", "5 Jan 2024", "12:30", "nothing"])
    assert {name: evidence.count for name, evidence in found.times.items()} == {
        "iso8601": 1,
        "%d/%m/%Y": 2,
        "%m/%d/%Y": 1,
        "%d %b %Y": 1,
    }


@pytest.mark.parametrize("distinct", [2_000, 20_000])
def test_distinct_values_are_estimated_within_the_stated_error(distinct: int) -> None:
    found = column([f"value {i % distinct}" for i in range(2 * distinct)])
    assert found.distinct is None
    # Four standard errors of 1/sqrt(1022).
    assert abs(found.distinct_count - distinct) <= 4 / math.sqrt(1022) * distinct


def test_distinct_values_are_counted_exactly_up_to_the_limit() -> None:
    assert column([str(i) for i in range(MAX_DISTINCT)]).distinct_count == MAX_DISTINCT


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        (["5", "6", "7"], True),
        (["5", "6", "8"], False),
        (["5", "", "7"], False),
        (["7", "6", "5"], False),
        (["1.0", "2.0", "3.0"], False),
    ],
)
def test_a_column_that_counts_the_rows_is_known(values: list[str], counts: bool) -> None:
    assert (column(values).sequence is not None) == counts


def test_rejects_are_counted_and_not_profiled() -> None:
    records = [*records_of([("1",), ("2",)]), Reject(2, 4, 9, "", "too many fields", "3,4\n")]
    found = profile_chunk(records, ["v"])
    assert (found.rows, found.rejects, found.rows_read, found.columns[0].count) == (2, 1, 3, 2)


def test_parts_of_different_columns_are_refused() -> None:
    with pytest.raises(BadInput):
        merge([profile_chunk([], ["a"]), profile_chunk([], ["b"])])
    with pytest.raises(BadInput):
        merge([])


def test_parts_are_merged_as_they_come() -> None:
    seen: list[weakref.ref[Profile]] = []

    def parts() -> Iterator[Profile]:
        for number in range(6):
            assert sum(part_of() is not None for part_of in seen) <= 2
            part = profile_chunk(records_of([(str(number),)]), ["v"])
            seen.append(weakref.ref(part))
            yield part
            del part

    assert merge(parts()).rows == 6


def test_an_empty_chunk_changes_nothing() -> None:
    part = profile_chunk(records_of([("1",), ("x",)]), ["v"])
    assert merge([profile_chunk([], ["v"]), part]) == part
    assert isinstance(part, Profile)


def test_mean_of_the_statistics_module_is_met() -> None:
    values = [0.1, 0.2, 0.3, 1e16, -1e16, 7.25]
    assert column(list(map(repr, values))).plain.mean == reference.mean(values)


def test_profile_needs_neither_numpy_nor_pyarrow() -> None:
    lib = Path(next(iter(millrace.__path__))).parent
    code = "import sys, millrace.profile; print(sorted({'numpy', 'pyarrow', 'boto3'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(lib)}
    )
    assert done.stdout.strip() == "[]"
