"""The platform of the tests below: the real template, really built and deployed, with IAM enforced."""

from __future__ import annotations

import csv
import io
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace.local.platform import Platform
from tests.infra.template import ROOT
from tests.platform.stack import Stack
from tests.platform.tables import UPLOADS

PARAMETERS = {
    "FanOut": os.environ.get("MILLRACE_FAN_OUT", "stream"),
    # Small files in several chunks on two shards, and a limit that a test can exceed.
    "ShardCount": "2",
    "ParallelizationFactor": "2",
    "MinChunkBytes": "16384",
    "MaxFileBytes": "12000000",
    "PredictFreshnessSeconds": "1",
    "RowsShardCount": "1",
    "RetrainSchedule": "rate(7 days)",
}

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests below here, and put the look at the roles after all that use them."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("platform")
    items.sort(key=lambda item: item.path.name == "test_least_privilege.py")


@pytest.fixture(scope="session")
def iam_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every decision about a role, as JSON lines."""
    return tmp_path_factory.mktemp("iam") / "decisions.jsonl"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, iam_log: Path) -> Iterator[Stack]:
    """The deployed stack; one for all tests."""
    built = subprocess.run(["make", "build"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    state = tmp_path_factory.mktemp("platform")
    with Platform(state, auth=True, iam_log=iam_log) as platform:
        yield Stack(platform, platform.deploy(parameters=PARAMETERS))


PENGUINS_SPEC = {"target": "Species", "exclude": ["Individual ID", "Sample Number"], "budget": "quick"}
PENGUINS_FILE = "palmer pengüins + more.csv"
"""A name that the notification must encode and ``ingest`` decode."""


@pytest.fixture(scope="session")
def penguins_csv() -> bytes:
    """A real table that the project ships."""
    return (ROOT / "examples" / "penguins" / "penguins.csv").read_bytes()


@pytest.fixture(scope="session")
def penguins_run(stack: Stack, penguins_csv: bytes) -> str:
    """The first run of the penguins."""
    return stack.upload("penguins", penguins_csv, file=PENGUINS_FILE, spec=PENGUINS_SPEC)


@pytest.fixture(scope="session")
def started(stack: Stack, penguins_run: str) -> dict[str, str]:
    """The run of each table of :mod:`tests.platform.tables`; all are under way at once."""
    return {
        name: stack.upload(name, upload.data, file=upload.file, spec=upload.spec)
        for name, upload in UPLOADS.items()
    }


@pytest.fixture(scope="session")
def penguins(stack: Stack, penguins_run: str, started: dict[str, str]) -> dict[str, Any]:
    """The first run of the penguins, when it has ended."""
    return stack.wait(penguins_run)


@pytest.fixture(scope="session")
def scored(stack: Stack, penguins: dict[str, Any], penguins_csv: bytes) -> dict[str, Any]:
    """The run that scores the penguins, three broken records among them, by the first version."""
    head, *body = penguins_csv.decode().splitlines(keepends=True)
    broken = [
        body[0].rstrip("\n") + ",one too many\n",
        "only one field\n",
        _heavy(head, body[5]),
    ]
    data = "".join([head, *body[:40], broken[0], *body[40:200], *broken[1:], *body[200:]]).encode()
    return stack.wait(stack.upload_to_score("penguins", data, options={"version": 1}))


def _heavy(head: str, line: str) -> str:
    """Return the record with a mass that is no number."""
    rows = csv.reader([head, line])
    names, cells = next(rows), next(rows)
    cells[names.index("Body Mass (g)")] = "heavy"
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
