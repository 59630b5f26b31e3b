"""Training again on the file that a dataset has: on demand, and on a schedule where anything has changed.

The same file, spec, seed and code give the same model, so a schedule skips a dataset of which none of them
is another than in its last run. Rows that wait are for :mod:`millrace.runs.retrain`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from millrace import keys
from millrace.contracts import ObjectStore, Run, RunStore
from millrace.errors import BadInput, MillraceError, NotFound
from millrace.registry.register import code_version
from millrace.registry.registry import Registry
from millrace.runs.ingest import begin, judge, new_run, read_spec, run_id_of
from millrace.runs.ports import Executions

__all__ = ["train_again", "train_changed"]


def train_again(
    dataset: str,
    *,
    occasion: str,
    data: ObjectStore,
    runs: RunStore,
    executions: Executions,
    max_file_bytes: int,
) -> Run:
    """Begin a run on the file that the dataset's last successful run was trained on.

    Parameters
    ----------
    dataset : str
        The dataset.
    occasion : str
        What asks: the same occasion is the same run, however often it asks.
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
    Run
        The new one; ``FAILED`` when its spec cannot be used.

    Raises
    ------
    NotFound
        The dataset has no successful run.
    BadInput
        Its file is gone.
    """
    last = runs.last_success(dataset)
    if last is None:
        raise NotFound(
            f"No run of the dataset {dataset!r:.80} has succeeded",
            code="dataset-untrained",
            remedy=f"Upload a file to {keys.upload(dataset, '')}; it trains at once.",
        )
    try:
        info = data.head(last.key, version_id=last.version_id)
    except NotFound:
        raise BadInput(
            f"The file of the run {last.run_id} is gone",
            code="base-gone",
            where=f"s3://{last.bucket}/{last.key}, version {last.version_id}",
            remedy="Upload it again; it trains at once.",
        ) from None
    run = replace(
        new_run(last.bucket, dataset, info),
        run_id=run_id_of(last.bucket, dataset, last.key, f"{last.version_id}\n{occasion}"),
        forced=True,
    )
    return begin(judge(run, info, data, runs, max_file_bytes), runs, executions)


def train_changed(
    *,
    occasion: str,
    data: ObjectStore,
    artifacts: ObjectStore,
    runs: RunStore,
    executions: Executions,
    max_file_bytes: int,
    failed: Callable[[str, MillraceError], None],
) -> dict[str, str]:
    """Train every dataset again whose spec or whose code is another than in its last run.

    Parameters
    ----------
    artifacts : ObjectStore
        The artifact bucket.
    failed : callable
        Told which dataset could not be trained, and why; the others go on.
    occasion, data, runs, executions, max_file_bytes
        As for :func:`train_again`.

    Returns
    -------
    dict of str to str
        The run that was begun, by dataset.
    """
    begun: dict[str, str] = {}
    for dataset in data.list_folders(keys.DATASETS):
        last = runs.last_success(dataset)
        if last is None:
            continue
        try:
            spec = read_spec(dataset, data)
            if not spec.retrain_on_schedule or not _is_changed(replace(last, spec=spec), last, artifacts):
                continue
            run = train_again(
                dataset,
                occasion=occasion,
                data=data,
                runs=runs,
                executions=executions,
                max_file_bytes=max_file_bytes,
            )
        except MillraceError as error:
            failed(dataset, error)
        else:
            begun[dataset] = run.run_id
    return begun


def _is_changed(now: Run, last: Run, artifacts: ObjectStore) -> bool:
    if now.spec != last.spec or last.model is None or last.version is None:
        return True
    made = Registry(artifacts).version(last.model, last.version).lineage
    return made is None or made.code != code_version()
