"""The way of a run up to the candidates, on the real rooms, over fakes; what breaks on the way."""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from millrace import keys
from millrace.contracts import RunError, decode, read_schema
from millrace.errors import BadInput, Conflict, Misconfigured, NotFound, TooLarge, TransientError
from millrace.fanout import decode_descriptor
from millrace.features.blocks import Table, read_blocks
from millrace.features.search import first_round
from millrace.runs import fan_out as fan_out_module
from millrace.runs.collect import add_up
from millrace.runs.fan_out import chunk_bytes
from millrace.runs.rejects import read_rejects
from tests.fakes import MemoryObjectStore, MemoryRunStore, MemoryStream
from tests.world import CARS, World


@pytest.fixture
def world() -> World:
    return World()


def artifacts(world: World) -> MemoryObjectStore:
    assert isinstance(world.artifacts, MemoryObjectStore)
    return world.artifacts


def stream(world: World) -> MemoryStream:
    assert isinstance(world.stream, MemoryStream)
    return world.stream


def begun(world: World, data: bytes = CARS) -> str:
    run_id = world.upload(data).run_id
    world.fan_out(run_id, "profile", "t1")
    return run_id


def test_a_file_walks_up_to_the_candidates(world: World) -> None:
    run_id = world.prepare(CARS)
    run = world.runs.get(run_id)
    assert (run.state, run.target, run.task) == ("CONVERTING", "price", "regression")
    assert (run.rows_read, run.rows_kept, run.rows_rejected, run.rejects) == (120, 120, 0, None)
    assert any("price" in warning for warning in run.warnings), "the run says how the target was found"
    assert {name: (p.done, p.total) for name, p in run.progress.items()} == {
        "profile": (1, 1),
        "convert": (1, 1),
        "train": (0, len(first_round(read_schema(run_id, world.artifacts), run.spec.budget, 120).units)),
    }
    assert world.tasks.answers["token-profile"][0] == world.tasks.answers["token-convert"][0] == "success"
    assert set(artifacts(world).list(keys.run(run_id))) == {
        keys.layout(run_id),
        keys.part(run_id, "profile", 0),
        keys.part(run_id, "convert", 0),
        keys.profile(run_id),
        keys.schema(run_id),
        keys.block(run_id, 0),
        keys.parquet(run_id, 0),
    }


def table_of(world: World, run_id: str) -> Table:
    blocks = [world.artifacts.get(key) for key in world.artifacts.list(keys.blocks(run_id))]
    return read_blocks(blocks, read_schema(run_id, world.artifacts))


def assert_same_tables(one: World, one_run: str, other: World, other_run: str) -> None:
    """Assert that the training blocks of two runs are the same table, records in the file's order."""
    left, right = table_of(one, one_run), table_of(other, other_run)
    assert list(left.columns) == list(right.columns)
    for name, column in left.columns.items():
        assert column.dtype == right.columns[name].dtype, name
        np.testing.assert_array_equal(column, right.columns[name], err_msg=name)
    np.testing.assert_array_equal(left.target, right.target)
    np.testing.assert_array_equal(left.record, right.record)
    assert (np.diff(left.record) > 0).all()


@pytest.mark.parametrize("width", [2, 7, 64])
def test_the_outcome_does_not_depend_on_the_cut(width: int) -> None:
    whole, cut = World(), World(width=width)
    one, many = whole.prepare(CARS), cut.prepare(CARS)
    assert len(list(cut.artifacts.list(keys.blocks(many)))) > 1
    for key in (keys.profile, keys.schema):
        assert whole.artifacts.get(key(one)) == cut.artifacts.get(key(many))
    assert table_of(cut, many).record.tolist() == list(range(120))
    assert_same_tables(whole, one, cut, many)


