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
