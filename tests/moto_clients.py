"""Clients for tests on moto: building one takes longer than most tests, and moto takes them as they are."""

from __future__ import annotations

import functools
from typing import Any

import boto3


@functools.cache
def moto_client(service: str) -> Any:
    """Return the client of ``service``; call it inside ``mock_aws``, and without ``AWS_ENDPOINT_URL``."""
    return boto3.client(
        service, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
