"""The gate: may a new version take the place of the one that answers now?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from millrace.contracts import LOWER_IS_BETTER
from millrace.registry.versions import Version

__all__ = ["Verdict", "judge"]


@dataclass(frozen=True)
class Verdict:
    """Whether to promote, and why, as a sentence."""

    promote: bool
    reason: str


def judge(challenger: Version, live: Version | None) -> Verdict:
    """Compare the recorded hold-out metrics of a new version with those of the live one.

    The challenger's metric decides. It is promoted when there is nothing live, and when it is not worse
    than the live version; a tie goes to the challenger, which has seen newer data. It is held when the
    two predict different things, because those who call the live version rely on what it predicts.
    """
    if live is None:
        return Verdict(True, f"Promoted: it is the first version of {challenger.model!r}.")
    for what, new, old in (
        ("target", challenger.target, live.target),
        ("task", challenger.task, live.task),
    ):
        if new != old:
            return Verdict(
                False,
                f"Held: the {what} is {new!r} and that of live version {live.version} is {old!r}. "
                "Promote it by hand if callers expect that.",
            )
    metric = challenger.metric
    new_score = challenger.metrics.get(metric, math.nan)
    old_score = live.metrics.get(metric, math.nan)
    if not math.isfinite(new_score):
        return Verdict(False, f"Held: version {challenger.version} has no hold-out {metric}.")
    if not math.isfinite(old_score):
        return Verdict(
            True, f"Promoted: live version {live.version} has no hold-out {metric} to compare with."
        )
    better = "lower" if metric in LOWER_IS_BETTER else "higher"
    ahead = new_score <= old_score if better == "lower" else new_score >= old_score
    scores = (
        f"hold-out {metric} is {new_score:.6g} against {old_score:.6g} of live version {live.version} "
        f"({better} is better)."
    )
    return Verdict(ahead, f"{'Promoted' if ahead else 'Held'}: {scores}")
