"""Use what the onnx layer carries: a model of one node, from its bytes to an answer."""

import importlib.metadata

import numpy as np
import onnxruntime

# Protocol buffers by hand (the layer has no onnx): y = x + x, float32, shape (n,), operators of ai.onnx 13.


def field(number: int, value: bytes | int) -> bytes:
    """Return a field of a protocol buffer, with a length or as a small integer."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def value(name: bytes) -> bytes:
    """Return the description of a vector of float32."""
    shape = field(2, field(1, field(2, b"n")))
    return field(1, name) + field(2, field(1, field(1, 1) + shape))


node = field(1, b"x") + field(1, b"x") + field(2, b"y") + field(4, b"Add")
graph = field(1, node) + field(2, b"g") + field(11, value(b"x")) + field(12, value(b"y"))
model = field(1, 8) + field(7, graph) + field(8, field(1, b"") + field(2, 13))

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
(answer,) = session.run(None, {"x": np.array([1.5, 2.0], dtype=np.float32)})
assert answer.tolist() == [3.0, 4.0]
assert hasattr(onnxruntime.capi.onnxruntime_pybind11_state, "InvalidGraph")
assert importlib.metadata.version("onnxruntime") and importlib.metadata.version("numpy")
