"""Translates what becomes of raw outputs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from millrace.scoring.kernel.program import Flow, Program

__all__ = ["LINKS", "link"]


def _same(program: Program, raw: Flow) -> Flow:
    return raw


def _exp(program: Program, raw: Flow) -> Flow:
    return program.step("step_exp", raw, len(raw))


def _logistic(program: Program, raw: Flow) -> Flow:
    return program.step("step_logistic", raw, 2)


def _softmax(program: Program, raw: Flow) -> Flow:
    return program.step("step_softmax", raw, len(raw))


def _pair(program: Program, raw: Flow) -> Flow:
    return program.step("step_pair", raw, 2)


def _shares(program: Program, raw: Flow) -> Flow:
    return program.step("step_shares", raw, len(raw), i=0, j=0)


def _normalize(program: Program, raw: Flow) -> Flow:
    return program.step("step_shares", raw, len(raw), i=0, j=1)


def _one_vs_rest(program: Program, raw: Flow) -> Flow:
    return program.step("step_shares", raw, len(raw), i=1, j=1)


def link(program: Program, name: str, raw: Flow) -> Flow:
    """Translate a link; one that the kernel does not know runs row by row in Python."""
    raw = program.dense(raw)
    if name in LINKS:
        return LINKS[name](program, raw)
    from millrace.plan.kinds import PAIR_LINKS
    from millrace.scoring.rows.links import LINKS as IN_PYTHON

    python: Any = IN_PYTHON[name]
    return program.python(python, raw, 2 if name in PAIR_LINKS else len(raw))


LINKS: dict[str, Callable[[Program, Flow], Flow]] = {
    "identity": _same,
    "exp": _exp,
    "logistic": _logistic,
    "softmax": _softmax,
    "probabilities": _same,
    "pair": _pair,
    "shares": _shares,
    "normalize": _normalize,
    "one-vs-rest": _one_vs_rest,
}
