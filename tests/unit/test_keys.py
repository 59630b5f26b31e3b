"""Keys: the one place that knows where everything lies."""

from __future__ import annotations

import pytest

from millrace import keys


@pytest.mark.parametrize(
    ("key", "dataset"),
    [
        ("datasets/cars/cars.csv", "cars"),
        ("datasets/cars/2026/11/cars.csv", "cars"),
        ("datasets/a b/ü.csv", "a b"),
        ("datasets//cars.csv", ""),
        ("datasets/cars.csv", ""),
        ("datasets/cars/spec.json", None),
        ("datasets/cars/", None),
        ("datasets/cars/2026/", None),
        ("datasets/", None),
        ("runs/cars/cars.csv", None),
        ("cars.csv", None),
    ],
)
def test_the_dataset_is_the_folder_after_datasets(key: str, dataset: str | None) -> None:
    assert keys.dataset_of(key) == dataset


def test_an_upload_and_its_spec_lie_side_by_side() -> None:
    assert keys.dataset_of(keys.upload("cars", "a.csv")) == "cars"
    assert keys.spec("cars") == "datasets/cars/spec.json"


def test_parts_are_listed_in_the_order_of_the_chunks() -> None:
    parts = [keys.part("r", "profile", chunk) for chunk in (0, 2, 10, 99999)]
    assert parts == sorted(parts)
    assert all(part.startswith(keys.parts("r", "profile")) for part in parts)


def test_nothing_of_a_run_lies_where_the_stream_puts_its_failures() -> None:
    assert not keys.run("aws").startswith(keys.FAILURES)
    assert not keys.model("aws/lambda").startswith(keys.FAILURES)


def test_a_generations_file_is_an_upload_that_knows_its_number() -> None:
    key = keys.generation_file("cars", 12)
    assert keys.dataset_of(key) == "cars"
    assert keys.generation_of(key) == 12
    for other in (
        key + ".gz",
        "datasets/cars/collected/12.csv",
        "datasets/cars/000012.csv",
        "x",
        "datasets/a",
    ):
        assert keys.generation_of(other) is None


def test_what_is_collected_lies_where_nothing_is_an_upload() -> None:
    batch = keys.collected_batch("cars", "2026/x.jsonl")
    assert keys.collecting(batch) == "cars"
    others = [
        keys.collected_rejects("cars", "x"),
        keys.collected_base("cars", "r"),
        keys.generation("cars", 1, "rows.jsonl"),
    ]
    assert [keys.collecting(key) for key in [*others, keys.streamed("x"), "datasets/cars/batches/x"]] == [
        None
    ] * 5
    assert {keys.dataset_of(key) for key in [batch, *others]} == {None}
    assert {keys.model_to_score_with(key) for key in [batch, *others]} == {None}
