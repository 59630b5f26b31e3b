"""A file to score, from its upload to the result beside it."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace import keys, plan
from millrace.contracts import Chunk, Dialect, Layout, Run, ScoreSpec
from millrace.errors import BadInput, NotFound, TransientError, Unprocessable
from millrace.runs.ingest import Upload, score_file
from millrace.runs.score import match_names, result_names, score_columns, write_part
from millrace.scoring.blocks import BlockScorer
from millrace.scoring.rows import RowScorer
from tests import plans
from tests.fakes import MemoryObjectStore, MemoryRunStore, MemoryStream
from tests.world import World

ROWS = "id,age,city\n007,10,Bern\n008,,Köln\n009,30,\n".encode()
KEY = "score/demo/new rows.csv"


@pytest.fixture
def world() -> World:
    world = World()
    world.register(plans.binary())
    return world


def put(world: World, data: bytes, key: str = KEY, metadata: Mapping[str, str] | None = None) -> Run:
    assert isinstance(world.data, MemoryObjectStore)
    world.data.add(key, data, metadata)
    run = world.ingest(key)
    assert run is not None
    return run


def read(world: World, uri: str) -> bytes:
    return world.data.get(uri.removeprefix("s3://data/"))


def table(data: bytes, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter))


def lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def test_a_file_comes_back_with_predictions_in_its_order(world: World) -> None:
    run = put(world, ROWS)
    assert (run.state, run.kind, run.model, run.version) == ("QUEUED", "score", "demo", 1)
    started = {"run_id": run.run_id, "kind": "score", "size_bytes": run.size_bytes}
    assert world.executions.started == {f"{run.run_id}-1": started}
    result = world.score(run.run_id)
    assert result == "s3://data/scored/demo/new rows.csv"
    head, *body = table(read(world, result))
    assert head == ["id", "age", "city", "prediction", "probability:no", "probability:yes"]
    assert [row[:4] for row in body] == [
        ["007", "10", "Bern", "no"],
        ["008", "", "Köln", "yes"],
        ["009", "30", "", "yes"],
    ]
    yes = [plans.logistic(0.0), plans.logistic(1.0), plans.logistic(3.0)]
    assert [float(row[5]) for row in body] == yes
    done = world.runs.get(run.run_id)
    assert (done.state, done.rows_read, done.rows_scored, done.rows_rejected) == ("SUCCEEDED", 3, 3, 0)
    assert (done.result, done.rejects) == (result, None)
    assert done.report == f"{result}.report.json"
    report = json.loads(read(world, done.report))
    assert (report["version"], report["rows_scored"], report["not_used"]) == (1, 3, ["id"])
    assert {"code": "missing", "field": "age", "rows": 1} in report["warnings"]
    assert read(world, report["rejects"]) == b""


MISFITS = (
    b"id,age,city\n"
    b"1,old,Bern\n"  # POST /predict refuses it
    b"2,20,Bern\n"
    b"3,20\n"  # too few fields
    b'4,20,"Bern\n'  # never closed
    b"5,NA,Atlantis\n"  # missing and unseen: scored
    b"6,1e999,Bern\n"
)


@pytest.mark.parametrize("width", [1, 3, 6])
def test_every_record_is_scored_or_rejected_with_its_reason(world: World, width: int) -> None:
    world.width = width
    run = put(world, MISFITS)
    result = world.score(run.run_id)
    assert [row[0] for row in table(read(world, result))[1:]] == ["2", "5"]
    done = world.runs.get(run.run_id)
    assert (done.rows_read, done.rows_scored, done.rows_rejected) == (6, 2, 4)
    assert done.rejects == f"{result}.rejects.jsonl"
    rejects = lines(read(world, done.rejects))
    assert [(reject["line"], reject["column"], reject["record"]) for reject in rejects] == [
        (2, "age", "1,old,Bern\n"),
        (4, "", "3,20\n"),
        (5, "", '4,20,"Bern\n'),
        (7, "age", "6,1e999,Bern\n"),
    ]
    assert rejects[0]["reason"] == "'old' is not a finite number"
    assert "too few fields" in rejects[1]["reason"]
    warned = {
        (w["code"], w["field"]): w["rows"] for w in json.loads(read(world, done.report or ""))["warnings"]
    }
    assert warned == {("missing", "age"): 1, ("unseen", "city"): 1}
    assert any("4 of 6 records are rejected" in warning for warning in done.warnings)


def test_strict_rejects_what_would_be_a_warning(world: World) -> None:
    run = put(world, MISFITS, metadata={"score": '{"strict": true}'})
    world.score(run.run_id)
    done = world.runs.get(run.run_id)
    assert (done.rows_scored, done.rows_rejected) == (1, 5)
    rejects = lines(read(world, done.rejects or ""))
    assert (rejects[3]["column"], rejects[3]["reason"]) == ("age", "The field 'age' has no value")


def test_a_file_of_which_nothing_can_be_scored_fails_and_says_where_the_reasons_lie(world: World) -> None:
    run = put(world, b"age,city\nold,Bern\n")
    with pytest.raises(BadInput) as caught:
        world.score(run.run_id)
    assert caught.value.code == "too-many-rejects"
    done = world.runs.get(run.run_id)
    assert (done.rows_read, done.rows_scored, done.rows_rejected) == (1, 0, 1)
    assert len(lines(read(world, done.rejects or ""))) == 1


def test_the_outcome_does_not_depend_on_the_cut(world: World) -> None:
    data = b"id,age,city\n" + b"".join(
        b'%d,%s,"K\xc3\xb6ln"\n' % (n, b"x" if n % 17 == 3 else b"%d" % n) for n in range(200)
    )
    outcomes = []
    for width in (1, 7):
        world.width = width
        run = put(world, data)
        uri = world.score(run.run_id)
        rejects = world.runs.get(run.run_id).rejects or ""
        outcomes.append((read(world, uri), read(world, rejects)))
        assert world.runs.get(run.run_id).progress["score"].total == width
    assert outcomes[0] == outcomes[1]


def test_a_compressed_file_in_another_dialect_comes_back_plain(world: World) -> None:
    run = put(
        world,
        gzip.compress('age;city;"my; note"\n10;Bern;"a; ""b"""\n'.encode("utf-16")),
        "score/demo/x.csv.gz",
    )
    result = world.score(run.run_id)
    assert result == "s3://data/scored/demo/x.csv"
    head, row = table(read(world, result), ";")
    assert head[:3] == ["age", "city", "my; note"]
    assert row[:4] == ["10", "Bern", 'a; "b"', "no"]


