"""The rules of ``tests/conftest.py``, tried on a small run of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.template import ROOT

pytestmark = pytest.mark.slow

PASSES = "def test_passes():\n    assert True\n"
SKIPS = "import pytest\n\ndef test_skips():\n    pytest.skip('no time')\n"
NEEDS_DATA = "def test_needs_data(shared_data):\n    assert shared_data.is_dir()\n"


def run(folder: Path, source: str, *options: str, ci: bool = False) -> tuple[int, str]:
    """Run ``source`` as a test below the project's conftest; return exit code and output."""
    tests = folder / "project" / "tests"
    tests.mkdir(parents=True)
    shutil.copyfile(ROOT / "tests" / "conftest.py", tests / "conftest.py")
    (tests / "test_it.py").write_text(PASSES + source, "utf-8")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--strict-markers", "-p", "no:cacheprovider", *options, str(tests)],
        cwd=folder / "project",
        env=environ | ({"CI": "true"} if ci else {}),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


ALONE = pytest.param((), id="alone")
TWO_WORKERS = pytest.param(("-n", "2"), id="two-workers")


@pytest.mark.parametrize("options", [ALONE, TWO_WORKERS])
def test_a_skip_without_a_listed_reason_fails_the_run(tmp_path: Path, options: tuple[str, ...]) -> None:
    code, output = run(tmp_path, SKIPS, *options)
    assert code == 1
    assert "skipped without a listed reason" in output
    assert "no time" in output


@pytest.mark.parametrize("options", [ALONE, TWO_WORKERS])
def test_without_the_tables_one_line_says_what_is_left_out(tmp_path: Path, options: tuple[str, ...]) -> None:
    code, output = run(tmp_path, NEEDS_DATA, *options)
    assert code == 0
    assert output.count("left out: 1 tests, because ../shared/data is not beside this checkout") == 1
    assert "1 passed" in output


def test_with_the_tables_nothing_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "shared" / "data").mkdir(parents=True)
    code, output = run(tmp_path, NEEDS_DATA, ci=True)
    assert code == 0
    assert "2 passed" in output
    assert "left out" not in output


def test_in_ci_a_run_without_the_tables_fails(tmp_path: Path) -> None:
    code, output = run(tmp_path, NEEDS_DATA, ci=True)
    assert code != 0
    assert "the test tables are not there" in output
