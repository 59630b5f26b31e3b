"""Where everything lies: the one place that builds and reads object keys.

Standard library only and tiny, because ``predict`` imports it too.

``datasets/``, ``score/``, ``scored/``, ``streamed/`` and ``collected/`` are in the data bucket; ``runs/``,
``models/`` and ``aws/lambda/`` (what the stream of chunks gave up on) are in the artifact bucket.
"""

from __future__ import annotations

DATASETS = "datasets/"
SCORE = "score/"
SCORED = "scored/"
COLLECTED = "collected/"
RUNS = "runs/"
MODELS = "models/"
FAILURES = "aws/lambda/"
"""Where Lambda puts the batches it gave up on: ``aws/lambda/<mapping>/<shard>/YYYY/MM/DD/<time>-<uuid>``
(Lambda developer guide, "Retain discarded batch records"); the prefix cannot be chosen."""
SPEC = "spec.json"
SCORE_SPEC = "score.json"
TRAINED_ON = "trained_on.npy"
STATE = "state.npz"
"""In a run, and in the version that it made."""


# --- the data bucket ---------------------------------------------------------------------------


def dataset_of(key: str) -> str | None:
    """Return the dataset that an uploaded file belongs to: the folder after ``datasets/``.

    Empty when the file lies in no folder; ``None`` when the key names no file of a dataset: another
    prefix, a folder's own marker, or ``spec.json``. The name is not checked here.
    """
    return _folder_of(key, DATASETS, SPEC)


def model_to_score_with(key: str) -> str | None:
    """Return the model that an uploaded file is to be scored with: the folder after ``score/``.

    Empty and ``None`` as for :func:`dataset_of`, with ``score.json`` in the place of ``spec.json``.
    """
    return _folder_of(key, SCORE, SCORE_SPEC)


def _folder_of(key: str, prefix: str, besides: str) -> str | None:
    if not key.startswith(prefix) or key.endswith("/"):
        return None
    folder, slash, file = key[len(prefix) :].partition("/")
    if file == besides:
        return None
    return folder if slash else ""


def upload(dataset: str, file: str) -> str:
    """Return the key to upload a file of ``dataset`` to."""
    return f"{DATASETS}{dataset}/{file}"


def spec(dataset: str) -> str:
    """Return the key of the dataset's ``spec.json``."""
    return f"{DATASETS}{dataset}/{SPEC}"


def to_score(model: str, file: str) -> str:
    """Return the key to upload a file to that ``model`` is to score."""
    return f"{SCORE}{model}/{file}"


def score_spec(model: str) -> str:
    """Return the key of the model's ``score.json``."""
    return f"{SCORE}{model}/{SCORE_SPEC}"


def scored(model: str, key: str, format: str) -> str:
    """Return the key of the result of scoring the object ``key``: the same name below ``scored/<model>/``.

    Compression ends with the upload, and a Parquet file bears its own ending.
    """
    name = key.removeprefix(to_score(model, ""))
    name = name.removesuffix(".gz")
    if format == "parquet":
        for ending in (".csv", ".tsv", ".txt"):
            name = name.removesuffix(ending)
        name += ".parquet"
    return f"{SCORED}{model}/{name}"


def scored_rejects(result: str) -> str:
    """Return the key of the records that a scored file had to leave out, beside the result."""
    return f"{result}.rejects.jsonl"


def scored_report(result: str) -> str:
    """Return the key of what there is to say of a scored file, beside the result."""
    return f"{result}.report.json"


def streamed(name: str) -> str:
    """Return the key of what came of a batch of the stream ``rows``; see :func:`batch_name`."""
    return f"streamed/{name}"


def batch_name(hour: str, shard: str, sequence: str, unique: str) -> str:
    """Return the last part of the keys of what is written of one batch of the stream ``rows``."""
    return f"{hour}/{shard}-{sequence}-{unique}.jsonl"


def collected_batch(dataset: str, name: str) -> str:
    """Return the key of the rows of ``dataset`` that one batch of the stream brought."""
    return f"{COLLECTED}{dataset}/batches/{name}"


def collecting(key: str) -> str | None:
    """Return the dataset whose rows the object ``key`` holds; ``None`` for a key of any other kind."""
    dataset, _, rest = key.removeprefix(COLLECTED).partition("/")
    return dataset if key.startswith(COLLECTED) and rest.startswith("batches/") else None


