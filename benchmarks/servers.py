"""HTTP servers of the same pipeline: FastAPI, BentoML and MLServer, as their documentation says.

Each runs with one worker on the core that all share; scikit-learn's threads are held to one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

from benchmarks.hosts import PEERS, TOOLS, Host, Server, free_port
from benchmarks.models import Model

__all__ = ["SERVERS", "bentoml", "body_of", "fastapi", "mlserver", "predictions"]


def fastapi(host: Host, model: Model) -> Server:
    """Start FastAPI under uvicorn."""
    port = free_port()
    python = TOOLS / "peers" / "bin" / "python"
    command = [str(python), "-m", "uvicorn", "server_fastapi:app", "--port", str(port)]
    return _server("FastAPI", host, model, command, "/predict", port)


def bentoml(host: Host, model: Model) -> Server:
    """Start a BentoML service."""
    port = free_port()
    command = [str(TOOLS / "peers" / "bin" / "bentoml"), "serve", "server_bentoml:Predict"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    return _server("BentoML", host, model, command, "/predict", port)


def mlserver(host: Host, model: Model) -> Server:
    """Start MLServer with its scikit-learn runtime, in the process that takes the requests."""
    port = free_port()
    folder = host.folder / "MLServer"
    folder.mkdir()
    settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "parallel_workers": 0}
    (folder / "settings.json").write_text(json.dumps({**settings, "metrics_port": free_port()}))
    about = {
        "name": "model",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(model.folder / "model.joblib")},
    }
    (folder / "model-settings.json").write_text(json.dumps(about))
    command = [str(TOOLS / "peer-mlserver" / "bin" / "mlserver"), "start", str(folder)]
    return _server("MLServer", host, model, command, "/v2/models/model/infer", port)


SERVERS: dict[str, Callable[[Host, Model], Server]] = {
    "FastAPI": fastapi,
    "BentoML": bentoml,
    "MLServer": mlserver,
}


def body_of(server: str, model: Model, rows: int) -> bytes:
    """Return the request for the first rows, as the server takes it."""
    if server != "MLServer":
        return json.dumps({"rows": model.data.rows(rows)}).encode()
    inputs: list[dict[str, Any]] = []
    for name, values in model.data.columns.items():
        text = values.dtype == object
        one = {"name": name, "shape": [rows, 1], "datatype": "BYTES" if text else "FP64"}
        inputs.append({**one, "data": values[:rows].tolist()})
        if text:
            inputs[-1]["parameters"] = {"content_type": "str"}
    return json.dumps({"parameters": {"content_type": "pd"}, "inputs": inputs}).encode()


def predictions(server: str, answer: Any) -> dict[str, Any]:
    """Return a server's answer as ``/predict`` would give it."""
    if server == "MLServer":
        return {"predictions": answer["outputs"][0]["data"]}
    return {"predictions": answer} if server == "BentoML" else answer  # type: ignore[no-any-return]


def _server(name: str, host: Host, model: Model, command: list[str], path: str, port: int) -> Server:
    folder = host.folder / name
    folder.mkdir(exist_ok=True)
    for program in PEERS.glob("server_*.py"):
        shutil.copyfile(program, folder / program.name)
    environment = {
        "MODEL_FILE": str(model.folder / "model.joblib"),
        "OMP_NUM_THREADS": "1",
        "BENTOML_HOME": str(folder / "home"),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    return Server(name, host, command, path, environment, folder, port)
