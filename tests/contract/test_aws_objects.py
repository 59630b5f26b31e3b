"""One suite over every ObjectStore: the adapter on moto, and the fake that other tests trust."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from botocore.response import StreamingBody
from botocore.stub import Stubber
from moto import mock_aws

from millrace.aws.objects import PART_BYTES, S3Store
from millrace.aws.uploads import S3Uploads
from millrace.contracts import ObjectStore
from millrace.errors import Conflict, MillraceError, Misconfigured, NotFound, TransientError
from tests.fakes import MemoryObjectStore
from tests.moto_clients import moto_client

BUCKET = "millrace-test"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = moto_client("s3")
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield client


@pytest.fixture(params=["s3", "memory"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    if request.param == "memory":
        return MemoryObjectStore(BUCKET)
    return S3Store(BUCKET, request.getfixturevalue("s3"))


def test_reads_what_it_wrote(store: ObjectStore) -> None:
    store.put("a/ä b+c.csv", b"0123456789")
    assert store.get("a/ä b+c.csv") == b"0123456789"


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, b"0123456789"),
        (2, 5, b"234"),
        (7, None, b"789"),
        (None, 3, b"012"),
        (8, 99, b"89"),
        (4, 4, b""),
        (10, None, b""),
        (20, 30, b""),
    ],
)
def test_reads_a_range(store: ObjectStore, start: int | None, end: int | None, expected: bytes) -> None:
    store.put("key", b"0123456789")
    assert store.get("key", start=start, end=end) == expected


def test_reads_the_version_that_is_asked_for(store: ObjectStore) -> None:
    store.put("key", b"old")
    old = store.head("key").version_id
    store.put("key", b"new one")
    assert store.get("key", version_id=old) == b"old"
    assert b"".join(store.stream("key", version_id=old)) == b"old"
    assert store.head("key", version_id=old).size_bytes == 3
    assert store.get("key") == b"new one"


@pytest.mark.parametrize("block_bytes", [3, 10, 1 << 20])
def test_streams_in_blocks(store: ObjectStore, block_bytes: int) -> None:
    store.put("key", b"0123456789")
    blocks = list(store.stream("key", start=1, block_bytes=block_bytes))
    assert b"".join(blocks) == b"123456789"
    assert max(map(len, blocks)) <= block_bytes


def test_streams_an_empty_object(store: ObjectStore) -> None:
    store.put("key", b"")
    assert b"".join(store.stream("key")) == b""
    assert b"".join(store.stream("key", start=5)) == b""


@pytest.mark.parametrize("call", ["get", "get_with_etag", "head", "stream"])
def test_absent_is_not_found(store: ObjectStore, call: str) -> None:
    with pytest.raises(NotFound):
        result = getattr(store, call)("absent")
        list(result)


def test_writes_once_if_absent(store: ObjectStore) -> None:
    store.put("key", b"first", only_if_absent=True)
    with pytest.raises(Conflict):
        store.put("key", b"second", only_if_absent=True)
    assert store.get("key") == b"first"


def test_compares_and_swaps(store: ObjectStore) -> None:
    store.put("key", b"1")
    _, etag = store.get_with_etag("key")
    assert store.put("key", b"2", only_if_etag=etag) != etag
    with pytest.raises(Conflict):
        store.put("key", b"3", only_if_etag=etag)
    assert store.get("key") == b"2"


def test_swapping_what_is_gone_is_a_conflict(store: ObjectStore) -> None:
    etag = store.put("key", b"1")
    store.delete("key")
    with pytest.raises(Conflict):
        store.put("key", b"2", only_if_etag=etag)


def test_etags_are_bare_and_agree(store: ObjectStore) -> None:
    etag = store.put("key", b"1")
    assert '"' not in etag
    assert store.head("key").etag == etag == store.get_with_etag("key")[1]


@pytest.mark.parametrize("size_bytes", [0, 10, PART_BYTES, PART_BYTES + 1])
def test_writes_a_stream_of_any_size(store: ObjectStore, size_bytes: int) -> None:
    data = bytes(size_bytes)
    blocks = (data[at : at + 3_000_000] for at in range(0, size_bytes, 3_000_000))
    assert store.put_stream("key", blocks) == size_bytes
    assert store.head("key").size_bytes == size_bytes


@pytest.mark.parametrize("size_bytes", [10, PART_BYTES + 1], ids=["one-part", "parts"])
def test_a_stream_is_written_once_if_that_is_asked_for(store: ObjectStore, size_bytes: int) -> None:
    store.put_stream("key", [bytes(size_bytes)], only_if_absent=True)
    with pytest.raises(Conflict):
        store.put_stream("key", [b"x" * size_bytes], only_if_absent=True)
    assert store.get("key") == bytes(size_bytes)


def test_a_broken_stream_writes_nothing(store: ObjectStore) -> None:
    def blocks() -> Iterator[bytes]:
        yield bytes(PART_BYTES + 1)
        raise Conflict("broken", code="broken")

    with pytest.raises(Conflict, match="broken"):
        store.put_stream("key", blocks())
    assert list(store.list("")) == []


@pytest.mark.parametrize(
    "sizes",
    [[], [0], [3], [3, 4], [6 << 20], [3, 6 << 20, 4], [3, 27 << 20, 4, 12 << 20], [6 << 20, 1, 5 << 20, 7]],
)
@pytest.mark.parametrize("limit", [1 << 30, 12 << 20])
def test_joins_bytes_and_objects_of_any_size(
    store: ObjectStore, sizes: list[int], limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.aws.objects.COPY_BYTES", limit)
    whole = b"head\n"
    pieces: list[Any] = [whole]
    for number, size in enumerate(sizes):
        data = bytes([65 + number]) * size
        store.put(f"part-{number}", data)
        pieces.append((store, f"part-{number}"))
        whole += data
    assert store.put_stream("whole", pieces) == len(whole)
    assert store.get("whole") == whole


def test_what_cannot_be_joined_leaves_nothing(s3: Any) -> None:
    store = S3Store(BUCKET, s3)
    store.put("part", bytes(6 << 20))
    with pytest.raises(NotFound):
        store.put_stream("whole", [b"head\n", (store, "part"), (store, "absent")])
    assert list(store.list("")) == ["part"]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=BUCKET)


def test_a_broken_stream_leaves_no_upload(s3: Any) -> None:
    def blocks() -> Iterator[bytes]:
        yield bytes(PART_BYTES)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        S3Store(BUCKET, s3).put_stream("key", blocks())
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=BUCKET)


def test_parts_bear_the_checksum_that_the_upload_announced(s3: Any) -> None:
    """S3 refuses to complete an upload that was begun with checksums when a part's is missing."""
    sent: dict[str, Any] = {}
    for call in ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"):
        s3.meta.events.register_first(
            f"provide-client-params.s3.{call}",
            lambda params, model, **_: sent.setdefault(model.name, params) and None,
            unique_id=f"seen-{call}",
        )
    try:
        S3Store(BUCKET, s3).put_stream("key", [bytes(PART_BYTES), b"x"])
    finally:
        for call in ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"):
            s3.meta.events.unregister(f"provide-client-params.s3.{call}", unique_id=f"seen-{call}")
    assert sent["CreateMultipartUpload"]["ChecksumAlgorithm"] == "CRC32"
    assert sent["UploadPart"]["ChecksumAlgorithm"] == "CRC32"
    parts = sent["CompleteMultipartUpload"]["MultipartUpload"]["Parts"]
    assert [part["PartNumber"] for part in parts] == [1, 2]
    assert all(part["ChecksumCRC32"] for part in parts)


