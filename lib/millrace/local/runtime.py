"""The runtime server: where the emulator has functions run and tells of event source mappings.

One sandbox for each concurrent invocation, taken up again while warm, ended when idle; of one function so
many at once as the machine's processors bear, and more invocations wait for their turn. Code and layers
come as zip files named by their checksum and are unpacked once.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import socket
import socketserver
import threading
import time
import uuid
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from millrace.errors import Misconfigured
from millrace.local.sandbox import Call, Outcome, Sandbox

__all__ = ["Packages", "Pool", "RuntimeServer", "free_socket"]

_log = logging.getLogger(__name__)

_KEPT_S = 3 * 24 * 3600
_AT_ONCE = 4 * (os.cpu_count() or 1)
"""Sandboxes of one function that work at once: Lambda has a thousand, this machine its processors."""


class Packages:
    """Unzipped code and layers, by checksum.

    Parameters
    ----------
    folder : Path
        Where the emulator leaves ``<sha256>.zip``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        """Remove what no function has used for days; the emulator leaves it again when one does."""
        oldest = time.time() - _KEPT_S
        for path in self.folder.iterdir():
            if path.stat().st_mtime < oldest:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def root(self, name: str) -> Path:
        """Return the folder with the package's files, unpacked on first use."""
        root = self.folder / name
        with self._lock:
            if root.is_dir():
                os.utime(root)
                return root
            archive = self.folder / f"{name}.zip"
            if not archive.is_file():
                raise Misconfigured(
                    f"The package {name} of a function is not there",
                    code="package-missing",
                    remedy="Deploy the function again.",
                )
            part = self.folder / f"{name}.unpacking"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            with zipfile.ZipFile(archive) as file:
                for member in file.infolist():
                    path = Path(file.extract(member, part))
                    mode = member.external_attr >> 16
                    if mode & 0o111 and path.is_file():
                        path.chmod(mode & 0o777)
            part.rename(root)
            archive.unlink()
        return root


class Pool:
    """The sandboxes of all functions.

    Parameters
    ----------
    packages : Packages
        Code and layers.
    python : Path
        Interpreter of the functions' runtime.
    folder : Path
        Where sandboxes have their temporary files.
    environment : mapping
        What the platform adds to a function's variables.
    idle_s : float
        How long a sandbox is kept without work.
    at_once : int
        How many sandboxes of one function work at once; an invocation waits for its turn before its time
        begins.
    """

    def __init__(
        self,
        packages: Packages,
        *,
        python: Path,
        folder: Path,
        environment: Mapping[str, str],
        idle_s: float = 120.0,
        at_once: int = _AT_ONCE,
    ) -> None:
        self._packages = packages
        self._python = python
        self._folder = folder
        self._environment = environment
        self._idle_s = idle_s
        self._at_once = at_once
        self._busy: Counter[str] = Counter()
        self._idle: dict[str, list[Sandbox]] = {}
        self._all: set[Sandbox] = set()
        self._lock = threading.Lock()
        self._given_back = threading.Condition(self._lock)
        self._closed = threading.Event()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._lifeline, self._hold = os.pipe()
        threading.Thread(target=self._reap, name="sandbox-reaper", daemon=True).start()

    def invoke(self, call: Call, event: bytes) -> Outcome:
        """Run a function in a warm sandbox, or in a new one."""
        with self._turn(call.kind):
            sandbox = self._take(call)
            try:
                return sandbox.invoke(call, event)
            finally:
                self._give_back(sandbox)

    def close(self) -> None:
        """End all sandboxes; an invocation that is under way ends as if its process had crashed."""
        with self._given_back:
            self._closed.set()
            self._given_back.notify_all()
            idle = [one for group in self._idle.values() for one in group]
            self._idle.clear()
            self._all.difference_update(idle)
            busy = list(self._all)
        for sandbox in idle:
            sandbox.close()
        for sandbox in busy:
            sandbox.kill()
        with self._given_back:
            self._given_back.wait_for(lambda: not self._all, timeout=5.0)
        os.close(self._hold)
        os.close(self._lifeline)

    @contextlib.contextmanager
    def _turn(self, kind: str) -> Iterator[None]:
        with self._given_back:
            self._given_back.wait_for(lambda: self._closed.is_set() or self._busy[kind] < self._at_once)
            self._busy[kind] += 1
        try:
            yield
        finally:
            with self._given_back:
                self._busy[kind] -= 1
                self._given_back.notify_all()

    def _take(self, call: Call) -> Sandbox:
        kind = call.kind
        with self._lock:
            if self._closed.is_set():
                raise Misconfigured("The platform is stopping", code="platform-stopping")
            while self._idle.get(kind):
                sandbox = self._idle[kind].pop()
                if sandbox.alive:
                    return sandbox
                self._all.discard(sandbox)
                sandbox.close()
        roots = [self._packages.root(name) for name in (call.code, *call.layers)]
        sandbox = Sandbox(
            call,
            python=self._python,
            roots=roots,
            folder=self._folder / uuid.uuid4().hex,
            environment=self._environment,
            lifeline=self._lifeline,
        )
        with self._lock:
            self._all.add(sandbox)
        return sandbox

    def _give_back(self, sandbox: Sandbox) -> None:
        with self._lock:
            if sandbox.alive and not self._closed.is_set():
                self._idle.setdefault(sandbox.kind, []).append(sandbox)
                return
        sandbox.close()
        with self._lock:
            self._all.discard(sandbox)

    def _reap(self) -> None:
        while not self._closed.wait(min(5.0, self._idle_s)):
            oldest = time.monotonic() - self._idle_s
            with self._lock:
                gone = [one for group in self._idle.values() for one in group if one.used_at < oldest]
                for kind, group in list(self._idle.items()):
                    kept = [one for one in group if one not in gone]
                    if kept:
                        self._idle[kind] = kept
                    else:
                        del self._idle[kind]
                self._all.difference_update(gone)
            for sandbox in gone:
                sandbox.close()


class RuntimeServer:
    """HTTP on the loopback: ``POST /invoke`` and ``POST /mappings``.

    Parameters
    ----------
    invoke : callable
        Runs a function.
    announce : callable
        Takes the event source mappings as the emulator tells of them.
    """

    def __init__(
        self, invoke: Callable[[Call, bytes], Outcome], announce: Callable[[dict[str, Any]], None]
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/mappings":
                    announce(json.loads(body))
                    self._answer(200, b"{}")
                    return
                head, _, event = body.partition(b"\n")
                try:
                    outcome = invoke(Call.load(json.loads(head)), event)
                except (Misconfigured, OSError, zipfile.BadZipFile) as error:
                    _log.exception("A function could not be run")
                    self._answer(500, str(error).encode())
                    return
                line = {"error": outcome.error, "log": outcome.log, "duration_ms": outcome.duration_ms}
                self._answer(200, json.dumps(line).encode() + b"\n" + outcome.payload)

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                _log.debug(format, *args)

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def address(self) -> str:
        """``host:port``."""
        host, port = self._server.server_address[:2]
        return f"{host if isinstance(host, str) else host.decode()}:{port}"

    def start(self) -> None:
        """Serve in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        """Bind without asking a name server for our own name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]


def free_socket(port: int = 0) -> socket.socket:
    """Return a socket bound to the loopback, at ``port`` when that is free, else at any."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", port))
    except OSError:
        if not port:
            raise
        sock.close()
        return free_socket()
    return sock
