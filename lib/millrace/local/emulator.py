"""Start MiniStack, with the pieces that Millrace brings put in place. Run by MiniStack's own interpreter.

This file is a program, not a module of the package: it runs in the environment that holds MiniStack
and imports only the standard library and MiniStack. It refuses every version but the pinned one,
because what it puts in place are private names: it fails at the start when one of them is missing,
instead of going wrong later.

What is put in place, and why (MiniStack 1.5.33):

===============================================  ==================================================
``lambda_svc._execute_function_dispatch``        runs handlers in its own worker; ours are sandboxes
                                                 behind the real runtime interface client
``lambda_svc._poll_kinesis``                     ignores partial failures, bisecting, limits and
                                                 destinations; ours is :mod:`millrace.local.poller`
``lambda_svc._init_stream_position``             does not note what ``LATEST`` was at the creation of
                                                 a mapping
``lambda_svc.handle_request``, and               take requests over Lambda's payload limits, and over
``apigateway.handle_execute``                    the 10 MB of an HTTP API
``lambda_svc.lambda_execute_result_to_api_…``    tells the caller of an API what broke in a handler
``stepfunctions._call_lambda``, and              swallow the failure of an invoke that waits for a
``stepfunctions._invoke_with_callback``          task token, then hang; ignore ``HeartbeatSeconds``
``s3._get_object``                               sends all of an object's version when a range of it
                                                 is asked for
``s3._complete_multipart_upload``, and           computes the MD5 of all parts again, half a second of
``s3.hashlib``                                   a file of 300 MB, in which nobody else is answered
``apigateway._match_route``                      refuses an unsigned call of a route with IAM
                                                 authorization; on the loopback it is open
``app.pin_request_origin``                       notes that a request came without TLS, which the
                                                 buckets' policies refuse; the loopback needs none
``iam_evaluator.enforce``                        decides without a record of what it decided
===============================================  ==================================================

Environment
-----------
``MILLRACE_RUNTIME``
    ``host:port`` of the runtime server.
``MILLRACE_LISTEN_FD``
    Descriptor of the bound socket to listen on.
``MILLRACE_PACKAGES``
    Folder in which code and layers are left as ``<sha256>.zip``.
``MILLRACE_IAM_LOG``
    File for the record of decisions; absent for none. One JSON object a line::

        {"time": 1790000000.123, "principal": "arn:aws:sts::…:assumed-role/<role>/<session>",
         "role": "<role>", "action": "s3:GetObject", "resource": "arn:aws:s3:::bucket/key",
         "allowed": true}

    Only the decisions about roles are recorded, and only with ``AUTH=true`` are there any. The session is
    the function's name, or ``event-source-mapping`` for what the poller does with the function's role:
    reading the stream and writing to the on-failure destination.

The process ends when its standard input does, so that it never outlives who started it, and leaves
its state on disk first.
"""

from __future__ import annotations

import asyncio
import base64
import contextvars
import functools
import hashlib
import http.client
import importlib
import importlib.metadata
import json
import os
import signal
import socket
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

REQUIRED_VERSION = "1.5.33"
EXIT_WRONG_VERSION = 3
EXIT_CHANGED = 4

SYNCHRONOUS_LIMIT_BYTES = 6 * 1024 * 1024
ASYNCHRONOUS_LIMIT_BYTES = 1024 * 1024
HTTP_API_LIMIT_BYTES = 10 * 1024 * 1024
REQUEST_TOO_LARGE = "Lambda.RequestTooLargeException"

EVENT_SOURCE = "event-source-mapping"
"""Session name of what the poller does with a function's role."""

Answer = tuple[int, dict[str, str], bytes]


def main() -> int:
    """Check the version, put our pieces in place, serve until told to stop."""
    found = importlib.metadata.version("ministack")
    if found != REQUIRED_VERSION:
        print(
            f"This platform is built on MiniStack {REQUIRED_VERSION}, but {found} is installed. "
            "Run `make setup`, which installs the pinned version.",
            file=sys.stderr,
        )
        return EXIT_WRONG_VERSION
    try:
        put_in_place(Runtime(os.environ["MILLRACE_RUNTIME"], Path(os.environ["MILLRACE_PACKAGES"])))
    except Changed as change:
        print(f"MiniStack {found} is not as expected: {change}", file=sys.stderr)
        return EXIT_CHANGED
    asyncio.run(serve())
    return 0


