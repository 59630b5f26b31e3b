"""Interleaved repeats, medians and tables: what the benchmarks share of measuring.

Everything is measured in turns (all cases once, then all again), so that whatever else the machine does
falls on every case alike; what is compared are ratios of medians.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

__all__ = ["Table", "interleaved", "median", "percentile", "ratio", "spread"]

T = TypeVar("T")


def interleaved(cases: Mapping[str, tuple[int, Callable[[], T]]]) -> dict[str, list[T]]:
    """Run every case in turns until each has had its repeats.

    Parameters
    ----------
    cases : mapping of str to (int, callable)
        Repeats and what to run. A case with fewer repeats than another takes its turns evenly among them.
    """
    most = max(repeats for repeats, _ in cases.values())
    found: dict[str, list[T]] = {name: [] for name in cases}
    for turn in range(most):
        for name, (repeats, run) in cases.items():
            if (turn + 1) * repeats // most > turn * repeats // most:
                found[name].append(run())
    return found


def median(values: Iterable[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def spread(values: Sequence[float]) -> float:
    """Return half the distance of the quartiles as a share of the median: how far repeats stray."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / statistics.median(values)


def ratio(ours: Iterable[float], peer: Iterable[float]) -> float:
    """Return the ratio of the medians, ours divided by the peer's, to four digits."""
    return float(f"{median(ours) / median(peer):.4g}")


class Table:
    """Lines of text and numbers, printed in columns on standard error.

    Parameters
    ----------
    *head : str
        Names of the columns; the first is set to the left.
    """

    def __init__(self, *head: str) -> None:
        self._lines: list[tuple[str, ...]] = [head]

    def add(self, *cells: Any) -> None:
        """Add a line; numbers are shown to three digits."""
        self._lines.append(tuple(_shown(cell) for cell in cells))

    def print(self, title: str) -> None:
        """Print all lines under a title."""
        widths = [max(len(cell) for cell in column) for column in zip(*self._lines, strict=True)]
        print(f"\n{title}", file=sys.stderr)
        for first, *others in self._lines:
            cells = [first.ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
            print("  ".join(cells), file=sys.stderr)


def _shown(cell: Any) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.3g}" if abs(cell) < 1000 else f"{cell:,.0f}"
    return str(cell)
