"""Presigned uploads and downloads: a file goes straight between the bucket and the browser or the CLI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millrace.aws.clients import client
from millrace.aws.errors import translated

__all__ = ["PresignedPost", "S3Uploads"]


@dataclass(frozen=True)
class PresignedPost:
    """Where to post a form, and the fields that must come before its ``file``."""

    url: str
    fields: Mapping[str, str]


class S3Uploads:
    """Signs uploads into one bucket and downloads from it; signing makes no request.

    Parameters
    ----------
    bucket : str
        Its name.
    s3 : botocore client, optional
        Built on first use when absent.
    """

    def __init__(self, bucket: str, s3: Any = None) -> None:
        self._bucket = bucket
        self._given = s3

    def presign(
        self, key: str, *, max_bytes: int, expires_s: int = 3600, metadata: Mapping[str, str] | None = None
    ) -> PresignedPost:
        """Sign one upload to ``key`` of 0 to ``max_bytes`` bytes.

        A presigned PUT could not bound the size; the policy of a presigned POST can. Empty files are let
        through, because a run that says "the file is empty" helps more than a refusal by S3.

        Parameters
        ----------
        key : str
            Where the file will lie.
        max_bytes : int
            S3 refuses a larger body with ``EntityTooLarge``.
        expires_s : int
            Seconds until the signature ends.
        metadata : mapping, optional
            User metadata of the object, for example ``{"force": "true"}``.
        """
        fields = {f"x-amz-meta-{name}": value for name, value in (metadata or {}).items()}
        conditions: list[Any] = [["content-length-range", 0, max_bytes]]
        conditions += [{name: value} for name, value in fields.items()]
        with translated(f"s3://{self._bucket}/{key}"):
            s3 = self._given if self._given is not None else client("s3")
            answer = s3.generate_presigned_post(
                self._bucket, key, Fields=fields, Conditions=conditions, ExpiresIn=expires_s
            )
        return PresignedPost(answer["url"], answer["fields"])

    def link(self, key: str, *, expires_s: int = 3600) -> str:
        """Sign one download and return its address.

        Parameters
        ----------
        key : str
            The object.
        expires_s : int
            Seconds until the signature ends.
        """
        with translated(f"s3://{self._bucket}/{key}"):
            s3 = self._given if self._given is not None else client("s3")
            address: str = s3.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=expires_s
            )
        return address
