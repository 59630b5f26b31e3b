"""How long the search takes from the last block to the chosen model, with one worker a core.

``make bench NAME=search`` starts an embedded AWS of its own, deploys the built template into it and trains on
real tables with the default budget. A run's search is what happens while it is ``TRAINING`` and
``SELECTING``. On AWS every invocation of ``train`` has a machine of its own; here they share this one's
cores, and each takes longer for it. The search with a worker for each, :mod:`benchmarks.quality` simulates.

The last line is one JSON object: for each table ``wall_s``, ``invocations`` and ``work_s`` of ``train``,
``select_s``, ``slowest_s`` (all fits of the slowest candidate, one after the other) and ``bound_s``, which is
1.5 times that and 20 s: what the search may take with enough workers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.figures import Table
from benchmarks.quality import SHARED, Entry, content, manifest, metric_of
from benchmarks.score_file import ROOT, follow
from millrace.cli.http import Api
from millrace.cli.train import submit
from millrace.contracts import Budget, Spec
from millrace.local.platform import Platform

TABLES = ("hitters", "attrition", "saratoga")


def searched(api: Api, file: Path, entry: Entry, budget: Budget) -> dict[str, Any]:
    """Train on the file; return what the search took."""
    metric = metric_of(entry)
    spec = Spec(target=entry["target"], metric=metric, budget=budget)
    run, seen = follow(api, submit(api, file, entry["name"], spec, force=True))
    used = run["cost"]["functions"]
    version = api.get(f"/models/{entry['name']}/versions/{run['version']}/report.json")
    slowest = max(float(candidate["fit_seconds"]) for candidate in version["evaluation"]["candidates"])
    wall = seen["training"] + seen["selecting"]
    work, select = used["train"]["seconds"], used["select"]["seconds"]
    return {
        "wall_s": round(wall, 2),
        "invocations": used["train"]["invocations"],
        "work_s": round(work, 2),
        "select_s": round(select, 2),
        "slowest_s": round(slowest, 2),
        "bound_s": round(1.5 * slowest + 20.0, 2),
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="append", help=f"by default {', '.join(TABLES)}")
    parser.add_argument("--budget", choices=("quick", "standard", "thorough"), default="standard")
    arguments = parser.parse_args()
    subprocess.run(["make", "--no-print-directory", "build"], cwd=ROOT, check=True, stdout=sys.stderr)
    entries = manifest(SHARED)
    shown = Table("table", "wall s", "invocations", "work s", "select s", "slowest s", "bound s")
    found: dict[str, dict[str, Any]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder,
        Platform(Path(folder) / "state") as platform,
    ):
        platform.deploy()
        api = Api(platform.api_url())
        for name in arguments.table or TABLES:
            file = Path(folder) / f"{name}.csv"
            file.write_bytes(content(SHARED, entries[name], "train"))
            one = found[name] = searched(api, file, entries[name], arguments.budget)
            cells = ("wall_s", "invocations", "work_s", "select_s", "slowest_s", "bound_s")
            shown.add(name, *(one[cell] for cell in cells))
    shown.print(f"budget {arguments.budget}, {os.cpu_count()} cores")
    print(json.dumps({"benchmark": "search", "cores": os.cpu_count(), "tables": found}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
