"""The shapes of the HTTP interface, as ``manage`` checks them and ``/openapi.json`` shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from millrace import keys
from millrace.contracts import Run, encode
from millrace.edge.cost import run_cost
from millrace.registry.compare import Comparison
from millrace.registry.versions import Alias, Deletion, Move, Version

__all__ = [
    "ComparisonView",
    "DeletionView",
    "InferAnswer",
    "InferProblem",
    "InferRequest",
    "InvocationProblem",
    "InvocationRequest",
    "ModelList",
    "ModelMetadata",
    "ModelReady",
    "ModelView",
    "MoveView",
    "PredictAnswer",
    "PredictRequest",
    "Problem",
    "PromoteRequest",
    "RollbackRequest",
    "RunList",
    "RunView",
    "ServerLive",
    "ServerMetadata",
    "ServerReady",
    "UploadRequest",
    "UploadView",
    "VersionView",
]


ALIAS = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
"""What an alias may be called."""


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Progress(BaseModel):
    """How far a pass is."""

    done: int
    total: int


class RunErrorView(BaseModel):
    """Why a run failed."""

    code: str
    message: str
    stage: str


class RunSummary(BaseModel):
    """A run, without what takes further reads."""

    run: str
    kind: str = Field(description="`train` or `score`.")
    source: str = Field(description="`upload`, or `stream` for a file of rows that a stream brought.")
    state: str
    dataset: str = Field(description="Of a run that scores, the model.")
    model: str | None
    version: int | None
    promoted: bool | None
    created_at: str
    updated_at: str
    file: str
    target: str | None
    task: str | None
    rows_read: int | None
    rows_kept: int | None
    rows_rejected: int | None
    rows_trained: int | None
    rows_scored: int | None
    rejects: str | None = Field(description="URI prefix of the rejected records.")
    metrics: dict[str, float] = Field(description="On the hold-out.")
    baseline: dict[str, float] = Field(description="The same for the naive prediction.")
    profile: str | None = Field(description="URI of what is known of each column of the file.")
    report: str | None
    result: str | None = Field(description="URI of the scored file.")
    warnings: list[str]
    error: RunErrorView | None

    @classmethod
    def fields_of(cls, run: Run) -> dict[str, Any]:
        """Return the fields of a run as JSON types."""
        error = run.error
        return {
            "run": run.run_id,
            "kind": run.kind,
            "source": run.source,
            "state": run.state,
            "dataset": run.dataset,
            "model": run.model,
            "version": run.version,
            "promoted": run.promoted,
            "created_at": run.created_at,
            "updated_at": run.updated_at,
            "file": f"s3://{run.bucket}/{run.key}",
            "target": run.target,
            "task": run.task,
            "rows_read": run.rows_read,
            "rows_kept": run.rows_kept,
            "rows_rejected": run.rows_rejected,
            "rows_trained": run.rows_trained,
            "rows_scored": run.rows_scored,
            "rejects": run.rejects,
            "metrics": dict(run.metrics),
            "baseline": dict(run.baseline),
            "profile": run.profile,
            "report": run.report,
            "result": run.result,
            "warnings": list(run.warnings),
            "error": error and {"code": error.code, "message": error.message, "stage": error.stage},
        }

    @classmethod
    def of(cls, run: Run) -> RunSummary:
        """Show a run."""
        return cls.model_validate(cls.fields_of(run))


class RunView(RunSummary):
    """A run."""

    progress: dict[str, Progress] = Field(description="Chunks of a pass, or what is trained, done of all.")
    cost: dict[str, Any] = Field(description="What it would have cost on AWS: `usd`, and of what.")

    @classmethod
    def of(cls, run: Run) -> RunView:
        """Show a run with its progress and cost."""
        progress = {name: {"done": made.done, "total": made.total} for name, made in run.progress.items()}
        return cls.model_validate(cls.fields_of(run) | {"progress": progress, "cost": run_cost(run)})


class RunList(BaseModel):
    """Runs, newest first; ``next`` is the cursor of the next page."""

    runs: list[RunSummary]
    next: str | None


class MoveView(BaseModel):
    """A decision about what an alias names."""

    model: str
    alias: str
    action: str = Field(description="`promoted`, `held` or `rolled-back`.")
    version: int
    previous: int | None = Field(description="What the alias named before.")
    at: str
    by: str
    why: str

    @classmethod
    def of(cls, model: str, alias: str, move: Move) -> MoveView:
        """Show a move."""
        return cls.model_validate(
            {
                "model": model,
                "alias": alias,
                "action": move.action,
                "version": move.version,
                "previous": move.previous,
                "at": move.at,
                "by": move.by,
                "why": move.why,
            }
        )


class UpdatedView(BaseModel):
    """That a version learned further rows, in the place of a search."""

    version: int = Field(description="That it was before.")
    rows: int = Field(description="New rows that were learned.")
    updates: int = Field(description="Since the last search, this one included.")
    searched: int = Field(description="The version that the last search made.")


class LineageView(BaseModel):
    """What a version was made of, beside rows, seed and libraries."""

    file: str
    file_version: str
    file_etag: str
    file_bytes: int
    spec: dict[str, Any] = Field(description="What `spec.json` asked for, with the defaults.")
    schema_sha256: str = Field(description="Of `schema.json` beside the plan: type and role of every column.")
    code: str = Field(description="The package's version, and a digest of what decides what a model is.")
    parts: list[dict[str, Any]] = Field(
        description="The files whose rows it was trained on, where the file was appended to others."
    )
    updated: UpdatedView | None = Field(description="Null for a version that a search made.")


class DeletionView(BaseModel):
    """That a version is deleted."""

    model: str
    version: int
    at: str
    by: str
    why: str

    @classmethod
    def of(cls, model: str, deletion: Deletion) -> DeletionView:
        """Show a deletion."""
        return cls.model_validate({"model": model, **encode(deletion)})


class VersionSummary(BaseModel):
    """A version in a list."""

    version: int
    run: str
    created_at: str
    task: str
    target: str
    metric: str = Field(description="The metric that the gate compares.")
    metrics: dict[str, float]
    baseline: dict[str, float]

    @classmethod
    def of(cls, version: Version) -> VersionSummary:
        """Show a version."""
        return cls.model_validate(_summary(version))


class VersionView(VersionSummary):
    """A version."""

    model: str
    live: bool
    aliases: list[str] = Field(description="The aliases that name it.")
    classes: list[str]
    signature: list[dict[str, Any]] = Field(description="The fields that a row of `POST /predict` may have.")
    chosen: str = Field(description="The candidate that won, or `ensemble`.")
    rows: dict[str, int]
    parity: dict[str, Any] = Field(description="The plan against the pipeline that it was compiled from.")
    libraries: dict[str, str]
    seed: int
    plan: str
    plan_bytes: int
    plan_sha256: str
    report: str | None = Field(description="Path of its report in this interface.")
    lineage: LineageView | None = Field(description="Null for a version that no run made.")
    deleted: DeletionView | None = Field(description="When it is deleted: its plan and report are gone.")
    gate: dict[str, Any] | None = Field(
        description="What its promotion or hold rests on: `promoted`, `reason`, `against`, `changes`, "
        "`footprint` beside `limits`, and `trial` on the same held-out rows; null for one it never judged."
    )

    @classmethod
    def of_version(
        cls,
        version: Version,
        bucket: str,
        aliases: Sequence[Alias],
        deletion: Deletion | None,
        gate: Mapping[str, Any] | None,
    ) -> VersionView:
        """Show a version of the artifact bucket ``bucket``."""
        key = keys.version(version.model, version.version, "model.plan")
        path = f"/models/{version.model}/versions/{version.version}/report"
        return cls.model_validate(
            _summary(version)
            | {
                "model": version.model,
                "live": any(a.alias == "live" and a.version == version.version for a in aliases),
                "aliases": [alias.alias for alias in aliases if alias.version == version.version],
                "classes": list(version.classes),
                "signature": list(version.signature),
                "chosen": version.chosen,
                "rows": version.rows,
                "parity": version.parity,
                "libraries": version.libraries,
                "seed": version.seed,
                "plan": f"s3://{bucket}/{key}",
                "plan_bytes": version.plan_bytes,
                "plan_sha256": version.plan_sha256,
                "report": path if version.report and not deletion else None,
                "lineage": encode(version.lineage),
                "gate": gate,
                "deleted": deletion and DeletionView.of(version.model, deletion).model_dump(),
            }
        )


class MetricPairView(BaseModel):
    """A metric of both, each on its own held-out rows."""

    version: float | None
    other: float | None
    better: int | None = Field(description="The version that has the better one; null when they are equal.")


class ChangeView(BaseModel):
    """What became of a field, the target or a class."""

    kind: str = Field(
        description="`added`, `missing`, `renamed`, `retyped`, `respelled`, `class-added`, `class-gone`, "
        "`target`, `task`."
    )
    column: str
    before: str
    after: str
    rejects: bool = Field(description="Whether requests of today would be refused, or answered by a guess.")
    says: str


class DifferenceView(BaseModel):
    """A fact of which the two have different values."""

    what: str
    version: Any
    other: Any


class ComparisonView(BaseModel):
    """What differs from `other` to `version`."""

    model: str
    version: int
    other: int
    metrics: dict[str, MetricPairView]
    changes: list[ChangeView]
    differences: list[DifferenceView] = Field(
        description="Of file, spec, rows, candidate, seed, code, libraries and size."
    )

    @classmethod
    def of(cls, found: Comparison) -> ComparisonView:
        """Show a comparison."""
        shown = encode(found)
        shown["differences"] = [
            {"what": what, "version": new, "other": old} for what, (old, new) in found.differences.items()
        ]
        return cls.model_validate(shown)


def _summary(version: Version) -> dict[str, Any]:
    return {
        "version": version.version,
        "run": version.run_id,
        "created_at": version.created_at,
        "task": version.task,
        "target": version.target,
        "metric": version.metric,
        "metrics": version.metrics,
        "baseline": version.baseline,
    }


class ModelSummary(BaseModel):
    """A model and what is live of it."""

    model: str
    live: int | None
    version: VersionSummary | None = Field(description="The live version.")


class ModelList(BaseModel):
    """All models."""

    models: list[ModelSummary]


class ModelView(BaseModel):
    """A model: its aliases, its newest versions, and every decision about an alias, newest first."""

    model: str
    live: int | None
    aliases: dict[str, int] = Field(description="What each alias names, `live` among them.")
    versions: list[VersionSummary]
    versions_total: int
    history: list[MoveView]


class PromoteRequest(_Request):
    """Which version an alias is to name, and why."""

    version: Annotated[int, Field(ge=1)]
    alias: Annotated[str, Field(pattern=ALIAS)] = "live"
    reason: Annotated[str, Field(max_length=500)] = ""


class RollbackRequest(_Request):
    """Which alias is to go back, and why."""

    alias: Annotated[str, Field(pattern=ALIAS)] = "live"
    reason: Annotated[str, Field(max_length=500)] = ""


class UploadRequest(_Request):
    """What is to be uploaded: a file of a dataset, or one that a model is to score."""

    dataset: str | None = Field(default=None, description="To train on it; its model will bear this name.")
    model: str | None = Field(default=None, description="To score it: the model that does.")
    filename: str = Field(
        description="Name of the file without folders; `spec.json` is the dataset's spec, `score.json` what "
        "holds for every file that the model scores."
    )
    size_bytes: Annotated[int, Field(ge=0)] | None = None
    force: bool = Field(default=False, description="Train even if the file did not change.")
    score: dict[str, Any] | None = Field(
        default=None, description="With `model`: `version`, `alias`, `format`, `keep`, `strict` of this file."
    )


class UploadView(BaseModel):
    """Where to post the form, and the fields that come before its field ``file``."""

    url: str
    fields: dict[str, str]
    bucket: str
    key: str
    max_bytes: int
    expires_s: int


class ResultView(BaseModel):
    """Where to download what a run scored; each link is good for ``expires_s``."""

    result: str
    rejects: str = Field(description="The rejected records as JSON lines; empty when there are none.")
    report: str
    expires_s: int


class RejectsView(BaseModel):
    """Rejected records of a run, in file order; ``next`` is the cursor of the next page.

    ``header`` and the records, one below the other in ``encoding``, are a file that can be corrected and
    uploaded.
    """

    header: str
    encoding: str
    rejects: list[dict[str, Any]] = Field(
        description="`line`, `offset` (bytes), `column` (empty when the record's structure is at fault), "
        "`reason` and `record`, as it came; bytes that are not valid in `encoding` are lone surrogates."
    )
    next: str | None


class PredictRequest(_Request):
    """Rows to score."""

    model: str | None = Field(default=None, description="May be left out when one model is live.")
    rows: list[dict[str, Any]] = Field(
        min_length=1, description="Objects of field and value, as the version's `signature` names them."
    )
    strict: bool = Field(default=False, description="Refuse what would otherwise be a warning.")
    explain: bool = Field(default=False, description="Say what each field contributed to each prediction.")
    version: int | None = Field(default=None, ge=1, description="A version other than the live one.")
    alias: str | None = Field(default=None, description="An alias other than `live`.")


class PredictWarning(BaseModel):
    """Something about a row that was scored all the same."""

    row: int | None = Field(description="Counts from 0.")
    field: str | None
    code: str = Field(
        description="`missing`, `unseen`, `outside`, `unknown-field`, `not-finite`; "
        "`warnings-cut` says how many more there are."
    )
    message: str


class PredictIntervals(BaseModel):
    """Where the values lie around the predictions of a regression."""

    level: float = Field(description="Share of the values that the bounds are meant to hold.")
    bounds: list[tuple[float, float] | None] = Field(description="One pair a row.")


class PredictExplanation(BaseModel):
    """What each field contributed; base and contributions add up to what is explained, on the scale."""

    model_config = ConfigDict(populate_by_name=True)

    class_: str | None = Field(alias="class", description="Whose output it is; null for a regression.")
    method: Literal["exact", "sampled"] = Field(
        description="`sampled`, from fixed orders, when more than 10 fields differ from the typical row."
    )
    base: float = Field(
        description="The output that training saw on average; with `typical`, the answer to that row."
    )
    contributions: dict[str, float] = Field(description="By field: Shapley values.")
    standard_errors: dict[str, float] | None = Field(
        default=None, description="By field, when the values are sampled."
    )


class PredictExplanations(BaseModel):
    """Asked for with `explain`."""

    scale: str = Field(description="`log-odds`, `probability`, `prediction`, ...")
    typical: dict[str, Any] | None = Field(
        default=None,
        description="By field, the typical row of the training rows, where rows are compared with it: all "
        "models but linear ones, ensembles of trees, and means of these for a regression.",
    )
    rows: list[PredictExplanation | None] = Field(description="Null where there is no finite number.")


class PredictAnswer(BaseModel):
    """One prediction for each row, in the order of the rows."""

    model: str
    version: int
    predictions: list[str | float | None] = Field(description="Class labels, or numbers.")
    probabilities: list[dict[str, float | None]] | None = Field(
        description="By class; null for a regression."
    )
    intervals: PredictIntervals | None = Field(
        description="For a regression trained on enough rows; else null."
    )
    explanations: PredictExplanations | None = Field(default=None, description="When they were asked for.")
    warnings: list[PredictWarning]


class Frame(_Request):
    """A table by columns and rows of values."""

    columns: list[str]
    data: list[list[Any]]
    index: list[Any] | None = Field(default=None, description="Not read.")


class InvocationParams(_Request):
    """What else is asked."""

    strict: bool = False


class InvocationRequest(_Request):
    """Rows in one of MLflow's four formats; values without names are in the signature's order."""

    dataframe_split: Frame | None = None
    dataframe_records: list[dict[str, Any]] | None = None
    instances: list[Any] | None = Field(default=None, description="Objects, or lists of values.")
    inputs: dict[str, Any] | list[Any] | None = Field(
        default=None, description="Columns by name, or lists of values."
    )
    params: InvocationParams | None = None


class InvocationProblem(BaseModel):
    """MLflow's error object, with our code."""

    error_code: str
    message: str
    code: str


