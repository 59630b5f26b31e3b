"""Every route but those of ``predict``: runs, models, versions, promotion, uploads, the interface itself."""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.openapi.exceptions import (
    RequestUnsupportedContentType,
    RequestValidationError,
)
from aws_lambda_powertools.event_handler.openapi.params import Path, Query

from millrace import __version__, keys
from millrace.edge import http
from millrace.edge.openapi import (
    ComparisonView,
    DeletionView,
    ModelList,
    ModelSummary,
    ModelView,
    MoveView,
    Problem,
    PromoteRequest,
    RejectsView,
    ResultView,
    RollbackRequest,
    RunList,
    RunSummary,
    RunView,
    UploadRequest,
    UploadView,
    VersionSummary,
    VersionView,
    problems,
)
from millrace.edge.serving import SHAPES, Name, Number, Route, add_types, routes
from millrace.errors import BadInput, MillraceError, NotFound, TooLarge, Unprocessable
from millrace.registry.compare import compare
from millrace.registry.registry import Registry
from millrace.registry.versions import Alias
from millrace.runs.again import train_again
from millrace.runs.ingest import DATASET, MAX_SPEC_BYTES, SCORE_METADATA, parse_score_spec
from millrace.runs.rejects import read_rejects

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from millrace.aws.uploads import S3Uploads
    from millrace.contracts import ObjectStore, RunStore
    from millrace.runs.ports import Executions

__all__ = ["Manage", "logger"]

