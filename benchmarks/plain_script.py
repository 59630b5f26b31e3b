"""The peer of ``demo_wall``: what one would write in an afternoon, with the same four kinds of candidate.

``python benchmarks/plain_script.py examples/penguins``: read the CSV file, hold out a fifth, cross-validate
linear model, boosted trees, forest and extra trees in five folds with scikit-learn's defaults, fit the best,
measure it, write it with joblib, read it back and predict one row. The last line is one JSON object.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import get_scorer
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def main(example: Path) -> None:
    """Learn one table and print the seconds of each step."""
    began = time.perf_counter()
    marks: list[tuple[str, float]] = []
    spec = json.loads((example / "spec.json").read_text())
    table = pd.read_csv(example / f"{example.name}.csv").drop(columns=spec.get("exclude", []))
    target = table.pop(spec["target"])
    marks.append(("read", time.perf_counter()))

    regression = pd.api.types.is_numeric_dtype(target)
    metric = "neg_root_mean_squared_error" if regression else "neg_log_loss"
    numbers = table.select_dtypes("number").columns
    words = table.columns.difference(numbers)
    features = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", max_categories=50, sparse_output=False), words),
    )
    kinds: dict[str, Any] = {
        "linear": Ridge() if regression else LogisticRegression(max_iter=1000),
        "boosted_trees": HistGradientBoostingRegressor() if regression else HistGradientBoostingClassifier(),
        "forest": RandomForestRegressor() if regression else RandomForestClassifier(),
        "extra_trees": ExtraTreesRegressor() if regression else ExtraTreesClassifier(),
    }
    train, held, y_train, y_held = train_test_split(
        table, target, test_size=0.2, random_state=0, stratify=None if regression else target
    )
    scores = {
        name: cross_val_score(
            make_pipeline(features, kind), train, y_train, scoring=metric, cv=5, n_jobs=2
        ).mean()
        for name, kind in kinds.items()
    }
    marks.append(("train", time.perf_counter()))

    best = max(scores, key=lambda name: scores[name])
    model = make_pipeline(features, kinds[best]).fit(train, y_train)
    score = -get_scorer(metric)(model, held, y_held)
    marks.append(("select", time.perf_counter()))

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.joblib"
        joblib.dump(model, file)
        joblib.load(file).predict(held.head(1))
    marks.append(("predict", time.perf_counter()))

    starts = [began, *(moment for _, moment in marks)]
    stages = {name: round(end - start, 3) for (name, end), start in zip(marks, starts, strict=False)}
    print(
        json.dumps(
            {"stages_s": stages, "chosen": best, "metric": metric.removeprefix("neg_"), "score": score}
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
