"""The values that travel between stages, and the ports that several rooms share.

Everything here is a frozen dataclass of plain values. ``encode`` and ``decode`` turn one into JSON
types and back; nothing else in the project writes or reads these shapes by hand.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from millrace import keys
from millrace.errors import BadInput, NotFound

T = TypeVar("T")

ColumnType = Literal["number", "boolean", "category", "text", "time"]
Role = Literal[
    "feature", "target", "excluded", "identifier", "constant", "empty", "suspect", "weight", "group"
]
STORED: frozenset[Role] = frozenset({"feature", "suspect", "weight", "group"})
"""Roles of columns whose values training may need."""
Task = Literal["binary", "multiclass", "regression"]
Loss = Literal["squared", "absolute", "quantile", "poisson", "gamma", "tweedie"]
ClassWeight = Literal["none", "balanced"]
Budget = Literal["quick", "standard", "thorough"]
PassName = Literal["scan", "profile", "convert", "score"]
ScoreFormat = Literal["csv", "parquet"]
NewData = Literal["append", "replace"]
NewFile = Literal["append", "replace", "update"]
RunState = Literal[
    "QUEUED",
    "PROFILING",
    "DECIDING",
    "CONVERTING",
    "TRAINING",
    "SELECTING",
    "REPORTING",
    "REGISTERING",
    "SCORING",
    "ASSEMBLING",
    "SUCCEEDED",
    "FAILED",
    "UNCHANGED",
]
TERMINAL_STATES: frozenset[str] = frozenset({"SUCCEEDED", "FAILED", "UNCHANGED"})
METRICS: Mapping[Task, tuple[str, ...]] = types.MappingProxyType(
    {
        "binary": ("roc_auc", "log_loss", "brier", "accuracy", "balanced_accuracy", "f1_macro"),
        "multiclass": ("log_loss", "roc_auc", "brier", "accuracy", "balanced_accuracy", "f1_macro"),
        "regression": ("rmse", "mae", "r2"),
    }
)
"""The metrics that every model of a task is judged by, by task; the first is the default."""
DEVIANCES = ("poisson_deviance", "gamma_deviance", "tweedie_deviance")
"""Metrics of regression that a spec may name besides; they are defined for predictions above zero only."""
PINBALL = "pinball_"
"""What the metric of a quantile begins with; the quantile follows, as in ``pinball_0.9``."""
TWEEDIE_POWER = 1.5
"""Power of the mean with which the variance of the Tweedie loss grows: zeros, and sums of gammas."""


class _Losses(frozenset[str]):
    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and name.startswith(PINBALL))


LOWER_IS_BETTER: frozenset[str] = _Losses({"log_loss", "brier", "rmse", "mae", *DEVIANCES})
"""Metrics that are losses, those of quantiles too; every other one grows as a model gets better."""


@dataclass(frozen=True)
class Costs:
    """What the two errors of a binary decision cost, in any one unit; right answers cost nothing."""

    false_positive: float
    false_negative: float


@dataclass(frozen=True)
class Spec:
    """What a ``spec.json`` beside the file may ask for; every field is optional.

    Absent fields are decided from the data, and the run says how.
    """

    target: str | None = None
    task: Task | None = None
    metric: str | None = None
    loss: Loss | None = None
    """What a regression makes small, and with it what it predicts: the mean, the median or a quantile."""
    quantile: float | None = None
    """Of the loss ``quantile``: the share of the values that are to lie below the prediction."""
    positive_class: str | None = None
    class_weight: ClassWeight | None = None
    """``balanced``: every class counts alike in training, however rare; probabilities are then no shares."""
    weight_column: str | None = None
    """How much each row counts in training; no feature."""
    group_column: str | None = None
    """Rows with the same value are never both trained on and tested on; no feature unless it is kept."""
    time_column: str | None = None
    exclude: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    """Columns that stay features although they look like names of rows, or seem to give the target away."""
    budget: Budget = "standard"
    seed: int = 0
    fit_share: float | None = None
    """A column has the narrowest type that this share of its values fits."""
    max_reject_share: float | None = None
    """Share of rejected records above which the run stops before it trains."""
    on_new_data: NewData = "append"
    """What becomes of rows that a stream brought: a run trains on the uploaded file and all of them, or on
    those alone that came since the run before."""
    on_new_file: NewFile = "replace"
    """What becomes of the files before: a run trains on its file alone, or on the rows of all of them; or the
    live version learns the rows that are new to it, which lie behind those of the files before."""
    retrain_rows: int | None = None
    """New rows that start a run; 0 for none. The stack's parameter when absent."""
    retrain_after_minutes: int | None = None
    """Minutes after which the first new row starts a run; 0 for none. The stack's parameter when absent."""
    retrain_on_schedule: bool = True
    """Whether the stack's ``RetrainSchedule`` counts for the dataset, where the stack has one."""
    allow_schema_change: bool = False
    """Let a version go live by itself though it refuses requests that the live one answers."""
    max_latency_ms: float | None = None
    """Milliseconds that a row may take for a version to go live by itself; 100 when absent."""
    costs: Costs | None = None
    """What errors cost in a binary task: they weigh thresholds in the report, and change no prediction."""