@pytest.mark.parametrize(("refused", "stands"), [(1, True), (3, True), (4, False)])
def test_a_conditional_write_that_met_another_is_made_again(s3: Any, refused: int, stands: bool) -> None:
    waited: list[float] = []
    store = S3Store(BUCKET, s3, sleep=waited.append)
    with Stubber(s3) as stub:
        for _ in range(refused):
            stub.add_client_error("put_object", "ConditionalRequestConflict", http_status_code=409)
        if stands:
            stub.add_response("put_object", {"ETag": '"1"'})
            assert store.put("key", b"x", only_if_absent=True) == "1"
        else:
            with pytest.raises(Conflict):
                store.put("key", b"x", only_if_absent=True)
    assert len(waited) == min(refused, 3)


def test_lists_keys_and_folders_in_order(store: ObjectStore) -> None:
    for key in ("m/b/2", "m/a/1", "m/a/0", "m/c", "n/z"):
        store.put(key, b"")
    assert list(store.list("m/")) == ["m/a/0", "m/a/1", "m/b/2", "m/c"]
    assert list(store.list_folders("m/")) == ["a", "b"]
    assert list(store.list("nothing/")) == []


def test_lists_more_than_one_page(s3: Any) -> None:
    request = {"Bucket": BUCKET, "Prefix": "p/"}
    with Stubber(s3) as stub:
        stub.add_response(
            "list_objects_v2",
            {"Contents": [{"Key": "p/0"}, {"Key": "p/1"}], "IsTruncated": True, "NextContinuationToken": "t"},
            request,
        )
        stub.add_response(
            "list_objects_v2", {"Contents": [{"Key": "p/2"}]}, request | {"ContinuationToken": "t"}
        )
        assert list(S3Store(BUCKET, s3).list("p/")) == ["p/0", "p/1", "p/2"]