def collected_rejects(dataset: str, name: str) -> str:
    """Return the key of the records of a batch that are no rows of ``dataset``, with their reasons."""
    return f"{COLLECTED}{dataset}/rejects/{name}"


def collected_base(dataset: str, run_id: str) -> str:
    """Return the key of the file of the run ``run_id``, written plainly: what rows are appended to."""
    return f"{COLLECTED}{dataset}/base/{run_id}.csv"


def appended(dataset: str, run_id: str, kind: str) -> str:
    """Return the key of the file that a run brought for its dataset, written plainly (``csv``), or of what
    is known of it (``json``); without a run the prefix of them all."""
    return f"{COLLECTED}{dataset}/files/{run_id}" + (f".{kind}" if kind else "")


def generations(dataset: str) -> str:
    """Return the prefix of the dataset's generations; listed, they come in their order."""
    return f"{COLLECTED}{dataset}/generations/"


def generation(dataset: str, number: int, name: str) -> str:
    """Return the key of ``name`` (``generation.json``, ``rows.jsonl``, ``done.json``) in a generation."""
    return f"{generations(dataset)}{number:06d}/{name}"


def generation_files(dataset: str) -> str:
    """Return the prefix of the files that a dataset's generations are trained on."""
    return f"{DATASETS}{dataset}/collected/"


def generation_file(dataset: str, number: int) -> str:
    """Return the key of the file that a generation is trained on: an upload like any other."""
    return f"{generation_files(dataset)}{number:06d}.csv"


def generation_of(key: str) -> int | None:
    """Return the generation whose file ``key`` is; ``None`` for what a user uploaded."""
    dataset = dataset_of(key)
    if dataset is None:
        return None
    name = key.removeprefix(generation_files(dataset)).removesuffix(".csv")
    return int(name) if name.isdecimal() and key == generation_file(dataset, int(name)) else None


# --- a run -------------------------------------------------------------------------------------


def run(run_id: str, name: str = "") -> str:
    """Return the key of ``name`` within a run, or the run's prefix."""
    return f"{RUNS}{run_id}/{name}"


def source(run_id: str) -> str:
    """Return the key of the source as plain UTF-8, where that is not the upload: one that came compressed or
    in another encoding, or several files."""
    return run(run_id, "source.csv")


def unpacked(run_id: str) -> str:
    """Return the key of an upload as plain UTF-8 where the source is made of several files."""
    return run(run_id, "upload.csv")


def run_parts(run_id: str) -> str:
    """Return the key of the files that a run's source is made of, where it is of several."""
    return run(run_id, "parts.json")


def layout(run_id: str) -> str:
    """Return the key of :class:`millrace.contracts.Layout`."""
    return run(run_id, "layout.json")


def ranges(run_id: str) -> str:
    """Return the key of the byte ranges that a large file is looked through in, a ``Layout`` of them."""
    return run(run_id, "ranges.json")


def part(run_id: str, pass_name: str, chunk: int) -> str:
    """Return the key of one chunk's result in a pass (``scan``, ``profile``, ``convert`` or ``score``)."""
    return run(run_id, f"{pass_name}/{chunk:05d}.json")


def parts(run_id: str, pass_name: str) -> str:
    """Return the prefix of a pass's results; listed, they come in the order of the chunks."""
    return run(run_id, f"{pass_name}/")


def chunk_error(run_id: str, pass_name: str, chunk: int) -> str:
    """Return the key of a worker's last error on a chunk, :class:`millrace.contracts.RunError`."""
    return run(run_id, f"errors/{pass_name}-{chunk:05d}.json")


def ticket_error(run_id: str, pass_name: str, ticket: int) -> str:
    """Return the key of a worker's last error before it had a chunk, by the number of its ticket."""
    return run(run_id, f"errors/{pass_name}-ticket-{ticket:05d}.json")


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


def scored_part(run_id: str, chunk: int, format: str) -> str:
    """Return the key of a chunk's scored rows."""
    return run(run_id, f"scored/{chunk:05d}.{format}")


def rejects(run_id: str, chunk: int) -> str:
    """Return the key of a chunk's rejected records."""
    return run(run_id, f"rejects/{chunk:05d}.jsonl")


def rejects_prefix(run_id: str) -> str:
    """Return the prefix of the rejected records."""
    return run(run_id, "rejects/")


