"""What a file will cost: sizes from its first megabyte, rates from a table, defaults from the template."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from millrace.cli.app import run
from millrace.cli.cost import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, WORKERS_A_SHARD, measure
from millrace.edge.cost import price
from millrace.edge.estimate import CORE_MB, FileSize, estimate, rates
from tests.infra import template

SMALL = FileSize(size_bytes=100_000, rows=1000, columns=10, chunks=1)
LARGE = FileSize(size_bytes=100_000_000, rows=1_000_000, columns=10, chunks=64)


def test_a_larger_file_costs_more_of_everything() -> None:
    small, large = estimate(SMALL, 4, shards=1), estimate(LARGE, 4, shards=1)
    assert large["usd"] > small["usd"] > 0
    for part, usd in small["parts"].items():
        assert large["parts"][part] >= usd > 0, part
    assert large["chunks"] == 64


def test_more_candidates_cost_more() -> None:
    assert estimate(SMALL, 6, shards=1)["gb_seconds"] > estimate(SMALL, 4, shards=1)["gb_seconds"]


def test_less_memory_than_a_core_comes_with_takes_longer_for_as_much() -> None:
    memory = dict.fromkeys(rates()["functions"], CORE_MB)
    whole = estimate(SMALL, 4, shards=1, memory_mb=memory)
    half = estimate(SMALL, 4, shards=1, memory_mb=dict.fromkeys(memory, CORE_MB // 2))
    assert half["functions"]["train"]["seconds"] == pytest.approx(
        2 * whole["functions"]["train"]["seconds"], rel=0.01
    )
    assert half["gb_seconds"] == pytest.approx(whole["gb_seconds"], rel=0.01)


def test_the_shards_stand_beside_the_total() -> None:
    assert estimate(SMALL, 4, shards=3)["usd"] == estimate(SMALL, 4, shards=1)["usd"]
    assert estimate(SMALL, 4, shards=3)["stream_month_usd"] == round(3 * 730 * price("kinesis_shard_hour"), 2)


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
    size = measure(file, workers=10)
    assert (size.size_bytes, size.columns) == (len(text), 3)
    assert size.chunks == -(-len(text) // MIN_CHUNK_BYTES) > 1
    assert size.rows == pytest.approx(200_000, rel=0.1)


def test_the_command_says_what_a_file_will_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "t.csv"
    file.write_text("a,b\n1,2\n3,4\n")
    assert run(["cost", str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["columns"], found["chunks"], found["budget"]) == (2, 2, 1, "standard")
    assert found["usd"] == pytest.approx(sum(found["parts"].values()), abs=1e-6)
    assert run(["cost", str(file)]) == 0
    assert "a month besides" in capsys.readouterr().out
