"""Clients of the AWS services: built when first used, once for each service, shared by threads."""

from __future__ import annotations

import functools
import os
import threading
from collections import Counter
from typing import Any

__all__ = ["client", "requests_sent"]

_S3_READS = ("Get", "Head", "Select")
_TABLE_READS = ("Get", "BatchGet", "Query", "Scan", "TransactGet")
_sent: Counter[str] = Counter()
_counting = threading.Lock()


def requests_sent() -> Counter[str]:
    """Return the requests that this process has sent so far, retries included, by how they are priced.

    The kinds are ``s3_writes``, ``s3_reads``, ``table_writes`` and ``table_reads``; what S3 does not charge
    for, deletions, and what other services charge for by another measure, is not among them.
    """
    with _counting:
        return _sent.copy()


def _count(event_name: str, **request: object) -> None:
    """Count a request; the event's name is ``before-send.<service>.<operation>``."""
    _, service, operation = event_name.split(".", 2)
    if service == "s3" and not operation.startswith("Delete"):
        kind = "s3_reads" if operation.startswith(_S3_READS) else "s3_writes"
    elif service == "dynamodb":
        kind = "table_reads" if operation.startswith(_TABLE_READS) else "table_writes"
    else:
        return
    with _counting:
        _sent[kind] += 1


@functools.cache
def client(service: str) -> Any:
    """Return the client of ``service``; region, credentials and endpoint come from the environment.

    Reads may be slow while a function is cold or a service throttles, so ``standard`` retries with a
    time limit per try; what still fails becomes our ``TransientError`` and is retried a level higher.
    """
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    made = boto3.client(
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
    made.meta.events.register_first("before-send", _count)
    return made


def _has_endpoint() -> bool:
    """Tell whether another endpoint than AWS's stands in the environment (addressed by path)."""
    return bool(os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL_S3"))
