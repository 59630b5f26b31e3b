"""A network that PyTorch made: registered, then served by ``predict``, for files and from the stream."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from millrace.aws.objects import S3Store
from millrace.cli import onnx as commands
from millrace.cli.console import Console
from tests.platform.conftest import PARAMETERS
from tests.platform.stack import Stack
from tests.platform.test_rows_stream import Streams, of
from tests.platform.test_score import table

TORCH = Path(__file__).resolve().parents[1] / "fixtures" / "torch"


def test_a_network_of_pytorch_is_registered_and_answers(stack: Stack) -> None:
    store = S3Store(stack.artifact_bucket, stack.s3)
    console = Console(as_json=True, out=io.StringIO(), err=io.StringIO())
    file, signature = TORCH / "penguins.onnx", TORCH / "signature.json"
    assert commands.register(store, console, "network", file, signature, promote=True) == 0
    shown = stack.get("/models/network").json
    assert shown["live"] == 1 and shown["versions"][0]["metrics"] == {}
    assert stack.get("/models/network/versions/1").json["chosen"] == "onnx"
    assert stack.get("/models/network/versions/1/report").status == 404

    expected = json.loads((TORCH / "expected.json").read_text("utf-8"))
    rows = [entry["row"] for entry in expected]
    request = {"model": "network", "rows": rows}
    refused = stack.post("/predict", request)
    assert refused.status == 500 and refused.json["code"] == "onnx-layer-missing"
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    run = stack.wait(stack.upload_to_score("network", text.getvalue().encode(), file="early.csv"))
    assert (run["state"], run["error"]["code"]) == ("FAILED", "onnx-layer-missing")

    stack.platform.deploy(parameters=PARAMETERS | {"OnnxModels": "true"})
    answer = stack.post("/predict", request)
    assert answer.status == 200, answer.text
    for shares, entry in zip(answer.json["probabilities"], expected, strict=True):
        assert list(shares.values()) == pytest.approx(entry["probabilities"], abs=1e-6)
    assert answer.json["predictions"][0] == "Adelie Penguin (Pygoscelis adeliae)"
    assert answer.json["warnings"] == []

    run = stack.wait(stack.upload_to_score("network", text.getvalue().encode()))
    assert run["state"] == "SUCCEEDED", run["error"]
    found = table(stack.fetch(run["result"]))
    assert [row["prediction"] for row in found] == answer.json["predictions"]
    for row, entry in zip(found, expected, strict=True):
        shares = [float(row[f"probability:{label}"]) for label in answer.json["probabilities"][0]]
        assert shares == pytest.approx(entry["probabilities"], abs=1e-6)

    streams = Streams(stack)
    streams.put(*({"model": "network", "id": f"torch-{i}", "row": row} for i, row in enumerate(rows)))
    streams.wait(lambda: len(of("torch-", streams.kept())) == len(rows), "not all records came back")
    kept = of("torch-", streams.kept())
    for i, shares in enumerate(answer.json["probabilities"]):
        assert kept[f"torch-{i}"][0]["probabilities"] == pytest.approx(shares, abs=1e-12)
