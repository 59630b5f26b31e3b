"""The use cases of train and select, from an uploaded file to the plan, over fakes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from millrace import keys, plan
from millrace.contracts import is_there, read_schema
from millrace.errors import BadInput, TransientError
from millrace.features import search
from millrace.features.blocks import read_blocks
from millrace.features.limits import LIMITS
from millrace.features.search import Unit
from millrace.training import tables
from millrace.training.stages import select_model, train
from millrace.training.tables import read_table
from millrace.training.threads import pin_threads
from tests.fakes import MemoryObjectStore
from tests.world import World

SPEC = b'{"target": "price", "budget": "quick", "seed": 7, "keep": ["age"]}'
NAMES = ("linear", "boosted_trees", "forest", "extra_trees")
LINEAR = Unit(0, ("linear",), (0, 1, 2))
FOREST = Unit(1, ("forest",), (0, 1, 2))


@pytest.fixture
def prepared() -> tuple[World, str]:
    return prepare(SPEC)


def prepare(spec: bytes, *, max_chunk_bytes: int = 600) -> tuple[World, str]:
    """Return a run on a table in which the price is a multiple of the age, ready to be trained on."""
    world = World(max_chunk_bytes=max_chunk_bytes)
    world.data.put("datasets/cars/spec.json", spec)
    ages = [i * 7 % 50 + 0.5 for i in range(120)]
    lines = [
        f"{'red' if i % 3 else 'blue'},{2 + i % 4},{1000 + 37 * age},{age}" for i, age in enumerate(ages)
    ]
    return world, world.prepare("\n".join(["colour,doors,price,age", *lines]).encode() + b"\n")


def artifacts(world: World) -> MemoryObjectStore:
    assert isinstance(world.artifacts, MemoryObjectStore)
    return world.artifacts


def test_candidates_are_stored_counted_and_one_is_selected(prepared: tuple[World, str]) -> None:
    world, run_id = prepared
    assert len(list(world.artifacts.list(keys.blocks(run_id)))) > 1, "several blocks make one table"
    for unit in world.collect(run_id).units:
        answer = train(run_id, unit, world.artifacts, world.runs)
        assert set(answer["scores"]) == set(unit.candidates) < set(NAMES)
        stored = artifacts(world).json(keys.trained(run_id, unit.part))
        data = world.artifacts.get(keys.trained_predictions(run_id, unit.part))
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            assert set(arrays) == {f"{name}.{fold}" for name in unit.candidates for fold in range(3)}
            assert [arrays[f"{one['name']}.{one['fold']}"].shape for one in stored] == [(32,)] * 6
    progress = world.runs.get(run_id).progress["train"]
    assert (progress.done, progress.total) == (2, 2)

    answer = select_model(run_id, world.artifacts, world.runs)
    evaluation = artifacts(world).json(keys.evaluation(run_id))
    run = world.runs.get(run_id)
    assert answer == {
        "done": True,
        "next": 1,
        "units": [],
        "chosen": evaluation["chosen"],
        "plan": keys.run_plan(run_id),
        "evaluation": keys.evaluation(run_id),
    }
    assert (evaluation["run_id"], evaluation["model"], evaluation["seed"]) == (run_id, "cars", 7)
    assert evaluation["rows"] == {"read": 120, "kept": 120, "rejected": 0, "trained": 96, "holdout": 24}
    assert evaluation["metrics"]["r2"] > 0.9
    assert evaluation["baseline"]["r2"] < 0.1
    assert plan.read(world.artifacts.get(keys.run_plan(run_id))).model == "cars"
    assert run.rows_trained == 96
    columns = artifacts(world).json(keys.columns(run_id))
    assert run.profile == f"s3://artifacts/{keys.columns(run_id)}"
    assert [column["name"] for column in columns["columns"]] == ["colour", "doors", "price", "age"]
    assert set(columns["notes"]) <= set(run.warnings) and "'age' (" in columns["notes"][0]
    assert (run.metrics, run.baseline) == (evaluation["metrics"], evaluation["baseline"])


def test_a_column_that_gives_the_target_away_is_no_feature_of_the_model_unless_the_spec_keeps_it() -> None:
    found = []
    for spec, chunk_bytes in ((b"{}", 600), (b"{}", 1 << 20), (b'{"keep": ["age"]}', 600)):
        asked = json.dumps({"target": "price", "budget": "quick"} | json.loads(spec)).encode()
        world, run_id = prepare(asked, max_chunk_bytes=chunk_bytes)
        train(run_id, LINEAR, world.artifacts, world.runs)
        select_model(run_id, world.artifacts, world.runs)
        read = plan.read(world.artifacts.get(keys.run_plan(run_id)))
        columns = artifacts(world).json(keys.columns(run_id))["columns"]
        roles = {column["name"]: column["role"] for column in columns}
        told = [note for note in world.runs.get(run_id).warnings if "may give the target away" in note]
        cv_score = artifacts(world).json(keys.trained(run_id, 0))[0]["score"]
        found.append(([field["name"] for field in read.signature.fields], roles["age"], told, cv_score))
    held, whole, kept = found
    assert held == whole, "it does not matter how the file was cut"
    assert held[:2] == (["colour", "doors"], "suspect") and "'keep' in spec.json" in held[2][0]
    assert kept[:2] == (["colour", "doors", "age"], "feature") and "the spec keeps them" in kept[2][0]
    assert held[3] > 10 * kept[3], "the candidates did not see it either"


def test_a_column_that_is_held_out_changes_nothing_about_whose_results_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 96 rows: with three features each candidate has its unit, with two of them several would share one.
    monkeypatch.setattr(search, "TOGETHER_CELLS", 96 * 2)
    world, run_id = prepare(b'{"target": "price", "budget": "quick"}')
    units = world.collect(run_id).units
    assert [len(unit.candidates) for unit in units] == [1] * len(NAMES)
    for unit in units:
        train(run_id, unit, world.artifacts, world.runs)
    select_model(run_id, world.artifacts, world.runs)
    evaluation = artifacts(world).json(keys.evaluation(run_id))
    assert evaluation["features"] and "age" not in evaluation["features"]
    assert {one["name"]: one["state"] for one in evaluation["candidates"]} == dict.fromkeys(NAMES, "ok")


NOTES = ("good", "bad, worse", "so\nso", "ü €")
SEEN = "".join(
    f"{['red', 'blue', 'green'][n % 3]},"
    f"{n * 7919 % 1009 / 8 if n % 11 else ''},"
    f"2024-{1 + n % 12:02d}-{1 + n % 28:02d},"
    f'"{NOTES[n * 31 % 4]} and {["dry", "wet"][n % 2]}",'
    f"{1000 + 37 * (n * 7 % 50) + 100 * (n % 3)}\r\n"
    for n in range(160)
)


@pytest.mark.slow
def test_the_trained_model_is_the_same_to_the_byte_however_the_file_was_cut() -> None:
    plans, tables = [], []
    for width in (1, 2, 7, 64):
        world = World(width=width, tickets=3)
        world.data.put("datasets/cars/spec.json", b'{"target": "price", "budget": "quick", "seed": 7}')
        run_id = world.prepare(("colour,weight,day,note,price\r\n" + SEEN).encode())
        blocks = [world.artifacts.get(key) for key in world.artifacts.list(keys.blocks(run_id))]
        assert width // 2 < len(blocks) <= width
        tables.append(read_blocks(blocks, read_schema(run_id, world.artifacts)))
        train(run_id, Unit(0, ("boosted_trees",), (0, 1, 2)), world.artifacts, world.runs)
        select_model(run_id, world.artifacts, world.runs)
        plans.append(world.artifacts.get(keys.run_plan(run_id)))
    for table in tables[1:]:
        assert list(table.columns) == ["colour", "weight", "day", "note"]
        for name, column in table.columns.items():
            np.testing.assert_array_equal(column, tables[0].columns[name], err_msg=name)
        np.testing.assert_array_equal(table.target, tables[0].target)
        assert table.record.tolist() == list(range(160))
    assert len(set(plans)) == 1


def test_a_candidate_trained_again_changes_nothing(prepared: tuple[World, str]) -> None:
    world, run_id = prepared
    first = train(run_id, LINEAR, world.artifacts, world.runs)
    again = train(run_id, LINEAR, world.artifacts, world.runs)
    assert first == again
    assert world.runs.get(run_id).progress["train"].done == 1


def test_a_candidate_that_fails_is_recorded_and_does_not_stop_the_others(
    prepared: tuple[World, str],
) -> None:
    world, run_id = prepared
    block = keys.block(run_id, 0)
    data = world.artifacts.get(block)
    world.artifacts.put(block, data[:50])
    with pytest.raises(BadInput) as caught:
        train(run_id, FOREST, world.artifacts, world.runs)
    assert caught.value.code == "block-damaged"
    world.artifacts.put(block, data)
    (stored,) = artifacts(world).json(keys.trained(run_id, 1))
    assert (stored["name"], stored["score"]) == ("forest", None)
    assert world.runs.get(run_id).progress["train"].done == 1

    train(run_id, LINEAR, world.artifacts, world.runs)
    select_model(run_id, world.artifacts, world.runs)
    evaluation = artifacts(world).json(keys.evaluation(run_id))
    states = {candidate["name"]: candidate["state"] for candidate in evaluation["candidates"]}
    errors = {candidate["name"]: candidate["error"] for candidate in evaluation["candidates"]}
    assert evaluation["chosen"] == "linear"
    assert states == {
        "linear": "ok",
        "boosted_trees": "failed",
        "forest": "failed",
        "extra_trees": "failed",
    }
    assert "A training block cannot be read" in errors["forest"]
    assert "left no result" in errors["extra_trees"]


def test_what_may_succeed_later_is_not_recorded_as_a_failure(prepared: tuple[World, str]) -> None:
    world, run_id = prepared
    artifacts(world).failures.append(TransientError("Slow down", code="throttled"))
    with pytest.raises(TransientError):
        train(run_id, LINEAR, world.artifacts, world.runs)
    assert not is_there(keys.trained(run_id, 0), world.artifacts)
    assert world.runs.get(run_id).progress["train"].done == 0


def test_a_run_has_no_candidate_of_another_name(prepared: tuple[World, str]) -> None:
    world, run_id = prepared
    with pytest.raises(BadInput) as caught:
        train(run_id, Unit(0, ("oracle",), (0,)), world.artifacts, world.runs)
    assert caught.value.code == "candidate-unknown"


def test_without_any_candidate_the_run_fails_with_their_errors(prepared: tuple[World, str]) -> None:
    world, run_id = prepared
    with pytest.raises(BadInput, match="left no result") as caught:
        select_model(run_id, world.artifacts, world.runs)
    assert caught.value.code == "no-candidate"


def test_threads_follow_the_memory() -> None:
    environ: dict[str, str] = {}
    assert [pin_threads(environ, memory) for memory in (512, 1769, 3538, 10240)] == [1, 1, 2, 5]
    assert environ["OMP_NUM_THREADS"] == environ["OPENBLAS_NUM_THREADS"] == "5"


def test_the_libraries_load_only_when_they_are_used() -> None:
    script = (
        "import sys; import millrace.training, millrace.training.threads;"
        "print([n for n in ('numpy', 'pandas', 'sklearn') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert json.loads(done.stdout.replace("'", '"')) == []


def test_a_large_table_takes_two_rounds_whose_outcome_does_not_depend_on_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for bound in ("TOGETHER_CELLS", "ONE_ROUND_CELLS"):
        monkeypatch.setattr(search, bound, 0)
    found = []
    for turned in (False, True):
        world, run_id = prepare(SPEC)
        first = world.collect(run_id)
        assert first.more and {unit.folds for unit in first.units} == {(0,)}
        for unit in first.units[:: -1 if turned else 1]:
            train(run_id, unit, world.artifacts, world.runs)
        second = world.narrow(run_id)
        assert world.narrow(run_id) == second
        on = {name for unit in second for name in unit.candidates}
        assert len(on) == LIMITS["quick"].kept
        assert [unit.folds for unit in second] == [(1,), (2,)] * len(on)
        for unit in second[:: -1 if turned else 1]:
            train(run_id, unit, world.artifacts, world.runs)
        progress = world.runs.get(run_id).progress["train"]
        assert progress.done == progress.total == len(first.units) + len(second)
        select_model(run_id, world.artifacts, world.runs)
        evaluation = artifacts(world).json(keys.evaluation(run_id))
        states = {candidate["name"]: candidate["state"] for candidate in evaluation["candidates"]}
        assert states == {name: "ok" if name in on else "stopped" for name in NAMES}
        found.append(world.artifacts.get(keys.run_plan(run_id)))
    assert found[0] == found[1]


def test_of_very_many_rows_a_part_is_held_whatever_the_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"{i % 7},{'rare' if i % 100 == 3 else 'odd' if i % 2 else 'even'},t{i}" for i in range(2000)]
    data = "\n".join(["a,target,text", *rows]).encode() + b"\n"
    monkeypatch.setattr(search, "LIMITS", {"quick": replace(LIMITS["quick"], rows=150)})
    monkeypatch.setattr(tables, "RARE_ROWS", 50)
    found = []
    for width in (1, 9):
        world = World(width=width)
        world.data.put("datasets/cars/spec.json", b'{"target": "target", "budget": "quick"}')
        run_id = world.prepare(data)
        run, schema = world.runs.get(run_id), read_schema(run_id, world.artifacts)
        found.append(read_table(run, schema, world.artifacts))
        with pytest.raises(RuntimeError, match="were kept"):
            read_table(replace(run, rows_kept=1999), schema, world.artifacts)
    one, many = found
    assert one.record.tolist() == many.record.tolist()
    assert one.target.tolist() == many.target.tolist()
    assert {name: c.tolist() for name, c in one.columns.items()} == {
        name: c.tolist() for name, c in many.columns.items()
    }
    assert 250 < len(one) < 400
    rare = schema.classes.index("rare")
    assert one.record[one.target == rare].tolist() == list(range(3, 2000, 100)), "a rare class is whole"
    assert one.columns["a"].tolist() == [record % 7 for record in one.record.tolist()]
