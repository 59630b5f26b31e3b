"""Ask a deployed model with the clients of MLflow and Triton; print what they return, as one JSON object.

Runs in the environment of the clients, ``.tools/clients``, which knows nothing of this package:
``clients.py URL MODEL < request.json``, where the request holds ``fields``, name to type, and ``rows``.
"""

import json
import sys
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import requests
import tritonclient.http as triton
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from tritonclient.utils import InferenceServerException


def ask_mlflow(url, model, frame):
    """MLflow's client takes a host and a port; the path of an address goes with the port."""
    address = urlsplit(f"{url}/models/{model}")
    client = ScoringServerClient(address.hostname, f"{address.port}{address.path}")
    client.ping()
    answers = {
        "frame": client.invoke(frame).get_predictions()[0].tolist(),
        "lists": client.invoke(json.loads(frame.to_json(orient="values")))
        .get_predictions("ndarray")
        .tolist(),
    }
    try:
        client.invoke(frame.assign(**{frame.columns[0]: [["no value"]] * len(frame)}))
    except Exception as error:  # noqa: BLE001, it raises nothing narrower
        answers["refused"] = str(error)
    return answers


def ask_sagemaker(url, model, frame):
    """A multi-model endpoint of SageMaker is asked by a header; CSV goes both ways."""
    headers = {
        "Content-Type": "text/csv",
        "Accept": "text/csv",
        "X-Amzn-SageMaker-Target-Model": f"{model}/versions/1",
    }
    body = frame.to_csv(index=False).encode()
    answer = requests.post(f"{url}/invocations", data=body, headers=headers, timeout=60)
    answer.raise_for_status()
    return [line.split(",")[0] for line in answer.text.splitlines()[1:]]


def ask_triton(url, model, frame, fields):
    """Tensors as binary data and as JSON, one a field; metadata; errors."""
    client = triton.InferenceServerClient(url.removeprefix("http://"), network_timeout=60.0)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model)
    assert not client.is_model_ready("nobody")
    metadata = client.get_model_metadata(model)
    answers = {
        "server": client.get_server_metadata(),
        "inputs": {tensor["name"]: tensor["datatype"] for tensor in metadata["inputs"]},
    }
    for binary in (True, False):
        inputs = []
        for name, kind in fields.items():
            if kind == "number":
                values = frame[name].to_numpy(np.float64)
                if not binary:
                    values = np.nan_to_num(values)
            else:
                values = np.array(["" if pd.isna(value) else value for value in frame[name]], dtype=object)
            datatype = "FP64" if kind == "number" else "BYTES"
            tensor = triton.InferInput(name, list(values.shape), datatype)
            tensor.set_data_from_numpy(values, binary_data=binary)
            inputs.append(tensor)
        outputs = [
            triton.InferRequestedOutput(name, binary_data=binary) for name in ("prediction", "probabilities")
        ]
        found = client.infer(model, inputs, model_version="1", outputs=outputs, request_id="7")
        labels = found.as_numpy("prediction").tolist()
        answers["binary" if binary else "json"] = {
            "prediction": [label.decode() if isinstance(label, bytes) else label for label in labels],
            "probabilities": found.as_numpy("probabilities").tolist(),
            "id": found.get_response()["id"],
        }
    try:
        client.infer("nobody", inputs)
    except InferenceServerException as error:
        answers["refused"] = [error.status(), error.message()]
    return answers


def main():
    """Ask everybody."""
    url, model = sys.argv[1:]
    request = json.load(sys.stdin)
    fields = request["fields"]
    frame = pd.DataFrame(request["rows"], columns=list(fields))
    numbers = [name for name, kind in fields.items() if kind == "number"]
    frame[numbers] = frame[numbers].astype(float)
    answers = {
        "mlflow": ask_mlflow(url, model, frame),
        "sagemaker": ask_sagemaker(url, model, frame),
        "triton": ask_triton(url, model, frame, fields),
    }
    json.dump(answers, sys.stdout)


main()
