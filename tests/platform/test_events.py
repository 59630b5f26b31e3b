"""Every file in ``events/`` runs in a sandbox, with the outcome that this table names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from millrace import keys
from tests.infra.template import ROOT
from tests.platform.stack import Stack

EVENTS = {path.name: path for path in sorted((ROOT / "events").glob("*.json"))}

RUN_ID = "penguins-0123456789ab"
OTHER_RUN_ID = "titanic-0123456789ab"
SCORE_RUN_ID = "penguins-ba9876543210"
"""The runs that the events speak of."""

RETURNS: dict[str, dict[str, Any]] = {
    "assemble.run.json": {},
    "chunk_failed.discarded.json": {"chunks": 0},  # the chunk's work is done
    "chunk_failed.map.json": {"chunks": 0},
    "collect.narrow.json": {},
    "collect.run.json": {},
    "decide.run.json": {"target": "Species", "task": "multiclass"},
    "fan_out.convert.json": {},
    "fan_out.profile.json": {},
    "fan_out.score.json": {},
    "finish.bad_input.json": {"state": "FAILED"},
    "finish.success.json": {"state": "SUCCEEDED"},
    "finish.timeout.json": {"state": "FAILED"},
    "ingest.encoded_key.json": {"runs": {}},  # the version that it names is not in the bucket
    "ingest.no_folder.json": {"runs": {}},
    "ingest.spec.json": {"runs": {}},
    "ingest.upload.json": {"runs": {}},
    "manage.compare.json": {"statusCode": 200},
    "manage.delete.json": {"statusCode": 409},  # it is live
    "manage.models.json": {"statusCode": 200},
    "manage.openapi.json": {"statusCode": 200},
    "manage.promote.json": {"statusCode": 200},
    "manage.retrain.json": {"statusCode": 404},  # a dataset that is not there
    "manage.rollback.json": {"statusCode": 400},  # the model has one version, so none to roll back to
    "manage.runs.json": {"statusCode": 200},
    "manage.unknown_route.json": {"statusCode": 404},
    "manage.upload.json": {"statusCode": 200},
    "manage.version.json": {"statusCode": 200},
    "predict.alias_csv.json": {"statusCode": 200},
    "predict.direct.json": {"model": "titanic", "version": 1},
    "predict.http.json": {"statusCode": 400},  # it names no model, and here are several
    "predict.invocations.json": {"statusCode": 200},
    "predict.not_json.json": {"statusCode": 400},
    "predict.ping.json": {"statusCode": 200},
    "predict.v2_binary.json": {"statusCode": 200, "isBase64Encoded": True},
    "predict.v2_metadata.json": {"statusCode": 200},
    "predict.v2_unknown.json": {"statusCode": 404},
    "predict.version.json": {"statusCode": 200},
    "preprocess.batch.json": {},
    "preprocess.convert.json": {"batchItemFailures": []},
    "preprocess.map.json": {"outcome": "unwanted"},  # nobody waits for its token
    "preprocess.poison.json": {},
    "preprocess.profile.json": {"batchItemFailures": []},
    "reconcile.at_once.json": {},
    "reconcile.schedule.json": {"runs": {}},
    "register.run.json": {"model": "events-titanic", "version": 1, "promoted": True},
    "report.run.json": {},
    "retrain.now.json": {},
    "retrain.schedule.json": {},
    "score.collect.json": {"batchItemFailures": []},
    "score.file.json": {},
    "score.rows.json": {"model": "titanic", "version": 1},
    "score.stream.json": {"batchItemFailures": []},
    "select.run.json": {},
    "train.exact.json": {"round": 0, "done": False},
    "train.fold.json": {},
    "train.together.json": {},
    "train.update.json": {"done": True},  # that it cannot is no fault: a search takes its place
}
"""What the response must contain, by event."""


@pytest.fixture(scope="module")
def stage(stack: Stack, penguins: dict[str, Any], started: dict[str, str], scored: dict[str, Any]) -> None:
    """Copy finished runs to the ids that the events name, under datasets of their own."""
    for source, target in (
        (penguins["run"], RUN_ID),
        (started["titanic"], OTHER_RUN_ID),
        (scored["run"], SCORE_RUN_ID),
    ):
        assert stack.wait(source)["state"] == "SUCCEEDED"
        dataset = f"events-{target.rpartition('-')[0]}"
        for key in stack.keys(keys.run(source)):
            data = stack.read(key)
            if key == keys.evaluation(source):
                data = json.dumps({**json.loads(data), "model": dataset, "run_id": target}).encode()
            copy = keys.run(target, key.removeprefix(keys.run(source)))
            stack.s3.put_object(Bucket=stack.artifact_bucket, Key=copy, Body=data)
        run = stack.runs.get(source)
        # A result's place follows from the upload's: the copy must not write over the run's own.
        key = run.key.replace(f"/{run.dataset}/", f"/{dataset}/")
        copied = replace(run, run_id=target, dataset=dataset, key=key, progress={}, usage=())
        assert stack.runs.open(copied)
        for name, progress in run.progress.items():
            stack.runs.start_pass(target, name, total=progress.total, token="none")
    event = json.loads(EVENTS["chunk_failed.discarded.json"].read_text("utf-8"))
    batch = json.loads(EVENTS["preprocess.profile.json"].read_text("utf-8"))
    stack.s3.put_object(
        Bucket=stack.artifact_bucket,
        Key=event["Records"][0]["s3"]["object"]["key"],
        Body=json.dumps({"payload": batch}).encode(),
    )


def test_every_event_has_an_outcome() -> None:
    assert set(RETURNS) == set(EVENTS)


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize("path", list(EVENTS.values()), ids=lambda path: path.name)
def test_an_event_runs_in_a_sandbox(stack: Stack, path: Path) -> None:
    for run_id in (RUN_ID, OTHER_RUN_ID, SCORE_RUN_ID):  # each event finds them as they were
        stack.runs.update(run_id, state="TRAINING", error=None)
    got = stack.platform.invoke(path.name.split(".")[0], json.loads(path.read_text("utf-8")))
    assert not got.error, f"{got.payload}\n{got.log}"
    wanted = RETURNS[path.name]
    assert {name: got.payload[name] for name in wanted} == wanted, f"{got.payload}\n{got.log}"
