"""Where the handlers and servers of a benchmark run: sandboxes and HTTP servers, all on one core.

A sandbox is the project's own (:mod:`millrace.local.sandbox`): the real ``awslambdaric`` in a process, behind
a Runtime API. Whatever is measured runs on the last core that this process may use, and whoever calls it on
the others. CPU is user and system time of whole processes, read from their clocks in nanoseconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.models import Model
from millrace import keys
from millrace.local.sandbox import Call, Sandbox
from millrace.local.settings import runtime_python

__all__ = [
    "Cold",
    "Handler",
    "Handlers",
    "Host",
    "Running",
    "Server",
    "Store",
    "Unavailable",
    "event_of",
    "free_port",
]

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "benchmarks" / "peers"
TOOLS = ROOT / ".tools"
BUCKET = "artifacts"
MEMORY_MB = 1769
"""What buys one processor on Lambda."""
START_S = 60.0
"""How long a server may take to answer for the first time."""


def event_of(model: Model, rows: int) -> bytes:
    """Return an event of API Gateway with the first rows of the model's table as its body."""
    event = json.loads((ROOT / "events" / "predict.http.json").read_text())
    event["body"] = json.dumps({"model": model.name.replace("_", "-"), "rows": model.data.rows(rows)})
    return json.dumps(event).encode()


