"""manage: every route and every way in which it refuses; on fakes, and the real handler on moto."""

from __future__ import annotations

import base64
import gzip
import importlib.util
import json
import re
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from moto import mock_aws

from millrace import keys
from millrace.aws.clients import client
from millrace.aws.objects import S3Store
from millrace.aws.runs import DynamoRunStore
from millrace.aws.uploads import S3Uploads
from millrace.contracts import RunError, ScoreSpec, Usage
from millrace.edge import serving
from millrace.edge.manage import Manage
from millrace.registry.registry import Registry
from tests import plans
from tests.fakes import Context, MemoryExecutions, MemoryObjectStore, MemoryRunStore, make_run
from tests.moto_clients import create_runs_table
from tests.unit.test_registry import draft

ROOT = Path(__file__).resolve().parents[2]
MAX_FILE_BYTES = 1_000_000
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:runs"
PLAN = plans.binary()
RUN = make_run(
    "cars-0123456789ab",
    state="FAILED",
    updated_at="2026-11-20T10:00:09.000Z",
    target="price",
    task="regression",
    rows_read=10,
    rows_kept=9,
    rows_rejected=1,
    rejects="s3://artifacts/runs/cars-0123456789ab/rejects/",
    warnings=("The target is the last column.",),
    error=RunError("BadInput", "target-constant", "The target has one value.", "decide"),
)
RUN_FIELDS = {
    *("run", "kind", "state", "dataset", "model", "version", "promoted", "created_at", "updated_at", "file"),
    *("target", "task", "rows_read", "rows_kept", "rows_rejected", "rows_trained", "rejects", "progress"),
    *("rows_scored", "metrics", "baseline", "profile", "report", "result", "warnings", "error", "cost"),
    "source",
}


def load(verb: str) -> ModuleType:
    """Import ``functions/<verb>/app.py`` anew."""
    spec = importlib.util.spec_from_file_location(f"{verb}_app", ROOT / "functions" / verb / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    environ = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "MILLRACE_ARTIFACT_BUCKET": "artifacts",
        "MILLRACE_DATA_BUCKET": "data",
        "MILLRACE_TABLE": "runs",
        "MILLRACE_STAGE": "test",
        "MILLRACE_MAX_FILE_BYTES": str(MAX_FILE_BYTES),
        "MILLRACE_PREDICT_MEMORY_MB": "512",
        "MILLRACE_TRAIN_SECONDS": "880",
        "MILLRACE_STATE_MACHINE_ARN": MACHINE,
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    client.cache_clear()
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="artifacts")
        s3.create_bucket(Bucket="data")
        create_runs_table(boto3.client("dynamodb"), "runs")
        yield
    client.cache_clear()


