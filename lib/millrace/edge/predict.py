"""``POST /predict``: rows in, predictions out, with nothing imported that a row does not need.

The body is ``{"model", "rows", "strict"?, "version"?}``. The answer is::

    {"model": str, "version": int, "predictions": [...], "probabilities": [{class: p}, ...] | null,
     "warnings": [{"row": int, "field": str, "code": str, "message": str}, ...]}

with one prediction a row, in the order of the rows; rows count from 0. ``probabilities`` is null for
regression. The same body without HTTP around it, as the event of a direct invocation, is answered with the
same object, and an error is then raised instead of answered.
"""

from __future__ import annotations

import json
import sys
import time

from millrace.edge import http, record
from millrace.errors import BadInput, MillraceError, TooLarge, Unprocessable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    from millrace.edge.handler import LambdaContext
    from millrace.plan import Plan
    from millrace.registry.reader import Reader, Served

    class Context(LambdaContext, Protocol):
        """What the log says of the function, too."""

        @property
        def function_name(self) -> str:
            """Its name."""
            ...

        @property
        def invoked_function_arn(self) -> str:
            """Its ARN, as it was called."""
            ...

    class Scorer(Protocol):
        """What scores one row: :class:`millrace.scoring.rows.RowScorer`."""

        def score(self, values: list[float | str | None]) -> tuple[Any, Any]:
            """Return the prediction and, for classification, the probabilities."""
            ...


__all__ = ["Predict"]

SERVICE = "predict"
MAX_ANSWER_BYTES = 6_000_000
"""Lambda answers with at most 6 MB (6,291,556 bytes), the quotes of our body escaped."""
MAX_WARNINGS = 1_000
"""Warnings that an answer lists; the last one then says how many there were."""
MAX_VALUES = 100
"""Refused values that an error lists."""
SPARE_MS = 1_500
"""Scoring stops when less than this is left of the function's time."""
MAX_NAME = 500
"""Characters of an unknown field's name that are repeated to the caller."""
ROWS_A_LOOK = 64
"""Rows between two looks at the clock."""
FIELDS = frozenset(("model", "rows", "strict", "version"))


class Predict:
    """The handler.

    Parameters
    ----------
    environ : mapping
        ``MILLRACE_ARTIFACT_BUCKET``, ``MILLRACE_FRESHNESS_S``, ``MILLRACE_MAX_BODY_BYTES`` and
        ``MILLRACE_STAGE``, read when the first request comes, so that what is wrong there is answered too.
    reader : Reader, optional
        Its ``content`` is a pair of plan and scorer, as :func:`load` makes it.
    write : callable, optional
        Takes the log and the metrics of a request.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        reader: Reader | None = None,
        write: Callable[[str], object] | None = None,
    ) -> None:
        self._environ = environ
        self._given = reader
        self._write = write or _print
        self._max_body_bytes = 0
        self._cold = True

    def __call__(self, event: Mapping[str, Any], context: Context) -> dict[str, Any]:
        """Answer one event: an HTTP request in API Gateway's format 2.0, or a body as it is."""
        began = time.perf_counter()
        told: dict[str, Any] = {}
        is_http = "requestContext" in event
        failure: MillraceError | None = None
        try:
            reader = self._reader()
            request = http.body(event, self._max_body_bytes) if is_http else event
            answer = self.score(reader, request, told, context.get_remaining_time_in_millis)
            text = _text(answer)
            return http.reply(200, text) if is_http else answer
        except MillraceError as error:
            failure = error
            if not is_http:
                raise
            return http.reply_problem(error, event.get("rawPath", ""))
        except Exception as error:
            import traceback

            failure = http.internal()
            told["exception_name"] = type(error).__name__
            told["exception"] = traceback.format_exc()
            if not is_http:
                raise
            return http.reply_problem(failure, event.get("rawPath", ""))
        finally:
            self._record(event, context, told, failure, (time.perf_counter() - began) * 1000)

    def _reader(self) -> Reader:
        if self._max_body_bytes == 0:
            self._max_body_bytes = int(_number(self._environ, "MILLRACE_MAX_BODY_BYTES"))
        if self._given is None:
            from millrace.aws.lean import Bucket
            from millrace.registry.reader import Reader

            self._given = Reader(
                Bucket(_setting(self._environ, "MILLRACE_ARTIFACT_BUCKET"), self._environ),
                load,
                freshness_s=_number(self._environ, "MILLRACE_FRESHNESS_S"),
                warn=self._warn,
            )
        return self._given

    def _warn(self, message: str, error: MillraceError) -> None:
        extra = {"code": error.code, "reason": str(error)}
        self._write(record.log_line("WARNING", "predict:live", message, SERVICE, extra) + "\n")

    @staticmethod
    def score(
        reader: Reader, request: Any, told: dict[str, Any], remaining_ms: Callable[[], int]
    ) -> dict[str, Any]:
        """Score the rows of a request; ``told`` receives what the log says about it."""
        model, rows, strict, version = _request(request)
        told["rows"] = len(rows)
        if model is None:
            model = reader.only()
        served = reader.live(model) if version is None else reader.version(model, version)
        told["model"], told["version"] = served.model, served.version
        answer = _score(served, rows, strict, remaining_ms)
        told["warnings"] = len(answer["warnings"])
        return answer

    def _record(
        self,
        event: Mapping[str, Any],
        context: Context,
        told: dict[str, Any],
        failure: MillraceError | None,
        duration_ms: float,
    ) -> None:
        status = failure.status if failure else 200
        extra: dict[str, Any] = {
            "cold_start": self._cold,
            "function_name": context.function_name,
            "function_memory_size": context.memory_limit_in_mb,
            "function_arn": context.invoked_function_arn,
            "function_request_id": context.aws_request_id,
        }
        request_id = event.get("requestContext", {}).get("requestId") if "requestContext" in event else None
        if request_id:
            extra["correlation_id"] = request_id
        extra["status"] = status
        if failure:
            extra["code"], extra["reason"] = failure.code, str(failure)
        extra.update(told)
        extra["duration_ms"] = round(duration_ms, 3)
        level = "INFO" if status < 500 else "ERROR"
        metrics: dict[str, tuple[str, float]] = {
            "Requests": ("Count", 1),
            "Rows": ("Count", 0 if failure else told.get("rows", 0)),
            "Duration": ("Milliseconds", duration_ms),
            "ClientErrors": ("Count", 400 <= status < 500),
            "ServerErrors": ("Count", status >= 500),
        }
        dimensions = {"stage": self._environ.get("MILLRACE_STAGE") or "unknown", "service": SERVICE}
        self._write(
            record.log_line(level, "predict:handler", "predict", SERVICE, extra)
            + "\n"
            + record.metrics_line(dimensions, metrics)
            + "\n"
        )
        self._cold = False