@dataclass(frozen=True)
class ScoreSpec:
    """What a ``score.json`` beside a file to score may ask for, or the file's own metadata."""

    version: int | None = None
    """The version that scores; without it, the one that ``alias`` names when the run begins."""
    alias: str = "live"
    format: ScoreFormat = "csv"
    keep: tuple[str, ...] | None = None
    """Columns of the file that stand in the result, in this order; all of them when absent."""
    strict: bool = False
    """Reject a record for what would otherwise be a warning, as ``POST /predict`` does."""


@dataclass(frozen=True)
class Dialect:
    """How the bytes of a CSV file become records."""

    encoding: str = "utf-8"
    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    header: bool = True
    skip_bytes: int = 0
    """Bytes before the header: a byte-order mark or a preamble."""
    skip_lines: int = 0
    """Physical lines among them."""
    skip_space: bool = False
    """Whether blanks behind a delimiter are part of it."""
    trailing: int = 0
    """Delimiters at the end of every line, behind which nothing stands."""
    comment: str = ""
    """What a line begins with that is a comment: a record that is rejected as one."""
    blank_lines: bool = False
    """Whether a blank line is a record: in a table of one column it is the missing value."""
    footer: int = 0
    """Byte offset of the first record behind the table: totals, which are rejected; 0 when there are none."""


@dataclass(frozen=True)
class Chunk:
    """One byte range of the source, cut at record boundaries.

    ``first_line`` is the 1-based physical line at ``start``; ``first_record`` the 0-based number of
    its first data record in the whole file, so that a record's number does not depend on the cut.
    """

    number: int
    start: int
    end: int
    first_line: int
    first_record: int