async def serve() -> None:
    """Serve on the socket we were given, until SIGTERM, SIGINT or the end of standard input."""
    hypercorn = importlib.import_module("hypercorn.asyncio")
    config = importlib.import_module("hypercorn.config").Config()
    config.bind = [f"fd://{os.environ['MILLRACE_LISTEN_FD']}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.2
    config.shutdown_timeout = 60
    config.loglevel = os.environ.get("LOG_LEVEL", "WARNING")

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def watch() -> None:
        while os.read(0, 4096):
            continue
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
    await hypercorn.serve(module("app").app, config, shutdown_trigger=stop.wait)


class Changed(Exception):
    """A private name of MiniStack that we rely on is not there."""


def module(name: str) -> Any:
    """Import a module of MiniStack by its path below the package."""
    return importlib.import_module(f"ministack.{name}")


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put ``make(original)`` in the place of the function ``name`` of ``owner``."""
    original = getattr(owner, name, None)
    if not callable(original):
        raise Changed(f"{owner.__name__} has no function {name}")
    setattr(owner, name, make(original))


class Runtime:
    """The runtime server, seen from the emulator.

    Parameters
    ----------
    address : str
        ``host:port``.
    packages : Path
        Where code and layers are left for it.
    """

    def __init__(self, address: str, packages: Path) -> None:
        self._address = address
        self._packages = packages
        self._left: set[str] = set()
        self._lock = threading.Lock()

    def post(self, path: str, body: bytes) -> tuple[dict[str, Any], bytes]:
        """Send ``body``; return the answer's first line as an object, and the rest."""
        connection = http.client.HTTPConnection(self._address)
        try:
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.request("POST", path, body, {"Content-Type": "application/octet-stream"})
            response = connection.getresponse()
            head, _, rest = response.read().partition(b"\n")
            if response.status != 200:
                raise OSError(f"The runtime server answered {response.status}: {head.decode()}")
            return json.loads(head), rest
        finally:
            connection.close()

    def leave(self, sha256_base64: str, load: Callable[[], bytes | None]) -> str:
        """Leave a package once and return its name, the SHA-256 in hex."""
        name = base64.b64decode(sha256_base64).hex() if sha256_base64 else ""
        if name and name in self._left:
            return name
        data = load() or b""
        name = hashlib.sha256(data).hexdigest()
        path = self._packages / f"{name}.zip"
        with self._lock:
            if data and not path.exists() and not path.with_suffix("").exists():
                part = path.with_suffix(".part")
                part.write_bytes(data)
                part.replace(path)
            self._left.add(name)
        return name


def put_in_place(runtime: Runtime) -> None:
    """Replace the private functions that this file's first page lists."""
    _put_sandboxes(runtime)
    _put_poller(runtime)
    _put_limits()
    _put_callbacks()
    _put_ranges()
    _put_joins()
    _open_routes()
    _trust_loopback()
    record = os.environ.get("MILLRACE_IAM_LOG")
    if record:
        _put_record(Path(record))


def _put_sandboxes(runtime: Runtime) -> None:
    lambdas = module("services.lambda_svc")
    for name in ("_emit_lambda_logs", "_resolve_layer_zip", "_xray_trace_id_for_invocation"):
        if not callable(getattr(lambdas, name, None)):
            raise Changed(f"lambda_svc has no function {name}")
    credentials = module("core.lambda_runtime").execution_credentials

    def execute(
        function: dict[str, Any], config: dict[str, Any], event: Any, request_id: str, started: float
    ) -> dict[str, Any]:
        payload = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        if len(payload) > SYNCHRONOUS_LIMIT_BYTES:
            return _failure(REQUEST_TOO_LARGE, _too_large(SYNCHRONOUS_LIMIT_BYTES))
        attached = [
            layer if isinstance(layer, dict) else {"Arn": layer} for layer in config.get("Layers", [])
        ]
        call = {
            "request_id": request_id,
            "trace_id": lambdas._xray_trace_id_for_invocation(config) or _trace_id(),
            "name": config["FunctionName"],
            "arn": config["FunctionArn"],
            "version": config.get("Version", "$LATEST"),
            "runtime": config.get("Runtime", ""),
            "handler": config.get("Handler", ""),
            "timeout_s": config.get("Timeout", 3),
            "memory_mb": config.get("MemorySize", 128),
            "environment": (config.get("Environment") or {}).get("Variables") or {},
            "credentials": credentials(config),
            "code": runtime.leave(config.get("CodeSha256", ""), lambda: function.get("code_zip")),
            "layers": [
                runtime.leave(
                    _layer_sha(lambdas, layer), functools.partial(lambdas._resolve_layer_zip, layer)
                )
                for layer in attached
            ],
        }
        try:
            head, body = runtime.post("/invoke", json.dumps(call).encode() + b"\n" + payload)
        except (OSError, http.client.HTTPException) as error:
            return _failure("Lambda.ServiceException", str(error))
        result: dict[str, Any] = {"log": head["log"], "log_source": "rie"}
        if head["error"]:
            result |= {"error": True, "function_error": "Unhandled", "body": json.loads(body)}
        else:
            result |= {"body": body.decode(), "raw_payload": True}
        lambdas._emit_lambda_logs(
            function, request_id, head["log"], head["error"], head["duration_ms"], log_source="rie"
        )
        return result

    replace(lambdas, "_execute_function_dispatch", lambda original: execute)


def _layer_sha(lambdas: Any, attachment: dict[str, Any]) -> str:
    """Return a layer's checksum; its ARN alone may come back with other content after a delete."""
    arn = attachment.get("Arn", "")
    spec = lambdas.parse_arn(arn)
    reference = lambdas._lambda_layer_version_name_and_number_from_arn_spec(spec)
    version, _ = lambdas._find_layer_version(*reference, spec.account_id, spec.region, include_deleted=True)
    return str(version["Content"]["CodeSha256"]) if version else ""


def _failure(kind: str, message: str) -> dict[str, Any]:
    return {
        "error": True,
        "function_error": "Unhandled",
        "body": {"errorType": kind, "errorMessage": message},
        "log": "",
    }


def _too_large(limit: int) -> str:
    return f"Request must be smaller than {limit} bytes for the InvokeFunction operation"


def _trace_id() -> str:
    return f"Root=1-{int(time.time()):08x}-{os.urandom(12).hex()};Parent={os.urandom(8).hex()};Sampled=0"


def _put_poller(runtime: Runtime) -> None:
    lambdas = module("services.lambda_svc")
    kinesis = module("services.kinesis")
    responses = module("core.responses")
    credentials = module("core.lambda_runtime").execution_credentials
    announced: list[str] = [""]
    starts: dict[str, dict[str, str]] = {}

    def stream_of(arn: str) -> dict[str, Any] | None:
        spec = lambdas.parse_arn(arn)
        name = spec.resource.partition("/")[2]
        stream: dict[str, Any] | None = kinesis._streams.get_scoped(spec.account_id, spec.region, name)
        return stream

    def tips(stream: dict[str, Any]) -> dict[str, str]:
        return {
            shard: body["records"][-1]["SequenceNumber"] if body["records"] else ""
            for shard, body in stream["shards"].items()
        }

    def announce() -> bool:
        """Tell the poller which mappings there are and how far their streams go, when that changed."""
        known, served = [], []
        for account, region, mapping in lambdas._iter_all_esms():
            if ":kinesis:" not in mapping.get("EventSourceArn", ""):
                continue
            known.append(mapping["UUID"])
            scope = [
                (responses._request_account_id, responses._request_account_id.set(account)),
                (responses._request_region, responses._request_region.set(region)),
            ]
            try:
                stream = stream_of(mapping["EventSourceArn"])
                _, config = lambdas._get_func_record_for_qualifier(
                    mapping["FunctionName"], mapping.get("Qualifier")
                )
                if stream is None or config is None:
                    continue
                served.append(
                    {
                        "mapping": {key: value for key, value in mapping.items() if key != "Tags"},
                        "start": starts.get(mapping["UUID"], {}),
                        "region": region,
                        "role": config.get("Role", ""),
                        "credentials": credentials(_as_event_source(config)),
                        "tips": tips(stream),
                    }
                )
            finally:
                for variable, token in scope:
                    variable.reset(token)
        text = json.dumps({"known": known, "served": served}, sort_keys=True)
        if text != announced[0]:
            runtime.post("/mappings", text.encode())
            announced[0] = text
        return False

    def note_start(original: Callable[..., None]) -> Callable[..., None]:
        def init_position(mapping: str, arn: str, starting: str) -> None:
            original(mapping, arn, starting)
            stream = stream_of(arn) if ":kinesis:" in arn else None
            if stream is not None:
                oldest = starting == "TRIM_HORIZON"
                starts[mapping] = {shard: "" if oldest else tip for shard, tip in tips(stream).items()}
                lambdas._esm_wake.set()

        return init_position

    replace(lambdas, "_poll_kinesis", lambda original: announce)
    replace(lambdas, "_init_stream_position", note_start)


def _as_event_source(config: dict[str, Any]) -> dict[str, Any]:
    """Return a function's configuration under another name: the same role, but a session of its own."""
    return {**config, "FunctionName": EVENT_SOURCE, "FunctionArn": f"{config['FunctionArn']}:{EVENT_SOURCE}"}


def _put_limits() -> None:
    lambdas = module("services.lambda_svc")
    gateway = module("services.apigateway")

    def limit_invoke(original: Any) -> Any:
        async def handle_request(
            method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
        ) -> Any:
            if method == "POST" and path.endswith("/invocations"):
                later = headers.get("x-amz-invocation-type") == "Event"
                limit = ASYNCHRONOUS_LIMIT_BYTES if later else SYNCHRONOUS_LIMIT_BYTES
                if len(body) > limit:
                    code = "RequestEntityTooLargeException"
                    text = json.dumps({"__type": code, "Type": "User", "message": _too_large(limit)})
                    return 413, {"Content-Type": "application/json", "x-amzn-errortype": code}, text.encode()
            return await original(method, path, headers, body, query)

        return handle_request

    def limit_gateway(original: Any) -> Any:
        async def handle_execute(*arguments: Any, **options: Any) -> Any:
            body = arguments[5]
            if len(body or b"") > HTTP_API_LIMIT_BYTES:
                return _gateway(413, "Request Entity Too Large")
            return await original(*arguments, **options)

        return handle_execute

    def hide_failure(original: Any) -> Any:
        def to_response(result: dict[str, Any]) -> Any:
            if result.get("error") and not result.get("throttle"):
                # A body below the gateway's limit may exceed Lambda's once it stands in the event.
                too_long = result["body"].get("errorType") == REQUEST_TOO_LARGE
                status, message = (413, "Request Too Long") if too_long else (500, "Internal Server Error")
                head = {"Content-Type": "application/json"}
                return {"statusCode": status, "headers": head, "body": json.dumps({"message": message})}, None
            return original(result)

        return to_response

    replace(lambdas, "handle_request", limit_invoke)
    replace(lambdas, "lambda_execute_result_to_api_proxy_response", hide_failure)
    replace(gateway, "handle_execute", limit_gateway)


def _gateway(status: int, message: str) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps({"message": message}).encode()


def _put_callbacks() -> None:
    states = module("services.stepfunctions")
    waiting: contextvars.ContextVar[str | None] = contextvars.ContextVar("waiting", default=None)

    def fail(token: str, error: str, cause: str) -> None:
        task = states._task_tokens.get(token)
        if task is not None and not task["event"].is_set():
            task["error"] = {"Error": error, "Cause": cause}
            task["event"].set()

    def report_failure(original: Any) -> Any:
        def call_lambda(function: Any, event: Any) -> Any:
            try:
                return original(function, event)
            except states._ExecutionError as error:
                token = waiting.get()
                if token is not None:
                    fail(token, error.error, error.cause)
                raise

        return call_lambda

    def watch_heartbeat(token: str, seconds: float) -> None:
        """Fail the task when no heartbeat came for ``seconds``, as the definition asks for."""
        seen: Any = None
        last = time.monotonic()
        while True:
            task = states._task_tokens.get(token)
            if task is None:
                return
            if task["heartbeat"] is not seen:
                seen, last = task["heartbeat"], time.monotonic()
            left = last + seconds - time.monotonic()
            if left <= 0:
                fail(token, "States.HeartbeatTimeout", f"No heartbeat for {seconds} seconds")
                return
            task["event"].wait(min(left, 0.5))
            if task["event"].is_set():
                return

    def wait_for_answer(original: Any) -> Any:
        def invoke_with_callback(resource: str, data: Any, token: str, state: dict[str, Any]) -> Any:
            mark = waiting.set(token)
            try:
                if "HeartbeatSeconds" in state:
                    threading.Thread(target=_when_there, args=(token, state), daemon=True).start()
                return original(resource, data, token, state)
            finally:
                waiting.reset(mark)

        def _when_there(token: str, state: dict[str, Any]) -> None:
            while token not in states._task_tokens:
                time.sleep(0.01)
            watch_heartbeat(token, float(state["HeartbeatSeconds"]))

        return invoke_with_callback

    replace(states, "_call_lambda", report_failure)
    replace(states, "_invoke_with_callback", wait_for_answer)


def _put_ranges() -> None:
    """Cut the range that was asked for out of an object's version; MiniStack sends the whole version."""
    s3 = module("services.s3")

    def cut(original: Any) -> Any:
        def get_object(bucket: str, key: str, headers: dict[str, str], query: Any = None) -> Answer:
            answer: Answer = original(bucket, key, headers, query)
            status, said, body = answer
            wanted = headers.get("range", "")
            if status != 200 or not wanted:
                return answer
            span = s3._parse_range(wanted, len(body))
            if span is None:
                said = {"Content-Type": "application/xml", "Content-Range": f"bytes */{len(body)}"}
                return 416, said, s3._xml_body(s3._range_error_xml(bucket, key))
            first, last = span
            # A checksum of the whole would not fit the part.
            said = {name: text for name, text in said.items() if "checksum" not in name.lower()}
            said |= {
                "Content-Length": str(last + 1 - first),
                "Content-Range": f"bytes {first}-{last}/{len(body)}",
            }
            return 206, said, body[first : last + 1]

        return get_object

    replace(s3, "_get_object", cut)


def _put_joins() -> None:
    """Join parts by the MD5 that each was stored with, which is its ETag."""
    s3 = module("services.s3")
    stored: dict[int, bytes] = {}

    class Hashes:
        """``hashlib``, which need not compute what is stored."""

        def __getattr__(self, name: str) -> Any:
            return getattr(hashlib, name)

        def md5(self, data: bytes = b"", **options: Any) -> Any:
            digest = stored.get(id(data))
            if digest is None:
                return hashlib.md5(data, **options)
            return types.SimpleNamespace(digest=lambda: digest)

    def by_stored(original: Any) -> Any:
        def complete(
            bucket: str, key: str, body: bytes, query: dict[str, Any], headers: dict[str, str] | None = None
        ) -> Answer:
            upload = s3._multipart_uploads.get(s3._qp(query, "uploadId")) or {"parts": {}}
            for part in upload["parts"].values():  # which hold the bodies until the request is over
                stored[id(part["body"])] = bytes.fromhex(part["etag"].strip('"'))
            try:
                answer: Answer = original(bucket, key, body, query, headers)
                return answer
            finally:
                stored.clear()

        return complete

    if getattr(s3, "hashlib", None) is not hashlib:
        raise Changed("s3 does not import hashlib")
    s3.hashlib = Hashes()
    replace(s3, "_complete_multipart_upload", by_stored)


def _open_routes() -> None:
    gateway = module("services.apigateway")

    def without_iam(original: Any) -> Any:
        def match_route(*arguments: Any) -> Any:
            route = original(*arguments)
            if route is not None and (route.get("authorizationType") or "").upper() == "AWS_IAM":
                return {**route, "authorizationType": "NONE"}
            return route

        return match_route

    replace(gateway, "_match_route", without_iam)


def _trust_loopback() -> None:
    app = module("app")

    def as_if_over_tls(original: Any) -> Any:
        def pin_request_origin(source_ip: str, secure_transport: bool) -> None:
            original(source_ip, True)

        return pin_request_origin

    replace(app, "pin_request_origin", as_if_over_tls)


def _put_record(path: Path) -> None:
    evaluator = module("core.iam_evaluator")
    lock = threading.Lock()

    def record(original: Any) -> Any:
        def enforce(
            access_key: str, action: str, service: str, region: str, resource_arn: str = "*", **options: Any
        ) -> Any:
            denied = original(access_key, action, service, region, resource_arn=resource_arn, **options)
            who = evaluator.resolve_credential(access_key) if access_key else None
            arn = getattr(who, "principal_arn", "")
            if ":assumed-role/" in arn:
                line = {
                    "time": round(time.time(), 3),
                    "principal": arn,
                    "role": arn.split("/")[1],
                    "action": action,
                    "resource": resource_arn,
                    "allowed": denied is None,
                }
                with lock, path.open("a") as file:
                    file.write(json.dumps(line) + "\n")
            return denied

        return enforce

    replace(evaluator, "enforce", record)


if __name__ == "__main__":
    sys.exit(main())
