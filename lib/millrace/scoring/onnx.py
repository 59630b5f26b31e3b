"""Runs a model from elsewhere with onnxruntime: imported when a plan with such a model is made ready.

Where onnxruntime is not, the import itself raises ``Misconfigured``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from millrace.errors import Misconfigured, Unprocessable

try:
    import numpy as np
    import onnxruntime
    from numpy.typing import NDArray
except ImportError:
    raise Misconfigured(
        "The model is an ONNX model, and onnxruntime is not here",
        code="onnx-layer-missing",
        remedy="Deploy the stack with OnnxModels=true, or install the extra: millrace[onnx].",
    ) from None

__all__ = ["Session"]

_DTYPES = {
    "float": np.float32,
    "double": np.float64,
    "int64": np.int64,
    "int32": np.int32,
    "bool": np.bool_,
}


class Session:
    """An open model.

    Parameters
    ----------
    spec : dict
        An estimator of the kind ``onnx``, as ``plan.kinds.onnx`` describes it.
    arrays : sequence of memoryview
        The plan's arrays.

    Raises
    ------
    Misconfigured
        ``onnx-model-broken``: onnxruntime does not take the model.
    """

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        options = onnxruntime.SessionOptions()
        # More threads wait for each other under a function's share of a processor, and burn it.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # An arena grows to the largest block that ever came and keeps it.
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 4
        state = onnxruntime.capi.onnxruntime_pybind11_state
        self._failures = (state.Fail, state.InvalidArgument, state.RuntimeException, state.NotImplemented)
        try:
            self._session = onnxruntime.InferenceSession(
                bytes(arrays[spec["model"]]), options, providers=["CPUExecutionProvider"]
            )
        except (*self._failures, state.InvalidGraph, state.InvalidProtobuf, state.NoModel) as error:
            raise Misconfigured(
                f"onnxruntime {onnxruntime.__version__} does not take the ONNX model: {_first_line(error)}",
                code="onnx-model-broken",
                remedy="Export the model for a release of ONNX that this one knows, and register it again.",
            ) from None
        self._inputs = spec["inputs"]
        self._output = spec["output"]
        self._numbers = {label: i for i, label in enumerate(self._output.get("labels", ()))}

    def run(self, columns: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Score rows.

        Parameters
        ----------
        columns : sequence of ndarray, shape (rows,)
            Numbers as float64 with NaN for a missing one, texts as objects with None.

        Returns
        -------
        ndarray, float64, shape (rows, outputs)
            Raw outputs.

        Raises
        ------
        Unprocessable
            ``value-type``: a value is missing or has a fraction, and the model takes integers there.
            ``onnx-run-failed``: the model fails on these values.
        Misconfigured
            ``onnx-output``: the output is not what the model was registered with.
        """
        rows = len(columns[0])
        feeds = {entry["name"]: _fed(entry, columns) for entry in self._inputs}
        try:
            found = np.asarray(self._session.run([self._output["name"]], feeds)[0])
        except self._failures as error:
            raise Unprocessable(
                f"The ONNX model fails on these values: {_first_line(error)}",
                code="onnx-run-failed",
                remedy="Correct the values; if they are right, the model is to blame.",
            ) from None
        kind = self._output["as"]
        width = self._output["outputs"] if kind == "values" else 1
        if found.size != rows * width or found.ndim == 0 or (rows and len(found) != rows):
            raise _unexpected(f"{rows} rows came back in the shape {found.shape}")
        found = found.reshape(rows, width)
        if kind == "labels":
            return self._as_shares(found[:, 0].tolist())
        result: NDArray[np.float64] = found.astype(np.float64)
        return np.hstack([1.0 - result, result]) if kind == "second" else result

    def run_row(self, row: Sequence[float | str | None]) -> list[float]:
        """Score one row: a block of one."""
        columns = [np.asarray([v], dtype=np.float64 if isinstance(v, float) else object) for v in row]
        result: list[float] = self.run(columns)[0].tolist()
        return result

    def _as_shares(self, labels: list[Any]) -> NDArray[np.float64]:
        result = np.zeros((len(labels), len(self._numbers)))
        for row, label in enumerate(labels):
            if label not in self._numbers:
                raise _unexpected(f"the label {label!r:.60} is none of its classes")
            result[row, self._numbers[label]] = 1.0
        return result


def _fed(entry: dict[str, Any], columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
    if entry["type"] == "string":
        texts = [[value or "" for value in columns[i].tolist()] for i in entry["columns"]]
        fed = np.asarray(texts, dtype=object).T.reshape(-1, len(texts))
    else:
        numbers = np.stack([columns[i].astype(np.float64) for i in entry["columns"]], axis=1)
        with np.errstate(all="ignore"):
            fed = numbers.astype(_DTYPES[entry["type"]])
        if entry["type"] not in ("float", "double") and not np.array_equal(fed.astype(np.float64), numbers):
            raise Unprocessable(
                f"The ONNX model's input {entry['name']!r:.60} takes whole numbers, "
                "and one is missing, has a fraction or is too large",
                code="value-type",
                remedy="Send a whole number in every field of that input.",
            )
    return fed if entry["rank"] == 2 else fed[:, 0]


def _unexpected(what: str) -> Misconfigured:
    return Misconfigured(
        f"The ONNX model answers something else than it was registered with: {what}",
        code="onnx-output",
        remedy="Register the model again with a signature that fits it.",
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]
