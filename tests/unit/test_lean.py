"""The small S3 client: AWS's published signatures, and real HTTP with the faults that happen."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import botocore
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from millrace.aws import lean
from millrace.errors import MillraceError, Misconfigured, NotFound, TransientError
from tests.s3_stub import S3Stub, half_a_body, hang_up, no_http, status

EMPTY = lean.EMPTY_SHA256
WELCOME = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
S3_HOST = "examplebucket.s3.amazonaws.com"
S3_DATE = "20130524T000000Z"
SUITE = {"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z"}


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "payload", "signature"),
    [
        pytest.param(
            "GET",
            "/test.txt",
            [],
            {"range": "bytes=0-9", "x-amz-content-sha256": EMPTY},
            EMPTY,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            id="get-object",
        ),
        pytest.param(
            "PUT",
            "/test%24file.text",
            [],
            {
                "date": "Fri, 24 May 2013 00:00:00 GMT",
                "x-amz-content-sha256": WELCOME,
                "x-amz-storage-class": "REDUCED_REDUNDANCY",
            },
            WELCOME,
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            id="put-object",
        ),
        pytest.param(
            "GET",
            "/",
            [("lifecycle", "")],
            {"x-amz-content-sha256": EMPTY},
            EMPTY,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            id="bucket-lifecycle",
        ),
        pytest.param(
            "GET",
            "/",
            [("prefix", "J"), ("max-keys", "2")],
            {"x-amz-content-sha256": EMPTY},
            EMPTY,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            id="list-objects",
        ),
    ],
)
def test_signature_is_that_of_the_s3_guide(
    method: str,
    path: str,
    query: list[tuple[str, str]],
    headers: dict[str, str],
    payload: str,
    signature: str,
) -> None:
    """Amazon S3 API Reference, "Signature Calculations for the Authorization Header", its four examples."""
    credentials = lean.Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    signed = {"host": S3_HOST, "x-amz-date": S3_DATE, **headers}
    answer = lean.authorization(
        credentials, method, path, query, signed, payload_sha256=payload, region="us-east-1"
    )
    names = ";".join(sorted(signed))
    assert answer == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )


@pytest.mark.parametrize(
    ("method", "path", "query", "signature"),
    [
        ("GET", "/", [], "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (
            "GET",
            "/",
            [("Param2", "value2"), ("Param1", "value1")],
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        ("POST", "/", [], "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("GET", "/ሴ", [], "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    ],
    ids=["get-vanilla", "get-vanilla-query-order-key-case", "post-vanilla", "get-utf8"],
)
def test_signature_is_that_of_the_test_suite(
    method: str, path: str, query: list[tuple[str, str]], signature: str
) -> None:
    """AWS's Signature Version 4 test suite."""
    credentials = lean.Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    answer = lean.authorization(
        credentials, method, lean.escape(path, "/"), query, SUITE, region="us-east-1", service="service"
    )
    assert answer.endswith(f"Signature={signature}")


@given(key=st.text(min_size=1, max_size=40), token=st.text("abcXYZ/+=019", max_size=30))
def test_any_key_is_signed_as_botocore_does(key: str, token: str) -> None:
    path = "/" + lean.escape(key.encode("utf-8", "replace").decode(), "/")
    headers = {"host": S3_HOST, "x-amz-content-sha256": EMPTY, "x-amz-date": S3_DATE}
    request = AWSRequest("GET", f"https://{S3_HOST}{path}")
    request.context["timestamp"] = S3_DATE
    request.headers["X-Amz-Date"] = S3_DATE
    request.headers["X-Amz-Content-SHA256"] = EMPTY
    if token:
        headers["x-amz-security-token"] = request.headers["X-Amz-Security-Token"] = token
    signer = S3SigV4Auth(BotoCredentials("AK", "SK", token or None), "s3", "us-east-1")
    wanted = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    given = lean.authorization(
        lean.Credentials("AK", "SK", token), "GET", path, (), headers, region="us-east-1"
    )
    assert given.endswith(f"Signature={wanted}")


