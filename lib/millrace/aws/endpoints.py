"""Clients of one endpoint with given credentials, for who serves several roles: the local platform."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

__all__ = ["connect"]


def connect(
    service: str,
    endpoint: str,
    region: str,
    credentials: Mapping[str, str],
    *,
    retries: int = 0,
    read_timeout_s: float = 910,
) -> Any:
    """Return a client of ``service`` at ``endpoint``; the same one for the same arguments.

    Parameters
    ----------
    service : str
        Name as boto3 has it.
    endpoint : str
        URL.
    region : str
        Region that requests are signed for.
    credentials : mapping
        ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and perhaps ``AWS_SESSION_TOKEN``.
    retries : int
        Tries after the first.
    read_timeout_s : float
        How long an answer may take; longer than the longest function by default.
    """
    key = tuple(sorted(credentials.items()))
    return _connect(service, endpoint, region, key, retries, read_timeout_s)


@functools.lru_cache(maxsize=256)
def _connect(
    service: str,
    endpoint: str,
    region: str,
    credentials: tuple[tuple[str, str], ...],
    retries: int,
    read_timeout_s: float,
) -> Any:
    from botocore.config import Config  # type: ignore[import-untyped]

    keys = dict(credentials)
    return _session().client(
        service,
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=keys.get("AWS_SESSION_TOKEN") or None,
        config=Config(
            retries={"total_max_attempts": retries + 1, "mode": "standard"},
            connect_timeout=5,
            read_timeout=read_timeout_s,
            max_pool_connections=64,
            s3={"addressing_style": "path"},
        ),
    )


@functools.cache
def _session() -> Any:
    import boto3  # type: ignore[import-untyped]

    return boto3.Session()
