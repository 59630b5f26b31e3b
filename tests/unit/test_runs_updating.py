"""An update of the live version with a new file's rows, from the upload to the next version, over fakes."""

from __future__ import annotations

import copy
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from millrace import keys, plan
from millrace.contracts import Run, Schema, Update, encode, read_schema
from millrace.errors import TransientError
from millrace.features.blocks import Table
from millrace.features.fingerprints import fingerprints
from millrace.features.search import Unit, Work
from millrace.registry.register import register_run
from millrace.registry.registry import Registry
from millrace.registry.versions import Updated, Version
from millrace.runs.collect import narrow
from millrace.runs.updating import planned
from millrace.training import stages
from millrace.training.answers import answers_of
from millrace.training.frame import to_frame
from millrace.training.pipeline import Encoded
from millrace.training.stages import select_model, train
from millrace.training.tables import read_table
from millrace.training.train import cut
from millrace.training.update import _learned_and_held, sides_learned, sides_of
from tests.fakes import MemoryObjectStore, MemoryTasks
from tests.world import World

LINEAR = Unit(0, ("linear",), (0, 1, 2))
UPDATE = Unit(0, (), (), update=True)
SPEC = {"target": "price", "budget": "quick", "on_new_file": "update"}


def file(rows: int, seed: int, *, shift: float = 0.0, doors: str = "") -> bytes:
    """Return a table in which the price is a sum of what the other columns say, and noise."""
    rng = np.random.default_rng(seed)
    lines = ["age,doors,colour,price"]
    for _ in range(rows):
        age, count, colour = rng.normal(), int(rng.integers(2, 6)), ["red", "green", "blue"][rng.integers(3)]
        price = 3.0 * age + count + 2.0 * (colour == "red") + rng.normal() + shift
        lines.append(f"{age:.5f},{doors or count},{colour},{price:.5f}")
    return "\n".join(lines).encode() + b"\n"


class Updates(World):
    """A dataset of which new files update the model, and the way of its runs."""

    def __init__(self, **world: Any) -> None:
        super().__init__(**world)
        self.ask()

    def ask(self, **spec: Any) -> None:
        self.data.put(keys.spec("cars"), json.dumps(SPEC | spec).encode())

    def begin(self, data: bytes, name: str) -> tuple[Run, Work]:
        """Take a file as far as the units that are to be trained."""
        self.tasks = MemoryTasks()
        run_id = self.prepare(data, keys.upload("cars", name))
        return self.runs.get(run_id), self.collect(run_id)

    def train(self, run: Run, unit: Unit) -> dict[str, Any]:
        """Train a unit; of an update, return what came of it."""
        train(run.run_id, unit, self.artifacts, self.runs)
        return self.json(keys.updated(run.run_id, "json")) if unit.update else {}

    def after(self, run: Run, *units: Unit) -> Work:
        return narrow(run.run_id, artifacts=self.artifacts, runs=self.runs, trained=units)

    def end(self, run: Run) -> Version:
        """Select and register; return the version."""
        select_model(run.run_id, self.artifacts, self.runs)
        register_run(run.run_id, self.artifacts, self.runs, predict_memory_mb=512)
        self.runs.update(run.run_id, state="REGISTERING")
        self.succeed(run.run_id)
        number = self.runs.get(run.run_id).version
        assert number is not None
        return Registry(self.artifacts).version("cars", number)

    def search(self, data: bytes, name: str) -> Version:
        """Make a version of one candidate."""
        run, work = self.begin(data, name)
        assert UPDATE not in work.units
        self.train(run, LINEAR)
        return self.end(run)

    def update(self, data: bytes, name: str) -> Version:
        run, work = self.begin(data, name)
        assert work == Work((UPDATE,), more=True)
        assert "refused" not in self.train(run, UPDATE)
        assert self.after(run, UPDATE) == Work(())
        return self.end(run)

    def json(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.artifacts.get(key))
        return found

    def beside(self, version: Version, name: str) -> bytes:
        return self.artifacts.get(keys.version("cars", version.version, name))

    def table(self, version: Version) -> tuple[Table, Schema]:
        schema = read_schema(version.run_id, self.artifacts)
        return read_table(self.runs.get(version.run_id), schema, self.artifacts), schema


@pytest.fixture(scope="module")
def made() -> tuple[Updates, Version]:
    world = Updates()
    return world, world.search(file(200, 0), "a.csv")


@pytest.fixture(scope="module")
def updated(made: tuple[Updates, Version]) -> tuple[Updates, Version, Version, Version]:
    """Return a dataset with the version that a search made, and two updates of it."""
    world, first = copy.deepcopy(made)
    return world, first, world.update(file(90, 1), "b.csv"), world.update(file(60, 2), "c.csv")


@pytest.fixture
def searched(made: tuple[Updates, Version]) -> Updates:
    """Return a dataset with the version that a search made."""
    return copy.deepcopy(made[0])


