"""S3 reads for ``predict``: signed GETs over one kept-alive connection, with the standard library.

boto3 costs 160 to 270 ms before its first request, and ``http.client`` imports the whole ``email``
package to read a few header lines (19 ms where the interpreter takes 8). What ``predict`` needs is
one verb of one service, so it is written out: Signature Version 4 [1]_, an HTTP/1.1 exchange [2]_, and
one retry. The other functions use boto3.

A server's certificate is verified against the five roots of Amazon's own authority [3]_, which the build puts
beside this module: to read all that a machine trusts takes OpenSSL 3 over 20 ms of a whole core. Whatever
they do not vouch for, the machine's roots decide; and they alone where ``SSL_CERT_FILE`` or ``SSL_CERT_DIR``
says which these are.

References
----------
.. [1] AWS, "Authenticating Requests (AWS Signature Version 4)", Amazon S3 API Reference.
.. [2] R. Fielding et al., "HTTP/1.1", RFC 9112.
.. [3] Amazon Trust Services, "Trust store and pinning recommendations", https://www.amazontrust.com/repository/
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
import time

from millrace.errors import MillraceError, Misconfigured, NotFound, TransientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, BinaryIO

__all__ = ["Bucket", "CredentialSource", "Credentials", "authorization", "escape"]

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
TIMEOUT_S = 5.0
"""Of connecting and of each read; a whole plan may take longer."""
BACKOFF_S = 0.2
"""The one retry waits a random part of this."""
REFRESH_S = 300
"""Credentials are fetched again when they end within this time."""
ROOTS = f"{__file__.rpartition('/')[0]}/roots.pem"
UNKNOWN_ISSUER = (2, 18, 19, 20, 21)
"""OpenSSL's ``X509_V_ERR_*`` that say that no root vouches for a certificate."""
LINE_BYTES = 65_536
"""Longest header line that is accepted."""
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def escape(text: str, safe: str = "") -> str:
    """Percent-encode ``text`` as Signature Version 4 wants it: UTF-8, upper case, no ``+`` for a space."""
    keep = _UNRESERVED.union(safe.encode())
    return "".join(chr(byte) if byte in keep else f"%{byte:02X}" for byte in text.encode())


class Credentials:
    """Keys to sign with; ``expires_at`` in seconds since 1970, 0 when they do not end."""

    __slots__ = ("access_key", "expires_at", "secret_key", "token")

    def __init__(self, access_key: str, secret_key: str, token: str = "", expires_at: float = 0.0) -> None:
        self.access_key = access_key
        self.secret_key = secret_key
        self.token = token
        self.expires_at = expires_at


def authorization(
    credentials: Credentials,
    method: str,
    path: str,
    query: Iterable[tuple[str, str]],
    headers: Mapping[str, str],
    *,
    payload_sha256: str = EMPTY_SHA256,
    region: str,
    service: str = "s3",
) -> str:
    """Return the ``Authorization`` header of a request [1]_.

    Parameters
    ----------
    path : str
        Already escaped, as it stands in the request line.
    query : iterable of (str, str)
        Not yet escaped.
    headers : mapping
        Everything that is signed, names in lower case; ``host`` and ``x-amz-date`` at least.
    """
    stamp = headers["x-amz-date"]
    names = sorted(headers)
    signed = ";".join(names)
    canonical = "\n".join(
        (
            method,
            path,
            query_string(query),
            *(f"{name}:{headers[name].strip()}" for name in names),
            "",
            signed,
            payload_sha256,
        )
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = b"AWS4" + credentials.secret_key.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}".encode(), "sha256").hex()
    return (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={signed}, Signature={signature}"
    )


def query_string(query: Iterable[tuple[str, str]]) -> str:
    """Return the query, escaped and sorted: canonical for the signature and good for the request line."""
    return "&".join(sorted(f"{escape(name)}={escape(value)}" for name, value in query))