@pytest.mark.parametrize(
    ("bucket", "environ", "expected"),
    [
        ("b", {}, (True, "b.s3.us-east-1.amazonaws.com", 443, "")),
        ("b", {"AWS_REGION": "cn-north-1"}, (True, "b.s3.cn-north-1.amazonaws.com.cn", 443, "")),
        ("a.b", {"AWS_REGION": "eu-west-1"}, (True, "s3.eu-west-1.amazonaws.com", 443, "/a.b")),
        ("b", {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566/"}, (False, "127.0.0.1", 4566, "/b")),
        (
            "b",
            {"AWS_ENDPOINT_URL": "http://x", "AWS_ENDPOINT_URL_S3": "https://s3.local/base"},
            (True, "s3.local", 443, "/base/b"),
        ),
        ("b", {"AWS_ENDPOINT_URL": "http://[::1]:9000"}, (False, "[::1]", 9000, "/b")),
        ("b", {"AWS_ENDPOINT_URL": "http://[::1]"}, (False, "[::1]", 80, "/b")),
    ],
)
def test_endpoint(bucket: str, environ: dict[str, str], expected: tuple[bool, str, int, str]) -> None:
    region = environ.get("AWS_REGION", "us-east-1")
    assert lean.split_url(lean._endpoint(bucket, region, environ)) == expected


@pytest.fixture
def s3() -> Iterator[S3Stub]:
    with S3Stub() as stub:
        yield stub


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def bucket(s3: S3Stub, waits: list[float]) -> Iterator[lean.Bucket]:
    bucket = lean.Bucket(s3.bucket, s3.environ, sleep=waits.append)
    yield bucket
    bucket.close()


@pytest.mark.parametrize(
    "key", ["models/a/aliases/live.json", "with space+plus/ä€😀/100%&?#=~.txt", "a//b", "trailing/"]
)
def test_get_reads_any_key(s3: S3Stub, bucket: lean.Bucket, key: str) -> None:
    s3.objects[key] = bytes(range(256)) * 1000
    body, etag = bucket.get(key)
    assert body == s3.objects[key]
    assert etag
    assert s3.bad_signatures == []


def test_conditional_get_reads_only_what_changed(s3: S3Stub, bucket: lean.Bucket) -> None:
    s3.objects["k"] = b"one"
    body, etag = bucket.get("k")
    assert bucket.get_if_changed("k", etag) is None
    s3.objects["k"] = b"two"
    changed = bucket.get_if_changed("k", etag)
    assert changed is not None
    assert (body, changed[0]) == (b"one", b"two")
    assert [line.rsplit(" ", 1)[1] for line in s3.requests] == ["200", "304", "200"]


def test_connection_is_kept(s3: S3Stub, bucket: lean.Bucket) -> None:
    s3.objects["k"] = b""
    assert [bucket.get("k")[0] for _ in range(5)] == [b""] * 5
    assert s3.connections == 1


def test_folders_over_several_pages(s3: S3Stub, bucket: lean.Bucket) -> None:
    s3.page = 2
    names = ["a", "b-1", "c.d", "e", "f&g"]
    s3.objects = {f"models/{name}/aliases/live.json": b"{}" for name in names} | {"other/x": b""}
    assert bucket.folders("models/") == names
    assert len(s3.requests) == 3


def test_connection_closed_while_idle_is_no_failure(
    s3: S3Stub, bucket: lean.Bucket, waits: list[float]
) -> None:
    s3.objects["k"] = b"x"
    bucket.get("k")
    s3.faults = [hang_up, status(503)]
    assert bucket.get("k")[0] == b"x"
    assert s3.connections == 2
    assert len(waits) == 1


@pytest.mark.parametrize("fault", [status(500), status(503), status(429), hang_up, half_a_body, no_http])
def test_one_fault_is_tried_again_after_a_wait(
    s3: S3Stub, bucket: lean.Bucket, waits: list[float], fault: object
) -> None:
    s3.objects["k"] = b"x"
    s3.faults = [fault]  # type: ignore[list-item]
    assert bucket.get("k")[0] == b"x"
    assert len(waits) == 1
    assert 0 <= waits[0] <= lean.BACKOFF_S


@pytest.mark.parametrize("fault", [status(500), status(503), status(429), hang_up, half_a_body, no_http])
def test_two_faults_are_transient(s3: S3Stub, bucket: lean.Bucket, fault: object) -> None:
    s3.objects["k"] = b"x"
    s3.faults = [fault, fault]  # type: ignore[list-item]
    with pytest.raises(TransientError) as caught:
        bucket.get("k")
    assert caught.value.code == "service-unavailable"
    assert caught.value.where == "s3://artifacts/k"
    assert bucket.get("k")[0] == b"x"


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        (status(404, "NoSuchKey"), NotFound, "not-found"),
        (status(404, "NoSuchBucket"), Misconfigured, "aws-refused"),
        (status(403, "AccessDenied"), Misconfigured, "aws-refused"),
        (status(301, "PermanentRedirect"), Misconfigured, "aws-refused"),
    ],
)
def test_refusals_are_not_tried_again(
    s3: S3Stub, bucket: lean.Bucket, fault: object, kind: type[MillraceError], code: str
) -> None:
    s3.faults = [fault]  # type: ignore[list-item]
    with pytest.raises(kind) as caught:
        bucket.get("k")
    assert caught.value.code == code
    assert len(s3.requests) == 1


