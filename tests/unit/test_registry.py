"""The registry: versions that never change, aliases that never lose a move, and the gate."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from millrace import keys
from millrace.aws.objects import S3Store
from millrace.contracts import LOWER_IS_BETTER, METRICS, Column, ObjectStore, Schema, encode
from millrace.errors import BadInput, Conflict, NotFound, TransientError
from millrace.registry.gate import judge
from millrace.registry.register import register_run
from millrace.registry.registry import Registry
from millrace.registry.versions import HISTORY, Alias, Move, Version
from tests import plans
from tests.fakes import MemoryObjectStore, MemoryRunStore, make_run

BUCKET = "artifacts"
PLAN = plans.binary()
START = "2026-11-20T10:00:00.000Z"
SCHEMA = json.dumps(
    encode(
        Schema(
            (
                Column("age", 0, "number", "feature", minimum=-10.0, maximum=99.0),
                Column("city", 1, "category", "feature", categories=("Bern", "Köln"), missing=1),
                Column("survived", 2, "category", "target", categories=("no", "yes")),
            ),
            target="survived",
            task="binary",
            metric="roc_auc",
            classes=("no", "yes"),
        )
    )
).encode()


def draft(run_id: str = "demo-1", **changes: Any) -> Version:
    version = Version(
        model="demo",
        version=0,
        run_id=run_id,
        created_at="",
        task="binary",
        target="survived",
        metric="roc_auc",
        plan_sha256="",
        plan_bytes=0,
        metrics={"roc_auc": 0.8, "log_loss": 0.5},
    )
    return replace(version, **changes)


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    if request.param == "memory":
        yield MemoryObjectStore(BUCKET)
        return
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield S3Store(BUCKET, client)


def clock() -> Any:
    ticks = iter(range(10**6))
    return lambda: f"2026-11-20T11:00:{next(ticks) / 1000:06.3f}Z"


def add(registry: Registry, run_id: str, auc: float = 0.8, **changes: Any) -> Version:
    """Register a version and let the gate decide."""
    metrics = {"roc_auc": auc}
    version = registry.register(draft(run_id, metrics=metrics, **changes), PLAN, b"<html>", since=START)
    registry.decide(version, by=f"run {run_id}")
    return version


def live(registry: Registry, model: str = "demo") -> Alias:
    alias = registry.live(model)
    assert alias is not None
    return alias


# --- versions ---------------------------------------------------------------------------------------


def test_versions_count_from_one_and_hold_everything(store: ObjectStore) -> None:
    registry = Registry(store, clock())
    first = registry.register(draft("a"), PLAN, b"<html>", since=START)
    second = registry.register(draft("b"), plans.binary(intercept=1.0), since=START)
    assert (first.version, second.version) == (1, 2)
    assert registry.numbers("demo") == [2, 1]
    assert registry.version("demo", 1) == first
    assert store.get(keys.version("demo", 1, "model.plan")) == PLAN
    assert store.get(keys.version("demo", 1, "report.html")) == b"<html>"
    assert (first.report, second.report) == (True, False)
    assert first.plan_bytes == len(PLAN)
    assert registry.models() == ["demo"]


def test_registering_a_run_again_gives_the_same_version(store: ObjectStore) -> None:
    registry = Registry(store, clock())
    first = registry.register(draft("a"), PLAN, b"<html>", since=START)
    add(registry, "b")
    assert registry.register(draft("a"), PLAN, b"<html>", since=START) == first
    assert registry.numbers("demo") == [2, 1]


def test_registration_that_died_after_its_claim_is_completed(store: ObjectStore) -> None:
    registry = Registry(store, clock())
    version = registry.register(draft("a"), PLAN, b"<html>", since=START)
    store.delete(keys.version("demo", 1, "model.plan"))
    store.delete(keys.version("demo", 1, "report.html"))
    with pytest.raises(BadInput) as caught:
        registry.promote("demo", 1, by="me", why="")
    assert caught.value.code == "version-incomplete"
    assert registry.register(draft("a"), PLAN, b"<html>", since=START) == version
    assert store.get(keys.version("demo", 1, "model.plan")) == PLAN
    assert store.get(keys.version("demo", 1, "report.html")) == b"<html>"


def test_another_attempt_of_the_run_never_changes_a_version(store: ObjectStore) -> None:
    registry = Registry(store, clock())
    other = plans.binary(intercept=1.0)
    first = registry.register(draft("a"), PLAN, since=START)
    assert registry.register(draft("a"), other, since=START) == first
    assert store.get(keys.version("demo", 1, "model.plan")) == PLAN
    # The first attempt died before its plan was there: its number stays empty.
    store.delete(keys.version("demo", 1, "model.plan"))
    second = registry.register(draft("a"), other, since=START)
    assert second.version == 2
    assert store.get(keys.version("demo", 2, "model.plan")) == other
    with pytest.raises(NotFound):
        store.get(keys.version("demo", 1, "model.plan"))


def test_versions_older_than_the_run_are_not_read() -> None:
    store = MemoryObjectStore()
    registry = Registry(store, clock())
    for number in range(5):
        registry.register(draft(f"run-{number}"), PLAN, since=START)
    store.reads.clear()
    registry.register(draft("new"), PLAN, since="2026-11-20T12:00:00.000Z")
    assert [key for key, _, _ in store.reads] == [keys.version("demo", 5, "version.json")]


def test_a_deleted_version_keeps_its_record_and_its_number(store: ObjectStore) -> None:
    registry = Registry(store, clock())
    add(registry, "a", 0.9)
    second = add(registry, "b", 0.1)
    note = registry.delete("demo", 2, by="me", why="old")
    assert registry.deletion("demo", 2) == note == registry.delete("demo", 2, by="you", why="again")
    assert registry.deleted("demo") == {2}
    assert registry.version("demo", 2) == second
    with pytest.raises(NotFound):
        store.get(keys.version("demo", 2, "model.plan"))
    # A retry of its registration does not bring it back, and its number is not given again.
    assert registry.register(draft("b", metrics={"roc_auc": 0.1}), PLAN, since=START) == second
    assert registry.deleted("demo") == {2}
    assert add(registry, "c", 0.2).version == 3


def test_what_an_alias_names_is_not_deleted(store: ObjectStore) -> None:
    registry = Registry(store, clock())
    for number in range(3):
        add(registry, f"run-{number}")
    registry.promote("demo", 1, by="me", why="", alias="canary")
    for number, name in ((1, "canary"), (3, "live")):
        with pytest.raises(Conflict, match=name) as caught:
            registry.delete("demo", number, by="me", why="")
        assert caught.value.code == "version-in-use"
    assert registry.deleted("demo") == frozenset()
    registry.delete("demo", 2, by="me", why="")
    with pytest.raises(BadInput) as refused:
        registry.rollback("demo", by="me", why="")
    assert refused.value.code == "version-deleted"
    assert [(alias.alias, alias.version) for alias in registry.aliases("demo")] == [
        ("canary", 1),
        ("live", 3),
    ]


@pytest.mark.parametrize("first", [False, True], ids=["an alias that was there", "a new alias"])
def test_an_alias_is_not_left_on_a_version_that_is_deleted_meanwhile(first: bool) -> None:
    """The deletion reads the aliases just before the move is written."""

    class Racing(MemoryObjectStore):
        armed = False

        def put(self, key: str, data: bytes, **condition: Any) -> str:
            if self.armed and key.startswith(keys.aliases("demo")):
                self.armed = False
                Registry(self, clock()).delete("demo", 2, by="you", why="")
            return super().put(key, data, **condition)

    store = Racing()
    registry = Registry(store, clock())
    add(registry, "a", 0.9)
    add(registry, "b", 0.1)
    store.armed = True
    with pytest.raises(Conflict) as caught:
        registry.promote("demo", 2, by="me", why="", alias="canary" if first else "live")
    assert caught.value.code == "version-deleted"
    assert [(alias.alias, alias.version) for alias in registry.aliases("demo")] == [("live", 1)]
    assert registry.deleted("demo") == {2}


def test_unknown_version_and_model(store: ObjectStore) -> None:
    registry = Registry(store, clock())
    add(registry, "a")
    for call in (
        lambda: registry.version("demo", 2),
        lambda: registry.version("other", 1),
        lambda: registry.promote("demo", 7, by="me", why=""),
        lambda: registry.rollback("other", by="me", why=""),
    ):
        with pytest.raises(NotFound):
            call()
    assert registry.live("other") is None
    assert registry.numbers("other") == []


# --- the gate ---------------------------------------------------------------------------------------


def test_first_version_is_promoted() -> None:
    verdict = judge(draft(version=1), None)
    assert verdict.promote
    assert "first" in verdict.reason


@pytest.mark.parametrize("metric", sorted({name for names in METRICS.values() for name in names}))
def test_better_is_promoted_and_worse_is_held(metric: str) -> None:
    better, worse = (0.1, 0.2) if metric in LOWER_IS_BETTER else (0.2, 0.1)
    champion = draft(version=1, metric=metric, metrics={metric: worse})
    challenger = draft(version=2, metric=metric, metrics={metric: better})
    assert judge(challenger, champion).promote
    verdict = judge(champion, challenger)
    assert not verdict.promote
    assert f"hold-out {metric} is {worse} against {better} of live version 2" in verdict.reason


def test_a_tie_goes_to_the_challenger() -> None:
    assert judge(draft(version=2), draft(version=1)).promote


@pytest.mark.parametrize(
    ("change", "word"), [({"target": "fare"}, "'fare'"), ({"task": "multiclass"}, "'multiclass'")]
)
def test_what_predicts_something_else_is_held(change: dict[str, Any], word: str) -> None:
    verdict = judge(draft(version=2, **change), draft(version=1, metrics={"roc_auc": 0.1}))
    assert not verdict.promote
    assert word in verdict.reason


def test_a_metric_that_is_not_there() -> None:
    assert not judge(draft(version=2, metrics={}), draft(version=1)).promote
    assert judge(draft(version=2), draft(version=1, metrics={})).promote


def test_gate_moves_live_and_remembers_why(store: ObjectStore) -> None:
    registry = Registry(store, clock())
    add(registry, "a", 0.8)
    assert live(registry).version == 1
    add(registry, "b", 0.9)
    assert live(registry).version == 2
    add(registry, "c", 0.7)
    alias = live(registry)
    assert alias.version == 2
    assert [(move.action, move.version, move.previous, move.by) for move in alias.history] == [
        ("held", 3, 2, "run c"),
        ("promoted", 2, 1, "run b"),
        ("promoted", 1, None, "run a"),
    ]
    assert alias.history[0].why.startswith("Held: hold-out roc_auc is 0.7 against 0.9")


def test_gate_decides_once_for_a_version(store: ObjectStore) -> None:
    registry = Registry(store, clock())
    first = add(registry, "a", 0.8)
    add(registry, "b", 0.9)
    before = live(registry)
    assert registry.decide(first, by="again")[0] is True
    assert live(registry) == before


def test_gate_decides_anew_when_live_moved_in_between() -> None:
    class Racing(MemoryObjectStore):
        """Somebody promotes version 2 just before the gate's first write."""

        raced = False

        def put(self, key: str, data: bytes, **condition: Any) -> str:
            if key == keys.alias("demo") and b'"held"' not in data and not self.raced and raced_by:
                self.raced = True
                raced_by[0]()
            return super().put(key, data, **condition)

    raced_by: list[Any] = []
    store = Racing()
    registry = Registry(store, clock())
    add(registry, "a", 0.8)
    strong = registry.register(draft("b", metrics={"roc_auc": 0.95}), PLAN, since=START)
    middle = registry.register(draft("c", metrics={"roc_auc": 0.9}), PLAN, since=START)
    raced_by.append(lambda: registry.promote("demo", strong.version, by="me", why="by hand"))
    promoted, reason = registry.decide(middle, by="run c")
    assert not promoted
    assert "live version 2" in reason
    assert live(registry).version == 2
    assert len(live(registry).history) == 3