MESSY = (
    "name,text,price\r\n"
    + "".join(
        f'n{n},"é€𝄞 ""{n}"",\r\nsecond\nthird",{n * 7}\r\n' if n % 3 else f'n{n},pl"ain,{n * 7}\r\n'
        for n in range(400)
    )
    + 'x,"open,1\r\n'
    + "".join(f"m{n},ü,{n}\r\n" for n in range(50))
).encode()
"""Quoted line breaks, characters of several bytes, CRLF, stray quotes, and a quote that is never closed."""


@pytest.mark.parametrize("width", [1, 2, 7, 64])
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_a_file_looked_through_in_parallel_is_the_file_read_in_one_go(width: int, compressed: bool) -> None:
    one, many = World(), World(width=width, tickets=3)
    whole = one.prepare(MESSY)
    run_id = many.upload(gzip.compress(MESSY) if compressed else MESSY).run_id
    many.fan_out(run_id, "scan", "token-scan")
    outcomes = many.work_all()
    assert outcomes.count("done") == (0 if compressed or width == 1 else width)
    assert many.tasks.answers["token-scan"][0] == "success"
    many.fan_out(run_id, "profile", "token-profile")
    many.work_all()
    many.decide(run_id)
    many.fan_out(run_id, "convert", "token-convert")
    many.work_all()
    many.collect(run_id)
    chunks = artifacts(many).json(keys.layout(run_id))["chunks"]
    assert width // 2 < len(chunks) <= max(width, 1) + 1
    for key in (keys.profile, keys.schema):
        assert one.artifacts.get(key(whole)) == many.artifacts.get(key(run_id))
    assert_same_tables(one, whole, many, run_id)
    rejects = [
        b"".join(w.artifacts.get(key) for key in w.artifacts.list(keys.rejects_prefix(r)))
        for w, r in ((one, whole), (many, run_id))
    ]
    assert rejects[0] == rejects[1]
    assert rejects[0].count(b"\n") == 1


def test_looking_through_a_file_again_changes_nothing(world: World) -> None:
    world.width = 5
    run_id = world.upload(MESSY).run_id
    world.fan_out(run_id, "scan", "t1")
    first = stream(world).take()
    world.fan_out(run_id, "scan", "t2")  # the function's answer was lost
    assert [world.work(record) for record in first] == ["done"] * 5
    assert world.tasks.answers["t2"][0] == "success"
    assert world.work_all() == ["unwanted"] * 5
    layout = world.fan_out(run_id, "profile", "t3")
    assert world.fan_out(run_id, "scan", "t4") == layout, "with a layout there is nothing to look for"
    assert world.tasks.answers["t4"][0] == "success"


def test_a_worker_reads_its_range_and_little_else(world: World) -> None:
    world.width = 4
    run_id = world.upload(MESSY).run_id
    world.fan_out(run_id, "scan", "t1")
    assert isinstance(world.data, MemoryObjectStore)
    for record in stream(world).take():
        world.data.reads.clear()
        world.work(record)
        ((_, start, end),) = world.data.reads
        assert end is not None
        assert end - (start or 0) <= len(MESSY) // 4 + 8


@pytest.mark.parametrize(
    "encoded",
    [
        gzip.compress(CARS),
        CARS.decode().encode("utf-16"),
        gzip.compress(CARS.decode().encode("utf-16")),
    ],
    ids=["gzip", "utf-16", "utf-16 in gzip"],
)
def test_a_file_that_cannot_be_cut_is_rewritten_once(world: World, encoded: bytes) -> None:
    world.width = 3
    run_id = world.prepare(encoded)
    run = world.runs.get(run_id)
    assert (run.rows_kept, run.target) == (120, "price")
    assert artifacts(world).get(keys.source(run_id)) == CARS
    layout = artifacts(world).json(keys.layout(run_id))
    assert (layout["bucket"], layout["key"]) == ("artifacts", keys.source(run_id))
    assert 3 <= len(layout["chunks"]) <= 4


def test_a_file_in_another_encoding_is_read_where_it_lies(world: World) -> None:
    text = "name,age\n" + "".join(f"Zoë {n},{n * 7}\n" for n in range(50))
    run_id = world.prepare(text.encode("cp1252"))
    run = world.runs.get(run_id)
    assert run.rows_kept == 50
    assert any("Windows-1252" in warning for warning in run.warnings)
    assert keys.source(run_id) not in set(artifacts(world).list(""))


