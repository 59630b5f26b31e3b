from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from millrace.contracts import Costs, Schema, Spec
from millrace.errors import BadInput
from tests.tables import CsvTable


def table(rows: int = 60, **columns: Sequence[object]) -> CsvTable:
    """Return a table of the columns, each repeated to ``rows`` rows."""
    names = list(columns)
    lines = [",".join(names)]
    for i in range(rows):
        cells = (str(columns[name][i % len(columns[name])]) for name in names)
        lines.append(",".join(f'"{cell}"' if "," in cell else cell for cell in cells))
    return CsvTable.of(("\n".join(lines) + "\n").encode())


def schema_of(spec: dict[str, Any] | None = None, **columns: Sequence[object]) -> Schema:
    return table(**columns).schema(Spec(**(spec or {})))


def type_of(values: Sequence[object]) -> tuple[str, str, str]:
    found = schema_of(v=values, f=FLOATS, y=["a", "b", "a"]).column("v")
    return found.type, found.format, found.role


FLOATS = [i * 0.37 for i in range(60)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (FLOATS, ("number", "", "feature")),
        ([1, 5, 3], ("number", "", "feature")),
        ([0, 1], ("number", "", "feature")),
        ([1.5, "NA", 2, "", 7.25], ("number", "", "feature")),
        (["1,5", "2,25", "3", "1,234"], ("number", "decimal-comma", "feature")),
        (["1,234", "12,345", "7"], ("number", "thousands-comma", "feature")),
        (["1,234.56", "999", "-1,000,000.5"], ("number", "thousands-comma", "feature")),
        (["1.234,56", "0,5", "-3,75", "12"], ("number", "thousands-point", "feature")),
        (["1.234.567", "1.000.000"], ("number", "thousands-point", "feature")),
        (["1 234", "5.5", "12 345 678.25"], ("number", "thousands-space", "feature")),
        (["1\u00a0234,5", "5,5"], ("number", "thousands-space-decimal-comma", "feature")),
        (["1'234.5", "7"], ("number", "thousands-apostrophe", "feature")),
        (["12%", "7.5%", "0%"], ("number", "%", "feature")),
        (["12 %", "7,5 %"], ("number", "decimal-comma %", "feature")),
        (["$1,234.50", "-$3", "$0.99", "5"], ("number", "thousands-comma $", "feature")),
        (["1.234,50 €", "3,00 €", "(2,00 €)"], ("number", "thousands-point €", "feature")),
        (["EUR 5", "EUR 7.25"], ("number", "EUR", "feature")),
        (["12%", "0.12"], ("category", "", "feature")),
        (["$5", "€5"], ("category", "", "feature")),
        (["1,23,456", "12,34"], ("category", "", "feature")),
        (["31.12.23", "01.02.24"], ("time", "%d.%m.%y", "feature")),
        (["12/31/23", "01/02/24"], ("time", "%m/%d/%y", "feature")),
        (["31-12-2023 10:00", "01-02-2024 11:30"], ("time", "%d-%m-%Y %H:%M", "feature")),
        (["00501", "02139", "10001"], ("category", "", "feature")),
        (["12345678901234567890", "12345678901234567891"], ("category", "", "feature")),
        (["12E45", "1E5", "7E10"], ("category", "", "feature")),
        (["true", "false"], ("boolean", "", "feature")),
        (["Yes", "no", ""], ("boolean", "", "feature")),
        (["yes", "no", "NA"], ("category", "", "feature")),
        (["2024-01-31", "", "2024-02-01", "NA"], ("time", "iso8601", "feature")),
        (["31/12/2023", "01/02/2024"], ("time", "%d/%m/%Y", "feature")),
        (["12/31/2023", "01/02/2024"], ("time", "%m/%d/%Y", "feature")),
        (["2024-01-31", "31/12/2023", "x"], ("category", "", "feature")),
        (["red", "green", "NA"], ("category", "", "feature")),
        ([f"the {i} words of row {i}" for i in range(60)], ("text", "", "feature")),
        ([f"N{i * 7919 % 97}" for i in range(60)], ("text", "", "identifier")),
        (["same"], ("category", "", "constant")),
        ([1, 1.0], ("number", "", "constant")),
        ([""], ("category", "", "empty")),
        (["NA", ""], ("category", "", "feature")),
    ],
    ids=str,
)
def test_types_and_roles(values: Sequence[object], expected: tuple[str, str, str]) -> None:
    assert type_of(values) == expected


