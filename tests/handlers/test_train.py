"""train, the real handler, on moto."""

from __future__ import annotations

import json
from pathlib import Path

import boto3
import pytest

from millrace import keys
from millrace.aws.objects import S3Store
from millrace.aws.runs import DynamoRunStore
from millrace.errors import BadInput
from millrace.training.rounds import exact_weights
from tests.fakes import Context
from tests.handlers.test_manage import aws, load
from tests.world import CARS, World

__all__ = ["aws"]

EVENTS = Path(__file__).resolve().parents[2] / "events"


LINEAR = {"part": 0, "candidates": ["linear"], "folds": [0, 1, 2]}


def prepared(data: bytes = CARS, dataset: str = "cars", target: str = "price") -> tuple[World, str]:
    boto3.client("s3").put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
    world = World(data=S3Store("data"), artifacts=S3Store("artifacts"), runs=DynamoRunStore("runs"))
    spec = {"target": target, "budget": "quick"}
    world.data.put(keys.spec(dataset), json.dumps(spec).encode())
    return world, world.prepare(data, keys.upload(dataset, "table.csv"))


@pytest.mark.usefixtures("aws")
def test_each_event_trains_its_candidates() -> None:
    world, run_id = prepared()
    handler = load("train").handler
    events = [json.loads(path.read_text("utf-8")) for path in sorted(EVENTS.glob("train.*.json"))]
    events = [event | {"run_id": run_id} for event in events if event.get("unit", {}).get("candidates")]
    for event in events:
        answer = handler(event, Context())
        unit = event["unit"]
        assert answer["part"] == unit["part"]
        stored = json.loads(world.artifacts.get(keys.trained(run_id, unit["part"])))
        assert [one["error"] for one in stored] == [None] * (len(unit["candidates"]) * len(unit["folds"]))
        for name in unit["candidates"]:
            assert answer["scores"][name] == [one["score"] for one in stored if one["name"] == name]
    run = world.runs.get(run_id, full=True)
    assert run.state == "TRAINING"
    assert run.progress["train"].done == len(events)
    assert next(used for used in run.usage if used.function == "train").billed_ms > 0


@pytest.mark.usefixtures("aws")
def test_rounds_over_shards_end_in_weights_that_select_finds() -> None:
    world, run_id = prepared()
    handler = load("train").handler
    state = handler(
        json.loads((EVENTS / "train.exact.json").read_text("utf-8")) | {"run_id": run_id}, Context()
    )
    while not state["done"]:
        for shard in state["shards"]:
            exact = {"round": state["round"], "shard": shard}
            assert handler({"run_id": run_id, "exact": exact}, Context()) == {}
        state = handler({"run_id": run_id, "exact": {"round": state["round"]}}, Context())
    assert state == {"round": 1, "shards": [], "done": True}
    found = exact_weights(run_id, world.artifacts)
    assert found is not None
    assert list(found.weights) == ["linear"]
    with pytest.raises(BadInput, match="names no round"):
        handler({"run_id": run_id, "exact": {}}, Context())


@pytest.mark.usefixtures("aws")
def test_a_failing_candidate_raises_but_is_no_error_of_the_run() -> None:
    world, run_id = prepared()
    world.artifacts.put(keys.block(run_id, 0), b"damaged")
    with pytest.raises(BadInput, match="training block"):
        load("train").handler({"run_id": run_id, "unit": LINEAR}, Context())
    (stored,) = json.loads(world.artifacts.get(keys.trained(run_id, 0)))
    assert (stored["name"], stored["score"]) == ("linear", None)
    assert "training block" in stored["error"]
    assert world.runs.get(run_id).error is None


@pytest.mark.usefixtures("aws")
def test_an_event_that_names_nothing_to_train_is_refused() -> None:
    _, run_id = prepared()
    with pytest.raises(BadInput) as caught:
        load("train").handler({"run_id": run_id}, Context())
    assert caught.value.code == "event-invalid"
