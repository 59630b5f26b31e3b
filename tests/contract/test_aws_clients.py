"""Requests are counted where they leave, by how they are priced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from moto import mock_aws

from millrace.aws.clients import client, requests_sent

TABLE: dict[str, Any] = {
    "TableName": "t",
    "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}
ITEM = {"k": {"S": "a"}}


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    client.cache_clear()
    with mock_aws():
        client("s3").create_bucket(Bucket="bucket")
        client("s3").put_object(Bucket="bucket", Key="a", Body=b"1")
        client("dynamodb").create_table(**TABLE)
        yield
    client.cache_clear()


@pytest.mark.parametrize(
    ("send", "counted"),
    [
        (lambda: client("s3").put_object(Bucket="bucket", Key="k", Body=b"x"), {"s3_writes": 1}),
        (lambda: client("s3").list_objects_v2(Bucket="bucket"), {"s3_writes": 1}),  # priced like a PUT
        (lambda: client("s3").get_object(Bucket="bucket", Key="a"), {"s3_reads": 1}),
        (lambda: client("s3").head_object(Bucket="bucket", Key="a"), {"s3_reads": 1}),
        (lambda: client("s3").delete_object(Bucket="bucket", Key="a"), {}),
        (lambda: client("dynamodb").put_item(TableName="t", Item=ITEM), {"table_writes": 1}),
        (lambda: client("dynamodb").get_item(TableName="t", Key=ITEM), {"table_reads": 1}),
        (lambda: client("kinesis").list_streams(), {}),
    ],
)
def test_a_request_counts_as_what_it_is_priced(send: Callable[[], Any], counted: dict[str, int]) -> None:
    before = requests_sent()
    send()
    assert requests_sent() - before == Counter(counted)
