"""What a client outside the stack needs: the stack's outputs, and requests signed for its gateway."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from millrace.aws.errors import error_code, translated
from millrace.errors import Misconfigured, NotFound

__all__ = ["gateway_region", "gateway_signer", "stack_outputs"]

_GATEWAY = re.compile(r"^https://[a-z0-9-]+\.execute-api\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?(/|$)")


def stack_outputs(name: str, cloudformation: Any = None) -> dict[str, str]:
    """Return the outputs of the stack called ``name``, by key.

    Raises
    ------
    NotFound
        There is no such stack in the region of the environment.
    """
    from botocore.exceptions import ClientError  # type: ignore[import-untyped]

    from millrace.aws.clients import client

    with translated(f"stack {name}"):
        cloudformation = cloudformation if cloudformation is not None else client("cloudformation")
        try:
            stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        except ClientError as error:
            if error_code(error) == "ValidationError":
                raise NotFound(
                    f"There is no stack called {name!r}",
                    code="stack-unknown",
                    remedy="Check the name, the region (AWS_REGION) and the account (AWS_PROFILE).",
                ) from None
            raise
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def gateway_region(url: str) -> str | None:
    """Return the region of an API Gateway address; ``None`` for any other address."""
    found = _GATEWAY.match(url)
    return found.group(1) if found else None


def gateway_signer(region: str) -> Callable[[str, str, bytes, Mapping[str, str]], Mapping[str, str]]:
    """Return a function that signs requests to API Gateway in ``region`` (Signature Version 4).

    Credentials are those that every AWS tool uses: environment, profile, role. They are looked up once
    and refreshed by botocore before they expire.
    """
    import boto3  # type: ignore[import-untyped]
    from botocore.auth import SigV4Auth  # type: ignore[import-untyped]
    from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]

    with translated("AWS credentials"):
        credentials = boto3.Session().get_credentials()
    if credentials is None:
        raise Misconfigured(
            "There are no AWS credentials to sign requests with",
            code="credentials-missing",
            remedy="Set AWS_PROFILE, or MILLRACE_TOKEN for a deployment behind a JWT authorizer.",
        )

    def sign(method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Mapping[str, str]:
        request = AWSRequest(method=method, url=url, data=body, headers=dict(headers))
        with translated("AWS credentials"):  # refreshed here, should they be about to end
            SigV4Auth(credentials, "execute-api", region).add_auth(request)
        signed: Mapping[str, str] = dict(request.headers.items())
        return signed

    return sign