def test_the_live_version_learns_a_new_files_rows(
    updated: tuple[Updates, Version, Version, Version],
) -> None:
    world, first, second, third = updated
    assert not any("searches anew" in one for one in world.runs.get(first.run_id).warnings)
    assert second.lineage is not None
    assert second.lineage.updated == Updated(version=1, rows=72, updates=1, searched=1)
    assert [part["records"] for part in second.lineage.parts] == [200, 90]
    header = plan.read(world.beside(second, "model.plan")).header["about"]
    assert header["updated"] == encode(second.lineage.updated)
    assert (second.rows["trained"], second.rows["holdout"]) == (160 + 72, 40 + 18)
    run = world.runs.get(second.run_id)
    assert any("version 1 after it learned 72 new rows" in one for one in run.warnings)
    assert any(one == "linear: the least squares of all rows." for one in run.warnings)
    assert (run.rows_trained, run.progress["train"].done, run.progress["train"].total) == (232, 1, 1)
    verdict = Registry(world.artifacts).verdict("cars", 2)
    assert verdict["trial"]["rows"] == 58, "the gate compares on all rows that were ever held out"
    assert third.lineage is not None
    assert third.lineage.updated == Updated(version=2, rows=48, updates=2, searched=1)


def test_it_answers_as_a_fit_to_all_rows_under_the_features_of_the_search_would(
    updated: tuple[Updates, Version, Version, Version],
) -> None:
    world, first, _, last = updated
    table, schema = world.table(last)
    sides = sides_learned(table, schema, [200, 290, 350], budget="quick", seed=0)
    frame = to_frame(table, schema)
    before, _ = world.table(first)
    rows = cut(before, schema, budget="quick", seed=0).rows
    features = Encoded.of(rows, schema, "linear", seed=0, watched=False).features
    learned = features.transform(frame.iloc[sides.training])
    ridge = Ridge(solver="cholesky").fit(learned, table.target[sides.training])
    model = plan.read(world.beside(last, "model.plan"))
    found = answers_of(model, table.columns, schema, len(table))
    assert np.abs(found - ridge.predict(features.transform(frame))).max() < 1e-8


def test_what_was_held_out_once_is_not_learned_later(
    updated: tuple[Updates, Version, Version, Version],
) -> None:
    world, first, second, _ = updated
    before, schema = world.table(first)
    table, _ = world.table(second)
    parts = sides_of(table, schema, [200, 290], seed=0)
    held = cut(before, schema, budget="quick", seed=0).sides.held_out
    assert parts[0].held_out.tolist() == held.tolist()
    assert (table.record[parts[1].held_out] >= 200).all()
    seen = np.load(io.BytesIO(world.beside(second, keys.TRAINED_ON)), allow_pickle=False)
    known = np.flatnonzero(np.isin(fingerprints(table, schema), seen))
    assert known.tolist() == [i for part in parts for i in part.training.tolist()]


def test_of_rows_in_time_the_new_file_alone_judges() -> None:
    schema = Schema((), "y", "regression", "rmse", time_column="t")
    table = Table({"t": np.arange(100.0)}, np.arange(100.0), np.arange(100))
    assert [part.held_out.tolist() for part in sides_of(table, schema, [60, 100], seed=0)] == [
        list(range(48, 60)),
        list(range(92, 100)),
    ]
    sides = _learned_and_held(sides_of(table, schema, [60, 100], seed=0), np.arange(48), schema)
    assert sides.held_out.tolist() == list(range(92, 100))
    assert sides.training.tolist() == [*range(48), *range(60, 92)]


@pytest.mark.slow
def test_the_same_files_give_the_same_bytes_however_they_are_cut_and_however_often_they_are_tried(
    updated: tuple[Updates, Version, Version, Version],
) -> None:
    world, (first, _, second, _) = Updates(max_chunk_bytes=500), updated
    world.search(file(200, 0), "a.csv")
    run, _ = world.begin(file(90, 1), "b.csv")
    world.train(run, UPDATE)
    world.train(run, UPDATE)
    version = world.end(run)
    for name in ("model.plan", keys.STATE):
        assert world.beside(version, name) == first.beside(second, name)


# --- where a search takes its place --------------------------------------------------------------


def why(world: Updates, data: bytes, name: str = "b.csv") -> str:
    """Return why a run searches anew, as its warning says."""
    run, work = world.begin(data, name)
    assert UPDATE not in work.units
    (found,) = [one for one in run.warnings if one.startswith("The run searches anew instead of updating")]
    return found


def test_another_spec_searches_anew(searched: Updates) -> None:
    world = searched
    world.ask(seed=1)
    assert "version 1 was made under another spec.json" in why(world, file(90, 1))


def test_a_column_of_another_type_searches_anew(searched: Updates) -> None:
    world = searched
    assert "type of 'doors' was 'number'" in why(world, file(90, 1, doors="many"))


def test_a_run_that_brings_no_rows_searches_anew(searched: Updates) -> None:
    world = searched
    world.ask(retrain_rows=1)  # so that the same file is trained on again at all
    assert "version 1 knows all of these rows" in why(world, file(200, 0), "again.csv")


