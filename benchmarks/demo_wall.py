"""Upload to first answer, by stage, beside a plain script that does the same work in one process.

``make bench NAME=demo_wall`` starts an embedded AWS of its own, deploys the built template into it, and
sends each example table through it; then the peer learns the same table. Both are measured one after the
other on the same machine. Wall times here include what the embedded AWS itself costs; on AWS the stages
run on machines of their own.

The last line is one JSON object: per dataset ``wall_s``, ``stages_s``, the peer's ``wall_s`` and
``stages_s``, and ``wall_ratio_peer`` (ours divided by the peer's).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from millrace.cli.http import Api, quote
from millrace.cli.rows import read_rows
from millrace.cli.train import read_spec, submit
from millrace.contracts import TERMINAL_STATES
from millrace.local.platform import Platform

ROOT = Path(__file__).resolve().parents[1]
DATASETS = ("penguins", "diamonds")


def ours(api: Api, example: Path) -> dict[str, Any]:
    """Send one table through the platform; return wall time, seconds by stage, and what came out."""
    file = example / f"{example.name}.csv"
    spec = read_spec(example / "spec.json", None)
    names, rows = read_rows(file)
    _, cells = next(rows)
    row = {name: cell or None for name, cell in zip(names, cells, strict=True)}

    began = time.perf_counter()
    run = submit(api, file, example.name, spec, force=True)
    seen = [("upload", began), (run["state"], time.perf_counter())]
    while run["state"] not in TERMINAL_STATES:
        time.sleep(0.05)
        run = api.get(f"/runs/{quote(run['run'])}")
        if run["state"] != seen[-1][0]:
            seen.append((run["state"], time.perf_counter()))
    if run["state"] != "SUCCEEDED":
        raise SystemExit(f"{example.name}: the run ended as {run['state']}: {run['error']}")
    row.pop(run["target"])
    answer = api.post("/predict", {"model": run["model"], "version": run["version"], "rows": [row]})
    ended = time.perf_counter()
    if answer["version"] != run["version"] or len(answer["predictions"]) != 1:
        raise SystemExit(f"{example.name}: the answer is not of version {run['version']}")
    ends = [*(moment for _, moment in seen[1:]), ended]
    stages = {
        {"upload": "upload", "SUCCEEDED": "predict"}.get(state, state.lower()): round(end - moment, 3)
        for (state, moment), end in zip(seen, ends, strict=True)
    }
    return {
        "wall_s": round(ended - began, 3),
        "stages_s": stages,
        "metrics": run["metrics"],
        "usd": run["cost"]["usd"],
    }


def peer(example: Path) -> dict[str, Any]:
    """Run the plain script in a process of its own, start-up included, as ours includes its own."""
    began = time.perf_counter()
    command = [sys.executable, str(ROOT / "benchmarks" / "plain_script.py"), str(example)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    wall = time.perf_counter() - began
    return {"wall_s": round(wall, 3), **json.loads(done.stdout.splitlines()[-1])}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=DATASETS)
    parser.add_argument(
        "--repeats", type=int, default=2, help="the first has cold sandboxes, later ones warm"
    )
    arguments = parser.parse_args()

    subprocess.run(["make", "--no-print-directory", "build"], cwd=ROOT, check=True, stdout=sys.stderr)
    result: dict[str, Any] = {
        "benchmark": "demo_wall",
        "peer": "pandas + scikit-learn script, one process, two candidates' folds at a time",
        "datasets": {},
    }
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        with Platform(Path(folder)) as platform:
            began = time.perf_counter()
            platform.deploy()
            result["deploy_s"] = round(time.perf_counter() - began, 3)
            api = Api(platform.api_url())
            for name in arguments.datasets:
                runs = [ours(api, ROOT / "examples" / name) for _ in range(arguments.repeats)]
                result["datasets"][name] = {"first": runs[0], **runs[-1]}
        for name in arguments.datasets:
            measured = result["datasets"][name]
            measured["peer"] = peer(ROOT / "examples" / name)
            measured["wall_ratio_peer"] = round(measured["wall_s"] / measured["peer"]["wall_s"], 3)
            print(f"{name}: {measured['wall_s']} s, peer {measured['peer']['wall_s']} s", file=sys.stderr)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
