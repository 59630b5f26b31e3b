"""What does not fit into one invocation goes on in the next, and gives the same model to the bit."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from millrace import keys
from millrace.contracts import decode, is_there
from millrace.errors import BadInput
from millrace.features.search import Unit
from millrace.training import apart, turns
from millrace.training.apart import members_apart
from millrace.training.stages import select_model, train
from millrace.training.train import CandidateResult
from millrace.training.turns import ALONE, MOST_TURNS, SPARE_S, TOO_LONG, Fits, NotDone, Turn
from tests.fakes import MemoryObjectStore
from tests.unit.test_training_stages import SPEC, artifacts, prepare
from tests.world import World


class Clock:
    """Seconds until an invocation ends, of which each look at them takes some."""

    def __init__(self, step_s: float) -> None:
        self.left_s, self.step_s = SPARE_S + 60.0, step_s

    def __call__(self) -> float:
        self.left_s -= self.step_s
        return self.left_s


def hurried(number: int = 0, limit_s: float = 1.0) -> Turn:
    """Return an invocation that is out of time after so many looks at the clock."""
    return Turn(number, limit_s=limit_s, remaining_s=Clock(1.0))


def trees(estimator: Any) -> list[bytes]:
    made = [tree for iteration in estimator._predictors for tree in iteration]
    return [tree.nodes.tobytes() + tree.raw_left_cat_bitsets.tobytes() for tree in made]


def rows_of(loss: str, classes: int) -> tuple[NDArray[np.float64], NDArray[Any], NDArray[np.float64]]:
    """Return rows with a category and missing values, a target, and weights."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(400, 5))
    X[rng.random(X.shape) < 0.05] = np.nan
    X[:, 0] = rng.integers(0, 12, 400)
    signal = np.nan_to_num(X[:, 1]) + X[:, 0] % 3 + 0.3 * rng.normal(size=400)
    if classes:
        return X, np.digitize(signal, np.quantile(signal, np.arange(1, classes) / classes)), rng.random(400)
    return X, np.exp(signal / 3) if loss in ("poisson", "gamma") else signal, rng.random(400)


@pytest.mark.parametrize("stops", [True, False], ids=["early-stopping", "all-rounds"])
@pytest.mark.parametrize(
    ("loss", "classes"),
    [
        ("squared_error", 0),
        ("absolute_error", 0),
        ("quantile", 0),
        ("poisson", 0),
        ("gamma", 0),
        ("log_loss", 2),
        ("log_loss", 3),
    ],
)
def test_boosting_that_was_resumed_grows_the_same_trees(loss: str, classes: int, stops: bool) -> None:
    X, y, weight = rows_of(loss, classes)
    weighed = loss == "gamma" and not stops
    settings: dict[str, Any] = {"loss": loss, "early_stopping": stops, "max_iter": 12 if weighed else 50}
    settings |= {"max_features": 0.5, "random_state": 5, "learning_rate": 0.3}
    settings |= {"categorical_features": np.arange(5) < 1}
    kind: Any = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    if loss == "quantile":
        settings["quantile"] = 0.8
    data: dict[str, Any] = {"sample_weight": weight[:300] if weighed else None}
    if stops:
        settings["n_iter_no_change"] = 5
        data |= {"X_val": X[300:], "y_val": y[300:]}
    whole = kind(**settings).fit(X[:300], y[:300], **data)

    store = MemoryObjectStore("artifacts")
    done, used = False, 0
    while not done:
        used += 1
        resumed = kind(**settings)
        try:
            Fits(hurried(), "state", store).fit("one", resumed, X[:300], y[:300], **data)
            done = True
        except NotDone:
            assert len(store.get("state")) > 1000
    assert used > 1
    assert resumed.n_iter_ == whole.n_iter_
    assert trees(resumed) == trees(whole)
    assert np.array_equal(resumed.validation_score_, whole.validation_score_)
    assert resumed.get_params() | {"categorical_features": 0} == whole.get_params() | {
        "categorical_features": 0
    }
    answer = "predict_proba" if classes else "predict"
    assert np.array_equal(getattr(resumed, answer)(X), getattr(whole, answer)(X))


def turned(run_id: str, world: Any, unit: Unit | None) -> int:
    """Take a unit, or the selection, through as many hurried invocations as it needs; return how many."""
    answer: dict[str, Any] = {"done": False, "next": 0}
    while not answer["done"]:
        assert world.runs.get(run_id).progress["train"].done == (0 if unit else 1)
        turn = hurried(answer["next"], 4.0)
        if unit is None:
            answer = select_model(run_id, world.artifacts, world.runs, turn)
        else:
            answer = train(run_id, unit, world.artifacts, world.runs, turn)
    return int(answer["next"])


