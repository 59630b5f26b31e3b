"""Where everything lies: the one place that builds and reads object keys.

Standard library only and tiny, because ``predict`` imports it too.

``datasets/`` is in the data bucket; ``runs/``, ``models/`` and ``aws/lambda/`` (what the
stream gave up on) are in the artifact bucket.
"""

from __future__ import annotations

DATASETS = "datasets/"
RUNS = "runs/"
MODELS = "models/"
FAILURES = "aws/lambda/"
"""Where Lambda puts the batches it gave up on: ``aws/lambda/<mapping>/<shard>/YYYY/MM/DD/<time>-<uuid>``
(Lambda developer guide, "Retain discarded batch records"); the prefix cannot be chosen."""
SPEC = "spec.json"


# --- the data bucket ---------------------------------------------------------------------------


def dataset_of(key: str) -> str | None:
    """Return the dataset that an uploaded file belongs to: the folder after ``datasets/``.

    Empty when the file lies in no folder; ``None`` when the key names no file of a dataset: another
    prefix, a folder's own marker, or ``spec.json``. The name is not checked here.
    """
    if not key.startswith(DATASETS) or key.endswith("/"):
        return None
    dataset, slash, file = key[len(DATASETS) :].partition("/")
    if file == SPEC:
        return None
    return dataset if slash else ""


def upload(dataset: str, file: str) -> str:
    """Return the key to upload a file of ``dataset`` to."""
    return f"{DATASETS}{dataset}/{file}"


def spec(dataset: str) -> str:
    """Return the key of the dataset's ``spec.json``."""
    return f"{DATASETS}{dataset}/{SPEC}"


# --- a run -------------------------------------------------------------------------------------


def run(run_id: str, name: str = "") -> str:
    """Return the key of ``name`` within a run, or the run's prefix."""
    return f"{RUNS}{run_id}/{name}"


def source(run_id: str) -> str:
    """Return the key of the source as plain UTF-8, for files that came compressed or in another encoding."""
    return run(run_id, "source.csv")


def layout(run_id: str) -> str:
    """Return the key of :class:`millrace.contracts.Layout`."""
    return run(run_id, "layout.json")


def part(run_id: str, pass_name: str, chunk: int) -> str:
    """Return the key of one chunk's result in a pass (``profile`` or ``convert``)."""
    return run(run_id, f"{pass_name}/{chunk:05d}.json")


def parts(run_id: str, pass_name: str) -> str:
    """Return the prefix of a pass's results; listed, they come in the order of the chunks."""
    return run(run_id, f"{pass_name}/")


def chunk_error(run_id: str, pass_name: str, chunk: int) -> str:
    """Return the key of a worker's last error on a chunk, :class:`millrace.contracts.RunError`."""
    return run(run_id, f"errors/{pass_name}-{chunk:05d}.json")


def profile(run_id: str) -> str:
    """Return the key of the merged profile."""
    return run(run_id, "profile.json")


def schema(run_id: str) -> str:
    """Return the key of :class:`millrace.contracts.Schema`."""
    return run(run_id, "schema.json")


def block(run_id: str, chunk: int) -> str:
    """Return the key of a chunk's training block."""
    return run(run_id, f"blocks/{chunk:05d}.npz")


def blocks(run_id: str) -> str:
    """Return the prefix of the training blocks."""
    return run(run_id, "blocks/")


def parquet(run_id: str, chunk: int) -> str:
    """Return the key of a chunk's Parquet file."""
    return run(run_id, f"parquet/{chunk:05d}.parquet")


def rejects(run_id: str, chunk: int) -> str:
    """Return the key of a chunk's rejected records."""
    return run(run_id, f"rejects/{chunk:05d}.jsonl")


def rejects_prefix(run_id: str) -> str:
    """Return the prefix of the rejected records."""
    return run(run_id, "rejects/")


def cleared(run_id: str, chunk: int) -> str:
    """Return the key of a chunk's cleared cells: those that did not fit their column's type."""
    return run(run_id, f"cleared/{chunk:05d}.jsonl")


def candidate(run_id: str, name: str) -> str:
    """Return the key of a candidate's result."""
    return run(run_id, f"candidates/{name}.json")


def candidate_predictions(run_id: str, name: str) -> str:
    """Return the key of a candidate's out-of-fold predictions."""
    return run(run_id, f"candidates/{name}.npy")


def candidates(run_id: str) -> str:
    """Return the prefix of the candidates' results."""
    return run(run_id, "candidates/")


def run_plan(run_id: str) -> str:
    """Return the key of the scoring plan that a run compiled."""
    return run(run_id, "model.plan")


def evaluation(run_id: str) -> str:
    """Return the key of the run's evaluation."""
    return run(run_id, "evaluation.json")


def run_report(run_id: str) -> str:
    """Return the key of the run's report."""
    return run(run_id, "report.html")


# --- the registry ------------------------------------------------------------------------------


def model(name: str) -> str:
    """Return a model's prefix."""
    return f"{MODELS}{name}/"


def versions(model_name: str) -> str:
    """Return the prefix of a model's versions."""
    return f"{MODELS}{model_name}/versions/"


def version(model_name: str, number: int, name: str) -> str:
    """Return the key of ``name`` (``model.plan``, ``version.json``, ``report.html``) in a version."""
    return f"{MODELS}{model_name}/versions/{number}/{name}"


def alias(model_name: str, name: str = "live") -> str:
    """Return the key of an alias, the small object that is moved by compare-and-swap."""
    return f"{MODELS}{model_name}/aliases/{name}.json"
