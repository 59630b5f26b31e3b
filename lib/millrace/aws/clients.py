"""Clients of the AWS services: built when first used, once for each service, shared by threads."""

from __future__ import annotations

import functools
import os
from typing import Any

__all__ = ["client"]


@functools.cache
def client(service: str) -> Any:
    """Return the client of ``service``; region, credentials and endpoint come from the environment.

    Reads may be slow while a function is cold or a service throttles, so ``standard`` retries with a
    time limit per try; what still fails becomes our ``TransientError`` and is retried a level higher.
    """
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    return boto3.client(
        service,
        # The other SDKs and the command line read this variable first, boto3 does not read it at all.
        region_name=os.environ.get("AWS_REGION") or None,
        config=Config(
            retries={"mode": "standard", "max_attempts": 4},
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=16,
            # In S3's oldest regions botocore signs forms and links with version 2 unless told otherwise, and
            # S3 takes that for no bucket made after June 2020.
            signature_version="s3v4" if service == "s3" else None,
            s3={"addressing_style": "virtual"} if service == "s3" and not _has_endpoint() else None,
        ),
    )


def _has_endpoint() -> bool:
    """Tell whether another endpoint than AWS's stands in the environment (addressed by path)."""
    return bool(os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL_S3"))
