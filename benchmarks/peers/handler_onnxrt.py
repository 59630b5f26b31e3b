"""An onnxruntime handler as lean as it goes: a small S3 client, one thread, log and metrics by print."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import numpy as np
import onnxruntime

from millrace.aws.lean import Bucket

data, _ = Bucket(os.environ["BUCKET"]).get(f"{os.environ['MODEL']}/pipeline.onnx")
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
KINDS = {"tensor(string)": object, "tensor(float)": np.float32, "tensor(double)": np.float64}
inputs = [(one.name, KINDS[one.type]) for one in session.get_inputs()]
outputs = [one.name for one in session.get_outputs()]


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Score the rows of a request."""
    began = time.perf_counter()
    rows = json.loads(event["body"])["rows"]
    feed = {name: np.array([[row[name]] for row in rows], dtype=kind) for name, kind in inputs}
    found = session.run(outputs[-1:], feed)[0]
    classify = len(outputs) > 1
    answer = {"probabilities": found.tolist()} if classify else {"predictions": found.ravel().tolist()}
    duration_ms = (time.perf_counter() - began) * 1000
    line = {"level": "INFO", "message": "predict", "rows": len(rows), "request": context.aws_request_id}
    names = [{"Name": "Rows", "Unit": "Count"}, {"Name": "Duration", "Unit": "Milliseconds"}]
    about = [{"Namespace": "Onnx", "Dimensions": [["service"]], "Metrics": names}]
    metric = {
        "_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": about},
        "service": "predict",
    }
    metric |= {"Rows": len(rows), "Duration": duration_ms}
    print(json.dumps(line), json.dumps(metric), sep="\n", flush=True)
    return {"statusCode": 200, "body": json.dumps(answer)}