def test_more_columns_than_a_run_takes_are_refused_before_the_file_is_cut(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fan_out_module, "MAX_COLUMNS", 2)
    run_id = world.upload(CARS).run_id
    for pass_name in ("scan", "profile"):
        with pytest.raises(TooLarge) as caught:
            world.fan_out(run_id, pass_name, "t1")  # type: ignore[arg-type]
        assert caught.value.code == "columns-too-many"
        assert "3 columns" in caught.value.what
    assert stream(world).records == []


def test_more_chunks_than_a_run_takes_are_refused_before_the_file_is_cut(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fan_out_module, "MAX_CHUNKS", 3)
    world.max_chunk_bytes = len(CARS) // 4
    for key, data in (("a", CARS), ("b", gzip.compress(CARS))):
        run_id = world.upload(data, f"datasets/{key}/x.csv").run_id
        with pytest.raises(TooLarge) as caught:
            world.fan_out(run_id, "scan", "t1")
        assert caught.value.code == "chunks-too-many"
    assert stream(world).records == []


BAD_FILES = {
    "header only": (b"a,b\n", "no-rows", "rows"),
    "one column": (b"a\n" + b"1\n2\n" * 30, "no-features", "column"),
    "binary": (bytes(range(256)) * 40, "file-binary", "CSV"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(400), "file-binary", "PNG"),
    "wrong encoding": (("имя,возраст\n" + "Анна,5\n" * 60).encode("cp1251"), "encoding-unknown", "UTF-8"),
    "damaged gzip": (gzip.compress(CARS)[:-40] + bytes(40), "gzip-", "gzip"),
    "truncated gzip": (gzip.compress(CARS)[:200], "gzip-truncated", "again"),
    "gzip of nothing": (gzip.compress(b""), "file-empty", "empty"),
    "blank lines": (b"\n\n\n", "file-empty", "empty"),
    "constant target": (b"a,target\n" + b"".join(b"%d,7\n" % n for n in range(60)), "", "target"),
    "missing target": (b"a,target\n" + b"".join(b"%d,\n" % n for n in range(60)), "", "target"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_fails_the_run_with_a_sentence(world: World, name: str) -> None:
    data, code, says = BAD_FILES[name]
    run_id = world.upload(data).run_id
    with pytest.raises(BadInput) as caught:
        world.fan_out(run_id, "profile", "t1")
        world.work_all()
        world.decide(run_id)
    assert caught.value.code.startswith(code)
    assert says in str(caught.value)
    assert caught.value.remedy
    assert world.data.get("datasets/cars/cars.csv") == data, "the upload stays"


def test_a_compressed_file_is_held_to_the_limit_of_what_it_unpacks_to(world: World) -> None:
    world.max_file_bytes = 100_000
    run_id = world.upload(gzip.compress(CARS + b"red,3,4\n" * 100_000)).run_id
    with pytest.raises(TooLarge) as caught:
        world.fan_out(run_id, "profile", "t1")
    assert caught.value.code == "inflated-too-large"
    assert "MaxFileBytes" in caught.value.remedy


RAGGED = CARS + b"red\nred,3,4,5\n" + b'green,4,"open\n' + b"blue,2,77\n"


def test_ragged_records_are_kept_apart_with_their_lines(world: World) -> None:
    world.width = 3
    run_id = world.prepare(RAGGED)
    run = world.runs.get(run_id)
    assert (run.rows_read, run.rows_kept, run.rows_rejected) == (124, 121, 3)
    assert run.rejects == f"s3://artifacts/{keys.rejects_prefix(run_id)}"
    assert any("3 of 124 records are rejected" in warning for warning in run.warnings)
    lines = [
        json.loads(line)
        for key in artifacts(world).list(keys.rejects_prefix(run_id))
        for line in artifacts(world).text(key).splitlines()
    ]
    assert [(reject["line"], reject["record"]) for reject in lines] == [
        (122, "red\n"),
        (123, "red,3,4,5\n"),
        (124, 'green,4,"open\n'),
    ]


def test_a_wide_table_of_many_warnings_fits_the_runs_record(world: World) -> None:
    names = ",".join(f"measurement_number_{number:04d}" for number in range(1200))
    lines = [",".join([cell] * 1200) + f",{row}.5\n" for row, cell in enumerate(["1", "NA", "2", "3"] * 5)]
    run_id = world.prepare(f"{names},target\n{''.join(lines)}".encode())
    warnings = world.runs.get(run_id).warnings
    schema = read_schema(run_id, world.artifacts)
    assert len(schema.warnings) > 1200
    assert warnings[0] == schema.warnings[0]
    assert f"{len(schema.warnings) - len(warnings) + 1} more warnings" in warnings[-1]
    assert sum(map(len, warnings)) < 66_000


def test_a_file_that_is_refused_after_it_was_read_says_what_was_read(world: World) -> None:
    constant = b"a,target\n" + b"".join(b"%d,7\n" % n for n in range(60)) + b"1,7,8\n"
    run_id = world.upload(constant).run_id
    world.fan_out(run_id, "profile", "t1")
    world.work_all()
    with pytest.raises(BadInput):
        world.decide(run_id)
    run = world.runs.get(run_id)
    assert (run.rows_read, run.rows_kept, run.rows_rejected) == (61, 60, 1)
    assert run.rejects is not None
    key = next(iter(artifacts(world).list(run.rejects.removeprefix("s3://artifacts/"))))
    reject = json.loads(artifacts(world).get(key))
    assert (reject["line"], reject["record"]) == (62, "1,7,8\n")


def test_too_many_rejects_stop_the_run_and_are_kept(world: World) -> None:
    world.max_reject_share = 0.02
    with pytest.raises(BadInput) as caught:
        world.prepare(RAGGED)
    assert caught.value.code == "too-many-rejects"
    assert "3 of 124" in str(caught.value)
    run = world.runs.list()[0][0]
    assert run.rows_rejected == 3
    assert run.rejects is not None
    assert run.rejects in str(caught.value)
    assert "train" not in world.runs.get(run.run_id).progress


def test_a_lost_record_is_a_fault_and_never_silent() -> None:
    from millrace.contracts import ChunkOutcome

    with pytest.raises(RuntimeError, match="5 read, 3 are kept and 1 rejected"):
        add_up([ChunkOutcome(0, 2, 2, 0), ChunkOutcome(1, 3, 1, 1)])


def test_cleared_cells_are_listed(world: World) -> None:
    weights = b"".join(b"%d.5,%d\n" % (number * 3, number * 7) for number in range(400))
    run_id = world.prepare(b"weight,price\n" + weights + b"heavy,5000\n")
    assert [outcome.cells_cleared for outcome in world.outcomes(run_id)] == [1]
    (key,) = artifacts(world).list(keys.run(run_id, "cleared/"))
    assert json.loads(artifacts(world).get(key)) == {"line": 402, "column": "weight", "value": "heavy"}


def test_two_fan_outs_have_the_same_chunks(world: World) -> None:
    world.width = 4
    run_id = begun(world)
    world.width = 1  # the stack's shards were changed in between
    layout = world.fan_out(run_id, "profile", "t2")
    assert len(layout.chunks) == 4


def test_a_repeated_fan_out_goes_on_under_the_new_token(world: World) -> None:
    world.width = 3
    run_id = begun(world)
    old = stream(world).take()
    assert world.work(old[0]) == "done"
    world.fan_out(run_id, "profile", "t2")
    assert sorted(world.work_all()) == ["done", "done", "replayed"]
    assert list(world.tasks.answers) == ["t2"]


def test_a_fan_out_that_the_stream_refuses_can_be_repeated(world: World) -> None:
    run_id = world.upload(CARS).run_id
    stream(world).failures.append(TransientError("full", code="stream-throttled"))
    with pytest.raises(TransientError):
        world.fan_out(run_id, "profile", "t1")
    world.fan_out(run_id, "profile", "t2")
    assert world.work_all() == ["done"]
    assert world.tasks.answers["t2"][0] == "success"


def test_fan_out_says_which_pass_the_run_is_in(world: World) -> None:
    run_id = begun(world)
    assert world.runs.get(run_id).state == "PROFILING"


def test_each_record_twice_is_each_record_once(world: World) -> None:
    world.width = 3
    run_id = begun(world)
    records = stream(world).take()
    answers = [world.work(record) for record in [*records, *records]]
    # The task has its answer after the third; from then on nobody waits.
    assert answers == ["done"] * 3 + ["unwanted"] * 3
    assert world.runs.get(run_id).progress["profile"].done == 3
    assert world.tasks.late == []


def test_a_record_delivered_twice_in_a_row_is_worked_on_once(world: World) -> None:
    world.width = 3
    run_id = begun(world)
    records = stream(world).take()
    answers = [world.work(record) for record in records for _ in range(2)]
    assert answers == ["done", "replayed", "done", "replayed", "done", "unwanted"]
    assert world.runs.get(run_id).progress["profile"].done == 3


def test_a_worker_that_dies_before_it_counts_is_no_loss(world: World) -> None:
    begun(world)
    (record,) = stream(world).take()
    assert isinstance(world.runs, MemoryRunStore)
    world.runs.failures.append(TransientError("throttled", code="service-unavailable"))
    with pytest.raises(TransientError):
        world.work(record)
    assert world.work(record) == "replayed"
    assert world.tasks.answers["t1"][0] == "success"


def test_a_worker_that_dies_before_it_answers_is_no_loss(world: World) -> None:
    begun(world)
    (record,) = stream(world).take()
    world.tasks.failures.append(TransientError("throttled", code="service-unavailable"))
    with pytest.raises(TransientError):
        world.work(record)
    assert "t1" not in world.tasks.answers
    assert world.work(record) == "replayed"
    assert world.tasks.answers["t1"][0] == "success"


def test_two_workers_on_one_chunk_agree(world: World) -> None:
    run_id = begun(world)
    (record,) = stream(world).take()
    # The other worker's result is there by the time that ours is written.
    store = artifacts(world)
    key = keys.part(run_id, "profile", 0)
    looked = store.head

    def head(name: str, *, version_id: str | None = None) -> object:
        if name == key:
            raise NotFound("not yet", code="not-found")
        return looked(name, version_id=version_id)

    store.add(key, b'{"theirs": true}')
    store.head = head  # type: ignore[assignment, method-assign]
    assert world.work(record) == "done"
    assert store.get(key) == b'{"theirs": true}'
    assert world.tasks.answers["t1"][0] == "success"


def test_a_worker_that_wakes_up_a_pass_later_does_not_write_over_the_rejects(world: World) -> None:
    class Held(MemoryObjectStore):
        held: Callable[[], str] | None = None

        def put(self, key: str, data: bytes, **how: Any) -> str:
            if "/rejects/" in key and self.held is None:
                self.held = functools.partial(super().put, key, data, **how)
                return ""
            return super().put(key, data, **how)

    world.artifacts = store = Held("artifacts")
    run_id = world.prepare(CARS + b"red,2,1000,one too many\nblue,4,\n")
    rejects = store.text(keys.rejects(run_id, 0))
    assert len(rejects.splitlines()) == 2, "the second has no target, which only convert can know"
    assert store.held is not None
    with contextlib.suppress(Conflict):
        store.held()
    assert store.text(keys.rejects(run_id, 0)) == rejects


def test_nobody_works_on_a_pass_that_is_over(world: World) -> None:
    world.width = 3
    run_id = begun(world)
    first, *others = stream(world).take()
    world.tasks.fail("t1", "States.Timeout", "")
    assert [world.work(record) for record in (first, *others)] == ["unwanted"] * 3
    assert world.runs.get(run_id).progress["profile"].done == 0


def test_input_that_is_wrong_fails_the_task_at_once(world: World) -> None:
    run_id = begun(world)
    (record,) = stream(world).take()
    layout = artifacts(world).json(keys.layout(run_id))
    artifacts(world).put(keys.layout(run_id), json.dumps(layout | {"names": 3}).encode())
    assert world.work(record) == "refused"
    kind, error, cause = world.tasks.answers["t1"]
    assert (kind, error) == ("failure", "BadInput")
    assert json.loads(cause)["code"] == "field-type"
    stored = decode(RunError, artifacts(world).json(keys.chunk_error(run_id, "profile", 0)))
    assert stored.message == json.loads(cause)["errorMessage"]


def test_a_source_that_is_gone_fails_the_task_at_once(world: World) -> None:
    begun(world)
    (record,) = stream(world).take()
    world.data.delete("datasets/cars/cars.csv")
    assert world.work(record) == "refused"
    assert world.tasks.answers["t1"][1] == "NotFound"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TransientError("busy", code="service-unavailable"), TransientError),
        (ZeroDivisionError("division by zero"), ZeroDivisionError),
    ],
    ids=["transient", "unforeseen"],
)
def test_what_may_succeed_later_is_stored_and_raised(
    world: World, error: Exception, kind: type[Exception]
) -> None:
    run_id = begun(world)
    (record,) = stream(world).take()

    class Failing(MemoryObjectStore):
        def get(self, *_: object, **__: object) -> bytes:
            raise error

    working, world.data = world.data, Failing("data")
    with pytest.raises(kind):
        world.work(record)
    stored = artifacts(world).json(keys.chunk_error(run_id, "profile", 0))
    assert stored["type"] == kind.__name__
    assert stored["stage"] == "profile"
    assert world.tasks.answers == {}
    world.data = working
    assert world.work(record) == "done"


