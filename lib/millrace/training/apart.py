"""Apart: the members of the chosen ensemble, fitted to all rows side by side and not one after the other.

``select`` names them, the state machine has ``train`` fit each in an invocation of its own, and ``select`` is
asked again and finds them fitted. A member is the same to the last bit wherever it was fitted; so it may be
decided from measured seconds, and one that failed there is fitted where all of them would have been.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from millrace.features.candidates import candidate
from millrace.features.search import Unit
from millrace.training.train import CandidateResult

__all__ = ["members_apart"]

WORTH_S = 8.0
"""Seconds that must be spared: two more functions start, and read the table, one after the other."""
KINDS = ("boosted", "forest", "extra_trees", "network")
"""Who is stored fitted; the others take less time than that."""


def members_apart(
    members: Iterable[str], results: Sequence[CandidateResult], *, first: int, limit_s: float
) -> tuple[Unit, ...]:
    """Return what is to be trained before ``select`` goes on; nothing where that would spare no time.

    Parameters
    ----------
    members : iterable of str
        Of the chosen ensemble.
    results : sequence of CandidateResult
        How long the fits of each took on the folds.
    first : int
        Number of the first unit.
    limit_s : float
        Seconds of an invocation: what does not fit into one is spread over several as well.
    """
    # A fold's fit sees all rows but a fold's.
    expected_s = {result.name: result.fit_seconds / max(1, result.folds - 1) for result in results}
    rounds = {result.name: result.rounds for result in results}
    able = [name for name in members if candidate(name).kind in KINDS]
    seconds = [expected_s[name] for name in able]
    spared_s = sum(seconds) - max(seconds, default=0.0)
    if len(able) < 2 or (spared_s < WORTH_S and sum(seconds) <= limit_s):
        return ()
    return tuple(Unit(first + i, (name,), (), whole=True, rounds=rounds[name]) for i, name in enumerate(able))
