"""An upload becomes a run: opened once, judged by what can be known without reading it, then started."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from millrace import keys
from millrace.contracts import (
    DEVIANCES,
    METRICS,
    ObjectInfo,
    ObjectStore,
    Run,
    RunStore,
    ScoreSpec,
    Spec,
    decode,
)
from millrace.errors import BadInput, NotFound, TooLarge
from millrace.registry.registry import Registry
from millrace.runs.failure import run_error
from millrace.runs.ports import Executions
from millrace.runs.progress import start_execution, utc_now

__all__ = [
    "SCORE_METADATA",
    "Upload",
    "begin",
    "ingest",
    "judge",
    "new_run",
    "parse_score_spec",
    "parse_spec",
    "read_spec",
    "run_id_of",
    "score_file",
]

DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""What a dataset may be called: with the run's hash and attempt it must fit into the 80 characters of an
execution's name."""
MAX_SPEC_BYTES = 65536
SCORE_METADATA = "score"
"""Metadata of a file to score that asks for the same as ``score.json``, as JSON in ASCII."""


@dataclass(frozen=True)
class Upload:
    """One object version that arrived in the data bucket; ``key`` is decoded."""

    bucket: str
    key: str
    version_id: str | None = None


def ingest(
    upload: Upload,
    *,
    data: ObjectStore,
    artifacts: ObjectStore,
    runs: RunStore,
    executions: Executions,
    max_file_bytes: int,
) -> Run | None:
    """Open the run of an upload and start it: below ``datasets/`` it trains, below ``score/`` it is scored.

    A repeated event finds the run there and changes nothing, except that a run which was opened and not
    started, because the function died in between, is started now.

    Parameters
    ----------
    upload : Upload
        What arrived.
    data, artifacts : ObjectStore
        The data bucket and the artifact bucket.
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
        dataset or to score (``spec.json``, a folder) or is already gone.
    """
    dataset, model = keys.dataset_of(upload.key), keys.model_to_score_with(upload.key)
    if dataset is None and model is None:
        return None
    try:
        info = data.head(upload.key, version_id=upload.version_id)
    except NotFound:  # deleted between the upload and the event
        return None
    if dataset is not None:
        run = judge(new_run(upload.bucket, dataset, info), info, data, runs, max_file_bytes)
    else:
        run = new_run(upload.bucket, model or "", info)
        run = _judge_score(run, info, lambda: _read_score_spec(info, data), artifacts, max_file_bytes)
    return begin(run, runs, executions)


def score_file(
    model: str,
    upload: Upload,
    options: Mapping[str, Any],
    *,
    data: ObjectStore,
    artifacts: ObjectStore,
    runs: RunStore,
    executions: Executions,
    max_file_bytes: int,
) -> Run:
    """Open and start the run that scores a file which lies in the data bucket already, as asked directly.

    The same model, object version and options are the same run, however often they are asked for.

    Parameters
    ----------
    model : str
        The model.
    upload : Upload
        The file, below ``datasets/`` or ``score/``.
    options : mapping
        Fields of :class:`ScoreSpec`.
    data, artifacts, runs, executions, max_file_bytes
        As for :func:`ingest`.

    Raises
    ------
    BadInput
        The file lies where the workers may not read.
    NotFound
        There is no such object or version.
    """
    where = f"s3://{upload.bucket}/{upload.key}"
    if upload.bucket != data.bucket or not upload.key.startswith((keys.DATASETS, keys.SCORE)):
        raise BadInput(
            "The file does not lie where files to score do",
            code="file-elsewhere",
            where=where,
            remedy=f"Copy it to s3://{data.bucket}/{keys.SCORE}{model}/, or name a file below "
            f"{keys.DATASETS} or {keys.SCORE} there.",
        )
    info = data.head(upload.key, version_id=upload.version_id)
    wanted = json.dumps([model, options], sort_keys=True)
    run = replace(
        new_run(upload.bucket, model, info),
        run_id=run_id_of(upload.bucket, model, info.key, f"{info.version_id}\n{wanted}"),
    )
    asked = json.dumps(options).encode()
    return begin(
        _judge_score(run, info, lambda: parse_score_spec([(asked, "options")]), artifacts, max_file_bytes),
        runs,
        executions,
    )


def begin(run: Run, runs: RunStore, executions: Executions) -> Run:
    """Open the run and start it, each once; return it as it is recorded."""
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
    value = _parse_json(text, where)
    try:
        spec = decode(Spec, value)
        _check(spec)
    except BadInput as error:
        raise _unusable(error, "Spec", where) from None
    return spec


def parse_score_spec(texts: Sequence[tuple[bytes, str]]) -> ScoreSpec:
    """Read what is asked of scoring a file; a later text's fields go before an earlier one's.

    Parameters
    ----------
    texts : sequence of (bytes, str)
        JSON objects, and where each comes from.

    Raises
    ------
    BadInput
        One is no JSON object, or a field is unknown or has a value that it cannot have.
    """
    asked: dict[str, Any] = {}
    for text, where in texts:
        value = _parse_json(text, where)
        try:
            spec = decode(ScoreSpec, value)
            _check_score(spec)
        except BadInput as error:
            raise _unusable(error, "ScoreSpec", where) from None
        if "alias" in value:  # either names the version: the later one counts
            asked.pop("version", None)
        asked |= value
    return decode(ScoreSpec, asked)