class Browser:
    """Sends requests to a handler as the gateway does."""

    def __init__(self, handler: Callable[..., Any]) -> None:
        self.handler = handler
        self.event = json.loads((ROOT / "events/manage.models.json").read_text())

    def send(self, method: str, path: str, body: Any = None, **extra: Any) -> dict[str, Any]:
        path, _, query = path.partition("?")
        event = json.loads(json.dumps(self.event))
        event["rawPath"], event["rawQueryString"] = path, query
        event["requestContext"]["http"] |= {"method": method, "path": path}
        if query:
            event["queryStringParameters"] = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        if body is not None:
            event["body"] = body if isinstance(body, str) else json.dumps(body)
        event |= extra
        answer: dict[str, Any] = self.handler(event, Context())
        return answer

    def json(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.send(method, path, body)
        assert answer["statusCode"] == 200, answer["body"]
        return json.loads(answer["body"])

    def get(self, path: str) -> Any:
        return self.json("GET", path)

    def problem(self, method: str, path: str, status: int, code: str, body: Any = None, **extra: Any) -> Any:
        answer = self.send(method, path, body, **extra)
        details = json.loads(answer["body"])
        assert (answer["statusCode"], details["code"]) == (status, code), details
        assert answer["headers"]["content-type"] == "application/problem+json"
        assert (details["status"], details["instance"]) == (status, path.partition("?")[0])
        assert details["type"] == f"urn:millrace:problem:{code}"
        assert details["title"]
        assert details["detail"]
        return details


@pytest.fixture
def deployed(aws: None) -> Browser:
    """The function as it is deployed, on moto."""
    return Browser(load("manage").handler)


@pytest.fixture(scope="session")
def signer() -> Any:
    """Signs uploads; makes no request."""
    return boto3.client("s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")


@pytest.fixture
def artifacts() -> MemoryObjectStore:
    return MemoryObjectStore("artifacts")


@pytest.fixture
def browser(artifacts: MemoryObjectStore, signer: Any) -> Browser:
    """The same routes on fakes."""
    manage = Manage(
        artifacts=artifacts,
        data=MemoryObjectStore("data"),
        runs=MemoryRunStore(),
        executions=MemoryExecutions(),
        uploads=S3Uploads("data", signer),
        max_file_bytes=MAX_FILE_BYTES,
    )
    return Browser(manage)


@pytest.fixture
def registry(artifacts: MemoryObjectStore) -> Registry:
    return with_versions(Registry(artifacts))


def with_versions(registry: Registry) -> Registry:
    """Register three versions, of which the second is live."""
    for number, auc in enumerate((0.7, 0.8, 0.6), start=1):
        made = draft(
            f"demo-{number}", metrics={"roc_auc": auc}, baseline={"roc_auc": 0.5}, classes=("no", "yes")
        )
        beside = {"report.json": b'{"evaluation":{"metric":"log_loss"}}'}
        version = registry.register(made, PLAN, b"<html>\xc3\xa4</html>", beside=beside)
        registry.decide(version, by=f"run demo-{number}")
    return registry


# --- runs -------------------------------------------------------------------------------------------


def test_a_run(deployed: Browser) -> None:
    runs = DynamoRunStore("runs")
    runs.open(RUN)
    runs.start_pass(RUN.run_id, "profile", total=3, token="secret-token")
    runs.complete_part(RUN.run_id, "profile", 0)
    runs.start_pass(RUN.run_id, "convert", total=5, token="secret-token", groups=2)
    for part in (0, 1, 3):
        runs.complete_part(RUN.run_id, "convert", part, part % 2)
    runs.add_usage(RUN.run_id, Usage("decide", 1, 100, 512))
    run = deployed.get(f"/runs/{RUN.run_id}")
    assert set(run) == RUN_FIELDS
    assert run["run"] == RUN.run_id
    assert run["file"] == "s3://data/datasets/cars/ä b.csv"
    assert run["progress"] == {"profile": {"done": 1, "total": 3}, "convert": {"done": 3, "total": 5}}
    assert run["error"] == {
        "code": "target-constant",
        "message": "The target has one value.",
        "stage": "decide",
    }
    assert run["cost"]["usd"] > 0
    assert (run["rows_read"], run["model"], run["metrics"]) == (10, None, {})
    assert "secret-token" not in json.dumps(run)


def test_runs_newest_first_page_by_page(deployed: Browser) -> None:
    runs = DynamoRunStore("runs")
    for number in range(5):
        runs.open(
            replace(RUN, run_id=f"cars-{number}", created_at=f"2026-11-20T10:00:0{number}.000Z", error=None)
        )
    seen, path = [], "/runs?limit=2"
    while True:
        page = deployed.get(path)
        assert set(page) == {"runs", "next"}
        assert set(page["runs"][0]) == RUN_FIELDS - {"progress", "cost"}
        seen.append([run["run"] for run in page["runs"]])
        if page["next"] is None:
            break
        path = f"/runs?limit=2&cursor={urllib.parse.quote(page['next'])}"
    assert seen == [["cars-4", "cars-3"], ["cars-2", "cars-1"], ["cars-0"]]
    assert [run["run"] for run in deployed.get("/runs")["runs"]] == [f"cars-{n}" for n in (4, 3, 2, 1, 0)]


def test_what_runs_refuse(browser: Browser) -> None:
    browser.problem("GET", "/runs/nope", 404, "run-not-found")
    browser.problem("GET", "/runs?cursor=nonsense", 400, "cursor-invalid")
    for query in ("limit=0", "limit=101", "limit=many"):
        details = browser.problem("GET", f"/runs?{query}", 422, "field-invalid")
        assert details["field"] == "limit"


# --- models -----------------------------------------------------------------------------------------


def test_models(browser: Browser, registry: Registry) -> None:
    assert browser.get("/models") == {
        "models": [
            {
                "model": "demo",
                "live": 2,
                "version": {
                    "version": 2,
                    "run": "demo-2",
                    "created_at": registry.version("demo", 2).created_at,
                    "task": "binary",
                    "target": "survived",
                    "metric": "roc_auc",
                    "metrics": {"roc_auc": 0.8},
                    "baseline": {"roc_auc": 0.5},
                },
            }
        ]
    }


def test_no_models_yet(browser: Browser) -> None:
    assert browser.get("/models") == {"models": []}


def test_a_model(browser: Browser, registry: Registry) -> None:
    model = browser.get("/models/demo")
    assert (model["model"], model["live"], model["versions_total"]) == ("demo", 2, 3)
    assert [version["version"] for version in model["versions"]] == [3, 2, 1]
    assert [(move["action"], move["version"]) for move in model["history"]] == [
        ("held", 3),
        ("promoted", 2),
        ("promoted", 1),
    ]
    assert [version["version"] for version in browser.get("/models/demo?limit=1")["versions"]] == [3]


def test_a_version(browser: Browser, registry: Registry) -> None:
    version = browser.get("/models/demo/versions/2")
    assert (version["model"], version["version"], version["live"]) == ("demo", 2, True)
    assert version["classes"] == ["no", "yes"]
    assert version["plan"] == "s3://artifacts/models/demo/versions/2/model.plan"
    assert version["plan_bytes"] == len(PLAN)
    assert browser.get("/models/demo/versions/3")["live"] is False
    page = browser.send("GET", version["report"])
    assert (page["statusCode"], page["headers"]["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page["body"] == "<html>ä</html>"
    assert browser.get(version["report"] + ".json") == {"evaluation": {"metric": "log_loss"}}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/models/other", 404, "model-unknown"),
        ("GET", "/models/..", 404, "model-unknown"),
        ("GET", "/models/%2e%2e%2fruns", 404, "model-unknown"),
        ("GET", "/models/other/versions/1", 404, "model-unknown"),
        ("GET", "/models/demo/versions/9", 404, "version-unknown"),
        ("GET", "/models/demo/versions/9/report", 404, "version-unknown"),
        ("GET", "/models/demo/versions/two", 422, "field-invalid"),
        ("GET", "/models/demo/versions/0", 422, "field-invalid"),
        ("POST", "/models/other/rollback", 404, "model-unknown"),
        ("GET", "/", 404, "route-unknown"),
        ("GET", "/model", 404, "route-unknown"),
        ("GET", "/models/demo/versions", 404, "route-unknown"),
        ("GET", "/models/demo/versions/1/report/x", 404, "route-unknown"),
    ],
)
def test_what_is_not_there(
    browser: Browser, registry: Registry, method: str, path: str, status: int, code: str
) -> None:
    browser.problem(method, path, status, code)


def test_promote_and_rollback(browser: Browser, registry: Registry) -> None:
    moved = browser.json("POST", "/models/demo/promote", {"version": 3, "reason": "It is faster."})
    assert (moved["model"], moved["action"], moved["version"], moved["previous"]) == (
        "demo",
        "promoted",
        3,
        2,
    )
    assert (moved["by"], moved["why"]) == ("arn:aws:iam::000000000000:user/ada", "It is faster.")
    back = browser.json("POST", "/models/demo/rollback", {"reason": "It was not."})
    assert (back["action"], back["version"], back["why"]) == ("rolled-back", 2, "It was not.")
    assert browser.json("POST", "/models/demo/rollback", {})["version"] == 1
    alias = registry.live("demo")
    assert alias is not None
    assert alias.version == 1
    for body in (None, "", "{}", "null"):
        browser.problem("POST", "/models/demo/rollback", 400, "rollback-impossible", body)


def test_another_alias_is_moved_and_shown_with_who_moved_it(browser: Browser, registry: Registry) -> None:
    moved = browser.json("POST", "/models/demo/promote", {"version": 1, "alias": "canary", "reason": "Try."})
    assert (moved["alias"], moved["version"], moved["previous"]) == ("canary", 1, None)
    model = browser.get("/models/demo")
    assert model["aliases"] == {"canary": 1, "live": 2}
    assert model["live"] == 2
    newest = model["history"][0]
    assert (newest["alias"], newest["by"], newest["why"]) == (
        "canary",
        "arn:aws:iam::000000000000:user/ada",
        "Try.",
    )
    assert browser.get("/models/demo/versions/1")["aliases"] == ["canary"]
    browser.json("POST", "/models/demo/promote", {"version": 3, "alias": "canary"})
    assert browser.json("POST", "/models/demo/rollback", {"alias": "canary"})["version"] == 1
    browser.problem("POST", "/models/demo/promote", 422, "field-invalid", {"version": 1, "alias": "../x"})
    browser.problem("POST", "/models/demo/rollback", 404, "model-unknown", {"alias": "nobody"})


def test_two_versions_are_compared(browser: Browser, registry: Registry) -> None:
    found = browser.get("/models/demo/compare")
    assert (found["version"], found["other"]) == (3, 2)
    assert found["metrics"] == {"roc_auc": {"version": 0.6, "other": 0.8, "better": 2}}
    found = browser.get("/models/demo/compare?version=2&other=1")
    assert found["metrics"]["roc_auc"]["better"] == 2
    assert found["changes"] == found["differences"] == []
    browser.problem("GET", "/models/demo/compare?other=9", 404, "version-unknown")
    browser.problem("GET", "/models/demo/compare?other=0", 422, "field-invalid")
    browser.problem("GET", "/models/other/compare", 404, "model-unknown")


def test_a_version_is_deleted_unless_an_alias_names_it(
    browser: Browser, registry: Registry, artifacts: MemoryObjectStore
) -> None:
    browser.problem("DELETE", "/models/demo/versions/2", 409, "version-in-use")
    assert browser.get("/models/demo/versions/2")["deleted"] is None
    note = browser.json("DELETE", "/models/demo/versions/3?reason=It%20is%20old.")
    assert (note["version"], note["by"], note["why"]) == (
        3,
        "arn:aws:iam::000000000000:user/ada",
        "It is old.",
    )
    assert browser.json("DELETE", "/models/demo/versions/3") == note
    model = browser.get("/models/demo")
    assert ([version["version"] for version in model["versions"]], model["versions_total"]) == ([2, 1], 2)
    shown = browser.get("/models/demo/versions/3")
    assert (shown["deleted"], shown["report"]) == (note, None)
    for form in ("report", "report.json"):
        browser.problem("GET", f"/models/demo/versions/3/{form}", 404, "report-absent")
    browser.problem("POST", "/models/demo/promote", 400, "version-deleted", {"version": 3})
    assert list(artifacts.list(keys.version("demo", 3, ""))) == [keys.version("demo", 3, "version.json")]


def test_registry_as_deployed(deployed: Browser) -> None:
    with_versions(Registry(S3Store("artifacts")))
    assert deployed.get("/models/demo")["live"] == 2
    assert deployed.json("POST", "/models/demo/promote", {"version": 3})["version"] == 3
    assert deployed.json("POST", "/models/demo/rollback")["version"] == 2
    assert deployed.send("GET", "/models/demo/versions/1/report")["body"] == "<html>ä</html>"
    assert deployed.get("/models/demo/compare?version=3")["other"] == 2
    deployed.problem("DELETE", "/models/demo/versions/2", 409, "version-in-use")
    assert deployed.json("DELETE", "/models/demo/versions/3")["version"] == 3
    offer = deployed.json("POST", "/uploads", {"dataset": "cars", "filename": "a.csv"})
    assert (offer["bucket"], offer["key"]) == ("data", "datasets/cars/a.csv")


def test_promoting_what_is_live_answers_how_it_became_so(browser: Browser, registry: Registry) -> None:
    moved = browser.json("POST", "/models/demo/promote", {"version": 2})
    assert (moved["version"], moved["by"]) == (2, "run demo-2")


def test_callers_behind_jwt_are_named(browser: Browser, registry: Registry) -> None:
    del browser.event["requestContext"]["authorizer"]
    assert browser.json("POST", "/models/demo/promote", {"version": 1})["by"] == "anonymous"
    browser.event["requestContext"]["authorizer"] = {"jwt": {"claims": {"sub": "42"}, "scopes": None}}
    assert browser.json("POST", "/models/demo/promote", {"version": 3})["by"] == "42"


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (None, 422, "field-missing", None),
        ("{", 400, "body-not-json", None),
        ('{"version": NaN}', 400, "body-not-json", None),
        ('{"version": 1, "version": 2}', 400, "body-not-json", None),
        ("[]", 422, "field-invalid", None),
        ({}, 422, "field-missing", "version"),
        ({"version": "1"}, 422, "field-invalid", "version"),
        ({"version": True}, 422, "field-invalid", "version"),
        ({"version": 0}, 422, "field-invalid", "version"),
        ({"version": 1, "why": "?"}, 422, "field-unknown", "why"),
        ({"version": 1, "reason": "x" * 501}, 422, "field-invalid", "reason"),
        ('"' + "x" * (1 << 20) + '"', 413, "body-too-large", None),
    ],
)
def test_bodies_that_promote_refuses(
    browser: Browser, registry: Registry, body: Any, status: int, code: str, field: str | None
) -> None:
    details = browser.problem("POST", "/models/demo/promote", status, code, body)
    assert details.get("field") == field


