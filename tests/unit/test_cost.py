"""What a run costs: parts that add up, from a table that says where each price was read."""

from __future__ import annotations

import re
from typing import Any

import pytest

from millrace.contracts import PassProgress, Run, Usage
from millrace.edge.cost import price, prices, run_cost, stream_month
from tests.fakes import make_run


def run(**changes: Any) -> Run:
    return make_run("a-0123456789ab", **({"state": "SUCCEEDED"} | changes))


def test_lambda_is_billed_by_gigabyte_seconds_and_requests() -> None:
    cost = run_cost(run(usage=(Usage("train", 4, 10_000, 2048), Usage("preprocess", 2, 1_000, 1024))))
    assert cost["gb_seconds"] == pytest.approx(21.0)
    assert cost["parts"]["lambda_compute"] == pytest.approx(21.0 * price("lambda_gb_second"))
    assert cost["parts"]["lambda_requests"] == pytest.approx(6 * price("lambda_request"))


def test_transitions_are_the_steps_the_choices_and_the_map() -> None:
    used = (Usage("fan_out", 2, 1, 128), Usage("train", 4, 1, 128), Usage("preprocess", 9, 1, 128))
    trained = run(usage=used, progress={"train": PassProgress(4, 4)})
    assert run_cost(trained)["parts"]["state_transitions"] == pytest.approx(9 * price("state_transition"))


def test_parts_add_up_and_the_idle_stream_stands_apart() -> None:
    progress = {"profile": PassProgress(3, 3), "convert": PassProgress(3, 3), "train": PassProgress(4, 4)}
    used = Usage("train", 4, 60_000, 3538, s3_writes=9, table_writes=8)
    cost = run_cost(run(usage=(used,), progress=progress))
    assert cost["usd"] == pytest.approx(sum(cost["parts"].values()), abs=1e-6)
    assert all(usd > 0 for usd in cost["parts"].values())
    assert cost["stream_shard_month_usd"] == pytest.approx(10.95)
    assert set(cost["estimated"]) <= set(cost["parts"])


def test_requests_are_priced_by_kind() -> None:
    usage = (
        Usage("a", 1, 0, 128, s3_writes=3, table_reads=7),
        Usage("b", 1, 0, 128, s3_writes=2, s3_reads=4),
    )
    cost = run_cost(run(usage=usage))
    assert cost["requests"] == {"s3_writes": 5, "s3_reads": 4, "table_writes": 0, "table_reads": 7}
    assert cost["parts"]["s3_requests"] == pytest.approx(5 * price("s3_write") + 4 * price("s3_read"))
    assert cost["parts"]["table_requests"] == pytest.approx(7 * price("dynamodb_read"))


@pytest.mark.parametrize("passes", [("profile", "convert"), ("scan", "profile", "convert"), ("score",)])
def test_each_chunk_of_a_pass_is_put_on_the_stream(passes: tuple[str, ...]) -> None:
    cost = run_cost(run(progress={name: PassProgress(8, 8) for name in passes}))
    assert cost["parts"]["stream_puts"] == pytest.approx(8 * len(passes) * price("kinesis_put_unit"))


def test_where_a_map_hands_out_the_chunks_its_transitions_are_paid_and_no_put() -> None:
    progress = {"profile": PassProgress(8, 8), "convert": PassProgress(15, 15)}
    cost = run_cost(run(shards=0, progress=progress))
    assert cost["parts"]["stream_puts"] == cost["shard_hours"] == 0
    assert cost["parts"]["state_transitions"] == pytest.approx((8 + 1 + 15 + 1) * price("state_transition"))


def test_the_shards_hours_from_upload_to_end_stand_beside_the_total() -> None:
    times = {"created_at": "2026-11-20T10:00:00.000Z", "updated_at": "2026-11-20T10:06:00.000Z"}
    cost = run_cost(run(shards=3, **times))
    assert cost["shard_hours"] == pytest.approx(0.3)
    assert cost["shard_hours_usd"] == pytest.approx(0.3 * price("kinesis_shard_hour"))
    assert cost["usd"] == run_cost(run(shards=1, **times))["usd"]


def test_a_run_that_used_nothing_costs_next_to_nothing() -> None:
    assert run_cost(run(state="UNCHANGED"))["usd"] < 1e-5


def test_a_shard_is_priced_by_the_month() -> None:
    assert stream_month(4) == pytest.approx(4 * 730 * 0.015)


def test_every_price_says_where_it_was_read() -> None:
    table = prices()
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", table["date"])
    assert table["region"] == "us-east-1"
    for entry in table["prices"].values():
        assert entry["usd"] > 0
        assert entry["unit"] and entry["source"]
        assert isinstance(entry["verified"], bool)


def test_an_unknown_price_is_an_error() -> None:
    with pytest.raises(KeyError):
        price("gold")
