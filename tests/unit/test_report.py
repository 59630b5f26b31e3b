"""The report: complete, self-contained, and safe with whatever a file says."""

from __future__ import annotations

import json
import re
from html import escape
from html.parser import HTMLParser
from typing import Any

import pytest

from millrace import keys
from millrace.contracts import Column, Run, Schema, encode
from millrace.errors import NotFound
from millrace.report import figures, render, write_report
from tests.fakes import MemoryObjectStore, MemoryRunStore, make_run

NASTY = '<script>alert("x")</script> & $x_1$'


def run(**changes: Any) -> Run:
    return make_run("penguins-0123456789ab", **({"state": "REPORTING"} | changes))


COST: dict[str, Any] = {
    "usd": 0.0049,
    "gb_seconds": 274.6,
    "invocations": 8,
    "functions": {"train": {"invocations": 2, "seconds": 60.0, "memory_mb": 3008}},
    "prices": "us-east-1, 2026-11-20",
}


def threshold(at: float, precision: float | None) -> dict[str, Any]:
    return {"threshold": at, "flagged": 0.4, "precision": precision, "recall": 0.9, "f1": 0.8, "cost": 0.61}


def evaluation(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "run_id": "penguins-0123456789ab",
        "model": "penguins",
        "task": "binary",
        "target": "sex",
        "metric": "roc_auc",
        "classes": ["f", "m"],
        "rows": {"read": 344, "kept": 333, "rejected": 11, "trained": 266, "holdout": 67},
        "candidates": [
            {
                "name": "linear",
                "about": "logistic regression",
                "cv_score": 0.95,
                "cv_std": 0.01,
                "fit_seconds": 0.1,
                "state": "ok",
                "error": None,
            },
            {
                "name": "forest",
                "about": "random forest",
                "cv_score": 0.97,
                "cv_std": 0.02,
                "fit_seconds": 1.5,
                "state": "ok",
                "error": None,
            },
            {
                "name": "boosted",
                "about": "gradient boosting",
                "cv_score": None,
                "cv_std": None,
                "fit_seconds": 0,
                "state": "failed",
                "error": "ran out of memory",
            },
        ],
        "chosen": "forest",
        "features": {
            "body_mass": "Numbers stay numbers.",
            NASTY: "6 categories become a column each.",
        },
        "metrics": {"roc_auc": 0.9712, "log_loss": 0.21, "accuracy": 0.91},
        "baseline": {"roc_auc": 0.5, "log_loss": 0.69, "accuracy": 0.51},
        "parity": {"rows": 67, "max_difference": 2e-16, "limit": 1e-9, "passed": True},
        "curves": {
            "confusion": {"labels": ["f", "m"], "matrix": [[30, 3], [3, 31]]},
            "ranking": [
                {"class": "m", "rows": 34, "share": 0.507, "fpr": [0, 0.1, 1], "tpr": [0, 0.9, 1]}
                | {"recall": [0, 0.9, 1], "precision": [1, 0.9, 0.507]}
            ],
            "calibration": {
                "class": "m",
                "predicted": [0.1, 0.9],
                "observed": [0.12, 0.88],
                "low": [0.04, 0.73],
                "high": [0.27, 0.95],
                "count": [33, 34],
                "error": 0.02,
            },
        },
        "single_column": {"column": NASTY, "metrics": {"roc_auc": 0.8, "log_loss": 0.5, "accuracy": 0.7}},
        "confidence": {
            "level": 0.95,
            "resamples": 1000,
            "rows": 67,
            "metrics": {"roc_auc": [0.93, 0.99], "log_loss": [0.1, 0.33], "accuracy": [0.84, 0.97]},
            "better_than": {"baseline": [0.43, 0.49], "single_column": [-0.01, 0.2]},
        },
        "interval": None,
        "thresholds": {
            "class": "m",
            "table": [threshold(0.25, 0.75), threshold(0.5, 0.5), threshold(0.75, None)],
            "best_f1": threshold(0.4, 0.9),
            "costs": {"false_positive": 1, "false_negative": 10},
            "least_cost": threshold(0.123, 0.7),
            "by_costs": threshold(1 / 11, 0.6),
            "half": threshold(0.5, 0.5),
            "least_cost_elsewhere": 0.777,
        },
        "slices": {
            "metric": "roc_auc",
            "loss": "log loss",
            "rows": 67,
            "error": 0.05,
            "times": 1.25,
            "of_naive": 0.05,
            "least_rows": 30,
            "all": {"loss": 0.21, "score": 0.9712},
            "slices": [
                {"column": NASTY, "value": "b", "rows": 36, "loss": 0.12, "others": 0.3, "score": 0.98}
                | {"p": 1.0, "worse": False},
                {"column": NASTY, "value": NASTY, "rows": 31, "loss": 0.3, "others": 0.12, "score": None}
                | {"p": 0.01, "worse": True},
            ],
        },
        "dependence": {
            "rows": 67,
            "of": ["m"],
            "columns": [
                {"column": "body_mass", "type": "number", "values": [3000.0, 5000.0], "mean": [[0.2, 0.8]]},
                {"column": NASTY, "type": "category", "values": [NASTY, None], "mean": [[0.4, 0.5]]},
                {"column": "when", "type": "time", "values": [0.0, 3.2e7], "mean": [[0.4, 0.5]]},
                {"column": "flag", "type": "boolean", "values": [0.0, None], "mean": [[0.5, 0.5]]},
            ],
        },
        "learning_curve": {
            "candidate": "forest",
            "metric": "roc_auc",
            "rows": 53,
            "points": [
                {"rows": 32, "score": 0.9, "fitted": 0.99},
                {"rows": 213, "score": 0.96, "fitted": 0.98},
            ],
        },
        "importance": [
            {"column": "body_mass", "mean": 0.2, "std": 0.01},
            {"column": NASTY, "mean": 0.01, "std": 0.0},
        ],
        "notes": ["The split is random."],
        "libraries": {"scikit-learn": "1.9.1"},
        "plan_bytes": 12345,
        "seed": 0,
    }
    return values | changes