def test_gate_gives_up_when_live_never_rests() -> None:
    store = MemoryObjectStore()
    registry = Registry(store, clock())
    version = registry.register(draft("a"), PLAN, since=START)
    store.failures = [Conflict("moved", code="conflict")] * 100
    with pytest.raises(TransientError) as caught:
        registry.decide(version, by="run a")
    assert caught.value.code == "alias-busy"


# --- aliases ----------------------------------------------------------------------------------------


def test_promote_by_hand_and_rollback_go_back_one_version_each(store: ObjectStore) -> None:
    registry = Registry(store, clock())
    for number, auc in enumerate((0.7, 0.8, 0.9)):
        add(registry, f"run-{number}", auc)
    assert live(registry).version == 3
    assert registry.rollback("demo", by="me", why="too slow").version == 2
    assert registry.rollback("demo", by="me", why="still").version == 1
    with pytest.raises(BadInput) as caught:
        registry.rollback("demo", by="me", why="more")
    assert caught.value.code == "rollback-impossible"
    assert registry.promote("demo", 3, by="you", why="fixed").version == 3
    assert registry.rollback("demo", by="me", why="no").version == 1
    newest = live(registry).history[0]
    assert (newest.action, newest.version, newest.previous, newest.by, newest.why) == (
        "rolled-back",
        1,
        3,
        "me",
        "no",
    )


