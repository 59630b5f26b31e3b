"""One sandbox: a process with the real runtime interface client, and the Runtime API that it talks to.

A sandbox serves one invocation at a time, as on Lambda, so its Runtime API needs no thread of its own:
whoever invokes also converses. The client asks for the next event and answers with a response or an
error; between two invocations its next question waits in the socket.

What a function may rely on is enforced: the timeout, 6 MB for a response, and the memory size, taken
as anonymous memory. Not enforced: the size of ``/tmp`` and the share of a CPU that goes with the memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["RESPONSE_LIMIT_BYTES", "Call", "Outcome", "Sandbox"]

RESPONSE_LIMIT_BYTES = 6 * 1024 * 1024 + 100
"""Lambda allows a synchronous response 100 bytes more than a request."""

INIT_TIMEOUT_S = 10.0
"""What the import of a handler may take on top of its timeout, as on Lambda."""

_TICK_S = 0.1
_BOOTSTRAP = Path(__file__).with_name("bootstrap.py")


@dataclass(frozen=True)
class Call:
    """One invocation, with all that is known of its function.

    ``code`` and ``layers`` are checksums that name packages; ``layers`` in the order of attachment.
    """

    request_id: str
    trace_id: str
    name: str
    arn: str
    version: str
    runtime: str
    handler: str
    timeout_s: float
    memory_mb: int
    environment: Mapping[str, str]
    credentials: Mapping[str, str]
    code: str
    layers: tuple[str, ...]

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Call:
        """Build a call from the emulator's object."""
        values = {name: data[name] for name in cls.__dataclass_fields__}
        return cls(**{**values, "layers": tuple(values["layers"])})

    @property
    def kind(self) -> str:
        """What must be equal for two calls to share a sandbox."""
        same = [
            self.arn.split(":function:")[0],
            self.name,
            self.version,
            self.runtime,
            self.handler,
            self.timeout_s,
            self.memory_mb,
            sorted(self.environment.items()),
            sorted(self.credentials.items()),
            self.code,
            self.layers,
        ]
        return json.dumps(same)


@dataclass(frozen=True)
class Outcome:
    """What became of an invocation; ``payload`` is the response, or the error object as JSON."""

    payload: bytes
    error: bool
    log: str
    duration_ms: int


@dataclass
class _Request:
    method: str
    path: str
    body: bytes
    connection: socket.socket


@dataclass
class _Conversation:
    """The bytes of one connection that are not yet a request."""

    data: bytearray = field(default_factory=bytearray)
    continued: bool = False


class _Ended(Exception):
    """The process is gone."""


class _Late(Exception):
    """The deadline has passed."""


class _OutOfMemory(Exception):
    """More anonymous memory than the function has."""


