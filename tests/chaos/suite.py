"""Runs scenarios, looks at what came of them, and says how many lost something or got stuck."""

from __future__ import annotations

import contextlib
import json
import random
import re
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

from millrace import keys
from millrace.contracts import Descriptor, PassName, Run
from millrace.errors import BadInput
from millrace.fanout import decode_descriptor
from millrace.runs.chunk_failed import discarded_records
from millrace.runs.ingest import run_id_of
from tests.chaos import checks
from tests.chaos.faults import Faults
from tests.chaos.scenarios import FanOut, Scenario, scenario
from tests.chaos.tables import SPEC, TABLES
from tests.chaos.world import RUN_S, World

AT_ONCE = 4
"""Scenarios under way at the same time: most of their time they wait."""


@dataclass
class Upload:
    """One file of a scenario, and the run that it opens."""

    run_id: str
    key: str
    table: int
    event: dict[str, Any]


@dataclass
class Result:
    """What came of a scenario: ``lost`` are records or results, ``stuck`` did not end or does not say how."""

    scenario: Scenario
    states: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether all held."""
        return not (self.lost or self.stuck)

    @property
    def disturbed(self) -> bool:
        """Whether an event may have been lost: a call met a fault, or the platform was restarted."""
        return bool(self.done or self.scenario.restart)

    def __str__(self) -> str:
        what = self.scenario
        head = (
            f"seed {what.seed:4d} {self.seconds:5.0f} s  {'groups' if what.grouped else what.fan_out:6s} "
            f"{what.kind:9s} {what.name}: " + " ".join(self.states)
        )
        lines = [head + f" ({len(self.done)} faults)"]
        lines += [f"      {note}" for note in dict.fromkeys(self.notes)]
        lines += [f"    LOST {line}" for line in self.lost] + [f"    STUCK {line}" for line in self.stuck]
        if not self.good:
            lines += [f"      {line}" for line in self.done[:40]]
        return "\n".join(lines)


class Suite:
    """The scenarios of some seeds on one platform.

    Parameters
    ----------
    world : World
        The platform.
    say : callable
        Takes a line for each scenario.
    """

    def __init__(self, world: World, say: Callable[[str], None]) -> None:
        self._world = world
        self._say = say
        self._undisturbed: dict[tuple[int, str], checks.Fingerprint] = {}
        self._rows = threading.Lock()
        self._results: dict[str, Result] = {}
        self._rows_of: dict[str, Result] = {}
        """By the name that the ids of a scenario's rows begin with."""
        self._final: list[tuple[Result, str, dict[str, Any]]] = []

    def run(self, wanted: list[Scenario]) -> list[Result]:
        """Run the scenarios and return what came of each."""
        began = time.monotonic()
        self._prepare(wanted)
        self._say(f"undisturbed runs: {time.monotonic() - began:.0f} s")
        results: list[Result] = []
        for grouped in (False, True):
            these = [one for one in wanted if one.grouped == grouped]
            if not these:
                continue
            self._world.deal(grouped=grouped)
            with ThreadPoolExecutor(AT_ONCE) as pool:
                results += pool.map(self._one, [one for one in these if not one.alone])
            results += map(self._one, [one for one in these if one.alone])
        self._afterwards(results)
        return results

    def _prepare(self, wanted: list[Scenario]) -> None:
        """Take each table through undisturbed, to have something to compare with and models that score."""
        tables = sorted(
            {one.table for one in wanted if one.kind != "collected"}.union(
                *(one.trained for one in wanted if one.kind != "collected")
            )
        )
        for table in tables:
            upload = self._upload("train", f"reference{table}", f"table{TABLES[table].ending}", table)
            self._remember(upload, table, "train")
        for table in sorted({one.table for one in wanted if one.kind in ("score", "rows")}):
            self._remember(
                self._upload("score", f"reference{table}", self._file("reference", table), table),
                table,
                "score",
            )

    def _remember(self, upload: Upload, table: int, kind: str) -> None:
        run = self._world.wait(upload.run_id, upload.event, [])
        assert run is not None and run.state == "SUCCEEDED", f"an undisturbed run went wrong: {run}"
        wrong = checks.where_each_record_is(self._world, run, TABLES[table], kind)
        assert not wrong, wrong
        self._undisturbed[table, kind] = checks.fingerprint(self._world, run, kind)

    @staticmethod
    def _file(name: str, table: int) -> str:
        return f"{name}{TABLES[table].ending}"

    def _upload(
        self, kind: str, folder: str, file: str, table: int, *, force: bool = False, spec: Any = None
    ) -> Upload:
        stack = self._world.stack
        key = f"{'datasets' if kind == 'train' else 'score'}/{folder}/{file}"
        if kind == "train":
            place = f"datasets/{folder}/spec.json"
            self._world.s3.put_object(
                Bucket=stack.data_bucket, Key=place, Body=json.dumps(spec or SPEC).encode()
            )
        put = self._world.s3.put_object(
            Bucket=stack.data_bucket,
            Key=key,
            Body=TABLES[table].data,
            Metadata={"force": "true"} if force else {},
        )
        version = put["VersionId"]
        run_id = run_id_of(stack.data_bucket, folder, key, version)
        return Upload(run_id, key, table, self._world.event(key, version))

    # --- one scenario --------------------------------------------------------------------------

    def _one(self, what: Scenario) -> Result:
        began = time.monotonic()
        result = Result(what)
        faults = Faults(what.seed, what.rules)
        try:
            if what.kind == "rows":
                with self._rows:
                    self._scored_rows(what, faults, result)
            elif what.kind == "collected":
                with self._rows:
                    self._collected_rows(what, faults, result)
            else:
                self._uploads(what, faults, result)
        except Exception:  # noqa: BLE001, the suite must get to its end and say what broke
            result.stuck.append(f"the suite itself failed: {traceback.format_exc()}")
        finally:
            self._world.proxy.unwatch(faults)
        result.done = faults.done
        result.seconds = time.monotonic() - began
        self._say(str(result))
        return result

    def _uploads(self, what: Scenario, faults: Faults, result: Result) -> None:
        name = f"zz{what.seed}z"
        world, rng = self._world, random.Random(what.seed)
        world.watch(faults, name)
        uploads: list[Upload] = []
        ended: list[Run | None] = []
        for number in range(what.files):
            part = "" if what.versions or what.files == 1 else f"-{number}"
            if what.kind == "train":
                folder, file = f"{name}{part}", self._file("table", what.table)
            else:
                folder, file = f"reference{what.table}", self._file(f"{name}{part}", what.table)
            upload = self._upload(what.kind, folder, file, what.table_of(number))
            world.watch(faults, upload.run_id)
            self._results[upload.run_id] = result
            uploads.append(upload)
            if what.apart:
                ended.append(world.wait(upload.run_id, upload.event, result.notes))
        if what.events_twice:
            self._repeat(uploads, rng)
        if what.restart:
            self._restart(uploads, rng, result)
        if not what.apart:
            ended = [world.wait(upload.run_id, upload.event, result.notes) for upload in uploads]
        world.proxy.unwatch(faults)
        if what.grouped:
            last = "score" if what.kind == "score" else "convert"
            dealt = [world.stack.runs.parts(upload.run_id, last) for upload in uploads]
            result.notes.append(f"groups: {[parts.groups for parts in dealt if parts is not None]}")
        if what.late:
            self._repeat(uploads, rng)
            self._again(uploads, faults)
        for upload, run in zip(uploads, ended, strict=True):
            self._judge(upload, run, what, result)
        for token in faults.tokens:
            if world.waits(token):
                result.stuck.append(f"somebody still waits for the token {token}")
        self._rerun(
            what, uploads, [run for run in ended if run is not None and run.state == "FAILED"], result
        )

    def _repeat(self, uploads: list[Upload], rng: random.Random) -> None:
        """Deliver each notification twice more, in another order."""
        many = uploads * 2
        rng.shuffle(many)
        for upload in many:
            self._world.deliver(upload.event)

    def _again(self, uploads: list[Upload], faults: Faults) -> None:
        """Send every descriptor to workers again, with each token that there was."""
        for upload in uploads:
            run = self._world.run(upload.run_id)
            for name, progress in (run.progress if run else {}).items():
                if name == "train":
                    continue
                passed: PassName = name  # type: ignore[assignment]
                for token in sorted(faults.tokens | {progress.token}):
                    many = [
                        Descriptor(upload.run_id, passed, chunk, token) for chunk in range(progress.total)
                    ]
                    if self._world.fan_out == "stream":
                        many += [replace(one, tickets=progress.total) for one in many]
                    self._world.put(many)

    def _restart(self, uploads: list[Upload], rng: random.Random, result: Result) -> None:
        """Restart the platform when the first run has come to a stage that the seed names."""
        stages = ["PROFILING", "DECIDING", "CONVERTING", "TRAINING", "SELECTING", "REGISTERING"]
        wanted = rng.choice(stages if uploads[0].key.startswith("datasets/") else ["SCORING"])
        deadline = time.monotonic() + 60
        order = [*stages, "SCORING", "SUCCEEDED", "FAILED"]
        while time.monotonic() < deadline:
            runs = [self._world.run(upload.run_id) for upload in uploads]
            first = runs[0]
            # An event that the emulator has not handed over yet does not outlive it, so all runs must be
            # open.
            if (
                all(runs)
                and first
                and first.state in order
                and order.index(first.state) >= order.index(wanted)
            ):
                break
            time.sleep(0.02)
        states = [run.state if run else "-" for run in (self._world.run(upload.run_id) for upload in uploads)]
        result.notes.append(f"restarted at {' '.join(states)}")
        self._world.restart()

    def _judge(self, upload: Upload, run: Run | None, what: Scenario, result: Result) -> None:
        world = self._world
        if run is None:
            now = world.run(upload.run_id)
            result.states.append("STUCK")
            result.stuck.append(f"{upload.run_id} did not end: {now}; execution {now and world.ended(now)}")
            return
        result.states.append(run.state)
        result.stuck += checks.how_it_ended(world, run)
        if run.state == "FAILED" and run.error:
            result.notes.append(f"{run.error.code}: {run.error.message[:160]}")
        if what.kind == "train" and run.state in ("SUCCEEDED", "FAILED"):
            result.lost += checks.versions(world, run)
        if run.state == "SUCCEEDED":
            result.lost += self._compare(run, upload.table, what)
            self._final.append((result, run.run_id, checks.everything(world, run.run_id)))

    def _compare(self, run: Run, table: int, what: Scenario) -> list[str]:
        if what.kind == "score" and what.versions:
            return checks.where_each_record_is(self._world, run, TABLES[table], "score", result=False)
        found = checks.where_each_record_is(self._world, run, TABLES[table], what.kind)
        made = checks.fingerprint(self._world, run, what.kind)
        return found + checks.differences(made, self._undisturbed[table, what.kind])

    def _rerun(self, what: Scenario, uploads: list[Upload], failed: list[Run], result: Result) -> None:
        """Upload what failed again: undisturbed, it must give what it would have given at once."""
        for old in failed[:1]:
            _, folder, file = old.key.split("/", 2)
            table = next(one.table for one in uploads if one.run_id == old.run_id)
            upload = self._upload(what.kind, folder, file, table, force=True)
            run = self._world.wait(upload.run_id, upload.event, result.notes)
            if run is None or run.state != "SUCCEEDED":
                result.stuck.append(
                    f"uploaded again, {upload.run_id} came to {run and (run.state, run.error)}"
                )
                continue
            result.states.append("again SUCCEEDED")
            result.lost += [f"uploaded again: {line}" for line in self._compare(run, table, what)]

    # --- rows on a stream ----------------------------------------------------------------------

    def _scored_rows(self, what: Scenario, faults: Faults, result: Result) -> None:
        """Put rows on the stream, each twice and in another order; each must stand in one object, once."""
        world, rng = self._world, random.Random(what.seed)
        world.proxy.watch_function("score", faults)
        name = f"zz{what.seed}z"
        self._rows_of[name] = result
        rows = [
            {
                "model": f"reference{what.table}",
                "id": f"{name}-{number}",
                "row": {
                    "serial": rng.uniform(10, 1000),
                    "size": rng.gauss(0, 1),
                    "colour": "red",
                    "note": "wet",
                },
            }
            for number in range(60)
        ]
        many = rows * 2
        rng.shuffle(many)
        world.kinesis.put_records(
            StreamName=world.stack.outputs["RowsStreamName"],
            Records=[
                {"Data": json.dumps(row).encode(), "PartitionKey": str(number % 5)}
                for number, row in enumerate(many)
            ],
        )
        deadline = time.monotonic() + RUN_S
        found: dict[str, int] = {}
        while len(found) < len(rows) and time.monotonic() < deadline:
            time.sleep(0.5)
            found = self._kept(name)
        while world.undelivered() and time.monotonic() < deadline:
            time.sleep(0.5)
        found = self._kept(name)
        missing = [row["id"] for row in rows if row["id"] not in found]
        if missing:
            result.lost.append(f"{len(missing)} rows stand in no object: {missing[:5]}")
        twice = [name for name, count in found.items() if count > 1]
        if twice:
            result.lost.append(f"{len(twice)} rows stand in several places: {twice[:5]}")
        result.states.append("DONE")

    def _collected_rows(self, what: Scenario, faults: Faults, result: Result) -> None:
        """Put rows for a dataset on the stream, each twice and in another order, and let them be trained on.

        Each must stand in one batch, once, and in the training file, behind the records of the file that was
        uploaded, sorted by their ids.
        """
        world, rng, table = self._world, random.Random(what.seed), TABLES[what.table]
        name = f"zz{what.seed}z"
        self._rows_of[name] = result
        rows = [
            {
                "serial": round(rng.uniform(2000, 3000), 6),
                "size": round(rng.gauss(0, 1), 4),
                "colour": "red",
                "note": "wet",
                "bought": rng.choice(["yes", "no"]),
            }
            for _ in range(60)
        ]
        spec = SPEC | {"retrain_rows": len(rows)}
        upload = self._upload("train", name, self._file("table", what.table), what.table, spec=spec)
        first = world.wait(upload.run_id, upload.event, result.notes)
        assert first is not None and first.state == "SUCCEEDED", f"an undisturbed run went wrong: {first}"
        world.watch(faults, name)
        for function in ("score", "retrain"):
            world.proxy.watch_function(function, faults)
        many = [(f"{name}-{number:02d}", row) for number, row in enumerate(rows)] * 2
        rng.shuffle(many)
        world.kinesis.put_records(
            StreamName=world.stack.outputs["RowsStreamName"],
            Records=[
                {
                    "Data": json.dumps({"dataset": name, "id": identity, "row": row}).encode(),
                    "PartitionKey": str(number % 5),
                }
                for number, (identity, row) in enumerate(many)
            ],
        )
        run_id = ""
        deadline = time.monotonic() + RUN_S
        while not run_id and time.monotonic() < deadline:
            time.sleep(1)
            world.retrain()
            run_id = self._generation(name)
        batches = keys.collected_batch(name, "")
        found = self._ids(batches)
        missing = sorted({identity for identity, _ in many} - found.keys())
        if missing:
            result.lost.append(f"{len(missing)} rows stand in no batch: {missing[:5]}")
        if twice := [identity for identity, count in found.items() if count > 1]:
            result.lost.append(f"{len(twice)} rows stand in several batches: {twice[:5]}")
        if not run_id:
            result.states.append("STUCK")
            result.stuck.append("nothing was trained on the rows")
            return
        file = keys.generation_file(name, 1)
        again = Upload(run_id, file, what.table, world.event(file, ""))
        run = world.wait(run_id, again.event, result.notes)
        world.proxy.unwatch(faults)
        if run is None or run.state != "SUCCEEDED":
            result.states.append("STUCK" if run is None else run.state)
            result.stuck.append(f"{run_id}, which trains on the rows: {run and run.error}")
            return
        result.states.append(run.state)
        # What is no record of the table at all is not taken over from the upload.
        before = tuple(serial for serial in table.good if serial not in table.ragged)
        added = tuple(float(str(row["serial"])) for row in rows)
        whole = replace(table, good=before + added, ragged=())
        result.lost += checks.where_each_record_is(world, run, whole, "train")
        result.lost += checks.versions(world, run)
        self._final.append((result, run_id, checks.everything(world, run_id)))

    def _generation(self, dataset: str) -> str:
        """Return the run of the first file that was made of collected rows; empty if there is none."""
        stack, file = self._world.stack, keys.generation_file(dataset, 1)
        made = stack.s3.list_object_versions(Bucket=stack.data_bucket, Prefix=file).get("Versions", [])
        ids = [run_id_of(stack.data_bucket, dataset, file, version["VersionId"]) for version in made]
        assert len(ids) < 2, f"the file was made {len(ids)} times"
        return ids[0] if ids and self._world.run(ids[0]) else ""

    def _ids(self, prefix: str) -> dict[str, int]:
        """Return how often each id stands below a prefix of the data bucket."""
        stack = self._world.stack
        found: dict[str, int] = {}
        for item in stack.s3.list_objects_v2(Bucket=stack.data_bucket, Prefix=prefix).get("Contents", []):
            for line in stack.fetch(f"s3://{stack.data_bucket}/{item['Key']}").splitlines():
                known = json.loads(line)["id"]
                found[known] = found.get(known, 0) + 1
        return found

    def _kept(self, name: str) -> dict[str, int]:
        found = self._ids("streamed/")
        return {known: count for known, count in found.items() if known.startswith(f"{name}-")}

    # --- when all are over ---------------------------------------------------------------------

    def _afterwards(self, results: list[Result]) -> None:
        """Look at queues and streams when all is over, and that nothing has changed since a run ended."""
        deadline = time.monotonic() + RUN_S
        while time.monotonic() < deadline:
            behind, running = self._world.undelivered(), self._world.handing_out()
            if not behind + running:
                break
            time.sleep(0.5)
        last = results[-1]
        if behind:
            last.stuck.append(f"{behind} records wait on the streams")
        if running:
            last.stuck.append(f"{running} executions of the Map have not ended")
        for result, run_id, then in self._final:
            now = checks.everything(self._world, run_id)
            changed = sorted(key for key in now.keys() | then.keys() if now.get(key) != then.get(key))
            if changed:
                result.lost.append(f"changed after the end of {run_id}: {changed[:5]}")
        for message in self._world.lost():
            known = next((one for one in results if f"zz{one.scenario.seed}z" in message), None)
            for key in re.findall(rf"{keys.FAILURES}[^\"]+", message):
                known = self._of(key)
            if known is None or not known.disturbed:
                last.stuck.append(
                    f"on the queue of lost events without a reason: {message[:200]} … {message[-500:]}"
                )
        for key in self._world.stack.keys(keys.FAILURES):
            known = self._of(key)
            if known is None or not known.disturbed:
                last.stuck.append(f"discarded without a reason: {key}")

    def _of(self, key: str) -> Result | None:
        """Return the result of the scenario whose chunk, or rows, were discarded there."""
        found = json.loads(self._world.stack.read(unquote_plus(key)))
        data = next(discarded_records(found, key))
        with contextlib.suppress(BadInput):
            return self._results.get(decode_descriptor(data).run_id)
        return next((one for name, one in self._rows_of.items() if name in data.decode()), None)


def line(results: list[Result]) -> str:
    """Return what the suite ends with."""
    lost, stuck = sum(bool(one.lost) for one in results), sum(bool(one.stuck) for one in results)
    return f"scenarios={len(results)} lost={lost} stuck={stuck}"


def idle(results: list[Result]) -> list[int]:
    """Return the seeds of scenarios whose rules met no call: they prove nothing."""
    return [one.scenario.seed for one in results if one.scenario.rules and not one.done]


def run(state: Path, seeds: Iterable[int], say: Callable[[str], None]) -> list[Result]:
    """Start a platform in an empty folder, run the scenarios of the seeds, and return what came of each.

    Those whose chunks go through a Map have a platform of their own, after the others.
    """
    wanted = [scenario(seed) for seed in seeds]
    results: list[Result] = []
    ways: tuple[FanOut, ...] = ("stream", "map")
    for fan_out in ways:
        these = [one for one in wanted if one.fan_out == fan_out]
        if these:
            with World(state / fan_out, fan_out) as world:
                results += Suite(world, say).run(these)
    return results