def test_half_a_percent_of_misfits_is_let_through_and_no_more() -> None:
    rows = 1000
    for misfits, expected in ((5, "number"), (6, "text")):
        values = [f"bad{i}" if i < misfits else i * 0.5 for i in range(rows)]
        found = table(rows, v=values, f=FLOATS, y=["a", "b", "a"]).schema()
        assert found.column("v").type == expected
        said = "5 cells of 'v' do not fit" if expected == "number" else "are numbers, yet nearly every row"
        assert any(said in warning for warning in found.warnings)


def test_a_column_of_numbers_and_words_is_said_to_be_words() -> None:
    found = schema_of(v=["1", "2", "3", "bad"], y=["a", "b", "a"])
    assert found.column("v").type == "category"
    assert any("45 of its 60 values are numbers" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("name", "values", "role"),
    [
        ("row", list(range(60)), "identifier"),
        ("year", list(range(1960, 2020)), "feature"),
        ("customer_id", [i * 7919 % 10007 for i in range(60)], "identifier"),
        ("PassengerId", [i * 7919 % 10007 for i in range(60)], "identifier"),
        ("idle", [i * 7919 % 10007 for i in range(60)], "feature"),
        ("shop_id", [1, 2, 3], "feature"),
        ("price", [i * 7919 % 10007 for i in range(60)], "feature"),
        ("id", FLOATS, "feature"),
    ],
)
def test_integers_are_identifiers_only_with_a_reason(name: str, values: list[float], role: str) -> None:
    found = schema_of(**{name: values, "f": FLOATS, "y": ["a", "b", "a"]})
    assert found.column(name).role == role
    assert bool(found.column(name).reason) == (role == "identifier")


def test_a_lone_column_that_counts_is_kept() -> None:
    found = schema_of(x=list(range(60)), y=[i * 2.5 for i in range(60)])
    assert (found.column("x").role, found.task) == ("feature", "regression")


def test_more_categories_than_can_be_listed_are_text() -> None:
    data = b"w,y\n" + b"".join(b"w%d,%d\n" % (i % 1500, i % 2) for i in range(6000))
    assert CsvTable.of(data).schema().column("w").type == "text"


@pytest.mark.parametrize(
    ("values", "task", "classes", "positive"),
    [
        (["no", "yes"], "binary", ("no", "yes"), "yes"),
        (["Yes", "no"], "binary", ("Yes", "no"), "Yes"),
        ([0, 1], "binary", ("0", "1"), "1"),
        ([10, 9], "binary", ("9", "10"), "10"),
        ([1.5, 2.5], "binary", ("1.5", "2.5"), "2.5"),
        (["1", "1.0", "1", "0"], "binary", ("0", "1"), "1"),
        ([3, 1, 2], "multiclass", ("1", "2", "3"), None),
        (["c", "a", "b"], "multiclass", ("a", "b", "c"), None),
        (["None", "some", "NA"], "multiclass", ("NA", "None", "some"), None),
        (list(range(11)), "regression", (), None),
        ([0.5, 1.5, 2.5], "regression", (), None),
        (FLOATS, "regression", (), None),
    ],
    ids=str,
)
def test_the_task_follows_from_the_target(
    values: Sequence[object], task: str, classes: tuple[str, ...], positive: str | None
) -> None:
    found = schema_of(f=FLOATS, y=values)
    assert (found.task, found.classes, found.positive_class) == (task, classes, positive)
    metric = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}[task]
    assert found.metric == metric


def test_the_target_is_asked_for_or_called_target_or_last() -> None:
    columns: dict[str, Sequence[object]] = {"Target": ["a", "b"], "f": FLOATS, "g": [1, 2, 5]}
    asked = schema_of({"target": "f"}, **columns)
    assert (asked.target, asked.task) == ("f", "regression")
    assert not any("No target" in warning for warning in asked.warnings)
    named = schema_of(**columns)
    assert named.target == "Target"
    assert "taken for its name" in named.warnings[0]
    last = schema_of(f=FLOATS, g=["a", "b"])
    assert last.target == "g"
    assert "the last, 'g', is taken" in last.warnings[0]


def test_a_nameless_empty_last_column_is_not_the_target() -> None:
    found = CsvTable.of(b"f,y,\n" + b"".join(b"%d.5,%d,\n" % (i * i, i % 2) for i in range(30))).schema()
    assert found.target == "y"


