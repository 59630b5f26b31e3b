"""Suspects: columns that seem to give the target away, held out of training unless the spec keeps them.

Whoever trains decides it for himself from the same rows, so that nothing has to be handed on: the rows are a
sample by the hashes of the record numbers, the same in every function of a run and however the file was cut.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from millrace.contracts import Schema
from millrace.profile.decide import listed, short
from millrace.training.pairs import Goal, aftermath, alone, parts_of
from millrace.training.splits import shuffled

if TYPE_CHECKING:
    from millrace.features.blocks import Table

__all__ = ["SAMPLE_ROWS", "Suspicion", "sample_rows", "suspect", "target_of"]

SAMPLE_ROWS = 20_000
SAMPLE_CELLS = 10_000_000
"""Most values that are looked at; of a table with more columns fewer rows, down to ``WIDE_ROWS``."""
WIDE_ROWS = 1_000

LEAK_ROWS = 100
"""Fewest rows on which a column may be suspected."""
LEAK_CLASSES = 0.9
LEAK_NUMBERS = 0.97
"""Share of the target that a column predicts alone, from which it is suspected; see ``pairs.alone``."""
AFTERMATH_SHARE = 0.1
AFTERMATH_TIMES = 3.0
"""Most rows in which such a column is not as usual, and how many times as often the target then is not."""


@dataclass(frozen=True)
class Suspicion:
    """What training makes of the columns that seem to give the target away.

    Attributes
    ----------
    schema : Schema
        The schema to train under: suspects have that role, and the reason.
    why : mapping of str to str
        For each column that is suspected, those that are kept included, why.
    alone : mapping of str to (float or None)
        Share of the target that a column predicts alone; see :func:`millrace.training.pairs.alone`.
    notes : tuple of str
        What the run is to say of it.
    """

    schema: Schema
    why: Mapping[str, str]
    alone: Mapping[str, float | None]
    notes: tuple[str, ...]


def sample_rows(table: Table, seed: int) -> NDArray[np.intp]:
    """Return the rows of ``table`` whose record numbers have the smallest hashes."""
    most = max(WIDE_ROWS, min(SAMPLE_ROWS, SAMPLE_CELLS // max(1, len(table.columns))))
    return shuffled(table.record, seed)[:most]


def target_of(table: Table, schema: Schema, rows: NDArray[np.intp]) -> Goal:
    """Return the target of some rows."""
    return Goal(table.target[rows], len(schema.classes))


def suspect(table: Table, schema: Schema, *, keep: Collection[str] = (), seed: int) -> Suspicion:
    """Hold the columns out of training that seem to give the target away.

    Parameters
    ----------
    table : Table
        The kept rows; or of very many those with the smallest hashes, and perhaps others.
    schema : Schema
        What the whole file decided.
    keep : collection of str
        Columns that stay, suspected or not. When no other feature would be left, all of them stay.
    seed : int
        The run's seed, by which ``table`` was drawn.
    """
    rows = sample_rows(table, seed)
    goal = target_of(table, schema, rows)
    sample = {column.name: table.columns[column.name][rows] for column in schema.features}
    shares = {c.name: alone(sample[c.name], c.type, goal) for c in schema.features}
    why = _suspects(schema, shares, sample, goal)
    held = {name: reason for name, reason in why.items() if name not in keep}
    if len(held) == len(schema.features):
        held = {}
    columns = tuple(
        replace(c, role="suspect", reason=f"it may give the target away: {held[c.name]}")
        if c.name in held
        else c
        for c in schema.columns
    )
    kept = [name for name in why if name not in held]
    return Suspicion(replace(schema, columns=columns), why, shares, _notes(why, held, kept, keep))


def _notes(
    why: Mapping[str, str], held: Collection[str], kept: Collection[str], keep: Collection[str]
) -> tuple[str, ...]:
    def told(names: Collection[str]) -> str:
        return listed([f"{short(name)} ({why[name]})" for name in names])

    notes = []
    if held:
        notes.append(
            f"These columns may give the target away and are held out of training: {told(held)}. If they are "
            "known before the target is, keep them: 'keep' in spec.json."
        )
    if kept and set(kept) <= set(keep):
        notes.append(f"These columns may give the target away, and the spec keeps them: {told(kept)}.")
    elif kept:
        notes.append(
            f"These columns may give the target away: {told(kept)}. They stay, because no other column is "
            "left to learn from. If they are not known before the target is, the model is of no use."
        )
    return tuple(notes)


def _suspects(
    schema: Schema, alone: Mapping[str, float | None], sample: Mapping[str, NDArray[Any]], goal: Goal
) -> dict[str, str]:
    """Return the columns that may give the target away, and why."""
    if len(goal.values) < LEAK_ROWS:
        return {}
    suspects: dict[str, str] = {}
    most = LEAK_CLASSES if goal.classes else LEAK_NUMBERS
    for name, share in alone.items():
        if share is None:
            continue
        if share >= most:
            suspects[name] = f"it alone predicts {share:.0%} of the target"
            continue
        seen = aftermath(sample[name], goal, most=AFTERMATH_SHARE, times=AFTERMATH_TIMES)
        if seen is not None:
            suspects[name] = (
                f"in {seen.rows} of {len(goal.values)} rows it is not what it usually is, and in "
                f"{seen.unusual} of them neither is the target"
            )
    if not goal.classes:
        numbers = {c.name: sample[c.name] for c in schema.features if c.type in ("number", "boolean")}
        parts = parts_of(goal.values, numbers)
        why = "the target is a multiple of it" if len(parts) == 1 else "together they add up to the target"
        suspects |= dict.fromkeys(parts, why)
    return suspects
