"""An HTTP proxy between the functions and the embedded AWS, which fails on purpose.

Each function has a port of its own, so that the proxy knows who calls. What goes wrong is decided by
:class:`tests.chaos.faults.Faults`; here it is done: calls are refused, answered with an error, held, lost
after they took effect, doubled, or their caller is killed. A call that no fault names goes through unchanged.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.chaos.faults import Call, Faults, Rule

HANG_S = 120.0
"""A held call is let go at last; every function's time ends long before."""

Answer = tuple[int, list[tuple[str, str]], bytes]


class Gone(Exception):
    """The caller gets no answer."""


class Proxy:
    """The proxy of one platform; it outlives a restart of it.

    Parameters
    ----------
    functions : iterable of str
        Names that :attr:`urls` has a port for.
    endpoint : callable
        Returns the URL of the embedded AWS as it is now.
    supervisor : callable
        Returns the process whose children, and no other process, may be killed.
    """

    def __init__(
        self, functions: tuple[str, ...], endpoint: Callable[[], str], supervisor: Callable[[], int]
    ) -> None:
        self._endpoint = endpoint
        self._supervisor = supervisor
        self._lock = threading.Lock()
        self._owners: dict[str, Faults] = {}
        self._functions: dict[str, Faults] = {}
        self._servers = {name: self._server(name) for name in functions}
        self.urls: Mapping[str, str] = {
            name: f"http://127.0.0.1:{server.server_address[1]}" for name, server in self._servers.items()
        }

    def close(self) -> None:
        """Stop serving."""
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def watch(self, needle: str, faults: Faults) -> None:
        """Let calls that mention ``needle`` (a run, a file, a token) meet ``faults``."""
        with self._lock:
            self._owners[needle] = faults

    def watch_function(self, function: str, faults: Faults) -> None:
        """Let all calls of a function that mention no other scenario meet ``faults``."""
        with self._lock:
            self._functions[function] = faults

    def unwatch(self, faults: Faults) -> None:
        """Let nothing go wrong with the scenario's calls any more."""
        with self._lock:
            for owners in (self._owners, self._functions):
                for needle in [name for name, owner in owners.items() if owner is faults]:
                    del owners[needle]

    def _server(self, function: str) -> ThreadingHTTPServer:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _serve(self) -> None:
                proxy._serve(self, function)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing: what went wrong is in the scenario's own list."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A caller that was killed leaves broken connections behind."""

        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        return server

    def _serve(self, handler: BaseHTTPRequestHandler, function: str) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        call = _call(function, handler.command, handler.path, handler.headers.get("X-Amz-Target"), body)
        faults = self._faults(call)
        rule = faults.meet(call) if faults is not None else None
        try:
            answer = self._do(handler, call, body, rule, faults)
        except (Gone, OSError, http.client.HTTPException):
            handler.close_connection = True
            with contextlib.suppress(OSError):
                handler.connection.shutdown(socket.SHUT_RDWR)
            return
        status, headers, data = answer
        handler.send_response_only(status)
        for name, value in headers:
            handler.send_header(name, value)
        if handler.command != "HEAD":
            handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(data)

    def _faults(self, call: Call) -> Faults | None:
        """Return what the call's scenario has in store; a token with which a pass begins is its run's."""
        with self._lock:
            found = next((owner for needle, owner in self._owners.items() if needle in call.text), None)
            found = found or self._functions.get(call.function)
            if found is not None and call.token:
                self._owners[call.token] = found
                found.tokens.add(call.token)
        return found

    def _do(
        self,
        handler: BaseHTTPRequestHandler,
        call: Call,
        body: bytes,
        rule: Rule | None,
        faults: Faults | None,
    ) -> Answer:
        forward = lambda data=body: self._forward(handler, data)  # noqa: E731
        if rule is None or faults is None:
            return forward()
        match rule.action:
            case "throttle":
                return _refused(call)
            case "error":
                return _failed(call)
            case "drop":
                raise Gone
            case "lose":
                forward()
                raise Gone
            case "delay":
                time.sleep(rule.seconds)
                return forward()
            case "hang-before" | "hang-after":
                if rule.action == "hang-after":
                    forward()
                _wait_until_gone(handler.connection)
                raise Gone
            case "kill-before":
                self._kill(handler)
                raise Gone
            case "kill-during":
                under_way = threading.Thread(target=_quietly, args=(forward,))
                under_way.start()
                self._kill(handler)
                under_way.join()
                raise Gone
            case "kill-after":
                forward()
                self._kill(handler)
                raise Gone
            case "double" | "part":
                return _altered(rule.action, faults.rng, body, forward)

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
        address = urlsplit(self._endpoint())
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=120)
        try:
            headers = {
                name: value
                for name, value in handler.headers.items()
                if name.lower() not in ("content-length", "connection", "expect", "host")
            }
            headers["Host"] = address.netloc
            headers["Content-Length"] = str(len(body))
            connection.request(handler.command, handler.path, body, headers)
            got = connection.getresponse()
            data = got.read()
        finally:
            connection.close()
        leave = {"connection", "transfer-encoding", "date", "server"}
        leave |= {"content-length"} if handler.command != "HEAD" else set()
        return got.status, [pair for pair in got.getheaders() if pair[0].lower() not in leave], data

    def _kill(self, handler: BaseHTTPRequestHandler) -> None:
        """End the process at the other end, which must be a sandbox of our platform."""
        client, server = handler.client_address[1], handler.server.server_address[1]  # type: ignore[index]
        pid = _process_of(client, server, self._supervisor())
        if pid is None:  # it has ended by itself
            return
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            try:
                os.kill(pid, signal.SIGKILL)
                _readable(descriptor, 5.0)
            finally:
                os.close(descriptor)


