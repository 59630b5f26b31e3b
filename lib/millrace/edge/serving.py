"""The routes of ``predict`` as the interface describes them; ``manage`` shows them and answers none.

The gateway sends them to the other function. Here they give the OpenAPI document its shapes, and a wrong
method of one its 405.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, NoReturn

from aws_lambda_powertools.event_handler.openapi.params import Path
from pydantic import BaseModel

from millrace.edge.openapi import (
    InferAnswer,
    InferProblem,
    InferRequest,
    InvocationProblem,
    InvocationRequest,
    ModelMetadata,
    ModelReady,
    PredictAnswer,
    PredictRequest,
    ServerLive,
    ServerMetadata,
    ServerReady,
    problems,
)
from millrace.errors import Misconfigured

__all__ = ["SHAPES", "Alias", "Name", "Number", "Route", "add_types", "routes"]

Route = tuple[str, str, Callable[..., Any], str, Mapping[int, Any]]
"""Method, rule, what describes it, tag, answers when it fails."""

Name = Annotated[str, Path(description="The model, which bears its dataset's name.")]
Number = Annotated[int, Path(ge=1, le=2**31, description="The version.")]
Alias = Annotated[str, Path(description="The alias, for instance `live`.")]

SHAPES: Mapping[str, type[BaseModel]] = {"mlflow": InvocationProblem, "v2": InferProblem}
"""Tag -> shape of its errors, where they are no problem details."""
FAILURES = (400, 404, 413, 422, 500, 503)


def routes() -> list[Route]:
    """Return every route that the gateway sends to ``predict``."""
    ours = problems(*FAILURES)
    mlflow = problems(*FAILURES, 415, shape=InvocationProblem)
    v2 = problems(*FAILURES, shape=InferProblem)
    one = "/v2/models/<name>"
    version = f"{one}/versions/<version>"
    return [
        ("POST", "/predict", predict, "predict", ours),
        ("POST", "/models/<name>/predict", predict_with, "predict", ours),
        ("POST", "/models/<name>/versions/<version>/predict", predict_with_version, "predict", ours),
        ("POST", "/models/<name>/aliases/<alias>/predict", predict_with_alias, "predict", ours),
        ("POST", "/invocations", invoke, "mlflow", mlflow),
        ("GET", "/ping", ping, "mlflow", {}),
        ("POST", "/models/<name>/invocations", invoke_model, "mlflow", mlflow),
        ("GET", "/models/<name>/ping", ping_model, "mlflow", problems(404, 503, shape=InvocationProblem)),
        ("GET", "/v2", show_server, "v2", {}),
        ("GET", "/v2/health/live", show_live, "v2", {}),
        ("GET", "/v2/health/ready", show_ready, "v2", problems(503, shape=InferProblem)),
        ("GET", one, show_tensors, "v2", v2),
        ("GET", version, show_version_tensors, "v2", v2),
        ("GET", f"{one}/ready", show_model_ready, "v2", v2),
        ("GET", f"{version}/ready", show_version_ready, "v2", v2),
        ("POST", f"{one}/infer", infer, "v2", v2),
        ("POST", f"{version}/infer", infer_version, "v2", v2),
    ]


def add_types(document: dict[str, Any]) -> None:
    """Add to an OpenAPI document the types of body that are no JSON: CSV, and tensors as binary data."""
    for path, methods in document["paths"].items():
        last = path.rpartition("/")[2]
        if last not in ("predict", "invocations", "infer"):
            continue
        kind = "application/octet-stream" if last == "infer" else "text/csv"
        operation = methods["post"]
        for content in (operation["requestBody"]["content"], operation["responses"]["200"]["content"]):
            content[kind] = {"schema": {"type": "string"}}


def _misplaced() -> NoReturn:
    raise Misconfigured(
        "A request for predict has reached the function of the other routes",
        code="route-misplaced",
        remedy="Deploy the HTTP API from template.yaml.",
    )


def predict(body: PredictRequest) -> PredictAnswer:
    """Score rows."""
    _misplaced()


def predict_with(name: Name, body: PredictRequest) -> PredictAnswer:
    """Score rows with a model."""
    _misplaced()


def predict_with_version(name: Name, version: Number, body: PredictRequest) -> PredictAnswer:
    """Score rows with one version of a model."""
    _misplaced()


def predict_with_alias(name: Name, alias: Alias, body: PredictRequest) -> PredictAnswer:
    """Score rows with the version that an alias names."""
    _misplaced()


def invoke(body: InvocationRequest) -> PredictAnswer:
    """Score rows as MLflow's scoring server and SageMaker's containers do."""
    _misplaced()


def invoke_model(name: Name, body: InvocationRequest) -> PredictAnswer:
    """Score rows with a model as MLflow's scoring server does."""
    _misplaced()


def ping() -> None:
    """Tell that the server answers."""
    _misplaced()


def ping_model(name: Name) -> None:
    """Tell that a model answers."""
    _misplaced()


def show_server() -> ServerMetadata:
    """Show the server (Open Inference Protocol)."""
    _misplaced()


def show_live() -> ServerLive:
    """Tell that the server answers (Open Inference Protocol)."""
    _misplaced()


def show_ready() -> ServerReady:
    """Tell that the server reaches its models (Open Inference Protocol)."""
    _misplaced()


def show_tensors(name: Name) -> ModelMetadata:
    """Show a model's tensors (Open Inference Protocol)."""
    _misplaced()


def show_version_tensors(name: Name, version: Number) -> ModelMetadata:
    """Show a version's tensors (Open Inference Protocol)."""
    _misplaced()


def show_model_ready(name: Name) -> ModelReady:
    """Tell that a model answers (Open Inference Protocol)."""
    _misplaced()


def show_version_ready(name: Name, version: Number) -> ModelReady:
    """Tell that a version answers (Open Inference Protocol)."""
    _misplaced()


def infer(name: Name, body: InferRequest) -> InferAnswer:
    """Score rows (Open Inference Protocol)."""
    _misplaced()


def infer_version(name: Name, version: Number, body: InferRequest) -> InferAnswer:
    """Score rows with one version (Open Inference Protocol)."""
    _misplaced()
