"""The supervisor: one process that holds the platform together, ``python -m millrace.local.server``.

It runs the runtime server and the poller, starts the emulator, and says on standard output, in one line
of JSON, that the platform is up or why it is not. It ends at SIGTERM, or when its standard input ends
if it was started with ``--lifeline``; the emulator then writes its state and the sandboxes are killed.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import http.client
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from millrace.errors import Misconfigured
from millrace.local import settings
from millrace.local.poller import Mapping, Poller
from millrace.local.ports import EmulatorPorts
from millrace.local.runtime import Packages, Pool, RuntimeServer, free_socket

_EMULATOR = Path(__file__).with_name("emulator.py")
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 60.0
_PATIENCE_S = 1.0


class Supervisor:
    """The processes of one platform.

    Parameters
    ----------
    state : Path
        Folder for everything that lasts.
    port : int
        Wanted port of the endpoint; another one is taken when it is not free.
    auth : bool
        Whether IAM is enforced.
    iam_log : Path or None
        Where decisions of IAM are recorded.
    """

    def __init__(
        self, state: Path, *, port: int = 0, auth: bool = False, iam_log: Path | None = None
    ) -> None:
        self._state = state
        self._auth = auth
        self._iam_log = iam_log
        self._socket = free_socket(port)
        self.endpoint = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._credentials: dict[str, dict[str, str]] = {}
        self._poller = Poller(EmulatorPorts(self.endpoint, self._credentials), state / "positions.json")
        self._packages = Packages(state / "packages")
        self._pool = Pool(
            self._packages,
            python=settings.runtime_python(),
            folder=state / "sandboxes",
            environment={
                "AWS_ENDPOINT_URL": self.endpoint,
                "AWS_REGION": settings.REGION,
                "AWS_DEFAULT_REGION": settings.REGION,
            },
        )
        self._server = RuntimeServer(self._pool.invoke, self._announce)
        self._emulator: subprocess.Popen[bytes] | None = None

    def start(self) -> dict[str, Any]:
        """Start everything; return what is to be known about it.

        Raises
        ------
        Misconfigured
            When the emulator does not start; with what it said.
        """
        self._server.start()
        folder = self._state / "emulator"
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": os.environ.get("MILLRACE_MINISTACK_PYTHONPATH", ""),
            "TMPDIR": str(folder / "tmp"),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": self.endpoint.rpartition(":")[2],
            "MINISTACK_REGION": settings.REGION,
            "AWS_DEFAULT_REGION": settings.REGION,
            "MINISTACK_ACCOUNT_ID": settings.ACCOUNT,
            **settings.CREDENTIALS,
            "PERSIST_STATE": "1",
            "STATE_DIR": str(folder / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(folder / "s3"),
            "AUTH": "true" if self._auth else "false",
            "LAMBDA_ACCOUNT_CONCURRENCY": "1000",
            "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "1",
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            "DOCKER_HOST": f"unix://{folder}/no-docker",
            "LOG_LEVEL": os.environ.get("MILLRACE_EMULATOR_LOG", "WARNING"),
            "MILLRACE_RUNTIME": self._server.address,
            "MILLRACE_PACKAGES": str(self._packages.folder),
            "MILLRACE_LISTEN_FD": str(self._socket.fileno()),
        }
        if self._iam_log is not None:
            environment["MILLRACE_IAM_LOG"] = str(self._iam_log)
        log = self._state / "emulator.log"
        with log.open("ab") as output:
            begin = output.tell()
            self._emulator = subprocess.Popen(
                [settings.ministack_python(), "-P", _EMULATOR],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[self._socket.fileno()],
                start_new_session=True,
            )
        self._socket.close()
        self._wait_until_up(log, begin)
        return {
            "endpoint": self.endpoint,
            "region": settings.REGION,
            "account": settings.ACCOUNT,
            "auth": self._auth,
            "pid": os.getpid(),
            "emulator_pid": self._emulator.pid,
        }

    def stop(self) -> None:
        """Stop everything; the emulator writes its state first."""
        self._poller.close()
        if self._emulator is not None:
            self._emulator.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._emulator.wait(_PATIENCE_S)
        # The emulator waits for the functions that it has running: they end here.
        self._pool.close()
        if self._emulator is not None:
            try:
                self._emulator.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                logging.error("The emulator does not stop; what it had not written yet is lost")
                self._emulator.kill()
                self._emulator.wait()
        self._server.close()

    def emulator_gone(self) -> bool:
        """Whether the emulator has ended without being asked to."""
        return self._emulator is not None and self._emulator.poll() is not None

    def _wait_until_up(self, log: Path, begin: int) -> None:
        host = self.endpoint.removeprefix("http://")
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline and not self.emulator_gone():
            connection = http.client.HTTPConnection(host, timeout=5)
            try:
                connection.request("GET", "/_ministack/health")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                time.sleep(0.02)
            finally:
                connection.close()
        with log.open("rb") as file:
            file.seek(begin)
            said = file.read().decode(errors="replace").strip()
        raise Misconfigured(
            f"The embedded AWS did not start: {said or 'it said nothing'}",
            code="emulator-start",
            where=str(log),
            remedy="Run `make setup` and try again.",
        )

    def _announce(self, announced: dict[str, Any]) -> None:
        """Take note of the mappings; one whose function or stream is away is known but not served."""
        for one in announced["served"]:
            mapping = Mapping.load(one["mapping"], role=one["role"], region=one["region"])
            self._credentials[mapping.uuid] = one["credentials"]
            self._poller.update(mapping, one["start"], one["tips"])
        self._poller.retain(announced["known"])


def main(arguments: list[str] | None = None) -> int:
    """Run a platform until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m millrace.local.server")
    parser.add_argument("--state", type=Path, required=True, help="folder for everything that lasts")
    parser.add_argument("--port", type=int, default=0, help="wanted port of the endpoint")
    parser.add_argument("--auth", action="store_true", help="enforce IAM")
    parser.add_argument("--iam-log", type=Path, help="record decisions of IAM in this file")
    parser.add_argument("--lifeline", action="store_true", help="stop when standard input ends")
    options = parser.parse_args(arguments)
    state: Path = options.state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=state / "server.log",
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    lock = (state / "lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        error = {"error": f"Another platform runs on {state}", "code": "platform-running"}
        _say(
            {**error, "where": str(state), "remedy": "Stop it with `make down`, or wait until it ends."}, None
        )
        return 1
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if options.lifeline:
        threading.Thread(target=_watch, args=(stop,), daemon=True).start()
    supervisor = Supervisor(
        state, port=options.port, auth=options.auth, iam_log=options.iam_log and options.iam_log.resolve()
    )
    try:
        about = supervisor.start()
        (state / "platform.json").write_text(json.dumps(about, indent=2))
        _say(about, state / "server.log")
        while not stop.wait(0.5):
            if supervisor.emulator_gone():
                logging.error("The emulator has ended; see %s", state / "emulator.log")
                return 1
    except Misconfigured as error:
        _say({"error": error.what, "code": error.code, "where": error.where, "remedy": error.remedy}, None)
        return 1
    finally:
        supervisor.stop()
        (state / "platform.json").unlink(missing_ok=True)
    return 0


def _watch(stop: threading.Event) -> None:
    while os.read(0, 4096):
        continue
    stop.set()


def _say(line: dict[str, Any], log: Path | None) -> None:
    """Write the one line; then leave the pipes, which nobody may read any more, for the log."""
    print(json.dumps(line), flush=True)
    if log is not None:
        with log.open("ab") as file:
            os.dup2(file.fileno(), sys.stdout.fileno())
            os.dup2(file.fileno(), sys.stderr.fileno())


if __name__ == "__main__":
    sys.exit(main())