def test_more_rows_than_the_search_had_search_anew(searched: Updates) -> None:
    world = searched
    assert "would know 2 times the rows of the last search, and more" in why(world, file(201, 1))


def test_a_version_of_other_code_or_of_many_updates_searches_anew(searched: Updates) -> None:
    world, first = searched, Registry(searched.artifacts).version("cars", 1)
    key = keys.version("cars", 1, "version.json")
    assert first.lineage is not None
    for lineage, says in (
        (replace(first.lineage, code="0"), "another version of Millrace"),
        (replace(first.lineage, updated=Updated(1, 1, 10, 1)), "was updated 10 times since the last search"),
    ):
        other = copy.deepcopy(world)
        other.artifacts.put(key, json.dumps(encode(replace(first, lineage=lineage))).encode())
        assert says in why(other, file(90, 1))


def test_groups_weights_and_tables_that_are_drawn_from_search_anew(searched: Updates) -> None:
    world, first = searched, Registry(searched.artifacts).version("cars", 1)
    run, _ = world.begin(file(90, 1), "b.csv")
    schema = read_schema(run.run_id, world.artifacts)
    for of_schema, rows, says in (
        (replace(schema, group_column="colour"), 290, "keeps groups"),
        (replace(schema, weight_column="doors"), 290, "weighs rows"),
        (schema, 10**9, "more rows than training takes at once"),
        (replace(schema, metric="mae"), 290, "metric was 'rmse' and is 'mae'"),
        (replace(schema, columns=schema.columns[:-1]), 290, "the column 'price' is gone"),
    ):
        world.artifacts.delete(keys.update(run.run_id))
        assert says in planned(run, of_schema, rows, world.artifacts).why
    world.artifacts.delete(keys.update(run.run_id))
    decided = planned(run, schema, 290, world.artifacts)
    assert decided == Update(first.version, "", 200, 290)
    again = planned(run, replace(schema, metric="mae"), 290, world.artifacts)
    assert again == decided, "it is decided once"


def refused(world: Updates, data: bytes) -> tuple[str, Run]:
    run, work = world.begin(data, "b.csv")
    assert work.units == (UPDATE,)
    answer: str = world.train(run, UPDATE)["refused"]
    return answer, run


def test_rows_that_are_not_like_those_before_search_anew_to_the_end(
    searched: Updates,
) -> None:
    world = searched
    answer, run = refused(world, file(90, 1, shift=10.0))
    assert "the new rows are not like those before: its mean loss on them is" in answer
    work = world.after(run, UPDATE)
    assert "linear" in work.names
    assert world.after(run, UPDATE) == work, "asked twice, it says it once"
    run = world.runs.get(run.run_id)
    assert [answer in one for one in run.warnings if "searches anew" in one] == [True]
    assert (run.progress["train"].done, run.progress["train"].total) == (0, len(work.units))
    world.train(run, LINEAR)
    version = world.end(run)
    assert version.lineage is not None
    assert version.lineage.updated is None
    assert version.rows["trained"] == 232


def test_without_its_state_or_with_a_damaged_one_a_version_is_not_updated(
    searched: Updates,
) -> None:
    world = searched
    key = keys.version("cars", 1, keys.STATE)
    state = world.artifacts.get(key)
    for data, says in ((state[:-1], "is damaged"), (b"", "is damaged"), (None, "is gone")):
        other = copy.deepcopy(world)
        other.artifacts.delete(key)
        if data is not None:
            other.artifacts.put(key, data)
        answer, _ = refused(other, file(90, 1))
        assert says in answer, answer


def test_what_is_wrong_with_an_update_itself_is_in_the_log_and_a_search_follows(
    searched: Updates, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a fault of the update")

    monkeypatch.setattr(stages, "update", broken)
    answer, run = refused(searched, file(90, 1))
    assert answer == "ZeroDivisionError: a fault of the update"
    assert "in broken" in caplog.text, "the traceback"
    assert "linear" in searched.after(run, UPDATE).names


def test_an_update_that_leaves_nothing_behind_is_followed_by_a_search(
    searched: Updates,
) -> None:
    world = searched
    run, _ = world.begin(file(90, 1), "b.csv")
    assert world.after(run, UPDATE).names
    assert any("ran out of time or memory" in one for one in world.runs.get(run.run_id).warnings)


class Busy(MemoryObjectStore):
    def get(self, key: str, **options: Any) -> bytes:
        if key.endswith(keys.STATE):
            raise TransientError("busy", code="s3")
        return super().get(key, **options)


def test_a_store_that_is_busy_is_tried_again_and_no_reason_for_a_search(
    searched: Updates,
) -> None:
    world = searched
    run, _ = world.begin(file(90, 1), "b.csv")
    world.artifacts.__class__ = Busy
    with pytest.raises(TransientError):
        world.train(run, UPDATE)
    assert keys.updated(run.run_id, "json") not in list(world.artifacts.list(keys.run(run.run_id)))