def test_a_run_in_many_short_invocations_gives_the_same_bytes_as_an_undisturbed_one() -> None:
    unit = Unit(0, ("boosted_trees",), (0, 1, 2))
    found = []
    for disturbed in (True, False):
        world, run_id = prepare(SPEC)
        if disturbed:
            assert turned(run_id, world, unit) > 2
            assert turned(run_id, world, None) > 1
        else:
            train(run_id, unit, world.artifacts, world.runs)
            select_model(run_id, world.artifacts, world.runs)
            assert not list(world.artifacts.list(keys.run(run_id, "turns/")))
        results = artifacts(world).json(keys.trained(run_id, 0))
        assert not any(one["struck"] or one["error"] for one in results)
        arrays = world.artifacts.get(keys.trained_predictions(run_id, 0))
        plan = world.artifacts.get(keys.run_plan(run_id))
        found.append(([one | {"seconds": 0} for one in results], arrays[-500:], plan))
    assert found[0] == found[1]


def test_what_an_invocation_stored_before_it_died_is_gone_on_with() -> None:
    X, y, _ = rows_of("squared_error", 0)
    store = MemoryObjectStore("artifacts")
    model = HistGradientBoostingRegressor(max_iter=60, early_stopping=False)
    with pytest.raises(NotDone):  # as far as it came, nobody stored more
        Fits(hurried(), "state", store).fit("one", model, X, y)
    rounds = []
    fits = Fits(replace(hurried(), limit_s=np.inf, remaining_s=lambda: np.inf), "state", store)
    again = HistGradientBoostingRegressor(max_iter=60, early_stopping=False)
    fit = again.fit
    again.fit = lambda *data, **more: (rounds.append(again.n_iter_), fit(*data, **more))[1]
    fits.fit("one", again, X, y)
    assert rounds == [turns.FIRST_ROUNDS]
    assert trees(again) == trees(HistGradientBoostingRegressor(max_iter=60, early_stopping=False).fit(X, y))


@pytest.mark.parametrize("what", ["damaged", "cut off", "of other code", "of another unit"])
def test_a_state_that_is_not_ours_is_left_alone(what: str) -> None:
    store = MemoryObjectStore("artifacts")
    first = Fits(hurried(), "state", store, {"unit": 1})
    first.note("linear.0", {"score": 1.0}, np.arange(3.0))
    first.store()
    assert Fits(hurried(), "state", store, {"unit": 1}).finished["linear.0"][0] == {"score": 1.0}
    data = bytearray(store.get("state"))
    if what == "damaged":
        data[-30] ^= 1
    store.put("state", bytes(data[:-9] if what == "cut off" else data))
    turn = replace(hurried(), code=(lambda: "other") if what == "of other code" else str)
    fits = Fits(turn, "state", store, {"unit": 2 if what == "of another unit" else 1})
    assert fits.finished == {}


def test_trees_that_lead_out_of_their_nodes_are_refused() -> None:
    X, y, _ = rows_of("squared_error", 0)
    store = MemoryObjectStore("artifacts")
    with pytest.raises(NotDone):
        Fits(hurried(), "state", store).fit("one", HistGradientBoostingRegressor(max_iter=60), X, y)
    for name, value in (("left", 0), ("right", 1 << 20), ("feature_idx", 5), ("feature_idx", -1)):
        fits = Fits(hurried(), "state", store)
        fits._kept["one"].arrays["nodes"][name][0] = value
        with pytest.raises(ValueError, match="leads out"):
            fits.fit("one", HistGradientBoostingRegressor(max_iter=60), X, y)


def test_after_the_last_invocation_a_fit_is_given_up_and_recorded_as_struck() -> None:
    X, y, _ = rows_of("squared_error", 0)
    with pytest.raises(BadInput) as caught:
        Fits(hurried(MOST_TURNS - 1)).fit("one", HistGradientBoostingRegressor(max_iter=60), X, y)
    assert caught.value.code == TOO_LONG

    world, run_id = prepare(SPEC)
    unit = Unit(0, ("boosted_trees",), (0, 1, 2))
    answer = train(run_id, unit, world.artifacts, world.runs, hurried(MOST_TURNS - 1))
    assert answer["done"] is True
    results = artifacts(world).json(keys.trained(run_id, 0))
    assert [one["struck"] for one in results] == [True] * 3
    assert "did not end in 20 invocations" in json.dumps(results)


