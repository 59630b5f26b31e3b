"""A file scored on the fan-out, beside the same rows sent to ``POST /predict`` in blocks of 1,000.

``make bench NAME=score_file`` starts an embedded AWS of its own, deploys the built template into it, trains
on an example table, and lets the same version of that model score the same rows, in turn: as requests, one
after the other as a client sends them; as a file whose result has what ``/predict`` answers, the predictions
in their order; and as a file that comes back with all its columns. A file's time goes from its upload's last
byte to the end of its run, by the run's record. Wall times include what the embedded AWS itself costs, which
all pay; on AWS the workers of a file have machines of their own, here they share this one's cores.

The last line is one JSON object: ``file_rows_per_s``, ``whole_rows_per_s``, ``predict_rows_per_s``,
``throughput_ratio`` and ``throughput_ratio_whole`` (the file's divided by the requests', medians of the
repeats), the file's ``stages_s``, and ``simulated``: the ratios with as many workers as a stack of the
template's defaults has, if all else took as long as it did here.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from millrace.cli.http import Api, quote
from millrace.cli.rows import read_rows
from millrace.cli.train import read_spec, started, submit, upload
from millrace.contracts import TERMINAL_STATES
from millrace.local.platform import Platform

ROOT = Path(__file__).resolve().parents[1]
BLOCK_ROWS = 1000
POLL_S = 0.5
"""How often the run's state is asked for; each question takes the cores some 15 ms."""
DEFAULT_WORKERS = 10
"""``ShardCount`` times ``ParallelizationFactor`` of a stack that sets neither."""


def train(api: Api, example: Path) -> dict[str, Any]:
    """Train on an example table and return the run."""
    file, spec = example / f"{example.name}.csv", read_spec(example / "spec.json", None)
    return follow(api, submit(api, file, example.name, spec, force=True))[0]


