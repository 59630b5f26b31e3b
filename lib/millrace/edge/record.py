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
    from collections.abc import Mapping
    from typing import Any

__all__ = ["NAMESPACE", "Log", "Metrics"]

NAMESPACE = "Millrace"
_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode
_quoted = json.encoder.encode_basestring_ascii


def _members(values: Mapping[str, Any]) -> str:
    """Write the inside of an object whose names need no escaping, and whose numbers are finite.

    The general encoder takes 2 µs for a value, as it is set up anew each time.
    """
    written = ""
    for name, value in values.items():
        kind = value.__class__
        if kind is str:
            written += f',"{name}":{_quoted(value)}'
        elif kind is int or kind is float:
            written += f',"{name}":{value!r}'
        else:
            written += f',"{name}":{_encode(value)}'
    return written[1:]


class Log:
    """Makes log lines with the keys of Powertools' Logger.

    Parameters
    ----------
    service : str
        Stands in every line.
    """

    __slots__ = ("_cold", "_fixed", "_of", "_second", "_service", "_stamp")

    def __init__(self, service: str) -> None:
        self._service = _encode(service)
        self._cold = "true"
        self._of: tuple[object, ...] = ()
        self._fixed = ""
        self._second = -1
        self._stamp = ("", "")

    def line(
        self, level: str, location: str, message: str, extra: Mapping[str, Any], context: Any = None
    ) -> str:
        """Return a line, without its end.

        Parameters
        ----------
        level, location, message : str
            ``location`` is ``function:line`` or what stands for it. None needs escaping.
        extra : mapping
            Its own members, at least one; names that need no escaping, numbers that are finite.
        context : LambdaContext, optional
            The function, its memory and the request's id are taken from it; the first one is the cold start.
        """
        trace = os.environ.get("_X_AMZN_TRACE_ID")
        about = f',"xray_trace_id":{_quoted(trace.partition(";")[0].replace("Root=", ""))}' if trace else ""
        return (
            f'{{"level":"{level}","location":"{location}","message":{_quoted(message)},'
            f'"timestamp":"{self._time()}","service":{self._service},'
            f"{self._function(context) if context else ''}{_members(extra)}{about}}}"
        )

    def _function(self, context: Any) -> str:
        # The ARN ends in the alias or version that was called, so it may change within a sandbox.
        of = (context.function_name, context.memory_limit_in_mb, context.invoked_function_arn)
        if of != self._of:
            names = ("function_name", "function_memory_size", "function_arn")
            self._of, self._fixed = of, _members(dict(zip(names, of, strict=True)))
        cold, self._cold = self._cold, "false"
        return f'"cold_start":{cold},{self._fixed},"function_request_id":{_quoted(context.aws_request_id)},'

    def _time(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            local = time.localtime(second)
            self._second = second
            self._stamp = (time.strftime("%Y-%m-%d %H:%M:%S,", local), time.strftime("%z", local))
        begin, zone = self._stamp
        return f"{begin}{int((now - second) * 1000.0):03d}{zone}"


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
