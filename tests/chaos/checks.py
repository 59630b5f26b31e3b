"""What must hold when a scenario is over, whatever went wrong in it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from millrace import keys, plan
from millrace.contracts import Run
from tests.chaos.tables import Table
from tests.chaos.world import World

Fingerprint = dict[str, str]
"""Checksums of what a run made, by name."""


def where_each_record_is(
    world: World, run: Run, table: Table, kind: str, *, result: bool = True
) -> list[str]:
    """Tell which records of the file are not in exactly one place: a part of the data set, or the rejects.

    Of a file that was scored these are its result and the rejects beside it; without ``result`` the run's own
    parts of both, because another version of the file has its result at the same place.
    """
    stack = world.stack
    kept: list[float] = []
    if kind == "train":
        for key in stack.keys(keys.run(run.run_id, "parquet/")):
            kept += pq.read_table(io.BytesIO(stack.read(key)))["serial"].to_pylist()
        numbers = [
            int(number)
            for key in stack.keys(keys.blocks(run.run_id))
            for number in np.load(io.BytesIO(stack.read(key)))["record"]
        ]
        records = [table.good.index(serial) for serial in kept]
        said = [] if numbers == records else [f"the blocks hold the records {numbers}, the parts {records}"]
        rejects = [stack.read(key) for key in stack.keys(keys.rejects_prefix(run.run_id))]
    elif not result:
        said = []
        for key in stack.keys(keys.run(run.run_id, "scored/")):
            rows = csv.reader(io.StringIO(stack.read(key).decode()))
            kept += [float(row[0]) for row in rows if row[0] != "serial"]  # the first part has the header
        rejects = [stack.read(key) for key in stack.keys(keys.rejects_prefix(run.run_id))]
    else:
        said = []
        assert run.result is not None
        text = stack.fetch(run.result).decode()
        kept = [float(row["serial"]) for row in csv.DictReader(io.StringIO(text))]
        rejects = [stack.fetch(f"{run.result}.rejects.jsonl")]
    rejected = [
        float(next(csv.reader(io.StringIO(json.loads(line)["record"])))[0])
        for text in rejects
        for line in text.splitlines()
    ]
    if kept != table.accepted(kind):
        said.append(_difference("kept", kept, table.accepted(kind)))
    if sorted(rejected) != table.rejected(kind):
        said.append(_difference("rejected", rejected, table.rejected(kind)))
    counts = run.rows_read, run.rows_kept if kind == "train" else run.rows_scored, run.rows_rejected
    wanted = len(table.good), len(table.accepted(kind)), len(table.rejected(kind))
    if counts != wanted:
        said.append(f"the run says {counts} rows read, kept, rejected; they are {wanted}")
    return said


def _difference(what: str, found: list[float], wanted: list[float]) -> str:
    twice = sorted({serial for serial in found if found.count(serial) > 1})
    lost, added = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    return f"{what}: {len(found)} for {len(wanted)}; lost {lost}, twice {twice}, not to be there {added}"


def fingerprint(world: World, run: Run, kind: str) -> Fingerprint:
    """Return checksums of what the run made, without what names the run, the time or the model."""
    stack = world.stack
    found: Fingerprint = {}
    if kind == "score":
        assert run.result is not None
        for ending in ("", ".rejects.jsonl"):
            found[f"result{ending}"] = _sha256(stack.fetch(run.result + ending))
        return found
    for key in stack.keys(keys.run(run.run_id)):
        name = key.removeprefix(keys.run(run.run_id))
        if re.match(
            r"(blocks|parquet|rejects|cleared|profile|convert)/|profile\.json|schema\.json|held_out", name
        ):
            found[name] = _sha256(stack.read(key))
    made = plan.read(stack.read(keys.run_plan(run.run_id)))
    header = {name: value for name, value in made.header.items() if name != "model"}
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for number in range(len(made.arrays)):
        digest.update(made.arrays[number])
    found["model.plan"] = digest.hexdigest()
    return found


def differences(found: Fingerprint, wanted: Fingerprint) -> list[str]:
    """Tell what is not as in an undisturbed run."""
    names = [name for name in sorted(found.keys() | wanted.keys()) if found.get(name) != wanted.get(name)]
    return [f"not as undisturbed: {', '.join(names)}"] if names else []


def how_it_ended(world: World, run: Run) -> list[str]:
    """Tell what the run does not say of its end."""
    if run.state == "FAILED":
        error = run.error
        if error is None or not error.message or not error.code or error.code == "unspecified":
            return [f"FAILED without a reason: {error}"]
        if not error.stage:
            return [f"FAILED without a stage: {error}"]
    elif run.state == "SUCCEEDED" and run.error is not None:
        return [f"SUCCEEDED with an error: {run.error}"]
    return []


def versions(world: World, run: Run) -> list[str]:
    """Tell what is wrong with the run's versions: there is one if it succeeded, else none of them is live."""
    stack = world.stack
    own = []
    for key in stack.keys(keys.versions(run.dataset)):
        if key.endswith("/version.json"):
            version = json.loads(stack.read(key))
            if version["run_id"] == run.run_id:
                own.append(version)
    complete = [one for one in own if stack.keys(keys.version(run.dataset, one["version"], "model.plan"))]
    numbers = [one["version"] for one in complete]
    if run.state == "SUCCEEDED":
        if numbers != [run.version]:
            return [f"the run registered the versions {numbers} and names {run.version}"]
        sha256 = _sha256(stack.read(keys.version(run.dataset, numbers[0], "model.plan")))
        if sha256 != complete[0]["plan_sha256"]:
            return [f"version {numbers[0]} has another plan than it says"]
        alias = json.loads(stack.read(keys.alias(run.dataset)))
        moves = [move for move in alias["history"] if move["version"] == run.version]
        if len(moves) != 1:
            return [f"the gate decided {len(moves)} times about version {run.version}"]
        return []
    live = stack.keys(keys.alias(run.dataset))
    if live and json.loads(stack.read(live[0]))["version"] in numbers:
        return [f"FAILED, but version {numbers} is live: {run.error}"]
    return []


def everything(world: World, run_id: str) -> dict[str, Any]:
    """Return what lies below the run, to see later that nothing changed any more."""
    pages = world.s3.get_paginator("list_objects_v2").paginate(
        Bucket=world.stack.artifact_bucket, Prefix=keys.run(run_id)
    )
    return {item["Key"]: item["ETag"] for page in pages for item in page.get("Contents", [])}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
