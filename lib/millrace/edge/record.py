"""One log line and one metrics line a request, in Powertools' shape, with the standard library.

Powertools' Logger and Metrics cost ``predict`` 30 to 40 ms of start; its log lines and metrics are
searched and plotted together with those of the other functions, so the shape is the same: a test holds
the two side by side. The metrics are in CloudWatch's embedded format [1]_. Both lines are made of parts
that are written once a sandbox, and leave it in one write.

References
----------
.. [1] AWS, "Specification: Embedded metric format", Amazon CloudWatch User Guide.
"""

from __future__ import annotations

import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

__all__ = ["NAMESPACE", "Log", "Metrics"]

NAMESPACE = "Millrace"
_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode
_quoted = json.encoder.encode_basestring_ascii


def _written(values: Iterable[Any]) -> list[Any]:
    """Return what stands for the values in JSON under ``%s``; numbers are finite.

    The general encoder takes 2 µs for a value, as it is set up anew each time.
    """
    return [
        _quoted(value)
        if (kind := value.__class__) is str
        else value
        if kind is int or kind is float
        else _encode(value)
        for value in values
    ]


class Log:
    """Makes log lines with the keys of Powertools' Logger.

    Parameters
    ----------
    service : str
        Stands in every line.
    """

    __slots__ = ("_cold", "_formats", "_second", "_service", "_stamp")

    def __init__(self, service: str) -> None:
        self._service = service
        self._cold = "true"
        self._formats: dict[tuple[object, ...], str] = {}
        self._second = -1
        self._stamp = ("", "")

    def line(
        self, level: str, location: str, message: str, extra: Mapping[str, Any], context: Any = None
    ) -> str:
        """Return a line, without its end.

        Parameters
        ----------
        level, location, message : str
            ``location`` is ``function:line`` or what stands for it.
        extra : mapping
            Its own members, under few names in all; numbers are finite.
        context : LambdaContext, optional
            The function, its memory and the request's id are taken from it; the first one is the cold start.
        """
        trace = os.environ.get("_X_AMZN_TRACE_ID", "")
        values = [_quoted(message), *self._time()]
        function = None
        if context:
            # The ARN ends in the alias or version that was called, so it may change within a sandbox.
            function = (context.function_name, context.memory_limit_in_mb, context.invoked_function_arn)
            values += self._cold, _quoted(context.aws_request_id)
            self._cold = "false"
        values += _written(extra.values())
        if trace:
            values.append(_quoted(trace.partition(";")[0].replace("Root=", "")))
        key = (level, location, function, bool(trace), *extra)
        form = self._formats.get(key)
        if form is None:
            form = self._formats[key] = self._form(level, location, function, bool(trace), extra)
        return form % tuple(values)

    def _form(
        self, level: str, location: str, function: Sequence[Any] | None, traced: bool, names: Iterable[str]
    ) -> str:
        """Return a line in which ``%s`` stands for whatever changes from one line to the next."""

        def fixed(**members: Any) -> str:
            return _encode(members)[1:-1].replace("%", "%%")

        parts = [
            fixed(level=level, location=location),
            '"message":%s,"timestamp":"%s%03d%s"',
            fixed(service=self._service),
        ]
        if function:
            name, memory, arn = function
            about = fixed(function_name=name, function_memory_size=memory, function_arn=arn)
            parts += '"cold_start":%s', about, '"function_request_id":%s'
        parts += [f"{_quoted(name).replace('%', '%%')}:%s" for name in names]
        if traced:
            parts.append('"xray_trace_id":%s')
        return f"{{{','.join(parts)}}}"

    def _time(self) -> tuple[str, int, str]:
        now = time.time()
        second = int(now)
        if second != self._second:
            local = time.localtime(second)
            self._second = second
            self._stamp = (time.strftime("%Y-%m-%d %H:%M:%S,", local), time.strftime("%z", local))
        begin, zone = self._stamp
        return begin, int((now - second) * 1000.0), zone


class Metrics:
    """Makes lines of metrics under one set of dimensions.

    Parameters
    ----------
    dimensions : mapping
        Name to value.
    units : mapping
        The metrics' names and units, in the order of the values of a line.
    """

    __slots__ = ("_fixed", "_values")

    def __init__(self, dimensions: Mapping[str, str], units: Mapping[str, str]) -> None:
        directive = {
            "Namespace": NAMESPACE,
            "Dimensions": [list(dimensions)],
            "Metrics": [{"Name": name, "Unit": unit} for name, unit in units.items()],
        }
        self._fixed = f'"CloudWatchMetrics":{_encode([directive])}}},{_encode(dimensions)[1:-1]},'
        self._values = ",".join([f"{_encode(name).replace('%', '%%')}:[%r]" for name in units])

    def line(self, *values: float) -> str:
        """Return a line, without its end; one finite value for each metric."""
        return f'{{"_aws":{{"Timestamp":{int(time.time() * 1000)},{self._fixed}{self._values % values}}}'
