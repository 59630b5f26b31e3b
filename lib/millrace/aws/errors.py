"""The one translation of AWS's errors into ours, most specific first.

::

    NoSuchKey, NoSuchVersion, 404, ResourceNotFoundException on an item    -> NotFound
    PreconditionFailed, ConditionalRequestConflict, 409, 412               -> Conflict
    NoSuchBucket, a table/stream/state machine that is absent, AccessDenied,
    no credentials, no region                                              -> Misconfigured
    throttles, 5xx, time-outs, broken connections                          -> TransientError
    anything else                                                          -> Misconfigured

The last line is deliberate: a request that AWS refuses for another reason is one that our code should
not have made, and making it again does not help.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from millrace.errors import Conflict, MillraceError, Misconfigured, NotFound, TransientError

__all__ = ["error_code", "translate", "translated"]

_NOT_FOUND = frozenset({"NoSuchKey", "NoSuchVersion", "404", "NotFound", "NoSuchUpload"})
_CONFLICT = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412"})
_MISCONFIGURED = frozenset(
    {
        "NoSuchBucket",
        "ResourceNotFoundException",
        "StateMachineDoesNotExist",
        "AccessDenied",
        "AccessDeniedException",
        "403",
        "Forbidden",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "ExpiredTokenException",
        "KMS.AccessDeniedException",
    }
)
_TRANSIENT = frozenset(
    {
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "ProvisionedThroughputExceededException",
        "LimitExceededException",
        "TransactionInProgressException",
        "RequestTimeout",
        "RequestTimeoutException",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InternalFailureException",
        "KMSThrottlingException",
        "ServiceUnavailable",
        "OperationAborted",
        "500",
        "502",
        "503",
        "504",
    }
)


def error_code(error: BaseException) -> str:
    """Return AWS's code of a ``ClientError``; an empty string for anything else."""
    response: Any = getattr(error, "response", None)
    if not isinstance(response, dict):
        return ""
    return str(response.get("Error", {}).get("Code", ""))


def translate(error: Exception, where: str) -> MillraceError:
    """Return the error of ours that ``error``, raised by botocore, means.

    Parameters
    ----------
    error : Exception
        A botocore error, or one of the network library below it.
    where : str
        The resource, for example ``"s3://bucket/key"``.
    """
    code = error_code(error)
    response: Any = getattr(error, "response", None)
    status = 0
    if isinstance(response, dict):
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _NOT_FOUND:
        return NotFound("It is not there", code="not-found", where=where)
    if code in _CONFLICT:
        return Conflict(
            "Somebody else wrote it first", code="conflict", where=where, remedy="Read it again, then decide."
        )
    if code in _MISCONFIGURED:
        return Misconfigured(
            f"AWS refuses the request: {error}",
            code="aws-refused",
            where=where,
            remedy="Check that the stack is deployed and that the function's role allows the call.",
        )
    if code in _TRANSIENT or status >= 500 or status == 429 or (not code and _is_network(error)):
        return TransientError(
            f"The service did not answer as it should: {error}",
            code="service-unavailable",
            where=where,
            remedy="Try again.",
        )
    return Misconfigured(
        f"AWS refuses the request: {error}",
        code="aws-refused",
        where=where,
        remedy="Check the deployment; the same request fails again.",
    )


def _is_network(error: Exception) -> bool:
    from botocore import exceptions  # type: ignore[import-untyped]
    from urllib3.exceptions import HTTPError

    kinds = (
        exceptions.HTTPClientError,
        exceptions.ConnectionError,
        exceptions.IncompleteReadError,
        HTTPError,
        OSError,
    )
    return isinstance(error, kinds)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise what botocore and its network library raise in the block as an error of ours."""
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (ClientError, BotoCoreError, HTTPError, ConnectionError, TimeoutError) as error:
        raise translate(error, where) from error
