"""What the project relies on in the emulator's other services, beside the pieces that are our own."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from millrace.local.platform import Platform
from tests.contract.local.conftest import ROLE, Function, Workshop, archive, eventually

pytestmark = pytest.mark.platform


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


@pytest.fixture
def bucket(platform: Platform) -> str:
    name = f"b-{uuid.uuid4().hex[:12]}"
    platform.client("s3").create_bucket(Bucket=name)
    return name


def test_s3_writes_on_a_condition(platform: Platform, bucket: str) -> None:
    s3 = platform.client("s3")
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    with pytest.raises(ClientError) as taken:
        s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")
    assert code(taken) == "PreconditionFailed"
    s3.put_object(Bucket=bucket, Key="k", Body=b"3", IfMatch=etag)
    with pytest.raises(ClientError) as moved:
        s3.put_object(Bucket=bucket, Key="k", Body=b"4", IfMatch=etag)
    assert code(moved) == "PreconditionFailed"
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"3"


def test_s3_answers_a_range_of_a_version(platform: Platform, bucket: str) -> None:
    s3 = platform.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")["VersionId"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"new")
    part = s3.get_object(Bucket=bucket, Key="k", VersionId=old, Range="bytes=2-4")
    assert (part["Body"].read(), part["ContentRange"]) == (b"234", "bytes 2-4/10")
    with pytest.raises(ClientError) as beyond:
        s3.get_object(Bucket=bucket, Key="k", VersionId=old, Range="bytes=10-20")
    assert code(beyond) == "InvalidRange"


def test_s3_joins_parts_that_were_sent_and_copied(platform: Platform, bucket: str) -> None:
    s3 = platform.client("s3")
    parts = [b"a" * (5 << 20), b"b" * (6 << 20), b"c"]
    s3.put_object(Bucket=bucket, Key="source", Body=b"-" + parts[1])
    made = {"Bucket": bucket, "Key": "whole"}
    made["UploadId"] = s3.create_multipart_upload(**made)["UploadId"]
    span = {"CopySource": f"{bucket}/source", "CopySourceRange": f"bytes=1-{6 << 20}"}
    tags = [
        s3.upload_part(**made, PartNumber=1, Body=parts[0])["ETag"],
        s3.upload_part_copy(**made, PartNumber=2, **span)["CopyPartResult"]["ETag"],
        s3.upload_part(**made, PartNumber=3, Body=b"no")["ETag"],
        s3.upload_part(**made, PartNumber=3, Body=parts[2])["ETag"],
    ]
    with pytest.raises(ClientError, match="InvalidPart"):
        _complete(s3, made, tags[:3])
    answer = _complete(s3, made, [*tags[:2], tags[3]])
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    assert answer["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"'
    assert s3.get_object(Bucket=bucket, Key="whole")["Body"].read() == b"".join(parts)


def _complete(s3: Any, made: dict[str, str], tags: list[str]) -> Any:
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
    return s3.complete_multipart_upload(**made, MultipartUpload={"Parts": parts})


def test_s3_takes_a_form_within_its_size(platform: Platform, bucket: str) -> None:
    conditions = [["content-length-range", 1, 10]]
    form = platform.client("s3").generate_presigned_post(bucket, "datasets/x/a b.csv", Conditions=conditions)

    def post(data: bytes) -> int:
        mark = uuid.uuid4().hex
        parts = [
            f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in form["fields"].items()
        ]
        parts.append(f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n')
        body = "".join(parts).encode() + data + f"\r\n--{mark}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={mark}"}
        try:
            with urllib.request.urlopen(urllib.request.Request(form["url"], body, kind)) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert post(b"x" * 11) == 400
    assert post(b"x" * 10) == 204
    kept = platform.client("s3").get_object(Bucket=bucket, Key="datasets/x/a b.csv")
    assert kept["Body"].read() == b"x" * 10


def test_dynamodb_counts_a_set_on_a_condition(platform: Platform) -> None:
    table = f"t-{uuid.uuid4().hex[:12]}"
    client = platform.client("dynamodb")
    client.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
    )
    new = {"TableName": table, "Item": {"k": {"S": "r"}}, "ConditionExpression": "attribute_not_exists(k)"}
    client.put_item(**new)
    with pytest.raises(ClientError) as exists:
        client.put_item(**new)
    assert code(exists) == "ConditionalCheckFailedException"
    for part in ("3", "5", "3"):
        got = client.update_item(
            TableName=table,
            Key={"k": {"S": "r"}},
            UpdateExpression="ADD parts :part",
            ConditionExpression="attribute_exists(k)",
            ExpressionAttributeValues={":part": {"NS": [part]}},
            ReturnValues="ALL_NEW",
        )
    assert sorted(got["Attributes"]["parts"]["NS"]) == ["3", "5"]


def test_kinesis_puts_a_record_where_its_hash_key_says(workshop: Workshop) -> None:
    stream = workshop.stream(shards=4)
    records = [
        {"Data": b"x", "PartitionKey": "same", "ExplicitHashKey": str(2**128 // 4 * shard)}
        for shard in range(4)
    ]
    put = workshop.platform.client("kinesis").put_records(StreamName=stream, Records=records)
    assert len({record["ShardId"] for record in put["Records"]}) == 4


def http_api(workshop: Workshop, function: Function, **route: str) -> str:
    """An HTTP API with `$default` and `POST /predict`; its URL."""
    client = workshop.platform.client("apigatewayv2")
    api = client.create_api(Name="a", ProtocolType="HTTP")["ApiId"]
    integration = client.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=function.arn, PayloadFormatVersion="2.0"
    )["IntegrationId"]
    for key in ("$default", "POST /predict"):
        client.create_route(ApiId=api, RouteKey=key, Target=f"integrations/{integration}", **route)
    client.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    return f"{workshop.platform.endpoint}/_aws/execute-api/{api}"


def call(url: str, data: bytes | None = None, kind: str = "application/json") -> tuple[int, Any, bytes]:
    request = urllib.request.Request(url, data, {"Content-Type": kind} if data is not None else {})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


ECHO = """
def handler(event, context):
    if event["rawPath"] == "/fails":
        raise ValueError("a secret")
    if event["rawPath"] == "/image":
        body = base64.b64encode(bytes(range(256))).decode()
        kind = {"content-type": "image/png"}
        return {"statusCode": 200, "headers": kind, "isBase64Encoded": True, "body": body}
    return {"statusCode": 201, "headers": {"x-own": "1", "content-type": "application/json"},
            "body": json.dumps(event)}
