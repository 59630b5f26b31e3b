"""How many plans a sandbox holds, counted in memory and not in files."""

from __future__ import annotations

import gc
import json
import tracemalloc
from typing import Any

import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from millrace import compiler, keys
from millrace.edge.predict.score import array_bytes, load
from millrace.errors import NotFound
from millrace.registry.reader import Reader
from tests import pipelines, plans


class Bucket:
    """Objects in memory; ``gets`` counts the reads of each."""

    def __init__(self, **models: bytes) -> None:
        self.objects: dict[str, bytes] = {}
        self.gets: list[str] = []
        for name, data in models.items():
            self.objects[keys.version(name, 1, "model.plan")] = data
            self.objects[keys.alias(name)] = json.dumps({"version": 1}).encode()

    def get(self, key: str) -> tuple[bytes, str]:
        self.gets.append(key)
        if key not in self.objects:
            raise NotFound("It is not there", code="not-found")
        return self.objects[key], str(hash(self.objects[key]))

    def get_if_changed(self, key: str, etag: str) -> tuple[bytes, str] | None:
        found = self.get(key)
        return None if found[1] == etag else found

    def folders(self, prefix: str) -> list[str]:
        return sorted({key.split("/")[1] for key in self.objects})


def reader(bucket: Bucket, **options: Any) -> Reader:
    def warn(message: str, error: object) -> None:
        raise AssertionError(message)

    return Reader(bucket, load, array_bytes=array_bytes, warn=warn, **options)


def traced(make: Any) -> tuple[Any, int]:
    """Return what ``make`` returns and the bytes that are allocated since."""
    gc.collect()
    tracemalloc.start()
    try:
        made = make()
        gc.collect()
        return made, tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def compiled() -> dict[str, bytes]:
    """Plans of several shapes: what one becomes in memory is 1 to 8 times its file."""
    frame = pipelines.table(1500, 0)
    frame["shop"] = [f"shop number {number % 400}" for number in range(len(frame))]
    frame["note"] = [f"word{number % 900} other{number % 700}" for number in range(len(frame))]
    numbers = pipelines._on(["small", "when"], SimpleImputer())
    made = {
        "forest": make_pipeline(numbers, RandomForestClassifier(20, random_state=0)),
        "boosted": make_pipeline(
            pipelines._ordinal(["colour"]),
            HistGradientBoostingClassifier(max_iter=40, categorical_features=[0]),
        ),
        "categories": make_pipeline(pipelines._one_hot(), LogisticRegression()),
        "words": make_pipeline(pipelines._text(), LogisticRegression()),
    }
    target, schema = pipelines.target(frame, "binary"), pipelines.schema("binary", frame)
    plans = {
        name: compiler.compile(pipeline.fit(frame, target), schema=schema, model=name)
        for name, pipeline in made.items()
    }
    for plan in plans.values():
        load(plan)  # imports what it needs, so that a measurement does not count it
    return plans


@pytest.mark.parametrize("name", ["forest", "boosted", "categories", "words"])
def test_the_size_of_a_loaded_plan_is_its_memory_not_its_file(compiled: dict[str, bytes], name: str) -> None:
    following = reader(Bucket(**{name: compiled[name]}))
    served, real = traced(lambda: following.alias(name))
    real += len(compiled[name])  # the bytes of the file were there before
    assert 0.7 * real < served.size_bytes < 3 * real


def test_many_models_share_a_bound_and_the_one_used_longest_ago_leaves(compiled: dict[str, bytes]) -> None:
    names = [f"model-{number}" for number in range(12)]
    bucket = Bucket(**dict.fromkeys(names, compiled["forest"]))
    _, one = traced(lambda: load(compiled["forest"]))
    following = reader(bucket, memory_bytes=10 * one)

    def ask() -> int:
        for name in names:
            following.alias(name)
            following.alias(names[0])  # used all the time, so it stays
        return len(following._held)

    held, real = traced(ask)
    assert 3 <= held < 12
    assert real < 10 * one
    assert [key for key in bucket.gets if key.endswith("plan")].count(
        keys.version(names[0], 1, "model.plan")
    ) == 1
    assert {(names[0], 1), (names[-1], 1)} <= set(following._held)
    assert (names[1], 1) not in following._held
    assert following._held_bytes == sum(served.size_bytes for served in following._held.values())


def test_the_plan_that_is_asked_for_stays_even_above_the_bound() -> None:
    following = reader(Bucket(one=plans.binary("one"), two=plans.binary("two")), memory_bytes=1)
    assert [following.alias(name).model for name in ("one", "two", "one")] == ["one", "two", "one"]
    assert list(following._held) == [("one", 1)]


def test_an_alias_of_any_name_is_followed() -> None:
    bucket = Bucket(one=plans.binary("one"))
    bucket.objects[keys.alias("one", "champion")] = b'{"version": 2}'
    bucket.objects[keys.version("one", 2, "model.plan")] = plans.binary("one")
    following = reader(bucket, freshness_s=0.0)
    assert (following.alias("one").version, following.alias("one", "champion").version) == (1, 2)
    bucket.objects[keys.alias("one", "champion")] = b'{"version": 1}'
    assert following.alias("one", "champion").version == 1
    for name in ("absent", "../live", ""):
        with pytest.raises(NotFound) as missing:
            following.alias("one", name)
        assert missing.value.code == "alias-unknown"
    del bucket.objects[keys.alias("one", "champion")]
    with pytest.raises(NotFound) as gone:
        following.alias("one", "champion")
    assert gone.value.code == "alias-unknown"