def test_deleting_twice_is_no_error(store: ObjectStore) -> None:
    store.put("key", b"1")
    store.delete("key")
    store.delete("key")
    with pytest.raises(NotFound):
        store.head("key")


def test_head_tells_the_users_metadata(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="key", Body=b"1", Metadata={"force": "true"})
    assert S3Store(BUCKET, s3).head("key").metadata == {"force": "true"}


def test_a_bucket_that_is_not_there_is_misconfigured(s3: Any) -> None:
    with pytest.raises(Misconfigured, match="NoSuchBucket"):
        S3Store("another", s3).get("key")


def client_error(code: str, status: int) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetObject")


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("NoSuchKey", 404, NotFound),
        ("NoSuchVersion", 404, NotFound),
        ("PreconditionFailed", 412, Conflict),
        ("ConditionalRequestConflict", 409, Conflict),
        ("SlowDown", 503, TransientError),
        ("ProvisionedThroughputExceededException", 400, TransientError),
        ("ThrottlingException", 400, TransientError),
        ("SomethingNew", 500, TransientError),
        ("AccessDenied", 403, Misconfigured),
        ("NoSuchBucket", 404, Misconfigured),
        ("ResourceNotFoundException", 400, Misconfigured),
        ("MalformedXML", 400, Misconfigured),
    ],
)
def test_each_code_has_its_fate(code: str, status: int, expected: type[MillraceError]) -> None:
    from millrace.aws.errors import translated

    with pytest.raises(MillraceError) as caught, translated("s3://bucket/key"):
        raise client_error(code, status)
    assert type(caught.value) is expected
    assert caught.value.where == "s3://bucket/key"


@pytest.mark.parametrize(
    "error",
    [
        ReadTimeoutError(endpoint_url="x"),
        EndpointConnectionError(endpoint_url="x"),
        ConnectionResetError("reset"),
    ],
    ids=["read-timeout", "no-connection", "reset"],
)
def test_a_broken_network_is_transient(error: Exception) -> None:
    from millrace.aws.errors import translated

    with pytest.raises(TransientError), translated("s3://bucket/key"):
        raise error


def test_a_network_that_breaks_while_streaming_is_transient(s3: Any) -> None:
    body = StreamingBody(io.BytesIO(b"xx"), content_length=100)
    with Stubber(s3) as stub:
        stub.add_response("get_object", {"Body": body})
        blocks = S3Store(BUCKET, s3).stream("key", block_bytes=2)
        assert next(blocks) == b"xx"
        with pytest.raises(TransientError):
            next(blocks)


def test_our_own_errors_pass_untouched() -> None:
    from millrace.aws.errors import translated

    with pytest.raises(NotFound, match="mine"), translated("anywhere"):
        raise NotFound("mine", code="mine")


def test_a_presigned_post_bounds_the_size(s3: Any) -> None:
    import base64
    import json

    post = S3Uploads(BUCKET, s3).presign(
        "datasets/a/b.csv", max_bytes=123, expires_s=60, metadata={"force": "true"}
    )
    policy = json.loads(base64.b64decode(post.fields["policy"]))
    assert ["content-length-range", 0, 123] in policy["conditions"]
    assert {"x-amz-meta-force": "true"} in policy["conditions"]
    assert post.fields["key"] == "datasets/a/b.csv"
    assert post.fields["x-amz-meta-force"] == "true"
    assert BUCKET in post.url


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "eu-central-1"])
def test_a_presigned_post_has_a_signature_that_every_bucket_takes(
    monkeypatch: pytest.MonkeyPatch, region: str
) -> None:
    from millrace.aws import clients

    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")
    monkeypatch.setenv("AWS_REGION", region)
    post = S3Uploads(BUCKET, clients.client.__wrapped__("s3")).presign("datasets/a/b.csv", max_bytes=1)
    assert post.fields["x-amz-algorithm"] == "AWS4-HMAC-SHA256"
    assert f"/{region}/s3/aws4_request" in post.fields["x-amz-credential"]
    assert post.fields["x-amz-security-token"] == "test"
    assert post.url.startswith(f"https://{BUCKET}.s3.")
