"""Translates what becomes of raw outputs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.scoring.kernel.program import Flow, Program

__all__ = ["LINKS"]


def _same(program: Program, raw: Flow) -> Flow:
    return raw


def _exp(program: Program, raw: Flow) -> Flow:
    return program.step("step_exp", raw)


def _logistic(program: Program, raw: Flow) -> Flow:
    return program.step("step_logistic", raw, 2)


def _softmax(program: Program, raw: Flow) -> Flow:
    return program.step("step_softmax", raw, len(raw))


LINKS: dict[str, Callable[[Program, Flow], Flow]] = {
    "identity": _same,
    "exp": _exp,
    "logistic": _logistic,
    "softmax": _softmax,
    "probabilities": _same,
}
