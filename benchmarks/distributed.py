"""Training on rows that no function holds at once: rounds, requests, bytes, and how far from the optimum.

``make bench NAME=distributed`` takes the largest real table (1.06 million rows of nine classes) from its
upload to the linear candidate fitted to all rows that are not held out: the features are learned from the
part that the search draws, the weights in rounds over the shards. With 1, 2 and 4 workers the same work is
done again; the weights are compared bit for bit. Requests and bytes are those of the rounds: the blocks are
read in each, and counted as requests alone. Beside it stand, on the same encoded rows, from zero weights:

* gradient averaging [1]_, LambdaML's GA-SGD: in a round every worker computes the mean gradient of a batch
  of its rows, puts it into the store, gets those of all others, and steps; the step size is the best of a
  grid, decided on what it is to be judged on, which is more than a user could do;
* scikit-learn's ``LogisticRegression`` on the whole matrix, as it comes.

A distance is how much larger the penalised loss is than at the optimum, relative to it. The optimum is where
Newton's own estimate of the distance is below 1e-14.

The last line is one JSON object: for each method and number of workers ``rounds``, ``requests``, ``bytes``
and ``distance``; for gradient averaging also the ``rounds_within`` some distances.

References
----------
.. [1] J. Jiang et al., "Towards Demystifying Serverless Machine Learning Training", SIGMOD 2021.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from benchmarks.figures import Table
from millrace import keys
from millrace.contracts import read_schema
from millrace.features.search import shards
from millrace.plan import read
from millrace.scoring.blocks import BlockScorer
from millrace.training import newton, rounds
from tests.fakes import MemoryObjectStore
from tests.world import World

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT.parent / "shared" / "data" / "ml" / "military"
TARGET = "rank"
WORKERS = (1, 2, 4)
WITHIN = (1e-2, 1e-3, 1e-4, 1e-6)
STEP_SIZES = (0.1, 0.3, 1.0, 3.0, 10.0)
Floats = NDArray[np.float64]


def prepared(rows: int | None) -> tuple[World, str]:
    """Upload the table, or its first rows; return where it lies when its blocks are written."""
    files = sorted(TABLE.glob("train.csv*"))
    if not files:
        raise SystemExit(f"This benchmark reads {TABLE / 'train.csv'}: get the shared test data first.")
    data = gzip.decompress(files[0].read_bytes()) if files[0].suffix == ".gz" else files[0].read_bytes()
    if rows is not None:
        data = b"".join(data.splitlines(keepends=True)[: rows + 1])
    world = World(max_file_bytes=1 << 31, max_chunk_bytes=8 << 20, min_chunk_bytes=1 << 20, width=8)
    spec = {"target": TARGET, "task": "multiclass", "metric": "log_loss", "budget": "quick"}
    world.data.put("datasets/bench/spec.json", json.dumps(spec).encode())
    run_id = world.prepare(data, "datasets/bench/train.csv")
    world.collect(run_id)
    return world, run_id


def newton_rounds(world: World, run_id: str, workers: int) -> dict[str, Any]:
    """Fit through the store, the shards of a round dealt out among the workers."""
    artifacts = world.artifacts
    assert isinstance(artifacts, MemoryObjectStore)
    for key in list(artifacts.list(keys.exact(run_id, ""))):
        artifacts.delete(key)
    artifacts.reads.clear(), artifacts.writes.clear()
    began = time.perf_counter()
    state = rounds.begin_rounds(run_id, ("linear",), artifacts, world.runs)
    first_s = time.perf_counter() - began
    at_start = len(artifacts.reads), len(artifacts.writes)
    with ThreadPoolExecutor(workers) as pool:
        while not state["done"]:
            number = state["round"]
            work = [
                pool.submit(rounds.sum_shard, run_id, number, shard, artifacts, world.runs)
                for shard in state["shards"]
            ]
            for one in work:
                one.result()
            state = rounds.add_round(run_id, number, artifacts, world.runs)
    found = rounds.exact_weights(run_id, artifacts)
    assert found is not None
    weights = found.weights["linear"]
    written = set(artifacts.writes[at_start[1] :])
    read_keys = [key for key, _, _ in artifacts.reads[at_start[0] :]]
    between = [key for key in read_keys if key.startswith(keys.exact(run_id, ""))]
    return {
        "workers": workers,
        "rounds": found.rounds,
        "shards": len(list(artifacts.list(keys.exact(run_id, "sums-000/")))),
        "requests": {"put": len(artifacts.writes) - at_start[1], "get": len(read_keys)},
        "bytes": {
            "put": sum(artifacts.head(key).size_bytes for key in written),
            "get": sum(artifacts.head(key).size_bytes for key in between),
        },
        "weights_sha256": hashlib.sha256(weights.tobytes()).hexdigest()[:16],
        "first_fit_s": round(first_s, 2),
        "wall_s": round(time.perf_counter() - began, 2),
        "weights": weights,
    }


def all_rows(world: World, run_id: str) -> tuple[Floats, Floats, newton.Objective, Floats]:
    """Return the encoded rows that are not held out, their codes, what is minimised, and first weights."""
    artifacts = world.artifacts
    run = world.runs.get(run_id)
    schema = read_schema(run_id, artifacts)
    about = rounds.stored(artifacts, keys.exact(run_id, "rows.npz"))
    scorer = BlockScorer(read(artifacts.get(keys.exact(run_id, "features.plan"))))
    parts, codes = [], []
    for shard in range(shards(run.rows_read or 0)):
        table = rounds.rows_of_shard(run, schema, shard, about["held_out"], artifacts)
        parts.append(scorer.encoded(table.columns))
        codes.append(table.target.astype(np.float64))
    objectives, progress = rounds.stored_progress(artifacts, run_id, 0)
    return np.concatenate(parts), np.concatenate(codes), objectives["linear"], progress["linear"].weights


def loss_at(objective: newton.Objective, weights: Floats, matrix: Floats, target: Floats) -> float:
    """Return the penalised loss."""
    total = 0.0
    for start in range(0, len(matrix), 1 << 15):
        raw = matrix[start : start + (1 << 15)] @ weights[:, :-1].T + weights[:, -1]
        peak = raw.max(axis=1, keepdims=True)
        sums = np.log(np.exp(raw - peak).sum(axis=1)) + peak[:, 0]
        codes = target[start : start + (1 << 15)].astype(np.intp)
        total += float((sums - raw[np.arange(len(raw)), codes]).sum())
    return total + 0.5 * objective.penalty * float(np.sum(weights[:, :-1] ** 2))


def optimum(objective: newton.Objective, start: Floats, matrix: Floats, target: Floats) -> float:
    """Return the least loss, by Newton's steps until they change nothing any more."""
    progress = newton.begin(objective, start)
    for _ in range(newton.MAX_ROUNDS):
        progress = newton.advance(
            objective, progress, newton.partial_sums(objective, progress.weights, matrix, target)
        )
        if progress.gap <= 1e-14 * progress.loss:
            return progress.loss
    raise SystemExit("Newton's steps did not reach the optimum")


