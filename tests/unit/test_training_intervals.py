"""Prediction intervals: quantiles of the errors out of fold, and what they hold."""

from __future__ import annotations

import numpy as np
import pytest

from millrace.training.intervals import interval


def test_the_bounds_are_the_errors_at_the_two_ranks() -> None:
    errors = np.random.default_rng(0).permutation(np.arange(1.0, 40.0)) - 20.0
    found = interval(errors + 7.0, np.full(39, 7.0), level=0.9)
    # 39 errors: the 2nd and the 38th.
    assert found is not None and (found.level, found.below, found.above) == (0.9, -18.0, 18.0)


def test_rows_that_no_fold_predicted_do_not_count() -> None:
    truth, prediction = np.arange(40.0), np.zeros(40)
    prediction[19:] = np.nan
    assert interval(truth[:18], prediction[:18]) is None
    found = interval(truth, prediction)
    assert found is not None and (found.below, found.above) == (0.0, 18.0)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_it_holds_the_share_that_it_promises(level: float) -> None:
    rng = np.random.default_rng(1)
    errors = rng.gumbel(size=20_000)
    found = interval(errors, np.zeros(20_000), level=level)
    assert found is not None
    fresh = rng.gumbel(size=20_000)
    assert found.holds(fresh, np.zeros(20_000)).mean() == pytest.approx(level, abs=0.02)