"""


def test_an_http_api_with_iam_is_open_on_the_loopback(workshop: Workshop) -> None:
    url = http_api(workshop, workshop.function(ECHO), AuthorizationType="AWS_IAM")
    status, headers, body = call(f"{url}/predict?a=1&b=%20", b'{"rows": []}')
    event = json.loads(body)
    assert (status, headers["x-own"]) == (201, "1")
    assert event["version"] == "2.0"
    assert event["routeKey"] == "POST /predict"
    assert (event["rawPath"], event["rawQueryString"]) == ("/predict", "a=1&b=%20")
    assert event["requestContext"]["http"]["method"] == "POST"
    assert (event["body"], event["isBase64Encoded"]) == ('{"rows": []}', False)
    status, _, body = call(f"{url}/models/a%20b/versions/3")
    event = json.loads(body)
    assert (status, event["routeKey"], event["rawPath"]) == (201, "$default", "/models/a b/versions/3")


def test_an_http_api_carries_bytes_both_ways(workshop: Workshop) -> None:
    url = http_api(workshop, workshop.function(ECHO))
    _, _, body = call(f"{url}/predict", bytes(range(256)), "application/octet-stream")
    event = json.loads(body)
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == bytes(range(256))
    status, headers, image = call(f"{url}/image")
    assert (status, headers["content-type"], image) == (200, "image/png", bytes(range(256)))


def test_an_http_api_says_nothing_of_what_broke(workshop: Workshop) -> None:
    url = http_api(workshop, workshop.function(ECHO))
    status, _, body = call(f"{url}/fails")
    assert (status, json.loads(body)) == (500, {"message": "Internal Server Error"})


def test_an_http_api_takes_10_mib(workshop: Workshop) -> None:
    url = http_api(workshop, workshop.function(ECHO))
    status, _, _ = call(f"{url}/predict", b"x" * (10 * 1024 * 1024 + 1))
    assert status == 413


def test_a_body_that_lambda_cannot_take_is_413_too(workshop: Workshop) -> None:
    url = http_api(workshop, workshop.function(ECHO))
    status, _, body = call(f"{url}/predict", b'"' * (4 << 20), "application/json")
    assert (status, json.loads(body)) == (413, {"message": "Request Too Long"})


def test_roles_are_enforced_and_decisions_recorded(tmp_path: Path) -> None:
    record = tmp_path / "iam.jsonl"
    with Platform(tmp_path / "state", auth=True, iam_log=record) as platform:
        workshop = Workshop(platform, tmp_path)
        iam = platform.client("iam")
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        iam.create_role(RoleName="reader", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
        stream = workshop.stream()
        allow = [
            {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/open/*"},
            {
                "Effect": "Allow",
                "Action": ["kinesis:GetRecords", "kinesis:GetShardIterator"],
                "Resource": f"arn:aws:kinesis:us-east-1:000000000000:stream/{stream}",
            },
        ]
        policy = json.dumps({"Version": "2012-10-17", "Statement": allow})
        iam.put_role_policy(RoleName="reader", PolicyName="p", PolicyDocument=policy)
        s3 = platform.client("s3")
        s3.create_bucket(Bucket="data")
        for key in ("open/a", "closed/a"):
            s3.put_object(Bucket="data", Key=key, Body=key.encode())
        source = (
            "import boto3\n\ndef handler(event, context):\n"
            "    if 'Records' in event: return\n"
            "    s3 = boto3.client('s3')\n"
            "    return s3.get_object(Bucket='data', Key=event['key'])['Body'].read().decode()"
        )
        platform.client("lambda").create_function(
            FunctionName="f",
            Runtime="python3.12",
            Handler="app.handler",
            Role=ROLE.replace("test", "reader"),
            Timeout=10,
            MemorySize=256,
            Code={"ZipFile": archive({"app.py": source})},
        )
        function = Function(platform, "f", tmp_path / "lines")
        assert function.invoke({"key": "open/a"}) == "open/a"
        denied = function.failure({"key": "closed/a"})
        assert "AccessDenied" in denied["errorMessage"]
        workshop.mapping(function, stream)
        workshop.put(stream, "a")

        def decisions() -> list[dict[str, Any]]:
            return [json.loads(line) for line in record.read_text().splitlines()]

        eventually(lambda: any(one["action"] == "kinesis:GetRecords" for one in decisions()))
    seen = {
        (one["principal"].rpartition("/")[2], one["role"], one["action"], one["resource"], one["allowed"])
        for one in decisions()
    }
    where = f"arn:aws:kinesis:us-east-1:000000000000:stream/{stream}"
    assert seen == {
        ("f", "reader", "s3:GetObject", "arn:aws:s3:::data/open/a", True),
        ("f", "reader", "s3:GetObject", "arn:aws:s3:::data/closed/a", False),
        ("event-source-mapping", "reader", "kinesis:GetShardIterator", where, True),
        ("event-source-mapping", "reader", "kinesis:GetRecords", where, True),
    }
