"""The registry under many writers at once, and how long a promotion and a roll back take.

``make bench NAME=registry`` starts an embedded AWS without a stack and works on its S3, as the functions do:
fifty registrations and fifty moves of the alias at once, each by a thread, with a client of its own for every
ten. A registration takes the next free number and lets the gate judge; a mover whose move was overtaken looks
again and moves. Then it looks whether anything was lost: every run has one version with its plan, numbers
follow one another, and each move of the history names as its predecessor what the move before it made live.
Last, promotions and roll backs one after the other.

The last line is one JSON object: ``registrations`` and ``moves`` that were made, ``lost`` and ``corrupt``,
which fail the run when they are not 0, ``overtaken``, how often a mover had to look again, ``wall_s`` of all
hundred, and ``promote_ms`` and ``rollback_ms``, medians and the longest.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from threading import Barrier
from typing import Any

from millrace import keys
from millrace.aws.objects import S3Store
from millrace.errors import BadInput, Conflict, NotFound, TransientError
from millrace.local.platform import Platform
from millrace.registry.registry import Registry
from millrace.registry.versions import Version

MODEL, BUCKET, PLAN = "busy", "registry", b"a plan's bytes"
AT_ONCE, TURNS = 50, 20


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="five at once, three turns")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder, Platform(Path(folder)) as platform:
        result = measure(lambda: platform.client("s3"), 5 if quick else AT_ONCE, 3 if quick else TURNS)
    print(json.dumps(result))
    if result["lost"] or result["corrupt"]:
        raise SystemExit(1)


def measure(client: Callable[[], Any], at_once: int, turns: int) -> dict[str, Any]:
    """Write at once, look what became of it, and take the time of single moves."""
    client().create_bucket(Bucket=BUCKET)
    registries = [Registry(S3Store(BUCKET, client())) for _ in range(max(1, at_once // 5))]
    first = registries[0]
    first.register(draft("first"), PLAN)
    first.promote(MODEL, 1, by="start", why="")
    gate = Barrier(2 * at_once)

    def add(number: int) -> int:
        registry = registries[number % len(registries)]
        gate.wait()
        return tried(lambda: registry.register(draft(f"run-{number}"), PLAN)).version

    def move(number: int) -> int:
        registry = registries[number % len(registries)]
        gate.wait()
        for turn in itertools.count():
            alias = registry.live(MODEL)
            target = 1 if alias is None or alias.version != 1 else max(registry.numbers(MODEL))
            try:
                tried(lambda target=target: registry.promote(MODEL, target, by=f"mover {number}", why=""))
            except Conflict:
                continue
            except BadInput as error:
                # The newest has a number before it has its plan, and cannot be promoted until then.
                if error.code != "version-incomplete":
                    raise
                continue
            return turn
        raise AssertionError

    began = time.perf_counter()
    with ThreadPoolExecutor(2 * at_once) as pool:
        moves = [pool.submit(move, number) for number in range(at_once)]
        versions = list(pool.map(add, range(at_once)))
        overtaken = sum(one.result() for one in moves)
    wall_s = time.perf_counter() - began
    lost, corrupt = looked_at(first, versions)
    promote, back = [], []
    for turn in range(turns):
        promote.append(timed(lambda turn=turn: first.promote(MODEL, 2 + turn % 2, by="bench", why="")))
        back.append(timed(lambda: first.rollback(MODEL, by="bench", why="")))
    return {
        "registrations": len(set(versions)),
        "moves": len(moves),
        "lost": lost,
        "corrupt": corrupt,
        "overtaken": overtaken,
        "wall_s": round(wall_s, 2),
        "promote_ms": {"median": round(median(promote), 1), "longest": round(max(promote), 1)},
        "rollback_ms": {"median": round(median(back), 1), "longest": round(max(back), 1)},
    }


def draft(run_id: str) -> Version:
    """Return a version to register."""
    return Version(
        model=MODEL,
        version=0,
        run_id=run_id,
        created_at="",
        task="regression",
        target="y",
        metric="rmse",
        plan_sha256="",
        plan_bytes=0,
        metrics={"rmse": 1.0},
    )


def tried(call: Callable[[], Any]) -> Any:
    """Repeat what a service could not do now, as a function's caller does."""
    while True:
        try:
            return call()
        except TransientError:
            time.sleep(0.05)


def looked_at(registry: Registry, versions: list[int]) -> tuple[int, int]:
    """Return how many registrations and moves are lost, and how many are not what was written."""
    claimed = {number: registry.version(MODEL, number) for number in registry.numbers(MODEL)}
    lost = len(versions) - len(set(versions) & claimed.keys())
    corrupt = sorted(claimed) != list(range(1, len(claimed) + 1))
    for number, version in enumerate(versions):
        corrupt += claimed[version].run_id != f"run-{number}"
        try:
            corrupt += registry._store.get(keys.version(MODEL, version, "model.plan")) != PLAN
        except NotFound:
            lost += 1
    alias = registry.live(MODEL)
    assert alias is not None
    made = [move for move in alias.history if move.action == "promoted"]
    lost += sum(newer.previous != older.version for newer, older in itertools.pairwise(made))
    return lost, int(corrupt) + (alias.version != made[0].version)


def timed(call: Callable[[], Any]) -> float:
    """Return the milliseconds that a call takes."""
    began = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
