"""The first scenarios of the fault suite; ``make chaos`` runs ten times as many."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.scenarios import CI, COLLECTED, GROUPED_OF_CI, NAMES, scenario
from tests.chaos.suite import idle, line, run
from tests.infra.template import ROOT


def test_the_first_scenarios_break_everything_once() -> None:
    assert {scenario(seed).name for seed in range(CI)} == set(NAMES) - {COLLECTED}
    assert tuple(seed for seed in range(CI) if scenario(seed).grouped) == GROUPED_OF_CI


def test_a_scenario_is_its_seed() -> None:
    assert [scenario(seed) for seed in range(300)] == [scenario(seed) for seed in range(300)]


@pytest.mark.platform
def test_nothing_is_lost_and_nothing_is_stuck(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    built = subprocess.run(["make", "build"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    results = run(tmp_path, range(CI), print)
    record_property("chaos", line(results))
    assert len(results) == CI
    assert not idle(results)
    assert not [str(result) for result in results if not result.good]