def _call(function: str, method: str, path: str, target: str | None, body: bytes) -> Call:
    if target is None:
        parts = urlsplit(path)
        text = unquote(parts.path)
        operation = f"s3:{method}"
        if method == "GET" and "list-type" in parts.query:
            operation, text = "s3:LIST", f"{text}?{unquote(parts.query)}"
        return Call(function, operation, text)
    service = {"DynamoDB": "dynamodb", "Kinesis": "kinesis"}.get(target.split("_")[0], "states")
    name = target.rpartition(".")[2]
    text = body.decode(errors="replace")
    asked = json.loads(body)
    token = ""
    if service == "kinesis":
        records = [base64.b64decode(one["Data"]) for one in asked.get("Records", [])]
        text = b"\n".join(records).decode(errors="replace")
    elif ":token" in asked.get("ExpressionAttributeValues", {}):
        token = asked["ExpressionAttributeValues"][":token"]["S"]
    return Call(function, f"{service}:{name}", text, token)


def _refused(call: Call) -> Answer:
    """Return what a service answers that is asked too often."""
    service = call.operation.partition(":")[0]
    if service == "s3":
        return _xml(503, "SlowDown")
    code = "ThrottlingException" if service == "states" else "ProvisionedThroughputExceededException"
    return _json(400, {"__type": code, "message": "chaos: too many requests"})


def _failed(call: Call) -> Answer:
    """Return what a service answers that broke; nothing was done."""
    if call.operation.startswith("s3:"):
        return _xml(500, "InternalError")
    return _json(500, {"__type": "InternalFailure", "message": "chaos: it broke"})


def _xml(status: int, code: str) -> Answer:
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>chaos</Message></Error>"
    return status, [("Content-Type", "application/xml")], text.encode()


def _json(status: int, value: Any) -> Answer:
    return status, [("Content-Type", "application/x-amz-json-1.1")], json.dumps(value).encode()


def _altered(action: str, rng: random.Random, body: bytes, forward: Callable[[bytes], Answer]) -> Answer:
    """Put a stream's records twice and in another order, or only a part of them.

    The second copies lie elsewhere on the stream, so that two workers have the same record at the same time,
    as they may when Lambda's pollers are moved.
    """
    asked = json.loads(body)
    records = asked["Records"]
    if action == "double":
        copies = [
            {**one, "PartitionKey": f"{rng.random()}", "ExplicitHashKey": str(rng.randrange(2**128))}
            for one in records
        ]
        many = records + copies
        rng.shuffle(many)
        status, headers, data = forward(json.dumps({**asked, "Records": many}).encode())
        said = json.loads(data)
        said["Records"] = said["Records"][: len(records)]
        return status, headers, json.dumps(said).encode()
    taken = [rng.random() < 0.5 for _ in records]
    taken[rng.randrange(len(taken))] = False
    some = [record for record, take in zip(records, taken, strict=True) if take]
    done: list[Any] = []
    if some:
        done = json.loads(forward(json.dumps({**asked, "Records": some}).encode())[2])["Records"]
    refused = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "chaos"}
    results = [done.pop(0) if take else refused for take in taken]
    return _json(200, {"FailedRecordCount": taken.count(False), "Records": results})


def _quietly(forward: Callable[[], Answer]) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        forward()


def _wait_until_gone(connection: socket.socket) -> None:
    connection.settimeout(HANG_S)
    with contextlib.suppress(OSError):
        connection.recv(1)


def _readable(descriptor: int, seconds: float) -> None:
    import select

    select.select([descriptor], [], [], seconds)


def _process_of(client_port: int, server_port: int, parent: int) -> int | None:
    """Return the child of ``parent`` that holds the connection between the two ports of the loopback."""
    wanted = f"0100007F:{client_port:04X}", f"0100007F:{server_port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if (fields[1], fields[2]) == wanted:
            link = f"socket:[{fields[9]}]"
            break
    else:
        return None
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) != parent:
                continue
            for descriptor in (folder / "fd").iterdir():
                if str(descriptor.readlink()) == link:
                    return int(folder.name)
    return None