def _parse_json(text: bytes, where: str) -> Any:
    try:
        value = json.loads(text.decode("utf-8-sig"))
        # An escape like \ud800 is JSON, but no text that a table can hold.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise _invalid(
            f"The spec is not JSON: {error}",
            where=where,
            remedy="Correct it, upload it, then upload the file again.",
        ) from None
    return value


def _unusable(error: BadInput, kind: str, where: str) -> BadInput:
    field = error.where.removeprefix(kind).lstrip(".")
    return _invalid(
        f"The spec cannot be used: {error.what}",
        where=f"{where}, field {field}" if field else where,
        remedy=f"{error.remedy} Then upload the spec and the file again.".strip(),
    )


def _invalid(what: str, where: str, remedy: str) -> BadInput:
    return BadInput(what, code="spec-invalid", where=where, remedy=remedy)


def _check_score(spec: ScoreSpec) -> None:
    if spec.version is not None and not 0 < spec.version < 1 << 31:
        raise _invalid(
            f"There is no version {spec.version}",
            where="version",
            remedy="Use a positive number.",
        )
    if not DATASET.fullmatch(spec.alias):
        raise _invalid(
            f"An alias cannot be called {spec.alias!r:.80}",
            where="alias",
            remedy="Use the name of one of the model's aliases, for example live.",
        )
    if spec.keep is not None and len(set(spec.keep)) < len(spec.keep):
        raise _invalid("A column is to be kept twice", where="keep", remedy="Name each column once.")


def _check(spec: Spec) -> None:
    of_task = {task: (*METRICS[task], *(DEVIANCES if task == "regression" else ())) for task in METRICS}
    known = sorted({metric for metrics in of_task.values() for metric in metrics})
    allowed = sorted(of_task[spec.task]) if spec.task else known
    if spec.metric is not None and spec.metric not in allowed:
        kind = f" for the task {spec.task}" if spec.task and spec.metric in known else ""
        raise _invalid(
            f"There is no metric {spec.metric!r}{kind}",
            where="metric",
            remedy=f"Use one of {', '.join(allowed)}.",
        )
    if (spec.loss == "quantile") != (spec.quantile is not None):
        raise _invalid(
            "The loss 'quantile' needs the quantile, and only that loss has one",
            where="quantile",
            remedy='Use both, as in {"loss": "quantile", "quantile": 0.9}, or neither.',
        )
    if spec.quantile is not None and not 0.0 < spec.quantile < 1.0:
        raise _invalid(
            f"The quantile {spec.quantile:g} is out of range",
            where="quantile",
            remedy="Use a number between 0 and 1: the share of values that are to lie below the prediction.",
        )
    named = [name for name in (spec.target, spec.weight_column, spec.group_column, spec.time_column) if name]
    if len(set(named)) < len(named):
        twice = next(name for name in named if named.count(name) > 1)
        raise _invalid(
            f"The column {twice!r} is named for two purposes",
            where="target, weight_column, group_column, time_column",
            remedy="Name different columns.",
        )
    if not 0 <= spec.seed < 2**32:
        raise _invalid(
            f"The seed {spec.seed} is out of range",
            where="seed",
            remedy="Use an integer from 0 to 4294967295.",
        )
    if spec.fit_share is not None and not 0.5 < spec.fit_share <= 1.0:
        raise _invalid(
            f"The share {spec.fit_share} of values that must fit a type is out of range",
            where="fit_share",
            remedy="Use a number above 0.5, up to 1; without one it is 0.995.",
        )
    if spec.max_reject_share is not None and not 0.0 <= spec.max_reject_share <= 1.0:
        raise _invalid(
            f"The share {spec.max_reject_share} of records that may be rejected is out of range",
            where="max_reject_share",
            remedy="Use a number from 0 to 1.",
        )
    if spec.max_latency_ms is not None and not 0.0 < spec.max_latency_ms < 1e9:
        raise _invalid(
            f"No row takes {spec.max_latency_ms} ms",
            where="max_latency_ms",
            remedy="Use a number of milliseconds above 0; without one it is 100.",
        )
    for name in ("retrain_rows", "retrain_after_minutes"):
        if (getattr(spec, name) or 0) < 0:
            raise _invalid(
                f"{name} is below zero",
                where=name,
                remedy="Use a positive number, or 0 for never.",
            )
    if spec.costs is not None:
        for name, cost in asdict(spec.costs).items():
            if not 0.0 < cost < math.inf:
                raise _invalid(
                    f"An error cannot cost {cost}",
                    where=f"costs.{name}",
                    remedy="Use a positive number; only the ratio of the two decides.",
                )
    if spec.target is not None and spec.target in spec.exclude:
        raise _invalid(
            f"The target {spec.target!r} is also excluded",
            where="exclude",
            remedy="Take it off the list.",
        )
    for name in spec.keep:
        if name in (spec.target, spec.weight_column) or name in spec.exclude:
            other = "excluded"
            if name not in spec.exclude:
                other = "the target" if name == spec.target else "the weight"
            raise _invalid(
                f"The column {name!r} is to be kept as a feature, and is {other}",
                where="keep",
                remedy="Take it off one of the two.",
            )


