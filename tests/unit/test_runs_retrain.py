"""Collected rows become a training file: the same whatever the order, each once, and one run for each."""

from __future__ import annotations

import contextlib
import copy
import functools
import gzip
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace import csvfile, keys
from millrace.contracts import Chunk, ObjectStore, Run
from millrace.errors import BadInput, MillraceError, TransientError
from millrace.runs.retrain import Due, Generation, retrain, retrain_all
from millrace.streams import Delivery, Source, collect, identity_of, publisher
from tests.fakes import MemoryLedger, MemoryObjectStore, MemoryStream, MemoryTasks
from tests.unit.test_streams import Mortal
from tests.world import CARS, World

NOW = datetime(2026, 11, 20, 11, 0, tzinfo=UTC)
COLUMNS = ["colour", "doors", "price"]


class Cars(World):
    """A dataset whose upload was trained on, and rows that a stream brings for it."""

    def __init__(self, upload: bytes = CARS, spec: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.ledger = MemoryLedger()
        self.dies_after: int | None = None
        self._names = 0
        if spec is not None:
            self.data.put(keys.spec("cars"), json.dumps(spec).encode())
        self.base = self.upload_and_train(upload)

    def upload_and_train(self, upload: bytes, key: str = "datasets/cars/cars.csv") -> str:
        """Take a file through its run, as far as that matters here; return the run's id."""
        self.tasks = MemoryTasks()
        run_id = self.prepare(upload, key)
        self.succeed(run_id)
        return run_id

    def bring(self, *ids: str, rows: int = 1, minute: int = 0) -> None:
        """Collect a batch of records of these ids; a row is told by its id."""
        deliveries = []
        for number, name in enumerate(ids):
            source = Source("s", f"{self._names}-{number}", f"2026-11-20T10:{minute:02d}:00.000Z")
            shown, identity = identity_of("dataset/cars", name, source)
            cells = [{"colour": f'{name}\n#,"', "price": str(part)} for part in range(rows)]
            deliveries.append(Delivery("cars", source, shown, identity, {}, 1, cells))
        self._names += 1
        publish = publisher(self.ledger, "data", MemoryStream())
        collect(deliveries, f"{self._names}.jsonl", ledger=self.ledger, store=self.data, publish=publish)

    def retrain(self, rows: int = 1, minutes: int = 0) -> Generation | None:
        return retrain(
            "cars",
            data=Mortal(self.data, self._live),  # type: ignore[arg-type]
            artifacts=self.artifacts,
            runs=self.runs,
            ledger=Mortal(self.ledger, self._live),  # type: ignore[arg-type]
            due=Due(rows, minutes),
            now=NOW,
        )

    def files(self) -> list[str]:
        return list(self.data.list(keys.generation_files("cars")))

    def table(self, number: int) -> list[list[str]]:
        """Return the records of a generation's file, as a run reads them."""
        text = self.data.get(keys.generation_file("cars", number))
        sniffed = csvfile.sniff(text, complete=True)
        chunk = Chunk(0, 0, len(text), 1, 0)
        found = list(csvfile.read_records(text, sniffed.dialect, chunk, len(sniffed.names)))
        assert all(isinstance(record, csvfile.Record) for record in found)
        return [record.cells for record in found if isinstance(record, csvfile.Record)]

    def brought(self, number: int) -> list[str]:
        """Return the ids of the collected rows in a generation's file, in its order."""
        return [cells[0].partition("\n")[0] for cells in self.table(number) if "\n" in cells[0]]

    def train(self, number: int) -> Run:
        """Ingest a generation's file and end its run well."""
        run = self.ingest(keys.generation_file("cars", number))
        assert run is not None
        self.succeed(run.run_id)
        return self.runs.get(run.run_id)

    def _live(self) -> None:
        if self.dies_after is not None:
            self.dies_after -= 1
            if self.dies_after < 0:
                raise TransientError("died", code="service-unavailable")


def test_rows_are_appended_to_the_upload_in_one_file_that_starts_a_run() -> None:
    cars = Cars()
    cars.bring("b", "a", rows=2)
    made = cars.retrain()
    assert made is not None
    assert (made.number, made.rows, made.base_run) == (1, 4, cars.base)
    head, *rest = cars.table(1)
    assert head == COLUMNS
    assert rest[:120] == [line.split(",") for line in CARS.decode().splitlines()[1:]]
    assert cars.brought(1) == ["a", "a", "b", "b"]
    assert rest[120] == ['a\n#,"', "", "0"], "a column without a value is empty"
    run = cars.train(1)
    assert (run.dataset, run.source, run.state) == ("cars", "stream", "SUCCEEDED")
    assert cars.ledger.pending("cars") == []
    assert cars.retrain() is None


def test_what_a_schedule_asks_for_is_due_unless_the_spec_says_no() -> None:
    for spec, begins in (({"retrain_rows": 0}, True), ({"retrain_on_schedule": False}, False)):
        cars = Cars(spec=spec)
        cars.bring("x")
        asked = {
            "data": cars.data,
            "artifacts": cars.artifacts,
            "runs": cars.runs,
            "ledger": cars.ledger,
            "now": NOW,
        }
        assert retrain("cars", due=Due(0, 0), **asked) is None  # type: ignore[arg-type]
        made = retrain("cars", due=Due(0, 0, now=True), **asked)  # type: ignore[arg-type]
        assert (made is not None) is begins


def test_a_generation_has_the_rows_of_all_before_it_and_the_old_files_go() -> None:
    cars = Cars()
    for number, name in enumerate("cab", start=1):
        cars.bring(name)
        cars.retrain()
        cars.train(number)
    assert cars.brought(3) == ["a", "b", "c"]
    assert cars.files() == [keys.generation_file("cars", 3)]
    rows = [key for key in cars.data.list(keys.generations("cars")) if key.endswith("rows.jsonl")]
    assert rows == [keys.generation("cars", 3, "rows.jsonl")]
    assert len(list(cars.data.list(keys.collected_batch("cars", "")))) == 3, "what was collected is kept"


def test_with_replace_a_file_has_the_new_rows_alone() -> None:
    cars = Cars(spec={"on_new_data": "replace"})
    for number, name in enumerate(("b", "a"), start=1):
        cars.bring(name)
        cars.retrain()
        assert [row[0] for row in cars.table(number)] == ["colour", f'{name}\n#,"']
        cars.train(number)


@pytest.mark.parametrize(
    ("spec", "rows", "minutes", "begins"),
    [
        pytest.param({}, 3, 0, True, id="enough-rows"),
        pytest.param({}, 4, 0, False, id="too-few-rows"),
        pytest.param({}, 4, 60, True, id="long-enough"),
        pytest.param({}, 4, 61, False, id="not-yet"),
        pytest.param({}, 0, 0, False, id="never"),
        pytest.param({"retrain_rows": 2}, 4, 0, True, id="spec-rows"),
        pytest.param({"retrain_rows": 0}, 1, 0, False, id="spec-no-rows"),
        pytest.param({"retrain_after_minutes": 5}, 4, 0, True, id="spec-minutes"),
        pytest.param({"retrain_after_minutes": 0}, 4, 1, False, id="spec-no-minutes"),
    ],
)
def test_a_generation_begins_when_rows_or_time_are_enough(
    spec: dict[str, Any], rows: int, minutes: int, begins: bool
) -> None:
    cars = Cars(spec=spec)
    assert cars.retrain(rows, minutes) is None, "nothing waits"
    cars.bring("a", minute=30)
    cars.bring("b", "c", minute=0)
    assert (cars.retrain(rows, minutes) is not None) is begins


def test_rows_that_arrive_while_a_run_is_under_way_are_for_the_next() -> None:
    cars = Cars()
    cars.bring("a")
    cars.retrain()
    cars.bring("b")
    assert cars.retrain() is None, "the run's event is still on its way"
    run = cars.ingest(keys.generation_file("cars", 1))
    assert run is not None
    assert cars.retrain() is None, "the run is under way"
    cars.runs.update(run.run_id, state="FAILED")
    made = cars.retrain()
    assert made is not None
    assert cars.brought(2) == ["a", "b"], "nothing is lost by a run that failed"


def test_a_run_whose_event_was_lost_is_not_waited_for_for_ever() -> None:
    cars = Cars()
    cars.bring("a")
    cars.retrain()
    cars.bring("b")
    key = keys.generation("cars", 1, "done.json")
    old = (NOW - timedelta(minutes=16)).isoformat()
    cars.data.put(key, json.dumps({**json.loads(cars.data.get(key)), "made_at": old}).encode())
    assert cars.retrain() is not None


def test_the_newest_upload_is_what_rows_are_appended_to() -> None:
    cars = Cars()
    cars.bring("a")
    cars.retrain()
    wider = b"".join(b"%d,%s" % (n % 5, line) for n, line in enumerate(CARS.splitlines(keepends=True)))
    second = cars.upload_and_train(wider.replace(b"0,", b"cost,", 1))
    cars.train(1)  # opened later, though it was made before
    cars.bring("b")
    made = cars.retrain()
    assert made is not None
    assert (made.base_run, made.columns) == (second, ("cost", "colour", "doors", "price"))
    assert cars.table(2)[0] == ["cost", "colour", "doors", "price"]
    assert cars.table(2)[121:] == [["", 'a\n#,"', "", "0"], ["", 'b\n#,"', "", "0"]]


@pytest.mark.parametrize(
    "upload",
    [
        pytest.param(gzip.compress(CARS, mtime=0), id="gzip"),
        pytest.param(CARS.replace(b",", b";").replace(b"\n", b"\r\n"), id="semicolons"),
        pytest.param(CARS.decode().replace("red", "röt").encode("utf-16"), id="utf-16"),
        pytest.param(CARS.decode().replace("red", "röt").encode("cp1252"), id="windows-1252"),
    ],
)
def test_an_upload_in_another_dialect_is_read_as_its_run_read_it(upload: bytes) -> None:
    cars = Cars(upload)
    cars.bring("a")
    cars.retrain()
    colours = {cells[0] for cells in cars.table(1)[1:121]}
    assert colours in ({"red", "green", "blue"}, {"röt", "green", "blue"})
    assert cars.brought(1) == ["a"]


def test_an_upload_of_many_chunks_comes_whole() -> None:
    cars = Cars()
    cars.width = 7
    cars.upload_and_train(CARS, key="datasets/cars/again.csv")
    cars.bring("a")
    cars.retrain()
    assert len(cars.table(1)) == 122


def test_files_of_a_run_that_are_gone_are_asked_for_again_once() -> None:
    cars = Cars()
    cars.bring("a")
    layout = cars.artifacts.get(keys.layout(cars.base))
    cars.artifacts.delete(keys.layout(cars.base))
    with pytest.raises(BadInput) as caught:
        cars.retrain()
    assert caught.value.code == "base-gone"
    cars.artifacts.put(keys.layout(cars.base), layout)
    cars.retrain()
    cars.train(1)
    cars.artifacts.delete(keys.layout(cars.base))
    cars.bring("b")
    cars.retrain()
    assert cars.brought(2) == ["a", "b"], "what was written plainly once is enough"


def test_a_late_duplicate_that_the_ledger_has_forgotten_is_in_the_file_once() -> None:
    cars = Cars()
    cars.bring("a", "b")
    cars.retrain()
    cars.train(1)
    cars.ledger.objects.clear()  # as its items expire
    cars.bring("a", "c")
    cars.retrain()
    assert cars.brought(2) == ["a", "b", "c"]


def test_two_that_finish_a_generation_at_once_write_one_file() -> None:
    cars = Cars()
    cars.bring("a")
    assert isinstance(cars.data, MemoryObjectStore)
    slow = _Overtaken(cars.data, cars.retrain)
    made = retrain(
        "cars",
        data=slow,
        artifacts=cars.artifacts,
        runs=cars.runs,
        ledger=cars.ledger,
        due=Due(1, 0),
        now=NOW,
    )
    assert made == slow.meanwhile, "both went on with the same"
    assert cars.data.writes.count(keys.generation_file("cars", 1)) == 1
    assert cars.brought(1) == ["a"]


class _Overtaken(MemoryObjectStore):
    """Another worker does all of the generation while this one writes its rows."""

    def __init__(self, inner: MemoryObjectStore, other: Callable[[], Generation | None]) -> None:
        self.__dict__ = {**inner.__dict__, "other": other, "meanwhile": None}

    def put_stream(
        self, key: str, pieces: Iterable[bytes | tuple[ObjectStore, str]], *, only_if_absent: bool = False
    ) -> int:
        if key.endswith("rows.jsonl"):
            self.meanwhile = self.other()
        return super().put_stream(key, pieces, only_if_absent=only_if_absent)


def test_without_a_trained_upload_rows_wait_and_other_datasets_go_on() -> None:
    cars = Cars()
    cars.bring("a")
    source = Source("s", "x", "2026-11-20T10:00:00.000Z")
    boat = Delivery("boats", source, "x", "x", {}, 1, [{"a": "1"}])
    publish = publisher(cars.ledger, "data", MemoryStream())
    collect([boat], "b.jsonl", ledger=cars.ledger, store=cars.data, publish=publish)
    failures: dict[str, MillraceError] = {}

    def ask(holder: str) -> dict[str, int]:
        return retrain_all(
            data=cars.data,
            artifacts=cars.artifacts,
            runs=cars.runs,
            ledger=cars.ledger,
            due=Due(1, 0),
            holder=holder,
            remaining_s=lambda: 900.0,
            failed=failures.__setitem__,
            now=NOW,
        )

    cars.ledger.lease("retrain/cars", "another", 60)
    assert ask("one") == {}
    assert {name: error.code for name, error in failures.items()} == {"boats": "dataset-untrained"}
    cars.ledger.release("retrain/cars", "another")
    assert ask("one") == {"cars": 1}
    assert [batch.rows for batch in cars.ledger.pending("boats")] == [1]


IDS = "abcdefgh"


@settings(deadline=None, max_examples=60)
@given(
    order=st.permutations(IDS),
    repeats=st.lists(st.sampled_from(IDS), max_size=4),
    cuts=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    trains=st.lists(st.booleans(), min_size=1, max_size=5),
    deaths=st.lists(st.integers(0, 30), max_size=5),
)
def test_the_file_is_the_same_whatever_the_order_the_batches_and_the_deaths(
    order: Sequence[str],
    repeats: Sequence[str],
    cuts: Sequence[int],
    trains: Sequence[bool],
    deaths: Sequence[int],
) -> None:
    cars = copy.deepcopy(small())
    waiting, dying, turn = [*order, *repeats], list(deaths), 0
    while waiting:
        size = cuts[turn % len(cuts)]
        cars.bring(*waiting[:size])
        waiting = waiting[size:]
        if trains[turn % len(trains)] or not waiting:
            finished(cars, dying)
        turn += 1
    # A worker that died while it tidied up leaves an old file, until the next generation.
    assert cars.data.get(cars.files()[-1]) == expected()
    assert cars.ledger.pending("cars") == []
    counted = [json.loads(cars.data.get(key)) for key in manifests(cars)]
    assert sum(one["rows"] for one in counted) == len(IDS), "each row is new once"
    assert isinstance(cars.data, MemoryObjectStore)
    files = [key for key in cars.data.writes if keys.generation_of(key)]
    assert len(set(files)) == len(files) == len(counted), "a second version of a file is a second run"


def finished(cars: Cars, dying: list[int]) -> None:
    """Retrain until nothing waits, whatever dies, and let each file that is written have its run."""
    while cars.ledger.pending("cars"):
        cars.dies_after = dying.pop() if dying else None
        with contextlib.suppress(TransientError):
            cars.retrain()
        cars.dies_after = None
        for key in cars.files():
            cars.train(keys.generation_of(key) or 0)


def manifests(cars: Cars) -> list[str]:
    return [key for key in cars.data.list(keys.generations("cars")) if key.endswith("generation.json")]


@functools.cache
def small() -> Cars:
    return Cars(b"".join(CARS.splitlines(keepends=True)[:13]))


@functools.cache
def expected() -> bytes:
    cars = copy.deepcopy(small())
    cars.bring(*IDS)
    cars.retrain()
    return cars.data.get(keys.generation_file("cars", 1))
