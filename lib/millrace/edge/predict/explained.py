"""Explanations of the rows of a request, with ``"explain": true``: Shapley values by field.

A model that :mod:`millrace.scoring.explain` covers has its raw output explained, from what training saw on
average; every other one the answer itself, from the typical row (:mod:`millrace.scoring.typical`).
"""

from __future__ import annotations

from millrace.errors import Unprocessable
from millrace.plan.signature import instant
from millrace.scoring.explain import Explainer
from millrace.scoring.typical import shapley, typical_row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from millrace.edge.predict.score import Scorer
    from millrace.plan import Plan

    Answers = Callable[[Sequence[list[Any]]], Sequence[float]]

__all__ = ["SCALES", "explanations"]

_ROWS_A_LOOK = 16
"""Rows that are answered one by one between two looks at the clock."""

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
    plan: Plan,
    scorer: Scorer,
    rows: Sequence[Sequence[Any]],
    predictions: Sequence[Any],
    look: Callable[[int], object],
) -> dict[str, Any]:
    """Explain rows.

    Parameters
    ----------
    plan, scorer : Plan, Scorer
        What scored them.
    rows : sequence
        Converted values, as ``plan.signature.convert_row`` returns them.
    predictions : sequence
        What was predicted; a row without a finite result is not explained.
    look : callable
        Called with the number of each row, and again while it takes long; raises when the time is up.

    Returns
    -------
    dict
        ``scale``; ``typical``, the typical row by field, where rows are compared with it; and ``rows``: for
        each ``class`` (the second of two classes, of more the predicted one; null for regression),
        ``method`` (``exact`` or ``sampled``), ``base``, ``contributions`` by field, and for sampled ones
        their ``standard_errors``; or null where there is no finite number.

    Raises
    ------
    Unprocessable
        ``explanation-unavailable``: the plan lacks what is needed.
    """
    explain: Callable[[int, Sequence[Any], str | None], dict[str, Any]]
    try:
        explain = _of_output(plan)
        told: dict[str, Any] = {"scale": SCALES[plan.header["estimator"]["link"]]}
    except Unprocessable:
        if plan.header.get("typical") is None:
            raise
        explain = _of_answer(plan, scorer, look)
        told = {"scale": "probability" if plan.classes else "prediction", "typical": _spelled(plan)}
    explained: list[dict[str, Any] | None] = []
    for number, (values, prediction) in enumerate(zip(rows, predictions, strict=True)):
        look(number)
        if prediction is None:
            explained.append(None)
            continue
        about = None if not plan.classes else plan.classes[-1] if len(plan.classes) == 2 else prediction
        found = explain(number, values, about)
        explained.append({"class": about, **found} if _is_finite(found) else None)
    return {**told, "rows": explained}


def _of_output(plan: Plan) -> Callable[[int, Sequence[Any], str | None], dict[str, Any]]:
    """Return what explains raw outputs."""
    explainer = Explainer(plan)

    def explain(number: int, values: Sequence[Any], about: str | None) -> dict[str, Any]:
        output = 0 if about is None or explainer.outputs == 1 else plan.classes.index(about)
        base, contributions = explainer.explain(values, output)
        return {"method": "exact", "base": base, "contributions": contributions}

    return explain


def _of_answer(
    plan: Plan, scorer: Scorer, look: Callable[[int], object]
) -> Callable[[int, Sequence[Any], str | None], dict[str, Any]]:
    """Return what explains answers, against the typical row."""
    typical = typical_row(plan)
    names = [field["name"] for field in plan.signature.fields]
    kernel = scorer.kernel()

    def answers_of(number: int, output: int) -> Answers:
        def in_block(rows: Sequence[list[Any]]) -> Sequence[float]:
            look(number)
            columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
            return kernel.score(columns, len(rows))[output :: kernel.width]  # type: ignore[union-attr]

        def one_by_one(rows: Sequence[list[Any]]) -> Sequence[float]:
            found = []
            for done, row in enumerate(rows):
                if done % _ROWS_A_LOOK == 0:
                    look(number)
                prediction, shares = scorer.score(row)
                found.append(prediction if shares is None else shares[output])
            return found

        return one_by_one if kernel is None else in_block

    def explain(number: int, values: Sequence[Any], about: str | None) -> dict[str, Any]:
        output = 0 if about is None else plan.classes.index(about)
        found = shapley(values, typical, answers_of(number, output))
        told = {
            "method": "exact" if found.errors is None else "sampled",
            "base": found.base,
            "contributions": dict(zip(names, found.contributions, strict=True)),
        }
        if found.errors is not None:
            told["standard_errors"] = dict(zip(names, found.errors, strict=True))
        return told

    return explain


def _is_finite(found: Mapping[str, Any]) -> bool:
    """Return whether JSON can say all numbers of an explanation."""
    errors = found.get("standard_errors", {})
    total = found["base"] + sum(found["contributions"].values()) + sum(errors.values())
    return bool(total - total == 0.0)


def _spelled(plan: Plan) -> dict[str, Any]:
    """Return the typical row as a request may have it."""
    spelled: dict[str, Any] = {}
    for field, value in zip(plan.signature.fields, plan.header["typical"], strict=True):
        if value is not None and field["type"] == "time":
            value = instant(value)
        elif value is not None and field["type"] == "boolean":
            value = bool(value)
        spelled[field["name"]] = value
    return spelled
