"""A small S3 over real HTTP on the loopback, for the client that does without boto3.

It checks each request's signature with botocore's own signer, and can be told to misbehave.
"""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

Fault = Callable[["_Handler"], None]


class S3Stub:
    """One bucket: ``objects`` by key; ``faults`` answer the next requests instead of the bucket."""

    def __init__(
        self, bucket: str = "artifacts", page: int = 1000, tls: ssl.SSLContext | None = None
    ) -> None:
        self.bucket = bucket
        self.page = page
        self.host = "localhost" if tls else "127.0.0.1"
        self._scheme = "https" if tls else "http"
        self.objects: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        """Each answered request: method, target and status."""
        self.bad_signatures: list[str] = []
        self.connections = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.stub = self  # type: ignore[attr-defined]
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"{self._scheme}://{self.host}:{self._server.server_address[1]}"

    @property
    def environ(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            "AWS_SESSION_TOKEN": "the/session+token=",
        }

    def __enter__(self) -> S3Stub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    disable_nagle_algorithm = True

    @property
    def stub(self) -> S3Stub:
        return self.server.stub  # type: ignore[attr-defined,no-any-return]

    def setup(self) -> None:
        super().setup()
        self.stub.connections += 1

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.stub.faults:
            self.stub.faults.pop(0)(self)
            return
        if not self._is_signed():
            self.stub.bad_signatures.append(self.path)
            self.refuse(403, "SignatureDoesNotMatch")
            return
        url = urlsplit(self.path)
        key = unquote(url.path)[len(self.stub.bucket) + 2 :]
        if not key:
            self._list(parse_qs(url.query))
        elif key not in self.stub.objects:
            self.refuse(404, "NoSuchKey")
        else:
            body = self.stub.objects[key]
            etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
            if self.headers.get("If-None-Match") == etag:
                self.answer(304, b"", {"ETag": etag})
            else:
                self.answer(200, body, {"ETag": etag})

    def _list(self, query: dict[str, list[str]]) -> None:
        prefix, delimiter = query["prefix"][0], query["delimiter"][0]
        rest = [key[len(prefix) :] for key in self.stub.objects if key.startswith(prefix)]
        names = sorted({name.split(delimiter)[0] for name in rest if delimiter in name})
        start = int(query.get("continuation-token", ["0&<>"])[0].removesuffix("&<>"))
        page, more = names[start : start + self.stub.page], len(names) > start + self.stub.page
        parts = [f"<IsTruncated>{str(more).lower()}</IsTruncated><Prefix>{escape(prefix)}</Prefix>"]
        if more:
            parts.append(
                f"<NextContinuationToken>{start + self.stub.page}&amp;&lt;&gt;</NextContinuationToken>"
            )
        parts += [
            f"<CommonPrefixes><Prefix>{escape(prefix + name + delimiter)}</Prefix></CommonPrefixes>"
            for name in page
        ]
        self.answer(200, f"<ListBucketResult>{''.join(parts)}</ListBucketResult>".encode(), chunked=True)

    def answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, *, chunked: bool = False
    ) -> None:
        self.stub.requests.append(f"{self.command} {self.path} {status}")
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(0, len(body), 100):
                part = body[at : at + 100]
                self.wfile.write(f"{len(part):x};x=y\r\n".encode() + part + b"\r\n")
            self.wfile.write(b"0\r\nTrailer: 1\r\n\r\n")
            return
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode(), chunked=True)

    def _is_signed(self) -> bool:
        given = self.headers.get("Authorization", "")
        environ = self.stub.environ
        request = AWSRequest("GET", f"http://{self.headers['Host']}{self.path}")
        request.context["timestamp"] = self.headers["X-Amz-Date"]
        request.headers["X-Amz-Date"] = self.headers["X-Amz-Date"]
        signer = S3SigV4Auth(
            Credentials(
                environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"], environ["AWS_SESSION_TOKEN"]
            ),
            "s3",
            environ["AWS_REGION"],
        )
        for name in ("X-Amz-Security-Token", "X-Amz-Content-SHA256"):
            request.headers[name] = self.headers[name]
        canonical = signer.canonical_request(request)
        wanted = signer.signature(signer.string_to_sign(request, canonical), request)
        return given.endswith(f"Signature={wanted}")


def status(code: int, name: str = "SlowDown") -> Fault:
    """Answer with an error of S3."""
    return lambda handler: handler.refuse(code, name)


def hang_up(handler: _Handler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True


def half_a_body(handler: _Handler) -> None:
    """Announce more than is sent."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"not a thousand bytes")
    handler.close_connection = True


def no_http(handler: _Handler) -> None:
    """Answer in another protocol."""
    handler.wfile.write(b"220 mail.example ESMTP\r\n")
    handler.close_connection = True