def test_an_error_that_cannot_be_stored_is_still_raised(world: World) -> None:
    begun(world)
    (record,) = stream(world).take()
    artifacts(world).failures += [
        TransientError("first", code="service-unavailable"),
        TransientError("second", code="service-unavailable"),
    ]
    with pytest.raises(TransientError, match="first") as caught:
        world.work(record)
    assert "second" in caught.value.__notes__[0]


def test_a_misconfigured_worker_does_not_retry(world: World) -> None:
    begun(world)
    (record,) = stream(world).take()
    artifacts(world).failures.append(Misconfigured("no access", code="aws-refused"))
    assert world.work(record) == "refused"
    assert world.tasks.answers["t1"][1] == "Misconfigured"


def test_heartbeats_are_sent_by_fan_out_and_by_workers(world: World) -> None:
    begun(world)
    world.work_all()
    assert world.tasks.heartbeats == ["t1", "t1"]


def test_workers_read_their_range_only(world: World) -> None:
    world.width = 4
    run_id = begun(world)
    assert isinstance(world.data, MemoryObjectStore)
    world.data.reads.clear()
    records = stream(world).take()
    for record in records:
        world.work(record)
    chunks = artifacts(world).json(keys.layout(run_id))["chunks"]
    assert [(start, end) for _, start, end in world.data.reads] == [(c["start"], c["end"]) for c in chunks]
    assert [decode_descriptor(record).chunk for record in records] == [0, 1, 2, 3]
    assert chunks[-1]["end"] == len(CARS)