class CredentialSource:
    """Where the credentials come from: the environment or, under SnapStart, the container endpoint.

    A snapshot must not carry keys, so Lambda then names an endpoint on the loopback in
    ``AWS_CONTAINER_CREDENTIALS_FULL_URI`` instead of setting the keys themselves.
    """

    def __init__(self, environ: Mapping[str, str], *, clock: Callable[[], float] = time.time) -> None:
        self._environ = environ
        self._clock = clock
        self._fetched: Credentials | None = None

    def get(self) -> Credentials:
        """Return credentials that hold for some minutes yet.

        Raises
        ------
        Misconfigured
            There are none.
        TransientError
            The endpoint does not answer, and those at hand have ended.
        """
        environ = self._environ
        if "AWS_ACCESS_KEY_ID" in environ and "AWS_SECRET_ACCESS_KEY" in environ:
            return Credentials(
                environ["AWS_ACCESS_KEY_ID"],
                environ["AWS_SECRET_ACCESS_KEY"],
                environ.get("AWS_SESSION_TOKEN", ""),
            )
        address = environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
        if not address:
            raise Misconfigured(
                "There are no AWS credentials in the environment",
                code="credentials-missing",
                remedy="Run this inside a Lambda function, or set AWS_ACCESS_KEY_ID and its companions.",
            )
        held = self._fetched
        if held is None or held.expires_at - REFRESH_S <= self._clock():
            try:
                held = self._fetched = self._fetch(address)
            except TransientError:
                if held is None or held.expires_at <= self._clock():
                    raise
        return held

    def _fetch(self, address: str) -> Credentials:
        import json
        from datetime import datetime

        tls, host, port, path = split_url(address)
        connection = _Connection(host, port, tls)
        headers = {"host": f"{host}:{port}"}
        if token := self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"):
            headers["authorization"] = token
        try:
            status, _, body = connection.exchange("GET", path or "/", headers)
            if status != 200:
                raise _BrokenExchange(f"status {status}")
            found = json.loads(body)
            ends = datetime.fromisoformat(found["Expiration"]).timestamp()
            return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["Token"], ends)
        except (OSError, ValueError, KeyError) as error:
            raise TransientError(
                f"The container's credentials endpoint does not answer as it should: {error}",
                code="credentials-unavailable",
                remedy="Try again.",
            ) from error
        finally:
            connection.close()


