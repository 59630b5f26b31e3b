"""Warm: CPU and latency of a request, ours beside what else could answer it.

``make bench NAME=warm_predict`` has everybody answer the same rows with the same fitted pipeline, on one
core, in turns: our ``predict`` out of its built zip, an empty handler, a scikit-learn handler and an
onnxruntime handler in sandboxes with the real ``awslambdaric``; FastAPI, BentoML and MLServer over HTTP.

Sandboxes are started anew several times: where a process happens to lie in memory makes its requests up to
a fifth dearer or cheaper, for as long as it lives.

CPU is what all processes of a contender use, divided by the requests; latency is what the caller waits, the
loopback included, on a machine that may be busy with other things. Then blocks of 1,000 rows for each
estimator, through the Lambda runtime interface: parsing the request and writing the answer are part of it.
Throughput is rows a second of CPU. Where skl2onnx cannot convert a pipeline, onnxruntime serves our own
export of its plan, in float64: ``onnx_exported`` says so.

The last line is one JSON object. ``row_cpu_ratio_*`` and ``block_cpu_ratio_*`` are ours divided by the
peer's CPU of a request with 1 and with 1,000 rows, ``row_p50_ratio_*`` and ``row_p99_ratio_*`` of its
latency, ``rss_ratio_*`` of the peak memory after all requests. ``blocks`` has an entry an estimator, with
``throughput_ratio_best_peer`` (ours divided by the better of scikit-learn's and onnxruntime's handler).
``unavailable`` names what could not be started, and why; ``not_covered`` what has no plan yet.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.figures import Table, interleaved, median, percentile, ratio, spread
from benchmarks.hosts import Handler, Handlers, Host, Running, Server, Store, Unavailable, event_of
from benchmarks.models import MODELS, Model, check, models
from benchmarks.servers import SERVERS, body_of, predictions

BLOCK = 1_000
SHORT = {"tutorial, .pyc": "sklearn"}
"""Contenders whose ratios have another name than they have."""


@dataclass(frozen=True)
class Turn:
    """Some requests in a row: CPU seconds of one, and the latency of each in seconds."""

    cpu_s: float
    latencies_s: list[float]


def turn(contender: Running | Server, request: bytes, requests: int) -> Turn:
    """Send the same request some times."""
    latencies = []
    contender.call(request)  # wakes it, and opens a connection that it has closed in the meantime
    before = contender.cpu_s()
    for _ in range(requests):
        began = time.perf_counter()
        contender.call(request)
        latencies.append(time.perf_counter() - began)
    return Turn((contender.cpu_s() - before) / requests, latencies)


def in_turns(
    contenders: Iterable[Running | Server],
    requests: Mapping[str, bytes],
    repeats: int,
    count: int | Mapping[str, int],
) -> dict[str, list[Turn]]:
    """Have all contenders answer, one after the other and all again."""

    def case(contender: Running | Server) -> Any:
        many = count if isinstance(count, int) else count[contender.name]
        return repeats, lambda: turn(contender, requests[contender.name], many)

    return interleaved({contender.name: case(contender) for contender in contenders})


def short(name: str) -> str:
    """Return a contender's name in the JSON object."""
    return SHORT.get(name, name.lower())


def compare(kind: str, found: Mapping[str, list[Turn]]) -> dict[str, Any]:
    """Return the ratios of ours to each peer, and print the figures."""
    result: dict[str, Any] = {}
    table = Table("contender", "CPU ms", "spread", "p50 ms", "p99 ms", "CPU, ours/this", "p50, ours/this")
    cpu = {name: [one.cpu_s for one in turns] for name, turns in found.items()}
    waits = {name: [wait for one in turns for wait in one.latencies_s] for name, turns in found.items()}
    for name in found:
        p50, p99 = (percentile(waits[name], share) for share in (0.5, 0.99))
        line: list[Any] = [None, None]
        if name != "ours":
            key = short(name)
            result[f"{kind}_cpu_ratio_{key}"] = ratio(cpu["ours"], cpu[name])
            result[f"{kind}_p50_ratio_{key}"] = ratio([percentile(waits["ours"], 0.5)], [p50])
            result[f"{kind}_p99_ratio_{key}"] = ratio([percentile(waits["ours"], 0.99)], [p99])
            line = [result[f"{kind}_cpu_ratio_{key}"], result[f"{kind}_p50_ratio_{key}"]]
        table.add(name, 1000 * median(cpu[name]), spread(cpu[name]), 1000 * p50, 1000 * p99, *line)
    table.print(f"a request of {'1 row' if kind == 'row' else f'{BLOCK:,} rows'}")
    return result