def test_what_follows_the_fits_has_half_an_invocation_at_least() -> None:
    for spent_s, pauses in ((10.0, False), (40.0, True)):
        left = [SPARE_S + 60.0]
        fits = Fits(Turn(remaining_s=lambda left=left: left[0]))
        left[0] -= spent_s
        fits.pause()  # nothing was done: another invocation would be no better off
        fits.note("linear.0", {}, np.empty(0))
        if pauses:
            with pytest.raises(NotDone):
                fits.pause()
        else:
            fits.pause()


@pytest.fixture(scope="module")
def waves() -> tuple[World, str, bytes]:
    """Return a run on a table that several kinds learn something of, trained, and its plan."""
    world = World()
    world.data.put("datasets/waves/spec.json", b'{"target": "height", "budget": "standard", "seed": 3}')
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(240, 4)).round(3)
    height = np.sin(2 * rows[:, 0]) + rows[:, 1] * (rows[:, 2] > 0) + draw.normal(scale=0.3, size=240)
    lines = [",".join(f"{value:.3f}" for value in (*row, y)) for row, y in zip(rows, height, strict=True)]
    data = "\n".join(["wind,tide,depth,swell,height", *lines]).encode() + b"\n"
    run_id = world.prepare(data, "datasets/waves/waves.csv")
    for unit in world.collect(run_id).units:
        train(run_id, unit, world.artifacts, world.runs)
    trained = deepcopy(world)
    assert select_model(run_id, world.artifacts, world.runs)["done"] is True
    return trained, run_id, world.artifacts.get(keys.run_plan(run_id))


@pytest.mark.parametrize("how", ["at once", "hurried", "one is lost", "one is damaged", "one fails"])
def test_members_fitted_apart_make_the_same_model(
    how: str, waves: tuple[World, str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, run_id, plan = deepcopy(waves[0]), *waves[1:]
    units = world.collect(run_id).units
    monkeypatch.setattr(apart, "WORTH_S", 0.0)
    answer = select_model(run_id, world.artifacts, world.runs)
    assert answer["done"] is False
    assert not is_there(keys.run_plan(run_id), world.artifacts)
    asked = [decode(Unit, unit) for unit in answer["units"]]
    assert [unit.part for unit in asked] == [len(units) + i for i in range(len(asked))]
    if how == "one fails":
        with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
            patch.setattr("millrace.training.stages.fit_whole", lambda *_, **__: 1 / 0)
            train(run_id, asked[0], world.artifacts, world.runs)
    for unit in asked[1:] if how in ("one is lost", "one fails") else asked:
        turn = hurried(0, 4.0) if how == "hurried" else ALONE
        while not (state := train(run_id, unit, world.artifacts, world.runs, turn))["done"]:
            turn = hurried(state["next"], 4.0)
    if how == "one is damaged":
        world.artifacts.put(keys.turn(run_id, f"train-{asked[0].part:03d}"), b"none of ours")

    restored: list[str] = []
    restore = turns.Fits.restored
    monkeypatch.setattr(
        turns.Fits,
        "restored",
        lambda self, place, *a, **more: restore(self, place, *a, **more) and not restored.append(place),
    )
    assert select_model(run_id, world.artifacts, world.runs, trained=asked)["done"] is True
    names = [unit.candidates[0] for unit in asked]
    assert restored == (names[1:] if how.startswith("one") else names)
    progress = world.runs.get(run_id).progress["train"]
    assert progress.total == len(units) + len(asked)
    assert progress.complete == (how != "one is lost")
    assert world.artifacts.get(keys.run_plan(run_id)) == plan


def test_members_are_fitted_apart_where_that_spares_time() -> None:
    results = [
        CandidateResult(name, "ok", fit_seconds=seconds, folds=5, rounds=rounds)
        for name, seconds, rounds in (
            ("linear", 900.0, None),
            ("boosted_trees", 80.0, 70),
            ("forest", 40.0, None),
            ("network", 12.0, None),
        )
    ]
    members = [result.name for result in results]
    asked = members_apart(members, results, first=9, limit_s=600.0)
    assert asked == (
        Unit(9, ("boosted_trees",), (), whole=True, rounds=70),
        Unit(10, ("forest",), (), whole=True),
        Unit(11, ("network",), (), whole=True),
    )
    short = members_apart(members[::3], results, first=9, limit_s=600.0)
    assert short == (), "one alone is fitted where it is"
    few = [result if result.name != "forest" else replace(result, fit_seconds=12.0) for result in results]
    assert members_apart(members, few, first=9, limit_s=600.0) == (), "6 s are not worth it"
    assert len(members_apart(members, few, first=9, limit_s=20.0)) == 3, "they do not fit into one invocation"
