"""The HTTP interface seen from a client: JSON in, JSON out, problem details become errors."""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

from millrace.errors import (
    BadInput,
    Conflict,
    MillraceError,
    Misconfigured,
    NotFound,
    TooLarge,
    TransientError,
    Unprocessable,
)

Sign = Callable[[str, str, bytes, Mapping[str, str]], Mapping[str, str]]
"""Takes method, URL, body and headers, and returns the headers with a signature."""

TIMEOUT_S = 35
"""The gateway ends a request after 30 s."""

_BY_STATUS: dict[int, type[MillraceError]] = {
    400: BadInput,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: Unprocessable,
    429: TransientError,
    502: TransientError,
    503: TransientError,
    504: TransientError,
}


class Api:
    """One deployment's HTTP interface.

    Parameters
    ----------
    url : str
        Its address, for example the output ``ApiUrl`` of the stack.
    sign : callable, optional
        Signs each request, for a deployment behind IAM.
    token : str, optional
        Sent as a bearer token, for a deployment behind a JWT authorizer.
    """

    def __init__(self, url: str, *, sign: Sign | None = None, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._sign = sign
        self._token = token

    def get(self, path: str, **query: str | int | None) -> dict[str, Any]:
        """Return the JSON at ``path``."""
        return self._json("GET", _with_query(path, query), None)

    def post(self, path: str, body: Any) -> dict[str, Any]:
        """Send ``body`` as JSON to ``path`` and return the JSON of the answer."""
        return self._json("POST", path, json.dumps(body, allow_nan=False).encode())

    def delete(self, path: str, **query: str | None) -> dict[str, Any]:
        """Delete what lies there, and return what was done."""
        return self._json("DELETE", _with_query(path, query), None)

    def page(self, path: str) -> bytes:
        """Return the page at ``path``."""
        return self._send("GET", path, None, "text/html")

    def _json(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        answer = _object(self._send(method, path, body, "application/json"))
        if answer is None:
            raise Misconfigured(
                f"What answers at {self.url}{path} is no Millrace",
                code="endpoint-foreign",
                remedy="Correct the address.",
            )
        return answer

    def _send(self, method: str, path: str, body: bytes | None, accept: str) -> bytes:
        url = self.url + path
        headers: Mapping[str, str] = {"accept": accept}
        if body is not None:
            headers = {**headers, "content-type": "application/json"}
        if self._token:
            headers = {**headers, "authorization": f"Bearer {self._token}"}
        if self._sign is not None:
            headers = self._sign(method, url, body or b"", headers)
        request = urllib.request.Request(url, data=body, headers=dict(headers), method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                data: bytes = response.read()
        except urllib.error.HTTPError as error:
            raise _problem(error.code, error.read(), url) from None
        except (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise TransientError(
                f"No answer from {self.url}: {reason}",
                code="endpoint-unreachable",
                remedy="Is the platform running? `make up` starts the local one.",
            ) from None
        return data


def _with_query(path: str, query: Mapping[str, str | int | None]) -> str:
    kept = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urllib.parse.urlencode(kept)}" if kept else path


def quote(name: str) -> str:
    """Escape a name for use as one segment of a path."""
    return urllib.parse.quote(name, safe="")


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(data)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _problem(status: int, data: bytes, url: str) -> MillraceError:
    """Turn RFC 9457 problem details, or a gateway's own error body, into one of our errors."""
    problem = _object(data) or {}
    kind = _BY_STATUS.get(status, Misconfigured if status >= 500 else BadInput)
    if status in (401, 403) and "code" not in problem:
        return Misconfigured(
            f"The gateway refuses the request ({status})",
            code="not-allowed",
            where=url,
            remedy="Use credentials that may invoke the API (AWS_PROFILE), or set MILLRACE_TOKEN.",
        )
    detail = problem.get("detail") or problem.get("title") or problem.get("message") or f"HTTP {status}"
    code = str(problem.get("code") or f"http-{status}")
    error = kind(str(detail).rstrip("."), code=code)
    if isinstance(error, Unprocessable):
        error.values = tuple(problem.get("errors", ()))
    return error


def post_file(url: str, fields: Mapping[str, str], file: Path | bytes, name: str) -> str | None:
    """Send a file as a presigned form, without holding it in memory, and return its version id.

    Parameters
    ----------
    url : str
        The bucket's address.
    fields : mapping
        The signed fields, sent before the file.
    file : Path or bytes
        The content.
    name : str
        The file's name in the form.

    Raises
    ------
    TooLarge
        The store refuses the file's size.
    """
    boundary = secrets.token_hex(16)
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
    )
    shown = name.replace("\\", "_").replace('"', "_").replace("\r", "_").replace("\n", "_")
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{shown}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    before, after = head.encode(), f"\r\n--{boundary}--\r\n".encode()
    size = len(file) if isinstance(file, bytes) else file.stat().st_size
    parts = urllib.parse.urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(parts.netloc, timeout=300)
    try:
        connection.request(
            "POST",
            parts.path or "/",
            body=_blocks(before, file, after),
            headers={
                "content-type": f"multipart/form-data; boundary={boundary}",
                "content-length": str(len(before) + size + len(after)),
            },
        )
        response = connection.getresponse()
        body = response.read()
    except (OSError, HTTPException) as error:
        raise TransientError(
            f"The upload broke off: {error}", code="upload-broken", where=url, remedy="Upload the file again."
        ) from None
    finally:
        connection.close()
    if response.status >= 300:
        kind = TooLarge if b"EntityTooLarge" in body else BadInput
        text = body.decode("utf-8", "replace")[:300]
        raise kind(
            f"The store refuses the upload ({response.status}): {text}",
            code="upload-refused",
            where=name,
            remedy="A presigned upload is bounded in size and time; see the limits in the reference.",
        )
    return response.headers.get("x-amz-version-id")


def download(url: str, target: Path) -> None:
    """Write what a signed link leads to into a file, whole or not at all.

    Raises
    ------
    TransientError
        The download breaks off, or the link has expired.
    """
    part = target.with_name(target.name + ".part")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response, part.open("wb") as sink:
            while block := response.read(1 << 20):
                sink.write(block)
        part.replace(target)
    except (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException) as error:
        raise TransientError(
            f"The download broke off: {getattr(error, 'reason', error)}",
            code="download-broken",
            where=target.name,
            remedy="Ask for the result again.",
        ) from None
    finally:
        part.unlink(missing_ok=True)


def _blocks(before: bytes, file: Path | bytes, after: bytes) -> Iterator[bytes]:
    yield before
    if isinstance(file, bytes):
        yield file
    else:
        with file.open("rb") as source:
            while block := source.read(1 << 20):
                yield block
    yield after
