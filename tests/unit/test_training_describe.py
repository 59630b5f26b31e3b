"""The description of columns: exact or within its bound, and the same however the file was cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from millrace.contracts import ColumnType, Schema, Spec, encode
from millrace.features.blocks import Table, convert_chunk, read_blocks, write_block
from millrace.profile import Profile
from millrace.training.describe import CONFIDENCE, Description, describe, share_error
from millrace.training.pairs import Aftermath, Goal, aftermath, alone, association, drift, parts_of, ranks
from millrace.training.suspects import SAMPLE_ROWS, suspect
from tests.learning import real_table
from tests.tables import CsvTable

NONE = np.nan


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def words(*values: str | None) -> NDArray[Any]:
    return np.array(values, dtype=object)


def numbers(*values: float) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)


def described(data: bytes, target: str, *, target_bytes: int = 1 << 30, **spec: Any) -> Description:
    """Take a CSV file through the rooms, cut into chunks of about ``target_bytes``."""
    profile, schema, table = taken(data, target, target_bytes=target_bytes, **spec)
    return described_table(profile, schema, table)


def described_table(profile: Profile, schema: Schema, table: Table, *, seed: int = 0) -> Description:
    return describe(profile, suspect(table, schema, seed=seed), table, seed=seed)


def taken(data: bytes, target: str, *, target_bytes: int, **spec: Any) -> tuple[Profile, Schema, Table]:
    file = CsvTable.of(data, target_bytes=target_bytes)
    schema = file.schema(Spec(target=target, **spec))
    blocks = []
    for chunk in file.layout.chunks:
        part = convert_chunk(file.chunk(chunk.number), schema, file.layout).table
        blocks.append(write_block(schema, part.columns, part.target, part.record))
    return file.profile, schema, read_blocks(blocks, schema)


def csv(header: str, *columns: Any) -> bytes:
    lines = [",".join(map(str, cells)) for cells in zip(*columns, strict=True)]
    return "\n".join([header, *lines, ""]).encode()


def column_of(description: Description, name: str) -> Any:
    return next(column for column in description.columns if column.name == name)


# --- pairs -----------------------------------------------------------------------------------------


def test_ranks_are_those_of_scipy(rng: np.random.Generator) -> None:
    values = rng.integers(0, 20, 100).astype(np.float64)
    assert ranks(values) == pytest.approx((stats.rankdata(values) - 0.5) / 100, abs=1e-15)


def test_numbers_go_with_a_number_as_spearman_says(rng: np.random.Generator) -> None:
    x = rng.normal(size=200)
    y = x + rng.normal(size=200)
    holes = np.where(np.arange(200) % 7 == 0, NONE, x)
    known = ~np.isnan(holes)
    measure, found = association(holes, "number", Goal(y, 0))
    assert measure == "Spearman"
    assert found == pytest.approx(stats.spearmanr(x[known], y[known]).statistic, abs=1e-12)
    assert association(x, "number", Goal(-np.exp(x), 0))[1] == pytest.approx(-1.0)
    assert association(np.ones(200), "number", Goal(y, 0))[1] is None


def test_groups_go_with_classes_as_cramers_v_corrected_for_bias() -> None:
    a = words(*["x", "x", "y", "y", "y", "z", None] * 10)
    b = np.array([0, 0, 1, 1, 0, 1, 0] * 10)
    table = np.array([[20, 0], [10, 20], [0, 10]])
    chi2 = stats.chi2_contingency(table, correction=False).statistic
    n, r, k = 60, 3, 2
    phi2 = max(0.0, chi2 / n - (r - 1) * (k - 1) / (n - 1))
    least = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    measure, found = association(a, "category", Goal(b, 2))
    assert measure == "Cramér's V"
    assert found == pytest.approx(np.sqrt(phi2 / least), abs=1e-12)
    assert association(words(*"ab" * 50), "category", Goal(np.array([0, 1] * 50), 2))[1] == pytest.approx(1.0)
    assert association(words(*"aabb" * 50), "category", Goal(np.array([0, 1] * 100), 2))[1] == 0.0


def test_numbers_and_groups_go_together_by_the_share_of_variance_between_the_groups() -> None:
    group, value = np.array([0, 0, 0, 1, 1, 1]), numbers(1, 2, 3, 4, 5, 6)
    # Of ranks 1 to 6 the sum of squares is 17.5, between the groups 13.5; epsilon is corrected by 5 / 4.
    expected = np.sqrt(1 - (17.5 - 13.5) / 17.5 * 5 / 4)
    assert association(value, "number", Goal(group, 2)) == ("correlation ratio", pytest.approx(expected))
    letters = words(*"aaabbb")
    assert association(letters, "category", Goal(value, 0)) == ("correlation ratio", pytest.approx(expected))
    assert association(words(*"abcdef"), "text", Goal(value, 0))[1] is None, "each row is a group"


@pytest.mark.parametrize("kind", ["number", "category"])
@pytest.mark.parametrize("classes", [0, 3])
def test_what_a_column_predicts_alone_is_nearly_all_for_a_copy_and_nothing_for_chance(
    rng: np.random.Generator, kind: ColumnType, classes: int
) -> None:
    truth = rng.integers(0, 3, 1000)
    goal = Goal(truth if classes else truth.astype(np.float64), classes)
    chance = rng.integers(0, 3, 1000)

    def column(codes: NDArray[Any]) -> NDArray[Any]:
        return codes.astype(np.float64) if kind == "number" else np.array(list("abc"), dtype=object)[codes]

    copied, guessed = alone(column(truth), kind, goal), alone(column(chance), kind, goal)
    assert copied is not None and copied > 0.95
    assert guessed is not None and guessed < 0.02


def test_a_missing_value_predicts_as_well_as_a_value(rng: np.random.Generator) -> None:
    truth = rng.integers(0, 2, 400)
    found = alone(np.where(truth == 1, NONE, rng.normal(size=400)), "number", Goal(truth, 2))
    assert found is not None and found > 0.9
    assert alone(numbers(1, 2, 3, 4), "number", Goal(np.zeros(4, dtype=np.int64), 1)) is None


def test_a_category_of_values_of_their_own_predicts_nothing(rng: np.random.Generator) -> None:
    each = np.array([f"row {i}" for i in range(500)], dtype=object)
    assert alone(each, "category", Goal(rng.integers(0, 2, 500), 2)) == 0.0


def test_columns_that_add_up_to_the_target_are_found_and_no_others(rng: np.random.Generator) -> None:
    a, b, c, noise = (rng.integers(0, 500, 300).astype(np.float64) for _ in range(4))
    columns = {"noise": noise, "a": a, "b": b, "c": c, "constant": np.ones(300)}
    assert parts_of(a + b, columns) == ("a", "b")
    assert parts_of(a - 2 * b + 3 * c + 7, columns) == ("a", "b", "c")
    assert parts_of(1.8 * a + 32, columns) == ("a",)
    assert parts_of(a + b + rng.normal(size=300) * 1e-3, columns) == ()
    assert parts_of(np.ones(300), columns) == parts_of(a, {}) == ()
    assert parts_of(a[:30] + b[:30] + c[:30], {name: values[:30] for name, values in columns.items()}) == ()


def test_a_column_that_is_written_afterwards_is_found(rng: np.random.Generator) -> None:
    target = np.array([1] * 50 + [0] * 950)
    cost = np.where(np.arange(1000) < 30, np.arange(1000) + 1.0, 0.0)
    cost[500:510] = 5.0
    assert aftermath(cost, Goal(target, 2), most=0.1, times=3.0) == Aftermath(40, 30)
    assert aftermath(np.where(cost == 0, NONE, cost), Goal(target, 2), most=0.1, times=3.0) is not None
    assert aftermath(cost, Goal(target, 2), most=0.03, times=3.0) is None
    assert aftermath(rng.permutation(cost), Goal(target, 2), most=0.1, times=3.0) is None
    assert aftermath(cost, Goal(cost, 0), most=0.1, times=3.0) is None


def test_drift_is_the_distance_of_the_halves(rng: np.random.Generator) -> None:
    later = np.arange(200) >= 100
    first, second = rng.normal(size=100), rng.normal(size=100) + 1
    expected = stats.ks_2samp(first, second).statistic
    assert drift(np.concatenate([first, second]), "number", later) == pytest.approx(expected)
    assert drift(np.tile(first, 2), "number", later) == 0.0
    assert drift(np.where(later, NONE, 1.0), "number", later) == 1.0
    letters = words(*["a"] * 50, *["b"] * 50, *["a"] * 25, *["b"] * 50, *["c"] * 20, *[None] * 5)
    assert drift(letters, "category", later) == pytest.approx(0.25)
    assert drift(letters, "category", np.ones(200, dtype=bool)) is None


# --- the description ---------------------------------------------------------------------------------


def test_of_a_table_that_is_all_in_the_sample_every_figure_is_exact(rng: np.random.Generator) -> None:
    x = rng.lognormal(size=400).round(3)
    day = [f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(400)]
    colour = ["red" if i % 4 else "" if i % 8 else "blue" for i in range(400)]
    note = [f"note {i} of {'a' * (i % 5)}" for i in range(400)]
    y = ["yes" if i % 3 else "no" for i in range(400)]
    found = described(csv("x,day,colour,note,y", x, day, colour, note, y), "y")
    assert (found.rows, found.sample_rows, found.sample_error) == (400, 400, 0.0)
    number = column_of(found, "x")
    assert (number.minimum, number.maximum) == (x.min(), x.max())
    assert number.mean == pytest.approx(x.mean())
    assert number.std == pytest.approx(x.std(ddof=1))
    assert number.skew == pytest.approx(stats.skew(x))
    assert number.quantiles == {
        f"{share:g}": np.sort(x)[int(np.ceil(share * 400)) - 1] for share in (0.05, 0.25, 0.5, 0.75, 0.95)
    }
    moment = column_of(found, "day")
    assert (moment.minimum, moment.maximum) == ("2024-01-01 00:00:00", "2024-12-28 00:00:00")
    assert moment.quantiles["0.5"] in {f"{text} 00:00:00" for text in day}
    category = column_of(found, "colour")
    assert (category.missing, category.distinct, category.top_exact) == (50, 2, True)
    assert category.top == (("red", 300 / 350), ("blue", 50 / 350))
    assert category.mean_length == pytest.approx((300 * 3 + 50 * 4) / 350)
    text = column_of(found, "note")
    assert text.mean_length == pytest.approx(np.mean([len(value) for value in note]))
    assert text.longest == max(map(len, note))
    assert found.time_column == "day"
    assert column_of(found, "y").top == (("yes", 266 / 400), ("no", 134 / 400))
    json.dumps(encode(found), allow_nan=False)


@pytest.mark.slow
def test_quantiles_and_shares_of_a_sample_keep_to_their_bound(rng: np.random.Generator) -> None:
    rows = 60_000
    x = np.round(rng.lognormal(size=rows), 4)
    name = np.minimum(rng.zipf(1.5, rows), 5000)
    data = csv("x,name,y", x, [f"n{value}" for value in name], rng.integers(0, 2, rows))
    profile, schema, table = taken(data, "y", target_bytes=1 << 30)
    assert column_of(described_table(profile, schema, table), "name").top_exact is False
    order = np.sort(x)
    exact = {
        f"n{value}": count / rows for value, count in zip(*np.unique(name, return_counts=True), strict=True)
    }
    checks = misses = 0
    for seed in range(10):
        found = described_table(profile, schema, table, seed=seed)
        assert (found.sample_rows, found.confidence) == (SAMPLE_ROWS, CONFIDENCE)
        assert found.sample_error == share_error(SAMPLE_ROWS) == pytest.approx(0.01151, abs=1e-5)
        for share, value in column_of(found, "x").quantiles.items():
            low = np.searchsorted(order, value, "left") / rows
            high = np.searchsorted(order, value, "right") / rows
            checks += 1
            misses += not low - found.sample_error <= float(share) <= high + found.sample_error
        for text, share in column_of(found, "name").top:
            checks += 1
            misses += abs(share - exact[text]) > found.sample_error
    assert checks == 100
    assert misses == 0, "the bound holds for each with 99 %, and sampling a third leaves far less"


@pytest.mark.parametrize("columns", [1, 3])
def test_the_description_does_not_depend_on_the_cut(rng: np.random.Generator, columns: int) -> None:
    rows = 1500
    text = [f'"né {i},\n{i % 7}"' for i in range(rows)]
    parts = [rng.integers(0, 99, rows) for _ in range(columns)]
    name = [f"n{i % 1200}" for i in range(rows)]
    header = ",".join(["text", "name", *(f"p{i}" for i in range(columns)), "y"])
    data = csv(header, text, name, *parts, rng.normal(size=rows).round(4))
    whole = encode(described(data, "y"))
    for pieces in (2, 7, 64):
        cut = len(data) // pieces
        assert len(CsvTable.of(data, target_bytes=cut).layout.chunks) >= pieces - 1
        assert encode(described(data, "y", target_bytes=cut)) == whole


def test_a_large_table_that_was_drawn_by_hash_is_sampled_as_the_whole(
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from millrace.training import suspects as module
    from millrace.training.splits import hashed

    monkeypatch.setattr(module, "SAMPLE_ROWS", 1000)
    rows = 4000
    profile, schema, table = taken(
        csv("x,y", rng.normal(size=rows), rng.normal(size=rows)), "y", target_bytes=1 << 30
    )
    drawn = hashed(table.record, 3) < np.uint64(2**63)
    part = Table({"x": table.columns["x"][drawn]}, table.target[drawn], table.record[drawn])
    assert described_table(profile, schema, part, seed=3) == described_table(profile, schema, table, seed=3)


def test_suspects_are_named_with_the_reason_and_the_remedy(rng: np.random.Generator) -> None:
    a, b = rng.integers(0, 50, 300), rng.integers(0, 50, 300)
    found = described(csv("a,b,c,y", a, b, rng.integers(0, 50, 300), a + b), "y")
    assert [column.warnings for column in found.columns] == [
        ("leakage suspect: together they add up to the target",),
        ("leakage suspect: together they add up to the target",),
        (),
        (),
    ]
    assert "'a' (together they add up to the target), 'b'" in found.notes[0]
    assert "'keep' in spec.json" in found.notes[0]
    assert [column.role for column in found.columns] == ["suspect", "suspect", "feature", "target"]
    assert column_of(found, "a").reason == "it may give the target away: together they add up to the target"
    y = rng.integers(0, 2, 300)
    found = described(csv("copy,y", [("won", "lost")[i] for i in y], [("yes", "no")[i] for i in y]), "y")
    assert "it alone predicts" in column_of(found, "copy").warnings[0]
    assert column_of(found, "copy").role == "feature", "without it no feature is left"
    assert "no other column is left" in found.notes[0]


def test_drift_is_told_with_a_time_only_and_shown_without(rng: np.random.Generator) -> None:
    day = [f"{2000 + i // 12}-{1 + i % 12:02d}-01" for i in range(1200)]
    level = np.arange(1200) / 100 + rng.normal(size=1200)
    y = rng.integers(0, 2, 1200)
    with_time = described(csv("day,level,y", day, level, y), "y")
    assert column_of(with_time, "level").warnings == ("drifts with time",)
    assert column_of(with_time, "day").drift is None
    assert "With the time in 'day' these columns drift" in with_time.notes[0]
    without = described(csv("level,y", level, y), "y")
    assert without.time_column is None and without.notes == ()
    assert column_of(without, "level").drift > 0.5


def test_columns_that_are_left_out_and_numbers_at_the_limits_are_described_too() -> None:
    huge = np.where(np.arange(50) % 2 == 0, 1e308, -1e308)
    ids = [f"k{i:04d}x" for i in range(50)]
    found = described(
        csv("id,huge,same,gap,y", ids, huge, [1] * 50, ["", "", "7", "8", ""] * 10, [0, 1] * 25), "y"
    )
    assert column_of(found, "id").role == "identifier" and column_of(found, "id").quantiles == {}
    assert column_of(found, "same").role == "constant"
    number = column_of(found, "huge")
    assert number.std == pytest.approx(1e308 * np.sqrt(50 / 49)) and number.skew == pytest.approx(0.0)
    assert column_of(found, "gap").warnings == ("60% missing",)
    assert json.loads(json.dumps(encode(found), allow_nan=False))["columns"][1]["minimum"] == -1e308


def test_words_for_missing_and_a_rare_class_are_told() -> None:
    level = ["n/a" if i % 10 == 0 else "-" if i % 10 == 1 else i / 4 for i in range(200)]
    found = described(csv("level,y", level, ["rare" if i < 6 else "usual" for i in range(200)]), "y")
    assert column_of(found, "level").words == {"-": 20, "n/a": 20}
    assert column_of(found, "level").missing == 40
    assert column_of(found, "y").warnings == ("'rare' has 3%",)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "bikeshare",
        "birdstrikes",
        "titanic",
        "penguins_raw",
        "breast_cancer",
        "iris",
        "email",
        "saratoga",
        "hitters",
    ],
)
def test_the_columns_that_leak_in_real_tables_are_suspected_and_no_others(
    shared_data: Path, name: str
) -> None:
    data, entry = real_table(shared_data, name)
    found = described(data, entry["target"])
    suspects = {column.name for column in found.columns if "leakage suspect" in " ".join(column.warnings)}
    assert suspects == set(entry["leak_columns"])
