"""An update of the live version, the real handlers from decide to register, on moto."""

from __future__ import annotations

import json

import boto3
import pytest

from millrace import keys
from millrace.aws.objects import S3Store
from millrace.aws.runs import DynamoRunStore
from millrace.registry.registry import Registry
from millrace.registry.versions import Updated
from tests.fakes import Context, MemoryTasks
from tests.handlers.test_manage import aws, load
from tests.handlers.test_train import LINEAR
from tests.unit.test_runs_updating import SPEC, file
from tests.world import World

__all__ = ["aws"]


def prepared(world: World, data: bytes, name: str) -> str:
    """Take a file to the candidates, with the handler of decide."""
    world.tasks = MemoryTasks()
    run_id = world.upload(data, keys.upload("cars", name)).run_id
    world.fan_out(run_id, "profile", f"profile-{name}")
    world.work_all()
    load("decide").handler({"run_id": run_id}, Context())
    world.fan_out(run_id, "convert", f"convert-{name}")
    world.work_all()
    return run_id


def ended(world: World, run_id: str) -> int:
    assert load("select").handler({"run_id": run_id}, Context())["done"]
    version: int = load("register").handler({"run_id": run_id}, Context())["version"]
    world.succeed(run_id)
    return version


@pytest.mark.slow
@pytest.mark.usefixtures("aws")
def test_a_second_file_updates_what_the_first_one_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_MAX_REJECT_SHARE", "0.1")
    boto3.client("s3").put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
    world = World(data=S3Store("data"), artifacts=S3Store("artifacts"), runs=DynamoRunStore("runs"))
    world.data.put(keys.spec("cars"), json.dumps(SPEC).encode())
    first = prepared(world, file(200, 0), "a.csv")
    load("collect").handler({"run_id": first}, Context())
    load("train").handler({"run_id": first, "unit": LINEAR}, Context())
    assert ended(world, first) == 1

    run_id = prepared(world, file(90, 1), "b.csv")
    work = load("collect").handler({"run_id": run_id}, Context())
    assert work["more"]
    assert [unit["update"] for unit in work["units"]] == [True]
    answer = load("train").handler({"run_id": run_id, "unit": work["units"][0], "turn": 0}, Context())
    assert answer["done"]
    after = {"run_id": run_id, "after": "train", "units": work["units"]}
    assert load("collect").handler(after, Context()) == {"units": [], "more": False, "exact": []}
    assert ended(world, run_id) == 2
    made = Registry(world.artifacts).version("cars", 2).lineage
    assert made is not None
    assert made.updated == Updated(version=1, rows=72, updates=1, searched=1)
    assert world.runs.get(run_id).state == "SUCCEEDED"
