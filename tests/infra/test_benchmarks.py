"""The pieces of the benchmarks, at sizes that take no time; peers run in ``make bench`` alone."""

from __future__ import annotations

import py_compile
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import batch, cold_start, figures, ingest, warm_predict
from benchmarks.hosts import Handlers, Host, Store, event_of
from benchmarks.models import Model, check, models
from tests.infra.template import ROOT

LOCK_LINE = re.compile(r"^([a-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
PEERS = ("peers", "peer-tutorial", "peer-onnxruntime", "peer-mlserver", "peer-ingest")


@pytest.mark.parametrize("lock", PEERS)
def test_the_peers_have_the_versions_that_we_have(lock: str) -> None:
    ours = dict(LOCK_LINE.findall((ROOT / "locks" / "main.txt").read_text("utf-8")))
    theirs = dict(LOCK_LINE.findall((ROOT / "locks" / f"{lock}.txt").read_text("utf-8")))
    shared = {"numpy", "scikit-learn", "pandas", "pyarrow", "joblib", "onnxruntime"} & theirs.keys()
    assert shared
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks" / "peers").glob("*.py")), ids=lambda p: p.stem)
def test_a_program_of_the_peers_is_python(path: Path, tmp_path: Path) -> None:
    py_compile.compile(str(path), cfile=str(tmp_path / "it.pyc"), doraise=True)


def test_cases_take_turns_and_dear_ones_fewer() -> None:
    seen: list[str] = []
    found = figures.interleaved({"a": (4, lambda: seen.append("a")), "b": (2, lambda: seen.append("b"))})
    assert seen == ["a", "a", "b", "a", "a", "b"]
    assert (len(found["a"]), len(found["b"])) == (4, 2)


def test_figures_are_those_of_the_textbook() -> None:
    assert figures.ratio([1.0, 9.0, 2.0], [4.0]) == 0.5
    assert figures.percentile([3.0, 1.0, 2.0, 4.0], 0.5) == 2.0
    assert figures.percentile([float(n) for n in range(1, 101)], 0.99) == 99.0
    assert figures.spread([1.0, 2.0, 3.0]) == 0.25
    assert figures.spread([7.0]) == 0.0


def test_the_ratio_of_a_batch_is_to_the_best_peer() -> None:
    seconds = {"kernel": [1.0, 1.0], "blocks": [3.0, 3.0], "sklearn": [4.0, 4.0], "onnxruntime": [2.0, 2.0]}
    entry = batch.entry({"cpu_s": seconds, "off_by": dict.fromkeys(seconds, 0.0)}, 100)
    assert (entry["ours"], entry["best_peer"], entry["throughput_ratio_best_peer"]) == (
        "kernel",
        "onnxruntime",
        2.0,
    )


@pytest.fixture(scope="module")
def ridge() -> Model:
    return models(["ridge"], onnx=False)[0]


@pytest.fixture(scope="module")
def host(ridge: Model) -> Iterator[Host]:
    store = Store()
    store.publish(ridge)
    with Host(store) as running:
        yield running
    store.close()


@pytest.mark.slow
def test_a_cold_start_counts_the_process_and_checks_its_answer(host: Host, ridge: Model) -> None:
    handlers = Handlers(host.folder)
    found = cold_start.measure(host, {handlers.ours: 1, handlers.empty: 1}, ridge)
    [ours], [empty] = found["ours"], found["empty"]
    assert min(ours.cpu_s, empty.cpu_s) > 0.005, "the interpreter's start is counted"
    assert check("ours", ours.answer, ridge, 1) < 1e-9
    result = cold_start.summary(found)
    assert result["cpu_ratio_empty"] == figures.ratio([ours.cpu_s], [empty.cpu_s])
    assert result["cpu_ratio_empty"] > 1, "ours does something, and the empty handler nothing"
    assert result["figures"]["ours"]["rss_mb"] > 5


@pytest.mark.slow
def test_a_block_is_answered_by_ours_as_by_scikit_learn(host: Host, ridge: Model) -> None:
    ours = Handlers(host.folder).ours
    running = host.start(ours, ridge)
    try:
        event = event_of(ridge, 50)
        assert check("ours", running.ask(event), ridge, 50) < 1e-9
        [one] = warm_predict.in_turns([running], {"ours": event}, 1, 2)["ours"]
    finally:
        running.close()
    assert one.cpu_s > 0
    assert len(one.latencies_s) == 2


@pytest.mark.slow
def test_a_wrong_answer_stops_a_benchmark(ridge: Model) -> None:
    answer = {"predictions": (ridge.expected(2) * 1.001).tolist()}
    with pytest.raises(SystemExit, match="ridge is off by"):
        check("ours", answer, ridge, 2)
    assert check("onnxruntime", answer, ridge, 2) == pytest.approx(0.001)


@pytest.mark.slow
def test_a_batch_is_scored_in_every_way_with_the_same_outcome(ridge: Model) -> None:
    found = batch.run(ridge, 500, 2, Path(sys.executable))
    [ours] = set(batch.OURS) & found["cpu_s"].keys()
    assert "sklearn" in found["cpu_s"]
    assert found["off_by"][ours] < 1e-9


@pytest.mark.parametrize("name", sorted(ingest.FILES))
def test_both_passes_account_for_every_row_of_the_tables(name: str, tmp_path: Path) -> None:
    write, _ = ingest.FILES[name]
    with (tmp_path / "table.csv").open("w", encoding="utf-8", newline="") as out:
        write(out, 60)
    assert ingest.ours(tmp_path / "table.csv", tmp_path)["rows"] == 60
