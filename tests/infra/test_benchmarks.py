"""The pieces of the benchmarks, at sizes that take no time; peers run in ``make bench`` alone."""

from __future__ import annotations

import py_compile
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import (
    batch,
    cold_start,
    fanout,
    figures,
    incremental,
    ingest,
    quality,
    score_file,
    warm_predict,
)
from benchmarks.hosts import Handlers, Host, Store, event_of
from benchmarks.models import Model, check, models
from tests.infra.template import ROOT, environment, template

LOCK_LINE = re.compile(r"^([a-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
PEERS = ("peers", "peer-tutorial", "peer-onnxruntime", "peer-mlserver", "peer-ingest", "peer-quality")


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


def test_the_simulator_deals_groups_as_the_template_does() -> None:
    assert environment("FanOutFunction")["MILLRACE_GROUP_TICKETS"] == str(fanout.GROUP_TICKETS)


def test_a_scored_file_is_simulated_with_the_workers_that_the_template_gives() -> None:
    shards, factor = (template()["Parameters"][n]["Default"] for n in ("ShardCount", "ParallelizationFactor"))
    assert shards * factor == score_file.DEFAULT_WORKERS


@pytest.mark.parametrize(("shards", "factor"), [(8, 10), (64, 10), (512, 1), (512, 10)])
def test_a_wide_stream_keeps_its_budget_at_the_rates_of_a_quiet_machine(shards: int, factor: int) -> None:
    """The simulator has a clock of its own: the figure is the same wherever this runs."""
    found = fanout.simulate(shards, factor, fanout.SIMULATED_BYTES, fanout.Rates(0.08, 25e6, 0.1, 0.6))
    assert found["groups"] > 1
    assert found["within"], found


def test_the_simulated_table_is_what_an_undivided_pass_would_wait_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fanout, "GROUP_TICKETS", 10**6)
    found = fanout.simulate(512, 10, fanout.SIMULATED_BYTES, fanout.Rates(0.08, 25e6, 0.1, 0.6))
    assert found["groups"] == 1
    assert found["wall_s"] > 5 * found["budget_s"], found


def test_a_file_is_cut_into_pieces_that_have_its_rows() -> None:
    lines = [b"%d\n" % number for number in range(23)]
    found = [piece.splitlines(keepends=True) for piece in incremental.pieces(b"n\n" + b"".join(lines), 5)]
    assert [piece[0] for piece in found] == [b"n\n"] * 5
    assert [len(piece) - 1 for piece in found] == [5, 5, 5, 4, 4]
    assert sorted(line for piece in found for line in piece[1:]) == sorted(lines)


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


def test_a_score_is_held_against_the_manifest_in_the_direction_of_its_metric() -> None:
    entry = {
        "primary_metric": "log_loss",
        "baseline": {"models": {"dummy": {"log_loss": 1.3}, "hgb": {"log_loss": 0.9, "se_primary": 0.01}}},
        "peers": {"flaml": {"log_loss": 0.8}},
        "target_scores": {"dummy": 1.3, "floor": 0.92, "lower_is_better": True},
    }
    good = quality.compared(entry, {"score": 0.85}, None)
    assert (good["normalised"], good["normalised_flaml"], good["normalised_hgb"]) == (0.9, 1.0, 0.8)
    assert good["above_floor"] and not good["worse_than_hgb"]
    poor = quality.compared(entry, {"score": 0.93}, {"score": 0.9, "cpu_s": 5.0})
    assert not poor["above_floor"] and poor["worse_than_hgb"]
    assert (poor["peers"]["flaml_again"], poor["normalised_flaml"]) == (0.9, 0.8)


def test_what_a_candidate_was_worth_is_counted_over_its_tables() -> None:
    def candidate(score: float | None, state: str = "ok") -> dict[str, Any]:
        return {"state": state, "cv_score": score, "fit_seconds": 2.0}

    tables = [
        {
            "cv_lower_is_better": True,
            "candidates": {"linear": candidate(0.2), "forest": candidate(0.3)},
            "members": {"linear": 0.75, "forest": 0.25},
        },
        {
            "cv_lower_is_better": False,
            "candidates": {"linear": candidate(0.9), "forest": candidate(0.99, "stopped")},
            "members": {"linear": 1.0},
        },
    ]
    assert quality.portfolio(tables) == {
        "linear": {"tables": 2, "weighs": 1.0, "weight": 0.875, "best": 1.0, "fit": 0.5},
        "forest": {"tables": 2, "weighs": 0.5, "weight": 0.125, "best": 0.0, "fit": 0.5},
    }


def test_the_search_with_enough_workers_takes_the_longest_of_each_round() -> None:
    first = ["train 0 linear (0,)", "train 1 forest (0,)"]
    second = ["train 2 forest (1,)"]
    cpu = dict(zip([*first, *second, "select 0"], (10.0, 4.0, 6.0, 8.0), strict=True))
    # The forest's fits had half of a processor, as other work took the rest.
    wall = cpu | {first[1]: 8.0, second[0]: 12.0}
    candidates = [{"name": "linear", "fit_seconds": 9.0}, {"name": "forest", "fit_seconds": 20.0}]
    start, warm = quality.START_S, quality.WARM_S
    # One of the two sandboxes that trained first trains again.
    assert quality.width(cpu, wall, [first, second, ["select 0"]], candidates) == {
        "wall_s": 2 * start + warm + 24.0,
        "slowest_s": 10.0,
        "bound_s": 35.0,
        "invocations": 3,
    }
    members = [f"train {part} forest ()" for part in (3, 4, 5)]
    cpu |= dict(zip(members, (1.0, 2.0, 1.5), strict=True)) | {"select 1": 4.0}
    rounds = [first, [], ["select 0"], members, ["select 1"]]
    assert quality.width(cpu, wall | cpu, rounds, candidates)["wall_s"] == 3 * start + warm + 24.0


def test_the_bootstrap_knows_the_error_of_a_mean() -> None:
    truth = np.zeros(400, dtype=np.int32)
    shares = np.tile([[0.9, 0.1], [0.2, 0.8]], (200, 1))
    value, error, low, high = quality.bootstrap("accuracy", truth, shares)
    assert value == 0.5
    assert error == pytest.approx(0.025, rel=0.15)
    assert low < 0.47 and high > 0.53


def test_finished_tables_are_kept(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> dict[str, int]:
        made.append(1)
        return {"score": 1}

    for _ in range(2):
        assert quality.Kept(tmp_path / "kept.jsonl").get("ours standard iris", make) == {"score": 1}
    assert made == [1]
