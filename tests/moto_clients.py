"""Clients for tests on moto: building one takes longer than most tests, and moto takes them as they are."""

from __future__ import annotations

import functools
from typing import Any

import boto3

from tests.infra.template import resources


@functools.cache
def moto_client(service: str) -> Any:
    """Return the client of ``service``; call it inside ``mock_aws``, and without ``AWS_ENDPOINT_URL``."""
    return boto3.client(
        service, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )


def create_runs_table(client: Any, name: str) -> None:
    """Create the table of run records with the keys and the index that the template gives it."""
    _create_table(client, name, "RunsTable")


def create_ledger_table(client: Any, name: str) -> None:
    """Create the ledger's table with the key that the template gives it."""
    _create_table(client, name, "LedgerTable")


def _create_table(client: Any, name: str, resource: str) -> None:
    table = resources("AWS::DynamoDB::Table")[resource]
    shared = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
    client.create_table(TableName=name, **{key: table[key] for key in shared if key in table})