@dataclass(frozen=True)
class Layout:
    """Where the records of a run lie and how to read them."""

    bucket: str
    key: str
    version_id: str
    size_bytes: int
    dialect: Dialect
    names: tuple[str, ...]
    """Column names as they stand in the header, made unique and non-empty."""
    chunks: tuple[Chunk, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Descriptor:
    """What a stream record carries: which chunk to take, in which pass, for whom. Never rows."""

    run_id: str
    pass_name: PassName
    chunk: int
    """Which chunk; of a ticket, its own number."""
    token: str
    """The Step Functions task token that the pass answers to."""
    tickets: int = 0
    """0: the chunk is named. Otherwise this is a ticket, one of so many that go round: whoever gets it claims
    the next chunk, and then lets the ticket follow whose number is so many further on."""
    group: int | None = None
    """Of which group of a large pass the ticket claims its chunks; None if the pass has no groups."""


@dataclass(frozen=True)
class Column:
    """One column under the schema that the whole file decided."""

    name: str
    index: int
    type: ColumnType
    role: Role
    reason: str = ""
    """Why the column is no feature, as a sentence; empty for features."""
    categories: tuple[str, ...] = ()
    """Categories of a ``category`` column, sorted by code point."""
    format: str = ""
    """``time``: ``"iso8601"`` or a strptime format. ``number``: a style of ``values.NUMBER_STYLES``."""
    minimum: float | None = None
    maximum: float | None = None
    missing: int = 0

    @property
    def field(self) -> dict[str, Any]:
        """The column as a field of a plan's signature; see :mod:`millrace.plan.signature`."""
        found: dict[str, Any] = {"name": self.name, "type": self.type}
        if self.type == "category":
            found["categories"] = list(self.categories)
        if self.format:
            found["format"] = self.format
        bounds = {"minimum": self.minimum, "maximum": self.maximum}
        return found | {name: value for name, value in bounds.items() if value is not None}


@dataclass(frozen=True)
class Schema:
    """Columns, target and task of one run; the outcome of ``decide``."""

    columns: tuple[Column, ...]
    target: str
    task: Task
    metric: str
    classes: tuple[str, ...] = ()
    """Class labels as the file spells them, sorted; empty for regression."""
    positive_class: str | None = None
    time_column: str | None = None
    rows: int = 0
    """Records with the right structure, before unusable targets are rejected."""
    warnings: tuple[str, ...] = ()
    costs: Costs | None = None
    """Of a binary task, as the spec has them."""
    loss: Loss = "squared"
    """Of a regression."""
    quantile: float | None = None
    """Of the loss ``quantile``."""
    class_weight: ClassWeight | None = None
    """Of classes, as the spec has it."""
    weight_column: str | None = None
    group_column: str | None = None

    @property
    def features(self) -> tuple[Column, ...]:
        """Columns with the role ``feature``, in file order."""
        return tuple(column for column in self.columns if column.role == "feature")

    @property
    def stored(self) -> tuple[Column, ...]:
        """Columns whose values stand in the training blocks, in file order."""
        return tuple(column for column in self.columns if column.role in STORED)

    def of_plan(self, fields: Iterable[Mapping[str, Any]]) -> Schema:
        """Return the schema that a plan with these fields was trained under: other columns are no features.

        Training leaves out columns that seem to give the target away, after the schema was decided.
        """
        names = {field["name"] for field in fields}
        kept = (
            column
            if column.name in names or column.role != "feature"
            else dataclasses.replace(column, role="excluded", reason="The model does without.")
            for column in self.columns
        )
        return dataclasses.replace(self, columns=tuple(kept))

    def column(self, name: str) -> Column:
        """Return the column called ``name``; ``KeyError`` if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


@dataclass(frozen=True)
class ChunkOutcome:
    """What a worker reports of one chunk of the convert pass."""

    chunk: int
    rows_read: int
    rows_kept: int
    rows_rejected: int
    cells_cleared: int = 0
    """Cells that did not fit their column's type and became missing."""
    rows_unlabelled: int = 0
    """Of the rejected, those whose target is missing: no fault of the file, so no limit counts them."""


@dataclass(frozen=True)
class ScoredChunk:
    """What a worker reports of one chunk of the score pass."""

    chunk: int
    rows_read: int
    rows_scored: int
    rows_rejected: int
    part_bytes: int
    columns: tuple[str, ...] = ()
    """Names of the part's columns; none when no row was scored."""
    warnings: Mapping[str, int] = field(default_factory=dict)
    """Scored rows with a notice of ``POST /predict``, by ``<code> <field>``."""
    headed: bool = False
    """Whether the part begins with the result's header."""


@dataclass(frozen=True)
class PassProgress:
    """How far a pass is: a counted set, so that counting a chunk twice changes nothing."""

    done: int
    total: int
    token: str = ""

    @property
    def complete(self) -> bool:
        """Whether every chunk is done."""
        return self.done >= self.total


def token_digest(token: str) -> str:
    """Return what stands for a task token, which may have 2,048 characters, where each byte is paid for."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Parts:
    """The parts of a pass or of one of its groups by number, as they were read at one moment."""

    total: int
    begun: str
    """:func:`token_digest` of the token under which the pass was begun last."""
    done: frozenset[int]
    """Of a pass in groups, those of complete groups, and what was done before it was begun last."""
    claimed: Mapping[int, int]
    """Which part each ticket has claimed since the pass was begun last."""
    left: int
    """How many can still be claimed."""
    groups: int = 0
    """Of the pass; a group has none, nor has a pass that is small enough."""

    def begun_with(self, token: str) -> bool:
        """Tell whether the pass was begun last under this token."""
        return self.begun == token_digest(token)

    @property
    def complete(self) -> bool:
        """Whether all are done."""
        return len(self.done) >= self.total


@dataclass(frozen=True)
class RunError:
    """Why a run failed, for people: ``message`` says what, where and what to do."""

    type: str
    code: str
    message: str
    stage: str = ""


@dataclass(frozen=True)
class Update:
    """Whether a run updates the live version or searches anew, as ``decide`` decided."""

    version: int | None = None
    """That learns the new rows; None for a search."""
    why: str = ""
    """Why there is a search although the spec asks for an update, as the end of a sentence."""
    known: int = 0
    """Records of the source that the version knows: the first ones."""
    records: int = 0
    """All of them."""


REQUESTS = ("s3_writes", "s3_reads", "table_writes", "table_reads")
"""Kinds of requests, as they are priced."""


@dataclass(frozen=True)
class Usage:
    """What one function used on behalf of a run; the requests are those to S3 and to DynamoDB."""

    function: str
    invocations: int
    billed_ms: int
    memory_mb: int
    s3_writes: int = 0
    s3_reads: int = 0
    table_writes: int = 0
    table_reads: int = 0
    cpu_ms: int = 0
    """Of the billed time, what processors worked; the rest was spent waiting."""


@dataclass(frozen=True)
class Run:
    """The record of one run: one bucket, key and version id."""

    run_id: str
    dataset: str
    bucket: str
    key: str
    version_id: str
    etag: str
    size_bytes: int
    state: RunState
    created_at: str
    """UTC, ISO 8601 with milliseconds."""
    updated_at: str
    attempt: int = 1
    spec: Spec = Spec()
    score: ScoreSpec | None = None
    """Of a run that scores a file; a run that trains has none."""
    forced: bool = False
    target: str | None = None
    task: Task | None = None
    rows_read: int | None = None
    rows_kept: int | None = None
    rows_rejected: int | None = None
    rows_trained: int | None = None
    rows_scored: int | None = None
    rejects: str | None = None
    """URI prefix of the rejected records."""
    progress: Mapping[str, PassProgress] = field(default_factory=dict)
    """By pass name, and ``train`` for the candidates."""
    shards: int | None = None
    """Of the stream that its chunks go over; 0 where a Map hands them out."""
    model: str | None = None
    version: int | None = None
    promoted: bool | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    baseline: Mapping[str, float] = field(default_factory=dict)
    profile: str | None = None
    """URI of what is known of each column of the file."""
    report: str | None = None
    result: str | None = None
    """URI of the scored file."""
    warnings: tuple[str, ...] = ()
    error: RunError | None = None
    usage: tuple[Usage, ...] = ()

    @property
    def kind(self) -> Literal["train", "score"]:
        """What the run does with its file."""
        return "train" if self.score is None else "score"

    @property
    def source(self) -> Literal["upload", "stream"]:
        """Where the run's file came from: a user, or the rows that a stream brought."""
        return "upload" if keys.generation_of(self.key) is None else "stream"


@dataclass(frozen=True)
class ObjectInfo:
    """What the store knows of an object."""

    key: str
    size_bytes: int
    etag: str
    version_id: str
    metadata: Mapping[str, str] = field(default_factory=dict)


class ObjectStore(Protocol):
    """One bucket. Errors are ours: ``NotFound``, ``Conflict``, ``TransientError``."""

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        ...

    def get(
        self, key: str, *, version_id: str | None = None, start: int | None = None, end: int | None = None
    ) -> bytes:
        """Return the object's bytes, or those of ``[start, end)``."""
        ...

    def get_with_etag(self, key: str) -> tuple[bytes, str]:
        """Return the object's bytes and the etag to compare-and-swap with."""
        ...

    def stream(
        self, key: str, *, version_id: str | None = None, start: int = 0, block_bytes: int = 1 << 20
    ) -> Iterator[bytes]:
        """Yield the object's bytes in blocks; never the whole object at once."""
        ...

    def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        only_if_absent: bool = False,
        only_if_etag: str | None = None,
    ) -> str:
        """Write and return the etag; ``Conflict`` when the condition does not hold."""
        ...

    def put_stream(
        self, key: str, pieces: Iterable[bytes | tuple[ObjectStore, str]], *, only_if_absent: bool = False
    ) -> int:
        """Write bytes and whole objects, named by store and key, as one object; return the size in bytes."""
        ...

    def head(self, key: str, *, version_id: str | None = None) -> ObjectInfo:
        """Return what the store knows of the object."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys below ``prefix``, in order."""
        ...

    def list_folders(self, prefix: str) -> Iterator[str]:
        """Yield the names between ``prefix`` and the next ``/``, in order."""
        ...

    def delete(self, key: str) -> None:
        """Delete the object; no error when it is absent."""
        ...


