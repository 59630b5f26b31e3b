"""The quality of models on real tables, from the upload of a file to the score on rows it never held.

``make bench NAME=quality`` takes every table of ``../shared/data/ml``: ``train.csv`` is uploaded with a
``spec.json`` that names its target and its metric and nothing else, and goes through profile, decision,
conversion, search and selection; then ``test.csv`` is uploaded to be scored by the plan that came of it, and
the result is held against its targets. Beside our score stand the manifest's baselines and peers, and FLAML,
run again with the processor time that we used (``--flaml``). The stages are called in one process over stores
in memory; how long the search takes with enough workers is simulated on the measured durations.

A score is normalised between the naive baseline (0) and the best that the manifest knows (1). A table is
``worse_than_hgb`` when plain boosted trees are better by more than two of their bootstrap errors.

Each table runs in a process of its own. ``--keep FILE`` adds each result to a file as soon as it is there
and takes what is there already as it is, so that a run can be stopped, resumed and put together.

The last line is one JSON object: ``tables`` (for each ``score``, ``interval``, ``baselines``, ``peers``,
``floor``, ``normalised``, times, sizes, leaks, ``width``), ``mean_normalised``, ``mean_normalised_flaml``
(run again, or the manifest's), ``worse_than_hgb``, ``below_floor``, ``leaks``, ``portfolio`` (what each
candidate was worth), ``wider_than_bound`` (tables whose simulated search took too long), ``wall_s`` and
``cpu_s``.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Table
from millrace import keys
from millrace.contracts import LOWER_IS_BETTER, decode, read_schema
from millrace.features.search import Unit
from millrace.training.metrics import score as metric_score
from millrace.training.stages import select_model, train
from tests.world import World

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
PEER = ROOT / ".tools" / "peer-quality" / "bin" / "python"
NAMES = {"macro_f1": "f1_macro"}
"""Metrics that we call otherwise than the manifest."""
RESAMPLES = 500
START_S = 3.0
"""Seconds that the start of a function with scikit-learn takes, and its requests."""
WARM_S = 0.5
"""Seconds of the requests alone, where as many sandboxes of the function wait since an earlier round."""
NOISE = 2.0
"""Bootstrap errors of plain boosted trees by which we may be worse than they."""

Entry = Mapping[str, Any]


def manifest(folder: Path) -> dict[str, Entry]:
    """Return the manifest's entries by name."""
    entries = json.loads((folder / "manifest.json").read_text("utf-8"))["datasets"]
    return {entry["name"]: entry for entry in entries}


def content(folder: Path, entry: Entry, side: str) -> bytes:
    """Return a file of a table, inflated."""
    path = folder / "ml" / entry["name"] / entry["files"][side]
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def metric_of(entry: Entry) -> str:
    """Return what we call the metric that the manifest names for a table."""
    name: str = entry["primary_metric"]
    return NAMES.get(name, name)


def roomy_world() -> World:
    """Return stores in memory that take the largest table, under the template's bounds of chunks."""
    return World(max_file_bytes=1 << 31, max_chunk_bytes=64 << 20, min_chunk_bytes=1 << 20)


class Clock:
    """Wall and processor seconds of named steps."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}

    def __call__(self, step: str, work: Callable[[], Any]) -> Any:
        """Do the work and note how long it took."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            return work()
        finally:
            self.wall[step] = self.wall.get(step, 0.0) + time.perf_counter() - wall
            self.cpu[step] = self.cpu.get(step, 0.0) + time.process_time() - cpu


