"""What every test may ask for, and the rule that no test is left out in silence."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"

ALLOWED_SKIPS: tuple[str, ...] = ()
"""Patterns of the reasons for which a test may be skipped; any other skip fails the run."""

# Before anything loads OpenMP: threads that compete for the processors of a test run slow it down tenfold.
os.environ.setdefault("OMP_NUM_THREADS", "1")

_CI = os.environ.get("CI", "").lower() == "true"


_without_data = pytest.StashKey[int]()
_skips: list[str] = []
"""What was skipped for a reason that is not listed."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that need ``../shared/data`` when it is not there; fail instead in CI."""
    if SHARED_DATA.is_dir():
        return
    need = [item for item in items if "shared_data" in getattr(item, "fixturenames", ())]
    if need and _CI:
        raise pytest.UsageError(
            f"{len(need)} tests need {SHARED_DATA}, which is not there, and CI=true leaves none out"
        )
    config.stash[_without_data] = len(need)
    config.hook.pytest_deselected(items=need)
    items[:] = [item for item in items if item not in need]


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    count = config.stash.get(_without_data, 0)
    return [f"left out: {count} tests, because ../shared/data is not beside this checkout"] if count else []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note_skip(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note_skip(report)


def _note_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    if not any(re.search(pattern, reason) for pattern in ALLOWED_SKIPS):
        _skips.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _skips and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _skips:
        terminalreporter.write_line(f"skipped without a listed reason, so the run fails: {line}", red=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of test tables beside the repository."""
    return SHARED_DATA
