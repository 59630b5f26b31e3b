"""One line a request: a log line in Powertools' shape that carries the request's metrics, too.

Powertools' Logger and Metrics cost ``predict`` 30 to 40 ms of start; its log lines and metrics are
searched and plotted together with those of the other functions, so the shape is the same: a test holds
the two side by side. The metrics are in CloudWatch's embedded format [1]_, whose lines may have members of
their own, so one event in the log has both. It is made of parts that are written once a sandbox.

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
    from collections.abc import Iterable, Mapping
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


def _fixed(members: Mapping[str, Any]) -> str:
    """Return members of an object as they stand in every line of a form."""
    return _encode(members)[1:-1].replace("%", "%%")


def _open(names: Iterable[str], value: str = "%s") -> str:
    """Return members of an object whose values change from one line to the next."""
    return ",".join([f"{_quoted(name).replace('%', '%%')}:{value}" for name in names])


class Metrics:
    """What lines of one kind count.

    Parameters
    ----------
    stage : str
        A dimension; the other one is the line's own ``service``.
    units : mapping
        The metrics' names and units, in the order of their values.
    """

    __slots__ = ("form",)

    form: str
    """Members of a line, in which ``%s`` stands for the time in milliseconds and for each value."""

    def __init__(self, stage: str, units: Mapping[str, str]) -> None:
        directive = {
            "Namespace": NAMESPACE,
            "Dimensions": [["stage", "service"]],
            "Metrics": [{"Name": name, "Unit": unit} for name, unit in units.items()],
        }
        about = _fixed({"CloudWatchMetrics": [directive]})
        self.form = f'{_fixed({"stage": stage})},{_open(units, "[%s]")},"_aws":{{"Timestamp":%s,{about}}}'


class Log:
    """Makes log lines with the keys of Powertools' Logger.

    Parameters
    ----------
    service : str
        Stands in every line.
    """

    __slots__ = ("_cold", "_forms", "_second", "_service", "_stamp")

    def __init__(self, service: str) -> None:
        self._service = service
        self._cold = "true"
        self._forms: dict[tuple[object, ...], str] = {}
        self._second = -1
        self._stamp = ("", "")

    def line(
        self,
        level: str,
        location: str,
        message: str,
        extra: Mapping[str, Any],
        metrics: Metrics,
        counts: Iterable[float],
        context: Any = None,
    ) -> str:
        """Return a line, without its end.

        Parameters
        ----------
        level, location, message : str
            ``location`` is ``function:line`` or what stands for it.
        extra : mapping
            Its own members, under few names in all; numbers are finite.
        metrics : Metrics
            What the line counts.
        counts : iterable of float
            One finite value for each of these.
        context : LambdaContext, optional
            The function, its memory and the request's id are taken from it; the first one is the cold start.
        """
        now = time.time()
        second = int(now)
        if second != self._second:
            self._begin(second)
        begin, zone = self._stamp
        trace = os.environ.get("_X_AMZN_TRACE_ID", "")
        values = [_quoted(message), begin, int((now - second) * 1000.0), zone]
        arn = None
        if context:
            # It ends in the alias or version that was called, so it may change within a sandbox.
            arn = context.invoked_function_arn
            values += self._cold, _quoted(context.aws_request_id)
            self._cold = "false"
        values += _written(extra.values())
        if trace:
            values.append(_quoted(trace.partition(";")[0].replace("Root=", "")))
        values += counts
        values.append(int(now * 1000.0))
        key = (level, location, metrics, arn, not trace, *extra)
        form = self._forms.get(key)
        if form is None:
            form = self._forms[key] = self._form(level, location, extra, metrics, context, bool(trace))
        return form % tuple(values)

    def _begin(self, second: int) -> None:
        local = time.localtime(second)
        self._second = second
        self._stamp = (time.strftime("%Y-%m-%d %H:%M:%S,", local), time.strftime("%z", local))

    def _form(
        self, level: str, location: str, names: Iterable[str], metrics: Metrics, context: Any, traced: bool
    ) -> str:
        """Return a line in which ``%s`` stands for whatever changes from one line to the next."""
        parts = [
            _fixed({"level": level, "location": location}),
            '"message":%s,"timestamp":"%s%03d%s"',
            _fixed({"service": self._service}),
        ]
        if context:
            about = {
                "function_name": context.function_name,
                "function_memory_size": context.memory_limit_in_mb,
                "function_arn": context.invoked_function_arn,
            }
            parts += '"cold_start":%s', _fixed(about), '"function_request_id":%s'
        parts.append(_open(names))
        if traced:
            parts.append('"xray_trace_id":%s')
        parts.append(metrics.form)
        return f"{{{','.join(parts)}}}"
