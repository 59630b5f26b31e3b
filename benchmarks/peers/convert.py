"""Convert fitted pipelines to ONNX, in the peers' environment: ``convert.py (FOLDER KEY)…``.

``pipeline.onnx`` is the whole pipeline, one input a column; ``estimator.onnx`` is its last step alone, on the
encoded matrix. ``onnx.json`` says what could not be converted, and the key that it was done for.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import joblib
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType

TEXTS = ("cut", "color", "clarity")


def convert(folder: Path, key: str) -> None:
    """Convert one pipeline."""
    pipeline = joblib.load(folder / "model.joblib")
    names = [str(name) for name in pipeline.feature_names_in_]
    columns = [
        (name, StringTensorType([None, 1]) if name in TEXTS else FloatTensorType([None, 1])) for name in names
    ]
    estimator = pipeline[-1]
    matrix = [("X", FloatTensorType([None, estimator.n_features_in_]))]
    files = {
        "pipeline.onnx": attempt(folder / "pipeline.onnx", pipeline, columns),
        "estimator.onnx": attempt(folder / "estimator.onnx", estimator, matrix),
    }
    (folder / "onnx.json").write_text(json.dumps({"key": key, "files": files}))


def attempt(path: Path, fitted: Any, inputs: list[Any]) -> str | None:
    """Write a model, or return why there is none: skl2onnx raises whatever its converters raise."""
    options = {id(fitted): {"zipmap": False}} if hasattr(fitted, "classes_") else None
    try:
        graph = convert_sklearn(fitted, initial_types=inputs, options=options)
    except Exception as error:  # noqa: BLE001
        path.unlink(missing_ok=True)
        print(f"{path.parent.name}: no {path.name}: {error}")
        return f"{type(error).__name__}: {error}"
    path.write_bytes(graph.SerializeToString())
    return None


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for place, wanted in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        print(f"converting {Path(place).name}")
        convert(Path(place), wanted)
