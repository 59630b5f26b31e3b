"""From process start to the first answer: ours beside what else could answer.

``make bench NAME=cold_start`` runs each handler in a sandbox of its own, one after the other and all again,
until each has had its repeats: a process with the real ``awslambdaric``, which reads its model from an S3 on
the loopback and answers one row. All read over the same transport: plain, and once more over TLS with a
certificate chain of three behind the usual bundle of roots. All run on one core.

- ``ours``: ``predict`` out of the zip that the build makes, with its log line and its metrics;
- ``tutorial``: scikit-learn, pandas, joblib and boto3, with Powertools' Logger and Metrics; once with the
  byte code of its packages, once without, as ``sam build`` delivers them;
- ``onnxruntime``: with numpy, our own small S3 client, and a log line and metrics by ``print``; skl2onnx made
  its model, whose answers are wrong where trees split categories as sets;
- ``empty``: returns at once; reads and logs nothing.

CPU is user and system time of the whole process with its children, from its start to its end right after the
answer; memory is the peak of the resident set.

The last line is one JSON object: ``cpu_ratio_*``, ``wall_ratio_*`` and ``rss_ratio_*`` are ours divided by
the peer's, medians of all repeats; ``tls`` holds the same over TLS; ``figures`` medians and their spread.
"""

from __future__ import annotations

import argparse
import json
import platform
import ssl
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.figures import Table, interleaved, median, ratio, spread
from benchmarks.hosts import PEERS, TOOLS, Cold, Handler, Handlers, Host, Store, event_of
from benchmarks.models import Model, check, models

SHORT = {
    "tutorial, .pyc": "tutorial_pyc",
    "tutorial, no .pyc": "tutorial",
    "onnxruntime": "onnxruntime",
    "empty": "empty",
}
"""Handlers by the names of their ratios."""


def measure(host: Host, handlers: dict[Handler, int], model: Model) -> dict[str, list[Cold]]:
    """Run the handlers in turns, each as often as it says, and look at their answers."""
    event = event_of(model, 1)
    for handler in handlers:  # what is read from disk for the first time is nobody's cost
        answer = host.cold(handler, model, event).answer
        if handler.name != "empty":
            check(handler.name, answer, model, 1)
    cases = {
        handler.name: (repeats, lambda handler=handler: host.cold(handler, model, event))
        for handler, repeats in handlers.items()
    }
    return interleaved(cases)


def summary(found: dict[str, list[Cold]]) -> dict[str, Any]:
    """Return ratios and figures."""
    result: dict[str, Any] = {}
    ours = found["ours"]
    for name, short in SHORT.items():
        for key, field in (("cpu", "cpu_s"), ("wall", "wall_s"), ("rss", "rss_mb")):
            if name in found:
                result[f"{key}_ratio_{short}"] = ratio(
                    [getattr(one, field) for one in ours], [getattr(one, field) for one in found[name]]
                )
    result["figures"] = {
        name: {
            "cpu_ms": round(1000 * median(one.cpu_s for one in all_), 1),
            "cpu_spread": round(spread([one.cpu_s for one in all_]), 3),
            "wall_ms": round(1000 * median(one.wall_s for one in all_), 1),
            "rss_mb": round(median(one.rss_mb for one in all_), 1),
            "repeats": len(all_),
        }
        for name, all_ in found.items()
    }
    return result


def show(title: str, result: dict[str, Any]) -> None:
    """Print the figures as a table."""
    table = Table("handler", "CPU ms", "spread", "wall ms", "peak MB", "CPU, ours/this", "memory, ours/this")
    for name, figures in result["figures"].items():
        short = SHORT.get(name)
        ratios = [result[f"{key}_ratio_{short}"] if short else None for key in ("cpu", "rss")]
        table.add(name, *(figures[key] for key in ("cpu_ms", "cpu_spread", "wall_ms", "rss_mb")), *ratios)
    table.print(title)


def chain(folder: Path, lean: list[Handler]) -> tuple[ssl.SSLContext, dict[str, str]]:
    """Return the server's side of a certificate chain, and what makes boto3 trust it.

    The root is added to the bundle that botocore brings, all of which boto3 reads; and to the five that our
    own small client has in ``lean``.
    """
    subprocess.run([TOOLS / "peers" / "bin" / "python", PEERS / "chain.py", folder], check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    usual = next((TOOLS / "runtime").glob("lib/python*/site-packages/botocore/cacert.pem"))
    bundle = folder / "bundle.pem"
    root = (folder / "root.pem").read_bytes()
    bundle.write_bytes(usual.read_bytes() + root)
    for handler in lean:
        with (handler.code / "millrace" / "aws" / "roots.pem").open("ab") as roots:
            roots.write(root)
    return context, {"AWS_CA_BUNDLE": str(bundle)}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="hist_gradient_boosting", help="a key of benchmarks.models.MODELS")
    parser.add_argument("--repeats", type=int, default=15, help="of the cheap handlers")
    parser.add_argument("--quick", action="store_true", help="a smallest run, to see that it works")
    arguments = parser.parse_args()
    cheap = 2 if arguments.quick else arguments.repeats
    dear = 1 if arguments.quick else max(3, cheap // 2)

    [model] = models([arguments.model])
    plain = Store()
    plain.publish(model)
    result: dict[str, Any] = {
        "benchmark": "cold_start",
        "model": f"{arguments.model}: {type(model.pipeline[-1]).__name__} on examples/diamonds",
        "plan_bytes": len(model.plan or b""),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }
    with Host(plain) as host:
        handlers = Handlers(host.folder)
        runs = {
            handlers.ours: cheap,
            handlers.empty: cheap,
            handlers.onnxruntime: cheap,
            handlers.tutorial(compiled=True): dear,
            handlers.tutorial(compiled=False): max(1, dear // 2),
        }
        result |= summary(measure(host, runs, model))
        show("cold start, S3 in plain", result)
        (host.folder / "chain").mkdir()
        context, environment = chain(host.folder / "chain", [handlers.ours, handlers.onnxruntime])
        encrypted = Store(context)
        encrypted.publish(model)
        with Host(encrypted, environment) as tls_host:
            result["tls"] = summary(measure(tls_host, runs, model))
        show("cold start, S3 over TLS", result["tls"])
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
