"""Neural networks.

``mlp``
    ``layers``: each with ``coef`` (outputs x inputs) and ``intercept``, the inputs of one being the outputs
    of the one before; ``activation``, of all outputs but the last layer's: ``identity``, ``logistic``,
    ``tanh`` or ``relu``.
"""

from __future__ import annotations

from millrace.plan.kinds import MAX_WIDTH, array, fits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]


def _mlp(spec: dict[str, Any], width: int, arrays: Sequence[memoryview]) -> int:
    fits(spec["activation"] in ("identity", "logistic", "tanh", "relu"), "mlp.activation")
    fits(len(spec["layers"]) > 0, "mlp.layers")
    for layer in spec["layers"]:
        intercept = array(arrays, layer["intercept"], "d", -1, "mlp.intercept")
        fits(0 < len(intercept) <= MAX_WIDTH, "mlp.intercept")
        array(arrays, layer["coef"], "d", len(intercept) * width, "mlp.coef")
        width = len(intercept)
    return width


KINDS = {"mlp": _mlp}
