"""What runs use, fitted to rates, and how far estimates from those rates are from what runs record.

``make bench NAME=cost`` starts an embedded AWS of its own, deploys the built template into it, and trains on
example tables and on copies of them of several sizes. The times of each function are fitted by least squares
with no negative rate; ``--save`` writes them to ``lib/millrace/edge/rates.json``. The embedded AWS does not
emulate shares of a processor, so the times are those of one core of this machine.

The last line is one JSON object: per file the recorded and the estimated US dollars and GB-seconds, and the
worst ratio of the two.
"""

from __future__ import annotations

import argparse
import json
import platform as machine
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from benchmarks.score_file import follow
from millrace.cli.http import Api
from millrace.cli.train import read_spec, submit
from millrace.contracts import REQUESTS
from millrace.edge.estimate import FileSize, estimate, rates
from millrace.local.platform import Platform

ROOT = Path(__file__).resolve().parents[1]
RATES = ROOT / "lib" / "millrace" / "edge" / "rates.json"
SIZES = (("penguins", 1), ("penguins", 40), ("diamonds", 1), ("diamonds", 3), ("diamonds", 10))
"""Tables, and how often their rows stand in the file."""
TIMES = ("base", "per_mb", "per_million_cells")


def grown(example: Path, copies: int, folder: Path) -> Path:
    """Write the table's rows several times over, below one header."""
    head, body = (example / f"{example.name}.csv").read_bytes().split(b"\n", 1)
    file = folder / f"{example.name}-{copies}.csv"
    file.write_bytes(head + b"\n" + body * copies)
    return file


def recorded(api: Api, example: Path, file: Path) -> dict[str, Any]:
    """Train on the file; return its size and what the run says of its costs."""
    spec = read_spec(example / "spec.json", None)
    run = follow(api, submit(api, file, file.stem, spec, force=True))[0]
    names = file.read_text("utf-8").split("\n", 1)[0].split(",")
    chunks = run["progress"]["convert"]["total"]
    size = FileSize(file.stat().st_size, run["rows_read"], len(names), chunks)
    return {"size": size, "candidates": run["progress"]["train"]["total"], "cost": run["cost"]}


def fitted(runs: list[dict[str, Any]], function: str, counts: dict[str, int]) -> dict[str, Any]:
    """Return a function's rates from all runs."""
    used = [run["cost"]["functions"][function] for run in runs]
    calls = [one["invocations"] for one in used]
    measures = np.array([list(run["size"].measures(n).values()) for run, n in zip(runs, calls, strict=True)])
    # Relative errors count: a small file's estimate should be as good as a large one's.
    seconds = np.array([one["seconds"] for one in used])
    times, _ = nnls(measures / seconds[:, None], np.ones(len(seconds)))
    found: dict[str, Any] = {"memory_mb": used[0]["memory_mb"], "invoked": counts}
    found |= {f"{name}_s": float(f"{rate:.3g}") for name, rate in zip(TIMES, times, strict=True)}
    parts = np.array([[n, run["size"].chunks] for run, n in zip(runs, calls, strict=True)], dtype=float)
    for kind in REQUESTS:
        each, _ = nnls(parts, np.array([one[kind] for one in used], dtype=float))
        found[kind] = {"base": round(float(each[0]), 2), "per_chunk": round(float(each[1]), 2)}
    return found


def invoked(runs: list[dict[str, Any]], function: str) -> dict[str, int]:
    """Return how often a function is invoked for each run, chunk and candidate."""
    counts = np.array([run["cost"]["functions"][function]["invocations"] for run in runs], dtype=float)
    parts = np.array([[1, run["size"].chunks, run["candidates"]] for run in runs], dtype=float)
    if function == "train":
        return {"candidate": 1}
    each, _ = nnls(parts[:, :2], counts)
    return {name: round(n) for name, n in zip(("run", "chunk"), each, strict=True) if round(n)}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", action="store_true", help="write the rates into the package")
    parser.add_argument("--quick", action="store_true", help="the two tables as they are")
    arguments = parser.parse_args()
    subprocess.run(["make", "--no-print-directory", "build"], cwd=ROOT, check=True, stdout=sys.stderr)
    runs: dict[str, dict[str, Any]] = {}
    # One worker at a time, so that a function's time is not spent waiting for another's; and many chunks.
    one_worker = {"ParallelizationFactor": "1", "MaxChunkBytes": "2000000"}
    with (
        tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder,
        Platform(Path(folder) / "s") as stack,
    ):
        stack.deploy(parameters=one_worker)
        api = Api(stack.api_url())
        for name, copies in SIZES:
            if copies == 1 or not arguments.quick:
                file = grown(ROOT / "examples" / name, copies, Path(folder))
                runs[file.name] = recorded(api, ROOT / "examples" / name, file)
                print(f"{file.name}: {runs[file.name]['cost']['usd']} USD", file=sys.stderr)
    if arguments.save:
        every = list(runs.values())
        functions = sorted(every[0]["cost"]["functions"])
        table = {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "note": "Seconds of one core, measured by `make bench NAME=cost` on the embedded AWS.",
            "machine": machine.machine(),
            "functions": {name: fitted(every, name, invoked(every, name)) for name in functions},
        }
        RATES.write_text(json.dumps(table, indent=2) + "\n", "utf-8")
        rates.cache_clear()
    files = {}
    for name, run in runs.items():
        guess = estimate(run["size"], run["candidates"], shards=1)
        files[name] = {
            "recorded_usd": run["cost"]["usd"],
            "estimated_usd": guess["usd"],
            "ratio": round(guess["usd"] / run["cost"]["usd"], 2),
            "requests": {kind: [run["cost"]["requests"][kind], guess["requests"][kind]] for kind in REQUESTS},
        }
    worst = max((max(one["ratio"], 1 / one["ratio"]) for one in files.values()), default=0.0)
    print(json.dumps({"benchmark": "cost", "files": files, "worst_ratio": round(worst, 2)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