def schema(**changes: Any) -> Schema:
    values: dict[str, Any] = {
        "columns": (
            Column("body_mass", 0, "number", "feature", minimum=2700, maximum=6300, missing=2),
            Column(NASTY, 1, "category", "feature", categories=("a", "b", "c", "d", "e", "f")),
            Column("sex", 2, "category", "target"),
            Column("region", 3, "category", "constant", reason="Every row has the value Anvers."),
        ),
        "target": "sex",
        "task": "binary",
        "metric": "roc_auc",
        "classes": ("f", "m"),
        "positive_class": "m",
        "warnings": ("11 rows have no target.",),
    }
    return Schema(**(values | changes))


def description(**changes: Any) -> dict[str, Any]:
    mass: dict[str, Any] = {
        "name": "body_mass",
        "type": "number",
        "role": "feature",
        "reason": "",
        "missing": 2,
        "distinct": 94,
        "distinct_exact": True,
        "minimum": 2700.0,
        "maximum": 6300.0,
        "mean": 4201.75,
        "quantiles": {"0.05": 3150.0, "0.25": 3550.0, "0.5": 4050.0, "0.75": 4750.0, "0.95": 5650.0},
        "std": 801.9,
        "skew": 0.47,
        "top": [["3800", 0.035]],
        "top_exact": True,
        "mean_length": None,
        "longest": 4,
        "mean_words": None,
        "example": None,
        "association": 0.4255,
        "association_measure": "correlation ratio",
        "alone": 0.1357,
        "drift": 0.0789,
        "warnings": ["leakage suspect: it alone predicts 97% of the target"],
    }
    nothing = {"minimum": None, "maximum": None, "mean": None, "std": None, "skew": None, "quantiles": {}}
    words = mass | nothing | {"type": "category", "mean_length": 3.0, "warnings": []}
    figures = {"association": None, "association_measure": None, "alone": None, "drift": None}
    values: dict[str, Any] = {
        "rows": 344,
        "sample_rows": 333,
        "sample_error": 0.0,
        "confidence": 0.99,
        "time_column": None,
        "columns": [
            mass,
            words
            | {"name": NASTY, "distinct": 6000, "distinct_exact": False, "top_exact": False}
            | {"top": [[NASTY, 0.25], ["b", 0.125]]},
            words
            | figures
            | {"name": "sex", "role": "target", "distinct": 2, "top": [["m", 0.5], ["f", 0.5]]},
            words
            | figures
            | {"name": "region", "role": "constant", "distinct": 1, "top": [["Anvers", 1.0]]}
            | {"reason": "Every row has the value Anvers."},
        ],
        "notes": [],
    }
    return values | changes