def test_nobody_listens() -> None:
    with S3Stub() as stub:
        environ = stub.environ
    with pytest.raises(TransientError):
        lean.Bucket("artifacts", environ, sleep=lambda _: None).get("k")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Key and certificate of a server called localhost, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "localhost.pem"
    file.write_bytes(
        made.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return file


def test_tls_is_spoken_and_the_name_is_checked(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with S3Stub(tls=context) as stub:
        stub.objects["k"] = b"secret"
        # Nobody vouches for the certificate.
        with pytest.raises(TransientError) as unknown:
            lean.Bucket(stub.bucket, stub.environ, sleep=lambda _: None).get("k")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        bucket = lean.Bucket(stub.bucket, stub.environ)
        assert [bucket.get("k")[0] for _ in range(2)] == [b"secret"] * 2
        bucket.close()
        assert stub.connections == 1
        # The certificate is another server's.
        stub.host = "127.0.0.1"
        with pytest.raises(TransientError) as foreign:
            lean.Bucket(stub.bucket, stub.environ, sleep=lambda _: None).get("k")
    assert "CERTIFICATE_VERIFY_FAILED" in unknown.value.what
    assert "not valid for '127.0.0.1'" in foreign.value.what


def test_a_few_roots_are_asked_first(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    usual, asked, trusted = ssl.create_default_context, [], str(certificate)

    def create(cafile: str | None = None) -> ssl.SSLContext:
        asked.append(cafile)
        return usual(cafile=cafile or trusted)

    monkeypatch.setattr(ssl, "create_default_context", create)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    foreign = str(Path(botocore.__file__).with_name("cacert.pem"))
    with S3Stub(tls=context) as stub:
        stub.objects["k"] = b"secret"

        def answers(roots: str) -> list[bytes]:
            asked.clear()
            monkeypatch.setattr(lean, "ROOTS", roots)
            bucket, found = lean.Bucket(stub.bucket, stub.environ, sleep=lambda _: None), []
            for _ in range(2):
                found.append(bucket.get("k")[0])
                bucket.close()
            return found

        assert (answers(trusted), asked) == ([b"secret"] * 2, [trusted])
        # They do not vouch for this server, and the machine's do: that is found out once.
        assert (answers(foreign), asked) == ([b"secret"] * 2, [foreign, None])
        # Somebody said which the machine's are.
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        assert (answers(foreign), asked) == ([b"secret"] * 2, [None])
        monkeypatch.delenv("SSL_CERT_FILE")
        # Nor do the machine's; and a certificate of another host is no matter of roots.
        trusted = foreign
        with pytest.raises(TransientError, match="CERTIFICATE_VERIFY_FAILED"):
            answers(foreign)
        assert asked == [foreign, None]
        stub.host = "127.0.0.1"
        with pytest.raises(TransientError, match="not valid for"):
            answers(str(certificate))
        assert asked == [str(certificate)]


def test_no_credentials(s3: S3Stub) -> None:
    environ = {"AWS_ENDPOINT_URL": s3.url}
    with pytest.raises(Misconfigured) as caught:
        lean.Bucket(s3.bucket, environ).get("k")
    assert caught.value.code == "credentials-missing"


def test_credentials_of_the_container_endpoint_are_refreshed_before_they_end(s3: S3Stub) -> None:
    now = [1_000_000.0]
    served: list[str] = []
    asked_with: list[str | None] = []

    def serve(name: str, ends: float) -> object:
        def answer(handler: object) -> None:
            asked_with.append(handler.headers["Authorization"])  # type: ignore[attr-defined]
            served.append(handler.path)  # type: ignore[attr-defined]
            body = {
                "AccessKeyId": name,
                "SecretAccessKey": "secret",
                "Token": "token",
                "Expiration": datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
            handler.answer(200, json.dumps(body).encode())  # type: ignore[attr-defined]

        return answer

    source = lean.CredentialSource(
        {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{s3.url}/2021/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "secret-of-the-sandbox",
        },
        clock=lambda: now[0],
    )
    s3.faults = [serve("first", now[0] + 3600), serve("second", now[0] + 7200)]  # type: ignore[list-item]
    assert [source.get().access_key for _ in range(2)] == ["first", "first"]
    now[0] += 3600 - lean.REFRESH_S
    assert source.get().access_key == "second"
    assert served == ["/2021/credentials"] * 2
    assert asked_with == ["secret-of-the-sandbox"] * 2
    # The endpoint fails: those at hand serve until they end, and not longer.
    now[0] += 3600
    s3.faults = [status(500), status(500)]
    assert source.get().access_key == "second"
    now[0] += 3600
    with pytest.raises(TransientError) as caught:
        source.get()
    assert caught.value.code == "credentials-unavailable"


def test_keys_in_the_environment_come_first() -> None:
    environ = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/",
    }
    found = lean.CredentialSource(environ).get()
    assert (found.access_key, found.secret_key, found.token) == ("a", "s", "")