class Bucket:
    """Reads one bucket.

    Parameters
    ----------
    name : str
        The bucket.
    environ : mapping, optional
        Where region, credentials and ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL`` come from. With an
        endpoint the bucket is addressed by path, else by the regional virtual host.
    clock, sleep : callable, optional
        Seconds since 1970, and waiting.
    """

    def __init__(
        self,
        name: str,
        environ: Mapping[str, str] = os.environ,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self._clock = clock
        self._sleep = sleep
        self._region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        self._credentials = CredentialSource(environ, clock=clock)
        tls, host, port, self._base = split_url(_endpoint(name, self._region, environ))
        self._host = host if port == (443 if tls else 80) else f"{host}:{port}"
        self._connection = _Connection(host, port, tls)

    def get(self, key: str) -> tuple[bytes, str]:
        """Return the object's bytes and its etag.

        Raises
        ------
        NotFound
            There is no such object.
        TransientError
            S3 throttles, is broken or cannot be reached, twice in a row.
        Misconfigured
            S3 refuses the request.
        """
        _, headers, body = self._request(f"/{escape(key, '/')}", (), {}, key)
        return body, headers.get("etag", "")

    def get_if_changed(self, key: str, etag: str) -> tuple[bytes, str] | None:
        """Return as :meth:`get` does, or ``None`` when ``etag`` is still the object's."""
        condition = {"if-none-match": etag}
        status, headers, body = self._request(f"/{escape(key, '/')}", (), condition, key)
        return None if status == 304 else (body, headers.get("etag", ""))

    def folders(self, prefix: str) -> list[str]:
        """Return the names between ``prefix`` and the next ``/``, in order."""
        names: list[str] = []
        page = {"list-type": "2", "delimiter": "/", "prefix": prefix}
        while True:
            _, _, body = self._request("/", page.items(), {}, prefix)
            text = body.decode()
            found = text.split("<CommonPrefixes>")[1:]
            names += [_element(part, "Prefix")[len(prefix) : -1] for part in found]
            if _element(text, "IsTruncated") != "true":
                return names
            page["continuation-token"] = _element(text, "NextContinuationToken")

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def _request(
        self, path: str, query: Iterable[tuple[str, str]], extra: Mapping[str, str], what: str
    ) -> tuple[int, dict[str, str], bytes]:
        path = (self._base + path) or "/"
        target = f"{path}?{query_string(query)}" if query else path
        where = f"s3://{self.name}/{what}"
        failures = 0
        while True:
            reused = self._connection.is_open
            cause: Exception | None = None
            try:
                status, headers, body = self._connection.exchange(
                    "GET", target, {**self._signed(path, query), **extra}
                )
                if status < 500 and status != 429:
                    break
                cause = _BrokenExchange(
                    f"status {status} {_element(body.decode('utf-8', 'replace'), 'Code')}"
                )
            except OSError as error:
                cause = error
                # S3 closes connections that were idle, and a frozen sandbox does not notice: no failure.
                if reused:
                    continue
            failures += 1
            if failures > 1:
                raise TransientError(
                    f"S3 did not answer as it should: {cause}",
                    code="service-unavailable",
                    where=where,
                    remedy="Try again.",
                ) from cause
            self._sleep(BACKOFF_S * int.from_bytes(os.urandom(2)) / 65_536)
        if status not in (200, 304):
            raise _refusal(status, _code(body), where)
        return status, headers, body

    def _signed(self, path: str, query: Iterable[tuple[str, str]]) -> dict[str, str]:
        credentials = self._credentials.get()
        headers = {
            "host": self._host,
            "x-amz-content-sha256": EMPTY_SHA256,
            "x-amz-date": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock())),
        }
        if credentials.token:
            headers["x-amz-security-token"] = credentials.token
        headers["authorization"] = authorization(
            credentials, "GET", path, query, headers, region=self._region
        )
        return headers


def split_url(url: str) -> tuple[bool, str, int, str]:
    """Return whether ``url`` is encrypted, its host, its port, and its path without a closing slash."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    host, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):  # no port; an IPv6 address alone stands in brackets
        host, port = authority, ""
    tls = scheme == "https"
    return tls, host, int(port) if port else (443 if tls else 80), (slash + path).rstrip("/")


def _endpoint(bucket: str, region: str, environ: Mapping[str, str]) -> str:
    given = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    if given:
        return f"{given.rstrip('/')}/{bucket}"
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    if "." in bucket:  # the certificate covers one label only
        return f"https://s3.{region}.{domain}/{bucket}"
    return f"https://{bucket}.s3.{region}.{domain}"


def _element(text: str, name: str) -> str:
    """Return the text of the first XML element called ``name``, an empty string if there is none."""
    _, _, after = text.partition(f"<{name}>")
    inner, _, _ = after.partition(f"</{name}>")
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&")):
        inner = inner.replace(entity, character)
    return inner


def _code(body: bytes) -> str:
    """Return S3's own code of an error."""
    return _element(body.decode("utf-8", "replace"), "Code")


def _refusal(status: int, code: str, where: str) -> MillraceError:
    if status == 404 and code != "NoSuchBucket":
        return NotFound("It is not there", code="not-found", where=where)
    return Misconfigured(
        f"AWS refuses the request: {code or status}",
        code="aws-refused",
        where=where,
        remedy="Check that the stack is deployed and that the function's role allows the call.",
    )


class _BrokenExchange(OSError):
    """The other side does not speak HTTP/1.1, stopped in the middle, or reports a fault of its own."""


