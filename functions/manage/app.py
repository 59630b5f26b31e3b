"""manage: the HTTP interface to runs, models, versions and uploads."""

from __future__ import annotations

import functools
import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from millrace.edge import http
from millrace.edge.handler import Ports
from millrace.edge.manage import Manage
from millrace.edge.settings import ManageSettings
from millrace.errors import Misconfigured


@functools.cache
def _manage() -> Manage:
    from millrace.aws.uploads import S3Uploads

    settings = ManageSettings.load(os.environ)
    ports = Ports(settings)
    return Manage(
        artifacts=ports.artifacts,
        data=ports.data,
        runs=ports.runs,
        executions=ports.executions,
        uploads=S3Uploads(settings.data_bucket),
        max_file_bytes=settings.max_file_bytes,
    )


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer a request; one that finds the function wrongly deployed is answered, too."""
    try:
        answer = _manage()(event, context)
    except Misconfigured as error:
        answer = http.reply_problem(error, event.get("rawPath", ""))
    return answer
