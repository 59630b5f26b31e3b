"""What the live version gains by learning new rows, and what that saves beside a search each time.

``make bench NAME=incremental`` cuts the training file of real tables, its rows shuffled by a seed, into
pieces of the same size and uploads one after the other: to a dataset whose files are appended and searched
anew, and to one of which a new file updates the live version where it can. After every piece the version that
was made (promoted or not) scores the table's test file. The stages are called in one process over stores in
memory.

The last line is one JSON object: for each table ``metric`` and, by way (``search``, ``update``), a list with
the ``score`` on the test file, ``cpu_s`` of training and selection, ``plan_bytes`` and ``how`` (``search``
or ``update``) of each piece; and ``search_cpu_s`` and ``update_cpu_s``, the sums over the pieces after the
first.
"""

from __future__ import annotations

import argparse
import json
import random
from typing import Any

from benchmarks.figures import Table
from benchmarks.quality import (
    SHARED,
    Clock,
    Entry,
    content,
    manifest,
    metric_of,
    roomy_world,
    scored,
    selected,
)
from millrace import keys
from millrace.registry.register import register_run
from millrace.registry.registry import Registry
from millrace.runs.collect import narrow
from millrace.training.metrics import score
from millrace.training.stages import train
from tests.world import World

TABLES = ("bikeshare",)
PIECES = 5
WAYS = {"search": "append", "update": "update"}
"""By way, what ``on_new_file`` says."""


def pieces(data: bytes, count: int) -> list[bytes]:
    """Return a file's rows in ``count`` files, in an order that a seed decides; no cell has a line break."""
    head, *lines = data.splitlines(keepends=True)
    random.Random(0).shuffle(lines)
    return [head + b"".join(lines[part::count]) for part in range(count)]


def trained(world: World, run_id: str) -> str:
    """Train and select; return whether that was a search or an update."""
    work, how = world.collect(run_id), "search"
    while work.units:
        for unit in work.units:
            train(run_id, unit, world.artifacts, world.runs)
        if not work.more:
            break
        update = any(unit.update for unit in work.units)
        work = narrow(run_id, artifacts=world.artifacts, runs=world.runs, trained=work.units)
        how = "update" if update and not work.units else "search"
    selected(world, run_id, Clock())
    return how


def followed(entry: Entry, way: str, budget: str, count: int) -> list[dict[str, Any]]:
    """Upload the pieces one after the other; return what became of each."""
    world, metric = roomy_world(), metric_of(entry)
    spec = {"target": entry["target"], "metric": metric, "budget": budget, "on_new_file": WAYS[way]}
    world.data.put(keys.spec("bench"), json.dumps(spec).encode())
    found = []
    for number, data in enumerate(pieces(content(SHARED, entry, "train"), count)):
        world.tasks = type(world.tasks)()
        run_id = world.prepare(data, keys.upload("bench", f"{number}.csv"))
        clock = Clock()
        how = clock("train", lambda run_id=run_id: trained(world, run_id))
        made = register_run(run_id, world.artifacts, world.runs, predict_memory_mb=1024)
        world.runs.update(run_id, state="REGISTERING")
        world.succeed(run_id)
        registry = Registry(world.artifacts)
        live = registry.live("bench")
        registry.promote("bench", made["version"], by="benchmark", why="its test file is scored by it")
        truth, prediction = scored(world, SHARED, entry)
        found.append(
            {
                "how": how,
                "promoted": made["promoted"],
                "score": round(score(metric, truth, prediction), 5),
                "cpu_s": round(clock.cpu["train"], 2),
                "plan_bytes": registry.version("bench", made["version"]).plan_bytes,
                "why": [w for w in world.runs.get(run_id).warnings if "searches anew" in w],
            }
        )
        if live is not None and live.version != made["version"]:
            registry.promote("bench", live.version, by="benchmark", why="the gate held the other")
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="append", help=f"by default {', '.join(TABLES)}")
    parser.add_argument("--budget", choices=("quick", "standard", "thorough"), default="standard")
    parser.add_argument("--pieces", type=int, default=PIECES)
    arguments = parser.parse_args()
    entries = manifest(SHARED)
    result: dict[str, Any] = {}
    for name in arguments.table or TABLES:
        ways = {way: followed(entries[name], way, arguments.budget, arguments.pieces) for way in WAYS}
        shown = Table("piece", "searched: score", "CPU s", "updated: score", "CPU s", "by", "plan KB")
        for number, (search, update) in enumerate(zip(ways["search"], ways["update"], strict=True), 1):
            held = "" if update["promoted"] else ", held"
            shown.add(
                *(number, search["score"], search["cpu_s"], update["score"], update["cpu_s"]),
                *(update["how"] + held, update["plan_bytes"] // 1000),
            )
        shown.print(f"{name}, {entries[name]['primary_metric']}, budget {arguments.budget}")
        later = {f"{way}_cpu_s": round(sum(one["cpu_s"] for one in ways[way][1:]), 2) for way in WAYS}
        result[name] = {"metric": entries[name]["primary_metric"], **ways, **later}
    print(json.dumps({"benchmark": "incremental", "budget": arguments.budget, "tables": result}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
