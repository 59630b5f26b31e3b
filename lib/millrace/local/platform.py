"""The embedded AWS, for the command line and for tests: start it, deploy into it, run a function, stop it."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from millrace.errors import MillraceError, Misconfigured, NotFound
from millrace.local import settings

__all__ = ["Invocation", "Platform", "current", "down", "state_folder", "up"]

DEFAULT_PORT = 4566
STACK_NAME = "millrace"


@dataclass(frozen=True)
class Invocation:
    """What a function came to: its response, or its error object; and what it wrote, the last 4 kB."""

    payload: Any
    error: bool
    log: str


class Platform:
    """One embedded AWS; as a context manager it lives as long as the block.

    Parameters
    ----------
    state : Path
        Folder for everything that lasts; a platform that is started on it again knows what it knew.
    auth : bool
        Enforce the roles of the template, and give sandboxes the credentials of their function's role.
    iam_log : Path, optional
        Record the decisions of IAM there, in the format of :mod:`millrace.local.emulator`. Needs ``auth``.
    port : int
        Wanted port of the endpoint; another one is taken when it is not free. 0 for any.

    Attributes
    ----------
    endpoint : str
        URL of all services.
    about : dict
        What the supervisor said of itself: ``endpoint``, ``region``, ``account``, ``auth``, ``pid``,
        ``emulator_pid``.
    """

    def __init__(
        self, state: Path, *, auth: bool = False, iam_log: Path | None = None, port: int = 0
    ) -> None:
        self.state = state
        self.about: dict[str, Any] = {}
        self._auth = auth
        self._iam_log = iam_log
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start(lifeline=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """URL of all services."""
        return str(self.about["endpoint"])

    def start(self, *, lifeline: bool) -> None:
        """Start the processes and wait until they serve, about a second.

        Parameters
        ----------
        lifeline : bool
            Whether the platform ends with this process.

        Raises
        ------
        Misconfigured
            When a tool is absent, has another version, or does not start.
        """
        self.state.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "millrace.local.server", "--state", str(self.state)]
        command += ["--port", str(self._port)]
        command += ["--auth"] if self._auth else []
        command += ["--lifeline"] if lifeline else []
        command += ["--iam-log", str(self._iam_log)] if self._iam_log else []
        library = str(Path(__file__).resolve().parents[2])
        paths = [library, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE if lifeline else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        line = self._process.stdout.readline()
        said = json.loads(line) if line else {}
        if "endpoint" not in said:
            why = said.get("error") or self._process.stderr.read().decode(errors="replace").strip()
            self._process.wait()
            raise Misconfigured(
                why,
                code=said.get("code", "platform-start"),
                where=said.get("where", str(self.state / "server.log")),
                remedy=said.get("remedy", "Run `make setup` and try again."),
            )
        self.about = said
        if not lifeline:
            self._process.stdout.close()
            self._process.stderr.close()

    def stop(self) -> None:
        """Stop all processes; what is to last has been written when this returns."""
        if self._process is None:
            _stop(self.state, int(self.about["pid"]))
            return
        self._process.terminate()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        self._process = None

    def environment(self) -> dict[str, str]:
        """Return the variables with which any AWS client speaks to this platform."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": settings.REGION,
            "AWS_DEFAULT_REGION": settings.REGION,
            **settings.CREDENTIALS,
        }

    def client(self, service: str) -> Any:
        """Return a boto3 client of the account itself."""
        from millrace.aws.endpoints import connect

        return connect(service, self.endpoint, settings.REGION, settings.CREDENTIALS)

    def deploy(
        self,
        stack: str = STACK_NAME,
        parameters: Mapping[str, str] | None = None,
        *,
        template: Path | None = None,
    ) -> dict[str, str]:
        """Deploy with the real ``sam deploy`` and return the stack's outputs.

        Parameters
        ----------
        stack : str
            Name of the stack.
        parameters : mapping, optional
            Parameters of the template that are not to have their defaults.
        template : Path, optional
            What to deploy; the project's built template by default.

        Raises
        ------
        Misconfigured
            When SAM fails; with what it said.
        """
        template = template or settings.project_root() / ".aws-sam" / "build" / "template.yaml"
        if not template.is_file():
            raise Misconfigured(
                f"There is no built template at {template}",
                code="template-missing",
                remedy="Run `make build` first.",
            )
        bucket = f"sam-artifacts-{settings.ACCOUNT}"
        self.client("s3").create_bucket(Bucket=bucket)
        command = [str(settings.sam()), "deploy", "--template-file", str(template), "--stack-name", stack]
        command += ["--s3-bucket", bucket, "--s3-prefix", stack, "--region", settings.REGION]
        command += ["--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
        command += ["--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"]
        if parameters:
            # Within quotes, or a value would end at its first blank.
            quoted = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in parameters.items())
            command += ["--parameter-overrides", *quoted]
        done = subprocess.run(
            command,
            cwd=self.state,
            env={
                **_plain_environment(),
                **self.environment(),
                "SAM_CLI_TELEMETRY": "0",
                "SAM_CLI_POLL_DELAY": "0.2",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        (self.state / "deploy.log").write_text(done.stdout)
        if done.returncode != 0:
            raise Misconfigured(
                f"sam deploy failed: {done.stdout.strip()[-2000:]}",
                code="deploy-failed",
                where=str(self.state / "deploy.log"),
            )
        return self.outputs(stack)

    def outputs(self, stack: str = STACK_NAME) -> dict[str, str]:
        """Return the outputs of a stack; ``NotFound`` if there is none."""
        described = self._stack(stack)
        return {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", [])}

    def resources(self, stack: str = STACK_NAME) -> dict[str, str]:
        """Return the physical id of each resource of a stack by its logical id."""
        self._stack(stack)
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
        return {
            one["LogicalResourceId"]: one["PhysicalResourceId"]
            for page in pages
            for one in page["StackResourceSummaries"]
        }

    def api_url(self, stack: str = STACK_NAME) -> str:
        """Return the base URL of the stack's HTTP API, without a slash at the end."""
        for physical in self._physical(stack, "AWS::ApiGatewayV2::Api"):
            return f"{self.endpoint}/_aws/execute-api/{physical}"
        raise NotFound(f"The stack {stack} has no HTTP API", code="api-missing", remedy="Deploy it again.")

    def invoke(self, function: str, event: Any, *, stack: str = STACK_NAME) -> Invocation:
        """Run a function of a stack on an event, in a sandbox.

        Parameters
        ----------
        function : str
            As the folder is called (``fan_out``), or as the template calls it (``FanOutFunction``), or the
            function's own name.
        event : object
            Anything that is JSON.
        stack : str
            Name of the stack.
        """
        name = self._function(function, stack)
        got = self.client("lambda").invoke(
            FunctionName=name, Payload=json.dumps(event).encode(), LogType="Tail"
        )
        log = base64.b64decode(got.get("LogResult", "")).decode(errors="replace")
        return Invocation(json.loads(got["Payload"].read() or b"null"), "FunctionError" in got, log)

    def _function(self, function: str, stack: str) -> str:
        logical = "".join(part[:1].upper() + part[1:] for part in function.split("_")) + "Function"
        try:
            resources = self.resources(stack)
        except NotFound:
            return function
        return resources.get(function) or resources.get(logical) or function

    def _stack(self, stack: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        for page in self.client("cloudformation").get_paginator("describe_stacks").paginate():
            found += [one for one in page["Stacks"] if one["StackName"] == stack]
        if not found:
            raise NotFound(f"There is no stack {stack}", code="stack-missing", remedy="Deploy it first.")
        return found[0]

    def _physical(self, stack: str, kind: str) -> list[str]:
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
        return [
            one["PhysicalResourceId"]
            for page in pages
            for one in page["StackResourceSummaries"]
            if one["ResourceType"] == kind
        ]


def state_folder() -> Path:
    """Return where the project's platform keeps its state: ``.millrace`` below the project."""
    return settings.project_root() / ".millrace"


def up(state: Path | None = None, *, port: int = DEFAULT_PORT) -> Platform:
    """Return the running platform; start it in the background, with the state it had, if there is none."""
    state = state or state_folder()
    running = current(state)
    if running is not None:
        return running
    platform = Platform(state, port=_last_port(state) or port)
    platform.start(lifeline=False)
    (state / "port").write_text(platform.endpoint.rpartition(":")[2])
    return platform


def down(state: Path | None = None) -> bool:
    """Stop the platform in the background; tell whether there was one."""
    running = current(state)
    if running is None:
        return False
    running.stop()
    return True


def current(state: Path | None = None) -> Platform | None:
    """Return the platform that runs in the background, if one does."""
    state = state or state_folder()
    try:
        about = json.loads((state / "platform.json").read_text())
    except FileNotFoundError:
        return None
    if not _is_held(state):
        return None
    platform = Platform(state)
    platform.about = about
    return platform


def _last_port(state: Path) -> int:
    """Return the port of the last time: queues and links remember it."""
    try:
        return int((state / "port").read_text())
    except FileNotFoundError:
        return 0


def _is_held(state: Path) -> bool:
    """Whether a supervisor holds the state: a lock ends with its process, a process id may be another's."""
    with (state / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _stop(state: Path, pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 120
    while _is_held(state):
        if time.monotonic() > deadline:
            raise MillraceError(
                f"The platform (process {pid}) does not stop",
                code="platform-stop",
                remedy="See server.log in its state folder.",
            )
        time.sleep(0.02)


def _plain_environment() -> dict[str, str]:
    """Return this process's environment without what would lead another tool's Python astray."""
    leave = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "AWS_PROFILE", "AWS_SESSION_TOKEN"}
    return {name: value for name, value in os.environ.items() if name not in leave}