@pytest.mark.parametrize(
    ("size", "width", "minimum", "maximum", "expected"),
    [
        (1000, 4, 1, 10_000, 250),
        (1001, 4, 1, 10_000, 251),
        (1000, 4, 400, 10_000, 400),
        (1000, 4, 1, 100, 84),
        (1, 4, 1, 100, 1),
        (10**9, 10, 2**20, 2**26, 50_000_000),
    ],
)
def test_chunks_fill_the_workers_rounds(
    size: int, width: int, minimum: int, maximum: int, expected: int
) -> None:
    assert chunk_bytes(size, width, minimum, maximum) == expected


@pytest.mark.parametrize("name", ["iris", "attrition", "chile_vote"])
def test_a_real_table_keeps_every_row(shared_data: Path, name: str) -> None:
    (path,) = (shared_data / "ml" / name).glob("train.csv*")
    data = path.read_bytes()
    world = World(width=5, max_file_bytes=1 << 30)
    run_id = world.prepare(data)
    run = world.runs.get(run_id)
    plain = gzip.decompress(data) if path.suffix == ".gz" else data
    assert run.rows_read == len(plain.splitlines()) - 1
    assert (run.rows_kept or 0) + (run.rows_rejected or 0) == run.rows_read


def test_the_spec_says_how_many_rejects_are_let_through(world: World) -> None:
    world.max_reject_share = 0.02
    world.data.put("datasets/cars/spec.json", b'{"max_reject_share": 0.1}')
    run_id = world.prepare(RAGGED)
    assert world.runs.get(run_id).rows_rejected == 3


