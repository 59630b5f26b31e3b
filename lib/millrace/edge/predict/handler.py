"""The handler: an event in, the right protocol's answer out, one line for the log and the metrics written."""

from __future__ import annotations

import os
import time

from millrace.edge import http, record
from millrace.edge.predict import ours
from millrace.edge.predict.call import Call
from millrace.edge.predict.score import array_bytes, load
from millrace.errors import MillraceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    from millrace.edge.handler import LambdaContext
    from millrace.edge.predict.routes import Spoken
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
HELD_SHARE = 0.5
"""Share of the function's memory that loaded plans may take: the rest is for the interpreter, a request and
its answer, and the plan that is being loaded."""
UNITS = {
    "Requests": "Count",
    "Rows": "Count",
    "Duration": "Milliseconds",
    "ClientErrors": "Count",
    "ServerErrors": "Count",
}


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
        stage = environ.get("MILLRACE_STAGE") or "unknown"
        self._log = record.Log(SERVICE)
        self._metrics = record.Metrics(stage, UNITS)
        self._unreadable = record.Metrics(stage, {"AliasesUnreadable": "Count"})

    def __call__(self, event: Mapping[str, Any], context: Context) -> dict[str, Any]:
        """Answer one event: an HTTP request in API Gateway's format 2.0, or a body as it is."""
        began = time.perf_counter_ns()
        request = event.get("requestContext") if isinstance(event, dict) else None
        is_http = request is not None
        path: str = event.get("rawPath", "") if is_http else ""
        failure: MillraceError | None = None
        protocol: Spoken = ours
        told: dict[str, Any] = {"protocol": "predict" if is_http else "direct"}
        if request and request.get("requestId"):
            told["correlation_id"] = request["requestId"]
        try:
            if is_http and path != "/predict":
                from millrace.edge.predict.routes import protocol_of

                protocol, told["protocol"] = protocol_of(path)
            reader = self._given or self._reader(context)
            remaining_ms = context.get_remaining_time_in_millis
            call = Call(event, path, reader, self._max_body_bytes, remaining_ms, told)
            return protocol.answer(call) if is_http else ours.answer_object(call, event)
        except MillraceError as error:
            failure = error
            if not is_http:
                raise
            return protocol.refuse(error, path)
        except Exception as error:
            import traceback

            failure = http.internal()
            told["exception_name"] = type(error).__name__
            told["exception"] = traceback.format_exc()
            if not is_http:
                raise
            return protocol.refuse(failure, path)
        finally:
            self._record(context, told, failure, (time.perf_counter_ns() - began) // 1000 / 1000)

    def _reader(self, context: Context) -> Reader:
        from millrace.aws.lean import Bucket
        from millrace.registry.reader import Reader

        environ = self._environ
        self._max_body_bytes = int(_number(environ, "MILLRACE_MAX_BODY_BYTES"))
        self._given = Reader(
            Bucket(_setting(environ, "MILLRACE_ARTIFACT_BUCKET"), environ),
            load,
            array_bytes=array_bytes,
            freshness_s=_number(environ, "MILLRACE_FRESHNESS_S"),
            memory_bytes=int(HELD_SHARE * int(context.memory_limit_in_mb) * (1 << 20)),
            warn=self._warn,
        )
        return self._given

    def _warn(self, message: str, error: MillraceError) -> None:
        extra = {"code": error.code, "reason": str(error)}
        line = self._log.line("WARNING", "predict:alias", message, extra, self._unreadable, (1,))
        self._write(f"{line}\n")

    def _record(
        self,
        context: Context,
        told: dict[str, Any],
        failure: MillraceError | None,
        duration_ms: float,
    ) -> None:
        rows, status, level = told.get("rows", 0), 200, "INFO"
        if failure:
            rows, status = 0, failure.status
            told["code"], told["reason"] = failure.code, str(failure)
            if status >= 500:
                level = "ERROR"
        told["status"], told["duration_ms"] = status, duration_ms
        counts = (1, rows, duration_ms, int(400 <= status < 500), int(status >= 500))
        line = self._log.line(level, "predict:handler", "predict", told, self._metrics, counts, context)
        self._write(f"{line}\n")


def _print(text: str) -> None:
    """Write at once: a sandbox may be frozen as soon as the answer is out.

    To the runtime's standard output, past Python's: a third of what the line costs is in its layers.
    """
    data = text.encode()
    while data:
        data = data[os.write(1, data) :]


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
