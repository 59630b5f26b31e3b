"""The handler: an event in, the right protocol's answer out, one log line and one metrics line written."""

from __future__ import annotations

import sys
import time

from millrace.edge import http, record
from millrace.edge.predict import ours
from millrace.edge.predict.call import Call
from millrace.edge.predict.score import load
from millrace.errors import MillraceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    from millrace.edge.handler import LambdaContext
    from millrace.registry.reader import Reader

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


__all__ = ["Predict"]

SERVICE = "predict"


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
        path: str = event.get("rawPath", "") if is_http else ""
        failure: MillraceError | None = None
        try:
            reader = self._reader()
            remaining_ms = context.get_remaining_time_in_millis
            call = Call(event, path, reader, self._max_body_bytes, remaining_ms, told)
            return ours.answer(call) if is_http else ours.answer_object(call, event)
        except MillraceError as error:
            failure = error
            if not is_http:
                raise
            return ours.refuse(error, path)
        except Exception as error:
            import traceback

            failure = http.internal()
            told["exception_name"] = type(error).__name__
            told["exception"] = traceback.format_exc()
            if not is_http:
                raise
            return ours.refuse(failure, path)
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