def test_held_versions_are_no_place_to_roll_back_to(store: ObjectStore) -> None:
    registry = Registry(store, clock())
    add(registry, "a", 0.8)
    add(registry, "b", 0.1)
    add(registry, "c", 0.9)
    assert registry.rollback("demo", by="me", why="").version == 1


def test_promoting_what_is_live_changes_nothing(store: ObjectStore) -> None:
    registry = Registry(store, clock())
    add(registry, "a")
    before = live(registry)
    assert registry.promote("demo", 1, by="me", why="again") == before
    assert live(registry) == before


def test_a_lost_race_is_a_conflict() -> None:
    class Racing(MemoryObjectStore):
        """Somebody else moves the alias between our read and our write."""

        def get_with_etag(self, key: str) -> tuple[bytes, str]:
            found = super().get_with_etag(key)
            self.add(key, found[0] + b" ")
            return found

    store = Racing()
    registry = Registry(store, clock())
    for number in range(3):
        registry.register(draft(f"run-{number}"), PLAN, since=START)
    history = (Move("promoted", 2, 1, START, "run b", ""),)
    store.add(keys.alias("demo"), json.dumps(encode(Alias("demo", "live", 2, history))).encode())
    with pytest.raises(Conflict):
        registry.promote("demo", 3, by="me", why="")
    with pytest.raises(Conflict):
        registry.rollback("demo", by="me", why="")