def serve_one(handlers: Handlers, host: Host, model: Model, starts: int, repeats: int) -> dict[str, Any]:
    """Compare everybody on one model, at 1 row and at a block."""
    result: dict[str, Any] = {"unavailable": {}}
    kinds = (handlers.ours, handlers.empty, handlers.tutorial(compiled=True), handlers.onnxruntime)
    requests: dict[int, dict[str, bytes]] = {
        rows: {handler.name: event_of(model, rows) for handler in kinds} for rows in (1, BLOCK)
    }
    found: dict[int, dict[str, list[Turn]]] = {1: {}, BLOCK: {}}
    with contextlib.ExitStack() as stack:
        servers: list[Server] = []
        for name, start in SERVERS.items():
            bodies = {rows: body_of(name, model, rows) for rows in requests}
            try:
                server = start(host, model)
                stack.callback(server.close)
                server.wait(bodies[1])
            except (Unavailable, OSError) as error:
                print(f"{name} is not compared: {error}", file=sys.stderr)
                result["unavailable"][name] = str(error)
                continue
            servers.append(server)
            for rows, body in bodies.items():
                requests[rows][name] = body
                check(name, predictions(name, server.ask(body)), model, rows)
        for _ in range(starts):
            with contextlib.ExitStack() as sandboxes:
                contenders: list[Running | Server] = []
                for handler in kinds:
                    running = host.start(handler, model)
                    sandboxes.callback(running.close)
                    contenders.append(running)
                    for rows, events in requests.items():
                        answer = running.ask(events[handler.name])
                        if handler.name != "empty":
                            check(handler.name, answer, model, rows)
                contenders += servers
                # Cheap ones answer more often in a turn: clocks and schedulers weigh as little on them.
                cheap = ("ours", "empty", "onnxruntime")
                counts = {one.name: 200 if one.name in cheap else 20 for one in contenders}
                in_turns(contenders, requests[1], 1, 30)  # to be warm
                for rows, count in ((1, counts), (BLOCK, 3)):
                    for name, turns in in_turns(contenders, requests[rows], repeats, count).items():
                        found[rows].setdefault(name, []).extend(turns)
                memory = {one.name: one.rss_mb() for one in contenders}
    result |= compare("row", found[1]) | compare("block", found[BLOCK])
    ours = memory.pop("ours")
    return result | {f"rss_ratio_{short(name)}": ratio([ours], [peer]) for name, peer in memory.items()}


def block(handlers: list[Handler], host: Host, model: Model, repeats: int, calls: int) -> dict[str, Any]:
    """Compare the handlers on blocks of one model."""
    event = event_of(model, BLOCK)
    with contextlib.ExitStack() as stack:
        running = []
        off: dict[str, float] = {}
        for handler in handlers:
            running.append(host.start(handler, model))
            stack.callback(running[-1].close)
            off[handler.name] = check(handler.name, running[-1].ask(event), model, BLOCK)
        requests = {one.name: event for one in running}
        in_turns(running, requests, 1, 1)
        found = in_turns(running, requests, repeats, calls)
    rates = {name: [BLOCK / one.cpu_s for one in turns] for name, turns in found.items()}
    best = max((name for name in rates if name != "ours"), key=lambda name: median(rates[name]))
    return {
        "throughput_ratio_best_peer": ratio(rates["ours"], rates[best]),
        "best_peer": short(best),
        **{
            f"throughput_ratio_{short(name)}": ratio(rates["ours"], rates[name])
            for name in rates
            if name != "ours"
        },
        "rows_per_cpu_s": {short(name): round(median(rate)) for name, rate in rates.items()},
        "spread": round(max(spread(rate) for rate in rates.values()), 3),
        "onnxruntime_off_by": float(f"{off['onnxruntime']:.2g}") if "onnxruntime" in off else None,
    }


def blocks(handlers: Handlers, host: Host, served: list[Model], repeats: int, calls: int) -> dict[str, Any]:
    """Compare blocks, an entry an estimator."""
    result = {}
    table = Table(
        "blocks of 1,000", "ours", "scikit-learn", "onnxruntime", "ours/best", "spread", "onnx off by"
    )
    for model in served:
        print(f"blocks of {model.name}", file=sys.stderr)
        peers = [handlers.tutorial(compiled=True)]
        if model.onnx["pipeline.onnx"] is None:
            peers.append(handlers.onnxruntime)
        entry = result[model.name] = block([handlers.ours, *peers], host, model, repeats, calls)
        entry["onnx_exported"] = model.exported
        rates = entry["rows_per_cpu_s"]
        table.add(
            model.name,
            *(float(rates[name]) if name in rates else None for name in ("ours", "sklearn", "onnxruntime")),
            *(entry[name] for name in ("throughput_ratio_best_peer", "spread", "onnxruntime_off_by")),
        )
    table.print("rows a second of CPU, through the Lambda runtime interface")
    return result


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="hist_gradient_boosting", help="what everybody serves")
    parser.add_argument("--blocks", nargs="*", default=list(MODELS), help="estimators for the blocks")
    parser.add_argument("--starts", type=int, default=7, help="of each sandbox")
    parser.add_argument("--repeats", type=int, default=7, help="of the blocks; of a request, a start has two")
    parser.add_argument("--quick", action="store_true", help="a smallest run, to see that it works")
    arguments = parser.parse_args()
    starts, repeats, calls = (1, 2, 1) if arguments.quick else (arguments.starts, arguments.repeats, 2)

    served = models(dict.fromkeys([arguments.model, *arguments.blocks]))
    covered = [model for model in served if model.plan is not None and model.name in arguments.blocks]
    store = Store()
    for model in served:
        store.publish(model)
    main_model = served[0]
    result: dict[str, Any] = {
        "benchmark": "warm_predict",
        "model": f"{main_model.name}: {type(main_model.pipeline[-1]).__name__} on examples/diamonds",
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "not_covered": {model.name: model.refused for model in served if model.plan is None},
    }
    with Host(store) as host:
        handlers = Handlers(host.folder)
        result |= serve_one(handlers, host, main_model, starts, 2)
        result["blocks"] = blocks(handlers, host, covered, repeats, calls)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