def test_base64_body_and_content_types(browser: Browser, registry: Registry) -> None:
    encoded = base64.b64encode(b'{"version": 1}').decode()
    assert browser.send("POST", "/models/demo/promote", encoded, isBase64Encoded=True)["statusCode"] == 200
    for broken in ("@@@", base64.b64encode(b"\xff\xfe").decode()):
        answer = browser.send("POST", "/models/demo/promote", broken, isBase64Encoded=True)
        assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (400, "body-not-json")
    browser.problem(
        "POST",
        "/models/demo/promote",
        415,
        "content-type",
        "version: 1",
        headers={"content-type": "text/yaml"},
    )


# --- datasets ---------------------------------------------------------------------------------------


def test_a_dataset_is_trained_again_once_a_request(
    deployed: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = MemoryExecutions()
    monkeypatch.setattr("millrace.aws.states.StepFunctionsExecutions", lambda arn: started)
    client("s3").put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
    data, runs = S3Store("data"), DynamoRunStore("runs")
    data.put("datasets/cars/a.csv", b"x,y\n1,2\n")
    version_id = data.head("datasets/cars/a.csv").version_id
    deployed.problem("POST", "/datasets/cars/retrain", 404, "dataset-untrained")
    last = make_run("cars-0123456789ab", key="datasets/cars/a.csv", version_id=version_id, state="SUCCEEDED")
    runs.open(last)
    runs.record_success(last.run_id)
    run = deployed.json("POST", "/datasets/cars/retrain")
    assert (run["state"], run["dataset"], run["file"]) == ("QUEUED", "cars", "s3://data/datasets/cars/a.csv")
    assert run["run"] != last.run_id
    assert runs.get(run["run"]).forced is True
    assert deployed.json("POST", "/datasets/cars/retrain")["run"] == run["run"]
    assert len(started.started) == 1
    deployed.event["requestContext"]["requestId"] = "another"
    assert deployed.json("POST", "/datasets/cars/retrain")["run"] != run["run"]
    deployed.problem("POST", "/datasets/..%2f/retrain", 404, "dataset-untrained")


# --- uploads ----------------------------------------------------------------------------------------


def test_an_upload_is_bounded_and_lands_in_its_dataset(browser: Browser) -> None:
    offer = browser.json("POST", "/uploads", {"dataset": "cars", "filename": "ä b+c.csv", "size_bytes": 5})
    assert (offer["bucket"], offer["key"], offer["max_bytes"]) == (
        "data",
        "datasets/cars/ä b+c.csv",
        MAX_FILE_BYTES,
    )
    assert offer["fields"]["key"] == offer["key"]
    policy = json.loads(base64.b64decode(offer["fields"]["policy"]))
    assert ["content-length-range", 0, MAX_FILE_BYTES] in policy["conditions"]
    assert {"key": offer["key"]} in policy["conditions"]
    assert not any("force" in name for name in offer["fields"])


def test_an_upload_may_be_forced(browser: Browser) -> None:
    offer = browser.json("POST", "/uploads", {"dataset": "cars", "filename": "a.csv", "force": True})
    assert offer["fields"]["x-amz-meta-force"] == "true"


def test_a_file_to_score_lands_with_its_model_and_what_is_asked(browser: Browser) -> None:
    asked = {"version": 2, "keep": ["ä"]}
    offer = browser.json("POST", "/uploads", {"model": "demo", "filename": "a.csv", "score": asked})
    assert offer["key"] == keys.to_score("demo", "a.csv")
    assert json.loads(offer["fields"]["x-amz-meta-score"]) == asked
    assert offer["fields"]["x-amz-meta-score"].isascii()
    spec = browser.json("POST", "/uploads", {"model": "demo", "filename": "score.json"})
    assert (spec["key"], spec["max_bytes"]) == (keys.score_spec("demo"), 65536)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"filename": "a.csv"}, 422, "upload-purpose"),
        ({"filename": "a.csv", "dataset": "demo", "model": "demo"}, 422, "upload-purpose"),
        ({"filename": "a.csv", "dataset": "demo", "score": {"version": 1}}, 422, "upload-purpose"),
        ({"filename": "a.csv", "model": "../x"}, 422, "dataset-name"),
        ({"filename": "a.csv", "model": "demo", "score": {"version": 0}}, 400, "spec-invalid"),
    ],
)
def test_uploads_to_score_that_are_refused(
    browser: Browser, body: dict[str, Any], status: int, code: str
) -> None:
    browser.problem("POST", "/uploads", status, code, body)


