"""Clients that others wrote get what our own interface answers, from the routes of the deployed template."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.infra.template import ROOT
from tests.platform.stack import Stack

PYTHON = ROOT / ".tools" / "clients" / "bin" / "python"
MODEL = "penguins"


def value_of(kind: str, cell: str) -> str | float | None:
    if not cell:
        return None
    return float(cell) if kind == "number" else cell


@pytest.fixture(scope="module")
def asked(stack: Stack, penguins: dict[str, Any], penguins_csv: bytes) -> dict[str, Any]:
    """Fields of the model and rows of the table, in the types of the fields."""
    assert penguins["state"] == "SUCCEEDED", penguins["error"]
    signature = stack.get(f"/models/{MODEL}/versions/1").json["signature"]
    fields = {field["name"]: field["type"] for field in signature}
    table = list(csv.DictReader(io.StringIO(penguins_csv.decode())))
    rows = [{name: value_of(kind, row[name]) for name, kind in fields.items()} for row in table[::20]]
    return {"fields": fields, "rows": rows}


@pytest.fixture(scope="module")
def ours(stack: Stack, asked: dict[str, Any]) -> dict[str, Any]:
    answer = stack.post(f"/models/{MODEL}/versions/1/predict", {"rows": asked["rows"]})
    assert answer.status == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


@pytest.fixture(scope="module")
def theirs(stack: Stack, asked: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [PYTHON, Path(__file__).with_name("clients.py"), stack.url, MODEL],
        input=json.dumps(asked),
        # Nothing but this: MLflow's client would tell its makers that it runs.
        env={"DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


def test_mlflows_client_gets_our_predictions(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert theirs["mlflow"]["frame"] == ours["predictions"]
    assert theirs["mlflow"]["lists"] == ours["predictions"]
    assert "value-type" in theirs["mlflow"]["refused"]
    assert "422" in theirs["mlflow"]["refused"]


def test_an_endpoint_of_sagemaker_is_asked_in_csv(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert theirs["sagemaker"] == ours["predictions"]


def test_tritons_client_gets_our_predictions(
    asked: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    found = theirs["triton"]
    assert found["server"]["name"] == "millrace"
    assert set(found["inputs"]) == set(asked["fields"])
    assert found["binary"]["prediction"] == ours["predictions"]
    shares = [list(row.values()) for row in ours["probabilities"]]
    assert found["binary"]["probabilities"] == shares, "to the last bit"
    assert (found["binary"]["id"], found["json"]["id"]) == ("7", "7")
    numbers = [name for name, kind in asked["fields"].items() if kind == "number"]  # JSON has no NaN
    whole = [i for i, row in enumerate(asked["rows"]) if all(row[name] is not None for name in numbers)]
    assert len(whole) > 5
    assert [found["json"]["prediction"][i] for i in whole] == [ours["predictions"][i] for i in whole]
    status, message = found["refused"]
    assert status == "404"
    assert "nobody" in message


def test_what_is_below_v2_is_answered_in_its_own_shape(stack: Stack, penguins: dict[str, Any]) -> None:
    for path, status in (("/v2/nothing", 404), (f"/v2/models/{MODEL}/infer", 405), ("/v2/models/x", 404)):
        answer = stack.get(path)
        assert answer.status == status, answer.text
        assert set(answer.json) == {"error"}


@pytest.mark.parametrize(
    "path", ["/predict", f"/models/{MODEL}/predict", f"/models/{MODEL}/aliases/live/predict", "/invocations"]
)
def test_a_wrong_method_is_a_405_of_our_own(stack: Stack, path: str) -> None:
    answer = stack.get(path)
    assert (answer.status, answer.json["code"]) == (405, "method-not-allowed")


def test_an_alias_in_the_path_is_followed(stack: Stack, asked: dict[str, Any], ours: dict[str, Any]) -> None:
    answer = stack.post(f"/models/{MODEL}/aliases/live/predict", {"rows": asked["rows"]})
    assert answer.status == 200, answer.text
    if answer.json["version"] == 1:
        assert answer.json["predictions"] == ours["predictions"]
