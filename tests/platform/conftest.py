"""The platform of the tests below: the real template, really built and deployed, with IAM enforced."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.local.platform import Platform
from tests.infra.template import ROOT
from tests.platform.stack import Stack

PARAMETERS = {
    # Small files in several chunks on two shards, and a limit that a test can exceed.
    "ShardCount": "2",
    "ParallelizationFactor": "2",
    "MinChunkBytes": "16384",
    "MaxFileBytes": "3000000",
}

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("platform")


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