@pytest.fixture
def drawn() -> None:
    """Asks for the figures themselves."""


@pytest.fixture(autouse=True)
def _drawings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests read the words alone: the figures of one page take a second."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(figures, "_figure", _titled)


def _titled(name: str, draw: object, alt: str, inches: tuple[float, float]) -> str:
    title = f'<title id="{name}-title">{escape(alt)}</title>'
    return f'<svg role="img" aria-labelledby="{name}-title">{title}</svg>'


class Page(HTMLParser):
    """What a browser would see: tags, attributes and text, with the tags well nested."""

    VOID = frozenset({"meta", "br", "hr", "img", "link"})

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.stack or self.stack[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def page(*args: Any, columns: dict[str, Any] | None = None) -> Page:
    seen = Page(render(*args, columns or description(), COST).decode("utf-8"))
    assert seen.stack == []
    return seen


def test_the_page_says_what_was_learned() -> None:
    text = page(run(warnings=("The target is the last column.",)), evaluation(), schema()).text
    assert "On 67 rows that no candidate saw, its area under the ROC curve is 0.9712 (0.93 to 0.99)" in text
    for fact in (
        "344",
        "ran out of memory",
        "Every row has the value Anvers.",
        "The target is the last column.",
        "11 rows have no target.",
        "The split is random.",
        "2.0e-16",
        "1.9.1",
    ):
        assert fact in text


def test_each_column_has_a_line_in_one_table() -> None:
    html = render(run(), evaluation(), schema(), description(), COST).decode()
    table = next(part for part in html.split("<table") if "<caption>4 columns</caption>" in part)
    lines = [Page(line).text for line in table.partition("<tbody>")[2].split("</tr>")[:4]]
    assert lines[0].startswith("body_massnumberfeature2942,700 · 4,050 · 6,3000.42550.13570.0789")
    assert lines[0].endswith("leakage suspect: it alone predicts 97% of the target")
    assert f"≈ 6,000{NASTY} (≈ 25%), b (≈ 12%)" in lines[1]
    assert lines[2].startswith("sexcategorytarget22m (50%), f (50%)–––")
    assert "Every row has the value Anvers." in lines[3]
    assert 'title="correlation ratio"' in table


def test_estimates_are_called_so_with_their_bound() -> None:
    exact = page(run(), evaluation(), schema()).text
    assert "estimates" not in exact and "by their order in the file" in exact
    drawn = description(rows=10**6, sample_rows=20_000, sample_error=0.0123, time_column=NASTY)
    text = page(run(), evaluation(), schema(), columns=drawn).text
    assert "estimates from 20,000 rows" in text
    assert "right to 1.2% of the rows with a certainty of 99%" in text
    assert f"by {NASTY}" in text


def test_the_chosen_candidate_leads() -> None:
    html = render(run(), evaluation(), schema(), description(), COST).decode()
    order = [html.index(f'<th scope="row">{name}') for name in ("forest", "linear", "boosted")]
    assert order == sorted(order)
    table = next(part for part in html.split("<table") if "<caption>Candidates, best first" in part)
    assert table.count('class="marked"') == table.count('<tr class="marked"><th scope="row">forest') == 1


def test_nothing_is_fetched_and_nothing_runs() -> None:
    seen = page(run(), evaluation(), schema())
    for tag, attributes in seen.tags:
        assert tag not in {"script", "link", "iframe", "img", "object", "image"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"href", "src", "xlink:href"}:
                assert value is not None and value.startswith("#")
    policy = next(a for t, a in seen.tags if t == "meta" and a.get("http-equiv"))
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_text_from_the_file_is_only_text() -> None:
    hostile = evaluation(model=NASTY, target=NASTY, chosen=NASTY, notes=[NASTY])
    seen = page(
        run(key=NASTY, dataset=NASTY, warnings=(NASTY,)),
        hostile,
        schema(target=NASTY, classes=("f", NASTY), positive_class=NASTY),
    )
    assert "script" not in {tag for tag, _ in seen.tags}
    assert NASTY in seen.text


@pytest.mark.usefixtures("drawn")
def test_figures_have_a_name_and_ids_are_unique() -> None:
    html = render(run(), evaluation(), schema(), description(), COST).decode()
    seen = Page(html)
    ids = [a["id"] for _, a in seen.tags if "id" in a]
    assert len(ids) == len(set(ids))
    drawings = [a for t, a in seen.tags if t == "svg"]
    assert len(drawings) == 11
    for attributes in drawings:
        assert attributes["role"] == "img"
        assert attributes["aria-labelledby"] in ids
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(ids)


def test_the_numbers_stand_beside_what_would_do_without_the_model() -> None:
    text = page(run(), evaluation(), schema()).text
    assert f"“One column” answers by {NASTY}, the best of all by itself" in text
    assert "not surely better than that one column (gain -0.01 to 0.2)" in text
    assert "better than no column (gain 0.43 to 0.49)" in text
    assert "1,000 times, 67 held-out rows were drawn again" in text


def test_what_was_asked_of_a_regression_and_its_rows_is_told() -> None:
    asked = schema(
        task="regression", classes=(), positive_class=None, loss="quantile", quantile=0.9, group_column="nest"
    )
    sure = evaluation()["confidence"] | {"groups": 12, "metrics": {"pinball_0.9": [1.0, 2.0]}}
    numbers = evaluation(
        task="regression",
        metric="pinball_0.9",
        metrics={"pinball_0.9": 1.5},
        baseline={"pinball_0.9": 3.0},
        curves={},
        confidence=sure,
    )
    text = page(run(), numbers, asked).text
    assert "its pinball loss of the quantile 0.9 is 1.5 (1 to 2); always answering the quantile 0.9" in text
    assert "67 held-out rows, in 12 whole groups, were drawn again" in text
    assert "rows with the same nest" in text and "takes groups for independent" in text


def test_thresholds_say_what_they_cost_and_that_none_is_applied() -> None:
    text = page(run(), evaluation(), schema()).text
    assert (
        "With 1 for a false alarm and 10 for a miss, a row costs least, 0.61, at the threshold 0.123" in text
    )
    assert "judged on the other, the least cost is 0.777" in text and "is 0.09091, whatever the rows" in text
    assert "No threshold is applied" in text
    free = evaluation()["thresholds"]
    free = {name: free[name] for name in ("class", "table", "best_f1")}
    assert "cost of a row" not in page(run(), evaluation(thresholds=free), schema()).text


def test_slices_that_are_worse_are_called_out_first() -> None:
    seen = page(run(), evaluation(), schema())
    assert f"Where {NASTY} is {NASTY}: log loss 0.3 on 31 rows, 0.12 on the others." in seen.text
    assert {"class": "call", "role": "note"} in [a for _, a in seen.tags]
    quiet = evaluation()["slices"]
    for line in quiet["slices"]:
        line["worse"] = False
    assert "No slice is much worse." in page(run(), evaluation(slices=quiet), schema()).text


def test_the_card_says_what_it_is_for_and_what_it_took() -> None:
    text = page(run(), evaluation(), schema()).text
    for said in (
        "Intended use",
        "the probability of each class, and the likelier class, of 'sex'",
        "might as well be anything from 0.93 to 0.99",
        "Columns that it looks at may give the target away: body_mass",
        "a scoring plan of 12.3 kB",
        "the run cost about 0.0049 US dollars at AWS's list prices (us-east-1, 2026-11-20)",
    ):
        assert said in text
    nothing = render(run(), evaluation(), schema(), description(), {})
    assert b"What the run used was not recorded." in nothing
    assert "updating version" not in text
    made = evaluation(updated={"version": 3, "rows": 1200, "updates": 2, "searched": 2})
    text = page(run(), made, schema()).text
    assert "updating version 3 with 1,200 new rows" in text
    assert "2 since the search that made version 2" in text


def test_weights_of_an_ensemble_are_told() -> None:
    several = evaluation()
    for candidate, weight in zip(several["candidates"], (0.25, 0.75, None), strict=True):
        candidate["weight"] = weight
    several |= {"cv_score": 0.98, "cv_std": 0.01}
    several["calibration"] = {"method": "sigmoid", "log_loss": {"none": 0.25, "sigmoid": 0.2}}
    html = render(run(), several, schema(), description(), COST).decode()
    assert html.count('<tr class="marked"><th scope="row">') >= 2
    assert "75%" in html and "25%" in html
    assert "</b> was chosen: 0.98 on the folds, ± 0.01. Its probabilities are calibrated (sigmoid)" in html


def test_sections_are_landmarks_that_links_lead_to() -> None:
    seen = page(run(), evaluation(), schema())
    ids = {a["id"] for _, a in seen.tags if "id" in a}
    links = [a["href"] for t, a in seen.tags if t == "a"]
    assert len(links) == 13 and all(link and link[1:] in ids for link in links)
    assert [t for t, _ in seen.tags if t in ("header", "nav", "main", "footer")] == [
        *("header", "nav", "main", "footer")
    ]
    headings = [t for t, _ in seen.tags if t in ("h1", "h2", "h3")]
    assert headings[:2] == ["h1", "h2"] and headings.count("h1") == 1


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("characters", [12, 2000], ids=["names", "long names"])
def test_a_wide_table_makes_a_page_of_at_most_two_megabytes(characters: int) -> None:
    """3,000 columns with what there may be of everything: importance, warnings, slices, classes, notes."""
    names = [f"column {number} ".ljust(characters, "<") for number in range(3000)]
    labels = [f"class {number} ".ljust(characters, "&") for number in range(300)]
    entry = description()["columns"][0]
    columns = [
        entry | {"name": name, "reason": "x" * 300, "role": "constant" if n % 9 == 0 else "feature"}
        for n, name in enumerate(names)
    ]
    line = evaluation()["slices"]["slices"][1]
    points = [n / 200 for n in range(200)]
    curve = {"share": 0.1, "rows": 9, "fpr": points, "tpr": points, "recall": points, "precision": points}
    wide = evaluation(
        task="multiclass",
        classes=labels,
        features=dict.fromkeys(names, "Numbers stay numbers."),
        importance=[{"column": name, "mean": 1.0 / (1 + n), "std": 0.1} for n, name in enumerate(names)],
        slices=evaluation()["slices"]
        | {"slices": [line | {"column": name, "value": "v" * 60} for name in names[:240]]},
        curves={
            "confusion": {"labels": labels[:31], "matrix": [[123456] * 31] * 31},
            "ranking": [curve | {"class": label} for label in labels[:4]],
            "residuals": {"predicted": points * 5, "actual": points * 5},
        },
        notes=["n" * 500] * 200,
    )
    wide["dependence"] |= {
        "of": labels[:4],
        "columns": [
            {"column": name, "type": kind, "values": values, "mean": [[0.25] * len(values)] * 4}
            for name, kind, values in [
                *((name, "number", [float(n) for n in range(11)]) for name in names[:3]),
                *(
                    (name, "category", [*(f"{n}" + "w" * characters for n in range(9)), None])
                    for name in names[3:6]
                ),
            ]
        ],
    }
    made = render(
        run(warnings=tuple(f"{n} " + "w" * 900 for n in range(150))),
        wide,
        schema(task="multiclass", classes=tuple(labels), positive_class=None),
        description(columns=columns),
        COST,
    )
    assert len(made) <= 2_000_000
    assert b"3,000 columns, of which the 150 with a warning" in made


def test_tables_are_accessible() -> None:
    seen = page(run(), evaluation(), schema())
    tables = sum(tag == "table" for tag, _ in seen.tags)
    assert tables == sum(tag == "caption" for tag, _ in seen.tags) > 5
    assert {a.get("scope") for t, a in seen.tags if t == "th"} == {"col", "row"}


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_the_same_input_makes_the_same_page() -> None:
    one, other = (render(run(), evaluation(), schema(), description(), COST) for _ in range(2))
    assert one == other


def test_a_regression_has_residuals_and_no_classes() -> None:
    numbers = evaluation(
        task="regression",
        metric="rmse",
        target="price",
        classes=[],
        metrics={"rmse": 529.8, "mae": 280.1, "r2": 0.982},
        baseline={"rmse": 3994.5, "mae": 3029.4, "r2": 0.0},
        curves={"residuals": {"predicted": [1.0, 2.5], "actual": [1.1, 2.0]}},
        interval={"level": 0.9, "below": -12.5, "above": 17.5, "coverage": 0.91}
        | {"coverage_low": 0.85, "coverage_high": 0.95},
        thresholds=None,
        dependence={"rows": 9, "of": [], "columns": evaluation()["dependence"]["columns"][:2]},
    )
    for line in numbers["slices"]["slices"]:
        line |= {"coverage": 0.6, "uncovered": line["worse"]}
    seen = page(run(), numbers, schema(task="regression", target="price", classes=(), positive_class=None))
    assert "The model tells the number price from 2 columns" in seen.text
    assert "Predicted against actual price, 2 held-out rows" in seen.text
    assert "Residuals against predicted price, 2 held-out rows" in seen.text
    assert "from -12.5 to +17.5 around it" in seen.text and "it held 91.0% (85.0% to 95.0%" in seen.text
    assert "Only 60.0% of the values lie in their interval." in seen.text
    assert "ROC curve. The" not in seen.text and "Thresholds" not in seen.text


@pytest.mark.parametrize("classes", [3, 40], ids=["few", "many"])
def test_the_confusion_matrix_stays_readable(classes: int) -> None:
    labels = [f"class {number}" for number in range(classes)]
    matrix = [[classes - row if row == column else 0 for column in range(classes)] for row in range(classes)]
    many = evaluation(
        task="multiclass",
        classes=labels,
        curves={"confusion": {"labels": labels, "matrix": matrix}},
        thresholds=None,
    )
    text = page(run(), many, schema(task="multiclass", classes=tuple(labels))).text
    assert ("The 20 most frequent of 40 classes." in text) == (classes == 40)
    assert "class 0" in text


def test_absent_figures_are_left_out() -> None:
    absent = ("single_column", "thresholds", "slices", "dependence", "learning_curve", "confidence")
    bare = evaluation(curves={}, importance=[], metrics={"accuracy": 0.5}, baseline={"accuracy": None})
    bare |= dict.fromkeys(absent)
    seen = page(run(), bare, schema(columns=(), warnings=()), columns=description(columns=[]))
    assert not [tag for tag, _ in seen.tags if tag == "svg"]
    assert "–" in seen.text


def test_the_use_case_reads_writes_and_notes_where() -> None:
    artifacts, runs = MemoryObjectStore("artifacts"), MemoryRunStore()
    runs.open(run())
    artifacts.add(keys.schema(run().run_id), json.dumps(encode(schema())).encode())
    artifacts.add(keys.evaluation(run().run_id), json.dumps(evaluation()).encode())
    artifacts.add(keys.columns(run().run_id), json.dumps(description()).encode())
    uri = write_report(run().run_id, artifacts, runs, lambda _: COST)
    assert uri == f"s3://artifacts/runs/{run().run_id}/report.html"
    assert runs.get(run().run_id).report == uri
    assert "0.9712" in artifacts.text(keys.run_report(run().run_id))
    assert "2,700 · 4,050 · 6,300" in artifacts.text(keys.run_report(run().run_id))
    same = artifacts.json(keys.run_report_json(run().run_id))
    assert (same["evaluation"], same["columns"], same["cost"]) == (evaluation(), description(), COST)
    assert same["run"]["run_id"] == run().run_id and same["schema"]["target"] == "sex"


def test_without_an_evaluation_there_is_no_report() -> None:
    artifacts, runs = MemoryObjectStore("artifacts"), MemoryRunStore()
    runs.open(run())
    artifacts.add(keys.schema(run().run_id), json.dumps(encode(schema())).encode())
    with pytest.raises(NotFound):
        write_report(run().run_id, artifacts, runs, lambda _: COST)
    assert runs.get(run().run_id).report is None
