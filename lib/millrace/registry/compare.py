"""Two versions of a model side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millrace.contracts import LOWER_IS_BETTER, encode
from millrace.registry.changes import Change, changes, of_version
from millrace.registry.versions import Version

__all__ = ["Comparison", "MetricPair", "compare"]


@dataclass(frozen=True)
class MetricPair:
    """A metric of both, each on its own held-out rows; ``better`` is the version that has the better one."""

    version: float | None
    other: float | None
    better: int | None


@dataclass(frozen=True)
class Comparison:
    """What differs from ``other`` to ``version``.

    Attributes
    ----------
    model, version, other
        What is compared.
    metrics : mapping of str to MetricPair
        Metrics that either has.
    changes : tuple of Change
        Of the fields, the target and the classes.
    differences : mapping of str to (value of other, value of version)
        Of all else that made them: file, rows, spec, seed, code, libraries, candidate, size.
    """

    model: str
    version: int
    other: int
    metrics: Mapping[str, MetricPair]
    changes: tuple[Change, ...]
    differences: Mapping[str, tuple[Any, Any]]


def compare(version: Version, other: Version) -> Comparison:
    """Compare ``version`` with ``other``, the older one as a rule."""
    names = dict.fromkeys([*version.metrics, *other.metrics])
    before, after = _facts(other), _facts(version)
    return Comparison(
        version.model,
        version.version,
        other.version,
        {name: _pair(name, version, other) for name in names},
        changes(of_version(other), of_version(version)),
        {
            name: (before.get(name), after.get(name))
            for name in dict.fromkeys([*before, *after])
            if before.get(name) != after.get(name)
        },
    )


def _pair(name: str, version: Version, other: Version) -> MetricPair:
    new, old = version.metrics.get(name), other.metrics.get(name)
    better = None
    if new is not None and old is not None and new != old:
        better = version.version if (new < old) == (name in LOWER_IS_BETTER) else other.version
    return MetricPair(new, old, better)


def _facts(version: Version) -> dict[str, Any]:
    """Return what made a version, flat, in the order in which people ask."""
    made = version.lineage
    facts: dict[str, Any] = {}
    if made is not None:
        facts |= {"file": made.file, "file_version": made.file_version, "file_bytes": made.file_bytes}
        facts |= {"file_etag": made.file_etag, "schema_sha256": made.schema_sha256, "code": made.code}
        facts |= {"parts": [part["file"] for part in made.parts]} if made.parts else {}
        facts |= {f"updated.{name}": found for name, found in encode(made.updated or {}).items()}
        facts |= {f"spec.{name}": value for name, value in made.spec.items()}
    facts |= {f"rows.{name}": count for name, count in version.rows.items()}
    facts |= {"metric": version.metric, "chosen": version.chosen, "seed": version.seed}
    facts |= {"plan_bytes": version.plan_bytes, "plan_sha256": version.plan_sha256}
    return facts | {f"libraries.{name}": found for name, found in version.libraries.items()}