class Sandbox:
    """A process of one function.

    Parameters
    ----------
    call : Call
        The first invocation; says which function this is.
    python : Path
        Interpreter of the functions' runtime.
    roots : list of Path
        The unzipped code, then the unzipped layers in the order of attachment.
    folder : Path
        A new folder for the sandbox's temporary files and its log.
    environment : mapping
        Variables of the platform: endpoint, region.
    lifeline : int
        Read end of a pipe that ends with the platform.
    """

    def __init__(
        self,
        call: Call,
        *,
        python: Path,
        roots: list[Path],
        folder: Path,
        environment: Mapping[str, str],
        lifeline: int,
    ) -> None:
        self.kind = call.kind
        self.used_at = time.monotonic()
        self._memory_mb = call.memory_mb
        self._folder = folder
        self._init_ms: int | None = None
        self._handed = 0.0
        self._alive = True
        self._started = time.monotonic()
        temporary = folder / "tmp"
        temporary.mkdir(parents=True)
        self._log = os.open(folder / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._conversations: dict[socket.socket, _Conversation] = {}
        self._process = subprocess.Popen(
            [python, "-P", _BOOTSTRAP, str(lifeline), call.handler],
            cwd=roots[0],
            env=self._environment(call, roots, temporary, environment),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=[lifeline],
            start_new_session=True,
        )

    @property
    def alive(self) -> bool:
        """Whether it can take another invocation."""
        return self._alive and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def invoke(self, call: Call, event: bytes) -> Outcome:
        """Run the handler on ``event`` and return what became of it; never raises for the handler's sake."""
        started = time.monotonic()
        fresh = self._init_ms is None
        self._handed = 0.0
        deadline = started + call.timeout_s + (INIT_TIMEOUT_S if fresh else 0.0)
        try:
            payload, error = self._converse(call, event, deadline)
        except _Late:
            self._kill()
            message = f"RequestId: {call.request_id} Error: Task timed out after {call.timeout_s:.2f} seconds"
            payload, error = _error("Sandbox.Timedout", message), True
        except _OutOfMemory:
            self._kill()
            payload, error = _exited(call, "with error: signal: killed"), True
        except _Ended:
            self._kill()
            payload, error = _exited(call, _reason(self._process.returncode)), True
        self.used_at = time.monotonic()
        duration_s = self.used_at - (self._handed or started)
        log = self._report(call, payload, error, duration_s, fresh)
        return Outcome(payload, error, log, round(duration_s * 1000))

    def kill(self) -> None:
        """End the process; an invocation that is under way in another thread learns of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process and remove its folder; not during an invocation."""
        self._kill()
        for connection in self._conversations:
            connection.close()
        self._selector.close()
        self._listener.close()
        os.close(self._log)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _converse(self, call: Call, event: bytes, deadline: float) -> tuple[bytes, bool]:
        """Hand over the event when the client asks for it, and take its answer."""
        while True:
            request = self._receive(deadline)
            if request.path.endswith("/runtime/invocation/next"):
                if self._init_ms is None:
                    self._init_ms = round((time.monotonic() - self._started) * 1000)
                    deadline = time.monotonic() + call.timeout_s
                wall_deadline = time.time() + deadline - time.monotonic()
                head = {
                    "Content-Type": "application/json",
                    "Lambda-Runtime-Aws-Request-Id": call.request_id,
                    "Lambda-Runtime-Deadline-Ms": str(int(wall_deadline * 1000)),
                    "Lambda-Runtime-Invoked-Function-Arn": call.arn,
                    "Lambda-Runtime-Trace-Id": call.trace_id,
                }
                self._handed = time.monotonic()
                _send(request.connection, "200 OK", head, event)
                continue
            _send(
                request.connection, "202 Accepted", {"Content-Type": "application/json"}, b'{"status":"OK"}'
            )
            if request.path.endswith("/runtime/init/error"):
                self._kill(grace_s=1.0)
                return request.body, True
            if request.path.endswith("/error"):
                return request.body, True
            if len(request.body) > RESPONSE_LIMIT_BYTES:
                rule = f"exceeded maximum allowed payload size ({RESPONSE_LIMIT_BYTES} bytes)."
                return _error("Function.ResponseSizeTooLarge", f"Response payload size {rule}"), True
            return request.body, False

    def _receive(self, deadline: float) -> _Request:
        """Wait for the next whole request of the client."""
        while True:
            for connection, conversation in self._conversations.items():
                request = _parse(connection, conversation)
                if request is not None:
                    return request
            left = deadline - time.monotonic()
            if left <= 0:
                raise _Late
            ready = self._selector.select(min(left, _TICK_S))
            if not ready:
                self._check()
            for key, _ in ready:
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._read(key.fileobj)  # type: ignore[arg-type]

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._conversations[connection] = _Conversation()
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(1 << 20)
        except ConnectionError:
            data = b""
        if data:
            self._conversations[connection].data += data
            return
        self._selector.unregister(connection)
        del self._conversations[connection]
        connection.close()
        if not self._conversations:
            self._check(grace_s=0.05)

    def _check(self, grace_s: float = 0.0) -> None:
        """Raise when the process is gone or holds too much memory."""
        try:
            if self._process.wait(grace_s) is not None:
                raise _Ended
        except subprocess.TimeoutExpired:
            pass
        if _memory_mb(self.pid, "RssAnon") > self._memory_mb:
            raise _OutOfMemory

    def _kill(self, grace_s: float = 0.0) -> None:
        self._alive = False
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        self.kill()
        self._process.wait()

    def _report(self, call: Call, payload: bytes, error: bool, duration_s: float, fresh: bool) -> str:
        """Return what the function wrote, between the lines that Lambda puts around it."""
        size = os.fstat(self._log).st_size
        text = os.pread(self._log, size, 0).decode(errors="replace")
        os.ftruncate(self._log, 0)
        if text and not text.endswith("\n"):
            text += "\n"
        if error and not self._alive:
            text += f"{json.loads(payload).get('errorMessage', '')}\n"
        duration_ms = duration_s * 1000
        init_ms = (self._init_ms or 0) if fresh else 0
        used = _memory_mb(self.pid, "VmHWM")
        fields = [
            f"REPORT RequestId: {call.request_id}",
            f"Duration: {duration_ms:.2f} ms",
            f"Billed Duration: {int(duration_ms + init_ms) + 1} ms",
            f"Memory Size: {call.memory_mb} MB",
        ]
        if used:
            fields.append(f"Max Memory Used: {used} MB")
        if init_ms:
            fields.append(f"Init Duration: {init_ms:.2f} ms")
        return (
            f"START RequestId: {call.request_id} Version: {call.version}\n{text}"
            f"END RequestId: {call.request_id}\n" + "\t".join(fields) + "\n"
        )

    def _environment(
        self, call: Call, roots: list[Path], temporary: Path, platform: Mapping[str, str]
    ) -> dict[str, str]:
        """Return the variables that Lambda sets, over the function's own, over the platform's."""
        code, layers = roots[0], list(reversed(roots[1:]))
        version = call.runtime.removeprefix("python")
        python_path = [code]
        for layer in layers:
            python_path += [layer / "python" / "lib" / f"python{version}" / "site-packages", layer / "python"]
        binaries = [
            *(layer / "bin" for layer in layers),
            Path("/usr/local/bin"),
            Path("/usr/bin"),
            Path("/bin"),
        ]
        libraries = [code, code / "lib", *(layer / "lib" for layer in layers)]
        host, port = self._listener.getsockname()
        return {
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "PATH": os.pathsep.join(map(str, binaries)),
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
            **platform,
            **call.environment,
            **{name: value for name, value in call.credentials.items() if value},
            "PYTHONPATH": os.pathsep.join(map(str, python_path)),
            "TMPDIR": str(temporary),
            "LAMBDA_TASK_ROOT": str(code),
            "LAMBDA_RUNTIME_DIR": str(_BOOTSTRAP.parent),
            "AWS_LAMBDA_RUNTIME_API": f"{host}:{port}",
            "AWS_LAMBDA_FUNCTION_NAME": call.name,
            "AWS_LAMBDA_FUNCTION_VERSION": call.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(call.memory_mb),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{call.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": f"{time.strftime('%Y/%m/%d')}/[{call.version}]{uuid.uuid4().hex}",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{call.runtime}",
            "_HANDLER": call.handler,
        }


def _parse(connection: socket.socket, conversation: _Conversation) -> _Request | None:
    """Take one whole request off the front of a conversation's bytes, if there is one."""
    data = conversation.data
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = data[:end].decode("latin-1").split("\r\n")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    length = int(headers.get("content-length", "0"))
    if len(data) < end + 4 + length:
        if headers.get("expect", "").lower() == "100-continue" and not conversation.continued:
            conversation.continued = True
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None
    body = bytes(data[end + 4 : end + 4 + length])
    del data[: end + 4 + length]
    conversation.continued = False
    method, path, _ = first.split(" ", 2)
    return _Request(method, path, body, connection)


def _send(connection: socket.socket, status: str, headers: Mapping[str, str], body: bytes) -> None:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1")
    try:
        connection.sendall(head + body)
    except ConnectionError as error:
        raise _Ended from error


def _error(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()


def _exited(call: Call, reason: str) -> bytes:
    return _error("Runtime.ExitError", f"RequestId: {call.request_id} Error: Runtime exited {reason}")


def _reason(code: int | None) -> str:
    if not code:
        return "without providing a reason"
    if code < 0:
        return f"with error: signal: {(signal.strsignal(-code) or str(-code)).lower()}"
    return f"with error: exit status {code}"


def _memory_mb(pid: int, name: str) -> int:
    """Return a figure of ``/proc/<pid>/status`` in MB; 0 where the system has none."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) // 1024
    except OSError:
        return 0
    return 0
