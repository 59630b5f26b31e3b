"""Damaged plans are refused or scored; ``make fuzz`` asks it of 100,000."""

from __future__ import annotations

import pytest

from tests import fuzz


@pytest.mark.slow
def test_damaged_files_are_refused_or_scored() -> None:
    counts, _, wrong = fuzz.run(1000, seed=2, ways=1)
    assert not wrong, wrong[0]
    # Every way to damage a file is tried: some are refused at each gate, and some can still be scored.
    expected = ("magic", "protocol", "truncated", "oversized", "checksum", "header", "dimensions")
    assert {"scored", *(f"plan-{code}" for code in expected)} <= counts.keys()