def ours(folder: Path, entry: Entry, budget: str, seed: int) -> dict[str, Any]:
    """Take a table from its upload to the score of its test file, in this process."""
    clock = Clock()
    world, metric = roomy_world(), metric_of(entry)
    spec = {"target": entry["target"], "metric": metric, "budget": budget, "seed": seed}
    world.data.put("datasets/bench/spec.json", json.dumps(spec).encode())
    training = content(folder, entry, "train")
    run_id = clock("prepare", lambda: world.prepare(training, "datasets/bench/train.csv"))
    rounds = [
        trained(world, run_id, clock("decide", decide), clock)
        for decide in (lambda: world.collect(run_id).units, lambda: world.narrow(run_id))
    ]
    rounds += selected(world, run_id, clock)
    evaluation = json.loads(world.artifacts.get(keys.evaluation(run_id)))
    columns = json.loads(world.artifacts.get(keys.columns(run_id)))
    schema = read_schema(run_id, world.artifacts)
    plan = world.artifacts.get(keys.run_plan(run_id))
    world.register(plan, "bench")
    truth, prediction = clock("score", lambda: scored(world, folder, entry))
    value, error, low, high = bootstrap(metric, truth, prediction)
    features = set(evaluation["features"])
    leaks = set(entry["leak_columns"])
    suspected = {
        name for name in (column["name"] for column in columns["columns"]) if named(name, columns, schema)
    }
    return {
        "table": entry["name"],
        "budget": budget,
        "score": value,
        "se": error,
        "interval": [low, high],
        "chosen": evaluation["chosen"],
        "members": {c["name"]: round(c["weight"], 3) for c in evaluation["candidates"] if c["weight"]},
        "calibration": evaluation["calibration"]["method"],
        "cv_score": evaluation["cv_score"],
        "holdout": evaluation["metrics"].get(metric),
        "plan_bytes": len(plan),
        "features": len(features),
        "leaks_used": sorted(leaks & features),
        "leaks_not_named": sorted(leaks - suspected),
        "accused": sorted(suspected - leaks),
        "wall_s": round(sum(clock.wall.values()), 2),
        "cpu_s": round(sum(clock.cpu.values()), 2),
        "search_cpu_s": round(
            sum(s for step, s in clock.cpu.items() if step.startswith(("train", "select"))), 2
        ),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "width": width(clock.cpu, clock.wall, rounds, evaluation["candidates"]),
        "steps": {step: round(seconds, 3) for step, seconds in clock.wall.items()},
        "candidates": {
            c["name"]: {key: c[key] for key in ("state", "cv_score", "fit_seconds", "error")}
            for c in evaluation["candidates"]
        },
        "notes": evaluation["notes"],
    }


def trained(world: World, run_id: str, units: Sequence[Unit], clock: Clock) -> list[str]:
    """Train the units of a round; return their names as steps."""
    steps = [f"train {unit.part} {','.join(unit.candidates)} {unit.folds}" for unit in units]
    for step, unit in zip(steps, units, strict=True):
        clock(step, lambda unit=unit: train(run_id, unit, world.artifacts, world.runs))
    return steps


def selected(world: World, run_id: str, clock: Clock) -> list[list[str]]:
    """Select, and train what that asks for first; return the rounds that were, a ``select`` each."""
    rounds: list[list[str]] = []
    units: tuple[Unit, ...] = ()
    while True:
        step = f"select {len(rounds) // 2}"
        answer = clock(
            step, lambda units=units: select_model(run_id, world.artifacts, world.runs, trained=units)
        )
        rounds.append([step])
        if answer["done"]:
            return rounds
        units = tuple(decode(Unit, unit) for unit in answer["units"])
        rounds.append(trained(world, run_id, units, clock))


def width(
    cpu: Mapping[str, float],
    wall: Mapping[str, float],
    rounds: Sequence[Sequence[str]],
    candidates: Sequence[Mapping[str, Any]],
) -> dict[str, float]:
    """Simulate the search with a worker for every invocation, from what each took of one processor.

    ``wall_s`` is the longest invocation of each round, after ``START_S`` for its start or ``WARM_S`` where
    there is none; ``select`` is a round of its own, or two, and between them the ensemble's members are
    fitted where that takes long;
    ``slowest_s`` is what the slowest candidate's fits took by themselves, one after the other, and
    ``bound_s`` what the search may take: 1.5 times that and 20 s. A run notes the wall time of fits: here it
    counts for as much of a processor as the invocations of the candidate had.
    """
    search, waiting = 0.0, {"train": 0, "select": 0}
    for together in filter(None, rounds):
        function = together[0].split()[0]
        search += START_S if len(together) > waiting[function] else WARM_S
        search += max(cpu[step] for step in together)
        waiting[function] = max(waiting[function], len(together))
    steps = [step for steps in rounds for step in steps if step.startswith("train")]

    def fits_s(candidate: Mapping[str, Any]) -> float:
        mine = [step for step in steps if candidate["name"] in step.split()[2].split(",")]
        share = sum(cpu[step] for step in mine) / sum(wall[step] for step in mine)
        return float(candidate["fit_seconds"]) * min(1.0, share)

    slowest = max(map(fits_s, candidates))
    return {
        "wall_s": round(search, 2),
        "slowest_s": round(slowest, 2),
        "bound_s": round(1.5 * slowest + 20.0, 2),
        "invocations": len(steps),
    }


def named(name: str, columns: Mapping[str, Any], schema: Any) -> bool:
    """Say whether the run suspects a column of giving the target away."""
    described = next(column for column in columns["columns"] if column["name"] == name)
    told = [*described["warnings"], described["reason"]]
    return any("leak" in text or "give the target away" in text or "suspect" in text for text in told)


