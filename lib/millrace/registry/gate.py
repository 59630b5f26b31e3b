"""The gate: may a new version take the place of the one that answers now?

It holds back what would be worse for those who call the model, one question after the other: does it fit
into ``predict`` and answer fast enough; would it refuse what they send today; is it worse on the same rows,
overall or for a part of them? What it cannot tell apart it promotes, for the new version has seen newer data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from millrace.contracts import LOWER_IS_BETTER
from millrace.registry.changes import Change
from millrace.registry.versions import Version

if TYPE_CHECKING:
    from millrace.registry.trial import Footprint, Slice, Trial

__all__ = ["Limits", "Verdict", "judge"]

EQUAL = 0.01
"""Share of what the champion is better by than a guess, below which a loss does not count."""
MOST_RISKED = 0.1
"""The same share, above which even a loss that may be chance is too much."""
SLICE_LOSS = 1.1
"""A slice is worse when its mean loss has grown by this factor, beyond chance."""


@dataclass(frozen=True)
class Verdict:
    """Whether to promote, and why, as a sentence."""

    promote: bool
    reason: str


@dataclass(frozen=True)
class Limits:
    """What answering may take.

    Attributes
    ----------
    row_ms : float
        Milliseconds of one row.
    memory_bytes : int
        Of ``predict``, for models.
    """

    row_ms: float
    memory_bytes: int


def judge(
    challenger: Version,
    live: Version | None,
    *,
    changes: Sequence[Change] = (),
    allow_changes: bool = False,
    footprint: Footprint | None = None,
    limits: Limits | None = None,
    trial: Trial | None = None,
) -> Verdict:
    """Decide about a new version.

    Parameters
    ----------
    challenger, live : Version
        The new one, and the one that is live; ``None`` before the first.
    changes : sequence of Change
        From the live version's fields to the new one's.
    allow_changes : bool
        Whether the spec lets a version go live that refuses what the live one takes.
    footprint, limits
        What answering takes, and what it may.
    trial : Trial, optional
        Both on the same rows; without it, the recorded scores of each on its own rows decide, and a tie goes
        to the challenger.
    """
    over = _over(footprint, limits)
    if over:
        return Verdict(False, f"Held: {over}")
    if live is None:
        return Verdict(True, f"Promoted: it is the first version of {challenger.model!r}.")
    rejecting = [change.says for change in changes if change.rejects]
    if rejecting and not allow_changes:
        return Verdict(
            False,
            f"Held: requests that live version {live.version} answers would be refused or answered by a "
            f"guess. {' '.join(rejecting)} Promote it by hand, or allow it in spec.json, by "
            "allow_schema_change.",
        )
    if (challenger.target, challenger.task) != (live.target, live.task):
        if allow_changes:
            return Verdict(True, f"Promoted: the spec allows that it predicts something else. {rejecting[0]}")
        return Verdict(
            False,
            f"Held: it predicts {challenger.target!r}, {challenger.task!r}, and live version {live.version} "
            f"{live.target!r}, {live.task!r}. Promote it by hand if callers expect that.",
        )
    return _by_trial(challenger, live, trial) if trial else _by_record(challenger, live)


def _over(footprint: Footprint | None, limits: Limits | None) -> str:
    if footprint is None or limits is None:
        return ""
    if footprint.memory_bytes > limits.memory_bytes:
        return (
            f"it would take {footprint.memory_bytes / 2**20:,.0f} MiB of predict's memory, where models have "
            f"{limits.memory_bytes / 2**20:,.0f}. Raise the stack's PredictMemory, or use a smaller budget."
        )
    if footprint.row_ms > limits.row_ms:
        return (
            f"a row takes {footprint.row_ms:.3g} ms, where {limits.row_ms:.3g} are allowed. Raise "
            "max_latency_ms in spec.json, or use a smaller budget."
        )
    return ""


def _by_trial(challenger: Version, live: Version, trial: Trial) -> Verdict:
    naive = challenger.baseline.get(trial.metric)
    lead = abs(trial.old - naive) if naive is not None else abs(trial.old)
    facts = (
        f"on the same {trial.rows:,} held-out rows, of which neither was trained on any, {trial.metric} is "
        f"{trial.new:.4g} against {trial.old:.4g} of live version {live.version} ({_better(trial.metric)} is "
        f"better; a gain of {trial.gain:+.3g}, 90 % interval {trial.low:+.3g} to {trial.high:+.3g})"
    )
    if trial.gain < -EQUAL * lead and trial.high < 0.0:
        return Verdict(False, f"Held: it is worse {facts}.")
    if trial.gain < -MOST_RISKED * lead:
        return Verdict(
            False,
            f"Held: it seems worse {facts}. That may be chance, but is more than a tenth of what version "
            f"{live.version} is better by than a guess. More held-out rows would tell.",
        )
    worse = [one for one in trial.slices if one.worse and one.new_loss > SLICE_LOSS * one.old_loss]
    if worse:
        most = max(worse, key=lambda one: one.new_loss / max(one.old_loss, 1e-300))
        return Verdict(False, f"Held: {_slice(most)} Over all rows it is no worse: {facts}.")
    if trial.low > 0.0:
        return Verdict(True, f"Promoted: it is better {facts}.")
    return Verdict(True, f"Promoted: it is not worse {facts}.")


def _slice(part: Slice) -> str:
    return (
        f"where {part.column} is {part.value!r} ({part.rows:,} rows), the mean loss is {part.new_loss:.3g} "
        f"and was {part.old_loss:.3g}, beyond chance."
    )


def _by_record(challenger: Version, live: Version) -> Verdict:
    metric = challenger.metric
    new_score = challenger.metrics.get(metric, math.nan)
    old_score = live.metrics.get(metric, math.nan)
    if not math.isfinite(new_score):
        return Verdict(False, f"Held: version {challenger.version} has no hold-out {metric}.")
    if not math.isfinite(old_score):
        return Verdict(
            True, f"Promoted: live version {live.version} has no hold-out {metric} to compare with."
        )
    ahead = new_score <= old_score if metric in LOWER_IS_BETTER else new_score >= old_score
    return Verdict(
        ahead,
        f"{'Promoted' if ahead else 'Held'}: hold-out {metric} is {new_score:.6g} against {old_score:.6g} of "
        f"live version {live.version} ({_better(metric)} is better), each on rows of its own, for there are "
        "too few that both can be tested on.",
    )


def _better(metric: str) -> str:
    return "lower" if metric in LOWER_IS_BETTER else "higher"