MAX_BODY_BYTES = 1 << 20
UPLOAD_S = 3600
"""How long a form to upload with is good for."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_FILENAME = re.compile(r"[^\x00-\x1f\x7f/\\\ud800-\udfff]{1,255}")

Limit = Annotated[int, Query(ge=1, le=100, description="Entries of a page.")]


class Manage:
    """The HTTP interface over the registry and the runs.

    Parameters
    ----------
    artifacts, data : ObjectStore
        The artifact bucket and the data bucket.
    runs : RunStore
        Run records.
    executions : Executions
        Of the runs' state machine.
    uploads : S3Uploads
        Signs forms.
    max_file_bytes : int
        Largest file that is accepted.
    """

    def __init__(
        self,
        *,
        artifacts: ObjectStore,
        data: ObjectStore,
        runs: RunStore,
        executions: Executions,
        uploads: S3Uploads,
        max_file_bytes: int,
    ) -> None:
        self._artifacts = artifacts
        self._registry = Registry(artifacts)
        self._data = data
        self._runs = runs
        self._executions = executions
        self._uploads = uploads
        self._data_bucket = data.bucket
        self._max_file_bytes = max_file_bytes
        self._app = _app(self)

    def __call__(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
        """Answer a request in API Gateway's format 2.0, whatever happens."""
        began = time.perf_counter()
        request = event["requestContext"]
        log = logger()
        log.clear_state()
        log.append_keys(correlation_id=request.get("requestId"), request_id=context.aws_request_id)
        try:
            text = http.body_text(event, MAX_BODY_BYTES)
            plain = {**event, "body": text or None, "isBase64Encoded": False}
            answer: dict[str, Any] = self._app.resolve(plain, context)
        except BadInput as error:
            answer = http.reply_problem(error, event.get("rawPath", ""))
        except Exception:
            log.exception("failed unexpectedly")
            answer = http.reply_problem(http.internal(), event.get("rawPath", ""))
        done = {
            "method": request["http"]["method"],
            "path": event.get("rawPath", ""),
            "status": answer["statusCode"],
            "seconds": round(time.perf_counter() - began, 3),
        }
        log.info("request", extra=done)
        return answer

    # --- runs ----------------------------------------------------------------------------------

    def list_runs(
        self,
        limit: Limit = 20,
        cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    ) -> RunList:
        """List runs, newest first."""
        runs, following = self._runs.list(limit=limit, cursor=cursor)
        return RunList(runs=[RunSummary.of(run) for run in runs], next=following)

    def get_run(self, run_id: Annotated[str, Path()]) -> RunView:
        """Show a run: its state, progress, rows, metrics, error and cost."""
        return RunView.of(self._runs.get(run_id, full=True))

    def get_result(self, run_id: Annotated[str, Path()]) -> ResultView:
        """Offer links to download what a run scored, its rejected records and its report, for one hour."""
        run = self._runs.get(run_id)
        if run.result is None:
            raise NotFound(
                f"The run {run_id!r:.100} has no result",
                code="result-absent",
                where="the path",
                remedy="A run that scores a file has one when it has succeeded.",
            )
        key = run.result.removeprefix(f"s3://{self._data_bucket}/")
        return ResultView(
            result=self._uploads.link(key, expires_s=UPLOAD_S),
            rejects=self._uploads.link(keys.scored_rejects(key), expires_s=UPLOAD_S),
            report=self._uploads.link(keys.scored_report(key), expires_s=UPLOAD_S),
            expires_s=UPLOAD_S,
        )

    def get_rejects(
        self,
        run_id: Annotated[str, Path()],
        cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    ) -> RejectsView:
        """List a run's rejected records as they came, with line, byte offset, column and reason."""
        self._runs.get(run_id)
        page = read_rejects(run_id, self._artifacts, cursor)
        return RejectsView(
            header=page.header, encoding=page.encoding, rejects=list(page.rejects), next=page.next
        )

    # --- models --------------------------------------------------------------------------------

    def list_models(self) -> ModelList:
        """List models with what is live of each."""
        models = []
        for name in self._registry.models():
            alias = self._registry.live(name)
            version = self._registry.version(name, alias.version) if alias else None
            models.append(
                ModelSummary(
                    model=name,
                    live=alias.version if alias else None,
                    version=VersionSummary.of(version) if version else None,
                )
            )
        return ModelList(models=models)

    def get_model(self, name: Name, limit: Limit = 20) -> ModelView:
        """Show a model: its aliases, its newest versions, and every decision about an alias."""
        numbers = self._numbers(name)
        aliases = self._registry.aliases(name)
        gone = self._registry.deleted(name)
        there = [number for number in numbers if number not in gone]
        moves = [MoveView.of(name, alias.alias, move) for alias in aliases for move in alias.history]
        named = {alias.alias: alias.version for alias in aliases}
        return ModelView(
            model=name,
            live=named.get("live"),
            aliases=named,
            versions=[VersionSummary.of(self._registry.version(name, number)) for number in there[:limit]],
            versions_total=len(there),
            history=sorted(moves, key=lambda move: move.at, reverse=True),
        )

    def get_version(self, name: Name, version: Number) -> VersionView:
        """Show a version: what it was made of, how good it is, and the fields that it takes."""
        self._numbers(name)
        found = self._registry.version(name, version)
        deletion = self._registry.deletion(name, version)
        return VersionView.of_version(
            found,
            self._artifacts.bucket,
            self._registry.aliases(name),
            deletion,
            self._registry.verdict(name, version),
        )

    def get_report(self, name: Name, version: Number) -> Response[str]:
        """Show a version's report as a page."""
        return Response(200, "text/html; charset=utf-8", self._report(name, version, "html"), compress=True)

    def get_report_json(self, name: Name, version: Number) -> Response[str]:
        """Show what a version's report says, and more, as JSON: run, schema, columns, evaluation, cost."""
        return Response(200, "application/json", self._report(name, version, "json"), compress=True)

    def _report(self, name: str, version: int, form: str) -> str:
        self._numbers(name)
        absent = NotFound(
            f"Version {version} has no report", code="report-absent", remedy="Look at its run instead."
        )
        if not self._registry.version(name, version).report or self._registry.deletion(name, version):
            raise absent
        try:
            return self._artifacts.get(keys.version(name, version, f"report.{form}")).decode()
        except NotFound:  # a version from before reports were kept as JSON
            raise absent from None

    def compare_versions(
        self,
        name: Name,
        version: Annotated[int | None, Query(ge=1, description="By default the newest.")] = None,
        other: Annotated[int | None, Query(ge=1, description="By default the live one.")] = None,
    ) -> ComparisonView:
        """Compare two versions: metrics, fields, and what made them."""
        numbers = self._numbers(name)
        if other is None:
            alias = self._registry.live(name)
            if alias is None:
                raise BadInput(
                    f"No version of {name!r} is live",
                    code="comparison-unclear",
                    where="the query",
                    remedy="Name both versions: ?version=2&other=1.",
                )
            other = alias.version
        newest = self._registry.version(name, version or numbers[0])
        return ComparisonView.of(compare(newest, self._registry.version(name, other)))

    def delete_version(
        self,
        name: Name,
        version: Number,
        reason: Annotated[str, Query(max_length=500, description="Why.")] = "",
    ) -> DeletionView:
        """Delete a version that no alias names; its record stays."""
        self._numbers(name)
        note = self._registry.delete(name, version, by=self._caller(), why=reason or "By hand.")
        return DeletionView.of(name, note)

    def promote(self, name: Name, body: PromoteRequest) -> MoveView:
        """Let an alias name a version, whatever the gate decided."""
        self._numbers(name)
        why = body.reason or "By hand."
        alias = self._registry.promote(name, body.version, by=self._caller(), why=why, alias=body.alias)
        return _last_move(alias)

    def rollback(self, name: Name, body: RollbackRequest | None = None) -> MoveView:
        """Let an alias name the version that it named before the present one was promoted."""
        body = body or RollbackRequest()
        why = body.reason or "Rolled back by hand."
        alias = self._registry.rollback(_model(name), by=self._caller(), why=why, alias=body.alias)
        return _last_move(alias)

    # --- datasets ------------------------------------------------------------------------------

    def retrain(self, dataset: Annotated[str, Path()]) -> RunSummary:
        """Train again on the file that the dataset was last trained on, with the spec that it has now."""
        if not DATASET.fullmatch(dataset):
            raise NotFound(
                f"There is no dataset {dataset[:64]!r}",
                code="dataset-untrained",
                where="the path",
                remedy="Upload a file to datasets/<dataset>/; it trains at once.",
            )
        run = train_again(
            dataset,
            occasion=str(self._app.current_event.request_context.request_id),
            data=self._data,
            runs=self._runs,
            executions=self._executions,
            max_file_bytes=self._max_file_bytes,
        )
        return RunSummary.of(run)

    # --- uploads -------------------------------------------------------------------------------

    def offer_upload(self, body: UploadRequest) -> UploadView:
        """Offer a form that uploads one file, to train on or to score, within the limit, for one hour."""
        key, is_spec = _place(body)
        if not _FILENAME.fullmatch(body.filename) or body.filename in (".", ".."):
            raise _refused(
                "filename",
                "A file's name has 1 to 255 characters, none of them a slash or a control character",
                code="file-name",
            )
        max_bytes = MAX_SPEC_BYTES if is_spec else self._max_file_bytes
        if body.size_bytes is not None and body.size_bytes > max_bytes:
            raise TooLarge(
                f"The file has {body.size_bytes} bytes and may have {max_bytes}",
                code="file-too-large",
                where="field 'size_bytes'",
                remedy="Split the file, or raise the stack's MaxFileBytes.",
            )
        metadata = {"force": "true"} if body.force else {}
        if body.score:
            metadata[SCORE_METADATA] = json.dumps(body.score)
            parse_score_spec([(metadata[SCORE_METADATA].encode(), "field 'score'")])
        form = self._uploads.presign(key, max_bytes=max_bytes, expires_s=UPLOAD_S, metadata=metadata)
        return UploadView(
            url=form.url,
            fields=dict(form.fields),
            bucket=self._data_bucket,
            key=key,
            max_bytes=max_bytes,
            expires_s=UPLOAD_S,
        )

    # --- the interface itself --------------------------------------------------------------------

    def show_openapi(self) -> Response[str]:
        """Return this description as OpenAPI 3.1."""
        return Response(200, http.JSON, json.dumps(self.document()), compress=True)

    def show_docs(self) -> Response[str]:
        """Show this description as a page that loads nothing from elsewhere."""
        return Response(200, "text/html; charset=utf-8", _page(self.document()), compress=True)

    def document(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        text = self._app.get_openapi_json_schema(
            title="Millrace",
            version=__version__,
            description="A CSV in a bucket becomes a tested model. Every error is answered as problem "
            "details (RFC 9457) with a stable code.",
        )
        document: dict[str, Any] = json.loads(text)
        for name in ("HTTPValidationError", "ResponseValidationError", "ValidationError"):
            document["components"]["schemas"].pop(name, None)  # Powertools' own shapes, which we do not use
        add_types(document)
        return document

    # --- inside --------------------------------------------------------------------------------

    def _numbers(self, name: str) -> list[int]:
        numbers = self._registry.numbers(_model(name))
        if not numbers:
            raise _unknown(name)
        return numbers

    def _caller(self) -> str:
        """Return who asks, as the gateway's authorizer knows them."""
        authorizer = self._app.current_event.request_context.get("authorizer") or {}
        claims = (authorizer.get("jwt") or {}).get("claims") or {}
        return str(
            (authorizer.get("iam") or {}).get("userArn")
            or claims.get("email")
            or claims.get("sub")
            or "anonymous"
        )


def _app(manage: Manage) -> APIGatewayHttpResolver:
    app = APIGatewayHttpResolver(enable_validation=True, debug=False, json_body_deserializer=http.parse)
    ours: list[Route] = [
        ("GET", "/models", manage.list_models, "models", problems(503)),
        ("GET", "/models/<name>", manage.get_model, "models", problems(404, 422, 503)),
        ("GET", "/models/<name>/versions/<version>", manage.get_version, "models", problems(404, 422, 503)),
        (
            "DELETE",
            "/models/<name>/versions/<version>",
            manage.delete_version,
            "models",
            problems(404, 409, 422, 503),
        ),
        ("GET", "/models/<name>/compare", manage.compare_versions, "models", problems(400, 404, 422, 503)),
        (
            "GET",
            "/models/<name>/versions/<version>/report",
            manage.get_report,
            "models",
            {200: {"description": "The page", "content": {"text/html": {"schema": {"type": "string"}}}}}
            | dict(problems(404, 422, 503)),
        ),
        (
            "GET",
            "/models/<name>/versions/<version>/report.json",
            manage.get_report_json,
            "models",
            {
                200: {
                    "description": "The same",
                    "content": {"application/json": {"schema": {"type": "object"}}},
                }
            }
            | dict(problems(404, 422, 503)),
        ),
        ("POST", "/models/<name>/promote", manage.promote, "models", problems(400, 404, 409, 422, 503)),
        ("POST", "/models/<name>/rollback", manage.rollback, "models", problems(400, 404, 409, 422, 503)),
        ("POST", "/datasets/<dataset>/retrain", manage.retrain, "datasets", problems(400, 404, 503)),
        ("GET", "/runs", manage.list_runs, "runs", problems(400, 422, 503)),
        ("GET", "/runs/<run_id>", manage.get_run, "runs", problems(404, 503)),
        ("GET", "/runs/<run_id>/result", manage.get_result, "runs", problems(404, 503)),
        ("GET", "/runs/<run_id>/rejects", manage.get_rejects, "runs", problems(400, 404, 413, 503)),
        ("POST", "/uploads", manage.offer_upload, "uploads", problems(400, 413, 422)),
    ]
    allowed: dict[str, list[str]] = {}
    for method, rule, function, tag, failures in [*routes(), *ours]:
        described = {
            200: {"description": "Success"},
            **problems(422, shape=SHAPES.get(tag, Problem)),
            **failures,
        }
        summary, _, _ = (function.__doc__ or "").partition("\n")
        app.route(
            rule,
            method,
            summary=summary.rstrip("."),
            operation_id=function.__name__,
            tags=[tag],
            responses=described,
        )(function)
        allowed.setdefault(rule, []).append(method)
    for rule, function in (("/openapi.json", manage.show_openapi), ("/docs", manage.show_docs)):
        app.get(rule, include_in_schema=False)(function)
        allowed[rule] = ["GET"]

    def answer(error: MillraceError) -> Response[str]:
        if error.status >= 500:
            logger().error("failed", extra={"code": error.code, "reason": str(error)}, exc_info=True)
        reply = http.reply_problem(error, app.current_event.path)
        return Response(reply["statusCode"], body=reply["body"], headers=reply["headers"])

    def refuser(methods: list[str]) -> Callable[[], Response[str]]:
        def refuse() -> Response[str]:
            return answer(http.wrong_method(*methods))

        return refuse

    for rule, methods in allowed.items():
        others = [method for method in METHODS if method not in methods]
        app.route(rule, others, include_in_schema=False)(refuser(methods))
    app.not_found(lambda _: answer(http.no_route(app.current_event.path)))
    app.exception_handler(MillraceError)(answer)
    app.exception_handler(RequestValidationError)(lambda invalid: answer(_invalid(invalid.errors())))
    app.exception_handler(RequestUnsupportedContentType)(
        lambda _: answer(http.wrong_type("The body is not declared as JSON", "Send application/json."))
    )
    return app


def _invalid(found: Sequence[Mapping[str, Any]]) -> Unprocessable:
    """Return what Powertools' validation found, as one error with every refused value."""
    values = []
    for item in found:
        place = [str(part) for part in item["loc"][1:]]  # without "body", "path" or "query"
        code = "field-missing" if item["type"] == "missing" else "field-invalid"
        if item["type"] == "extra_forbidden":
            code = "field-unknown"
        values.append({"row": None, "field": ".".join(place) or None, "code": code, "message": item["msg"]})
    first = values[0]
    error = Unprocessable(
        f"A value is refused: {first['message']}",
        code=str(first["code"]),
        where=f"field {first['field']!r}" if first["field"] else "the body",
        remedy="Correct what 'errors' lists.",
    )
    error.values = tuple(values)
    return error


def _place(body: UploadRequest) -> tuple[str, bool]:
    """Return the key to upload to, and whether it is a spec's."""
    if (body.dataset is None) == (body.model is None):
        raise _refused(
            "dataset",
            "An upload names a dataset, to train on the file, or a model, to score it: one of the two",
            code="upload-purpose",
        )
    name = body.model if body.dataset is None else body.dataset
    if name is None or not DATASET.fullmatch(name):
        raise _refused(
            "model" if body.dataset is None else "dataset",
            "A dataset's or a model's name begins with a letter or digit and has at most 63 letters, digits, "
            "'.', '_' and '-'",
            code="dataset-name",
        )
    if body.model is None:
        if body.score:
            raise _refused("score", "Only a file that a model scores takes 'score'", code="upload-purpose")
        return keys.upload(name, body.filename), body.filename == keys.SPEC
    return keys.to_score(name, body.filename), body.filename == keys.SCORE_SPEC


def _refused(field: str, what: str, *, code: str) -> Unprocessable:
    error = Unprocessable(what, code=code, where=f"field {field!r}", remedy="Choose another name.")
    error.values = ({"row": None, "field": field, "code": code, "message": f"{what}."},)
    return error


def _model(name: str) -> str:
    """Return ``name`` if a model can be called so; nothing else may become part of a key."""
    if not DATASET.fullmatch(name):
        raise _unknown(name)
    return name


def _unknown(name: str) -> NotFound:
    return NotFound(
        f"There is no model {name[:64]!r}",
        code="model-unknown",
        where="the path",
        remedy="GET /models lists the models.",
    )


def _last_move(alias: Alias) -> MoveView:
    """Return the decision by which the alias names the version that it does."""
    moves = [move for move in alias.history if move.action != "held"]
    return MoveView.of(alias.model, alias.alias, moves[0])


def _page(document: Mapping[str, Any]) -> str:
    """Return the page of the interface: Swagger UI as Powertools carries it, script and style inside."""
    from importlib import resources

    home = resources.files("aws_lambda_powertools.event_handler.openapi.swagger_ui")
    script = home.joinpath("swagger-ui-bundle.min.js").read_text("utf-8")
    style = home.joinpath("swagger-ui.min.css").read_text("utf-8")
    spec = json.dumps(document).replace("</", "<\\/")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Millrace: HTTP interface</title>
<style>{style}</style>
</head>
<body>
<div id="interface"></div>
<script>{script}</script>
<script>
SwaggerUIBundle({{dom_id: "#interface", spec: {spec}, deepLinking: true, validatorUrl: null}});
</script>
</body>
</html>
"""


@functools.cache
def logger() -> Logger:
    """Return the function's log."""
    from aws_lambda_powertools import Logger

    return Logger(service="manage")