class _Connection:
    """One HTTP/1.1 connection, opened when needed and kept."""

    def __init__(self, host: str, port: int, tls: bool) -> None:
        # As bytes, because a text would be sent through the codec for international names, whose tables
        # cost 6 ms to import.
        self._name = host.strip("[]").encode()
        self._port = port
        self._tls = tls
        own = "SSL_CERT_FILE" in os.environ or "SSL_CERT_DIR" in os.environ
        self._roots = ROOTS if not own and os.access(ROOTS, os.R_OK) else None
        self._context: Any = None
        self._socket: socket.socket | None = None
        self._reader: BinaryIO | None = None

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        if self._socket is not None:
            self._socket.close()
        self._reader = self._socket = None

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request without a body; return status, headers (names in lower case) and body.

        Raises
        ------
        OSError
            The connection is then closed.
        """
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        try:
            sock, reader = self._opened()
            sock.sendall("\r\n".join((*lines, "", "")).encode("latin-1"))
            status, answer = _head(reader)
            while status < 200:  # an interim answer
                status, answer = _head(reader)
            keep = answer.get("connection", "").lower() != "close"
            if status in (204, 304):
                body = b""
            elif "chunked" in answer.get("transfer-encoding", "").lower():
                body = _chunks(reader)
            elif "content-length" in answer:
                body = _exactly(reader, _number(answer["content-length"], 10))
            else:
                body, keep = reader.read(), False
        except BaseException:
            self.close()
            raise
        if not keep:
            self.close()
        return status, answer, body

    def _opened(self) -> tuple[socket.socket, BinaryIO]:
        if self._socket is None or self._reader is None:
            sock = self._encrypted() if self._tls else self._connected()
            self._socket = sock
            self._reader = sock.makefile("rb")
        return self._socket, self._reader

    def _connected(self) -> socket.socket:
        address: Any = (self._name, self._port)  # typeshed knows of texts only
        sock = socket.create_connection(address, TIMEOUT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def _encrypted(self) -> socket.socket:
        import ssl

        while True:
            if self._context is None:
                self._context = ssl.create_default_context(cafile=self._roots)
            try:
                sock: socket.socket = self._context.wrap_socket(self._connected(), server_hostname=self._name)
                return sock
            except ssl.SSLCertVerificationError as error:
                if self._roots is None or error.verify_code not in UNKNOWN_ISSUER:
                    raise
            self._roots = self._context = None


def _head(reader: BinaryIO) -> tuple[int, dict[str, str]]:
    version, _, rest = _line(reader).partition(" ")
    status = _number(rest[:3], 10)
    if not version.startswith("HTTP/1."):
        raise _BrokenExchange(f"not an HTTP/1.1 answer: {version!r:.40}")
    headers: dict[str, str] = {}
    while line := _line(reader):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if version == "HTTP/1.0":
        headers.setdefault("connection", "close")
    return status, headers


def _line(reader: BinaryIO) -> str:
    line = reader.readline(LINE_BYTES)
    if not line.endswith(b"\n"):
        raise _BrokenExchange(
            "the connection was closed" if len(line) < LINE_BYTES else "a header is too long"
        )
    return line.decode("latin-1").rstrip("\r\n")


def _chunks(reader: BinaryIO) -> bytes:
    body = bytearray()
    while size := _number(_line(reader).partition(";")[0], 16):
        body += _exactly(reader, size)
        _line(reader)
    while _line(reader):  # trailers
        continue
    return bytes(body)


def _exactly(reader: BinaryIO, size: int) -> bytes:
    data = reader.read(size)
    if len(data) < size:
        raise _BrokenExchange(f"the body ends after {len(data)} of {size} bytes")
    return data


def _number(text: str, base: int) -> int:
    try:
        return int(text, base)
    except ValueError:
        raise _BrokenExchange(f"not a number: {text!r:.40}") from None