def test_the_spec_is_obeyed() -> None:
    found = schema_of(
        {"target": "y", "task": "regression", "metric": "mae", "exclude": ("g",), "time_column": "t"},
        f=FLOATS,
        g=[1, 2, 3],
        t=[f"2024-01-{i:02d}" for i in range(1, 31)],
        y=[0, 1, 2],
    )
    assert (found.task, found.metric, found.time_column) == ("regression", "mae", "t")
    assert [column.name for column in found.features] == ["f", "t"]
    assert found.column("g").role == "excluded"
    assert any("'g'" in warning and "spec" in warning for warning in found.warnings)


def test_weights_and_groups_are_stored_and_no_features_unless_the_group_is_kept() -> None:
    columns: dict[str, Sequence[object]] = {
        "f": FLOATS,
        "w": [1, "", 0.5],
        "who": [f"customer{i // 2}" for i in range(30)],
        "y": ["a", "b"],
    }
    asked: dict[str, Any] = {"weight_column": "w", "group_column": "who"}
    found = schema_of(asked, **columns)
    assert [column.name for column in found.features] == ["f"]
    assert [(column.name, column.role) for column in found.stored] == [
        ("f", "feature"),
        ("w", "weight"),
        ("who", "group"),
    ]
    assert (found.weight_column, found.group_column) == ("w", "who")
    assert "20 records have no weight in 'w': they count nothing in training." in found.warnings
    assert any("it says which rows belong together: 'who'" in warning for warning in found.warnings)
    kept = schema_of(asked | {"keep": ("who",)}, **columns)
    assert [column.name for column in kept.features] == ["f", "who"]
    assert kept.group_column == "who"


def test_loss_and_metric_go_together() -> None:
    counts = [i % 25 for i in range(50)]

    def asked(**spec: Any) -> tuple[str, str, float | None]:
        found = schema_of(spec, f=FLOATS, y=counts)
        assert found.task == "regression"
        return found.loss, found.metric, found.quantile

    assert asked() == ("squared", "rmse", None)
    assert asked(loss="poisson") == ("poisson", "poisson_deviance", None)
    assert asked(loss="absolute") == ("absolute", "mae", None)
    assert asked(loss="tweedie", metric="mae") == ("tweedie", "mae", None)
    assert asked(loss="quantile", quantile=0.9) == ("quantile", "pinball_0.9", 0.9)
    assert asked(metric="mae") == ("absolute", "mae", None), "the metric says which loss"
    assert asked(metric="poisson_deviance") == ("poisson", "poisson_deviance", None)


def test_the_choice_of_the_task_is_explained() -> None:
    grades: list[object] = [1, 2, 3, 4, 5]

    def told(**spec: Any) -> tuple[str, list[str]]:
        found = schema_of(spec, f=FLOATS, y=grades)
        return found.task, [warning for warning in found.warnings if warning.startswith("The task is")]

    assert told() == (
        "multiclass",
        [
            "The task is multiclass, because the target has 5 different whole numbers, no more than 10; "
            "'task' in spec.json overrides that."
        ],
    )
    assert told(metric="r2") == ("regression", ["The task is regression, because the metric is r2."])
    assert told(task="regression") == ("regression", [])


def test_a_positive_class_may_be_spelt_otherwise_when_it_is_a_number() -> None:
    assert schema_of({"positive_class": "0.0"}, f=FLOATS, y=[0, 1]).positive_class == "0"
    assert schema_of({"positive_class": "a"}, f=FLOATS, y=["a", "b"]).positive_class == "a"