def is_there(key: str, store: ObjectStore) -> bool:
    """Tell whether there is an object of that key."""
    try:
        store.head(key)
    except NotFound:
        return False
    return True


def read_schema(run_id: str, artifacts: ObjectStore) -> Schema:
    """Return what ``decide`` decided of a run's file; ``NotFound`` before it has."""
    return decode(Schema, json.loads(artifacts.get(keys.schema(run_id))))


class RunStore(Protocol):
    """Run records and the progress of their passes."""

    def open(self, run: Run) -> bool:
        """Create the record; ``False`` when it exists already (the event came twice)."""
        ...

    def get(self, run_id: str, *, full: bool = False) -> Run:
        """Return the run with its progress; ``NotFound`` if there is none.

        Of a pass in groups the progress is as :attr:`Parts.done` has it. ``full`` asks for what is done in
        the other groups, too, with a request for each, and with one more for what the run used.
        """
        ...

    def list(self, *, limit: int = 50, cursor: str | None = None) -> tuple[tuple[Run, ...], str | None]:
        """Return runs, newest first, and the cursor of the next page."""
        ...

    def update(self, run_id: str, **changes: Any) -> None:
        """Set fields of :class:`Run` by name, and ``updated_at``."""
        ...

    def start_pass(
        self,
        run_id: str,
        name: str,
        *,
        total: int,
        token: str = "",
        skip: Collection[int] = (),
        groups: int = 0,
    ) -> None:
        """Begin (or begin again, with a new token) a counted set of ``total`` parts; parts done stay done.

        No part is claimed then, and those of ``skip``, which are done, never will be. The others may be dealt
        to groups, at most one for each of them: apart from each other, they can be written at once.
        """
        ...

    def claim_part(
        self, run_id: str, name: str, *, ticket: int, token: str, group: int | None = None
    ) -> int | None:
        """Give the ticket the next part (of the group) that nobody has, for good, and return its number.

        ``None`` if the ticket has one already, if none is left, or if the pass has another token now;
        :meth:`parts` tells which.
        """
        ...

    def complete_part(self, run_id: str, name: str, part: int, group: int | None = None) -> PassProgress:
        """Mark part ``part`` done, once, and return the progress after it.

        It is the group's while that is not complete, and then the pass's.
        """
        ...

    def parts(self, run_id: str, name: str, group: int | None = None) -> Parts | None:
        """Return who has which parts (of the group) and which are done; ``None`` if it never began."""
        ...

    def parts_done(self, run_id: str, name: str) -> frozenset[int]:
        """Return which parts of a pass are done, in its groups too, with a request for each of them."""
        ...

    def add_usage(self, run_id: str, usage: Usage) -> None:
        """Add to what the run used."""
        ...

    def last_success(self, dataset: str) -> Run | None:
        """Return the dataset's last successful run."""
        ...

    def last_upload(self, dataset: str) -> Run | None:
        """Return the dataset's last successful run of a file that a user uploaded."""
        ...

    def record_success(self, run_id: str) -> None:
        """Make this run its dataset's last successful one."""
        ...