def new_run(bucket: str, dataset: str, info: ObjectInfo) -> Run:
    """Return the record of a run of that object, as it is before anybody has looked at it."""
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


def judge(run: Run, info: ObjectInfo, data: ObjectStore, runs: RunStore, max_file_bytes: int) -> Run:
    """Return the run as it should be recorded: queued, unchanged, or failed with the reason."""
    try:
        _check_upload(run, info, max_file_bytes)
        run = replace(run, spec=read_spec(run.dataset, data))
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


def _judge_score(
    run: Run, info: ObjectInfo, asked: Callable[[], ScoreSpec], artifacts: ObjectStore, max_file_bytes: int
) -> Run:
    """Return the run as it should be recorded: queued with the version that scores it, or failed."""
    run = replace(run, score=ScoreSpec(), model=run.dataset or None)
    try:
        _check_model(run)
        _check_size(run, info, max_file_bytes, "Upload a CSV file with a header and the rows to score.")
        run = replace(run, score=asked())
        return replace(run, version=_version_to_score_with(run, artifacts))
    except (BadInput, NotFound) as error:
        return replace(run, state="FAILED", error=run_error(error, "ingest"))


def _version_to_score_with(run: Run, artifacts: ObjectStore) -> int:
    """Return the version that scores the whole file, whatever becomes live meanwhile."""
    assert run.model is not None and run.score is not None
    number = run.score.version
    registry = Registry(artifacts)
    if number is not None:
        return registry.version(run.model, number).version
    alias = registry.alias(run.model, run.score.alias)
    if alias is None:
        raise NotFound(
            f"There is no model {run.model!r}, or no version of it is {run.score.alias}",
            code="model-unknown",
            where=f"s3://{run.bucket}/{run.key}",
            remedy="Upload below score/<model>/ the name of a model that is there; GET /models lists them.",
        )
    return alias.version


def _check_model(run: Run) -> None:
    where = f"s3://{run.bucket}/{run.key}"
    if not run.dataset:
        raise BadInput(
            "The file lies in no model's folder",
            code="model-missing",
            where=where,
            remedy="Upload it to score/<model>/<file>; the model scores it.",
        )
    if not DATASET.fullmatch(run.dataset):
        raise NotFound(
            f"There is no model {run.dataset!r:.80}",
            code="model-unknown",
            where=where,
            remedy="GET /models lists the models.",
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
    _check_size(run, info, max_file_bytes, "Upload a CSV file with a header and rows.")


def _check_size(run: Run, info: ObjectInfo, max_file_bytes: int, remedy: str) -> None:
    where = f"s3://{run.bucket}/{run.key}"
    if info.size_bytes == 0:
        raise BadInput("The file is empty", code="file-empty", where=where, remedy=remedy)
    if info.size_bytes > max_file_bytes:
        raise TooLarge(
            f"The file has {info.size_bytes:,} bytes; the limit is {max_file_bytes:,}",
            code="file-too-large",
            where=where,
            remedy="Upload fewer rows or columns, or raise the stack's parameter MaxFileBytes.",
        )


def read_spec(dataset: str, data: ObjectStore) -> Spec:
    """Return what the dataset's ``spec.json`` asks for; ``BadInput`` when that cannot be used."""
    found = _read_beside(keys.spec(dataset), Spec, data)
    return parse_spec(*found) if found else Spec()


def _read_score_spec(info: ObjectInfo, data: ObjectStore) -> ScoreSpec:
    """Return what the file's own metadata asks for, before what the ``score.json`` beside it does."""
    model = keys.model_to_score_with(info.key)
    found = _read_beside(keys.score_spec(model), ScoreSpec, data) if model else None
    texts = [found] if found else []
    if SCORE_METADATA in info.metadata:
        text = info.metadata[SCORE_METADATA].encode()
        texts.append((text, f"the metadata {SCORE_METADATA} of s3://{data.bucket}/{info.key}"))
    return parse_score_spec(texts)


def _read_beside(key: str, kind: type[Spec] | type[ScoreSpec], data: ObjectStore) -> tuple[bytes, str] | None:
    """Return the spec's text, and where it lies; None when there is none."""
    try:
        text = data.get(key, end=MAX_SPEC_BYTES + 1)
    except NotFound:
        return None
    where = f"s3://{data.bucket}/{key}"
    if len(text) > MAX_SPEC_BYTES:
        raise TooLarge(
            f"The spec is larger than {MAX_SPEC_BYTES} bytes",
            code="spec-too-large",
            where=where,
            remedy=f"A spec has {', '.join(field.name for field in fields(kind))}.",
        )
    return text, where
