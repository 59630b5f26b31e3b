"""Ingest: one run for each object version, judged by what can be known without reading it."""

from __future__ import annotations

import json

import pytest

from millrace.contracts import Costs, Spec
from millrace.errors import BadInput, TransientError
from millrace.runs.ingest import parse_spec, run_id_of
from tests.fakes import MemoryObjectStore
from tests.world import CARS, World


@pytest.fixture
def world() -> World:
    return World()


def add(world: World, data: bytes = CARS, *, force: str = "", key: str = "datasets/cars/cars.csv") -> str:
    assert isinstance(world.data, MemoryObjectStore)
    return world.data.add(key, data, {"force": force} if force else {})


def test_an_upload_starts_one_run(world: World) -> None:
    run = world.upload(CARS)
    assert run.state == "QUEUED"
    assert run.dataset == "cars"
    assert run.size_bytes == len(CARS)
    assert run.spec == Spec()
    started = {"run_id": run.run_id, "kind": "train", "size_bytes": run.size_bytes}
    assert world.executions.started == {f"{run.run_id}-1": started}
    assert len(f"{run.run_id}-1") <= 80


def test_a_repeated_event_changes_nothing(world: World) -> None:
    first = world.upload(CARS)
    world.runs.update(first.run_id, state="TRAINING")
    second = world.ingest()
    assert second is not None
    assert (second.run_id, second.state) == (first.run_id, "TRAINING")
    assert len(world.executions.started) == 1


def test_a_repeated_event_starts_what_was_opened_but_not_started(world: World) -> None:
    add(world)
    world.executions.failures.append(TransientError("busy", code="busy"))
    with pytest.raises(TransientError):
        world.ingest()
    run = world.ingest()
    assert run is not None
    assert list(world.executions.started) == [f"{run.run_id}-1"]


def test_every_version_is_a_run_of_its_own(world: World) -> None:
    old, new = add(world), add(world, CARS + b"red,2,9\n")
    first, second = world.ingest(version_id=old), world.ingest(version_id=new)
    assert first is not None and second is not None
    assert first.run_id != second.run_id
    assert (first.size_bytes, second.size_bytes) == (len(CARS), len(CARS) + 8)


def test_the_run_id_depends_on_bucket_key_and_version() -> None:
    ids = {
        run_id_of("b", "d", "k", "v"),
        run_id_of("c", "d", "k", "v"),
        run_id_of("b", "d", "l", "v"),
        run_id_of("b", "d", "k", "w"),
    }
    assert len(ids) == 4
    assert all(name.startswith("d-") and len(name) == 14 for name in ids)


@pytest.mark.parametrize("key", ["datasets/cars/spec.json", "datasets/cars/", "scored/x.csv", "datasets/"])
def test_what_is_no_file_of_a_dataset_is_ignored(world: World, key: str) -> None:
    add(world, key=key)
    assert world.ingest(key) is None
    assert world.runs.list() == ((), None)


def test_a_file_that_is_gone_already_is_ignored(world: World) -> None:
    assert world.ingest("datasets/cars/gone.csv", "v9") is None


@pytest.mark.parametrize("name", ["cars.txt", "cars", "cars.csv.gz", "sub/cars.csv", "a b+ä.csv"])
def test_any_file_name_will_do(world: World, name: str) -> None:
    run = world.upload(CARS, f"datasets/cars/{name}")
    assert (run.state, run.dataset) == ("QUEUED", "cars")


@pytest.mark.parametrize(
    ("key", "data", "code", "says"),
    [
        ("datasets/cars/cars.csv", b"", "file-empty", "Upload a CSV file"),
        ("datasets/cars/cars.csv", b"x" * 2000, "file-too-large", "MaxFileBytes"),
        ("datasets/cars.csv", CARS[:500], "dataset-missing", "datasets/<dataset>/<file>"),
        ("datasets/my cars/c.csv", CARS[:500], "dataset-name", "letters, digits"),
        ("datasets/-cars/c.csv", CARS[:500], "dataset-name", "letters, digits"),
        (f"datasets/{'c' * 64}/c.csv", CARS[:500], "dataset-name", "letters, digits"),
        ("datasets/càrs/c.csv", CARS[:500], "dataset-name", "letters, digits"),
    ],
    ids=["empty", "too-large", "no-folder", "space", "hyphen-first", "too-long", "accent"],
)
def test_what_cannot_be_trained_is_a_failed_run(
    world: World, key: str, data: bytes, code: str, says: str
) -> None:
    world.max_file_bytes = 1000
    run = world.upload(data, key)
    assert run.state == "FAILED"
    assert run.error is not None
    assert run.error.code == code
    assert run.error.stage == "ingest"
    assert says in run.error.message
    assert world.runs.get(run.run_id).state == "FAILED"
    assert world.executions.started == {}
    assert world.data.get(key) == data, "the upload stays"


def test_the_spec_beside_the_file_is_the_runs(world: World) -> None:
    world.data.put("datasets/cars/spec.json", b'\xef\xbb\xbf{"target": "price", "exclude": ["doors"]}')
    assert world.upload(CARS).spec == Spec(target="price", exclude=("doors",))


