"""Bad input never passes silently and never loses anything: each case ends as it should, and says why."""

from __future__ import annotations

import json

import pytest

from tests.platform.stack import Stack
from tests.platform.tables import UPLOADS

FAILING = sorted(name for name, upload in UPLOADS.items() if upload.state == "FAILED")


@pytest.mark.parametrize("name", [*FAILING, *sorted(set(UPLOADS) - set(FAILING))])
def test_a_run_ends_as_it_should_and_says_why(stack: Stack, started: dict[str, str], name: str) -> None:
    upload = UPLOADS[name]
    run = stack.wait(started[name])
    assert run["state"] == upload.state, run
    assert (run["error"] or {}).get("code", "") == upload.code
    sentences = run["error"]["message"] if run["error"] else " ".join(run["warnings"])
    for part in upload.says:
        assert part in sentences
    if upload.state == "SUCCEEDED":
        assert run["rows_rejected"] == upload.rejected
    stays = stack.s3.head_object(Bucket=stack.data_bucket, Key=run["file"].split("/", 3)[3])
    assert stays["ContentLength"] == len(upload.data)


@pytest.mark.parametrize("name", FAILING)
def test_an_error_says_what_where_and_what_to_do(stack: Stack, started: dict[str, str], name: str) -> None:
    error = stack.wait(started[name])["error"]
    assert error["stage"]
    assert len(error["message"].split(". ")) >= 2, f"{error['message']!r} has no remedy"
    assert "Traceback" not in error["message"]


def test_rejected_records_are_kept_with_their_lines(stack: Stack, started: dict[str, str]) -> None:
    run = stack.wait(started["ragged"])
    assert run["rows_read"] == run["rows_kept"] + run["rows_rejected"] == 150
    kept = [
        json.loads(line)
        for key in stack.keys(run["rejects"].split("/", 3)[3])
        for line in stack.read(key).splitlines()
    ]
    assert [reject["line"] for reject in kept] == [12, 72]
    assert all(reject["reason"] for reject in kept)
    page = stack.get(f"/runs/{run['run']}/rejects").json
    assert page["rejects"] == kept
    assert page["next"] is None


def test_a_rare_class_stays_a_class(stack: Stack, started: dict[str, str]) -> None:
    run = stack.wait(started["odd-but-fine"])
    version = stack.get(f"/models/odd-but-fine/versions/{run['version']}").json
    assert "rare" in json.dumps(version)


def test_a_regression_predicts_numbers(stack: Stack, started: dict[str, str]) -> None:
    run = stack.wait(started["regression"])
    assert run["metrics"]["rmse"] < run["baseline"]["rmse"]
    rows = [{"size": 1.5, "colour": "red", "note": "wet"}, {"size": -1.5, "colour": "blue", "note": "wet"}]
    answer = stack.post("/predict", {"model": "regression", "rows": rows})
    assert answer.status == 200, answer.text
    high, low = answer.json["predictions"]
    assert high > low
