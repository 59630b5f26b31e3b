"""Train FLAML on a table: ``quality.py DATA TABLE CPU_S``, in the peers' environment.

FLAML gets what the manifest knows and we do not: identifiers and leaks are taken out for it. Its budget is in
processor time of this process, not in time on the wall, so that a busy machine takes nothing from it:
``time.time``, by which it measures, is made to count that. One thread, as we use.

The last line is one JSON object: ``score`` on the test file by the manifest's metric, ``cpu_s`` (training
alone), and the ``estimator`` that it chose.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
_BEGAN = time.time()
time.time = lambda: _BEGAN + time.process_time()  # type: ignore[assignment]

METRICS = {
    "roc_auc": "roc_auc",
    "accuracy": "accuracy",
    "macro_f1": "macro_f1",
    "log_loss": "log_loss",
    "r2": "r2",
}


def main(data: Path, name: str, cpu_s: float) -> None:
    """Train, score, print."""
    import numpy as np
    import pandas as pd
    from flaml import AutoML
    from sklearn import metrics

    entries = json.loads((data / "manifest.json").read_text("utf-8"))["datasets"]
    entry = next(entry for entry in entries if entry["name"] == name)
    target, metric = entry["target"], entry["primary_metric"]

    def read(side: str) -> pd.DataFrame:
        # Only the empty field is missing.
        path = data / "ml" / name / entry["files"][side]
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
        frame = frame.drop(columns=[*entry["id_columns"], *entry["leak_columns"]])
        frame = frame[frame[target].notna()].reset_index(drop=True)
        for column in frame.columns:
            if not (
                pd.api.types.is_numeric_dtype(frame[column]) or pd.api.types.is_bool_dtype(frame[column])
            ):
                frame[column] = frame[column].astype(object)
        return frame

    training, test = read("train"), read("test")
    classify = entry["task"] != "regression"
    truth = test.pop(target)
    labels = training.pop(target)
    if classify:
        truth, labels = truth.astype(str), labels.astype(str)
    model = AutoML()
    began = time.process_time()
    model.fit(
        X_train=training,
        y_train=labels.to_numpy(),
        task="classification" if classify else "regression",
        metric=METRICS[metric],
        time_budget=cpu_s,
        n_jobs=1,
        seed=0,
        verbose=0,
    )
    spent = time.process_time() - began
    if metric == "r2":
        score = metrics.r2_score(truth, model.predict(test))
    elif metric in ("roc_auc", "log_loss"):
        shares, classes = model.predict_proba(test), [str(label) for label in model.classes_]
        if metric == "log_loss":
            score = metrics.log_loss(truth, shares, labels=classes)
        else:
            score = metrics.roc_auc_score((truth == classes[1]).to_numpy(), shares[:, 1])
    else:
        predicted = np.asarray(model.predict(test)).astype(str)
        score = (
            metrics.accuracy_score(truth, predicted)
            if metric == "accuracy"
            else metrics.f1_score(truth, predicted, average="macro")
        )
    answer = {"table": name, "score": round(float(score), 5), "cpu_s": round(spent, 1)}
    print(json.dumps(answer | {"asked_s": cpu_s, "estimator": model.best_estimator}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
