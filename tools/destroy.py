"""Remove a deployed stack with everything in its buckets, after asking for its name.

CloudFormation refuses to delete a bucket that holds anything, old versions included, so that no file is lost
by mistake. This says what would be lost, asks, deletes every version, and hands over to ``sam delete``.

Usage: ``destroy.py [STACK]``; without a name, the one that ``make deploy`` noted in ``samconfig.toml``.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

CONFIG = Path(__file__).resolve().parent.parent / "samconfig.toml"
BUCKETS = ("DataBucket", "ArtifactBucket")


def main(name: str) -> int:
    """Ask, empty the buckets, delete the stack; return the exit code."""
    noted = noted_parameters()
    name = name or noted.get("stack_name", "")
    if not name:
        print("Which stack? Run: make destroy STACK=<name>", file=sys.stderr)
        return 2
    session = boto3.Session(region_name=noted.get("region"), profile_name=noted.get("profile"))
    try:
        buckets = buckets_of(session.client("cloudformation"), name)
    except ClientError as error:
        print(f"There is no stack {name!r} to destroy: {error}", file=sys.stderr)
        return 1
    s3 = session.client("s3")
    for bucket in buckets:
        print(f"{bucket}: {sum(1 for _ in versions(s3, bucket))} object versions will be deleted for good")
    if input(f"Type {name} to destroy the stack and all of it: ") != name:
        print("Nothing was changed.")
        return 1
    for bucket in buckets:
        empty(s3, bucket)
    where = [f"--{key}={noted[key]}" for key in ("region", "profile") if key in noted]
    return subprocess.run(
        ["sam", "delete", "--stack-name", name, "--no-prompts", *where], check=False
    ).returncode


def noted_parameters() -> dict[str, str]:
    """Return what ``sam deploy --guided`` noted: stack name, region, profile."""
    if not CONFIG.exists():
        return {}
    sections = tomllib.loads(CONFIG.read_text("utf-8")).get("default", {})
    noted: dict[str, str] = {}
    for section in ("global", "deploy"):
        noted |= sections.get(section, {}).get("parameters", {})
    return noted


def buckets_of(cloudformation: Any, name: str) -> list[str]:
    """Return the stack's buckets that are there: a deployment that failed may have none, and no outputs."""
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
    return [
        item["PhysicalResourceId"]
        for page in pages
        for item in page["StackResourceSummaries"]
        if item["LogicalResourceId"] in BUCKETS
        and item["ResourceStatus"] not in ("CREATE_FAILED", "DELETE_COMPLETE")
    ]


def versions(s3: Any, bucket: str) -> Iterator[dict[str, str]]:
    """Yield every version and delete marker of the bucket."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for item in page.get("Versions", []) + page.get("DeleteMarkers", []):
            yield {"Key": item["Key"], "VersionId": item["VersionId"]}


def empty(s3: Any, bucket: str) -> None:
    """Delete every version in the bucket, a thousand at a time."""
    batch: list[dict[str, str]] = []
    for item in [*versions(s3, bucket), None]:
        if batch and (item is None or len(batch) == 1000):
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
            if answer.get("Errors"):
                raise SystemExit(f"{bucket}: {answer['Errors'][0]}")
            batch = []
        if item is not None:
            batch.append(item)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
