"""The deployed stack as a user sees it: upload, wait, ask."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millrace.aws.runs import DynamoRunStore
from millrace.contracts import TERMINAL_STATES
from millrace.local.platform import Platform
from millrace.runs.ingest import run_id_of

WAIT_S = 240
"""How long a test waits for a run before it says so; a run on two busy cores takes tens of seconds."""


@dataclass(frozen=True)
class Answer:
    """What the HTTP interface answered."""

    status: int
    content_type: str
    text: str

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.text)


class Stack:
    """One deployed stack on a running platform."""

    def __init__(self, platform: Platform, outputs: Mapping[str, str]) -> None:
        self.platform = platform
        self.outputs = outputs
        self.data_bucket = outputs["DataBucket"]
        self.artifact_bucket = outputs["ArtifactBucket"]
        self.s3 = platform.client("s3")
        self.url = platform.api_url()

    def upload(
        self,
        dataset: str,
        data: bytes,
        *,
        file: str = "table.csv",
        spec: Mapping[str, Any] | None = None,
        force: bool = False,
    ) -> str:
        """Put the spec, then the file, into the data bucket; return the run that this opens."""
        if spec is not None:
            body = json.dumps(spec).encode()
            self.s3.put_object(Bucket=self.data_bucket, Key=f"datasets/{dataset}/spec.json", Body=body)
        key = f"datasets/{dataset}/{file}"
        metadata = {"force": "true"} if force else {}
        put = self.s3.put_object(Bucket=self.data_bucket, Key=key, Body=data, Metadata=metadata)
        return run_id_of(self.data_bucket, dataset, key, put["VersionId"])

    def upload_to_score(
        self, model: str, data: bytes, *, file: str = "rows.csv", options: Mapping[str, Any] | None = None
    ) -> str:
        """Put a file that a model is to score into the data bucket; return the run that this opens."""
        key = f"score/{model}/{file}"
        metadata = {"score": json.dumps(options)} if options else {}
        put = self.s3.put_object(Bucket=self.data_bucket, Key=key, Body=data, Metadata=metadata)
        return run_id_of(self.data_bucket, model, key, put["VersionId"])

    def fetch(self, uri: str) -> bytes:
        """Return the object at an ``s3://`` address."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        data: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return data

    def wait(self, run_id: str) -> dict[str, Any]:
        """Return the run when it has ended."""
        deadline = time.monotonic() + WAIT_S
        run: dict[str, Any] = {}
        while time.monotonic() < deadline:
            answer = self.get(f"/runs/{run_id}")
            if answer.status == 200:
                run = answer.json
                if run["state"] in TERMINAL_STATES:
                    return run
            time.sleep(0.25)
        raise AssertionError(f"run {run_id} did not end in {WAIT_S} s: {run or 'it was never opened'}")

    def get(self, path: str) -> Answer:
        """Send ``GET path``."""
        return self._send(urllib.request.Request(self.url + path))

    def post(self, path: str, body: Any) -> Answer:
        """Send ``POST path`` with a JSON body, or with bytes as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        return self._send(urllib.request.Request(self.url + path, data=data, headers=headers, method="POST"))

    def delete(self, path: str) -> Answer:
        """Send ``DELETE path``."""
        return self._send(urllib.request.Request(self.url + path, method="DELETE"))

    def read(self, key: str) -> bytes:
        """Return an object of the artifact bucket."""
        data: bytes = self.s3.get_object(Bucket=self.artifact_bucket, Key=key)["Body"].read()
        return data

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of the artifact bucket below ``prefix``."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.artifact_bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    @property
    def runs(self) -> DynamoRunStore:
        """The run records, for a test that puts a run into a state of its own."""
        return DynamoRunStore(self.outputs["RunsTable"], self.platform.client("dynamodb"))

    def executions(self, run_id: str) -> list[str]:
        """Return the names of the executions of a run."""
        pages = (
            self.platform.client("stepfunctions")
            .get_paginator("list_executions")
            .paginate(stateMachineArn=self.outputs["StateMachineArn"])
        )
        names = [item["name"] for page in pages for item in page["executions"]]
        return [name for name in names if name.startswith(f"{run_id}-")]

    def _send(self, request: urllib.request.Request) -> Answer:
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Answer(response.status, response.headers["Content-Type"], response.read().decode())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers.get("Content-Type", ""), error.read().decode())