def scored(world: World, folder: Path, entry: Entry) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Upload the test file to be scored; return its targets and the predictions as metrics take them."""
    data = content(folder, entry, "test")
    world.data.put("score/bench/test.csv", data)
    run = world.ingest("score/bench/test.csv")
    assert run is not None
    result = world.score(run.run_id)
    rows = list(csv.DictReader(io.StringIO(world.data.get(result.removeprefix("s3://data/")).decode(), "")))
    expected = sum(1 for _ in csv.reader(io.StringIO(data.decode(), newline=""))) - 1
    if len(rows) != expected:
        raise SystemExit(f"{entry['name']}: {expected} rows to score, {len(rows)} scored")
    texts = [row[entry["target"]] for row in rows]
    if entry["task"] == "regression":
        return np.array(texts, dtype=np.float64), np.array([row["prediction"] for row in rows], dtype=float)
    heads = [name for name in rows[0] if name.startswith("probability:")]
    labels = [name.removeprefix("probability:") for name in heads]
    shares = np.array([[float(row[name]) for name in heads] for row in rows])
    return np.array([labels.index(text) for text in texts], dtype=np.int32), shares


def bootstrap(
    metric: str, truth: NDArray[Any], prediction: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """Return the score, its bootstrap error, and the bounds of its 95 % percentile interval."""
    draw = np.random.default_rng(0)
    repeats = RESAMPLES if len(truth) < 100_000 else 50
    values = []
    for _ in range(repeats):
        rows = draw.integers(0, len(truth), len(truth))
        values.append(metric_score(metric, truth[rows], prediction[rows]))
    found = np.array([value for value in values if np.isfinite(value)])
    low, high = np.quantile(found, [0.025, 0.975])
    return (
        round(metric_score(metric, truth, prediction), 5),
        round(float(found.std()), 5),
        round(float(low), 5),
        round(float(high), 5),
    )


def compared(entry: Entry, found: Mapping[str, Any], flaml: Mapping[str, Any] | None) -> dict[str, Any]:
    """Put our result beside the manifest's figures and the second run of FLAML."""
    metric = entry["primary_metric"]
    ours_is = metric_of(entry)
    baselines = {name: model[metric] for name, model in entry["baseline"]["models"].items()}
    peers = {name: model[metric] for name, model in entry["peers"].items() if metric in model}
    targets = entry["target_scores"]
    lower = targets["lower_is_better"]
    sign = -1.0 if lower else 1.0
    known = [*baselines.values(), *peers.values()]
    best = min(known) if lower else max(known)
    naive = targets["dummy"]

    def normalised(value: float | None) -> float | None:
        return None if value is None else round((value - naive) / (best - naive), 4)

    beside = peers.get("flaml")
    if flaml is not None:
        peers["flaml_again"] = flaml["score"]
        beside = flaml["score"]
    error = entry["baseline"]["models"]["hgb"]["se_primary"]
    behind = sign * (baselines["hgb"] - found["score"])
    return dict(found) | {
        "metric": metric,
        "cv_lower_is_better": ours_is in LOWER_IS_BETTER,
        "baselines": baselines,
        "peers": peers,
        "floor": targets["floor"],
        "above_floor": bool(sign * (found["score"] - targets["floor"]) >= 0),
        "hgb_se": error,
        "behind_hgb_in_se": round(behind / error, 2) if error else None,
        "worse_than_hgb": bool(behind > NOISE * error),
        "normalised": normalised(found["score"]),
        "normalised_flaml": normalised(beside),
        "normalised_hgb": normalised(baselines["hgb"]),
        "flaml_cpu_s": None if flaml is None else flaml["cpu_s"],
    }


