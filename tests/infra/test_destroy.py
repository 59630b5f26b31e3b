"""Before a stack is removed its buckets are emptied: every version and every delete marker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from tools.destroy import buckets_of, empty, versions


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="bucket")
        client.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
        yield client


def test_every_version_and_marker_goes(s3: Any) -> None:
    for _ in range(2):
        s3.put_object(Bucket="bucket", Key="datasets/a/b.csv", Body=b"x")
    s3.delete_object(Bucket="bucket", Key="datasets/a/b.csv")
    assert len(list(versions(s3, "bucket"))) == 3
    empty(s3, "bucket")
    assert list(versions(s3, "bucket")) == []
    s3.delete_bucket(Bucket="bucket")


@pytest.mark.slow
def test_more_than_one_request_takes_are_deleted(s3: Any) -> None:
    for number in range(1001):
        s3.put_object(Bucket="bucket", Key=str(number))
    empty(s3, "bucket")
    assert list(versions(s3, "bucket")) == []


def test_only_buckets_that_are_there_are_emptied() -> None:
    made, gone = "CREATE_COMPLETE", "DELETE_COMPLETE"
    names = [
        ("DataBucket", "data", made),
        ("ArtifactBucket", "artifacts", gone),
        ("LostEventsQueue", "q", made),
    ]
    summaries = [
        {
            "LogicalResourceId": logical,
            "PhysicalResourceId": physical,
            "ResourceType": "x",
            "ResourceStatus": status,
            "LastUpdatedTimestamp": "2026-11-20",
        }
        for logical, physical, status in names
    ]
    client = boto3.client("cloudformation", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stub:
        stub.add_response("list_stack_resources", {"StackResourceSummaries": summaries})
        assert buckets_of(client, "millrace") == ["data"]