@pytest.mark.parametrize(
    ("spec", "columns", "code"),
    [
        ({"target": "z"}, {"f": FLOATS, "y": [0, 1]}, "column-unknown"),
        ({"exclude": ("z",)}, {"f": FLOATS, "y": [0, 1]}, "column-unknown"),
        ({"exclude": ("y",)}, {"f": FLOATS, "y": [0, 1]}, "target-excluded"),
        ({"time_column": "z"}, {"f": FLOATS, "y": [0, 1]}, "column-unknown"),
        ({"time_column": "f"}, {"f": FLOATS, "y": [0, 1]}, "time-column-type"),
        ({"task": "regression"}, {"f": FLOATS, "y": ["a", "b"]}, "task-impossible"),
        ({"task": "binary"}, {"f": FLOATS, "y": [0, 1, 2]}, "task-impossible"),
        ({"task": "multiclass"}, {"f": FLOATS, "y": [0, 1]}, "task-impossible"),
        ({"metric": "rmse"}, {"f": FLOATS, "y": ["a", "b"]}, "metric-unknown"),
        ({"loss": "poisson"}, {"f": FLOATS, "y": ["a", "b"]}, "loss-misplaced"),
        ({"loss": "poisson"}, {"f": FLOATS, "y": [*range(-1, 29)]}, "loss-impossible"),
        ({"loss": "gamma"}, {"f": FLOATS, "y": [*range(30)]}, "loss-impossible"),
        ({"metric": "tweedie_deviance"}, {"f": FLOATS, "y": [-0.5, *FLOATS[1:]]}, "loss-impossible"),
        ({"class_weight": "balanced"}, {"f": FLOATS, "y": FLOATS}, "class-weight-misplaced"),
        ({"weight_column": "z"}, {"f": FLOATS, "y": [0, 1]}, "column-unknown"),
        ({"weight_column": "w"}, {"f": FLOATS, "w": ["a", "b"], "y": [0, 1]}, "weight-column"),
        ({"weight_column": "w"}, {"f": FLOATS, "w": [1.5, -1.0], "y": [0, 1]}, "weight-column"),
        ({"weight_column": "w"}, {"f": FLOATS, "w": [0, ""], "y": [0, 1]}, "weight-column"),
        ({"group_column": "y"}, {"f": FLOATS, "y": [0, 1]}, "target-twice"),
        ({"costs": Costs(1.0, 10.0)}, {"f": FLOATS, "y": ["a", "b", "c"]}, "costs-misplaced"),
        ({"positive_class": "c"}, {"f": FLOATS, "y": ["a", "b"]}, "positive-class-unknown"),
        ({"positive_class": "1"}, {"f": [1.5, 2.5], "y": FLOATS}, "positive-class-misplaced"),
        ({}, {"f": FLOATS, "y": ["same"]}, "target-constant"),
        ({}, {"f": FLOATS, "y": ["1", "1.0"]}, "target-constant"),
        ({}, {"f": FLOATS, "y": [""]}, "target-missing"),
        ({}, {"f": FLOATS, "y": [f"N{i}" for i in range(60)]}, "target-classes"),
        ({}, {"f": FLOATS, "y": [f"2024-01-{i:02d}" for i in range(1, 31)]}, "target-time"),
        ({}, {"f": FLOATS, "y": [1, *[""] * 9, 2, *[""] * 9]}, "too-few-rows"),
        ({}, {"y": [0, 1]}, "no-features"),
        ({}, {"f": ["same"], "g": [""], "y": [0, 1]}, "no-features"),
    ],
    ids=str,
)
def test_what_cannot_be_learned_is_refused(spec: dict[str, Any], columns: dict[str, Any], code: str) -> None:
    with pytest.raises(BadInput) as caught:
        schema_of(spec, **columns)
    assert caught.value.code == code
    assert caught.value.where or code == "no-features"
    assert caught.value.remedy


def test_the_columns_there_are_stand_in_the_refusal() -> None:
    with pytest.raises(BadInput, match=r"'f', 'y'"):
        schema_of({"target": "z"}, f=FLOATS, y=[0, 1])


def test_a_file_of_ragged_records_is_refused() -> None:
    with pytest.raises(BadInput) as caught:
        CsvTable.of(b"a,b,c\n" + b"1,2\n" * 20).schema()
    assert caught.value.code == "no-rows"


def test_what_is_left_out_or_odd_is_said() -> None:
    found = schema_of(
        f=FLOATS,
        same=["x"],
        none=[""],
        n=[1.5, "NA", "n/a", 2.5],
        w=["red", "None", "blue"],
        y=["a"] * 30 + ["b"] * 28 + ["rare"] * 2,
    )
    said = "\n".join(found.warnings)
    for piece in ("'same'", "'none'", "'NA' (15)", "'n/a' (15)", "'None' (20)", "'rare' (2)"):
        assert piece in said
    assert "rare" in found.classes


def test_warnings_of_a_very_wide_file_stay_short() -> None:
    names = [f"column_with_a_long_name_{i}" for i in range(3000)]
    data = (
        ",".join([*names, "f", "y"])
        + "\n"
        + "".join(",".join([*["0"] * 3000, str(i * 0.5), str(i % 2)]) + "\n" for i in range(20))
    )
    found = CsvTable.of(data.encode()).schema()
    assert len(found.features) == 1
    assert sum(map(len, found.warnings)) < 10_000