class Store:
    """An S3 bucket on the loopback: GET alone, with an etag, plain or over TLS."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.objects: dict[str, bytes] = {}
        objects = self.objects

        class Request(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1  # one packet for the head, not one a line

            def do_GET(self) -> None:
                body = objects.get(self.path.partition("?")[0].removeprefix(f"/{BUCKET}/"))
                etag = f'"{hashlib.md5(body or b"", usedforsecurity=False).hexdigest()}"'
                same = self.headers.get("If-None-Match") == etag
                self.send_response(404 if body is None else 304 if same else 200)
                self.send_header("ETag", etag)
                self.send_header("Content-Length", str(0 if same else len(body or b"")))
                self.end_headers()
                if body and not same:
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Request)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def publish(self, model: Model) -> None:
        """Put a model there in every form: as a live version for ours, as files for the peers."""
        name = model.name.replace("_", "-")
        if model.plan is not None:
            self.objects[keys.version(name, 1, "model.plan")] = model.plan
            alias = {"model": name, "alias": "live", "version": 1, "history": []}
            self.objects[keys.alias(name)] = json.dumps(alias).encode()
        for path in model.folder.iterdir():
            self.objects[f"{name}/{path.name}"] = path.read_bytes()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


@dataclass(frozen=True, eq=False)
class Handler:
    """A Lambda function: its unzipped code, and a layer, a folder that holds ``python``."""

    name: str
    code: Path
    layer: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


class Handlers:
    """The handlers as a deployment would leave them, in a folder.

    Parameters
    ----------
    folder : Path
        A new folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # The interpreter's own packages and awslambdaric are compiled on Lambda, too.
        _compile(TOOLS / "runtime")

    @functools.cached_property
    def ours(self) -> Handler:
        """``predict`` out of the zip that the build makes."""
        sys.path.insert(0, str(ROOT / "layers"))
        import build  # type: ignore[import-not-found]

        build.BUILD.mkdir(exist_ok=True)
        with (build.BUILD / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            build.build_predict()
            code = self._folder / "ours"
            with zipfile.ZipFile(build.BUILD / "functions" / "predict.zip") as archive:
                archive.extractall(code)
        settings = {
            "MILLRACE_ARTIFACT_BUCKET": BUCKET,
            "MILLRACE_FRESHNESS_S": "30",
            "MILLRACE_MAX_BODY_BYTES": "4500000",
            "MILLRACE_STAGE": "bench",
            "POWERTOOLS_SERVICE_NAME": "predict",
        }
        return Handler("ours", code, environment=settings)

    @functools.cached_property
    def empty(self) -> Handler:
        """A handler that answers at once."""
        return Handler("empty", self._code("empty"))

    def tutorial(self, *, compiled: bool) -> Handler:
        """scikit-learn, pandas, joblib, boto3, Powertools: with the byte code of its packages or without."""
        packages = _packages("peer-tutorial")
        if compiled:
            _compile(packages)
        else:
            bare = self._folder / "bare"
            if not bare.exists():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(packages, bare, ignore=ignore, symlinks=True)
            packages = bare
        name = "tutorial, .pyc" if compiled else "tutorial, no .pyc"
        settings = {"POWERTOOLS_SERVICE_NAME": "predict", "POWERTOOLS_METRICS_NAMESPACE": "Tutorial"}
        layer = self._layer(name, packages)
        return Handler(name, self._code("tutorial"), layer, settings | {"BUCKET": BUCKET})

    @functools.cached_property
    def onnxruntime(self) -> Handler:
        """onnxruntime and numpy; it reads S3 by our own small client, which is its cheapest way."""
        code = self._code("onnxrt")
        for name in ("__init__.py", "errors.py", "aws/__init__.py", "aws/lean.py", "aws/roots.pem"):
            (code / "millrace" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.ours.code / "millrace" / name, code / "millrace" / name)
        _compile(code)
        packages = _packages("peer-onnxruntime")
        _compile(packages)
        return Handler("onnxruntime", code, self._layer("onnxruntime", packages), {"BUCKET": BUCKET})

    def _code(self, name: str) -> Path:
        code = self._folder / name
        code.mkdir(exist_ok=True)
        shutil.copyfile(PEERS / f"handler_{name}.py", code / "app.py")
        return code

    def _layer(self, name: str, packages: Path) -> Path:
        layer = self._folder / f"layer {name}"
        layer.mkdir(exist_ok=True)
        if not (layer / "python").exists():
            (layer / "python").symlink_to(packages)
        return layer


def _packages(environment: str) -> Path:
    return TOOLS / environment / "lib" / "python3.12" / "site-packages"


@functools.cache
def _compile(folder: Path) -> None:
    """Write byte code where there is none."""
    subprocess.run([runtime_python(), "-m", "compileall", "-qq", "-j0", folder], check=False)


@dataclass(frozen=True)
class Cold:
    """A first answer: CPU and wall time in seconds, peak memory in MB, the answer."""

    cpu_s: float
    wall_s: float
    rss_mb: float
    answer: Any


class Host:
    """Starts sandboxes and servers on one core; a context manager, which ends what it started.

    Parameters
    ----------
    store : Store
        Where handlers read their models.
    environment : mapping, optional
        Variables for every sandbox.
    """

    def __init__(self, store: Store, environment: Mapping[str, str] | None = None) -> None:
        self._store = store
        self._environment = dict(environment or {})
        self._cores = sorted(os.sched_getaffinity(0))
        self.core = self._cores[-1]

    def __enter__(self) -> Host:
        self._stack = contextlib.ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-bench-")))
        self._lifeline, hold = os.pipe()
        self._stack.callback(os.close, self._lifeline)
        self._stack.callback(os.close, hold)
        os.sched_setaffinity(0, set(self._cores[:-1]) or {self.core})
        self._stack.callback(os.sched_setaffinity, 0, set(self._cores))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def on_core(self) -> Iterator[None]:
        """What is started in this block runs on the one core."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {self.core})
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)

    def start(self, handler: Handler, model: Model) -> Running:
        """Start a sandbox; its first invocation comes from the caller."""
        call = Call(
            request_id=str(uuid.uuid4()),
            trace_id="Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0",
            name="predict",
            arn="arn:aws:lambda:us-east-1:000000000000:function:predict",
            version="$LATEST",
            runtime="python3.12",
            handler="app.handler",
            timeout_s=60.0,
            memory_mb=MEMORY_MB,
            environment={**handler.environment, "MODEL": model.name.replace("_", "-")},
            credentials={
                "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_SESSION_TOKEN": "token",
            },
            code="",
            layers=(),
        )
        platform = {
            "AWS_ENDPOINT_URL": self._store.url,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "PYTHONDONTWRITEBYTECODE": "1",  # a function's folders are read-only on Lambda
            **self._environment,
        }
        with self.on_core():
            sandbox = Sandbox(
                call,
                python=runtime_python(),
                roots=[handler.code, *([handler.layer] if handler.layer else [])],
                folder=self.folder / f"sandbox-{uuid.uuid4().hex}",
                environment=platform,
                lifeline=self._lifeline,
            )
        return Running(handler.name, sandbox, call)

    def cold(self, handler: Handler, model: Model, event: bytes) -> Cold:
        """Run a sandbox from its start to its first answer, and count all that its processes used."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        running = self.start(handler, model)
        try:
            answer = running.ask(event)
            wall = time.perf_counter() - began
            rss = _peak_mb(running.pid)
        finally:
            running.close()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Cold(cpu, wall, rss, answer)


_ANSWERED = re.compile(rb'"statusCode": ?200')


class Running:
    """A warm sandbox."""

    def __init__(self, name: str, sandbox: Sandbox, call: Call) -> None:
        self.name = name
        self._sandbox = sandbox
        self._call = call

    @property
    def pid(self) -> int:
        """Process id."""
        return self._sandbox.pid

    def ask(self, event: bytes) -> Any:
        """Invoke it and return the body of its answer."""
        outcome = self._sandbox.invoke(self._call, event)
        if outcome.error:
            raise SystemExit(f"{self.name}: {outcome.payload.decode()}\n{outcome.log}")
        answer = json.loads(outcome.payload)
        if answer["statusCode"] != 200:
            raise SystemExit(f"{self.name}: {answer['body']}\n{outcome.log}")
        return json.loads(answer["body"]) if answer["body"] else None

    def call(self, event: bytes) -> None:
        """Invoke it and drop the answer, unless it is none: that is no time of a request."""
        outcome = self._sandbox.invoke(self._call, event)
        if outcome.error or not _ANSWERED.search(outcome.payload):
            raise SystemExit(f"{self.name}: {outcome.payload[:2000].decode(errors='replace')}\n{outcome.log}")

    def cpu_s(self) -> float:
        """CPU that its process has used so far."""
        return _cpu_s(self.pid)

    def rss_mb(self) -> float:
        """Its peak memory."""
        return _peak_mb(self.pid)

    def close(self) -> None:
        """End it."""
        self._sandbox.close()


class Unavailable(Exception):
    """A server could not be started; says why."""


class Server:
    """An HTTP server in a process group of its own, and one kept-alive connection to it.

    Parameters
    ----------
    name : str
        For messages.
    host : Host
        Gives the core.
    command : list of str
        Starts it on ``port``, in ``cwd``.
    path : str
        Where requests are posted.
    environment : mapping
        Variables beside PATH and HOME.
    """

    def __init__(
        self,
        name: str,
        host: Host,
        command: list[str],
        path: str,
        environment: Mapping[str, str],
        cwd: Path,
        port: int,
    ) -> None:
        self.name = name
        self._path = path
        self._log = cwd / "log"
        with host.on_core(), self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                env={"PATH": os.environ["PATH"], "HOME": str(cwd), **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def wait(self, body: bytes) -> Any:
        """Return its first answer, as soon as it answers."""
        deadline = time.monotonic() + START_S
        while True:
            problem = ""
            try:
                status, data = self._post(body)
                if status == 200:
                    return json.loads(data)
                problem = f"status {status}: {data[:500].decode(errors='replace')}"
            except (OSError, http.client.HTTPException) as error:
                problem = repr(error)
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = self._log.read_text(errors="replace")[-2000:]
                raise Unavailable(f"it does not answer: {problem}\n{log}")
            time.sleep(0.2)

    def ask(self, body: bytes) -> Any:
        """Post a body and return the answer."""
        return json.loads(self._post(body)[1])

    def call(self, body: bytes) -> None:
        """Post a body and drop the answer."""
        self._post(body)

    def _post(self, body: bytes) -> tuple[int, bytes]:
        """Post, over a new connection where the server has closed the one that was idle."""
        reused = self._connection.sock is not None
        try:
            self._connection.request("POST", self._path, body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            return response.status, response.read()
        except (ConnectionError, http.client.HTTPException):
            self._connection.close()
            if not reused:
                raise
            return self._post(body)

    def cpu_s(self) -> float:
        """CPU that all its processes have used so far."""
        return sum(_cpu_s(pid) for pid in _tree(self._process.pid))

    def rss_mb(self) -> float:
        """Sum of its processes' peak memory."""
        return sum(_peak_mb(pid) for pid in _tree(self._process.pid))

    def close(self) -> None:
        """End all its processes."""
        self._connection.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _cpu_s(pid: int) -> float:
    """Return user and system time of a process: its CPU clock, as clock_getcpuclockid(3) makes it."""
    return time.clock_gettime((~pid << 3) | 2)


def _tree(pid: int) -> Iterator[int]:
    """Yield a process and its descendants."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _tree(int(child))


def _peak_mb(pid: int) -> float:
    """Return the largest resident set of a process, the ``ru_maxrss`` of getrusage(2), in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0
