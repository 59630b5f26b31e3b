"""The gate: the trial on the same rows, what the champion has seen, limits, slices, and the schema."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from millrace import keys, plan
from millrace.contracts import Column, Schema, Spec, decode, encode
from millrace.features.blocks import Table, write_block
from millrace.features.fingerprints import fingerprints
from millrace.registry.changes import Change
from millrace.registry.examine import Gate
from millrace.registry.gate import Limits, judge
from millrace.registry.registry import Registry
from millrace.registry.trial import FEWEST_ROWS, Footprint, Slice, Trial, measure, trial, unseen
from millrace.registry.versions import Version
from tests import plans
from tests.fakes import MemoryObjectStore, make_run
from tests.unit.test_registry import SCHEMA as SCHEMA_JSON
from tests.unit.test_registry import draft

SCHEMA = decode(Schema, json.loads(SCHEMA_JSON))
GOOD = plans.binary()
"""The probability rises with the age, as it does in :func:`people`."""


def people(n: int, seed: int = 0) -> Table:
    """Return rows in which those of Köln and the old survive more often, by chance."""
    random = np.random.default_rng(seed)
    age = random.uniform(-10.0, 99.0, n)
    city = np.array(["Bern", "Köln"], dtype=object)[random.integers(0, 2, n)]
    score = age / 10.0 + np.where(city == "Köln", 1.0, -1.0)
    target = (random.uniform(size=n) < 1 / (1 + np.exp(-score))).astype(np.int32)
    return Table({"age": age, "city": city}, target, np.arange(n, dtype=np.int64))


def run_trial(
    challenger: bytes, champion: bytes, table: Table, *, metric: str = "log_loss", schema: Schema = SCHEMA
) -> Trial | None:
    return trial(
        table,
        schema,
        np.arange(len(table)),
        challenger=plan.read(challenger),
        champion=plan.read(champion),
        metric=metric,
        left_out=0,
        seed=0,
    )


def version(number: int, **changes: Any) -> Version:
    facts = {"metrics": {"log_loss": 0.3}, "baseline": {"log_loss": 0.69}, "metric": "log_loss"}
    return replace(draft(version=number), **(facts | changes))


# --- known again --------------------------------------------------------------------------------------


def test_rows_are_known_again_in_another_order_and_under_another_schema() -> None:
    table = people(50)
    order = np.random.default_rng(1).permutation(50)
    columns: dict[str, NDArray[Any]] = {"city": table.columns["city"][order]}
    columns |= {"age": table.columns["age"][order], "new": np.arange(50.0)}
    moved = Table(columns, table.target[order], np.arange(50, dtype=np.int64))
    wider = replace(
        SCHEMA,
        columns=(
            Column("new", 0, "number", "feature"),
            Column("city", 1, "text", "feature"),
            *[column for column in SCHEMA.columns if column.name != "city"],
        ),
    )
    assert list(fingerprints(moved, wider, ["age", "city"])) == list(fingerprints(table, SCHEMA)[order])
    assert not np.isin(fingerprints(moved, wider), fingerprints(table, SCHEMA)).any()


def test_every_value_counts_and_missing_ones_are_alike() -> None:
    def of(age: float, city: str | None, target: int) -> int:
        words = np.array([city], dtype=object)
        table = Table({"age": np.array([age]), "city": words}, np.array([target], np.int32), np.zeros(1, int))
        return int(fingerprints(table, SCHEMA)[0])

    plain = of(1.0, "Bern", 0)
    assert len({plain, of(2.0, "Bern", 0), of(1.0, "Köln", 0), of(1.0, None, 0)}) == 4
    assert of(1.0, "Bern", 1) == plain, "a row whose label was corrected is the same row"
    assert of(0.0, "Bern", 0) == of(-0.0, "Bern", 0)
    assert of(np.nan, None, 0) == of(-np.nan, None, 0)


def test_rows_that_the_champion_was_trained_on_are_left_out() -> None:
    table = people(40)
    trained = np.unique(fingerprints(table, SCHEMA)[:10])
    rows = unseen(table, SCHEMA, trained=trained, trained_under=SCHEMA)
    assert rows is not None
    assert list(rows) == list(range(10, 40))


@pytest.mark.parametrize(
    "under",
    [
        replace(SCHEMA, columns=(Column("gone", 0, "number", "feature"), *SCHEMA.columns)),
        replace(SCHEMA, columns=(Column("age", 0, "text", "feature"), *SCHEMA.columns[1:])),
    ],
    ids=["a column is gone", "a number was a text"],
)
def test_rows_that_cannot_be_known_again_are_all_suspect(under: Schema) -> None:
    nothing = np.empty(0, np.uint64)
    assert unseen(people(40), SCHEMA, trained=nothing, trained_under=under) is None


# --- the trial ----------------------------------------------------------------------------------------


def test_the_same_plan_gains_nothing() -> None:
    found = run_trial(GOOD, GOOD, people(200))
    assert found is not None
    assert (found.gain, found.low, found.high) == (0.0, 0.0, 0.0)
    assert judge(version(2), version(1), trial=found).promote


@pytest.mark.parametrize("metric", ["log_loss", "roc_auc", "accuracy", "balanced_accuracy", "f1_macro"])
def test_the_worse_is_held_and_the_better_promoted(metric: str) -> None:
    table = people(400)
    better, worse = plans.binary(), plans.binary(classes=("yes", "no"))
    found = run_trial(worse, better, table, metric=metric)
    assert found is not None
    assert found.high < 0.0 > found.gain
    new = version(2, metric=metric, baseline={metric: 0.5})
    verdict = judge(new, version(1), trial=found)
    assert not verdict.promote
    assert verdict.reason.startswith("Held: it is worse on the same 400 held-out rows")
    back = run_trial(better, worse, table, metric=metric)
    assert back is not None
    assert back.gain == -found.gain
    verdict = judge(new, version(1), trial=back)
    assert verdict.promote
    assert "it is better" in verdict.reason


def test_pairing_tells_what_two_scores_do_not() -> None:
    """The gain's interval is far narrower than either score's: the same rows are hard for both."""
    table = people(300)
    found = run_trial(plans.binary(intercept=0.2), GOOD, table)
    assert found is not None
    losses = -np.log(1 / (1 + np.exp(-np.abs(table.columns["age"]) / 10.0)))
    one = 2 * 1.645 * losses.std() / np.sqrt(300)
    assert found.high - found.low < one / 2


def test_the_gate_is_wrong_about_equals_no_more_often_than_it_says() -> None:
    """Challenger and champion err alike on average; at a level of 5 % few are held."""
    held = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        truth = random.integers(0, 2, 200).astype(np.int32)
        table = Table(
            {"age": random.normal(size=200), "city": np.full(200, None, object)},
            truth,
            np.arange(200, dtype=np.int64),
        )
        found = run_trial(plans.binary(intercept=0.05), plans.binary(intercept=-0.05), table)
        assert found is not None
        held += found.high < 0.0
    assert held <= 6


def test_rows_of_one_group_are_drawn_together() -> None:
    """Each row ten times says no more than it says once."""
    table, again = people(60), np.repeat(np.arange(60), 10)
    worse = plans.binary(intercept=0.5)
    repeated = Table(
        {name: values[again] for name, values in table.columns.items()} | {"who": again.astype(np.float64)},
        table.target[again],
        np.arange(600, dtype=np.int64),
    )
    once, many = run_trial(worse, GOOD, table), run_trial(worse, GOOD, repeated)
    grouped = run_trial(worse, GOOD, repeated, schema=replace(SCHEMA, group_column="who"))
    assert once is not None
    assert many is not None
    assert grouped is not None
    assert many.high - many.low < (once.high - once.low) / 2
    assert grouped.high - grouped.low == pytest.approx(once.high - once.low, rel=0.2)


@pytest.mark.parametrize("metric", ["pinball_0.9", "poisson_deviance", "rmse", "r2", "mae"])
def test_a_regression_has_a_loss_for_each_row(metric: str) -> None:
    schema = replace(SCHEMA, task="regression", classes=(), target="price")
    table = people(200)
    price = np.exp(table.columns["age"] / 100.0) + 1.0
    priced = replace(table, target=price)
    better, worse = plans.regression(intercept=12.0), plans.regression(intercept=20.0)
    found = run_trial(worse, better, priced, metric=metric, schema=schema)
    assert found is not None
    assert found.gain < 0.0
    assert {part.worse for part in found.slices} == {True}


def test_too_few_rows_or_one_class_are_no_trial() -> None:
    assert run_trial(GOOD, GOOD, people(FEWEST_ROWS - 1)) is None
    table = people(60)
    assert run_trial(GOOD, GOOD, replace(table, target=table.target * 0), metric="roc_auc") is None


def test_columns_that_the_champion_lacks_and_classes_that_it_does_not_know() -> None:
    table = people(60)
    schema = replace(SCHEMA, classes=("maybe", "no", "yes"), columns=SCHEMA.columns[1:])
    only = Table({"city": table.columns["city"]}, table.target + np.int32(1), table.record)
    found = run_trial(GOOD, GOOD, only, schema=schema)
    assert found is not None
    assert np.isfinite(found.new)


def test_a_slice_that_is_much_worse_is_held_although_the_whole_is_not() -> None:
    table = people(2000, seed=3)
    bern = table.columns["city"] == "Bern"
    # The champion is good for Bern and poor elsewhere, the challenger the other way round.
    target = np.where(bern, 0, 1).astype(np.int32)
    mixed = replace(table, columns={**table.columns, "age": np.where(bern, 5.0, 5.0)}, target=target)
    challenger, champion = plans.binary(intercept=2.0), plans.binary(intercept=-1.0)
    found = run_trial(challenger, champion, mixed, metric="log_loss")
    assert found is not None
    worse = {(part.column, part.value): part.worse for part in found.slices}
    assert worse == {("city", "Bern"): True, ("city", "Köln"): False}
    level = replace(found, gain=0.01, low=-0.01, high=0.02)
    verdict = judge(version(2), version(1), trial=level)
    assert not verdict.promote
    assert "where city is 'Bern'" in verdict.reason


# --- the verdict --------------------------------------------------------------------------------------


def made(gain: float, low: float, high: float, *slices: Slice) -> Trial:
    return Trial("log_loss", 500, 20, 0.4 - gain, 0.4, gain, low, high, slices)


@pytest.mark.parametrize(
    ("found", "promote", "word"),
    [
        (made(0.02, 0.01, 0.03), True, "better"),
        (made(0.0, -0.02, 0.02), True, "not worse"),
        (made(-0.002, -0.003, -0.001), True, "not worse"),  # beyond chance, but a hundredth of the lead
        (made(-0.02, -0.05, 0.01), True, "not worse"),  # may be chance, and is little
        (made(-0.02, -0.03, -0.01), False, "worse"),
        (made(-0.1, -0.3, 0.1), False, "More held-out rows would tell"),
        (made(0.0, -0.02, 0.02, Slice("sex", "f", 90, 0.42, 0.4, True)), True, "not worse"),
        (made(0.0, -0.02, 0.02, Slice("sex", "f", 90, 0.8, 0.4, True)), False, "sex is 'f' (90 rows)"),
        (made(0.0, -0.02, 0.02, Slice("sex", "f", 90, 0.8, 0.4, False)), True, "not worse"),
    ],
)
def test_what_a_trial_leads_to(found: Trial, promote: bool, word: str) -> None:
    verdict = judge(version(2), version(1), trial=found)
    assert (verdict.promote, word in verdict.reason) == (promote, True), verdict.reason
    assert "90 % interval" in verdict.reason


def test_limits_hold_even_a_first_version() -> None:
    limits = Limits(row_ms=10.0, memory_bytes=100 << 20)
    verdict = judge(version(1), None, footprint=Footprint(50.0, 1 << 20), limits=limits)
    assert (verdict.promote, "50 ms" in verdict.reason) == (False, True)
    verdict = judge(version(1), None, footprint=Footprint(1.0, 200 << 20), limits=limits)
    assert (verdict.promote, "200 MiB" in verdict.reason) == (False, True)
    assert judge(version(1), None, footprint=Footprint(1.0, 1 << 20), limits=limits).promote


def test_a_version_that_would_refuse_todays_requests_is_held_unless_the_spec_allows_it() -> None:
    change = Change("retyped", "age", "number", "category", True, "The column 'age' is category.")
    verdict = judge(version(2), version(1), changes=[change], trial=made(0.1, 0.05, 0.15))
    assert not verdict.promote
    assert "'age' is category" in verdict.reason
    assert "allow_schema_change" in verdict.reason
    found = made(0.1, 0.05, 0.15)
    assert judge(version(2), version(1), changes=[change], allow_changes=True, trial=found).promote
    assert judge(version(2), version(1), changes=[replace(change, rejects=False)], trial=found).promote
    other = replace(change, kind="target", says="The target is 'fare'.")
    assert judge(version(2, target="fare"), version(1), changes=[other], allow_changes=True).promote


def test_a_plan_is_measured_as_predict_answers() -> None:
    found = measure(GOOD, people(60))
    assert found.row_ms > 0.0
    assert len(GOOD) < found.memory_bytes < 1 << 20


# --- all of it ----------------------------------------------------------------------------------------


class Shop:
    """A registry whose champion was trained on some rows."""

    def __init__(self, spec: Spec | None = None) -> None:
        self.store = MemoryObjectStore("artifacts")
        self.registry = Registry(self.store)
        self.run = make_run("demo-2", spec=spec or Spec())

    def add(
        self,
        run_id: str,
        data: bytes,
        table: Table,
        held: Table,
        *,
        schema: bytes = SCHEMA_JSON,
        **facts: Any,
    ) -> Version:
        trained = io.BytesIO()
        np.save(trained, np.unique(fingerprints(table, SCHEMA)), allow_pickle=False)
        self.store.put(keys.schema(run_id), schema)
        block = write_block(SCHEMA, held.columns, held.target, held.record)
        self.store.put(keys.held_out(run_id), block)
        new = replace(version(0, run_id=run_id, **facts), signature=tuple(plan.read(data).signature.fields))
        new = replace(new, classes=("no", "yes"))
        beside = {"schema.json": schema, keys.TRAINED_ON: trained.getvalue()}
        return self.registry.register(new, data, beside=beside)

    def decide(self, new: Version, data: bytes) -> tuple[bool, str]:
        run = replace(self.run, run_id=new.run_id)
        gate = Gate(new, run, data, self.store, self.registry, 512)
        found = self.registry.decide(new, by="run", gate=gate)
        gate.keep()
        return found


def test_the_gate_reads_what_it_needs_and_keeps_what_it_found() -> None:
    shop = Shop()
    old, new = people(300, seed=1), people(200, seed=2)
    first = shop.add("demo-1", GOOD, old, new)
    assert shop.decide(first, GOOD) == (True, "Promoted: it is the first version of 'demo'.")
    # Half of what the second run held out, the first was trained on.
    columns = {
        name: np.concatenate([old.columns[name][:100], new.columns[name][:100]]) for name in old.columns
    }
    held = Table(
        columns, np.concatenate([old.target[:100], new.target[:100]]), np.arange(200, dtype=np.int64)
    )
    bad = plans.binary(intercept=-9.0)
    second = shop.add("demo-2", bad, new, held)
    promoted, reason = shop.decide(second, bad)
    assert not promoted
    assert "the same 100 held-out rows" in reason
    kept = shop.registry.verdict("demo", 2)
    assert (kept["promoted"], kept["reason"], kept["against"]) == (False, reason, 1)
    assert (kept["trial"]["rows"], kept["trial"]["left_out"]) == (100, 100)
    assert kept["footprint"]["row_ms"] < kept["limits"]["row_ms"]
    assert shop.registry.verdict("demo", 1)["trial"] is None
    # The verdict of a second attempt is the first one's.
    assert shop.decide(second, bad) == (promoted, reason)


def test_a_column_that_training_left_out_does_not_trouble_the_gate() -> None:
    """The schema says what the file has; the blocks and the plan have what was trained on."""
    shop = Shop()
    leak = Column("leak", 3, "number", "feature")
    wider = json.dumps(encode(replace(SCHEMA, columns=(*SCHEMA.columns, leak)))).encode()
    old, held = people(200, seed=1), people(100, seed=2)
    for number, run_id in enumerate(("demo-1", "demo-2"), start=1):
        new = shop.add(run_id, GOOD, old, held, schema=wider)
        promoted, reason = shop.decide(new, GOOD)
        assert (new.version, promoted) == (number, True), reason
    assert "the same 100 held-out rows" in reason


def test_where_too_few_rows_are_new_to_both_the_recorded_scores_decide() -> None:
    shop = Shop()
    table = people(200)
    shop.decide(shop.add("demo-1", GOOD, table, table), GOOD)
    second = shop.add("demo-2", GOOD, table, table, metrics={"log_loss": 0.31})
    promoted, reason = shop.decide(second, GOOD)
    assert not promoted
    assert "each on rows of its own" in reason


@pytest.mark.parametrize("gone", ["model.plan", "schema.json", keys.TRAINED_ON])
def test_a_champion_of_which_something_is_missing_is_judged_by_its_record(gone: str) -> None:
    shop = Shop()
    shop.decide(shop.add("demo-1", GOOD, people(200), people(200, 1)), GOOD)
    shop.store.delete(keys.version("demo", 1, gone))
    promoted, reason = shop.decide(shop.add("demo-2", GOOD, people(200, 2), people(200, 1)), GOOD)
    assert promoted
    assert "each on rows of its own" in reason


def test_a_slow_model_is_held_by_the_specs_limit() -> None:
    shop = Shop(Spec(max_latency_ms=1e-6))
    promoted, reason = shop.decide(shop.add("demo-1", GOOD, people(200), people(200, 1)), GOOD)
    assert not promoted
    assert "max_latency_ms" in reason
    assert shop.registry.live("demo") is None