@pytest.mark.parametrize("pieces", [1, 2, 7, 64])
def test_the_schema_does_not_depend_on_the_cut(pieces: int) -> None:
    lines = [
        f'{i},"text {i % 7}\r\nof rów {i}",{i / 10},2024-01-{1 + i % 28:02d},{"NA" if i % 9 == 0 else i % 5},'
        f"{i % 3}"
        for i in range(700)
    ]
    data = ("id,words,size,day,few,y\r\n" + "\r\n".join(lines) + "\r\n").encode()
    whole = CsvTable.of(data)
    cut = CsvTable.of(data, target_bytes=len(data) // pieces, block_bytes=997)
    assert len(cut.layout.chunks) > pieces // 2
    assert cut.schema() == whole.schema()
    assert cut.records == whole.records


def test_how_marked_numbers_are_read_is_said() -> None:
    rows = [f'"{1 + i},{i:03}",{i % 2}' for i in range(40)]
    schema = CsvTable.of(("amount,y\n" + "\n".join(rows) + "\n").encode()).schema()
    (style, both) = [warning for warning in schema.warnings if "'amount'" in warning]
    assert style == "The numbers of 'amount' are read in the style 'thousands-comma', so '1,000' is 1000."
    assert "would fit with a decimal comma, too" in both
    column = schema.column("amount")
    assert (column.minimum, column.maximum) == (1000.0, 40039.0)


def test_dates_that_fit_with_day_and_month_first_are_warned_of() -> None:
    rows = [f"0{1 + i % 9}/0{1 + i % 8}/2024,{i % 2}" for i in range(40)]
    schema = CsvTable.of(("d,y\n" + "\n".join(rows) + "\n").encode()).schema()
    assert schema.column("d").format == "%d/%m/%Y"
    assert any("the day is taken for the first" in warning for warning in schema.warnings)
    rows[3] = "25/01/2024,0"
    schema = CsvTable.of(("d,y\n" + "\n".join(rows) + "\n").encode()).schema()
    assert not any("taken for the first" in warning for warning in schema.warnings)


def test_evidence_of_marked_numbers_adds_up_however_the_file_is_cut() -> None:
    cells = ["$1,234.50", "$3", "7", "-$0.5", "1,000", "($2)", "$12,34", "x"]
    data = ("a;y\n" + "".join(f"{cells[i % 8]};{i}\n" for i in range(100))).encode()
    assert CsvTable.of(data, target_bytes=64).profile == CsvTable.of(data).profile
    found = CsvTable.of(data).profile.columns[0].numbers("thousands-comma $")
    assert (found.count, found.minimum, found.maximum) == (76, -2.0, 1234.5)


def test_features_that_hold_the_same_are_named_wherever_the_file_is_cut() -> None:
    rows = "".join(f"{i * 7 % 100}.5,{i * 7 % 100}.5,{i * 7 % 99}.5,{i % 2}\n" for i in range(200))
    data = f"a,b,c,y\n{rows}".encode()
    for pieces in (1, 7):
        schema = CsvTable.of(data, target_bytes=len(data) // pieces, block_bytes=313).schema()
        assert [note for note in schema.warnings if "the same in every record" in note] == [
            "'a', 'b' hold the same in every record."
        ]


def test_a_rare_class_and_columns_that_are_mostly_missing_are_told() -> None:
    rows = "".join(f"{i}.5,{'' if i % 3 else i}.25,{'no' if i % 50 else 'yes'}\n" for i in range(300))
    schema = CsvTable.of(f"a,b,y\n{rows.replace(',.25,', ',,')}".encode()).schema()
    assert "Mostly missing: 'b' (67%)." in schema.warnings
    assert "The classes are unequal: 'yes' has 2.0% of the rows: accuracy says little." in schema.warnings


def test_a_class_that_is_rarer_than_one_in_two_thousand_has_a_share_all_the_same() -> None:
    rows = "".join(f"{i}.5,{'yes' if i in (7, 3999) else 'no'}\n" for i in range(5000))
    schema = CsvTable.of(f"a,y\n{rows}".encode()).schema()
    assert any("'yes' has less than 0.1% of the rows" in warning for warning in schema.warnings)
