"""A table of 100,000 rows in one process: our scoring beside scikit-learn's and onnxruntime's.

``make bench NAME=batch`` scores the same rows with the same fitted pipeline, features included, in every way
in turns, in one process with one thread each (see :mod:`benchmarks.peers.score_batch` for the form of each
one's rows). Ours is the C kernel where it covers the plan, else the numpy path. The peers are scikit-learn's
pipeline on a data frame, onnxruntime on the converted pipeline, and scikit-learn's features before
onnxruntime's estimator. Throughput is rows a second of CPU.

The last line is one JSON object. ``blocks`` has an entry an estimator: ``throughput_ratio_best_peer`` is ours
divided by the best peer's, medians of all turns; ``ours`` says which path it was; ``off_by`` is the largest
difference to scikit-learn relative to it; ``onnx_exported``, whether onnxruntime had our own export, in
float64, because skl2onnx could not convert the pipeline. ``not_covered`` names what has no plan yet.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import Table, median, ratio, spread
from benchmarks.models import MODELS, Model, models

ROOT = Path(__file__).resolve().parents[1]
OURS = ("kernel", "blocks")


PEERS_PYTHON = ROOT / ".tools" / "peers" / "bin" / "python"


def run(model: Model, rows: int, repeats: int, python: Path = PEERS_PYTHON) -> dict[str, Any]:
    """Score in a process of the peers' environment, on one core."""
    assert model.plan is not None
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        folder = Path(name)
        for path in model.folder.iterdir():
            (folder / path.name).symlink_to(path)
        (folder / "model.plan").write_bytes(model.plan)
        columns = model.data.columns.items()
        # Texts without pickle: the example has no missing ones.
        plain = {key: one.astype(str) if one.dtype == object else one for key, one in columns}
        np.savez(folder / "rows.npz", **plain)
        program = ROOT / "benchmarks" / "peers" / "score_batch.py"
        done = subprocess.run(
            [python, program, folder, str(rows), str(repeats)],
            env={**os.environ, "PYTHONPATH": str(ROOT / "lib")},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}),
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def entry(found: dict[str, Any], rows: int) -> dict[str, Any]:
    """Return what the result says of an estimator."""
    rates = {name: [rows / one for one in seconds] for name, seconds in found["cpu_s"].items()}
    ours = next(name for name in OURS if name in rates)
    peers = [name for name in rates if name not in OURS]
    best = max(peers, key=lambda name: median(rates[name]))
    return {
        "throughput_ratio_best_peer": ratio(rates[ours], rates[best]),
        "best_peer": best,
        "ours": ours,
        **{f"throughput_ratio_{name.replace('+', '_')}": ratio(rates[ours], rates[name]) for name in peers},
        "rows_per_cpu_s": {name: round(median(rate)) for name, rate in rates.items()},
        "spread": round(max(spread(rate) for rate in rates.values()), 3),
        "repeats": len(rates[ours]),
        "off_by": {name: float(f"{off:.2g}") for name, off in found["off_by"].items()},
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--estimators", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=7, help="of ways that do not take long")
    parser.add_argument("--quick", action="store_true", help="a smallest run, to see that it works")
    arguments = parser.parse_args()
    rows, repeats = (2_000, 2) if arguments.quick else (arguments.rows, arguments.repeats)

    served = models(arguments.estimators)
    result: dict[str, Any] = {
        "benchmark": "batch",
        "rows": rows,
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "not_covered": {model.name: model.refused for model in served if model.plan is None},
        "blocks": {},
    }
    ways = ("kernel", "blocks", "sklearn", "onnxruntime", "sklearn+onnxruntime")
    table = Table("rows a second of CPU", *ways, "ours/best", "spread")
    for model in served:
        if model.plan is None:
            print(f"{model.name} is not measured: {model.refused}", file=sys.stderr)
            continue
        print(f"scoring with {model.name}", file=sys.stderr)
        one = result["blocks"][model.name] = entry(run(model, rows, repeats), rows)
        one["onnx_exported"] = model.exported
        rates = one["rows_per_cpu_s"]
        line = (float(rates[way]) if way in rates else None for way in ways)
        table.add(model.name, *line, one["throughput_ratio_best_peer"], one["spread"])
    table.print(f"{rows:,} rows in one process, one thread")
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
