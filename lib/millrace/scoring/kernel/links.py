"""Translates what becomes of raw outputs."""

from __future__ import annotations

from millrace.plan.kinds import FUNCTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.scoring.kernel.program import Flow, Program

__all__ = ["LINKS", "link"]


def _same(program: Program, raw: Flow) -> Flow:
    return raw


def _applied(name: str) -> Callable[[Program, Flow], Flow]:
    number = FUNCTIONS.index(name)
    return lambda program, raw: program.step("step_apply", raw, len(raw), i=number)


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


def _half(program: Program, raw: Flow) -> Flow:
    return program.step("step_half", raw, len(raw))


def _huber(program: Program, raw: Flow) -> Flow:
    return _pair(program, _half(program, raw))


def _huber_one_vs_rest(program: Program, raw: Flow) -> Flow:
    return _normalize(program, _half(program, raw))


def _posterior(program: Program, raw: Flow) -> Flow:
    return program.step("step_posterior", raw, len(raw))


def link(program: Program, name: str, raw: Flow) -> Flow:
    """Translate a link."""
    return LINKS[name](program, program.dense(raw))


LINKS: dict[str, Callable[[Program, Flow], Flow]] = {
    "identity": _same,
    "exp": _applied("exp"),
    "expm1": _applied("expm1"),
    "square": _applied("square"),
    "logistic": _logistic,
    "softmax": _softmax,
    "posterior": _posterior,
    "probabilities": _same,
    "pair": _pair,
    "shares": _shares,
    "normalize": _normalize,
    "one-vs-rest": _one_vs_rest,
    "huber": _huber,
    "huber-one-vs-rest": _huber_one_vs_rest,
}