def gradient_averaging(
    objective: newton.Objective,
    start: Floats,
    matrix: Floats,
    target: Floats,
    best: float,
    batch: int,
    most: int,
) -> dict[str, Any]:
    """Return for the best step size after how many rounds it was within each distance of the optimum.

    With a batch of ``batch`` rows over all workers, the mean of the workers' gradients is the batch's: the
    weights do not depend on how many workers there are, the requests do.
    """
    codes = target.astype(np.intp)
    outcomes = []
    for size in STEP_SIZES:
        rng = np.random.default_rng(0)
        weights = start.copy()
        within: dict[str, int | None] = {f"{limit:g}": None for limit in WITHIN}
        nearest = np.inf
        for number in range(1, most + 1):
            rows = rng.integers(0, len(matrix), batch)
            part = np.column_stack([matrix[rows], np.ones(batch)])
            raw = part @ weights.T
            raw = np.exp(raw - raw.max(axis=1, keepdims=True))
            raw /= raw.sum(axis=1, keepdims=True)
            raw[np.arange(batch), codes[rows]] -= 1.0
            gradient = raw.T @ part / batch
            gradient[:, :-1] += objective.penalty / len(matrix) * weights[:, :-1]
            weights -= size / np.sqrt(1.0 + number / 50.0) * gradient
            if number % 10 == 0 or number <= 10:
                distance = loss_at(objective, weights, matrix, target) / best - 1.0
                nearest = min(nearest, distance)
                for limit in WITHIN:
                    if distance <= limit and within[f"{limit:g}"] is None:
                        within[f"{limit:g}"] = number
        outcomes.append({"step_size": size, "distance": float(nearest), "rounds_within": within})
    return min(outcomes, key=lambda outcome: outcome["distance"])


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, help="only the table's first rows")
    parser.add_argument("--rounds", type=int, default=300, help="rounds of gradient averaging")
    parser.add_argument("--batch", type=int, default=20_000, help="rows of a batch, over all workers")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with threadpool_limits(1):
        world, run_id = prepared(arguments.rows)
        ours = [newton_rounds(world, run_id, workers) for workers in WORKERS]
        matrix, target, objective, start = all_rows(world, run_id)
        best = optimum(objective, ours[0]["weights"], matrix, target)
        at_start = loss_at(objective, start, matrix, target) / best - 1.0
        for one in ours:
            one["distance"] = loss_at(objective, one.pop("weights"), matrix, target) / best - 1.0
        zeros = np.zeros_like(start)
        averaging = gradient_averaging(
            objective, zeros, matrix, target, best, arguments.batch, arguments.rounds
        )
        began = time.perf_counter()
        model = LogisticRegression(C=1.0 / objective.penalty).fit(matrix, target)
        whole_s = time.perf_counter() - began
        weights = np.column_stack([model.coef_, model.intercept_])
    whole = loss_at(objective, weights, matrix, target) / best - 1.0
    size = objective.parameters * 8
    peers = [
        {
            "workers": workers,
            "rounds": arguments.rounds,
            "requests": {
                "put": workers * arguments.rounds,
                "get": workers * (workers - 1) * arguments.rounds,
            },
            "bytes": {
                "put": workers * arguments.rounds * size,
                "get": workers * (workers - 1) * arguments.rounds * size,
            },
            **averaging,
        }
        for workers in WORKERS
    ]
    table = Table("method", "workers", "rounds", "PUT", "GET", "MB put", "distance")
    for name, found in (("Newton over shards", ours), ("gradient averaging", peers)):
        for one in found:
            table.add(
                name,
                one["workers"],
                one["rounds"],
                one["requests"]["put"],
                one["requests"]["get"],
                one["bytes"]["put"] / 1e6,
                f"{one['distance']:.1e}",
            )
    table.add("scikit-learn, whole table", 1, int(model.n_iter_.max()), 0, 0, 0.0, f"{whole:.1e}")
    table.print(f"{len(matrix):,} rows, {objective.parameters} weights")
    result = {
        "benchmark": "distributed",
        "rows": len(matrix),
        "parameters": objective.parameters,
        "start_distance": float(at_start),
        "same_bits": len({one["weights_sha256"] for one in ours}) == 1,
        "newton": ours,
        "gradient_averaging": peers,
        "scikit_learn": {
            "rounds": int(model.n_iter_.max()),
            "distance": float(whole),
            "wall_s": round(whole_s, 2),
        },
    }
    print(json.dumps(result))
    return 0 if result["same_bits"] else 1


if __name__ == "__main__":
    sys.exit(main())
