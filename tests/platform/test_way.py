"""The main job, as a user does it: upload a table, wait, ask for predictions; then upload again."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import time
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from millrace import keys
from millrace.cli.cost import measure
from millrace.cli.http import post_file
from millrace.edge.estimate import estimate
from millrace.runs.ingest import parse_spec
from tests.platform.conftest import PENGUINS_FILE, PENGUINS_SPEC
from tests.platform.stack import Stack

MODEL = "penguins"


@pytest.fixture(scope="module")
def rows(penguins_csv: bytes) -> list[dict[str, str | None]]:
    """Every tenth row of the table, as a caller sends it; an empty field is null."""
    table = list(csv.DictReader(io.StringIO(penguins_csv.decode())))
    return [{name: value or None for name, value in row.items()} for row in table[::10]]


def predict(stack: Stack, **body: Any) -> Any:
    answer = stack.post("/predict", body)
    assert answer.status == 200, answer.text
    return answer.json


def wait_for_version(stack: Stack, row: dict[str, Any], version: int) -> None:
    """Ask until ``version`` answers: ``predict`` may lag behind the alias by its freshness."""
    deadline = time.monotonic() + 30
    while (answered := predict(stack, model=MODEL, rows=[row])["version"]) != version:
        assert time.monotonic() < deadline, f"version {answered} still answers, not {version}"
        time.sleep(0.2)


def test_an_upload_becomes_a_live_version(stack: Stack, penguins: dict[str, Any]) -> None:
    assert penguins["state"] == "SUCCEEDED", penguins["error"]
    assert (penguins["model"], penguins["version"], penguins["promoted"]) == (MODEL, 1, True)
    assert penguins["file"].endswith(PENGUINS_FILE)
    assert penguins["rows_read"] == penguins["rows_kept"] + penguins["rows_rejected"] == 344
    assert 0 < penguins["rows_trained"] < 344
    assert all(part["done"] == part["total"] > 0 for part in penguins["progress"].values())
    assert set(penguins["progress"]) == {"profile", "convert", "train"}
    assert penguins["progress"]["convert"]["total"] > 1, "the file should have been cut"
    assert penguins["progress"]["train"]["total"] >= 2, "candidates should have been trained side by side"
    assert penguins["metrics"]["log_loss"] < penguins["baseline"]["log_loss"] / 2
    assert penguins["cost"]["usd"] > 0


def test_a_run_sends_about_the_requests_that_an_estimate_expects(
    penguins: dict[str, Any], penguins_csv: bytes, tmp_path: Path
) -> None:
    file = tmp_path / PENGUINS_FILE
    file.write_bytes(penguins_csv)
    spec = parse_spec(json.dumps(PENGUINS_SPEC).encode(), "spec.json")
    progress = penguins["progress"]
    size, schema = measure(file, spec, workers=1)
    size = dataclasses.replace(size, chunks=progress["convert"]["total"])
    found = estimate(size, schema, spec.budget, shards=1)
    assert found["functions"]["train"]["invocations"] == progress["train"]["total"]
    expected = found["requests"]
    assert set(expected) == set(penguins["cost"]["requests"])
    for kind, sent in penguins["cost"]["requests"].items():
        assert 0.5 * sent <= expected[kind] <= 2 * sent, (kind, sent, expected[kind])


def test_the_plan_was_held_against_the_pipeline_before_it_was_registered(
    stack: Stack, penguins: dict[str, Any]
) -> None:
    version = json.loads(stack.read(f"models/{MODEL}/versions/1/version.json"))
    assert version["parity"]["passed"] is True
    assert version["parity"]["max_difference"] <= version["parity"]["limit"] == 1e-9
    assert version["parity"]["rows"] == penguins["rows_kept"] - penguins["rows_trained"]


def test_the_report_lies_where_the_run_says(stack: Stack, penguins: dict[str, Any]) -> None:
    bucket, _, key = penguins["report"].removeprefix("s3://").partition("/")
    assert bucket == stack.artifact_bucket
    assert stack.read(key).lower().startswith(b"<!doctype html>")


def test_predictions_come_with_probabilities(
    stack: Stack, penguins: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    asked = [{name: value for name, value in row.items() if name != "Species"} for row in rows]
    answer = predict(stack, model=MODEL, rows=asked)
    assert (answer["model"], answer["version"]) == (MODEL, 1)
    right = sum(guess == row["Species"] for guess, row in zip(answer["predictions"], rows, strict=True))
    assert right >= 0.9 * len(rows)
    for guess, probability in zip(answer["predictions"], answer["probabilities"], strict=True):
        assert abs(sum(probability.values()) - 1) < 1e-9
        assert probability[guess] == max(probability.values())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({"model": "nobody", "rows": [{}]}, 404, id="unknown-model"),
        pytest.param(b"{", 400, id="malformed"),
        pytest.param(b'{"model": "penguins", "rows": [{"Body Mass (g)": NaN}]}', 400, id="nan-literal"),
        pytest.param({"model": MODEL, "rows": [{"Body Mass (g)": "heavy"}]}, 422, id="wrong-type"),
        pytest.param({"model": MODEL, "rows": [{}], "strict": True}, 422, id="strict"),
        pytest.param({"model": MODEL, "rows": [{"Comments": "x" * 5_500_000}]}, 413, id="too-large"),
    ],
)
def test_a_request_that_cannot_be_answered_is_a_problem_with_a_code(
    stack: Stack, penguins: dict[str, Any], body: Any, status: int
) -> None:
    answer = stack.post("/predict", body)
    assert answer.status == status, answer.text
    assert answer.content_type.startswith("application/problem+json")
    assert answer.json["code"]
    assert answer.json["status"] == status


def test_odd_values_are_scored_with_a_warning(stack: Stack, penguins: dict[str, Any]) -> None:
    row = {"Body Mass (g)": "4750", "Island": "Atlantis", "Wings": 2}
    answer = predict(stack, model=MODEL, rows=[row])
    codes = {(warning["field"], warning["code"]) for warning in answer["warnings"]}
    assert {("Island", "unseen"), ("Wings", "unknown-field"), ("Sex", "missing")} <= codes
    assert all(warning["row"] == 0 and warning["message"] for warning in answer["warnings"])
    assert not [code for field, code in codes if field == "Body Mass (g)"]


def test_a_repeated_event_changes_nothing(stack: Stack, penguins: dict[str, Any]) -> None:
    key = f"datasets/{MODEL}/{PENGUINS_FILE}"
    version = stack.s3.head_object(Bucket=stack.data_bucket, Key=key)["VersionId"]
    named = {"key": urllib.parse.quote_plus(key), "versionId": version, "size": 1, "eTag": "x"}
    record = {"eventSource": "aws:s3", "s3": {"bucket": {"name": stack.data_bucket}, "object": named}}
    before = stack.get(f"/runs/{penguins['run']}").json
    answer = stack.platform.invoke("ingest", {"Records": [record]})
    assert answer.payload == {"runs": {penguins["run"]: "SUCCEEDED"}}, answer.log
    after = stack.get(f"/runs/{penguins['run']}").json
    assert {**after, "cost": None} == {**before, "cost": None}
    assert len(stack.executions(penguins["run"])) == 1


@pytest.fixture(scope="module")
def again(stack: Stack, penguins: dict[str, Any], penguins_csv: bytes) -> dict[str, Any]:
    """The run of the same bytes, uploaded a second time."""
    return stack.wait(stack.upload(MODEL, penguins_csv, file=PENGUINS_FILE))


def test_the_same_bytes_again_train_nothing(
    stack: Stack, penguins: dict[str, Any], again: dict[str, Any]
) -> None:
    assert again["state"] == "UNCHANGED"
    assert again["run"] != penguins["run"]
    assert again["version"] == 1
    assert any(penguins["run"] in warning for warning in again["warnings"])
    assert stack.executions(again["run"]) == []


@pytest.fixture(scope="module")
def forced(stack: Stack, again: dict[str, Any], penguins_csv: bytes) -> dict[str, Any]:
    """The run of the same bytes, forced."""
    return stack.wait(stack.upload(MODEL, penguins_csv, file=PENGUINS_FILE, force=True))


def test_the_same_bytes_train_when_forced_and_give_the_same_model(
    stack: Stack, penguins: dict[str, Any], forced: dict[str, Any]
) -> None:
    assert forced["state"] == "SUCCEEDED", forced["error"]
    assert (forced["version"], forced["promoted"]) == (2, True)
    assert forced["metrics"] == penguins["metrics"]


def test_a_later_spec_holds_from_the_next_run_on(
    stack: Stack, forced: dict[str, Any], penguins_csv: bytes
) -> None:
    spec = {**PENGUINS_SPEC, "target": "Sex", "metric": "accuracy", "exclude": ["Individual ID"]}
    run = stack.wait(stack.upload(MODEL, penguins_csv, file=PENGUINS_FILE, spec=spec))
    assert run["state"] == "SUCCEEDED", run["error"]
    assert run["target"] == "Sex"
    assert (run["version"], run["promoted"]) == (3, False), "another target must not replace the live one"
    assert stack.get(f"/models/{MODEL}").json["live"] == 2
    compared = stack.get(f"/models/{MODEL}/compare").json
    assert (compared["version"], compared["other"]) == (3, 2)
    assert {"spec.target", "schema_sha256"} <= {fact["what"] for fact in compared["differences"]}
    assert stack.delete(f"/models/{MODEL}/versions/2").json["code"] == "version-in-use"
    assert stack.delete(f"/models/{MODEL}/versions/3").status == 200
    assert stack.keys(keys.version(MODEL, 3, "")) == [
        keys.version(MODEL, 3, name) for name in ("gate.json", "version.json")
    ]


def test_roll_back_and_promote_move_what_answers(
    stack: Stack, forced: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    wait_for_version(stack, rows[0], 2)
    assert stack.post(f"/models/{MODEL}/rollback", {}).json["version"] == 1
    wait_for_version(stack, rows[0], 1)
    assert stack.post(f"/models/{MODEL}/promote", {"version": 2}).json["version"] == 2
    wait_for_version(stack, rows[0], 2)
    refused = stack.post(f"/models/{MODEL}/promote", {"version": 99})
    assert (refused.status, refused.json["code"]) == (404, "version-unknown")


def test_runs_are_listed_newest_first(stack: Stack, forced: dict[str, Any]) -> None:
    runs = stack.get("/runs?limit=5").json["runs"]
    assert len(runs) == 5
    assert [run["created_at"] for run in runs] == sorted((run["created_at"] for run in runs), reverse=True)
    unknown = stack.get("/runs/nobody-000000000000")
    assert (unknown.status, unknown.json["code"]) == (404, "run-not-found")


def test_the_interface_describes_itself(stack: Stack) -> None:
    described = stack.get("/openapi.json").json
    assert described["openapi"].startswith("3.")
    assert {"/predict", "/models/{name}", "/runs", "/uploads"} <= set(described["paths"])


def test_an_offered_upload_opens_a_run_and_bounds_the_size(stack: Stack) -> None:
    answer = stack.post("/uploads", {"dataset": "offered", "filename": "small.csv"})
    assert answer.status == 200, answer.text
    offer = answer.json
    assert offer["max_bytes"] == 12_000_000
    post_file(offer["url"], offer["fields"], b"a,b\n", "small.csv")
    deadline = time.monotonic() + 60
    while not (runs := [run for run in stack.get("/runs").json["runs"] if run["dataset"] == "offered"]):
        assert time.monotonic() < deadline, "the upload opened no run"
        time.sleep(0.2)
    assert stack.wait(runs[0]["run"])["error"]["code"] == "no-rows"
