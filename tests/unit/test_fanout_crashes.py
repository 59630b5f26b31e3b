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
from tests.fakes import MemoryObjectStore, MemoryRunStore, MemoryStream, MemoryTasks
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


def meet(accidents: list[str]) -> None:
    """Meet the next accident between two writes of one call."""
    if accident := accidents.pop() if accidents else "":
        raise Died() if accident.startswith("dies") else TransientError("away", code="away")


def fragile(world: World, accidents: list[str]) -> World:
    """Return the same world with ports that meet the accidents."""
    ports: dict[str, Any] = {
        name: Fragile(getattr(world, name), accidents)
        for name in ("artifacts", "data", "runs", "stream", "tasks")
    }
    return replace(world, **ports)


class Tokens(MemoryTasks):
    """As on AWS: a task that is tried again has a new token, and nobody waits for the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.newest: dict[str, str] = {}

    def issue(self, name: str) -> str:
        self.newest[name] = f"{name}-{int(self.newest.get(name, f'{name}-0').rpartition('-')[2]) + 1}"
        return self.newest[name]

    def heartbeat(self, token: str) -> bool:
        return token in self.newest.values() and token not in self.answers

    def _answer(self, token: str, answer: tuple[str, ...]) -> bool:
        return token in self.newest.values() and super()._answer(token, answer)


def walk(world: World, accidents: list[str], rng: random.Random) -> str:
    """Take the table up to the candidates; return the run.

    Records come twice now and then, in any order; workers are at work while ``fan_out`` is tried again.
    """
    assert isinstance(world.tasks, Tokens)
    assert isinstance(world.stream, MemoryStream)
    run_id = world.upload(TABLE).run_id
    broken = fragile(world, accidents)
    assert isinstance(world.runs, MemoryRunStore)
    world.runs.between_writes = lambda: meet(accidents)
    waiting: list[bytes] = []
    old: list[bytes] = []

    def work(most: float) -> None:
        assert isinstance(world.stream, MemoryStream)
        while True:
            new = world.stream.take()
            old.extend(new)
            waiting.extend(new + [record for record in new if rng.random() < 0.2])
            if not waiting or most <= 0:
                return
            most -= 1
            record = waiting.pop(rng.randrange(len(waiting)))
            try:
                broken.work(record)
            except (Died, TransientError):
                waiting.append(record)

    passes: tuple[tuple[PassName, Callable[[], object]], ...] = (
        ("profile", lambda: broken.decide(run_id)),
        ("convert", lambda: broken.collect(run_id)),
    )
    for name, then in passes:
        begun = False
        while not begun:
            try:
                broken.fan_out(run_id, name, world.tasks.issue(name))
                begun = True
            except (Died, TransientError):
                work(rng.randrange(12))
        waiting += rng.sample(old, min(2, len(old)))
        work(float("inf"))
        assert world.tasks.answers[world.tasks.newest[name]][0] == "success", "nobody is left to report"
        while True:
            try:
                then()
                break
            except (Died, TransientError):
                continue
    for record in old:
        world.work(record)
    return run_id


def made(world: World, run_id: str) -> dict[str, bytes]:
    """Return what the run made, by name; the accidents of workers are no result."""
    assert isinstance(world.artifacts, MemoryObjectStore)
    return {
        key: world.artifacts.get(key)
        for key in world.artifacts.list(keys.run(run_id))
        if "/errors/" not in key
    }


def world_of(tickets: int, group_tickets: int = 0) -> World:
    return World(width=8, tickets=tickets, group_tickets=group_tickets, tasks=Tokens())


@functools.cache
def undisturbed() -> dict[str, bytes]:
    world = world_of(0)
    return made(world, walk(world, [], random.Random(0)))


ACCIDENTS = ["dies before", "dies after", "fails before", "fails after"]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([(0, 0), (2, 0), (5, 0), (6, 2), (8, 3), (5, 1)]))
def test_whatever_dies_and_fails_the_outcome_is_the_undisturbed_one(
    seed: int, tickets: tuple[int, int]
) -> None:
    rng = random.Random(seed)
    often = rng.choice([0.03, 0.1, 0.4])  # a call meets an accident; an undisturbed run makes some 150
    accidents = [rng.choice(ACCIDENTS) if rng.random() < often else "" for _ in range(250)]
    world = world_of(*tickets)
    run_id = walk(world, accidents, rng)
    assert made(world, run_id) == undisturbed()
    run = world.runs.get(run_id)
    assert (run.rows_read, run.rows_kept, run.rows_rejected) == (122, 120, 2)
