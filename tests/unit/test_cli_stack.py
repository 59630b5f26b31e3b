"""Finding a deployed stack, and signing for its gateway."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.aws.stack import gateway_region, gateway_signer, stack_outputs
from millrace.cli.target import connect
from millrace.errors import Misconfigured, NotFound

GATEWAY = "https://abc123.execute-api.eu-west-1.amazonaws.com"


class CloudFormation:
    """Knows one stack, and says of others what AWS says."""

    def describe_stacks(self, *, StackName: str) -> dict[str, Any]:
        if StackName != "millrace":
            from botocore.exceptions import ClientError

            message = f"Stack with id {StackName} does not exist"
            raise ClientError({"Error": {"Code": "ValidationError", "Message": message}}, "DescribeStacks")
        return {"Stacks": [{"Outputs": [{"OutputKey": "ApiUrl", "OutputValue": GATEWAY}]}]}


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.delenv("MILLRACE_TOKEN", raising=False)


def test_outputs_of_a_stack() -> None:
    assert stack_outputs("millrace", CloudFormation()) == {"ApiUrl": GATEWAY}


def test_an_unknown_stack_is_not_found() -> None:
    with pytest.raises(NotFound, match="no stack called 'other'"):
        stack_outputs("other", CloudFormation())


@pytest.mark.parametrize(
    ("url", "region"),
    [
        (GATEWAY, "eu-west-1"),
        (GATEWAY + "/predict", "eu-west-1"),
        ("https://models.example.com", None),
        ("http://abc123.execute-api.eu-west-1.amazonaws.com", None),
        ("https://abc123.execute-api.eu-west-1.amazonaws.com.evil.example", None),
    ],
)
def test_only_a_gateway_gets_signatures(url: str, region: str | None) -> None:
    assert gateway_region(url) == region


@pytest.mark.usefixtures("credentials")
def test_requests_are_signed_for_the_gateway() -> None:
    sign = gateway_signer("eu-west-1")
    headers = sign("POST", f"{GATEWAY}/predict", b"{}", {"content-type": "application/json"})
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-1/execute-api/aws4_request" in headers["Authorization"]
    assert headers["content-type"] == "application/json"


@pytest.mark.usefixtures("credentials")
def test_a_token_goes_before_a_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_TOKEN", "abc")
    api = connect(GATEWAY, None)
    assert (api._token, api._sign) == ("abc", None)


def test_an_unknown_profile_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.delenv("MILLRACE_TOKEN", raising=False)
    with pytest.raises(Misconfigured, match="nobody"):
        connect(GATEWAY, None)


def test_without_credentials_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "MILLRACE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(Misconfigured, match="no AWS credentials"):
        connect(GATEWAY, None)