def cleared(run_id: str, chunk: int) -> str:
    """Return the key of a chunk's cleared cells: those that did not fit their column's type."""
    return run(run_id, f"cleared/{chunk:05d}.jsonl")


def trained(run_id: str, part: int) -> str:
    """Return the key of what one invocation of ``train`` found of its candidates and folds."""
    return run(run_id, f"candidates/{part:03d}.json")


def trained_predictions(run_id: str, part: int) -> str:
    """Return the key of its out-of-fold predictions."""
    return run(run_id, f"candidates/{part:03d}.npz")


def going_on(run_id: str) -> str:
    """Return the key of the names of the candidates that went on after the first folds."""
    return run(run_id, "candidates/going-on.json")


def update(run_id: str) -> str:
    """Return the key of :class:`millrace.contracts.Update`: whether the run updates the live version."""
    return run(run_id, "update.json")


def updated(run_id: str, kind: str) -> str:
    """Return the key of what came of it (``json``), and of the plan (``plan``) and state (``npz``)."""
    return run(run_id, f"candidates/updated.{kind}")


def state(run_id: str) -> str:
    """Return the key of what an update of the run's version goes on with."""
    return run(run_id, STATE)


def turn(run_id: str, unit: str) -> str:
    """Return the key of how far the fits of a unit are, where one invocation is not enough for them."""
    return run(run_id, f"turns/{unit}.npz")


def exact(run_id: str, name: str) -> str:
    """Return the key of ``name`` among what lies between the rounds of an exact fit over shards."""
    return run(run_id, f"exact/{name}")


def exact_sums(run_id: str, number: int, shard: int) -> str:
    """Return the key of one shard's sums in a round."""
    return exact(run_id, f"sums-{number:03d}/{shard:05d}.npz")


def exact_seen(run_id: str, shard: int) -> str:
    """Return the key of the fingerprints of a shard's rows."""
    return exact(run_id, f"seen/{shard:05d}.npz")


def run_plan(run_id: str) -> str:
    """Return the key of the scoring plan that a run compiled."""
    return run(run_id, "model.plan")


def evaluation(run_id: str) -> str:
    """Return the key of the run's evaluation."""
    return run(run_id, "evaluation.json")


def columns(run_id: str) -> str:
    """Return the key of what is known of each column, :class:`millrace.training.describe.Description`."""
    return run(run_id, "columns.json")


def held_out(run_id: str) -> str:
    """Return the key of the sample of held-out rows, a training block, against which exports are checked."""
    return run(run_id, "held_out.npz")


def trained_on(run_id: str) -> str:
    """Return the key of the fingerprints of the rows that a run's model was trained on."""
    return run(run_id, TRAINED_ON)


def schema_change(run_id: str) -> str:
    """Return the key of what the file changes for those who call the live version."""
    return run(run_id, "schema_change.json")


def run_report(run_id: str) -> str:
    """Return the key of the run's report."""
    return run(run_id, "report.html")


def run_report_json(run_id: str) -> str:
    """Return the key of what the run's report says, as JSON."""
    return run(run_id, "report.json")


# --- the registry ------------------------------------------------------------------------------


def model(name: str) -> str:
    """Return a model's prefix."""
    return f"{MODELS}{name}/"


def versions(model_name: str) -> str:
    """Return the prefix of a model's versions."""
    return f"{MODELS}{model_name}/versions/"


def version(model_name: str, number: int, name: str) -> str:
    """Return the key of ``name`` (``model.plan``, ``version.json``, ``report.html``, ``report.json``,
    ``schema.json``, ``evaluation.json``, ``trained_on.npy``, ``state.npz``, ``gate.json``) in a version."""
    return f"{MODELS}{model_name}/versions/{number}/{name}"


def deletions(model_name: str) -> str:
    """Return the prefix of the notes that say which of a model's versions are deleted."""
    return f"{MODELS}{model_name}/deleted/"


def deletion(model_name: str, number: int) -> str:
    """Return the key of the note that a version is deleted, or about to be."""
    return f"{deletions(model_name)}{number}.json"


def aliases(model_name: str) -> str:
    """Return the prefix of a model's aliases."""
    return f"{MODELS}{model_name}/aliases/"


def alias(model_name: str, name: str = "live") -> str:
    """Return the key of an alias, the small object that is moved by compare-and-swap."""
    return f"{aliases(model_name)}{name}.json"