_SCALARS = frozenset((bool, float, int, str, type(None)))
_EXACT = frozenset((bool, int, str))
"""Types of which a JSON value is one or is none."""


def encode(value: Any) -> Any:
    """Turn a contract into JSON types; tuples become lists, dataclasses become objects."""
    if type(value) in _SCALARS:
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    # A profile holds a thousand values of each column: those need no look at each.
    if isinstance(value, Mapping):
        if _SCALARS.issuperset(map(type, value.values())):
            return {str(key): item for key, item in value.items()}
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        if _SCALARS.issuperset(map(type, value)):
            return list(value)
        return [encode(item) for item in value]
    return value


def decode(kind: type[T], data: Any) -> T:
    """Build a contract of type ``kind`` from what :func:`encode` made of it.

    Raises
    ------
    BadInput
        With the path of the first field that is unknown, absent or of another type.
    """
    result = _decode(kind, data, kind.__name__)
    return typing.cast(T, result)


@functools.cache
def _fields(kind: type) -> dict[str, tuple[Any, bool]]:
    hints = typing.get_type_hints(kind)
    return {
        f.name: (
            hints[f.name],
            f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING,
        )
        for f in dataclasses.fields(kind)
    }


def _decode(kind: Any, data: Any, path: str) -> Any:
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_object(kind, data, path)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(kind)
        if data is None and type(None) in options:
            return None
        return _decode(next(o for o in options if o is not type(None)), data, path)
    if origin is Literal:
        return _expect(data in typing.get_args(kind), data, path, f"one of {list(typing.get_args(kind))}")
    if origin is tuple:
        _expect(isinstance(data, (list, tuple)), data, path, "a list")
        item = typing.get_args(kind)[0]
        if item in _EXACT and {item}.issuperset(map(type, data)):
            return tuple(data)
        return tuple(_decode(item, part, f"{path}[{i}]") for i, part in enumerate(data))
    if origin is not None and issubclass(origin, Mapping):
        _expect(isinstance(data, Mapping), data, path, "an object")
        item = typing.get_args(kind)[1]
        if item in _EXACT and {item}.issuperset(map(type, data.values())):
            return dict(data)
        return {key: _decode(item, part, f"{path}.{key}") for key, part in data.items()}
    if kind is float:
        _expect(isinstance(data, (int, float)) and not isinstance(data, bool), data, path, "a number")
        return float(data)
    if kind is int:
        return _expect(isinstance(data, int) and not isinstance(data, bool), data, path, "an integer")
    if kind is bool or kind is str:
        return _expect(isinstance(data, kind), data, path, "a boolean" if kind is bool else "a string")
    return data


def _decode_object(kind: type, data: Any, path: str) -> Any:
    _expect(isinstance(data, Mapping), data, path, "an object")
    fields = _fields(kind)
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise BadInput(
            f"Unknown field {unknown[0]!r}",
            code="field-unknown",
            where=path,
            remedy=f"Known fields are {', '.join(fields)}.",
        )
    missing = sorted(name for name, (_, required) in fields.items() if required and name not in data)
    if missing:
        raise BadInput(f"Field {missing[0]!r} is missing", code="field-missing", where=path)
    return kind(**{name: _decode(fields[name][0], part, f"{path}.{name}") for name, part in data.items()})


def _expect(holds: bool, data: Any, path: str, wanted: str) -> Any:
    if not holds:
        raise BadInput(
            f"Expected {wanted}, found {data!r:.80}",
            code="field-type",
            where=path,
            remedy="Correct the value.",
        )
    return data