def test_a_result_is_offered_for_download(deployed: Browser) -> None:
    runs = DynamoRunStore("runs")
    scored = replace(RUN, run_id="demo-1", score=ScoreSpec(), state="SUCCEEDED", error=None)
    runs.open(replace(scored, result="s3://data/scored/demo/a ü.csv"))
    links = deployed.get("/runs/demo-1/result")
    assert "/scored/demo/a%20%C3%BC.csv?" in links["result"]
    assert "/scored/demo/a%20%C3%BC.csv.rejects.jsonl?" in links["rejects"]
    runs.open(replace(scored, run_id="demo-2"))
    deployed.problem("GET", "/runs/demo-2/result", 404, "result-absent")


def test_a_spec_is_small(browser: Browser) -> None:
    offer = browser.json("POST", "/uploads", {"dataset": "cars", "filename": "spec.json"})
    assert (offer["key"], offer["max_bytes"]) == (keys.spec("cars"), 65536)


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"dataset": "../x", "filename": "a.csv"}, 422, "dataset-name", "dataset"),
        ({"dataset": "a/b", "filename": "a.csv"}, 422, "dataset-name", "dataset"),
        ({"dataset": "", "filename": "a.csv"}, 422, "dataset-name", "dataset"),
        ({"dataset": "x" * 64, "filename": "a.csv"}, 422, "dataset-name", "dataset"),
        ({"dataset": "cars\n", "filename": "a.csv"}, 422, "dataset-name", "dataset"),
        ({"dataset": "cars", "filename": ""}, 422, "file-name", "filename"),
        ({"dataset": "cars", "filename": "../spec.json"}, 422, "file-name", "filename"),
        ({"dataset": "cars", "filename": "x/spec.json"}, 422, "file-name", "filename"),
        ({"dataset": "cars", "filename": "a\\b.csv"}, 422, "file-name", "filename"),
        ({"dataset": "cars", "filename": ".."}, 422, "file-name", "filename"),
        ({"dataset": "cars", "filename": "a\x00.csv"}, 422, "file-name", "filename"),
        ({"dataset": "cars", "filename": "a\ud800.csv"}, 422, "file-name", "filename"),
        ({"dataset": "cars", "filename": "x" * 256}, 422, "file-name", "filename"),
        ({"dataset": "cars"}, 422, "field-missing", "filename"),
        ({"dataset": "cars", "filename": "a.csv", "size_bytes": -1}, 422, "field-invalid", "size_bytes"),
        ({"dataset": "cars", "filename": "a.csv", "spec": {}}, 422, "field-unknown", "spec"),
        (
            {"dataset": "cars", "filename": "a.csv", "size_bytes": MAX_FILE_BYTES + 1},
            413,
            "file-too-large",
            None,
        ),
    ],
)
def test_uploads_that_are_refused(
    browser: Browser, body: Any, status: int, code: str, field: str | None
) -> None:
    assert browser.problem("POST", "/uploads", status, code, body).get("field") == field


