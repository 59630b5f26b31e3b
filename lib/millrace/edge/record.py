"""One log line and one metrics line a request, in Powertools' shape, with the standard library.

Powertools' Logger and Metrics cost ``predict`` 30 to 40 ms of start; its log lines and metrics are
searched and plotted together with those of the other functions, so the shape is the same: a test holds
the two side by side. The metrics are in CloudWatch's embedded format [1]_.

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

__all__ = ["NAMESPACE", "log_line", "metrics_line"]

NAMESPACE = "Millrace"


def log_line(level: str, location: str, message: str, service: str, extra: Mapping[str, Any]) -> str:
    """Return a log line with the keys of Powertools' Logger; ``location`` is ``function:line``."""
    now = time.time()
    line: dict[str, Any] = {
        "level": level,
        "location": location,
        "message": message,
        "timestamp": time.strftime(f"%Y-%m-%d %H:%M:%S,{int(now * 1000) % 1000:03d}%z", time.localtime(now)),
        "service": service,
        **extra,
    }
    trace = os.environ.get("_X_AMZN_TRACE_ID")
    if trace:
        line["xray_trace_id"] = trace.split(";")[0].replace("Root=", "")
    return json.dumps(line, separators=(",", ":"), default=str)


def metrics_line(dimensions: Mapping[str, str], metrics: Mapping[str, tuple[str, float]]) -> str:
    """Return metrics, ``{name: (unit, value)}``, under one set of dimensions."""
    return json.dumps(
        {
            "_aws": {
                "Timestamp": int(time.time() * 1000),
                "CloudWatchMetrics": [
                    {
                        "Namespace": NAMESPACE,
                        "Dimensions": [list(dimensions)],
                        "Metrics": [{"Name": name, "Unit": unit} for name, (unit, _) in metrics.items()],
                    }
                ],
            },
            **dimensions,
            **{name: [float(value)] for name, (_, value) in metrics.items()},
        },
        separators=(",", ":"),
    )
