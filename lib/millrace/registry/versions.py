"""What the registry keeps: versions that never change, and aliases with their history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from millrace.contracts import Task

__all__ = ["HISTORY", "Alias", "Deletion", "Lineage", "Move", "Updated", "Version"]

HISTORY = 50
"""Moves that an alias remembers; ``predict`` reads the alias, so it stays small."""


@dataclass(frozen=True)
class Updated:
    """That a version learned further rows, in the place of a search."""

    version: int
    """That it was before."""
    rows: int
    """New rows that were learned."""
    updates: int
    """Since the last search, this one included."""
    searched: int
    """The version that the last search made."""


@dataclass(frozen=True)
class Lineage:
    """What a version was made of, beside its rows, its seed and its libraries: enough to make it again."""

    file: str
    """URI of the file that it was trained on."""
    file_version: str
    """The object's version id."""
    file_etag: str
    file_bytes: int
    spec: Mapping[str, Any]
    """What ``spec.json`` asked for, with the defaults."""
    schema_sha256: str
    """Of the ``schema.json`` beside the version: the type and role of every column."""
    code: str
    """Version of this package, and a digest of the modules that decide what a model is."""
    parts: tuple[Mapping[str, Any], ...] = ()
    """The files whose rows it was trained on, in their order, where the file was appended to others."""
    updated: Updated | None = None
    """Of a version that no search made."""


@dataclass(frozen=True)
class Version:
    """One registered model: written once, at ``models/<model>/versions/<version>/version.json``."""

    model: str
    version: int
    run_id: str
    created_at: str
    """UTC, ISO 8601 with milliseconds."""
    task: Task
    target: str
    metric: str
    """The metric that the gate compares."""
    plan_sha256: str
    plan_bytes: int
    classes: tuple[str, ...] = ()
    signature: tuple[Mapping[str, Any], ...] = ()
    """The fields that a row may have, as in the plan."""
    target_format: str = ""
    """How the training file spells the target, as a signature's field has it in ``format``."""
    chosen: str = ""
    """The candidate that won."""
    rows: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    """On the hold-out."""
    baseline: Mapping[str, float] = field(default_factory=dict)
    """The same for the naive prediction."""
    parity: Mapping[str, Any] = field(default_factory=dict)
    """How far the plan is from the pipeline that it was compiled from."""
    libraries: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    report: bool = False
    """Whether ``report.html`` lies beside it."""
    lineage: Lineage | None = None
    """Of a version that a run made; one from elsewhere has none."""


@dataclass(frozen=True)
class Move:
    """One decision about an alias: who, when, why. ``held`` leaves it where it is."""

    action: Literal["promoted", "held", "rolled-back"]
    version: int
    previous: int | None
    """What the alias named before."""
    at: str
    by: str
    why: str


@dataclass(frozen=True)
class Deletion:
    """That a version is deleted: its plan and report are gone, ``version.json`` stays."""

    version: int
    at: str
    by: str
    why: str


@dataclass(frozen=True)
class Alias:
    """A name for a version, moved by compare-and-swap."""

    model: str
    alias: str
    version: int
    history: tuple[Move, ...]
    """Newest first, at most :data:`HISTORY`; the oldest ``held`` are forgotten first."""

    def after(self, move: Move) -> Alias:
        """Return the alias as it is once ``move`` is made."""
        version = self.version if move.action == "held" else move.version
        return Alias(self.model, self.alias, version, _remembered((move, *self.history)))

    @property
    def rollback_target(self) -> int | None:
        """The version that was live before the present one was promoted; ``None`` if none is known.

        Each rollback undoes one promotion, so rolling back twice goes back two promotions, not there and
        back again, even where a version was promoted more than once.
        """
        undone = 0
        for move in self.history:
            if move.action == "rolled-back":
                undone += 1
            elif move.action == "promoted":
                if not undone:
                    return move.previous
                undone -= 1
        return None


def _remembered(history: tuple[Move, ...]) -> tuple[Move, ...]:
    """Return the history within its bound.

    A model that is held again and again must not forget by which move its live version came.
    """
    if len(history) <= HISTORY:
        return history
    held = [place for place, move in enumerate(history) if move.action == "held" and place]
    drop = held[-1] if held else len(history) - 1
    return history[:drop] + history[drop + 1 :]
