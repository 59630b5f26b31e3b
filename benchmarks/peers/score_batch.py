"""Score one table in every way: ``score_batch.py FOLDER ROWS REPEATS``, in the peers' environment.

``FOLDER`` holds a model as :mod:`benchmarks.models` leaves it, its plan as ``model.plan``, and the rows to
score in ``rows.npz``; ``PYTHONPATH`` names the project's package. The last line is one JSON object.

Everybody gets its rows in the form that suits it best, made before the clock runs, and one thread:

- ``kernel``: our C kernel; columns of float64, texts as lists;
- ``blocks``: our numpy path, where the kernel does not cover the plan;
- ``sklearn``: the pipeline on a data frame;
- ``onnxruntime``: the converted pipeline, a column an input; float32, or float64 where our export takes the
  place of a conversion that failed; texts as arrays of ``str``;
- ``sklearn+onnxruntime``: scikit-learn encodes, the converted estimator scores the float32 matrix.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnxruntime
import pandas as pd

from millrace import plan
from millrace.scoring.blocks import BlockScorer

Way = Callable[[], Any]

LIMIT_S = 15.0
"""CPU seconds that the turns of a model may take."""


def pipelines(folder: Path, columns: Mapping[str, np.ndarray]) -> dict[str, Way]:
    """Return every way from columns to answers."""
    ways: dict[str, Way] = {}
    pipeline = joblib.load(folder / "model.joblib")
    read = plan.read((folder / "model.plan").read_bytes())
    kernel = kernel_of(read)
    if kernel:
        plain = {name: one.tolist() if one.dtype == object else one for name, one in columns.items()}
        ways["kernel"] = lambda: kernel.score(plain)
    else:
        scorer = BlockScorer(read)
        ways["blocks"] = lambda: scorer.score(columns)
    frame = pd.DataFrame({name: pd.Series(one, dtype=one.dtype) for name, one in columns.items()})
    classify = hasattr(pipeline, "predict_proba")
    ways["sklearn"] = lambda: pipeline.predict_proba(frame) if classify else pipeline.predict(frame)
    if (folder / "pipeline.onnx").exists():
        session = onnx(folder / "pipeline.onnx")
        kinds = {"tensor(string)": object, "tensor(float)": np.float32, "tensor(double)": np.float64}
        feed = {
            one.name: columns[one.name].astype(kinds[one.type]).reshape(-1, 1) for one in session.get_inputs()
        }
        last = [session.get_outputs()[-1].name]
        ways["onnxruntime"] = lambda: session.run(last, feed)[0]
    if (folder / "estimator.onnx").exists():
        encode, estimator = pipeline[:-1], onnx(folder / "estimator.onnx")
        end = [estimator.get_outputs()[-1].name]
        ways["sklearn+onnxruntime"] = lambda: estimator.run(
            end, {"X": dense(encode.transform(frame)).astype(np.float32)}
        )[0]
    return ways


def kernel_of(read: Any) -> Any:
    """Return the kernel's scorer, or nothing where there is none yet for the plan."""
    try:
        from millrace.scoring.kernel import KernelScorer, NotCovered, Unavailable
    except ImportError:
        return None
    try:
        return KernelScorer(read)
    except (NotCovered, Unavailable) as error:
        print(f"no kernel: {error}", file=sys.stderr)
        return None


def onnx(path: Path) -> onnxruntime.InferenceSession:
    """Open a model with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def dense(matrix: Any) -> np.ndarray:
    """Return a matrix that is not sparse."""
    return matrix.toarray() if hasattr(matrix, "toarray") else matrix


def measure(ways: Mapping[str, Way], repeats: int, limit_s: float) -> dict[str, Any]:
    """Run all ways in turns; CPU seconds of each turn, and how far the answers are from scikit-learn's.

    A way that takes long has fewer turns: at least 2, and no more than fit into ``limit_s``.
    """
    expected = np.asarray(ways["sklearn"](), dtype=np.float64)
    off, once = {}, {}
    for name, way in ways.items():
        began = time.process_time()
        found = np.asarray(way(), dtype=np.float64).reshape(expected.shape)
        once[name] = time.process_time() - began
        with np.errstate(invalid="ignore"):
            off[name] = float(np.max(np.abs(found - expected) / np.maximum(1.0, np.abs(expected))))
    turns = max(2, min(repeats, int(limit_s / sum(once.values()))))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            began = time.process_time()
            way()
            seconds[name].append(time.process_time() - began)
    return {"cpu_s": seconds, "off_by": off}


def main(folder: Path, rows: int, repeats: int) -> None:
    """Measure and print."""
    with np.load(folder / "rows.npz") as file:
        columns = {name: one if one.dtype.kind == "f" else one.astype(object) for name, one in file.items()}
    columns = {name: one[np.arange(rows) % len(one)] for name, one in columns.items()}
    print(json.dumps(measure(pipelines(folder, columns), repeats, LIMIT_S)))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
