"""From a fitted scikit-learn pipeline to a scoring plan, with a certificate that the two agree.

``compile`` looks into the fitted objects and refuses by name what it does not cover; ``parity`` compares plan
and pipeline row by row; ``certified`` does both and writes the outcome into the plan.
"""

from __future__ import annotations

from millrace.compiler.certificate import LIMIT, Parity, answers, certified, compile, parity

__all__ = ["LIMIT", "Parity", "answers", "certified", "compile", "parity"]
