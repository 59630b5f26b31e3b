"""What a file will cost: sizes from its first megabyte, rates from a table, defaults from the template."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, get_args

import pytest

from millrace import csvfile
from millrace.cli.app import run
from millrace.cli.cost import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, WORKERS_A_SHARD, measure
from millrace.contracts import Budget, Column, Layout, Schema, Spec
from millrace.edge.cost import price
from millrace.edge.estimate import CORE_MB, FileSize, estimate, expected_schema, rates
from millrace.features.candidates import CANDIDATES
from tests.infra import template

SMALL = FileSize(size_bytes=100_000, rows=1000, columns=10, chunks=1)
LARGE = FileSize(size_bytes=100_000_000, rows=1_000_000, columns=10, chunks=64)


def table(columns: int = 9, classes: int = 0) -> Schema:
    features = tuple(Column(f"c{i}", i, "number", "feature") for i in range(columns))
    target = Column("y", columns, "category" if classes else "number", "target")
    task, labels = ("multiclass", tuple(map(str, range(classes)))) if classes else ("regression", ())
    return Schema((*features, target), "y", task, "accuracy" if classes else "r2", labels)


def test_a_larger_file_costs_more_of_everything() -> None:
    small, large = (estimate(file, table(), "quick", shards=1) for file in (SMALL, LARGE))
    assert large["usd"] > small["usd"] > 0
    for part, usd in small["parts"].items():
        assert large["parts"][part] >= usd > 0, part
    assert large["chunks"] == 64


def test_a_larger_budget_costs_more_and_so_do_more_columns_and_classes() -> None:
    def gb_seconds(schema: Schema, budget: Budget) -> float:
        return float(estimate(SMALL, schema, budget, shards=1)["gb_seconds"])

    quick, standard, thorough = (gb_seconds(table(), budget) for budget in get_args(Budget))
    assert quick < standard < thorough
    assert gb_seconds(table(90), "standard") > standard
    # From three classes on the bound on trees binds: more of them take no longer.
    assert gb_seconds(table(classes=3), "standard") > standard


def test_every_kind_of_candidate_has_rates() -> None:
    assert rates()["fits"].keys() == {candidate.kind for candidate in CANDIDATES.values()}
    assert all(sum(rate.values()) > 0 for rate in rates()["fits"].values())


def expected(text: str, spec: Spec) -> Schema:
    head = text.encode()
    sniffed = csvfile.sniff(head, complete=True)
    cut = csvfile.find_chunks(lambda start, end: head[start:end], len(head), sniffed.dialect, len(head))
    return expected_schema(head, Layout("", "", "", len(head), cut.dialect, sniffed.names, cut.chunks), spec)


def test_the_beginning_of_a_file_says_what_will_be_trained() -> None:
    rows = "".join(f"{n},{'abc'[n % 3]},{n * n}\n" for n in range(60))
    assert expected(f"n,letter,square\n{rows}", Spec()).task == "regression"
    found = expected(f"n,letter,square\n{rows}", Spec(target="letter"))
    assert (found.task, found.classes) == ("multiclass", ("a", "b", "c"))


def test_a_beginning_that_says_nothing_of_the_target_is_taken_for_two_classes() -> None:
    found = expected("n,answer\n" + "".join(f"{n},no\n" for n in range(60)), Spec())
    assert (found.task, found.target, len(found.features)) == ("binary", "answer", 1)


def test_less_memory_than_a_core_comes_with_takes_longer_for_as_much() -> None:
    memory = dict.fromkeys(rates()["functions"], CORE_MB)
    halved = dict.fromkeys(memory, CORE_MB // 2)
    whole, half = (estimate(SMALL, table(), "quick", shards=1, memory_mb=given) for given in (memory, halved))
    assert half["functions"]["train"]["seconds"] == pytest.approx(
        2 * whole["functions"]["train"]["seconds"], rel=0.01
    )
    assert half["gb_seconds"] == pytest.approx(whole["gb_seconds"], rel=0.01)


def test_the_shards_stand_beside_the_total() -> None:
    one, three = (estimate(SMALL, table(), "quick", shards=shards) for shards in (1, 3))
    assert three["usd"] == one["usd"]
    assert three["stream_month_usd"] == round(3 * 730 * price("kinesis_shard_hour"), 2)


def test_every_function_of_a_run_has_rates_and_the_memory_of_the_template() -> None:
    parameters = template.template()["Parameters"]
    for logical_id, properties in template.functions().items():
        rate = rates()["functions"].get(template.verb(logical_id))
        memory: Any = properties["MemorySize"]
        if rate is not None:
            assert rate["memory_mb"] == (
                parameters[memory["Ref"]]["Default"] if isinstance(memory, dict) else memory
            )
    steps = {"ingest", "fan_out", "preprocess", "decide", "collect", "train", "select", "report", "register"}
    assert steps <= rates()["functions"].keys()


def test_the_defaults_are_those_of_the_template() -> None:
    parameters = template.template()["Parameters"]
    assert parameters["ParallelizationFactor"]["Default"] == WORKERS_A_SHARD
    assert parameters["MinChunkBytes"]["Default"] == MIN_CHUNK_BYTES
    assert parameters["MaxChunkBytes"]["Default"] == MAX_CHUNK_BYTES


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_is_measured_as_it_will_be_read(tmp_path: Path, packed: bool) -> None:
    text = b"a,b,c\n" + b"".join(b"%d,%d,word\n" % (n, n * n) for n in range(200_000))
    file = tmp_path / ("t.csv.gz" if packed else "t.csv")
    file.write_bytes(gzip.compress(text) if packed else text)
    size, schema = measure(file, Spec(), workers=10)
    assert (size.size_bytes, size.columns) == (len(text), 3)
    assert size.chunks == -(-len(text) // MIN_CHUNK_BYTES) > 1
    assert size.rows == pytest.approx(200_000, rel=0.1)
    assert [column.name for column in schema.columns] == ["a", "b", "c"]


def test_the_command_says_what_a_file_will_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "t.csv"
    file.write_text("a,b\n1,2\n3,4\n")
    assert run(["cost", str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["columns"], found["chunks"], found["budget"]) == (2, 2, 1, "standard")
    assert found["usd"] == pytest.approx(sum(found["parts"].values()), abs=1e-6)
    assert run(["cost", str(file)]) == 0
    assert "a month besides" in capsys.readouterr().out