def test_parquet_has_the_models_types_and_leaves_keys_alone(world: World) -> None:
    run = put(world, ROWS, metadata={"score": '{"format": "parquet"}'})
    world.width = 3
    result = world.score(run.run_id)
    assert result == "s3://data/scored/demo/new rows.parquet"
    made = pq.read_table(io.BytesIO(read(world, result))).to_pydict()
    assert made["id"] == ["007", "008", "009"]
    assert made["age"] == [10.0, None, 30.0]
    assert made["city"] == ["Bern", "Köln", None]
    assert made["prediction"] == ["no", "yes", "yes"]
    assert made["probability:yes"] == [plans.logistic(0.0), plans.logistic(1.0), plans.logistic(3.0)]


def test_parts_without_a_scored_row_are_no_matter(world: World) -> None:
    world.width = 3
    for asked in ({}, {"score": '{"format": "parquet"}'}):
        run = put(world, b"age,city\nold,Bern\n1,Bern\nold,Bern\n", metadata=asked)
        world.score(run.run_id)
        assert world.runs.get(run.run_id).rows_scored == 1


def test_only_the_columns_that_are_to_be_kept_stand_in_the_result(world: World) -> None:
    world.data.put("score/demo/score.json", b'{"keep": ["city", "id"]}')
    run = put(world, ROWS)
    assert table(read(world, world.score(run.run_id)))[1] == ["Bern", "007", "no", "0.5", "0.5"]
    other = put(world, ROWS, metadata={"score": '{"keep": []}'})
    assert table(read(world, world.score(other.run_id)))[1] == ["no", "0.5", "0.5"]


def test_the_version_is_pinned_when_the_run_is_opened(world: World) -> None:
    run = put(world, ROWS)
    assert world.register(plans.binary(intercept=5.0)) == 2
    assert world.ingest(KEY) == run, "a repeated event changes nothing"
    result = read(world, world.score(run.run_id))
    assert float(table(result)[1][5]) == 0.5
    asked = put(world, ROWS, metadata={"score": '{"version": 1}'})
    assert (asked.version, put(world, ROWS).version) == (1, 2)


def test_the_same_file_again_is_scored_again(world: World) -> None:
    first, second = put(world, ROWS), put(world, ROWS)
    assert first.run_id != second.run_id
    assert second.state == "QUEUED"
    world.score(first.run_id)
    assert world.runs.last_success("demo") is None, "what scores is no training that a later file is like"