def test_the_spec_says_what_share_of_values_makes_a_type(world: World) -> None:
    lines = b"".join(b"%d.5,%d\n" % (number % 40, number % 2) for number in range(95)) + b"heavy,1\n" * 5
    run_id = world.prepare(b"weight,label\n" + lines, "datasets/a/a.csv")
    assert read_schema(run_id, world.artifacts).column("weight").type != "number"
    world = World()
    world.data.put("datasets/b/spec.json", b'{"fit_share": 0.9}')
    run_id = world.prepare(b"weight,label\n" + lines, "datasets/b/b.csv")
    assert read_schema(run_id, world.artifacts).column("weight").type == "number"
    assert sum(outcome.cells_cleared for outcome in world.outcomes(run_id)) == 5


def test_records_that_were_not_profiled_are_a_fault(world: World) -> None:
    world.width = 2
    run_id = begun(world)
    world.work_all()
    key = keys.part(run_id, "profile", 0)
    part = json.loads(artifacts(world).get(key))
    artifacts(world).put(key, json.dumps({**part, "rows": part["rows"] - 1}).encode())
    with pytest.raises(RuntimeError, match="Chunk 0 has"):
        world.decide(run_id)


def test_rejects_come_back_as_a_file_that_can_be_corrected(world: World) -> None:
    lines = [f"{number};{number % 2};caf\u00e9\n".encode("cp1252") for number in range(60)]
    odd = [b"7;1\n", b"8;x;y;z\n", b";1;caf\xe9\n"]
    for place, line in zip((10, 30, 50), odd, strict=True):
        lines.insert(place, line)
    world.data.put("datasets/cars/spec.json", b'{"target": "size"}')
    world.width, world.max_reject_share = 4, 1.0
    run_id = world.prepare(b"size;kind;name\n" + b"".join(lines))
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = read_rejects(run_id, world.artifacts, cursor)
        found += page.rejects
        cursor = page.next
        if cursor is None:
            break
    run = world.runs.get(run_id)
    assert (run.rows_read, run.rows_kept, run.rows_rejected) == (63, 60, 3)
    assert [reject["line"] for reject in found] == [12, 32, 52]
    assert [reject["column"] for reject in found] == ["", "", "size"]
    text = page.header + "".join(reject["record"] for reject in found)
    assert text.encode(page.encoding, "surrogateescape") == b"size;kind;name\n" + b"".join(odd)
    source = b"size;kind;name\n" + b"".join(lines)
    assert [source[r["offset"] :].split(b"\n")[0] + b"\n" for r in found] == odd
    for cursor in ("x", "0:5", "0:999999"):  # no number, within a line, behind the end
        with pytest.raises(BadInput, match="no cursor"):
            read_rejects(run_id, world.artifacts, cursor)
    with pytest.raises(NotFound):
        read_rejects("nobody", world.artifacts)
