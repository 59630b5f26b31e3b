"""``millrace train``: a file goes up, its run is followed."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from millrace.cli.console import Console, number, table, usd
from millrace.cli.follow import display_for, follow, progress
from millrace.cli.http import Api, post_file, quote
from millrace.contracts import TERMINAL_STATES, Spec, encode
from millrace.errors import BadInput, MillraceError, Misconfigured, NotFound, TransientError
from millrace.keys import SPEC
from millrace.runs.ingest import parse_spec, run_id_of

RUN_APPEARS_S = 90
"""How long an upload's event may take to become a run."""


def dataset_name(file: Path) -> str:
    """Make a dataset's name of a file's: its stem, with what a name may not have replaced.

    Raises
    ------
    BadInput
        Nothing of the file's name is left.
    """
    stem = re.sub(r"\.(gz|csv|tsv|txt|zip|zst)$", "", file.name, flags=re.IGNORECASE)
    stem = re.sub(r"\.(csv|tsv|txt)$", "", stem, flags=re.IGNORECASE)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("._-")[:63]
    if not name:
        raise BadInput(
            f"No dataset can be called after {file.name!r}",
            code="dataset-name",
            remedy="Name it with --dataset.",
        )
    return name


def read_spec(file: Path | None, target: str | None) -> Spec | None:
    """Return the spec that ``--spec`` and ``--target`` ask for; ``None`` when neither is given.

    Raises
    ------
    BadInput
        The file is no JSON, or a field is unknown or has a value that it cannot have.
    """
    if file is None and target is None:
        return None
    spec = parse_spec(file.read_bytes(), str(file)) if file is not None else Spec()
    return spec if target is None else dataclasses.replace(spec, target=target)


def submit(
    api: Api,
    file: Path,
    dataset: str,
    spec: Spec | None,
    *,
    force: bool = False,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Upload the spec, then the file; return its run as soon as there is one.

    Raises
    ------
    TransientError
        No run has appeared after ``RUN_APPEARS_S``.
    """
    if spec is not None:
        blank = encode(Spec())
        wanted = {name: value for name, value in encode(spec).items() if value != blank[name]}
        upload(api, json.dumps(wanted, ensure_ascii=False).encode(), SPEC, dataset=dataset)
    return started(api, upload(api, file, file.name, dataset=dataset, force=force), dataset, sleep, clock)


def started(
    api: Api,
    place: tuple[str, str, str],
    name: str,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Return the run of what lies at ``place`` (bucket, key, version id) as soon as there is one.

    Raises
    ------
    TransientError
        None has appeared after ``RUN_APPEARS_S``.
    """
    bucket, key, version_id = place
    identity = run_id_of(bucket, name, key, version_id)
    give_up = clock() + RUN_APPEARS_S
    while True:
        try:
            return api.get(f"/runs/{quote(identity)}")
        except NotFound:
            if clock() > give_up:
                raise TransientError(
                    f"The upload to s3://{bucket}/{key} has started no run after {RUN_APPEARS_S} s",
                    code="run-absent",
                    remedy="Look for it later with `millrace runs`.",
                ) from None
        sleep(0.2)


def upload(api: Api, content: Path | bytes, name: str, **wanted: Any) -> tuple[str, str, str]:
    """Upload to the place that the deployment offers; return bucket, key and version id.

    Parameters
    ----------
    api : Api
        The deployment.
    content : Path or bytes
        What to upload.
    name : str
        The file's name there.
    **wanted
        Fields of ``POST /uploads``: what it is uploaded for.
    """
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    wanted = {**wanted, "filename": name, "size_bytes": size}
    offer = api.post("/uploads", wanted)
    version_id = post_file(offer["url"], offer["fields"], content, name)
    if version_id is None:
        raise Misconfigured(
            "The bucket keeps no versions, so the upload has no identity",
            code="bucket-unversioned",
            where=str(offer["bucket"]),
            remedy="Deploy the bucket from template.yaml.",
        )
    return offer["bucket"], offer["key"], version_id


def train(
    api: Api,
    console: Console,
    file: Path,
    *,
    dataset: str | None = None,
    target: str | None = None,
    spec: Path | None = None,
    force: bool = False,
    wait: bool = False,
) -> int:
    """Upload ``file``, follow its run when asked to, answer with the run; return the exit code."""
    name = dataset if dataset is not None else dataset_name(file)
    run = submit(api, file, name, read_spec(spec, target), force=force)
    console.say(f"{file.name} is up: run {run['run']}")
    return answer(api, console, run, wait)


def retrain(api: Api, console: Console, dataset: str, *, wait: bool = False) -> int:
    """Train a dataset again, follow its run when asked to, answer with the run; return the exit code."""
    run = api.post(f"/datasets/{quote(dataset)}/retrain", {})
    console.say(f"{dataset} is trained again: run {run['run']}")
    return answer(api, console, run, wait)


def answer(api: Api, console: Console, run: dict[str, Any], wait: bool) -> int:
    """Follow a run when asked to, and answer with it; return the exit code."""
    if wait:
        try:
            (run,) = follow(api, [run["run"]], display_for(console))
        except MillraceError as error:
            error.where = f"following run {run['run']}"  # it goes on, and can be looked up
            raise
    console.answer(run, describe(run))
    return 1 if run["state"] == "FAILED" else 0


def describe(run: dict[str, Any]) -> str:
    """Describe a run for people."""
    under_way = run["state"] not in TERMINAL_STATES
    done = progress(run) if under_way else ""
    lines = [f"{run['run']}: {run['state'].lower()}" + (f" ({done})" if done else "")]
    if run.get("error"):
        lines.append(f"  {run['error']['message']}")
    if run.get("version") is not None:
        promoted = run.get("promoted")
        live = "" if promoted is None else ", live" if promoted else ", held back"
        lines.append(f"  model     {run['model']}, version {run['version']}{live}")
    if run.get("target"):
        lines.append(f"  target    {run['target']} ({run['task']})")
    if run.get("rows_read") is not None:
        counted = [
            f"{number(run.get(f'rows_{name}'))} {label}"
            for name, label in (
                ("read", "read"),
                ("kept", "kept"),
                ("rejected", "rejected"),
                ("trained", "trained on"),
                ("scored", "scored"),
            )
            if run.get(f"rows_{name}") is not None
        ]
        lines.append(f"  rows      {', '.join(counted)}")
    if run.get("rows_rejected"):
        lines.append(f"  rejects   {run['rejects']}")
    if run.get("result"):
        lines.append(f"  result    {run['result']}")
    if run.get("report"):
        lines.append(f"  report    {run['report']}")
    if run.get("cost") and run["cost"]["usd"]:
        lines.append(f"  cost      {usd(run['cost']['usd'])} at AWS's prices")
    if run.get("metrics"):
        rows = [
            [name, number(value), number(run["baseline"].get(name))] for name, value in run["metrics"].items()
        ]
        grid = table(["on held-out rows", "model", "baseline"], rows)
        lines += ["", *(f"  {line}" for line in grid.splitlines())]
    for warning in run.get("warnings") or ():
        lines += ["", f"  note: {warning}"] if warning == run["warnings"][0] else [f"  note: {warning}"]
    if under_way:
        lines += ["", f"  `millrace runs {run['run']} --wait` follows it."]
    return "\n".join(lines)
