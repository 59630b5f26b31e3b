"""Splits: the same for any cut of the file, stratified, and never ahead of time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.errors import BadInput
from millrace.training import splits
from millrace.training.splits import MINIMUM_ROWS, folds, hold_out, sample, shuffled


def codes_of(*counts: int) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts).astype(np.int32)


def records(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.int64)


@given(
    counts=st.lists(st.integers(0, 30), min_size=2, max_size=6),
    seed=st.integers(0, 1 << 40),
)
@settings(max_examples=60, deadline=None)
def test_every_class_trains_and_every_row_has_one_side(counts: list[int], seed: int) -> None:
    codes = codes_of(*counts)
    if len(codes) < MINIMUM_ROWS or max(counts) < 2:
        with pytest.raises(BadInput):
            hold_out(records(len(codes)), codes=codes, seed=seed)
        return
    split = hold_out(records(len(codes)), codes=codes, seed=seed)
    assert sorted([*split.training, *split.validation]) == list(range(len(codes)))
    assert len(split.validation) >= 1
    assert set(codes[split.training]) == set(codes)
    for code, count in enumerate(counts):
        held = int((codes[split.validation] == code).sum())
        assert abs(held - count / 5) <= 1, "in proportion to within one row"
        if count == 1:
            assert held == 0


def test_a_fifth_is_held_out_and_the_seed_decides_which() -> None:
    one, same, other = (hold_out(records(1000), seed=seed).validation for seed in (1, 1, 2))
    assert len(one) == 200
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_split_does_not_depend_on_the_rows_positions() -> None:
    """Records that were rejected leave gaps in the numbers; a row keeps its place in the order."""
    everything, gappy = records(500), np.delete(records(500), [3, 77, 300])
    order = everything[shuffled(everything, 5)]
    assert np.array_equal(gappy[shuffled(gappy, 5)], order[~np.isin(order, [3, 77, 300])])


def test_too_few_rows_and_classes_of_one_row_are_refused() -> None:
    with pytest.raises(BadInput) as few:
        hold_out(records(MINIMUM_ROWS - 1))
    assert few.value.code == "too-few-rows"
    with pytest.raises(BadInput) as single:
        hold_out(records(8), codes=codes_of(*[1] * 8))
    assert single.value.code == "classes-too-small"


@given(
    counts=st.lists(st.integers(1, 12), min_size=2, max_size=5),
    seed=st.integers(0, 1000),
    count=st.integers(2, 7),
)
@settings(max_examples=60, deadline=None)
def test_each_fold_trains_on_every_class(counts: list[int], seed: int, count: int) -> None:
    codes = codes_of(*counts)
    if sum(c for c in counts if c > 1) < 2:
        with pytest.raises(BadInput):
            folds(records(len(codes)), codes=codes, seed=seed, count=count)
        return
    parts = folds(records(len(codes)), codes=codes, seed=seed, count=count)
    validated = np.concatenate([part.validation for part in parts])
    single = [code for code, c in enumerate(counts) if c == 1]
    assert sorted(validated) == np.flatnonzero(~np.isin(codes, single)).tolist(), "each once, but lone rows"
    for part in parts:
        assert set(codes[part.training]) == set(codes)
        assert not set(part.training) & set(part.validation)
        for code in range(len(counts)):
            share = counts[code] / len(parts)
            assert abs((codes[part.validation] == code).sum() - share) < 1 or counts[code] == 1


def test_with_a_time_the_latest_rows_are_held_out() -> None:
    time = np.random.default_rng(0).permutation(100).astype(np.float64)
    time[:5] = np.nan
    split = hold_out(records(100), time=time, seed=9)
    assert len(split.validation) == 20
    assert np.nanmax(time[split.training]) < time[split.validation].min()
    assert set(range(5)) <= set(split.training.tolist()), "a row without a time counts as the earliest"


def test_one_instant_is_not_cut_in_two() -> None:
    time = np.concatenate([np.arange(70.0), np.full(30, 70.0)])
    assert len(hold_out(records(100), time=time).validation) == 30
    all_at_once = hold_out(records(100), time=np.zeros(100))
    assert len(all_at_once.validation) == 20, "but a side is never emptied for it"


def test_folds_in_time_never_look_ahead() -> None:
    time = np.random.default_rng(0).permutation(60).astype(np.float64)
    parts = folds(records(60), time=time, count=5)
    assert len(parts) == 5
    for part in parts:
        assert time[part.training].max() < time[part.validation].min()
    assert len(np.concatenate([p.validation for p in parts])) == 50, "the first block only trains"


@given(
    sizes=st.lists(st.integers(1, 12), min_size=2, max_size=40),
    classes=st.integers(1, 3),
    seed=st.integers(0, 1 << 40),
)
@settings(max_examples=60, deadline=None)
def test_a_group_is_on_one_side_as_a_whole(sizes: list[int], classes: int, seed: int) -> None:
    group = np.repeat(np.arange(len(sizes)), sizes)[np.argsort(shuffled(records(sum(sizes)), 1))]
    n = len(group)
    codes = (records(n) % classes).astype(np.int32) if classes > 1 else None
    if n < MINIMUM_ROWS:
        return
    for split in (
        hold_out(records(n), codes=codes, group=group, seed=seed),
        *folds(records(n), codes=codes, group=group, seed=seed, count=3),
    ):
        assert sorted([*split.training, *split.validation]) == list(range(n))
        assert len(split.training) and len(split.validation)
        assert not set(group[split.training]) & set(group[split.validation])
    cut = folds(records(n), codes=codes, group=group, seed=seed, count=3)
    assert sorted(np.concatenate([part.validation for part in cut])) == list(range(n))


def test_groups_are_dealt_out_in_proportion_and_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    group = rng.zipf(1.6, 5000) % 400
    codes = (rng.random(5000) < 0.1).astype(np.int32)

    def shares(seed: int) -> tuple[list[int], float, float]:
        held = hold_out(records(5000), codes=codes, group=group, seed=seed).validation
        return held.tolist(), len(held) / 5000, float(codes[held].mean() / codes.mean())

    largest = np.bincount(group).max() / 5000
    first, share, rarity = shares(0)
    assert share == pytest.approx(0.2, abs=0.02) or largest > 0.2
    assert rarity == pytest.approx(1.0, abs=0.2)
    assert first == shares(0)[0] != shares(1)[0]
    shifted = hold_out(records(5000) + 7, codes=codes, group=-group, seed=0)
    assert len(shifted.validation), "the numbers of the groups mean nothing"
    monkeypatch.setattr(splits, "MANY_GROUPS", 10)
    dealt = hold_out(records(5000), group=records(5000) // 5, seed=0)
    assert len(dealt.validation) == 1000
    assert not set(dealt.training // 5) & set(dealt.validation // 5)


def test_with_a_time_too_no_group_of_the_latest_rows_is_learned_from() -> None:
    time = np.arange(100.0)
    group = records(100) % 40  # groups 0 to 19 are among the last 20 rows, no other
    split = hold_out(records(100), time=time, group=group)
    assert split.validation.tolist() == list(range(80, 100))
    assert set(group[split.training]) == set(range(20, 40))
    for part in folds(records(100), time=time, group=group, count=3):
        assert time[part.training].max() < time[part.validation].min()
        assert not set(group[part.training]) & set(group[part.validation])
    with pytest.raises(BadInput, match="none is left to learn from"):
        hold_out(records(100), time=time, group=records(100) % 5)
    with pytest.raises(BadInput, match="All rows are of one group") as caught:
        hold_out(records(100), group=np.zeros(100, dtype=np.int64))
    assert caught.value.code == "groups-too-few"


def test_a_sample_keeps_every_class_and_its_share() -> None:
    codes = codes_of(900, 99, 1)
    rows = sample(records(1000), 100, codes=codes, seed=3)
    assert np.bincount(codes[rows]).tolist() == [90, 10, 1]
    assert np.array_equal(rows, np.sort(rows))
    assert np.array_equal(sample(records(50), 100), np.arange(50))
    assert len(sample(records(1000), 100, seed=1)) == 100
