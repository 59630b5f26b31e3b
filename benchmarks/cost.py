"""What runs use, fitted to rates, and how far estimates from those rates are from what runs record.

``make bench NAME=cost`` starts an embedded AWS of its own, deploys the built template into it, and trains on
real tables of different shapes with the budgets ``quick`` and ``standard``, and on many times the rows of
one. What ``millrace cost`` says of each file stands beside what its run recorded. The times of each
function, and of the fits of each kind of candidate, are fitted by least squares of relative errors with no
negative rate; ``--save`` writes them to ``lib/millrace/edge/rates.json``. ``left_out`` is what the estimate
would be with rates that were fitted without the table.

A run records the time that AWS bills and how much of it the processor worked. Here other work shares this
machine's cores, the embedded AWS itself does, so rates and ratios are of the latter: what a function takes
whose core is its own. What it waits for, requests of milliseconds, is not in it. Candidates are trained one
after the other; shares of a processor are not emulated. ``--keep FILE`` adds each run to a file as soon as it
has ended and takes what is there already as it is.

The last line is one JSON object: ``runs`` (for each ``billed_usd``, ``recorded_usd`` with the processor's
time in the place of the billed, ``estimated_usd``, ``ratio`` of the last two, ``left_out``, and ``requests``,
sent and expected), and ``worst_ratio`` and ``worst_left_out``, the largest or smallest of them, as a number
above 1.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform as machine
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from benchmarks.figures import Table
from benchmarks.quality import SHARED, Kept, content, manifest, metric_of
from benchmarks.score_file import follow
from millrace.cli.cost import measure
from millrace.cli.http import Api
from millrace.cli.train import submit
from millrace.contracts import REQUESTS, Schema, Spec, decode, encode
from millrace.edge.cost import price
from millrace.edge.estimate import FileSize, estimate, fits_s, measures, rates
from millrace.features.candidates import candidate
from millrace.features.limits import LIMITS, fold_count
from millrace.features.search import training_rows
from millrace.features.work import Fit, work
from millrace.local.platform import Platform

ROOT = Path(__file__).resolve().parents[1]
RATES = ROOT / "lib" / "millrace" / "edge" / "rates.json"
TABLES = ("penguins_raw", "titanic", "hitters", "attrition", "digits", "chile_vote", "bikeshare", "diamonds")
"""Each is trained on with both budgets."""
GROWN = (("penguins_raw", "quick", 40), ("diamonds", "quick", 10))
"""Table, budget, and how often its rows stand in the file: for what takes many chunks."""
TIMES = ("base", "per_mb", "per_million_cells")

Case = tuple[str, str, int]


def grown(data: bytes, copies: int) -> bytes:
    """Return the table's rows several times over, below one header."""
    head, body = data.split(b"\n", 1)
    return head + b"\n" + body * copies


class Runs:
    """Trains on tables in a stack of its own, which is started when the first of them is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack: Platform | None = None
        self._entries = manifest(SHARED)

    def stop(self) -> None:
        """End the stack, if there is one."""
        if self._stack is not None:
            self._stack.stop()

    def of(self, case: Case) -> tuple[Path, Spec]:
        """Return a case's file and spec."""
        name, budget, copies = case
        entry = self._entries[name]
        file = self._folder / f"{name}-{budget}-{copies}.csv"
        file.write_bytes(grown(content(SHARED, entry, "train"), copies))
        return file, Spec(target=entry["target"], metric=metric_of(entry), budget=budget)

    def recorded(self, case: Case) -> dict[str, Any]:
        """Train, and return what the run says of its costs and of its fits."""
        file, spec = self.of(case)
        api = Api(self._started().api_url())
        run = follow(api, submit(api, file, file.stem, spec, force=True))[0]
        report = api.get(f"/models/{file.stem}/versions/{run['version']}/report.json")
        size, schema = measure(file, spec, 1)
        chunks = run["progress"]["convert"]["total"]
        return {
            "size": encode(replace(size, rows=run["rows_read"], chunks=chunks)),
            "schema": encode(schema),
            "cost": run["cost"],
            "candidates": [
                {key: one[key] for key in ("name", "state", "fit_seconds", "weight")}
                for one in report["evaluation"]["candidates"]
            ],
            "load": os.getloadavg()[0],
        }

    def _started(self) -> Platform:
        if self._stack is None:
            subprocess.run(["make", "--no-print-directory", "build"], cwd=ROOT, check=True, stdout=sys.stderr)
            self._stack = Platform(self._folder / "s")
            self._stack.start(lifeline=True)
            self._stack.deploy(parameters={"ParallelizationFactor": "1", "MaxChunkBytes": "2000000"})
            one_by_one(self._stack)
        return self._stack


