"""The demo ends with 0 only if what it shows has happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from millrace.cli.demo import DATASETS, DemoFailed, _ask, _describe, _root
from millrace.cli.http import Api

ROOT = Path(__file__).resolve().parents[2]


def run(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "run": "penguins-0123456789ab",
        "dataset": "penguins",
        "state": "SUCCEEDED",
        "model": "penguins",
        "version": 2,
        "promoted": True,
        "target": "Species",
        "task": "multiclass",
        "rows_read": 344,
        "rows_kept": 344,
        "rows_rejected": 0,
        "rows_trained": 276,
        "metrics": {"accuracy": 0.98},
        "baseline": {"accuracy": 0.44},
        "report": "s3://artifacts/models/penguins/versions/2/report.html",
        "cost": {"usd": 0.004},
        "error": None,
    }
    return values | changes


class Deployed(Api):
    """Answers as a deployment would, with what a test wants to be wrong."""

    def __init__(self, **answer: Any) -> None:
        super().__init__("http://127.0.0.1:9")
        self.live = 1
        self.answer = answer
        self.rows: list[dict[str, Any]] = []

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return {"live": self.answer.get("live", self.live)}

    def post(self, path: str, body: Any) -> dict[str, Any]:
        if path.endswith("/promote"):
            self.live = body["version"]
            return {}
        self.rows = body["rows"]
        predictions = ["Adelie"] * len(body["rows"])
        shares = [{"Adelie": 0.75, "Gentoo": 0.25}] * len(body["rows"])
        return {
            "version": body["version"],
            "predictions": predictions,
            "probabilities": shares,
            **self.answer,
        }


def test_it_asks_real_rows_without_their_answer() -> None:
    api = Deployed(live=2)
    answer = _ask(api, ROOT, run())
    assert len(api.rows) == 3
    assert all("Species" not in row and len(row) == 16 for row in api.rows)
    assert all("Penguin" in truth or "penguin" in truth for truth in answer.truth)
    text = _describe(run(), answer, Path("penguins-2.html"))
    for fact in ("penguins, version 2", "0.98", "0.44", "p(Adelie)", "0.750", "$0.004", "penguins-2.html"):
        assert fact in text


def test_a_version_that_was_held_back_is_promoted() -> None:
    api = Deployed()
    assert _ask(api, ROOT, run(promoted=False)).body["version"] == 2
    assert api.live == 2


@pytest.mark.parametrize(
    ("changes", "answer", "why"),
    [
        ({"state": "FAILED", "error": {"message": "The file is empty."}}, {}, "The file is empty"),
        ({"state": "UNCHANGED"}, {}, "UNCHANGED"),
        ({}, {"live": 1}, "version 1 is live, not 2"),
        ({"rows_kept": 343}, {}, "unaccounted"),
        ({"metrics": {}}, {}, "metrics are missing"),
        ({"cost": {"usd": 0.0}}, {}, "nothing was used"),
        ({}, {"version": 1}, "another version"),
        ({}, {"predictions": []}, "no prediction"),
        ({}, {"probabilities": [{"Adelie": 0.5, "Gentoo": 0.4}]}, "sum to 1"),
        ({"task": "regression"}, {"predictions": [1.0, float("nan"), 2.0]}, "no number"),
    ],
)
def test_what_did_not_happen_fails_it(changes: dict[str, Any], answer: dict[str, Any], why: str) -> None:
    with pytest.raises(DemoFailed, match=why):
        _ask(Deployed(**{"live": 2, **answer}), ROOT, run(**changes))


def test_its_tables_are_there() -> None:
    assert _root() == ROOT
    for name in DATASETS:
        assert (ROOT / "examples" / name / f"{name}.csv").is_file()
        assert (ROOT / "examples" / name / "spec.json").is_file()