# --- the interface itself ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", "POST"),
        ("GET", "/models/demo/aliases/live/predict", "POST"),
        ("POST", "/ping", "GET"),
        ("DELETE", "/models", "GET"),
        ("HEAD", "/models", "GET"),
        ("OPTIONS", "/uploads", "POST"),
        ("PUT", "/models/demo", "GET"),
        ("GET", "/models/demo/promote", "POST"),
        ("POST", "/models/demo/versions/1", "GET, DELETE"),
        ("PATCH", "/runs/x", "GET"),
        ("POST", "/openapi.json", "GET"),
        ("POST", "/docs", "GET"),
    ],
)
def test_wrong_method(browser: Browser, method: str, path: str, allowed: str) -> None:
    browser.problem(method, path, 405, "method-not-allowed")
    assert browser.send(method, path)["headers"]["allow"] == allowed


def test_openapi_describes_every_route_and_both_shapes(browser: Browser) -> None:
    document = browser.get("/openapi.json")
    assert document["openapi"].startswith("3.1")
    operations = {
        (method, path)
        for path, methods in document["paths"].items()
        for method in methods
        if method != "parameters"
    }
    served = {(method.lower(), re.sub("<(.*?)>", r"{\1}", rule)) for method, rule, *_ in serving.routes()}
    assert ("post", "/v2/models/{name}/versions/{version}/infer") in served
    assert operations - served == {
        ("get", "/models"),
        ("get", "/models/{name}"),
        ("get", "/models/{name}/versions/{version}"),
        ("delete", "/models/{name}/versions/{version}"),
        ("get", "/models/{name}/compare"),
        ("get", "/models/{name}/versions/{version}/report"),
        ("get", "/models/{name}/versions/{version}/report.json"),
        ("post", "/models/{name}/promote"),
        ("post", "/models/{name}/rollback"),
        ("post", "/datasets/{dataset}/retrain"),
        ("get", "/runs"),
        ("get", "/runs/{run_id}"),
        ("get", "/runs/{run_id}/result"),
        ("get", "/runs/{run_id}/rejects"),
        ("post", "/uploads"),
    }
    schemas = document["components"]["schemas"]
    assert set(schemas["PredictRequest"]["properties"]) == {
        *("alias", "explain", "model"),
        *("rows", "strict", "version"),
    }
    assert set(schemas["PredictAnswer"]["properties"]) == {
        *("model", "version", "predictions", "probabilities", "intervals", "explanations", "warnings"),
    }
    assert set(schemas["RunView"]["properties"]) == RUN_FIELDS
    predict = document["paths"]["/predict"]["post"]
    assert predict["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith(
        "PredictAnswer"
    )
    shapes = {"mlflow": "/InvocationProblem", "v2": "/InferProblem"}
    for methods in document["paths"].values():
        for operation in methods.values():
            (refused,) = operation["responses"]["422"]["content"].values()
            assert refused["schema"]["$ref"].endswith(shapes.get(operation["tags"][0], "/Problem"))
            assert operation["summary"]
    assert "text/csv" in predict["requestBody"]["content"]
    infer = document["paths"]["/v2/models/{name}/infer"]["post"]
    assert "application/octet-stream" in infer["responses"]["200"]["content"]
    text = json.dumps(document)
    for reference in set(text.split('"$ref": "')[1:]):
        name = reference.split('"')[0].removeprefix("#/components/schemas/")
        assert name in schemas
    assert "HTTPValidationError" not in text