def one_by_one(stack: Platform) -> None:
    """Let the stack's Maps hand out one item at a time."""
    steps = stack.client("stepfunctions")
    for machine_ in steps.list_state_machines()["stateMachines"]:
        arn = machine_["stateMachineArn"]
        definition = json.loads(steps.describe_state_machine(stateMachineArn=arn)["definition"])
        for state in definition["States"].values():
            if state["Type"] == "Map":
                state["MaxConcurrency"] = 1
        steps.update_state_machine(stateMachineArn=arn, definition=json.dumps(definition))


class Run:
    """One case and what its run recorded."""

    def __init__(self, case: Case, found: Mapping[str, Any]) -> None:
        self.table, self.budget, self.copies = case
        self.name = f"{self.table}, {self.budget}" + (f", {self.copies} times" if self.copies > 1 else "")
        self.size = decode(FileSize, found["size"])
        self.schema = decode(Schema, found["schema"])
        self.cost = found["cost"]
        self.candidates = found["candidates"]

    def used(self, function: str) -> dict[str, Any]:
        """Return what a function used."""
        used: dict[str, Any] = self.cost["functions"][function]
        return used

    def seconds(self, function: str) -> float:
        """Return how long a processor worked for a function."""
        return float(self.used(function)["cpu_seconds"])

    @property
    def usd(self) -> float:
        """What the run would have cost had its functions waited for nothing."""
        waited = sum(
            (one["seconds"] - one["cpu_seconds"]) * one["memory_mb"] / 1024
            for one in self.cost["functions"].values()
        )
        return float(self.cost["usd"]) - waited * price("lambda_gb_second")

    def measures(self, function: str) -> dict[str, float]:
        """Return what the function's rates are multiplied with."""
        return measures(function, self.size, self.used(function)["invocations"], self.budget)

    def fits(self) -> list[tuple[Fit, float]]:
        """Return the fits of the cross-validation as they were, and how many seconds those of each took."""
        trained = training_rows(self.size.rows, self.budget)
        folds = fold_count(LIMITS[self.budget], trained)
        done = {"ok": folds, "stopped": 1}
        # A run notes the wall time of fits; it counts for as much of a processor as its invocations had.
        share = self.seconds("train") / self.used("train")["seconds"]
        return [
            (
                Fit(one["name"], done[one["state"]], self._work(one["name"], trained - trained // folds)),
                float(one["fit_seconds"]) * share,
            )
            for one in self.candidates
            if one["state"] in done
        ]

    def members(self) -> tuple[Fit, ...]:
        """Return the fits of the chosen model."""
        trained = training_rows(self.size.rows, self.budget)
        chosen = [one["name"] for one in self.candidates if one["weight"]]
        return tuple(Fit(name, 1, self._work(name, trained)) for name in chosen)

    def _work(self, name: str, rows: int) -> float:
        return work(name, self.schema, self.budget, rows)

    def estimate(self, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what is estimated for its file."""
        return estimate(self.size, self.schema, self.budget, shards=1, known=known)


def least(rows: Iterable[Sequence[float]], seconds: Iterable[float]) -> list[float]:
    """Return rates that are not negative, by least squares of relative errors."""
    # A small file's estimate should be as good as a large one's.
    took = np.maximum(np.array([*seconds], dtype=float), 1e-3)
    found, _ = nnls(np.array([*rows], dtype=float) / took[:, None], np.ones(len(took)))
    return [float(f"{rate:.3g}") for rate in found]


def kinds(runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """Return the rates of the fits of each kind of candidate."""
    found = {}
    fits = [one for run in runs for one in run.fits()]
    for kind in sorted({candidate(fit.candidate).kind for fit, _ in fits}):
        mine = [(fit, seconds) for fit, seconds in fits if candidate(fit.candidate).kind == kind]
        base, rate = least(
            ([fit.times, fit.times * fit.work] for fit, _ in mine), (seconds for _, seconds in mine)
        )
        found[kind] = {"base_s": base, "per_million_s": rate}
    return found


def fitted(runs: Sequence[Run], function: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return a function's rates from all runs; ``known`` has those of the fits."""
    used = [run.used(function) for run in runs]
    found: dict[str, Any] = {"memory_mb": used[0]["memory_mb"], "invoked": invoked(runs, function)}
    table = [list(run.measures(function).values()) for run in runs]
    seconds = [run.seconds(function) for run in runs]
    if function == "train":
        seconds = [s - sum(took for _, took in run.fits()) for s, run in zip(seconds, runs, strict=True)]
        found["per_fit_s"] = 1.0
    if function == "select":
        table = [[*row, fits_s(run.members(), known)] for row, run in zip(table, runs, strict=True)]
    times = least(table, seconds)
    found |= {f"{name}_s": rate for name, rate in zip((*TIMES, "per_fit"), times, strict=False)}
    parts = np.array([[one["invocations"], run.size.chunks] for one, run in zip(used, runs, strict=True)])
    for kind in REQUESTS:
        each, _ = nnls(parts.astype(float), np.array([one[kind] for one in used], dtype=float))
        found[kind] = {"base": round(float(each[0]), 2), "per_chunk": round(float(each[1]), 2)}
    return found


def invoked(runs: Sequence[Run], function: str) -> dict[str, int]:
    """Return how often a function is invoked for each run, chunk and unit of training."""
    if function == "train":
        return {"unit": 1}
    counts = np.array([run.used(function)["invocations"] for run in runs], dtype=float)
    parts = np.array([[1, run.size.chunks] for run in runs], dtype=float)
    each, _ = nnls(parts, counts)
    return {name: round(n) for name, n in zip(("run", "chunk"), each, strict=True) if round(n)}


def table_of(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the table of rates."""
    known: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "note": "Seconds of one core, measured by `make bench NAME=cost` on the embedded AWS.",
        "machine": machine.machine(),
        "fits": kinds(runs),
    }
    # What a chunk takes only runs of many chunks tell.
    many = any(run.copies > 1 for run in runs)
    functions = sorted(runs[0].cost["functions"]) if many else ["report", "select", "train"]
    known["functions"] = {**rates()["functions"], **{name: fitted(runs, name, known) for name in functions}}
    return known


def worst(ratios: Iterable[float]) -> float:
    """Return the ratio that is furthest from 1, as a number above it."""
    return round(max(max(ratio, 1.0 / ratio) for ratio in ratios), 2)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", action="store_true", help="write the rates into the package")
    parser.add_argument("--quick", action="store_true", help="two tables as they are")
    parser.add_argument("--table", action="append", help="tables in place of the usual ones")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="add runs there, and take those that are")
    arguments = parser.parse_args()
    tables = tuple(arguments.table or (TABLES[:2] if arguments.quick else TABLES))
    cases: list[Case] = [(name, budget, 1) for name in tables for budget in ("quick", "standard")]
    if not (arguments.quick or arguments.table):
        cases += GROWN
    kept = Kept(arguments.keep)
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        at = Runs(Path(folder))
        try:
            for case in cases:
                make = functools.partial(at.recorded, case)
                runs.append(Run(case, kept.get(" ".join(map(str, case)), make)))
                print(f"{runs[-1].name}: {runs[-1].cost['usd']} USD", file=sys.stderr)
        finally:
            at.stop()
    if arguments.save:
        RATES.write_text(json.dumps(table_of(runs), indent=2) + "\n", "utf-8")
        rates.cache_clear()
    shown = Table(
        "run", "recorded USD", "estimated USD", "ratio", "left out", "train s", "est.", "select s", "est."
    )
    found = {}
    for run in runs:
        guess, paid = run.estimate(), run.usd
        others = [other for other in runs if other.table != run.table]
        without = run.estimate(table_of(others)) if len(tables) > 2 else None
        found[run.name] = {
            "billed_usd": run.cost["usd"],
            "recorded_usd": round(paid, 6),
            "estimated_usd": guess["usd"],
            "ratio": round(guess["usd"] / paid, 2),
            "left_out": None if without is None else round(without["usd"] / paid, 2),
            "requests": {kind: [run.cost["requests"][kind], guess["requests"][kind]] for kind in REQUESTS},
        }
        one = found[run.name]
        seconds: list[float] = []
        for name in ("train", "select"):
            seconds += run.seconds(name), guess["functions"][name]["seconds"]
        shown.add(
            run.name, paid, guess["usd"], one["ratio"], one["left_out"], *(round(s, 1) for s in seconds)
        )
    shown.print("one core")
    last = {"benchmark": "cost", "runs": found, "worst_ratio": worst(one["ratio"] for one in found.values())}
    if len(tables) > 2:
        last["worst_left_out"] = worst(one["left_out"] for one in found.values())
    print(json.dumps(last))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