class LockedStore(MemoryObjectStore):
    """Conditional writes that hold under threads, as S3's do."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()

    def put(self, key: str, data: bytes, **condition: Any) -> str:
        with self._lock:
            return super().put(key, data, **condition)

    def list(self, prefix: str) -> Iterator[str]:
        with self._lock:
            return iter([*super().list(prefix)])

    def list_folders(self, prefix: str) -> Iterator[str]:
        with self._lock:
            return iter([*super().list_folders(prefix)])


@pytest.mark.slow
def test_fifty_registrations_and_fifty_moves_at_once_lose_none_and_corrupt_none() -> None:
    store = LockedStore()
    registry = Registry(store, clock())
    for number in range(5):
        registry.register(draft(f"first-{number}"), PLAN, since=START)
    registry.promote("demo", 1, by="start", why="")

    def add_one(number: int) -> int:
        """Register a version, and let the gate hold it; ten of the runs are registered twice."""
        made = draft(f"run-{number % 40}", metrics={"roc_auc": 0.1})
        version = registry.register(made, PLAN, b"<html>", since=START)
        registry.decide(version, by=f"run {number % 40}")
        return version.version

    def move_one(number: int) -> str:
        """Move the alias, as often as somebody else is faster."""
        while True:
            found = live(registry).version
            try:
                registry.promote("demo", found % 5 + 1, by=f"mover {number}", why="")
            except Conflict:
                continue
            return f"mover {number}"

    with ThreadPoolExecutor(20) as pool:
        pairs = [(pool.submit(move_one, n), pool.submit(add_one, n)) for n in range(50)]
        moves, versions = [move for move, _ in pairs], [version.result() for _, version in pairs]
        movers = {move.result() for move in moves}
    claimed = {n: registry.version("demo", n).run_id for n in registry.numbers("demo")}
    assert sorted(claimed) == list(range(1, 46)), (
        "40 runs and the five before: no number twice, none left out"
    )
    for number, version in enumerate(versions):
        assert claimed[version] == f"run-{number % 40}"
        assert store.get(keys.version("demo", version, "model.plan")) == PLAN
    history = live(registry).history
    made = [move for move in history if move.action == "promoted"]
    assert {move.by for move in made} - {"start"} <= movers
    assert len(history) == HISTORY
    # Every move names as its predecessor what the move before it made live: none was overwritten.
    assert live(registry).version == made[0].version
    for newer, older in itertools.pairwise(made):
        assert newer.previous == older.version


def test_each_rollback_undoes_one_promotion_of_a_version_promoted_twice(store: ObjectStore) -> None:
    registry = Registry(store, clock())
    add(registry, "a", 0.8)
    add(registry, "b", 0.9)
    registry.promote("demo", 1, by="me", why="")
    assert registry.rollback("demo", by="me", why="").version == 2
    assert registry.rollback("demo", by="me", why="").version == 1
    with pytest.raises(BadInput, match="No version"):
        registry.rollback("demo", by="me", why="")


def test_versions_that_are_held_again_and_again_do_not_push_out_the_way_back() -> None:
    alias = Alias("demo", "live", 1, (Move("promoted", 1, None, START, "run a", ""),))
    alias = alias.after(Move("promoted", 2, 1, START, "run b", ""))
    for number in range(3, 2 * HISTORY):
        alias = alias.after(Move("held", number, 2, START, "run", ""))
    assert len(alias.history) == HISTORY
    assert alias.history[0].version == 2 * HISTORY - 1
    assert (alias.version, alias.rollback_target) == (2, 1)


@given(st.lists(st.integers(1, 4), max_size=70))
def test_history_is_bounded_and_names_what_is_live(numbers: list[int]) -> None:
    alias = Alias("demo", "live", 1, ())
    for number in numbers:
        alias = alias.after(Move("promoted", number, alias.version, START, "me", ""))
    assert len(alias.history) == min(len(numbers), HISTORY)
    if numbers:
        assert alias.version == numbers[-1]
        assert alias.rollback_target == ([1, *numbers][-2])


# --- the use case -----------------------------------------------------------------------------------


def evaluation(**changes: Any) -> dict[str, Any]:
    return {
        "run_id": "demo-0123456789ab",
        "model": "demo",
        "task": "binary",
        "target": "survived",
        "metric": "roc_auc",
        "classes": ["no", "yes"],
        "rows": {"read": 10, "kept": 10, "rejected": 0, "trained": 8, "holdout": 2},
        "candidates": [],
        "chosen": "linear",
        "metrics": {"roc_auc": 0.8, "log_loss": None, "accuracy": 0.75},
        "baseline": {"roc_auc": 0.5, "log_loss": None, "accuracy": 0.6},
        "parity": {"rows": 2, "max_difference": 1e-16, "limit": 1e-9, "passed": True},
        "libraries": {"scikit-learn": "1.9.1"},
        "plan_bytes": len(PLAN),
        "seed": 0,
    } | changes


def finished_run(
    store: ObjectStore, runs: MemoryRunStore, run_id: str = "demo-0123456789ab", **changes: Any
) -> None:
    """Leave behind what select and report leave."""
    store.put(keys.evaluation(run_id), json.dumps(evaluation(run_id=run_id) | changes).encode())
    store.put(keys.schema(run_id), SCHEMA)
    store.put(keys.run_plan(run_id), PLAN)
    store.put(keys.run_report(run_id), b"<html>")
    store.put(keys.run_report_json(run_id), b"{}")
    runs.open(
        make_run(
            run_id,
            state="REGISTERING",
            warnings=("The target is the last column.",),
        )
    )


def test_a_run_becomes_a_version_that_answers(store: ObjectStore) -> None:
    runs = MemoryRunStore()
    finished_run(store, runs)
    outcome = register_run("demo-0123456789ab", store, runs, predict_memory_mb=512)
    assert outcome["version"] == 1
    assert outcome["promoted"] is True
    version = Registry(store).version("demo", 1)
    assert version.metrics == {"roc_auc": 0.8, "accuracy": 0.75}
    assert [field["name"] for field in version.signature] == ["age", "city"]
    assert version.rows["trained"] == 8
    lineage = version.lineage
    assert lineage is not None
    assert (lineage.file, lineage.file_version, lineage.file_bytes) == (
        "s3://data/datasets/demo/ä b.csv",
        "v1",
        10,
    )
    assert lineage.spec["budget"] == "standard"
    assert lineage.schema_sha256 == hashlib.sha256(SCHEMA).hexdigest()
    assert re.fullmatch(r"\d+\.\d+\.\d+\+[0-9a-f]{16}", lineage.code)
    assert store.get(keys.version("demo", 1, "schema.json")) == SCHEMA
    run = runs.get("demo-0123456789ab")
    assert (run.model, run.version, run.promoted) == ("demo", 1, True)
    assert run.metrics == {"roc_auc": 0.8, "accuracy": 0.75}
    assert run.baseline == {"roc_auc": 0.5, "accuracy": 0.6}
    assert run.report == f"s3://{BUCKET}/models/demo/versions/1/report.html"
    assert run.warnings == ("The target is the last column.",)
    assert all(not isinstance(value, float) or math.isfinite(value) for value in run.metrics.values())


def test_registering_twice_changes_nothing(store: ObjectStore) -> None:
    runs = MemoryRunStore()
    finished_run(store, runs)
    finished_run(store, runs, "demo-worse", metrics={"roc_auc": 0.4})
    first = register_run("demo-0123456789ab", store, runs, predict_memory_mb=512)
    held = register_run("demo-worse", store, runs, predict_memory_mb=512)
    assert (held["version"], held["promoted"]) == (2, False)
    assert register_run("demo-worse", store, runs, predict_memory_mb=512) == held
    assert register_run("demo-0123456789ab", store, runs, predict_memory_mb=512) == first
    assert Registry(store).numbers("demo") == [2, 1]
    assert live(Registry(store)).version == 1
    assert runs.get("demo-worse").warnings == ("The target is the last column.", held["reason"])


def test_a_plan_without_parity_is_not_registered(store: ObjectStore) -> None:
    runs = MemoryRunStore()
    finished_run(store, runs, parity={"rows": 2, "max_difference": 1e-3, "limit": 1e-9, "passed": False})
    with pytest.raises(BadInput) as caught:
        register_run("demo-0123456789ab", store, runs, predict_memory_mb=512)
    assert caught.value.code == "parity-failed"
    assert Registry(store).models() == []


def test_a_broken_plan_is_not_registered(store: ObjectStore) -> None:
    runs = MemoryRunStore()
    finished_run(store, runs)
    store.put(keys.run_plan("demo-0123456789ab"), PLAN[:-1])
    with pytest.raises(BadInput):
        register_run("demo-0123456789ab", store, runs, predict_memory_mb=512)
    assert Registry(store).models() == []


def test_a_run_without_a_report_is_registered(store: ObjectStore) -> None:
    runs = MemoryRunStore()
    finished_run(store, runs)
    store.delete(keys.run_report("demo-0123456789ab"))
    assert register_run("demo-0123456789ab", store, runs, predict_memory_mb=512)["version"] == 1
    assert runs.get("demo-0123456789ab").report is None
