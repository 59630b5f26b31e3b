"""Translates naive Bayes."""

from __future__ import annotations

from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from millrace.scoring.kernel.program import Flow, Program

__all__ = ["KINDS"]


def _gaussian(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Gaussian naive Bayes."""
    moments, numbers = array("d"), array("d")
    for name, to in (("mean", moments), ("variance", moments), ("norm", numbers), ("prior", numbers)):
        to.extend(program.arrays[spec[name]])
    classes = len(numbers) // 2
    return program.step("step_gaussian", program.dense(flow), classes, p=moments, q=numbers, j=classes)


KINDS = {"gaussian": _gaussian}
