"""Small scoring plans by hand, whose answers can be computed on paper."""

from __future__ import annotations

import math
from array import array
from typing import Any

from millrace import plan

SIGNATURE: list[dict[str, Any]] = [
    {"name": "age", "type": "number", "minimum": -10.0, "maximum": 99.0},
    {"name": "city", "type": "category", "categories": ["Bern", "Köln"]},
]


def binary(
    model: str = "demo",
    *,
    intercept: float = 0.0,
    classes: tuple[str, str] = ("no", "yes"),
    background: list[float] | None = None,
    typical: list[Any] | None = None,
) -> bytes:
    """P(second class) = logistic(intercept + age / 10 + 1 for Köln - 1 for Bern); a missing age is 0.

    ``background``: means of age, Bern and Köln; ``typical``: age and city of the typical row.
    """
    return _linear(
        *(model, "binary", list(classes), "logistic", intercept), background=background, typical=typical
    )


def regression(
    model: str = "price", *, intercept: float = 0.0, interval: dict[str, float] | None = None
) -> bytes:
    """Predict intercept + age / 10 + 1 for Köln - 1 for Bern; a missing age is 0."""
    return _linear(model, "regression", [], "identity", intercept, interval)


def numbers(model: str, coef: list[float]) -> bytes:
    """Predict the sum of fields ``x0``, ``x1``, … times ``coef``; a missing one is 0."""
    header = {
        "model": model,
        "task": "regression",
        "classes": [],
        "signature": [{"name": f"x{i}", "type": "number"} for i in range(len(coef))],
        "ignored": [],
        "features": [{"kind": "impute", "fill": [0.0] * len(coef), "missing": "nan", "indicators": []}],
        "estimator": {"kind": "linear", "coef": 0, "intercept": 1, "link": "identity"},
    }
    return plan.write(header, [array("d", coef), array("d", [0.0])])


def trees(model: str = "trees") -> bytes:
    """Predict 1.5 up to an age of 40, else 4; a missing age is older."""
    header: dict[str, Any] = {
        **{"model": model, "task": "regression", "classes": [], "ignored": [], "features": []},
        "signature": SIGNATURE[:1],
        "estimator": {
            **{"kind": "trees", "roots": 0, "feature": 1, "skip": 2, "number": 3, "outputs": 1},
            **{"values": None, "baseline": None, "masks": None, "mean": False, "single": False},
            "link": "identity",
        },
    }
    arrays = [array("i", [0]), array("B", [0, 0, 0]), array("B", [2, 0, 0]), array("d", [40.0, 1.5, 4.0])]
    return plan.write(header, arrays)


def logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def _linear(
    model: str,
    task: str,
    classes: list[str],
    link: str,
    intercept: float,
    interval: dict[str, float] | None = None,
    background: list[float] | None = None,
    typical: list[Any] | None = None,
) -> bytes:
    header: dict[str, Any] = {
        "model": model,
        "task": task,
        "classes": classes,
        "signature": SIGNATURE,
        "ignored": ["id", "target"],
        "features": [
            {
                "kind": "columns",
                "branches": [
                    {
                        "inputs": [0],
                        "steps": [{"kind": "impute", "fill": [0.0], "missing": "nan", "indicators": []}],
                    },
                    {
                        "inputs": [1],
                        "steps": [
                            {
                                "kind": "one-hot",
                                "categories": [["Bern", "Köln"]],
                                "codes": [None],
                                "widths": [2],
                                "unknown": [-1],
                            }
                        ],
                    },
                ],
            }
        ],
        "estimator": {"kind": "linear", "coef": 0, "intercept": 1, "link": link},
        "interval": interval,
        "typical": typical,
    }
    arrays = [array("d", [0.1, -1.0, 1.0]), array("d", [intercept])]
    if background is not None:
        header["estimator"]["background"] = len(arrays)
        arrays.append(array("d", background))
    return plan.write(header, arrays)
