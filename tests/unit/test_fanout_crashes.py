"""Passes over fakes while workers die, and calls fail, before or after any call that they make.

The quick net below ``make chaos``: thousands of interleavings instead of hundreds of real runs.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from millrace import keys
from millrace.contracts import PassName
from millrace.errors import TransientError
from tests.fakes import MemoryObjectStore, MemoryStream
from tests.world import CARS, World

TABLE = CARS + b"red,2,1000,one too many\nblue,4,\n"


class Died(BaseException):
    """The process is gone: nothing in it runs any more."""


class Fragile:
    """A port whose calls meet the accidents, one after the other; without any left it works."""

    def __init__(self, port: Any, accidents: list[str]) -> None:
        self._port = port
        self._accidents = accidents

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not callable(found) or name in ("heartbeat", "stream", "list"):
            return found

        @functools.wraps(found)
        def call(*arguments: Any, **options: Any) -> Any:
            accident = self._accidents.pop() if self._accidents else ""
            error = Died() if accident.startswith("dies") else TransientError("away", code="away")
            if accident.endswith("before"):
                raise error
            result = found(*arguments, **options)
            if accident.endswith("after"):
                raise error
            return result

        return call


def fragile(world: World, accidents: list[str]) -> World:
    """Return the same world with ports that meet the accidents."""
    ports: dict[str, Any] = {
        name: Fragile(getattr(world, name), accidents)
        for name in ("artifacts", "data", "runs", "stream", "tasks")
    }
    return replace(world, **ports)


def insist(what: Callable[[int], object]) -> None:
    """Do it again until it goes well, as the state machine does."""
    attempt = 0
    while True:
        try:
            what(attempt)
        except (Died, TransientError):
            attempt += 1
        else:
            return


def walk(world: World, accidents: list[str], rng: random.Random) -> tuple[str, list[str]]:
    """Take the table up to the candidates; return the run, and the tokens that were waited for at last."""
    run_id = world.upload(TABLE).run_id
    broken = fragile(world, accidents)
    tokens: list[str] = []
    old: list[bytes] = []
    passes: tuple[tuple[PassName, Callable[[], object]], ...] = (
        ("profile", lambda: broken.decide(run_id)),
        ("convert", lambda: broken.collect(run_id)),
    )
    for name, then in passes:
        insist(
            lambda attempt, name=name: (
                tokens.append(f"{name}-{attempt}") or broken.fan_out(run_id, name, tokens[-1])
            )
        )
        assert isinstance(world.stream, MemoryStream)
        records = world.stream.take() + rng.sample(old, min(2, len(old)))
        waiting = records + [record for record in records if rng.random() < 0.5]
        rng.shuffle(waiting)
        old += records
        while waiting:
            record = waiting.pop()
            try:
                broken.work(record)
            except (Died, TransientError):
                waiting.insert(rng.randrange(len(waiting) + 1), record)
        insist(lambda _, then=then: then())
    for record in old:
        world.work(record)
    return run_id, [next(token for token in reversed(tokens) if token.startswith(name)) for name, _ in passes]


def made(world: World, run_id: str) -> dict[str, bytes]:
    """Return what the run made, by name; the accidents of workers are no result."""
    assert isinstance(world.artifacts, MemoryObjectStore)
    return {
        key: world.artifacts.get(key)
        for key in world.artifacts.list(keys.run(run_id))
        if "/errors/" not in key
    }


@functools.cache
def undisturbed() -> dict[str, bytes]:
    world = World(width=4)
    run_id, _ = walk(world, [], random.Random(0))
    return made(world, run_id)


ACCIDENTS = ["dies before", "dies after", "fails before", "fails after"]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_dies_and_fails_the_outcome_is_the_undisturbed_one(seed: int) -> None:
    rng = random.Random(seed)
    often = rng.choice([0.03, 0.1, 0.4])  # a call meets an accident; an undisturbed run makes some 90
    accidents = [rng.choice(ACCIDENTS) if rng.random() < often else "" for _ in range(150)]
    world = World(width=4)
    run_id, tokens = walk(world, accidents, rng)
    assert made(world, run_id) == undisturbed()
    assert [world.tasks.answers[token][0] for token in tokens] == ["success", "success"]
    run = world.runs.get(run_id)
    assert (run.rows_read, run.rows_kept, run.rows_rejected) == (122, 120, 2)
