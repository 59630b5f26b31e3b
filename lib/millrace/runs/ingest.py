"""An upload becomes a run: opened once, judged by what can be known without reading it, then started."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace

from millrace import keys
from millrace.contracts import METRICS, ObjectInfo, ObjectStore, Run, RunStore, Spec, decode
from millrace.errors import BadInput, NotFound, TooLarge
from millrace.runs.failure import run_error
from millrace.runs.ports import Executions
from millrace.runs.progress import start_execution, utc_now

__all__ = ["Upload", "ingest", "parse_spec", "run_id_of"]

DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""What a dataset may be called: with the run's hash and attempt it must fit into the 80 characters of an
execution's name."""
MAX_SPEC_BYTES = 65536


@dataclass(frozen=True)
class Upload:
    """One object version that arrived in the data bucket; ``key`` is decoded."""

    bucket: str
    key: str
    version_id: str | None = None


def ingest(
    upload: Upload, *, data: ObjectStore, runs: RunStore, executions: Executions, max_file_bytes: int
) -> Run | None:
    """Open the run of an upload and start it.

    A repeated event finds the run there and changes nothing, except that a run which was opened and not
    started, because the function died in between, is started now.

    Parameters
    ----------
    upload : Upload
        What arrived.
    data : ObjectStore
        The data bucket.
    runs : RunStore
        Run records.
    executions : Executions
        Of the run's state machine.
    max_file_bytes : int
        Larger files end the run.

    Returns
    -------
    Run or None
        The run, ``FAILED`` or ``UNCHANGED`` when it ends here; ``None`` when the object is no file of a
        dataset (``spec.json``, a folder) or is already gone.
    """
    dataset = keys.dataset_of(upload.key)
    if dataset is None:
        return None
    try:
        info = data.head(upload.key, version_id=upload.version_id)
    except NotFound:  # deleted between the upload and the event
        return None
    run = _judge(_new_run(upload.bucket, dataset, info), info, data, runs, max_file_bytes)
    if not runs.open(run):
        run = runs.get(run.run_id)
    if run.state == "QUEUED":
        start_execution(run, executions)
    return run


def run_id_of(bucket: str, dataset: str, key: str, version_id: str) -> str:
    """Return the run of one object version: the same for every event about it."""
    digest = hashlib.sha256("\n".join((bucket, key, version_id)).encode()).hexdigest()[:12]
    name = dataset if DATASET.fullmatch(dataset) else "upload"
    return f"{name}-{digest}"


def parse_spec(text: bytes, where: str) -> Spec:
    """Read a ``spec.json``.

    Raises
    ------
    BadInput
        It is no JSON object, or a field is unknown or has a value that it cannot have.
    """
    try:
        value = json.loads(text.decode("utf-8-sig"))
        # An escape like \ud800 is JSON, but no text that a table can hold.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"The spec is not JSON: {error}",
            code="spec-invalid",
            where=where,
            remedy="Correct it, upload it, then upload the file again.",
        ) from None
    try:
        spec = decode(Spec, value)
        _check(spec)
    except BadInput as error:
        field = error.where.removeprefix("Spec").lstrip(".")
        raise BadInput(
            f"The spec cannot be used: {error.what}",
            code="spec-invalid",
            where=f"{where}, field {field}" if field else where,
            remedy=f"{error.remedy} Then upload the spec and the file again.".strip(),
        ) from None
    return spec


def _check(spec: Spec) -> None:
    known = sorted({metric for metrics in METRICS.values() for metric in metrics})
    allowed = sorted(METRICS[spec.task]) if spec.task else known
    if spec.metric is not None and spec.metric not in allowed:
        kind = f" for the task {spec.task}" if spec.task and spec.metric in known else ""
        raise BadInput(
            f"There is no metric {spec.metric!r}{kind}",
            code="spec-invalid",
            where="metric",
            remedy=f"Use one of {', '.join(allowed)}.",
        )
    if not 0 <= spec.seed < 2**32:
        raise BadInput(
            f"The seed {spec.seed} is out of range",
            code="spec-invalid",
            where="seed",
            remedy="Use an integer from 0 to 4294967295.",
        )
    if spec.target is not None and spec.target in spec.exclude:
        raise BadInput(
            f"The target {spec.target!r} is also excluded",
            code="spec-invalid",
            where="exclude",
            remedy="Take it off the list.",
        )


def _new_run(bucket: str, dataset: str, info: ObjectInfo) -> Run:
    now = utc_now()
    return Run(
        run_id=run_id_of(bucket, dataset, info.key, info.version_id),
        dataset=dataset,
        bucket=bucket,
        key=info.key,
        version_id=info.version_id,
        etag=info.etag,
        size_bytes=info.size_bytes,
        state="QUEUED",
        created_at=now,
        updated_at=now,
        forced=info.metadata.get("force", "").lower() == "true",
    )


def _judge(run: Run, info: ObjectInfo, data: ObjectStore, runs: RunStore, max_file_bytes: int) -> Run:
    """Return the run as it should be recorded: queued, unchanged, or failed with the reason."""
    try:
        _check_upload(run, info, max_file_bytes)
        run = replace(run, spec=_read_spec(run.dataset, data))
    except BadInput as error:
        return replace(run, state="FAILED", error=run_error(error, "ingest"))
    last = runs.last_success(run.dataset)
    if (
        last is None
        or run.forced
        or (last.etag, last.size_bytes, last.spec) != (run.etag, run.size_bytes, run.spec)
    ):
        return run
    return replace(
        run,
        state="UNCHANGED",
        model=last.model,
        version=last.version,
        target=last.target,
        task=last.task,
        warnings=(
            f"The file and the spec are those of run {last.run_id}, so nothing was trained. To train all the "
            "same, upload the file with the metadata force=true (millrace train --force).",
        ),
    )


def _check_upload(run: Run, info: ObjectInfo, max_file_bytes: int) -> None:
    where = f"s3://{run.bucket}/{run.key}"
    if not run.dataset:
        raise BadInput(
            "The file lies in no dataset's folder",
            code="dataset-missing",
            where=where,
            remedy="Upload it to datasets/<dataset>/<file>; the model will bear the dataset's name.",
        )
    if not DATASET.fullmatch(run.dataset):
        raise BadInput(
            f"A dataset cannot be called {run.dataset!r}",
            code="dataset-name",
            where=where,
            remedy="Use 1 to 63 letters, digits, dots, hyphens, underscores; begin with a letter or digit.",
        )
    if info.size_bytes == 0:
        raise BadInput(
            "The file is empty",
            code="file-empty",
            where=where,
            remedy="Upload a CSV file with a header and rows.",
        )
    if info.size_bytes > max_file_bytes:
        raise TooLarge(
            f"The file has {info.size_bytes:,} bytes; the limit is {max_file_bytes:,}",
            code="file-too-large",
            where=where,
            remedy="Upload fewer rows or columns, or raise the stack's parameter MaxFileBytes.",
        )


def _read_spec(dataset: str, data: ObjectStore) -> Spec:
    key = keys.spec(dataset)
    try:
        text = data.get(key, end=MAX_SPEC_BYTES + 1)
    except NotFound:
        return Spec()
    where = f"s3://{data.bucket}/{key}"
    if len(text) > MAX_SPEC_BYTES:
        raise TooLarge(
            f"The spec is larger than {MAX_SPEC_BYTES} bytes",
            code="spec-too-large",
            where=where,
            remedy="A spec has target, task, metric, positive_class, time_column, exclude, budget, seed.",
        )
    return parse_spec(text, where)
