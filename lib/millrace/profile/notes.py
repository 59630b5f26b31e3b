"""What a user should look at in a file, from its profile and schema alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from millrace.contracts import Column
from millrace.profile.statistics import ColumnProfile

__all__ = ["MOSTLY_MISSING", "RARE_SHARE", "duplicates", "imbalance", "mostly_missing"]

MOSTLY_MISSING = 0.5
"""Share of a feature's rows without a value from which it is told."""

RARE_SHARE = 0.05
"""Share of the rows below which the rarest class is told."""


def duplicates(profiles: Iterable[ColumnProfile], columns: Iterable[Column]) -> list[list[str]]:
    """Return the features that hold the same in every record, each group in file order.

    Equal fingerprints of 64 bits are taken for equal columns: with 10,000 columns, two that differ have the
    same by a chance of 3 in 10**12.
    """
    groups: dict[tuple[int, int], list[str]] = {}
    for profile, column in zip(profiles, columns, strict=True):
        if column.role == "feature":
            groups.setdefault((profile.fingerprint, profile.missing), []).append(column.name)
    return [names for names in groups.values() if len(names) > 1]


def mostly_missing(columns: Iterable[Column], rows: int) -> list[tuple[str, float]]:
    """Return the features of which more than ``MOSTLY_MISSING`` is missing, with the share that is."""
    shares = ((column.name, column.missing / rows) for column in columns if column.role == "feature")
    return [(name, share) for name, share in shares if share > MOSTLY_MISSING]


def imbalance(counts: dict[str, int], classes: Sequence[str], usable: int) -> tuple[str, float] | None:
    """Return the rarest class and its share of the rows when that is below ``RARE_SHARE``."""
    rarest = min(classes, key=lambda name: counts[name])
    share = counts[rarest] / usable
    return (rarest, share) if share < RARE_SHARE else None