def _print(text: str) -> None:
    """Write at once: a sandbox may be frozen as soon as the answer is out."""
    sys.stdout.write(text)
    sys.stdout.flush()


def load(data: bytes) -> tuple[Plan, Scorer]:
    """Make of a plan's bytes what rows are scored with."""
    from millrace import plan
    from millrace.scoring.rows import RowScorer

    read = plan.read(data)
    return read, RowScorer(read)


def _score(
    served: Served, rows: list[dict[str, Any]], strict: bool, remaining_ms: Callable[[], int]
) -> dict[str, Any]:
    plan: Plan = served.content[0]
    score = served.content[1].score
    convert_row = plan.signature.convert_row
    converted: list[list[float | str | None]] = []
    warnings: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    more = 0
    for number, row in enumerate(rows):
        if number % ROWS_A_LOOK == 0:
            _in_time(remaining_ms, number, len(rows))
        try:
            values, noticed = convert_row(row)
        except Unprocessable as error:
            refused += _refused(plan, number, row, error)
            if len(refused) >= MAX_VALUES:
                break
            continue
        if noticed:
            if len(warnings) < MAX_WARNINGS:
                warnings += [
                    {"row": number, "field": field[:MAX_NAME], "code": code, "message": message}
                    for field, code, message in noticed
                ]
            else:
                more += len(noticed)
        converted.append(values)
    if strict:
        refused += warnings
    if refused:
        raise _refusal(refused)
    predictions: list[str | float | None] = []
    probabilities: list[dict[str, float | None]] = []
    classes = plan.classes
    for number, values in enumerate(converted):
        if number % ROWS_A_LOOK == 0:
            _in_time(remaining_ms, number, len(rows))
        prediction, shares = score(values)
        size = prediction if shares is None else sum(shares)
        if size - size != 0.0:  # NaN or infinite, which JSON cannot say
            prediction, shares = None, [None] * len(classes)
            message = "The result is not a finite number: the row lies too far outside what training saw"
            warnings.append({"row": number, "field": None, "code": "not-finite", "message": message})
        predictions.append(prediction)
        if classes:
            probabilities.append(dict(zip(classes, shares, strict=True)))
    more += max(0, len(warnings) - MAX_WARNINGS)
    if more:
        message = f"{more} more warnings are not listed"
        warnings[MAX_WARNINGS:] = [{"row": None, "field": None, "code": "warnings-cut", "message": message}]
    return {
        "model": served.model,
        "version": served.version,
        "predictions": predictions,
        "probabilities": probabilities if classes else None,
        "warnings": warnings,
    }