@pytest.mark.parametrize(
    ("key", "metadata", "code"),
    [
        pytest.param("score/rows.csv", {}, "model-missing", id="no-folder"),
        pytest.param("score/nobody/rows.csv", {}, "model-unknown", id="no-model"),
        pytest.param("score/a b/rows.csv", {}, "model-unknown", id="no-name"),
        pytest.param(KEY, {"score": '{"version": 9}'}, "version-unknown", id="no-version"),
        pytest.param(KEY, {"score": '{"alias": "stage"}'}, "model-unknown", id="no-alias"),
        pytest.param(KEY, {"score": '{"alias": "../live"}'}, "spec-invalid", id="bad-alias"),
        pytest.param(KEY, {"score": '{"format": "xlsx"}'}, "spec-invalid", id="format"),
        pytest.param(KEY, {"score": '{"keep": ["id", "id"]}'}, "spec-invalid", id="twice"),
        pytest.param(KEY, {"score": '{"version": 0}'}, "spec-invalid", id="version"),
        pytest.param(KEY, {"score": "{"}, "spec-invalid", id="no-json"),
    ],
)
def test_what_cannot_be_scored_fails_when_it_is_opened(
    world: World, key: str, metadata: dict[str, str], code: str
) -> None:
    run = put(world, ROWS, key, metadata)
    assert run.state == "FAILED"
    assert run.error is not None and run.error.code == code
    assert world.executions.started == {}


@pytest.mark.parametrize("key", ["score/demo/score.json", "score/demo/", "scored/demo/x.csv"])
def test_what_is_no_file_to_score_opens_no_run(world: World, key: str) -> None:
    world.data.put(key, b"{}")
    assert world.ingest(key) is None


def test_a_file_without_a_column_of_the_models_is_refused_by_name(world: World) -> None:
    run = put(world, b"id,city\n1,Bern\n")
    with pytest.raises(BadInput) as caught:
        world.fan_out(run.run_id, "score", "t")
    assert caught.value.code == "columns-missing"
    assert "'age'" in str(caught.value)


def test_without_a_header_the_columns_count(world: World) -> None:
    run = put(world, b"2,Bern\n1,Bern\n3,Bern\n")
    result = table(read(world, world.score(run.run_id)))
    assert result[0][:2] == ["age", "city"]
    assert len(result) == 4
    with pytest.raises(BadInput) as caught:
        match_names(["column_1"], False, plans.SIGNATURE, "s3://data/x")
    assert caught.value.code == "header-missing"


def test_a_kept_column_that_is_not_there_is_refused(world: World) -> None:
    run = put(world, ROWS, metadata={"score": '{"keep": ["key"]}'})
    with pytest.raises(BadInput) as caught:
        world.fan_out(run.run_id, "score", "t")
    assert caught.value.code == "column-unknown"


def test_names_of_the_result_are_unique() -> None:
    made = plan.read(plans.binary(classes=("a", "b")))
    assert result_names(["prediction", "probability:a"], made) == [
        "prediction",
        "probability:a",
        "prediction_2",
        "probability:a_2",
        "probability:b",
    ]


def test_a_model_with_intervals_says_them_of_each_row(world: World) -> None:
    world.register(plans.regression(interval={"level": 0.9, "below": -1.0, "above": 2.0}), "price")
    run = put(world, b"age,city\n10,Bern\n", "score/price/x.csv")
    head, row = table(read(world, world.score(run.run_id)))
    assert head[2:] == ["prediction", "prediction:low", "prediction:high"]
    assert [float(cell) for cell in row[2:]] == [0.0, -1.0, 2.0]


def test_a_chunk_delivered_twice_and_a_worker_that_died_are_no_loss(world: World) -> None:
    world.width = 100
    run = put(world, b"age,city\n1,Bern\n2,Bern\n3,Bern\n")
    world.fan_out(run.run_id, "score", "t1")
    assert isinstance(world.stream, MemoryStream) and isinstance(world.runs, MemoryRunStore)
    first, second, third = world.stream.take()
    assert [world.work(record) for record in (first, first)] == ["done", "replayed"]
    world.runs.failures.append(TransientError("throttled", code="service-unavailable"))
    with pytest.raises(TransientError):
        world.work(second)
    world.fan_out(run.run_id, "score", "t2")  # the execution was started anew
    assert world.work_all() == ["replayed", "replayed", "done"]
    assert world.tasks.answers["t2"][0] == "success"
    assert world.work(third) == "replayed"


def test_a_plan_that_is_gone_fails_the_task_at_once(world: World) -> None:
    run = put(world, ROWS)
    world.artifacts.delete(keys.version("demo", 1, "version.json"))
    with pytest.raises(NotFound):
        world.fan_out(run.run_id, "score", "t")