def follow(api: Api, run: dict[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the run when it has succeeded, and how many seconds it was seen in each state."""
    seen: dict[str, float] = {}
    last = time.perf_counter()
    while run["state"] not in TERMINAL_STATES:
        time.sleep(POLL_S)
        state = run["state"].lower()
        run = api.get(f"/runs/{quote(run['run'])}")
        now = time.perf_counter()
        seen[state], last = seen.get(state, 0.0) + now - last, now
    if run["state"] != "SUCCEEDED":
        raise SystemExit(f"the run ended as {run['state']}: {run['error']}")
    return run, {state: round(seconds, 3) for state, seconds in seen.items()}


def by_file(
    api: Api, file: Path, name: str, rows: int, workers: int, model: str, score: dict[str, Any]
) -> dict[str, Any]:
    """Score the file as a run; return its rows a second, here and with the default number of workers."""
    place = upload(api, file, name, model=model, score=score)
    began = time.time()
    run, stages = follow(api, started(api, place, model))
    wall = datetime.fromisoformat(run["updated_at"]).timestamp() - began
    if run["rows_scored"] != rows:
        raise SystemExit(f"{run['rows_scored']} of {rows} rows were scored")
    scoring = run["cost"]["functions"]["preprocess"]["seconds"]
    wider = wall - scoring / workers + scoring / min(DEFAULT_WORKERS, run["progress"]["score"]["total"])
    speed = {"rows_per_s": rows / wall, "simulated_rows_per_s": rows / wider, "stages_s": stages}
    return {"run": run["run"], **speed}


def forget(s3: Any, buckets: Iterable[str], run: str, name: str) -> None:
    """Delete a run's objects: the embedded AWS keeps them on this machine's disk, which has to write them."""
    for bucket in buckets:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for found in page.get("Versions", []):
                if f"/{name}" in found["Key"] or found["Key"].startswith(f"runs/{run}/"):
                    s3.delete_object(Bucket=bucket, Key=found["Key"], VersionId=found["VersionId"])


def by_requests(api: Api, model: str, version: int, blocks: list[list[dict[str, Any]]]) -> float:
    """Send the blocks one after the other; return rows a second."""
    began = time.perf_counter()
    for block in blocks:
        answer = api.post("/predict", {"model": model, "version": version, "rows": block})
        if len(answer["predictions"]) != len(block):
            raise SystemExit("an answer has another number of rows than its request")
    return sum(map(len, blocks)) / (time.perf_counter() - began)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--example", choices=["penguins", "diamonds"], default="diamonds")
    parser.add_argument("--copies", type=int, default=60, help="how often the file holds the table's rows")
    parser.add_argument("--blocks", type=int, default=30, help="blocks of 1,000 rows that are sent each time")
    parser.add_argument("--repeats", type=int, default=3, help="after one of each that is not counted")
    parser.add_argument("--quick", action="store_true", help="the smallest run that says something")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.copies, arguments.blocks, arguments.repeats = 3, 10, 1

    subprocess.run(["make", "--no-print-directory", "build"], cwd=ROOT, check=True, stdout=sys.stderr)
    example = ROOT / "examples" / arguments.example
    names, cells = read_rows(example / f"{example.name}.csv")
    table = [row for _, row in cells]
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        file = Path(folder) / "rows.csv"
        head, body = (example / f"{example.name}.csv").read_bytes().split(b"\n", 1)
        file.write_bytes(head + b"\n" + body * arguments.copies)
        rows = len(table) * arguments.copies
        # As many workers as there are cores: more would only take turns.
        workers = min(DEFAULT_WORKERS, os.cpu_count() or 1)
        with Platform(Path(folder) / "state") as platform:
            stack = platform.deploy(parameters={"ParallelizationFactor": str(workers)})
            s3, buckets = platform.client("s3"), (stack["DataBucket"], stack["ArtifactBucket"])
            api = Api(platform.api_url())
            run = train(api, example)
            version = api.get(f"/models/{example.name}/versions/{run['version']}")
            used = {field["name"] for field in version["signature"]}
            sent = [
                {name: cell or None for name, cell in zip(names, row, strict=True) if name in used}
                for row in table
            ]
            blocks = [
                sent[at : at + BLOCK_ROWS] for at in range(0, arguments.blocks * BLOCK_ROWS, BLOCK_ROWS)
            ]
            blocks = [block for block in blocks if block]
            ways: dict[str, list[dict[str, Any]]] = {"answers": [], "whole": []}
            requests: list[float] = []
            for repeat in range(arguments.repeats + 1):
                requests.append(by_requests(api, example.name, run["version"], blocks))
                print(f"{repeat or 'warm-up'}: requests {requests[-1]:,.0f} rows/s", file=sys.stderr)
                for way, done in ways.items():
                    score = {"version": run["version"], "keep": [] if way == "answers" else None}
                    # A new name: the embedded AWS copies a version that the next one displaces, S3 does not.
                    name = f"{way}-{repeat}.csv"
                    one = by_file(api, file, name, rows, workers, example.name, score)
                    done.append(one)
                    forget(s3, buckets, one["run"], name)
                    print(f"  {way}: {one['rows_per_s']:,.0f} rows/s ({one['stages_s']})", file=sys.stderr)
    peers = statistics.median(requests[1:])

    def median(way: str, figure: str) -> float:
        return float(statistics.median(one[figure] for one in ways[way][1:]))

    result = {
        "benchmark": "score_file",
        "peer": "POST /predict in blocks of 1,000 rows, one after the other",
        "model": f"{example.name}: {version['chosen']}",
        "rows": rows,
        "file_bytes": len(head) + 1 + len(body) * arguments.copies,
        "workers": workers,
        "file_rows_per_s": round(median("answers", "rows_per_s")),
        "whole_rows_per_s": round(median("whole", "rows_per_s")),
        "predict_rows_per_s": round(peers),
        "throughput_ratio": round(median("answers", "rows_per_s") / peers, 2),
        "throughput_ratio_whole": round(median("whole", "rows_per_s") / peers, 2),
        "stages_s": ways["answers"][-1]["stages_s"],
        "simulated": {
            "workers": DEFAULT_WORKERS,
            "throughput_ratio": round(median("answers", "simulated_rows_per_s") / peers, 2),
            "throughput_ratio_whole": round(median("whole", "simulated_rows_per_s") / peers, 2),
        },
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