class TensorMetadata(BaseModel):
    """Name, datatype and shape of a tensor; -1 is any number of rows."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None = None


class ServerMetadata(BaseModel):
    """What answers."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(BaseModel):
    """Whether the server answers."""

    live: bool


class ServerReady(BaseModel):
    """Whether the server can reach its models."""

    ready: bool


class ModelReady(BaseModel):
    """Whether a model can answer."""

    name: str
    ready: bool


class ModelMetadata(BaseModel):
    """A model's tensors, from its signature."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Tensor(TensorMetadata):
    """A tensor with its elements, unless they follow as binary data."""

    data: list[Any] | None = None


class RequestedOutput(_Request):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(_Request):
    """One tensor for each field, or one for all in the signature's order."""

    id: str | None = None
    inputs: list[Tensor]
    outputs: list[RequestedOutput] | None = None
    parameters: dict[str, Any] | None = Field(default=None, description="`strict`, `binary_data_output`.")


class InferAnswer(BaseModel):
    """The outputs `prediction` and, for classification, `probabilities`."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, Any] | None = Field(default=None, description="`warnings`, `first_warning`.")
    outputs: list[Tensor]


class InferProblem(BaseModel):
    """The protocol's error object."""

    error: str


class ProblemValue(BaseModel):
    """A refused value."""

    row: int | None = None
    field: str | None = None
    code: str
    message: str


class Problem(BaseModel):
    """Problem details, RFC 9457."""

    type: str = Field(description="`urn:millrace:problem:<code>`")
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable: programs may compare it.")
    instance: str | None = None
    where: str | None = None
    row: int | None = None
    field: str | None = None
    errors: list[ProblemValue] | None = None


def problems(*statuses: int, shape: type[BaseModel] = Problem) -> Mapping[int, Any]:
    """Return the answers that a route gives when it fails, for its ``responses``."""
    from millrace.edge.http import JSON, PROBLEM_JSON, TITLES

    kind = PROBLEM_JSON if shape is Problem else JSON
    return {
        status: {"description": TITLES[status], "content": {kind: {"model": shape}}} for status in statuses
    }
