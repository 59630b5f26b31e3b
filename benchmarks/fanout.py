"""How fast a file goes through the fan-out, beside the ideal, and how long a small one waits behind it.

``make bench NAME=fanout`` measures one and two workers of a stream, and a Map in place of the stream, on an
embedded AWS of its own each: the time from the first call of ``fan_out`` to the last chunk of both passes.
The ideal is the bytes divided by the workers and by one worker's rate, as Lambda's report lines tell it; the
Map's workers share this machine's two cores. Then a small file is uploaded while a large one is under way.

The simulator takes the measured rates to 8, 64 and 512 shards, under the limits of Kinesis, of Lambda and of
the table, and to the 40 iterations of a Map; a pass over a stream is one state of Step Functions however many
chunks it has.

``ARGS=--large`` sends a file of 2 GB through, to a model, instead, and tells each function's most memory.

The last line is one JSON object. ``measured`` has, for one and two workers and for the Map, ``wall_s``,
``ideal_s`` and ``budget_s``, which is 1.25 x ideal + 3 s; ``simulated`` the same by number of shards.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import itertools
import json
import math
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millrace.aws.runs import DynamoRunStore
from millrace.contracts import TERMINAL_STATES, Run
from millrace.edge.cost import price, stream_month
from millrace.edge.settings import MAP_LANES, FanOutSettings
from millrace.errors import NotFound
from millrace.local.platform import Platform
from millrace.runs.fan_out import chunk_bytes
from millrace.runs.ingest import run_id_of

ROOT = Path(__file__).resolve().parents[1]
MB = 1_000_000
FILE_BYTES = 96 * MB
CHUNK_BYTES = 8 << 20
SMALL_BYTES = MB // 2
LARGE_BYTES = 2000 * MB
WAIT_S = 1800
CONCURRENCY = 1000
"""Environments at once of an account, unless it asked for more (Lambda quotas); as many are added in 10 s."""
POLL_S = 1.0
"""How often Lambda asks an idle shard for records (Lambda developer guide, "Kinesis")."""
PARTITION_UNITS_S, TABLE_UNITS_S = 1000, 4000
"""Writes of 1 KB a second that one partition takes, and a new table that is paid for by request (DynamoDB
developer guide, "Designing partition keys" and "On-demand capacity mode"). Each ``pk`` is taken to have a
partition to itself, which in a table with few partitions is not so."""
GROUP_TICKETS = 90
"""As in ``template.yaml``."""
ITEM_BYTES, TOKEN_BYTES = 250, 2048
"""What an item that counts has besides; a pass's own has the task token, of so many characters at most (Step
Functions API reference, ``SendTaskSuccess``)."""
PART_BYTES, CLAIM_BYTES, MARK_BYTES = 3, 8, 3
"""How much longer an item is by a part of a group, a claim, and a mark (DynamoDB developer guide, "Item sizes
and formats")."""
SPARE_S = 0.02
"""What a ticket takes for which no chunk is left."""
MEASURED: tuple[tuple[str, int, dict[str, int | str]], ...] = (
    ("1 worker", 1, {"ShardCount": 1, "ParallelizationFactor": 1}),
    ("2 workers", 2, {"ShardCount": 2, "ParallelizationFactor": 1}),
    ("map", 2, {"FanOut": "map"}),
)
"""What is measured, by how many workers the ideal is divided, and the stack. A Map runs 40 at once, but this
machine is taken to have two cores."""
SIMULATED = (8, 64, 512)
SIMULATED_BYTES = 4 << 30
_REPORT = re.compile(r"^REPORT .*?\tDuration: ([0-9.]+) ms.*?Max Memory Used: ([0-9]+) MB", re.MULTILINE)
_INIT = re.compile(r"Init Duration: ([0-9.]+) ms")


def write_table(path: Path, size_bytes: int) -> None:
    """Write a table with text, quoted line breaks, letters beyond ASCII, numbers and a target."""
    chance = random.Random(7)
    towns = ("Zürich", "Genève", "東京", "Oslo", "Lima", "Graz")
    block = []
    for _ in range(20_000):
        amount = chance.gauss(50, 20)
        note = chance.choice(("ok", 'said ""no""', "two\nlines", "a, b; c", "late"))
        label = int(amount + chance.gauss(0, 10) > 55)
        cells = (
            f'{chance.choice(towns)},{amount:.3f},{chance.randrange(10**6)},{chance.random():.6f},"{note}"'
        )
        block.append(f"{cells},2024-{chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d},{label}\r\n")
    text = "".join(block).encode()
    with path.open("wb") as out:
        out.write(b"town,amount,code,share,note,day,target\r\n")
        for _ in range(max(1, size_bytes // len(text))):
            out.write(text)


@dataclass(frozen=True)
class Usage:
    """What a function's report lines tell, in seconds and MB."""

    durations_s: tuple[float, ...]
    starts_s: tuple[float, ...]
    peak_mb: int


class Stack:
    """A stack of its own, with a number of shards and of lanes a shard."""

    def __init__(self, platform: Platform, **parameters: int | str) -> None:
        self.platform = platform
        outputs = platform.deploy(parameters={name: str(value) for name, value in parameters.items()})
        self._machine = outputs["StateMachineArn"]
        self._bucket = outputs["DataBucket"]
        self._s3 = platform.client("s3")
        self._runs = DynamoRunStore(outputs["RunsTable"], platform.client("dynamodb"))

    def upload(self, dataset: str, file: Path) -> str:
        """Upload a file to learn from; return its run."""
        key = f"datasets/{dataset}/{file.name}"
        spec = json.dumps({"target": "target", "budget": "quick"}).encode()
        self._s3.put_object(Bucket=self._bucket, Key=f"datasets/{dataset}/spec.json", Body=spec)
        self._s3.upload_file(str(file), self._bucket, key)
        version = self._s3.head_object(Bucket=self._bucket, Key=key)["VersionId"]
        return run_id_of(self._bucket, dataset, key, version)

    def follow(self, run_id: str) -> Iterator[tuple[float, Run]]:
        """Yield the run, and when, until nobody wants more or it has ended."""
        began = time.perf_counter()
        while time.perf_counter() < began + WAIT_S:
            with contextlib.suppress(NotFound):  # it may not be opened yet
                run = self._runs.get(run_id)
                yield time.perf_counter(), run
                if run.state == "FAILED":
                    raise SystemExit(f"{run_id} failed: {run.error}")
                if run.state in TERMINAL_STATES:
                    return
            time.sleep(0.05)
        raise SystemExit(f"{run_id} did not end in {WAIT_S} s")

    def fan_out_s(self, run_id: str) -> dict[str, float]:
        """Return when each pass of a run began and ended; nothing is learned afterwards."""
        seen: dict[str, float] = {}
        for moment, run in self.follow(run_id):
            for name, state in (("profile", "PROFILING"), ("convert", "CONVERTING")):
                if run.state == state:
                    seen.setdefault(f"{name} began", moment)
                if name in run.progress and run.progress[name].complete:
                    seen.setdefault(f"{name} ended", moment)
            if "convert ended" in seen:
                break
        name = f"{run_id}-1"
        states = self.platform.client("stepfunctions")
        states.stop_execution(
            executionArn=self._machine.replace(":stateMachine:", ":execution:") + f":{name}"
        )
        return seen

    def usage(self, function: str) -> Usage:
        """Return what a function's invocations took so far."""
        logs = self.platform.client("logs")
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/millrace/dev/{function}")
        text = "\n".join(event["message"] for page in pages for event in page["events"])
        reports = _REPORT.findall(text)
        return Usage(
            tuple(float(duration) / 1000 for duration, _ in reports),
            tuple(float(init) / 1000 for init in _INIT.findall(text)),
            max((int(peak) for _, peak in reports), default=0),
        )


@contextlib.contextmanager
def stack(**parameters: int | str) -> Iterator[Stack]:
    """Start an embedded AWS with the stack."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder, Platform(Path(folder)) as platform:
        yield Stack(platform, **parameters)


def passes_s(seen: dict[str, float]) -> float:
    """Return what both passes took together."""
    return sum(seen[f"{name} ended"] - seen[f"{name} began"] for name in ("profile", "convert"))


@dataclass(frozen=True)
class Rates:
    """What one worker was measured at."""

    chunk_s: float
    """Seconds a chunk, beside its bytes."""
    bytes_s: float
    """Bytes a second, of one pass."""
    noise: float
    """Standard deviation of a chunk's time, as a share of it."""
    cold_s: float


def measure(table: Path, small: Path) -> tuple[dict[str, Any], Rates]:
    """Return, by name, what fan-outs take and what a small file waits; and one worker's rates."""
    result: dict[str, Any] = {}
    work_s = 0.0
    rates = Rates(0, 1, 0, 0)
    for name, workers, parameters in MEASURED:
        sizes = {"MinChunkBytes": CHUNK_BYTES, "MaxChunkBytes": CHUNK_BYTES}
        with stack(**parameters, **sizes) as here:
            here.fan_out_s(here.upload("warm", small))
            warm = here.usage("preprocess")
            run_id = here.upload("table", table)
            seen = here.fan_out_s(run_id)
            used = here.usage("preprocess")
            chunks = next(run for _, run in here.follow(run_id)).progress["profile"].total
            took = used.durations_s[len(warm.durations_s) :]
            if not work_s:
                # Invocations beyond two for each chunk are tickets that found none left, the shortest ones.
                floor = sorted(took, reverse=True)[2 * chunks - 1]
                took = tuple(one for one in took if one >= floor)
                work_s = sum(took)
                chunk_s = min(statistics.median(warm.durations_s[1:] or warm.durations_s), min(took))
                per_byte = (work_s - chunk_s * len(took)) / (2 * table.stat().st_size)
                noise = statistics.pstdev(took[:chunks]) / statistics.fmean(took)
                rates = Rates(chunk_s, 1 / per_byte, noise, max(used.starts_s, default=0.0))
            result[name] = judged(passes_s(seen), work_s / workers) | {
                "chunks": chunks,
                "peak_mb": {"preprocess": used.peak_mb, "fan_out": here.usage("fan_out").peak_mb},
            }
            if name != "2 workers":
                result[name]["small_file"] = behind(here, table, small)
            print(f"{name}: {result[name]}", file=sys.stderr)
    return result, rates


def behind(here: Stack, table: Path, small: Path) -> dict[str, Any]:
    """Upload a small file alone, and again while a large one is under way."""
    alone = passes_s(here.fan_out_s(here.upload("alone", small)))
    large = here.upload("large", table)
    for _, run in here.follow(large):
        if "profile" in run.progress and run.progress["profile"].done >= 1:
            break
    waited = passes_s(here.fan_out_s(here.upload("behind", small)))
    progress = next(run.progress for _, run in here.follow(large))
    here.fan_out_s(large)
    return {
        "alone_s": round(alone, 2),
        "behind_large_s": round(waited, 2),
        "large_chunks_left_then": 2 * progress["profile"].total - sum(p.done for p in progress.values()),
    }


def judged(wall_s: float, ideal_s: float) -> dict[str, Any]:
    """Return a wall time beside its ideal and its budget."""
    budget = 1.25 * ideal_s + 3
    return {
        "wall_s": round(wall_s, 2),
        "ideal_s": round(ideal_s, 2),
        "efficiency": round(ideal_s / wall_s, 3),
        "budget_s": round(budget, 2),
        "within": wall_s <= budget,
    }


def simulate(shards: int, factor: int, size_bytes: int, rates: Rates) -> dict[str, Any]:
    """Play both passes of one file over a stream of ``shards`` with ``factor`` lanes each.

    A ticket reaches its shard at the shard's next poll, and a lane of it by chance; a lane takes one at a
    time; no more than ``CONCURRENCY`` run at once; one for which no environment is free is a cold start. A
    claim, a mark, a group that is complete and what each invocation used are writes to the table.
    """
    settings = FanOutSettings(
        *("bucket", "table", "stage", "data", "stream", "no machine"),
        shard_count=shards,
        parallelization_factor=factor,
        group_tickets=GROUP_TICKETS,
        max_file_bytes=size_bytes,
        min_chunk_bytes=1 << 20,
        max_chunk_bytes=64 << 20,
    )
    each = chunk_bytes(size_bytes, settings.width, settings.min_chunk_bytes, settings.max_chunk_bytes)
    chunks = -(-size_bytes // each)
    workers = min(settings.lanes, CONCURRENCY)
    ideal_s = 2 * size_bytes / (workers * rates.bytes_s) + 2 * rates.chunk_s * chunks / workers
    wall_s, groups = 0.0, 0
    for cold in (True, False):
        chance = random.Random(shards * 100 + factor)
        play = _Pass(shards, factor, min(settings.tickets, 2 * chunks), rates, chance, chunks, cold=cold)
        wall_s += play.run(rates.chunk_s + each / rates.bytes_s)
        groups = play.groups
    shape = {"workers": workers, "chunks": chunks, "groups": groups, "chunk_mb": round(each / MB, 1)}
    return judged(wall_s, ideal_s) | shape


def simulate_map(size_bytes: int, rates: Rates) -> dict[str, Any]:
    """Play both passes of one file through an inline Map: the next chunk goes to whichever of 40 is free."""
    each = chunk_bytes(size_bytes, 4 * MAP_LANES, 1 << 20, 64 << 20)
    chunks = -(-size_bytes // each)
    chance = random.Random(40)
    work_s, wall_s = rates.chunk_s + each / rates.bytes_s, 0.0
    for cold in (True, False):
        free = [rates.cold_s if cold else 0.0] * MAP_LANES
        for _ in range(chunks):
            heapq.heappush(free, heapq.heappop(free) + work_s * max(0.5, chance.gauss(1, rates.noise)))
        wall_s += max(free)
    shape = {"workers": MAP_LANES, "chunks": chunks, "chunk_mb": round(each / MB, 1)}
    return judged(wall_s, 2 * chunks * work_s / MAP_LANES) | shape


class _Pass:
    """One pass in the simulator: its clock, its lanes, and the table that all of them write."""

    def __init__(
        self,
        shards: int,
        factor: int,
        tickets: int,
        rates: Rates,
        chance: random.Random,
        chunks: int,
        *,
        cold: bool,
    ) -> None:
        self._tickets = tickets
        self._rates = rates
        self._chance = chance
        self._chunks = chunks
        self._cold = cold
        self._phases = [chance.random() * POLL_S for _ in range(shards)]
        shard_of = [place * shards // tickets for place in range(tickets)]
        self._lanes = [(shard, chance.randrange(factor)) for shard in shard_of]
        self._events: list[tuple[float, int, str, int]] = []
        self._order = itertools.count()
        self.groups = max(1, tickets // GROUP_TICKETS)
        # One group is none: the chunks are claimed in the pass's own item.
        self._keys = [f"group {group}" for group in range(self.groups)] if self.groups > 1 else ["pass"]
        self._sizes = dict.fromkeys(self._keys, ITEM_BYTES + PART_BYTES * chunks // self.groups)
        self._sizes["pass"] = ITEM_BYTES + TOKEN_BYTES
        self._sizes["usage"] = ITEM_BYTES
        self._free_s = dict.fromkeys((*self._sizes, "table"), 0.0)

    def run(self, work_s: float) -> float:
        """Return when the last of the chunks is counted, in seconds from the begin."""
        waiting: dict[tuple[int, int], deque[int]] = {}
        busy: set[tuple[int, int]] = set()
        idle = 0 if self._cold else CONCURRENCY  # environments, which any lane may use again
        ready: deque[tuple[int, int]] = deque()
        left = [len(range(group, self._chunks, self.groups)) for group in range(self.groups)]
        undone, end = list(left), 0.0
        for place in range(self._tickets):
            self._put(0.05 * (place // 500), place)  # PutRecords takes 500 at once
        while self._events:
            now, _, what, place = heapq.heappop(self._events)
            lane, group = self._lanes[place], place % self.groups
            key = self._keys[group]
            if what == "begun" and left[group]:
                left[group] -= 1
                took = work_s * max(0.5, self._chance.gauss(1, self._rates.noise))
                self._at(self._write(now, key, CLAIM_BYTES) + took, "worked", place)
            elif what == "begun":
                self._at(now + SPARE_S, "marked", place)
            elif what == "worked":
                if left[group]:
                    self._put(now, place)
                marked = self._write(now, key, MARK_BYTES)
                undone[group] -= 1
                # Whoever completes a group goes on to count it.
                last = not undone[group] and self.groups > 1
                self._at(marked, "last" if last else "marked", place)
                end = max(end, marked)
            elif what == "last":
                counted = self._write(now, "pass", MARK_BYTES * self._chunks // self.groups)
                self._at(counted, "marked", place)
                end = max(end, counted)
            elif what == "marked":
                self._at(self._write(now, "usage", 0), "free", place)
            elif what == "came":
                waiting.setdefault(lane, deque()).append(place)
            else:
                busy.discard(lane)
                idle += 1
            if lane not in busy and waiting.get(lane) and lane not in ready:
                ready.append(lane)
            while ready and len(busy) < CONCURRENCY:
                lane = ready.popleft()
                place = waiting[lane].popleft()
                busy.add(lane)
                self._at(now if idle else now + self._rates.cold_s, "begun", place)
                idle = max(0, idle - 1)
        return end

    def _put(self, now: float, place: int) -> None:
        """Put a ticket onto the stream: it comes with the shard's next poll."""
        self._at(now + (self._phases[self._lanes[place][0]] - now) % POLL_S, "came", place)

    def _at(self, moment: float, what: str, place: int) -> None:
        heapq.heappush(self._events, (moment, next(self._order), what, place))

    def _write(self, now: float, key: str, grows: int) -> float:
        """Return when a write of the item is through: it costs a unit for each KB."""
        self._sizes[key] += grows
        units = math.ceil(self._sizes[key] / 1024)
        for place, units_s in ((key, PARTITION_UNITS_S), ("table", TABLE_UNITS_S)):
            self._free_s[place] = max(now, self._free_s[place]) + units / units_s
        return max(self._free_s[key], self._free_s["table"])


def large(size_bytes: int) -> dict[str, Any]:
    """Send a large file through to a model; return its times and each function's most memory."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        table = Path(folder) / "large.csv"
        write_table(table, size_bytes)
        with stack(ShardCount=1, ParallelizationFactor=2, MaxFileBytes=5 << 30) as here:
            began = time.perf_counter()
            run_id = here.upload("large", table)
            uploaded = time.perf_counter()
            states: dict[str, float] = {}
            for moment, run in here.follow(run_id):
                if run.state not in states:
                    states[run.state] = moment
                    print(f"{moment - began:.0f} s: {run.state}", file=sys.stderr)
            functions = ("ingest", "fan_out", "preprocess", "decide", "collect", "train", "select", "report")
            peaks = {name: here.usage(name).peak_mb for name in functions}
            return {
                "bytes": table.stat().st_size,
                "upload_s": round(uploaded - began, 1),
                "run_s": round(moment - uploaded, 1),
                "states_s": {state: round(at - uploaded, 1) for state, at in states.items()},
                "passes": {name: progress.total for name, progress in run.progress.items()},
                "rows_read": run.rows_read,
                "rows_kept": run.rows_kept,
                "peak_mb": peaks,
                "within_1500_mb": max(peaks.values()) <= 1500,
            }


def main() -> int:
    """Measure, simulate and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--large", nargs="?", type=int, const=LARGE_BYTES, help="bytes of a file to send through"
    )
    parser.add_argument("--bytes", type=int, default=FILE_BYTES, help="of the file that is measured")
    arguments = parser.parse_args()
    subprocess.run(["make", "--no-print-directory", "build"], cwd=ROOT, check=True, stdout=sys.stderr)
    if arguments.large:
        found = large(arguments.large)
        print(json.dumps({"benchmark": "fanout", "large": found}))
        return 0 if found["within_1500_mb"] else 1
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        table, small = Path(folder) / "table.csv", Path(folder) / "small.csv"
        write_table(table, arguments.bytes)
        write_table(small, SMALL_BYTES)
        measured, rates = measure(table, small)
        size = table.stat().st_size
    simulated: dict[str, Any] = {
        str(shards): {
            f"{factor} lanes": simulate(shards, factor, SIMULATED_BYTES, rates) for factor in (1, 10)
        }
        for shards in SIMULATED
    }
    simulated["map"] = simulate_map(SIMULATED_BYTES, rates)
    for shards, by_lanes in simulated.items():
        print(f"{shards} shards: {by_lanes}", file=sys.stderr)
    two = measured["2 workers"]
    result = {
        "benchmark": "fanout",
        "bytes": size,
        "wall_s": two["wall_s"],
        "ideal_s": two["ideal_s"],
        "measured": measured,
        "rates": {name: round(value, 4) for name, value in vars(rates).items()},
        "simulated_bytes": SIMULATED_BYTES,
        "simulated": simulated,
        "idle_month_usd": {"1 shard": round(stream_month(1), 2), "map": 0.0},
        "10,000 chunks_usd": {
            "stream": round(10_000 * price("kinesis_put_unit"), 4),
            "map": round(10_000 * price("state_transition"), 4),
        },
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
