"""Prints what ``shap`` says of the models of ``tests.explained``; runs in the environment of ``shap``."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import shap

from tests.explained import MODELS, ROWS, fitted


def explain(name: str) -> dict[str, Any]:
    estimator, frame, _ = fitted(name)
    output = MODELS[name][2]
    if hasattr(estimator, "coef_"):
        everything = shap.maskers.Independent(frame, max_samples=len(frame))
        explainer = shap.LinearExplainer(estimator, everything)
    else:
        explainer = shap.TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
    values = np.asarray(explainer.shap_values(frame.iloc[:ROWS]))
    bases = np.ravel(explainer.expected_value)
    if values.ndim == 3:
        values = values[:, :, output]
    base = bases[output] if len(bases) > 1 else bases[0]
    return {"base": float(base), "values": values.tolist()}


if __name__ == "__main__":
    print(json.dumps({name: explain(name) for name in MODELS}))