def test_a_file_that_lies_there_already_is_scored_when_asked_for(world: World) -> None:
    world.data.put("datasets/demo/old.csv", ROWS)

    def ask(**options: Any) -> Run:
        return score_file(
            "demo",
            Upload("data", "datasets/demo/old.csv"),
            options,
            data=world.data,
            artifacts=world.artifacts,
            runs=world.runs,
            executions=world.executions,
            max_file_bytes=1 << 20,
        )

    run = ask()
    assert ask() == run
    assert ask(format="parquet").run_id != run.run_id
    assert world.score(run.run_id) == "s3://data/scored/demo/datasets/demo/old.csv"
    with pytest.raises(BadInput) as caught:
        score_file(
            "demo",
            Upload("elsewhere", "score/demo/x.csv"),
            {},
            data=world.data,
            artifacts=world.artifacts,
            runs=world.runs,
            executions=world.executions,
            max_file_bytes=1 << 20,
        )
    assert caught.value.code == "file-elsewhere"


SIGNATURE: list[dict[str, Any]] = [
    {"name": "n", "type": "number", "minimum": 0.0, "maximum": 3.0},
    {"name": "d", "type": "number", "format": "decimal-comma"},
    {"name": "b", "type": "boolean"},
    {"name": "t", "type": "time", "format": "%d.%m.%Y"},
    {"name": "c", "type": "category", "categories": ["x", "1"]},
    {"name": "w", "type": "text"},
]
CELLS = ["", " ", "1", " 1.5", "-0", "+2", "1e5", "1e400", "1_0", "nan", "inf", "-inf", "NA", "?", "1,5"]
CELLS += ["x", "y", "true", "no", "31.12.2020", "2020-12-31", "2020-12-31T01:02:03Z", "31.02.2020", "\u0663"]
CELLS += [".5", "5.", "0x1"]


class Echo:
    """Scores by the sum of what it is given: the same by rows and by blocks, and every value counts."""

    def score(self, columns: Mapping[str, Any]) -> Any:
        import numpy as np

        rows = len(columns["n"])
        total = np.zeros(rows)
        for number, described in enumerate(SIGNATURE):
            for row, value in enumerate(columns[described["name"]].tolist()):
                total[row] += (number + 1) * _weight(value)
        return total


def _weight(value: Any) -> float:
    if value is None or value != value:
        return 0.25
    return float(len(value) + ord(value[0])) if isinstance(value, str) else float(value) % 1000


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(st.lists(st.sampled_from(CELLS), min_size=6, max_size=6), min_size=1, max_size=12),
    strict=st.booleans(),
)
def test_a_record_is_scored_or_rejected_as_predict_would(rows: list[list[str]], strict: bool) -> None:
    names = tuple(described["name"] for described in SIGNATURE)
    signature = plan.Signature(SIGNATURE)
    scored, rejected, warned = [], [], Counter[str]()
    for line, row in enumerate(rows, start=1):
        try:
            values, noticed = signature.convert_row(dict(zip(names, row, strict=True)), strict)
        except Unprocessable as error:
            rejected.append((line, error.what))
            continue
        warned.update(f"{code} {name}" for name, code, _ in noticed)
        scored.append(sum((number + 1) * _weight(value) for number, value in enumerate(values)))
    data = "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows).encode()
    layout = Layout("data", "k", "", len(data), Dialect(), names, (Chunk(0, 0, len(data), 1, 0),))
    made = plan.read(plans.regression())
    made.signature = signature
    part = score_columns(layout, 0, data, made, Echo(), ScoreSpec(strict=strict))
    found = [value for piece in part.pieces for value in piece.column("prediction").to_pylist()]
    assert found == pytest.approx(scored)
    assert [(reject.line, reject.reason) for reject in part.rejects] == rejected
    assert part.warnings == warned
    kept = table(write_part(part.pieces, "csv", ","))
    assert [row[:6] for row in kept] == [
        row for line, row in enumerate(rows, 1) if line not in dict(rejected)
    ]


def test_a_file_and_predict_agree_within_two_units_in_the_last_place() -> None:
    made = plan.read(plans.binary())
    block, row = BlockScorer(made), RowScorer(made)
    ages = [str(number * 0.37 - 40) for number in range(300)]
    data = "".join(f"{age},Bern\n" for age in ages).encode()
    layout = Layout("data", "k", "", len(data), Dialect(), ("age", "city"), (Chunk(0, 0, len(data), 1, 0),))
    part = score_columns(layout, 0, data, made, block, ScoreSpec())
    found = [float(cell) for line in table(write_part(part.pieces, "csv", ",")) for cell in line[3:]]
    expected = []
    for age in ages:
        expected += row.score(made.signature.convert_row({"age": age, "city": "Bern"})[0])[1] or []
    assert found == pytest.approx(expected, rel=5e-16)