def test_what_predict_answers_is_what_openapi_says(browser: Browser) -> None:
    from millrace.edge.openapi import PredictAnswer, Problem
    from tests.handlers.test_predict import ROW, Caller, publish
    from tests.s3_stub import S3Stub

    with S3Stub() as s3:
        publish(s3, "demo", 1, plans.binary())
        caller = Caller(s3)
        good = caller.post({"rows": [ROW, {}]})
        bad = caller.problem({"rows": [{"age": []}]}, 422, "value-type")
    assert (
        PredictAnswer.model_validate(good, strict=True, extra="forbid").model_dump(exclude_unset=True) == good
    )
    assert Problem.model_validate(bad, strict=True, extra="forbid").row == 0


def test_docs_load_nothing_from_elsewhere(browser: Browser) -> None:
    answer = browser.send("GET", "/docs")
    assert answer["headers"]["Content-Type"] == "text/html; charset=utf-8"
    page = answer["body"]
    assert "SwaggerUIBundle" in page
    assert '"openapi": "3.1' in page
    head = page.split("<script>")[0]
    assert "<link" not in head
    assert " src=" not in page.replace("<script>", "").split("<body>")[1][:200]
    assert "unpkg.com" not in page
    assert "cdn.jsdelivr" not in page
    zipped = browser.send("GET", "/docs", headers={"accept-encoding": "gzip"})
    assert zipped["isBase64Encoded"] is True
    assert gzip.decompress(base64.b64decode(zipped["body"])).decode() == page


def test_predict_does_not_belong_here(browser: Browser) -> None:
    browser.problem("POST", "/predict", 500, "route-misplaced", {"rows": [{}]})


def test_faults_are_answered(
    deployed: Browser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    boto3.client("dynamodb").delete_table(TableName="runs")
    deployed.problem("GET", "/runs", 500, "aws-refused")

    def broken(self: Registry) -> list[str]:
        raise ZeroDivisionError("a secret of the inside")

    monkeypatch.setattr(Registry, "models", broken)
    details = deployed.problem("GET", "/models", 500, "internal")
    assert "secret" not in json.dumps(details)
    assert "a secret of the inside" in caplog.text
    last = vars(caplog.records[-1])
    assert (last["msg"], last["method"], last["path"], last["status"]) == ("request", "GET", "/models", 500)


def test_wrong_settings_are_answered(deployed: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MILLRACE_TABLE")
    deployed.problem("GET", "/runs", 500, "setting-missing")
