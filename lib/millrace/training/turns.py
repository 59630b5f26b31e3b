"""Turns: what does not fit into one invocation goes on in the next, and gives the same model to the bit.

An invocation that runs out of time stops between two fits, or between two rounds of a boosted one, stores how
far it is, and says so; the state machine invokes the function again, which reads that and goes on. What is
stored follows from the run's files alone: whoever writes it, however often, and whether it is lost or not,
the model is the same, and a loss costs time only. A boosted model goes on from the same trees, with the
generator that draws its columns where it was, on the same bins; its trees are added up in the same order.

What is stored are arrays and JSON under a checksum. It is no pickle, so reading it runs nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.contracts import ObjectStore
from millrace.errors import BadInput, NotFound
from millrace.training.kept import can_be_kept, keep_fitted, restore_fitted, restore_trees
from millrace.training.state import Kept, libraries, pack, unpack

__all__ = ["ALONE", "MOST_TURNS", "TOO_LONG", "Fits", "NotDone", "Turn"]

Floats = NDArray[np.float64]

MOST_TURNS = 20
"""Invocations, one after the other, for what one unit trains; then what is left is given up."""
SPARE_S = 20.0
"""Seconds that an invocation keeps to store its results; a fit that would need them is not begun."""
FIRST_ROUNDS = 10
"""Rounds that tell how long one takes, where all of them may not fit; and the fewest worth a leg of their
own, for each leg bins the rows anew."""
MARGIN = 1.5
"""How much longer a round may take than those before."""
SLOWEST_CELLS = 1_000_000
"""Rows x columns x trees that boosting goes through in a second on the slowest processor: what is shorter by
this is not cut into legs."""
TOO_LONG = "fit-too-long"
_HEAD = b"millrace turn 1\n"


class NotDone(Exception):
    """There is no time left, and another invocation is to go on. No error: it says what comes next."""


@dataclass(frozen=True)
class Turn:
    """One of the invocations that work at the same unit, one after the other.

    Attributes
    ----------
    number : int
        From 0.
    limit_s : float
        Seconds after which it stops where it can.
    remaining_s : callable
        Seconds until the invocation is ended.
    code : callable
        Version of the code: what another one stored is not gone on with.
    """

    number: int = 0
    limit_s: float = math.inf
    remaining_s: Callable[[], float] = lambda: math.inf
    code: Callable[[], str] = str

    @property
    def last(self) -> bool:
        """Whether no other follows it."""
        return self.number + 1 >= MOST_TURNS

    def answer(self, *, done: bool, **more: Any) -> dict[str, Any]:
        """Return what the state machine is to know: is the work done, whose turn is next, and ``more``."""
        return {"done": done, "next": self.number + 1, **more}


ALONE = Turn()
"""The first one, with all the time that there is."""


@dataclass
class Fits:
    """The fits of one unit: those that are done, and the one under way.

    Attributes
    ----------
    turn : Turn
        Which invocation this is, and its time.
    key : str
        Where the state is stored.
    artifacts : ObjectStore, optional
        The artifact bucket; without it nothing is stored, and nothing stops.
    of : Mapping
        What the state belongs to, as JSON types.
    finished : dict of str to (Mapping, ndarray)
        By place, what came of it, as JSON types, and predictions.
    """

    turn: Turn = ALONE
    key: str = ""
    artifacts: ObjectStore | None = None
    of: Mapping[str, Any] = field(default_factory=dict)
    finished: dict[str, tuple[Mapping[str, Any], Floats]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._began_s = self._able_s
        self._kept: dict[str, Kept] = {}
        self._fitted: dict[str, tuple[Any, Mapping[str, Any]]] = {}
        self._progressed = False
        if self.artifacts is not None:
            self._read(self.artifacts)

    # --- time ------------------------------------------------------------------------------------

    @property
    def _able_s(self) -> float:
        """Seconds that the invocation can work on."""
        return self.turn.remaining_s() - SPARE_S

    @property
    def _left_s(self) -> float:
        """Seconds until it is to stop."""
        able_s = self._able_s
        if math.isinf(able_s) or math.isinf(self.turn.limit_s):
            return min(able_s, self.turn.limit_s)
        return min(able_s, self.turn.limit_s - (self._began_s - able_s))

    def may_begin(self, expected_s: float) -> bool:
        """Tell whether there is time for what likely takes so long.

        What comes first in an invocation is begun whenever it can be done at all.

        Raises
        ------
        NotDone
            There is none now, and the next invocation has more.
        """
        if not self._progressed:
            return self._able_s >= expected_s
        if self._left_s >= expected_s:
            return True
        if self.turn.last:
            return False
        raise NotDone

    def pause(self) -> None:
        """Let the next invocation do what follows if this one has used more than half of its time.

        Raises
        ------
        NotDone
            It has.
        """
        half_s = min(self.turn.limit_s, self._began_s) / 2
        if self._progressed and not self.turn.last and self._left_s < half_s:
            raise NotDone

    # --- fitting ---------------------------------------------------------------------------------

    def note(self, place: str, result: Mapping[str, Any], predictions: Floats) -> None:
        """Keep what came of a fit; the model itself is needed no more."""
        self.finished[place] = result, predictions
        self._fitted.pop(place, None)
        self._kept.pop(place, None)
        self._progressed = True

    def seconds(self, place: str) -> float:
        """Return how long earlier invocations have fitted what is under way there."""
        return float(self._kept[place].about["seconds"]) if place in self._kept else 0.0

    def take_over(self, others: Fits) -> None:
        """Go on with what other invocations stored of fits of their own."""
        self._kept |= others._kept

    def hold(self, place: str, estimator: Any, seconds: float, *, ended: bool = True) -> None:
        """Have a fitted estimator, or one under way, stored with the others if it comes to that."""
        if can_be_kept(estimator):
            self._fitted[place] = estimator, {"seconds": seconds, "ended": ended}
            self._progressed = True

    def restored(self, place: str, estimator: Any, X: Any, y: NDArray[Any], **data: Any) -> bool:
        """Make an unfitted estimator what was stored of it, if it was fitted to its end; tell whether it is.

        Parameters
        ----------
        place, estimator, X, y, **data
            As for :meth:`fit`, of any estimator.
        """
        if place not in self._kept or not self._kept[place].about["ended"]:
            return False
        restore_fitted(estimator, self._kept[place], X, y, **data)
        return True

    def fit(self, place: str, estimator: Any, X: Any, y: NDArray[Any], **data: Any) -> None:
        """Fit a boosted model, from where it was stored if it was, and as far as there is time.

        Parameters
        ----------
        place : str
            Which fit of the unit it is.
        estimator : HistGradientBoostingClassifier or HistGradientBoostingRegressor
            Unfitted; its ``max_iter`` is the most rounds.
        X, y, **data
            What ``fit`` takes: the same in every invocation.

        Raises
        ------
        NotDone
            The next invocation goes on.
        BadInput
            There is no next one.
        """
        if self.restored(place, estimator, X, y, **data):
            return
        most, rounds, seconds, ended = estimator.max_iter, 0, 0.0, False
        if place in self._kept:
            restore_trees(estimator, self._kept[place], X.shape[1])
            rounds, seconds = estimator.n_iter_, self._kept[place].about["seconds"]
        elif not self.may_begin(0.0):
            raise _too_long(place)
        pace = seconds / rounds if rounds else None
        outputs = len(np.unique(y)) if hasattr(estimator, "predict_proba") else 1
        cells = X.shape[0] * X.shape[1] * (outputs if outputs > 2 else 1)
        estimator.set_params(warm_start=True)
        while not ended:
            aim = rounds + self._leg(place, most - rounds, pace, cells)
            began = time.perf_counter()
            estimator.set_params(max_iter=aim).fit(X, y, **data)
            took = time.perf_counter() - began
            pace = took / max(1, estimator.n_iter_ - rounds)
            seconds += took
            rounds = estimator.n_iter_
            ended = rounds == most or rounds < aim or _has_stopped(estimator)
            self.hold(place, estimator, seconds, ended=ended)
            if not ended:
                self.store()
        estimator.set_params(max_iter=most, warm_start=False)

    def _leg(self, place: str, rest: int, pace: float | None, cells: int) -> int:
        """Return how many of the remaining rounds come next."""
        left_s = self._left_s
        if pace is None:
            return rest if rest * cells <= SLOWEST_CELLS * left_s else min(rest, FIRST_ROUNDS)
        if math.isinf(left_s):
            return rest
        able = int(max(0.0, left_s) / (MARGIN * pace))
        if not self._progressed:
            able = max(able, min(FIRST_ROUNDS, int(self._able_s / (MARGIN * pace))), 1)
        elif able < min(rest, FIRST_ROUNDS):
            if self.turn.last:
                raise _too_long(place)
            raise NotDone
        return min(rest, able)

    # --- storing ---------------------------------------------------------------------------------

    def store(self) -> None:
        """Store how far it is. Any such state is right, so a later one need not be the further one."""
        if self.artifacts is None:
            return
        kept = self._kept | {place: keep_fitted(*one) for place, one in self._fitted.items()}
        arrays = {f"{place}/{name}": a for place, one in kept.items() for name, a in one.arrays.items()}
        arrays |= {f"{place}/predictions": found for place, (_, found) in self.finished.items()}
        about = self._about() | {
            "fits": {place: dict(one.about) for place, one in kept.items()},
            "finished": {place: dict(result) for place, (result, _) in self.finished.items()},
        }
        self.artifacts.put(self.key, pack(_HEAD, about, arrays))

    def _about(self) -> dict[str, Any]:
        return {"of": dict(self.of), "code": self.turn.code(), "libraries": libraries()}

    def _read(self, artifacts: ObjectStore) -> None:
        """Read the state; one that is damaged, or of other code, is left alone: the work begins anew."""
        try:
            found = unpack(_HEAD, artifacts.get(self.key))
        except NotFound:
            return
        if found is None:
            return
        about, arrays = found
        if {name: about.get(name) for name in self._about()} != self._about():
            return
        of_place: dict[str, dict[str, NDArray[Any]]] = {}
        for name, array in arrays.items():
            place, _, what = name.rpartition("/")
            of_place.setdefault(place, {})[what] = array
        self._kept = {place: Kept(of_place[place], one) for place, one in about["fits"].items()}
        self.finished = {
            place: (result, of_place[place]["predictions"]) for place, result in about["finished"].items()
        }


def _too_long(place: str) -> BadInput:
    return BadInput(
        f"The fit {place!r} did not end in {MOST_TURNS} invocations",
        code=TOO_LONG,
        remedy="Give the functions more memory, and with it processors, or the spec the budget 'quick'.",
    )


def _has_stopped(estimator: Any) -> bool:
    """Tell whether early stopping would end it now: its last round may be the last of a leg as well."""
    return bool(estimator.do_early_stopping_ and estimator._should_stop(list(estimator.validation_score_)))
