"""What boosted trees lose by learning from a part of a large table that is drawn, beside all of its rows.

``make bench NAME=subsample`` takes real tables from their upload to the rows that training reads, holds a
fifth of them out as a run does, and fits the candidate ``boosted_trees`` to a sixteenth, a quarter and all
of the others, drawn as a run draws them: of the largest table these are about the rows that the budgets
``quick`` and ``standard`` learn from. All three have the same number of rounds, what ``standard`` allows on
the quarter.

The last line is one JSON object: by table ``metric``, ``rounds``, and ``parts``, each with ``rows``,
``score`` on the held-out rows, ``loss`` (how much worse that is than with all rows), its bootstrap
``error``, and the CPU seconds of the fit, ``cpu_s``.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

from benchmarks.figures import Table
from benchmarks.quality import SHARED, Entry, content, manifest, metric_of, roomy_world
from millrace.contracts import LOWER_IS_BETTER, read_schema
from millrace.features.limits import LIMITS, boosting_rounds
from millrace.training.frame import to_frame
from millrace.training.metrics import score
from millrace.training.pipeline import Encoded, Learner, joined, predict
from millrace.training.splits import sample
from millrace.training.tables import read_table
from millrace.training.train import rows_of, split

TABLES = ("military", "insteval", "diamonds")
CANDIDATE = "boosted_trees"
PARTS = (16, 4, 1)
"""One row of how many is learned from."""
RESAMPLES = 50
SEED = 0


def learned(entry: Entry) -> dict[str, Any]:
    """Fit to parts of a table and to all of it; return the scores."""
    world, metric = roomy_world(), metric_of(entry)
    # The budget decides how much of the table is read: here all of it.
    spec = {"target": entry["target"], "metric": metric, "budget": "thorough", "seed": SEED}
    world.data.put("datasets/bench/spec.json", json.dumps(spec).encode())
    run_id = world.prepare(content(SHARED, entry, "train"), "datasets/bench/train.csv")
    schema = read_schema(run_id, world.artifacts)
    table = read_table(world.runs.get(run_id), schema, world.artifacts)
    frame, sides = to_frame(table, schema), split(table, schema, seed=SEED)
    held, truth = frame.iloc[sides.held_out], table.target[sides.held_out]
    classify = schema.task != "regression"
    codes = table.target[sides.training].astype(np.int32) if classify else None
    learner = Learner(CANDIDATE, schema, LIMITS["standard"], SEED)
    outputs = len(schema.classes) if schema.task == "multiclass" else 1
    rounds = 0
    parts, said = [], []
    for one_of in PARTS:
        size = len(sides.training) // one_of
        drawn = sides.training[sample(table.record[sides.training], size, codes=codes, seed=SEED)]
        began = time.process_time()
        rows = rows_of(table, schema, frame, drawn)
        encoded = Encoded.of(rows, schema, learner.candidate.family, seed=SEED, watched=False)
        if not rounds:
            quarter = len(sides.training) // 4
            rounds = boosting_rounds(learner.limits, quarter, encoded.matrix.shape[1], outputs)
        fitted = learner.fit(encoded, rows.target, rounds=rounds)
        took = time.process_time() - began
        said.append(predict(joined(encoded.features, fitted.estimator), held, schema))
        parts.append({"rows": len(drawn), "score": score(metric, truth, said[-1]), "cpu_s": round(took, 1)})
    sign = 1.0 if metric in LOWER_IS_BETTER else -1.0
    draw = np.random.default_rng(SEED)
    again = [draw.integers(0, len(truth), len(truth)) for _ in range(RESAMPLES)]
    whole = [score(metric, truth[rows], said[-1][rows]) for rows in again]
    for part, answer in zip(parts, said, strict=True):
        losses = [
            sign * (score(metric, truth[rows], answer[rows]) - best)
            for rows, best in zip(again, whole, strict=True)
        ]
        part["loss"] = round(sign * (part["score"] - parts[-1]["score"]), 5)
        part["error"] = round(float(np.std(losses)), 5)
        part["score"] = round(part["score"], 5)
    return {"metric": metric, "rounds": rounds, "parts": parts}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="append", help=f"by default {', '.join(TABLES)}")
    arguments = parser.parse_args()
    entries = manifest(SHARED)
    shown = Table("table", "metric", "rounds", "rows", "score", "loss", "error", "CPU s")
    found = {}
    for name in arguments.table or TABLES:
        one = found[name] = learned(entries[name])
        for part in one["parts"]:
            cells = (part[cell] for cell in ("rows", "score", "loss", "error", "cpu_s"))
            shown.add(name, one["metric"], one["rounds"], *cells)
    shown.print(f"candidate {CANDIDATE}")
    print(json.dumps({"benchmark": "subsample", "candidate": CANDIDATE, "tables": found}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
