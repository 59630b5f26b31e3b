"""What every test may ask for, and the rule that no test is left out in silence."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"

ALLOWED_SKIPS: tuple[str, ...] = ()
"""Patterns of the reasons for which a test may be skipped; any other skip fails the run."""

# Before anything loads OpenMP: threads that compete for the processors of a test run slow it down tenfold.
os.environ.setdefault("OMP_NUM_THREADS", "1")

_CI = os.environ.get("CI", "").lower() == "true"

_ONE_WORKER = {
    "tests/platform/": "platform",
    "tests/chaos/": "platform",  # both build the stack, and one must not while the other deploys it
    "tests/contract/local/": "local",
}
"""Folders whose tests share one embedded AWS: with pytest-xdist, one worker runs all of a folder."""

_left_out = pytest.StashKey[int]()
_skips: list[str] = []
"""What was skipped for a reason that is not listed."""


def pytest_configure(config: pytest.Config) -> None:
    """In CI nothing is left out: without the test tables the run fails before it begins."""
    config.stash[_left_out] = 0
    if _CI and not SHARED_DATA.is_dir():
        raise pytest.UsageError(f"CI=true, but the test tables are not there: {SHARED_DATA}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a folder that shares a platform to one worker, largest first, and any other test to any."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class ByPlatform(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return next((name for folder, name in _ONE_WORKER.items() if nodeid.startswith(folder)), nodeid)

    return ByPlatform(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs test tables that are not there."""
    if not SHARED_DATA.is_dir():
        need = [item for item in items if "shared_data" in getattr(item, "fixturenames", ())]
        config.stash[_left_out] = len(need)
        config.hook.pytest_deselected(items=need)
        items[:] = [item for item in items if item not in need]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the main process what a worker left out; fail a run that skipped without a listed reason."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left_out"] = session.config.stash[_left_out]
    if _skips and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take over what a worker left out; every worker collects the same tests."""
    node.config.stash[_left_out] = getattr(node, "workeroutput", {}).get("left_out", 0)


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if count := config.stash[_left_out]:
        line = f"left out: {count} tests, because ../shared/data is not beside this checkout"
        terminalreporter.write_line(line, yellow=True)
    for report in [one for kind in ("passed", "failed") for one in terminalreporter.stats.get(kind, ())]:
        for name, value in report.user_properties:
            if name == "chaos":
                terminalreporter.write_line(f"chaos: {value}")
    for line in _skips:
        terminalreporter.write_line(f"skipped without a listed reason, so the run fails: {line}", red=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of test tables beside the repository."""
    return SHARED_DATA
