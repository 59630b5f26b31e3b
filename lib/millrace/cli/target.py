"""Which deployment a command talks to."""

from __future__ import annotations

import os
from typing import Any

from millrace.cli.http import Api
from millrace.contracts import ObjectStore
from millrace.errors import Misconfigured


def artifacts(stack: str | None) -> ObjectStore:
    """Return the artifact bucket of ``stack``, or of the running local platform.

    Raises
    ------
    Misconfigured
        No stack was given and no local platform is running, or it is no stack of Millrace.
    """
    from millrace.aws.objects import S3Store

    if stack is not None:
        return S3Store(_output(stack, "ArtifactBucket"))
    running = _running()
    return S3Store(running.outputs()["ArtifactBucket"], running.client("s3"))


def connect(endpoint: str | None, stack: str | None) -> Api:
    """Return the interface at ``endpoint``, of ``stack``, or of the running local platform.

    Raises
    ------
    Misconfigured
        No address was given and no local platform is running.
    """
    if endpoint is None and stack is not None:
        endpoint = _output(stack, "ApiUrl")
    if endpoint is None:
        return Api(_running().api_url())
    token = os.environ.get("MILLRACE_TOKEN")
    sign: Any = None
    if token is None and endpoint.startswith("https:"):
        from millrace.aws.stack import gateway_region, gateway_signer

        region = gateway_region(endpoint)
        sign = gateway_signer(region) if region else None
    return Api(endpoint, sign=sign, token=token)


def _running() -> Any:
    from millrace.local import platform

    running = platform.current()
    if running is None:
        raise Misconfigured(
            "No local platform is running",
            code="platform-down",
            remedy="Start it with `make up`, or name a deployment with --stack or --endpoint.",
        )
    return running


def _output(stack: str, name: str) -> str:
    from millrace.aws.stack import stack_outputs

    outputs = stack_outputs(stack)
    if name not in outputs:
        raise Misconfigured(
            f"The stack {stack!r} has no output {name}",
            code="stack-foreign",
            remedy="Name a stack that was deployed from Millrace's template.yaml.",
        )
    return outputs[name]