def _refused(plan: Plan, number: int, row: Mapping[str, Any], first: Unprocessable) -> list[dict[str, Any]]:
    """Return every value of a row that does not convert, not the first one alone."""
    from millrace.plan import convert

    found = []
    for field in plan.signature.fields:
        try:
            convert(field, row.get(field["name"]))
        except Unprocessable as error:
            message = f"{error.what}. {error.remedy}"
            found.append({"row": number, "field": field["name"], "code": error.code, "message": message})
    if not found:
        raise first
    return found


def _refusal(values: list[dict[str, Any]]) -> Unprocessable:
    values.sort(key=lambda value: value["row"])
    first = values[0]
    others = f", and {len(values) - 1} more" if len(values) > 1 else ""
    error = Unprocessable(
        f"Nothing was scored, because a value is refused: {first['message'].rstrip('.')}{others}",
        code=first["code"],
        where=f"row {first['row']}, field {first['field']!r}",
        remedy="Correct what 'errors' lists and send the rows again.",
    )
    error.values = tuple(values[:MAX_VALUES])
    return error


def _in_time(remaining_ms: Callable[[], int], done: int, rows: int) -> None:
    if remaining_ms() < SPARE_MS:
        raise TooLarge(
            f"Scoring {rows} rows takes longer than a request may; {done} were done in time",
            code="rows-too-many",
            where="field 'rows'",
            remedy="Send fewer rows in a request.",
        )


def _request(request: Any) -> tuple[str | None, list[dict[str, Any]], bool, int | None]:
    """Check a request and return its model, rows, strictness and version."""
    if not isinstance(request, dict):
        raise _malformed("The body is not a JSON object", code="body-not-an-object", where="the body")
    unknown = sorted(request.keys() - FIELDS)
    if unknown:
        raise _malformed(f"Unknown field {unknown[0]!r:.80}", code="field-unknown", where="the body")
    if "rows" not in request:
        raise _malformed("The field 'rows' is missing", code="rows-missing", where="the body")
    rows = request["rows"]
    if not isinstance(rows, list):
        raise _malformed("'rows' is not a list of objects", code="rows-not-a-list", where="field 'rows'")
    if not rows:
        raise _malformed(
            "'rows' is empty: there is nothing to score", code="rows-empty", where="field 'rows'"
        )
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise _malformed(
                f"Row {number} is not an object", code="row-not-an-object", where=f"row {number}"
            )
    model, strict, version = request.get("model"), request.get("strict"), request.get("version")
    if model is not None and not isinstance(model, str):
        raise _malformed("'model' is not a text", code="model-not-a-text", where="field 'model'")
    if strict is not None and not isinstance(strict, bool):
        raise _malformed(
            "'strict' is neither true nor false", code="strict-not-a-boolean", where="field 'strict'"
        )
    if version is not None and (type(version) is not int or not 0 < version < 1 << 31):
        raise _malformed(
            "'version' is not a positive integer", code="version-not-an-integer", where="field 'version'"
        )
    return model, rows, bool(strict), version


def _malformed(what: str, *, code: str, where: str) -> BadInput:
    return BadInput(
        what,
        code=code,
        where=where,
        remedy='Send {"model": "<name>", "rows": [{"<field>": <value>, …}, …]}.',
    )


def _text(answer: Mapping[str, Any]) -> str:
    """Write the answer; refuse one that Lambda could not carry."""
    text = json.dumps(answer, allow_nan=False, separators=(",", ":"))
    # The body travels inside another JSON text, where quotes and backslashes become two characters.
    size_bytes = len(text) + text.count('"') + text.count("\\")
    if size_bytes > MAX_ANSWER_BYTES:
        raise TooLarge(
            f"The answer would have {size_bytes} bytes and may have {MAX_ANSWER_BYTES}",
            code="answer-too-large",
            where="field 'rows'",
            remedy="Send fewer rows in a request.",
        )
    return text


def _setting(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        from millrace.errors import Misconfigured

        raise Misconfigured(
            f"The environment variable {name} is not set",
            code="setting-missing",
            remedy="Deploy the function from template.yaml.",
        )
    return value


def _number(environ: Mapping[str, str], name: str) -> float:
    text = _setting(environ, name)
    try:
        return float(text)
    except ValueError:
        from millrace.errors import Misconfigured

        raise Misconfigured(
            f"The environment variable {name} is {text!r}, not a number",
            code="setting-type",
            remedy="Correct the parameter of the stack.",
        ) from None
