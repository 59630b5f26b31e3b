"""S3 as :class:`millrace.contracts.ObjectStore`: one bucket, conditional writes, bounded memory."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from millrace.aws.clients import client
from millrace.aws.errors import error_code, translated
from millrace.contracts import ObjectInfo, ObjectStore
from millrace.errors import Conflict, NotFound

__all__ = ["S3Store"]

PART_BYTES = 8 << 20
"""S3 takes parts of at least 5 MiB, and 10,000 of them: objects of up to 80 GB at this size."""
MIN_PART_BYTES = 5 << 20
"""The least that a part may have which is not the last (Amazon S3 user guide, "Multipart upload limits")."""
COPY_BYTES = 1 << 30
"""The most that one request copies; S3 allows 5 GiB."""
COPIES_AT_ONCE = 8
"""S3 takes a while to copy a part, in which it can copy others; boto3's pool has ten connections."""
TRIES = 4
"""How often a conditional write is made that S3 refuses because another one is under way."""
CHECKSUM = {"ChecksumAlgorithm": "CRC32"}
"""botocore sends this with each part by itself; S3 wants it announced before and repeated at the end."""


class S3Store:
    """One bucket.

    Parameters
    ----------
    bucket : str
        Its name.
    s3 : botocore client, optional
        Built on first use when absent.
    sleep : callable
        How to wait, in seconds; a test passes its own.
    """

    def __init__(self, bucket: str, s3: Any = None, sleep: Callable[[float], None] = time.sleep) -> None:
        self._bucket = bucket
        self._given = s3
        self._sleep = sleep

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self._bucket

    @property
    def _s3(self) -> Any:
        return self._given if self._given is not None else client("s3")

    def get(
        self, key: str, *, version_id: str | None = None, start: int | None = None, end: int | None = None
    ) -> bytes:
        """Return the object's bytes, or those of ``[start, end)`` (fewer where the object ends).

        Raises
        ------
        NotFound
            There is no such object or version.
        """
        if end is not None and end <= (start or 0):
            return b""
        with translated(self._uri(key)):
            try:
                answer = self._s3.get_object(**self._address(key, version_id), **_range(start, end))
            except self._s3.exceptions.ClientError as error:
                if error_code(error) == "InvalidRange":  # the range begins at or after the object's end
                    return b""
                raise
            data: bytes = answer["Body"].read()
        return data

    def get_with_etag(self, key: str) -> tuple[bytes, str]:
        """Return the object's bytes and the etag to compare-and-swap with."""
        with translated(self._uri(key)):
            answer = self._s3.get_object(**self._address(key, None))
            return answer["Body"].read(), _bare(answer["ETag"])

    def stream(
        self, key: str, *, version_id: str | None = None, start: int = 0, block_bytes: int = 1 << 20
    ) -> Iterator[bytes]:
        """Yield the object's bytes from ``start`` in blocks; never the whole object at once."""
        with translated(self._uri(key)):
            try:
                answer = self._s3.get_object(**self._address(key, version_id), **_range(start or None, None))
            except self._s3.exceptions.ClientError as error:
                if error_code(error) == "InvalidRange":
                    return
                raise
        blocks = answer["Body"].iter_chunks(block_bytes)
        while True:
            with translated(self._uri(key)):
                block = next(blocks, None)
            if block is None:
                return
            yield block

    def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        only_if_absent: bool = False,
        only_if_etag: str | None = None,
    ) -> str:
        """Write and return the etag.

        Of two conditional writes at the same time S3 may refuse one before it is clear that the other will
        stand ("409 ConditionalRequestConflict"), so that one is made again.

        Raises
        ------
        Conflict
            The condition does not hold: the object is there (``only_if_absent``), or it is another one
            than ``only_if_etag`` names, or it is gone.
        """
        condition: dict[str, str] = {}
        if only_if_absent:
            condition["IfNoneMatch"] = "*"
        if only_if_etag is not None:
            condition["IfMatch"] = f'"{only_if_etag}"'
        try:
            with translated(self._uri(key)):
                answer = self._put(
                    **self._address(key, None), Body=data, ContentType=content_type, **condition
                )
        except NotFound as error:  # If-Match on an object that is gone
            raise Conflict(
                "Somebody else deleted it first",
                code="conflict",
                where=self._uri(key),
                remedy="Read it again, then decide.",
            ) from error
        return _bare(answer["ETag"])

    def _put(self, **request: Any) -> Any:
        for attempt in range(1, TRIES):
            try:
                return self._s3.put_object(**request)
            except self._s3.exceptions.ClientError as error:
                if error_code(error) != "ConditionalRequestConflict":
                    raise
            self._sleep(random.uniform(0, 0.2 * attempt))
        return self._s3.put_object(**request)

    def put_stream(
        self, key: str, pieces: Iterable[bytes | tuple[ObjectStore, str]], *, only_if_absent: bool = False
    ) -> int:
        """Write bytes and whole objects, one behind the other, as one object; return the size in bytes.

        Holds at most one part of 8 MiB and one piece; an object, named by its store and key, S3 copies itself
        where it is large enough for a part. When ``pieces`` raises, nothing is written and the error goes on.

        Raises
        ------
        Conflict
            The object is there, and was to be written only if it is not.
        """
        waiting = bytearray()
        upload: _Upload | None = None
        size_bytes = 0
        try:
            for piece in pieces:
                if isinstance(piece, bytes):
                    size = read = len(piece)
                    waiting += piece
                else:
                    store, name = piece
                    size = store.head(name).size_bytes
                    # What waits must become a part before the object's rest can follow as one.
                    read = max(0, MIN_PART_BYTES - len(waiting)) if waiting else 0
                    if size - read < MIN_PART_BYTES:
                        read = size
                    waiting += store.get(name, end=read)
                size_bytes += size
                if read < size or len(waiting) >= PART_BYTES:
                    upload = upload or _Upload(self._s3, self._address(key, None), self._uri(key))
                    if waiting:
                        upload.part(bytes(waiting))
                        waiting.clear()
                    if read < size:
                        upload.copy(f"{store.bucket}/{name}", read, size)
            if upload is None:
                self.put(key, bytes(waiting), only_if_absent=only_if_absent)
            else:
                if waiting:
                    upload.part(bytes(waiting))
                upload.complete(only_if_absent=only_if_absent)
        except BaseException:
            if upload is not None:
                upload.abort()
            raise
        return size_bytes

    def head(self, key: str, *, version_id: str | None = None) -> ObjectInfo:
        """Return what the bucket knows of the object; ``version_id`` is ``"null"`` without versioning."""
        with translated(self._uri(key)):
            answer = self._s3.head_object(**self._address(key, version_id))
        metadata: Mapping[str, str] = answer.get("Metadata", {})
        return ObjectInfo(
            key=key,
            size_bytes=answer["ContentLength"],
            etag=_bare(answer["ETag"]),
            version_id=answer.get("VersionId", "null"),
            metadata=dict(metadata),
        )

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys below ``prefix``, in order."""
        for page in self._pages(Prefix=prefix):
            for item in page.get("Contents", []):
                yield item["Key"]

    def list_folders(self, prefix: str) -> Iterator[str]:
        """Yield the names between ``prefix`` and the next ``/``, in order."""
        for page in self._pages(Prefix=prefix, Delimiter="/"):
            for item in page.get("CommonPrefixes", []):
                yield item["Prefix"][len(prefix) : -1]

    def delete(self, key: str) -> None:
        """Delete the object; no error when it is absent."""
        with translated(self._uri(key)):
            self._s3.delete_object(**self._address(key, None))

    def _pages(self, **request: str) -> Iterator[dict[str, Any]]:
        token: dict[str, str] = {}
        while True:
            with translated(self._uri(request["Prefix"])):
                page = self._s3.list_objects_v2(Bucket=self._bucket, **request, **token)
            yield page
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def _address(self, key: str, version_id: str | None) -> dict[str, str]:
        address = {"Bucket": self._bucket, "Key": key}
        return address | {"VersionId": version_id} if version_id else address

    def _uri(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"


class _Upload:
    """A multipart upload under way: bytes are sent one part after the other, copies are made side by side."""

    def __init__(self, s3: Any, address: dict[str, str], uri: str) -> None:
        self._s3 = s3
        self._address = address
        self._uri = uri
        self._parts: list[dict[str, Any] | Future[dict[str, Any]]] = []
        self._copying = ThreadPoolExecutor(COPIES_AT_ONCE)
        with translated(uri):
            self._id = s3.create_multipart_upload(**address, **CHECKSUM)["UploadId"]

    def part(self, data: bytes) -> None:
        number = len(self._parts) + 1
        with translated(self._uri):
            answer = self._s3.upload_part(**self._named(number), Body=data, **CHECKSUM)
        self._parts.append(_receipt(number, answer))

    def copy(self, source: str, start: int, end: int) -> None:
        """Let S3 copy the bytes ``[start, end)`` of ``<bucket>/<key>``, in parts of about one size."""
        parts = -(-(end - start) // COPY_BYTES)
        for place in range(parts):
            first, last = (start + (end - start) * at // parts for at in (place, place + 1))
            self._parts.append(
                self._copying.submit(self._copied, len(self._parts) + 1, source, f"bytes={first}-{last - 1}")
            )

    def _copied(self, number: int, source: str, span: str) -> dict[str, Any]:
        with translated(self._uri):
            answer = self._s3.upload_part_copy(**self._named(number), CopySource=source, CopySourceRange=span)
        return _receipt(number, answer["CopyPartResult"])

    def _named(self, number: int) -> dict[str, Any]:
        return {**self._address, "UploadId": self._id, "PartNumber": number}

    def complete(self, *, only_if_absent: bool = False) -> None:
        parts = [part.result() if isinstance(part, Future) else part for part in self._parts]
        condition = {"IfNoneMatch": "*"} if only_if_absent else {}
        with translated(self._uri):
            self._s3.complete_multipart_upload(
                **self._address, UploadId=self._id, MultipartUpload={"Parts": parts}, **condition
            )
        self._copying.shutdown()

    def abort(self) -> None:
        self._copying.shutdown(cancel_futures=True)  # a copy that ends after the abort would stay, and cost
        with translated(self._uri):
            self._s3.abort_multipart_upload(**self._address, UploadId=self._id)


def _receipt(number: int, answer: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "PartNumber": number,
        **{name: answer[name] for name in ("ETag", "ChecksumCRC32") if name in answer},
    }


def _range(start: int | None, end: int | None) -> dict[str, str]:
    if start is None and end is None:
        return {}
    last = "" if end is None else str(end - 1)
    return {"Range": f"bytes={start or 0}-{last}"}


def _bare(etag: str) -> str:
    return etag.strip('"')
