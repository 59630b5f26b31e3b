"""The report: complete, self-contained, and safe with whatever a file says."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from millrace import keys
from millrace.contracts import Column, Run, Schema, encode
from millrace.errors import NotFound
from millrace.report import render, write_report
from tests.fakes import MemoryObjectStore, MemoryRunStore, make_run

NASTY = '<script>alert("x")</script> & $x_1$'


def run(**changes: Any) -> Run:
    return make_run("penguins-0123456789ab", **({"state": "REPORTING"} | changes))


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
            "ranking": [{"class": "m", "fpr": [0, 0.1, 1], "tpr": [0, 0.9, 1]}],
            "calibration": {"predicted": [0.1, 0.9], "observed": [0.12, 0.88], "count": [33, 34]},
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
    seen = Page(render(*args, columns or description()).decode("utf-8"))
    assert seen.stack == []
    return seen


def test_the_page_says_what_was_learned() -> None:
    text = page(run(warnings=("The target is the last column.",)), evaluation(), schema()).text
    assert "On 67 rows that no candidate saw, its area under the ROC curve is 0.9712" in text
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
    html = render(run(), evaluation(), schema(), description()).decode()
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
    html = render(run(), evaluation(), schema(), description()).decode()
    order = [html.index(f'<th scope="row">{name}') for name in ("forest", "linear", "boosted")]
    assert order == sorted(order)
    assert html.count('class="chosen"') == 1


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


def test_figures_have_a_name_and_ids_are_unique() -> None:
    seen = page(run(), evaluation(), schema())
    ids = [a["id"] for _, a in seen.tags if "id" in a]
    assert len(ids) == len(set(ids))
    drawings = [a for t, a in seen.tags if t == "svg"]
    assert len(drawings) == 3
    for attributes in drawings:
        assert attributes["role"] == "img"
        assert attributes["aria-labelledby"] in ids
    html = render(run(), evaluation(), schema(), description()).decode()
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(ids)


def test_tables_are_accessible() -> None:
    seen = page(run(), evaluation(), schema())
    tables = sum(tag == "table" for tag, _ in seen.tags)
    assert tables == sum(tag == "caption" for tag, _ in seen.tags) > 5
    assert {a.get("scope") for t, a in seen.tags if t == "th"} == {"col", "row"}


def test_the_same_input_makes_the_same_page() -> None:
    assert render(run(), evaluation(), schema(), description()) == render(
        run(), evaluation(), schema(), description()
    )


def test_a_regression_has_residuals_and_no_classes() -> None:
    numbers = evaluation(
        task="regression",
        metric="rmse",
        target="price",
        classes=[],
        metrics={"rmse": 529.8, "mae": 280.1, "r2": 0.982},
        baseline={"rmse": 3994.5, "mae": 3029.4, "r2": 0.0},
        curves={"residuals": {"predicted": [1.0, 2.5], "actual": [1.1, 2.0]}},
    )
    seen = page(run(), numbers, schema(task="regression", target="price", classes=(), positive_class=None))
    assert "The model tells the number price from 2 columns" in seen.text
    assert "Predicted against actual price, 2 held-out rows" in seen.text
    assert "ROC" not in seen.text


@pytest.mark.parametrize("classes", [3, 40], ids=["few", "many"])
def test_the_confusion_matrix_stays_readable(classes: int) -> None:
    labels = [f"class {number}" for number in range(classes)]
    matrix = [[classes - row if row == column else 0 for column in range(classes)] for row in range(classes)]
    many = evaluation(
        task="multiclass", classes=labels, curves={"confusion": {"labels": labels, "matrix": matrix}}
    )
    text = page(run(), many, schema(task="multiclass", classes=tuple(labels))).text
    assert ("The 20 most frequent of 40 classes." in text) == (classes == 40)
    assert "class 0" in text


def test_absent_figures_are_left_out() -> None:
    bare = evaluation(curves={}, importance=[], metrics={"accuracy": 0.5}, baseline={"accuracy": None})
    seen = page(run(), bare, schema(columns=(), warnings=()), columns=description(columns=[]))
    assert not [tag for tag, _ in seen.tags if tag == "svg"]
    assert "–" in seen.text


def test_the_use_case_reads_writes_and_notes_where() -> None:
    artifacts, runs = MemoryObjectStore("artifacts"), MemoryRunStore()
    runs.open(run())
    artifacts.add(keys.schema(run().run_id), json.dumps(encode(schema())).encode())
    artifacts.add(keys.evaluation(run().run_id), json.dumps(evaluation()).encode())
    artifacts.add(keys.columns(run().run_id), json.dumps(description()).encode())
    uri = write_report(run().run_id, artifacts, runs)
    assert uri == f"s3://artifacts/runs/{run().run_id}/report.html"
    assert runs.get(run().run_id).report == uri
    assert "0.9712" in artifacts.text(keys.run_report(run().run_id))
    assert "2,700 · 4,050 · 6,300" in artifacts.text(keys.run_report(run().run_id))


def test_without_an_evaluation_there_is_no_report() -> None:
    artifacts, runs = MemoryObjectStore("artifacts"), MemoryRunStore()
    runs.open(run())
    artifacts.add(keys.schema(run().run_id), json.dumps(encode(schema())).encode())
    with pytest.raises(NotFound):
        write_report(run().run_id, artifacts, runs)
    assert runs.get(run().run_id).report is None
