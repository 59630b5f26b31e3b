"""Explanations of the rows of a request, with ``"explain": true``: exact Shapley values by field."""

from __future__ import annotations

from millrace.scoring.explain import Explainer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from millrace.plan import Plan

__all__ = ["SCALES", "explanations"]

SCALES = {
    "identity": "prediction",
    "exp": "logarithm of the prediction",
    "expm1": "logarithm of 1 + the prediction",
    "square": "square root of the prediction",
    "probabilities": "probability",
    "pair": "probability",
    "normalize": "probability before all are made to add up to 1",
    "shares": "probability before all are made to add up to 1",
    "logistic": "log-odds",
    "one-vs-rest": "log-odds against the rest",
    "softmax": "score before the softmax",
    "posterior": "logarithm of the joint likelihood",
    "huber": "score",
    "huber-one-vs-rest": "score",
}
"""What base and contributions add up to, by the link of the estimator."""


def explanations(
    plan: Plan, rows: Sequence[Sequence[Any]], predictions: Sequence[Any], look: Callable[[int], object]
) -> dict[str, Any]:
    """Explain rows.

    Parameters
    ----------
    plan : Plan
        What scored them.
    rows : sequence
        Converted values, as ``plan.signature.convert_row`` returns them.
    predictions : sequence
        What was predicted; a row without a finite result is not explained.
    look : callable
        Called with the number of each row; raises when the time is up.

    Returns
    -------
    dict
        ``scale``, and ``rows``: for each ``class`` (the second of two classes, of more the predicted one;
        null for regression), ``base`` and ``contributions`` by field; or null.

    Raises
    ------
    Unprocessable
        ``explanation-unavailable``: no weighted sum and no trees, or the plan lacks what is needed.
    """
    explainer, classes = Explainer(plan), plan.classes
    explained: list[dict[str, Any] | None] = []
    for number, (values, prediction) in enumerate(zip(rows, predictions, strict=True)):
        look(number)
        if prediction is None:
            explained.append(None)
            continue
        about = None if not classes else classes[-1] if explainer.outputs == 1 else prediction
        output = 0 if explainer.outputs == 1 else classes.index(about)
        base, contributions = explainer.explain(values, output)
        explained.append({"class": about, "base": base, "contributions": contributions})
    return {"scale": SCALES[plan.header["estimator"]["link"]], "rows": explained}
