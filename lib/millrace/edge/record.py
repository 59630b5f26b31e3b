"""One line a request: a log line in Powertools' shape that carries the request's metrics, too.

Powertools' Logger and Metrics cost ``predict`` 30 to 40 ms of start; its log lines and metrics are
searched and plotted together with those of the other functions, so the shape is the same: a test holds
the two side by side. The metrics are in CloudWatch's embedded format [1]_, whose lines may have members of
their own, so one event in the log has both. What stays the same in it is written once a sandbox.

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
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

__all__ = ["NAMESPACE", "Log", "Metrics"]

NAMESPACE = "Millrace"
_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode
_quoted = json.encoder.encode_basestring_ascii
_WRITTEN: dict[type, Callable[[Any], str]] = {str: _quoted, int: repr, float: repr}
"""What writes most values: the general encoder takes 2 µs for each, as it is set up anew."""
_GAP = "\0"
"""Stands in a form where a value belongs; no JSON text has it."""


def _written(values: Iterable[Any]) -> list[str]:
    """Return the values in JSON; numbers are finite."""
    return [_WRITTEN.get(value.__class__, _encode)(value) for value in values]


def _fixed(members: Mapping[str, Any]) -> str:
    """Return members of an object as they stand in every line of a form."""
    return _encode(members)[1:-1]


def _open(names: Iterable[str], value: str = _GAP) -> str:
    """Return members of an object whose values change from one line to the next."""
    return ",".join([f"{_quoted(name)}:{value}" for name in names])


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
    """Members of a line, with a gap for each value and for the time in milliseconds."""

    def __init__(self, stage: str, units: Mapping[str, str]) -> None:
        directive = {
            "Namespace": NAMESPACE,
            "Dimensions": [["stage", "service"]],
            "Metrics": [{"Name": name, "Unit": unit} for name, unit in units.items()],
        }
        about = _fixed({"CloudWatchMetrics": [directive]})
        gaps = _open(units, f"[{_GAP}]")
        self.form = f'{_fixed({"stage": stage})},{gaps},"_aws":{{"Timestamp":{_GAP},{about}}}'


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
        self._forms: dict[tuple[object, ...], list[str]] = {}
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
        values = [_quoted(message), f"{begin}{int((now - second) * 1000.0):03d}{zone}"]
        arn = None
        if context:
            # It ends in the alias or version that was called, so it may change within a sandbox.
            arn = context.invoked_function_arn
            values += self._cold, _quoted(context.aws_request_id)
            self._cold = "false"
        values += _written(extra.values())
        if trace:
            values.append(_quoted(trace.partition(";")[0].replace("Root=", "")))
        values += map(repr, counts)
        values.append(repr(int(now * 1000.0)))
        key = (level, location, metrics, arn, not trace, *extra)
        form = self._forms.get(key)
        if form is None:
            form = self._forms[key] = self._form(level, location, extra, metrics, context, bool(trace))
        line = form.copy()
        line[1::2] = values
        return "".join(line)

    def _begin(self, second: int) -> None:
        local = time.localtime(second)
        self._second = second
        self._stamp = (time.strftime("%Y-%m-%d %H:%M:%S,", local), time.strftime("%z", local))

    def _form(
        self, level: str, location: str, names: Iterable[str], metrics: Metrics, context: Any, traced: bool
    ) -> list[str]:
        """Return a line in pieces: every other one stands for what changes from one line to the next."""
        parts = [
            _fixed({"level": level, "location": location}),
            f'"message":{_GAP},"timestamp":"{_GAP}"',
            _fixed({"service": self._service}),
        ]
        if context:
            about = {
                "function_name": context.function_name,
                "function_memory_size": context.memory_limit_in_mb,
                "function_arn": context.invoked_function_arn,
            }
            parts += f'"cold_start":{_GAP}', _fixed(about), f'"function_request_id":{_GAP}'
        parts.append(_open(names))
        if traced:
            parts.append(f'"xray_trace_id":{_GAP}')
        parts.append(metrics.form)
        fixed = f"{{{','.join(parts)}}}".split(_GAP)
        line = [""] * (2 * len(fixed) - 1)
        line[::2] = fixed
        return line
