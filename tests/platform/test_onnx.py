"""A network that PyTorch made, from its file to an answer: registered, then served by ``predict``."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from millrace.aws.objects import S3Store
from millrace.cli import onnx as commands
from millrace.cli.console import Console
from tests.platform.conftest import PARAMETERS
from tests.platform.stack import Stack

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
    request = {"model": "network", "rows": [entry["row"] for entry in expected]}
    refused = stack.post("/predict", request)
    assert refused.status == 500 and refused.json["code"] == "onnx-layer-missing"

    stack.platform.deploy(parameters=PARAMETERS | {"OnnxModels": "true"})
    answer = stack.post("/predict", request)
    assert answer.status == 200, answer.text
    for shares, entry in zip(answer.json["probabilities"], expected, strict=True):
        assert list(shares.values()) == pytest.approx(entry["probabilities"], abs=1e-6)
    assert answer.json["predictions"][0] == "Adelie Penguin (Pygoscelis adeliae)"
    assert answer.json["warnings"] == []
