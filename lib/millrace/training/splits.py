"""Splits: which rows are held out, and which rows each fold trains on and validates.

A row's place depends on its record number and the seed alone, through a hash, so that a split is the
same however the file was cut into chunks and whatever the version of numpy. With a time column no row
of the past is judged by a model that has seen the future. With groups no row is judged by a model that has
seen another one of its group.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millrace.errors import BadInput

__all__ = ["MINIMUM_ROWS", "Split", "folds", "hashed", "hold_out", "sample", "shuffled"]

MINIMUM_ROWS = 5
"""Fewer rows leave nothing to hold out beside two folds."""

MANY_GROUPS = 20_000
"""With more groups than this they are dealt out by their hashes; fewer are laid where they fit best."""

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Split:
    """Row positions on the two sides of a split, ascending."""

    training: Rows
    validation: Rows


def shuffled(record: NDArray[np.int64], seed: int) -> Rows:
    """Return positions in an order that the record numbers and the seed decide."""
    return np.argsort(hashed(record, seed), kind="stable")


def hashed(record: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """Return a number for each record that its own number and the seed decide, all alike likely.

    It is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), a bijection of the 64-bit
    integers, so that no two records tie.
    """
    with np.errstate(over="ignore"):
        x = record.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15) * np.uint64(seed % (1 << 32) + 1)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def hold_out(
    record: NDArray[np.int64],
    *,
    codes: NDArray[np.int32] | None = None,
    time: NDArray[np.float64] | None = None,
    group: NDArray[np.int64] | None = None,
    seed: int = 0,
    every: int = 5,
) -> Split:
    """Hold out one row of every ``every``.

    Parameters
    ----------
    record : ndarray of shape (n,)
        Record numbers, distinct.
    codes : ndarray of shape (n,), optional
        Class codes. Each class is held out in proportion; a class with one row trains and is not held out.
    time : ndarray of shape (n,), optional
        Seconds. The latest rows are held out, whole instants where that is possible; a row without a
        time counts as the earliest.
    group : ndarray of shape (n,), optional
        Numbers of groups, each of which is on one side as a whole. The sides then have about the shares of
        rows and classes that are asked for. With ``time`` as well, rows to train on whose group is held out
        are on neither side.
    seed : int
        Chooses among random splits; without effect on an ordered one.
    every : int
        The held-out share is ``1 / every``.

    Raises
    ------
    BadInput
        There are too few rows or groups, or no class has two rows.
    """
    n = len(record)
    if n < MINIMUM_ROWS:
        raise BadInput(
            f"{n} rows with a target are too few to learn from and to test on",
            code="too-few-rows",
            remedy=f"Send at least {MINIMUM_ROWS} rows; a useful model needs far more.",
        )
    if time is not None:
        return _apart(_latest(record, time, held=max(1, n // every)), group)
    if group is not None:
        dealt = _dealt(record, group, codes, seed, every)
        return _split(n, np.flatnonzero(dealt == dealt.max()))
    order = _by_class(shuffled(record, seed), codes)
    if order.size == 0:
        raise BadInput(
            "No class has two rows, so none can be both learned and tested",
            code="classes-too-small",
            remedy="Check that the target column is the right one; group its rare values.",
        )
    held = order[every - 1 :: every] if order.size >= every else order[-1:]
    return _split(n, held)


def folds(
    record: NDArray[np.int64],
    *,
    codes: NDArray[np.int32] | None = None,
    time: NDArray[np.float64] | None = None,
    group: NDArray[np.int64] | None = None,
    seed: int = 0,
    count: int = 5,
) -> tuple[Split, ...]:
    """Cut the rows into at most ``count`` folds; every class is trained on in each.

    Rows of a class that has one row are in no validation part. With ``time``, each fold validates the
    rows that follow the rows that it trains on, and the earliest rows are in no validation part.

    Parameters
    ----------
    record, codes, time, group, seed
        As for :func:`hold_out`.
    count : int
        At least 2.

    Raises
    ------
    BadInput
        There are too few rows, or no class has two.
    """
    n = len(record)
    if time is not None:
        order = _by_time(record, time)
        blocks = np.array_split(order, min(count + 1, n))
        return tuple(
            _apart(Split(np.sort(np.concatenate(blocks[:i])), np.sort(blocks[i])), group)
            for i in range(1, len(blocks))
        )
    if group is not None:
        dealt = _dealt(record, group, codes, seed, count)
        return tuple(_split(n, np.flatnonzero(dealt == part)) for part in range(int(dealt.max()) + 1))
    order = _by_class(shuffled(record, seed), codes)
    parts = min(count, order.size)
    if parts < 2:
        raise BadInput(
            f"{n} rows are too few to cross-validate",
            code="too-few-rows",
            remedy=f"Send at least {MINIMUM_ROWS} rows; a useful model needs far more.",
        )
    return tuple(_split(n, order[i::parts]) for i in range(parts))


def sample(
    record: NDArray[np.int64], size: int, *, codes: NDArray[np.int32] | None = None, seed: int = 0
) -> Rows:
    """Return at most ``size`` positions, ascending; every class keeps a row at least.

    Each class is drawn in proportion, rounded up, so that the result may exceed ``size`` by one row a class.
    """
    n = len(record)
    if n <= size:
        return np.arange(n)
    order = shuffled(record, seed)
    if codes is None:
        return np.sort(order[:size])
    chosen = [of_class[: -(-len(of_class) * size // n)] for of_class in _classes(order, codes)]
    return np.sort(np.concatenate(chosen))


def _dealt(
    record: NDArray[np.int64],
    group: NDArray[np.int64],
    codes: NDArray[np.int32] | None,
    seed: int,
    parts: int,
) -> Rows:
    """Return a part for each row, the same for all rows of a group; parts have about the same classes.

    The largest groups are laid first, each into the part that has least of its classes, as scikit-learn's
    ``StratifiedGroupKFold`` does, of equal parts the first one: what is rare misses the last. Equal groups
    are in an order that their smallest record numbers and the seed decide.
    """
    _, first, place, sizes = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise BadInput(
            "All rows are of one group, so none can be both learned and tested",
            code="groups-too-few",
            where="spec field 'group_column'",
            remedy="Name another column, or none.",
        )
    parts = min(parts, len(sizes))
    order = np.argsort(hashed(record[first], seed), kind="stable")
    if len(sizes) > MANY_GROUPS:
        dealt = np.empty(len(sizes), dtype=np.intp)
        dealt[order] = np.arange(len(sizes)) % parts
        return dealt[place]
    classes = 1 if codes is None else int(codes.max()) + 1
    of_row = np.zeros(len(record), dtype=np.intp) if codes is None else codes.astype(np.intp)
    counts = np.zeros((len(sizes), classes))
    np.add.at(counts, (place, of_row), 1.0)
    # A class counts as much as any other, however many rows it has.
    counts /= np.maximum(counts.sum(axis=0), 1.0)
    loads = np.zeros((parts, classes))
    dealt = np.empty(len(sizes), dtype=np.intp)
    for each in order[np.argsort(-sizes[order], kind="stable")]:
        dealt[each] = int((loads @ counts[each]).argmin()) if loads.any() else 0
        loads[dealt[each]] += counts[each]
    return dealt[place]


def _apart(split: Split, group: NDArray[np.int64] | None) -> Split:
    """Return the split without the rows to train on whose group is on the other side."""
    if group is None:
        return split
    training = split.training[~np.isin(group[split.training], group[split.validation])]
    if not len(training):
        raise BadInput(
            "Every group has rows among the latest, so none is left to learn from",
            code="groups-too-few",
            where="spec fields 'group_column' and 'time_column'",
            remedy="Leave one of the two out.",
        )
    return Split(training, split.validation)


def _classes(order: Rows, codes: NDArray[np.int32]) -> list[Rows]:
    by_class = order[np.argsort(codes[order], kind="stable")]
    starts = np.flatnonzero(np.diff(codes[by_class])) + 1
    return np.split(by_class, starts)


def _by_class(order: Rows, codes: NDArray[np.int32] | None) -> Rows:
    """Return ``order`` sorted by class, without the classes that have one row.

    Taking every k-th position of it stratifies to within one row a class, and takes at most one row of
    a class that has fewer than k.
    """
    if codes is None:
        return order
    several = [of_class for of_class in _classes(order, codes) if len(of_class) > 1]
    return np.concatenate(several) if several else order[:0]


def _by_time(record: NDArray[np.int64], time: NDArray[np.float64]) -> Rows:
    return np.lexsort((record, np.where(np.isnan(time), -np.inf, time)))


def _latest(record: NDArray[np.int64], time: NDArray[np.float64], held: int) -> Split:
    order = _by_time(record, time)
    ordered = np.where(np.isnan(time), -np.inf, time)[order]
    cut = len(order) - held
    # Rows of one instant stay together unless that would leave a side (almost) empty.
    start = int(np.searchsorted(ordered, ordered[cut], side="left"))
    if start >= len(order) // 2:
        cut = start
    return _split(len(record), order[cut:])


def _split(n: int, validation: Rows) -> Split:
    mask = np.zeros(n, dtype=bool)
    mask[validation] = True
    return Split(np.flatnonzero(~mask), np.flatnonzero(mask))