def portfolio(tables: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return what each candidate was worth, by what cross-validation on ``train.csv`` alone decided.

    ``tables`` it was trained on, the share of them whose model ``weighs`` it, its mean ``weight`` there and
    elsewhere, the share where it was the ``best`` single one, and its share of all the ``fit`` seconds.
    """
    found: dict[str, dict[str, float]] = {}
    whole = sum(float(c["fit_seconds"]) for one in tables for c in one["candidates"].values())
    for one in tables:
        lower = one["cv_lower_is_better"]
        able = {name: c["cv_score"] for name, c in one["candidates"].items() if c["state"] == "ok"}
        best = (min if lower else max)(able, key=lambda name: able[name])
        for name, candidate in one["candidates"].items():
            mine = found.setdefault(
                name, {"tables": 0, "weighs": 0.0, "weight": 0.0, "best": 0.0, "fit": 0.0}
            )
            weight = one["members"].get(name, 0.0)
            mine["tables"] += 1
            mine["weighs"] += weight > 0
            mine["weight"] += weight
            mine["best"] += name == best
            mine["fit"] += float(candidate["fit_seconds"]) / whole
    for mine in found.values():
        for share in ("weighs", "weight", "best"):
            mine[share] = round(mine[share] / mine["tables"], 3)
        mine["fit"] = round(mine["fit"], 3)
    return found


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are there."""
    there = [value for value in values if value is not None]
    return round(float(np.mean(there)), 4) if there else None


def child(command: Sequence[str]) -> dict[str, Any]:
    """Run a program and return the JSON object on its last line."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


class Kept:
    """Results in a file of JSON lines, by kind and table; the last one of a table counts."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._found: dict[str, dict[str, Any]] = {}
        if path is not None and path.exists():
            for line in path.read_text("utf-8").splitlines():
                one = json.loads(line)
                self._found[one["key"]] = one["result"]

    def get(self, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what is kept under the key, or make it and keep it."""
        if key not in self._found:
            self._found[key] = make()
            if self._path is not None:
                with self._path.open("a", encoding="utf-8") as out:
                    out.write(json.dumps({"key": key, "result": self._found[key]}) + "\n")
        return self._found[key]

    def there(self, key: str) -> dict[str, Any] | None:
        """Return what is kept under the key."""
        return self._found.get(key)


def main() -> int:
    """Run the tables and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="append", help="only this one; may be given several times")
    parser.add_argument("--budget", choices=("quick", "standard", "thorough"), default="standard")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=SHARED, help="where manifest.json and ml/ lie")
    parser.add_argument("--keep", type=Path, help="file of finished tables, read and added to")
    parser.add_argument(
        "--flaml", action="store_true", help="run FLAML again with the processor time that we used"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    entries = manifest(arguments.data)
    if arguments.one:
        print(json.dumps(ours(arguments.data, entries[arguments.one], arguments.budget, arguments.seed)))
        return 0
    began = time.perf_counter()
    kept = Kept(arguments.keep)
    shown = Table(
        *("table", "score", "se", "floor", "dummy", "linear", "hgb", "lgbm", "catb", "flaml", "norm", "cpu s")
    )
    tables: dict[str, Any] = {}
    for name in arguments.table or entries:
        entry = entries[name]
        command = [sys.executable, "-m", "benchmarks.quality", "--one", name, "--budget", arguments.budget]
        command += ["--seed", str(arguments.seed), "--data", str(arguments.data)]
        found = kept.get(f"ours {arguments.budget} {name}", lambda command=command: child(command))
        flaml = kept.there(f"flaml {name}")
        if arguments.flaml:
            program = ROOT / "benchmarks" / "peers" / "quality.py"
            again = [str(PEER), str(program), str(arguments.data), name, str(found["search_cpu_s"])]
            flaml = kept.get(f"flaml {name}", lambda again=again: child(again))
        one = tables[name] = compared(entry, found, flaml)
        marks = ("" if one["above_floor"] else " BELOW FLOOR") + (" <hgb" if one["worse_than_hgb"] else "")
        peers = one["peers"]
        beside = (peers.get("lightgbm"), peers.get("catboost"), peers.get("flaml_again", peers.get("flaml")))
        baselines = [one["baselines"].get(model) for model in ("dummy", "linear", "hgb")]
        cells = (one["score"], one["se"], one["floor"], *baselines, *beside, one["normalised"], one["cpu_s"])
        shown.add(name + marks, *("-" if cell is None else cell for cell in cells))
        print(f"{name}{marks}: {one['score']} by {one['chosen']}", file=sys.stderr, flush=True)
    shown.print(f"budget {arguments.budget}; hold-out scores by each table's metric")
    worth = portfolio(list(tables.values()))
    members = Table("candidate", "tables", "weighs", "weight", "best", "fit")
    for name, mine in worth.items():
        members.add(name, *mine.values())
    members.print("the portfolio: shares of its tables, and of all fits")
    with_flaml = [one for one in tables.values() if one["normalised_flaml"] is not None]
    answer = {
        "benchmark": "quality",
        "budget": arguments.budget,
        "tables": tables,
        "mean_normalised": mean([one["normalised"] for one in tables.values()]),
        "mean_normalised_beside_flaml": mean([one["normalised"] for one in with_flaml]),
        "mean_normalised_flaml": mean([one["normalised_flaml"] for one in tables.values()]),
        "mean_normalised_hgb": mean([one["normalised_hgb"] for one in tables.values()]),
        "worse_than_hgb": [name for name, one in tables.items() if one["worse_than_hgb"]],
        "below_floor": [name for name, one in tables.items() if not one["above_floor"]],
        "leaks": {
            "used": {name: one["leaks_used"] for name, one in tables.items() if one["leaks_used"]},
            "not_named": {
                name: one["leaks_not_named"] for name, one in tables.items() if one["leaks_not_named"]
            },
            "accused": {name: one["accused"] for name, one in tables.items() if one["accused"]},
        },
        "portfolio": worth,
        "wider_than_bound": [
            name for name, one in tables.items() if one["width"]["wall_s"] > one["width"]["bound_s"]
        ],
        "wall_s": round(time.perf_counter() - began, 1),
        "cpu_s": round(sum(one["cpu_s"] for one in tables.values()), 1),
    }
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