def test_a_later_spec_holds_from_the_next_run_on(world: World) -> None:
    world.data.put("datasets/cars/spec.json", b'{"seed": 1}')
    first = world.upload(CARS)
    world.data.put("datasets/cars/spec.json", b'{"seed": 2}')
    again = world.ingest()
    assert again is not None
    assert again.spec.seed == 1 == world.runs.get(first.run_id).spec.seed
    assert world.upload(CARS + b"red,2,5\n").spec.seed == 2


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "an object"),
        pytest.param("[" * 60_000, "not JSON", id="nested"),
        ('{"target": "\\ud800"}', "not JSON"),
        ('{"colour": "red"}', "'colour'"),
        ('{"target": 3}', "field target"),
        ('{"task": "clustering"}', "field task"),
        ('{"exclude": "price"}', "field exclude"),
        ('{"exclude": [1]}', "field exclude[0]"),
        ('{"budget": "huge"}', "quick"),
        ('{"seed": 1.5}', "field seed"),
        ('{"seed": -1}', "field seed"),
        ('{"seed": true}', "field seed"),
        ('{"fit_share": 0.5}', "field fit_share"),
        ('{"max_reject_share": 1.5}', "field max_reject_share"),
        ('{"costs": {"false_positive": 1}}', "false_negative"),
        ('{"costs": {"false_positive": 1, "false_negative": 0}}', "field costs.false_negative"),
        ('{"costs": {"false_positive": 1e400, "false_negative": 1}}', "field costs.false_positive"),
        ('{"metric": "happiness"}', "field metric"),
        ('{"loss": "huge"}', "squared"),
        ('{"loss": "quantile"}', "field quantile"),
        ('{"quantile": 0.5}', "field quantile"),
        ('{"loss": "quantile", "quantile": 1}', "field quantile"),
        ('{"class_weight": "fair"}', "balanced"),
        ('{"target": "a", "weight_column": "a"}', "two purposes"),
        ('{"group_column": "a", "time_column": "a"}', "two purposes"),
        ('{"keep": ["a"], "exclude": ["a"]}', "field keep"),
        ('{"keep": ["a"], "weight_column": "a"}', "field keep"),
        ('{"task": "regression", "metric": "roc_auc"}', "rmse"),
        ('{"target": "a", "exclude": ["a"]}', "field exclude"),
    ],
)
def test_a_wrong_spec_is_a_failed_run_that_says_where(world: World, spec: str, says: str) -> None:
    world.data.put("datasets/cars/spec.json", spec.encode())
    run = world.upload(CARS)
    assert run.state == "FAILED"
    assert run.error is not None
    assert run.error.code == "spec-invalid"
    assert says in run.error.message
    assert "s3://data/datasets/cars/spec.json" in run.error.message
    assert world.executions.started == {}


def test_a_huge_spec_is_not_read_whole(world: World) -> None:
    world.data.put("datasets/cars/spec.json", b" " * 100_000)
    run = world.upload(CARS)
    assert run.error is not None
    assert run.error.code == "spec-too-large"
    assert isinstance(world.data, MemoryObjectStore)
    assert ("datasets/cars/spec.json", None, 65537) in world.data.reads


def test_every_field_of_a_spec_is_read() -> None:
    text = {
        "target": "y",
        "task": "binary",
        "metric": "f1_macro",
        "loss": "quantile",
        "quantile": 0.9,
        "positive_class": "yes",
        "class_weight": "balanced",
        "weight_column": "w",
        "group_column": "who",
        "time_column": "day",
        "exclude": ["id"],
        "keep": ["code"],
        "budget": "quick",
        "seed": 4,
        "fit_share": 0.9,
        "max_reject_share": 0.25,
        "costs": {"false_positive": 1, "false_negative": 10},
    }
    expected = Spec(
        target="y",
        task="binary",
        metric="f1_macro",
        loss="quantile",
        quantile=0.9,
        positive_class="yes",
        class_weight="balanced",
        weight_column="w",
        group_column="who",
        time_column="day",
        exclude=("id",),
        keep=("code",),
        budget="quick",
        seed=4,
        fit_share=0.9,
        max_reject_share=0.25,
        costs=Costs(1.0, 10.0),
    )
    assert parse_spec(json.dumps(text).encode(), "spec") == expected


def test_a_spec_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(BadInput, match="not JSON"):
        parse_spec(b'{"target": "\xe9"}', "spec")


def success(world: World, data: bytes = CARS) -> str:
    run = world.upload(data)
    world.runs.update(run.run_id, model="cars", version=1, target="price", task="regression")
    world.succeed(run.run_id)
    return run.run_id


def test_the_same_bytes_and_spec_train_nothing(world: World) -> None:
    first = success(world)
    run = world.upload(CARS)
    assert run.state == "UNCHANGED"
    assert (run.model, run.version) == ("cars", 1)
    assert first in run.warnings[0]
    assert len(world.executions.started) == 1


def test_the_same_bytes_under_another_name_train_nothing(world: World) -> None:
    success(world)
    assert world.upload(CARS, "datasets/cars/again.csv").state == "UNCHANGED"


def test_forced_trains_all_the_same(world: World) -> None:
    success(world)
    add(world, force="True")
    run = world.ingest()
    assert run is not None
    assert (run.state, run.forced) == ("QUEUED", True)


def test_a_new_spec_trains_again(world: World) -> None:
    success(world)
    world.data.put("datasets/cars/spec.json", b'{"seed": 1}')
    assert world.upload(CARS).state == "QUEUED"


def test_other_bytes_train_again(world: World) -> None:
    success(world)
    assert world.upload(CARS + b"red,2,1\n").state == "QUEUED"


def test_another_dataset_trains_its_own(world: World) -> None:
    success(world)
    assert world.upload(CARS, "datasets/boats/cars.csv").state == "QUEUED"


def test_a_failed_run_is_not_what_the_next_is_compared_with(world: World) -> None:
    run = world.upload(CARS)
    world.runs.update(run.run_id, state="FAILED")
    assert world.upload(CARS).state == "QUEUED"
