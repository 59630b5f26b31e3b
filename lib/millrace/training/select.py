"""Select: an ensemble or the best candidate, fitted, judged once on held-out rows, and compiled to a plan."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sklearn
from numpy.typing import NDArray

from millrace import __version__, plan
from millrace.compiler import certified
from millrace.contracts import Budget, Schema
from millrace.errors import BadInput
from millrace.features.blocks import write_block
from millrace.features.candidates import CANDIDATES, candidate
from millrace.features.limits import LIMITS
from millrace.features.plan import feature_plan
from millrace.scoring.fastest import block_scorer
from millrace.training.answers import answers_of
from millrace.training.ensemble import Calibration, calibration, choose, fit_ensemble
from millrace.training.estimators import CLASS_POWER
from millrace.training.evaluate import Answer
from millrace.training.frame import to_frame
from millrace.training.intervals import Interval, interval
from millrace.training.judge import judge
from millrace.training.metrics import best_first
from millrace.training.newton import Exact
from millrace.training.pipeline import predict
from millrace.training.splits import sample
from millrace.training.train import CandidateResult, Cut, Sides, cv_score, rows_of
from millrace.training.turns import Fits
from millrace.training.update import Members, Searched, sides_learned

if TYPE_CHECKING:
    from millrace.features.blocks import Table

__all__ = ["Choice", "Selection", "choices", "judge_update", "select"]

_OF_SEARCH = ("metric", "candidates", "chosen", "cv_score", "cv_std", "calibration")
"""What of an evaluation an update leaves as the search made it."""
HELD_OUT_ROWS = 2_000
"""Held-out rows that stay with the run's files, for whoever compares an export of the model with its plan."""
MOST_CLASS_NOTES = 5
"""Notes about single classes; with more of them one sentence sums them up."""


@dataclass(frozen=True)
class Selection:
    """What ``select`` decided.

    Attributes
    ----------
    plan : bytes
        The scoring plan of the chosen candidate.
    evaluation : Mapping
        Candidates, metrics, baseline, parity, curves, importance and notes, as JSON types.
    held_out : bytes
        A training block of at most ``HELD_OUT_ROWS`` held-out rows.
    sides : Sides
        The rows that are held out, and the others.
    found : Searched, optional
        What was chosen, for an update to go on with; none after an update.
    """

    plan: bytes
    evaluation: Mapping[str, Any]
    held_out: bytes
    sides: Sides
    found: Searched | None = None


@dataclass(frozen=True)
class Choice:
    """One model that could be.

    Attributes
    ----------
    name : str
        ``"ensemble"``, or the candidate's.
    weights : Mapping
        By candidate, the heaviest first.
    cv_score, cv_std : float
        Mean and standard deviation over the folds.
    metric : str
        What these are.
    notes : tuple of str
        What people should know, as sentences.
    predictions : ndarray of shape (n, classes) or (n,)
        Out-of-fold, aligned with the rows that were cut.
    """

    name: str
    weights: Mapping[str, float]
    cv_score: float
    cv_std: float
    metric: str
    notes: tuple[str, ...]
    predictions: NDArray[np.float64]


@dataclass(frozen=True)
class _Certified:
    """A fitted model whose plan agrees with it."""

    choice: Choice
    plan: bytes
    calibration: Calibration
    interval: Interval | None
    parity: Mapping[str, Any]
    notes: tuple[str, ...]
    kept: Members
    refit: Callable[[NDArray[np.intp]], Answer]


def select(
    table: Table,
    schema: Schema,
    cut: Cut,
    results: Sequence[CandidateResult],
    possible: Sequence[Choice],
    *,
    model: str,
    budget: Budget,
    seed: int,
    exact: Exact | None = None,
    fits: Fits | None = None,
    keep: bool = False,
) -> Selection:
    """Fit, compile and evaluate the first model that can be served.

    A calibration is chosen by the log loss of the out-of-fold predictions. The members are fitted to all
    training rows and compiled together. If that cannot be compiled, or its plan departs from scikit-learn on
    a held-out row, the next model has its turn, and notes say so. The targets of the held-out rows are looked
    at once, for the chosen one.

    Parameters
    ----------
    table : Table
        All rows.
    schema : Schema
        Columns, task and metric.
    cut : Cut
        The rows that the candidates learned from, and their folds.
    results : sequence of CandidateResult
        How the candidates did, failed and stopped ones included, in their order.
    possible : sequence of Choice
        As :func:`choices` returns them.
    model : str
        The model's name, written into the plan.
    budget : Budget
        Bounds, as in ``train``.
    seed : int
        The run's seed.
    exact : Exact, optional
        Weights of linear candidates that were fitted to more rows than the table's.
    fits : Fits, optional
        What earlier invocations fitted of this, and the time of this one.
    keep : bool
        Whether updates are to go on with what is chosen.

    Returns
    -------
    Selection
        Plan and evaluation.

    Raises
    ------
    BadInput
        None can be compiled faithfully.
    NotDone
        There is no time left, and the next invocation goes on with ``fits``.
    """
    fits = fits or Fits()
    sides = cut.sides
    frame = to_frame(table, schema)
    best = _first_certified(
        *(table, schema, frame, cut, possible, results, exact, fits),
        model=model,
        budget=budget,
        seed=seed,
        keep=keep,
    )
    judged = judge(
        _served(best.plan, schema),
        best.refit,
        next(iter(best.choice.weights)),
        table,
        schema,
        frame,
        sides,
        metric=best.choice.metric,
        around=best.interval,
        seed=seed,
    )
    notes = [*best.choice.notes, *best.notes, *_class_notes(table, schema, sides), *judged["notes"]]
    chosen = {
        "metric": best.choice.metric,
        "candidates": [
            {
                "name": result.name,
                "about": CANDIDATES[result.name].about,
                "cv_score": result.cv_score,
                "cv_std": result.cv_std,
                "fit_seconds": result.fit_seconds,
                "state": result.state,
                "error": result.error,
                "weight": best.choice.weights.get(result.name, 0.0),
            }
            for result in results
        ],
        "chosen": best.choice.name,
        "cv_score": best.choice.cv_score,
        "cv_std": best.choice.cv_std,
        "calibration": {"method": best.calibration.method, "log_loss": dict(best.calibration.log_loss)},
        "features": _features(schema, next(iter(best.choice.weights))),
        "parity": dict(best.parity),
    }
    trained = len(cut.chosen)
    evaluation = _evaluation(schema, chosen, judged, notes, sides, trained, best.plan, seed)
    found = None
    if keep:
        rounds = {result.name: result.rounds for result in results}
        found = Searched(best.choice.weights, rounds, best.calibration, best.interval, best.kept)
    return Selection(best.plan, evaluation, _held_out(table, schema, sides, seed), sides, found)


def judge_update(
    table: Table,
    schema: Schema,
    learned: Mapping[str, Any],
    compiled: bytes,
    before: Mapping[str, Any],
    *,
    budget: Budget,
    seed: int,
) -> Selection:
    """Evaluate a version that has learned further rows; its plan answers.

    Parameters
    ----------
    table : Table
        The rows of all files.
    schema : Schema
        Columns, task and metric.
    learned : Mapping
        What :func:`millrace.training.update.update` says of it.
    compiled : bytes
        Its plan.
    before : Mapping
        The evaluation of the version that it was.
    budget : Budget
        Bounds, as in ``train``.
    seed : int
        The run's seed.
    """
    sides = sides_learned(table, schema, learned["ends"], budget=budget, seed=seed)
    heaviest = next(iter(learned["weights"]))
    frame = to_frame(table, schema)
    judged = judge(
        *(_served(compiled, schema), None, heaviest, table, schema, frame, sides),
        metric=before["metric"],
        around=None if learned["interval"] is None else Interval(**learned["interval"]),
        seed=seed,
    )
    updated = learned["updated"]
    notes = [_says(updated), *(f"{name}: {how}." for name, how in learned["how"].items()), *judged["notes"]]
    chosen = {
        **{name: before[name] for name in _OF_SEARCH},
        "features": _features(schema, heaviest),
        "parity": learned["parity"],
        "updated": updated,
    }
    evaluation = _evaluation(schema, chosen, judged, notes, sides, len(sides.training), compiled, seed)
    return Selection(compiled, evaluation, _held_out(table, schema, sides, seed), sides)


def _evaluation(
    schema: Schema,
    chosen: Mapping[str, Any],
    judged: Mapping[str, Any],
    notes: Sequence[str],
    sides: Sides,
    trained: int,
    compiled: bytes,
    seed: int,
) -> dict[str, Any]:
    """Return what is said of a version: what was chosen, how it was judged, and what it was made of."""
    return {
        "task": schema.task,
        "target": schema.target,
        "target_format": schema.column(schema.target).format,
        "classes": list(schema.classes),
        "rows": {"trained": trained, "holdout": len(sides.held_out)},
        **chosen,
        **judged,
        "notes": list(dict.fromkeys(notes)),
        "libraries": _libraries(),
        "plan_bytes": len(compiled),
        "seed": seed,
    }


def _says(updated: Mapping[str, int]) -> str:
    """Say that a version was made by no search."""
    return (
        f"This version is version {updated['version']} after it learned {updated['rows']} new rows: update "
        f"{updated['updates']} since the search that made version {updated['searched']}. Candidates, their "
        "scores and the calibration are those of that search."
    )


def _held_out(table: Table, schema: Schema, sides: Sides, seed: int) -> bytes:
    """Return held-out rows as a training block."""
    rows = sides.held_out[sample(table.record[sides.held_out], HELD_OUT_ROWS, seed=seed)]
    columns = {name: column[rows] for name, column in table.columns.items()}
    return write_block(schema, columns, table.target[rows], table.record[rows])


def _features(schema: Schema, name: str) -> dict[str, str]:
    """Return what each feature column became for a candidate, in a sentence or two."""
    became: dict[str, str] = {}
    for encoding in feature_plan(schema, candidate(name).family).encodings:
        before = became.get(encoding.column)
        became[encoding.column] = f"{before} {encoding.reason}" if before else encoding.reason
    return became


def choices(
    schema: Schema,
    cut: Cut,
    results: Sequence[CandidateResult],
    out_of_fold: Mapping[str, NDArray[np.float64]],
    budget: Budget,
) -> list[Choice]:
    """Return the models that could be, the one to try first at the head.

    Where the budget pays for it, that is an ensemble, chosen on the out-of-fold predictions; then come the
    single candidates, the best first.

    Parameters
    ----------
    schema, cut, results, budget
        As in :func:`select`.
    out_of_fold : mapping of str to ndarray
        Out-of-fold predictions of those that validated every fold.

    Raises
    ------
    BadInput
        No candidate succeeded.
    """
    able = [result for result in results if result.name in out_of_fold and result.cv_score is not None]
    if not able:
        errors = "; ".join(f"{result.name}: {result.error}" for result in results)
        raise BadInput(
            f"No candidate could be trained ({errors or 'there were none'})",
            code="no-candidate",
            remedy="Correct the file; if the candidates ran out of time or memory, give the functions more "
            "memory or the spec the budget 'quick'.",
        )
    metric = able[0].metric
    scores = {result.name: _score(result) for result in able}
    by_name = {result.name: result for result in able}
    alone = [
        Choice(
            *(name, {name: 1.0}, scores[name], by_name[name].cv_std or 0.0, metric, by_name[name].notes),
            out_of_fold[name],
        )
        for name in best_first(metric, scores)
    ]
    members = LIMITS[budget].members
    if members == 1 or len(able) == 1:
        return alone
    weights = choose(metric, cut.rows.target, out_of_fold, most=members)
    if len(weights) == 1:
        return alone
    together = np.asarray(sum(weight * out_of_fold[name] for name, weight in weights.items()))
    numbers = tuple(range(len(cut.folds)))
    _, mean, std, notes = cv_score(schema, cut, together, numbers)
    return [Choice("ensemble", weights, mean, std, metric, (*notes, *cut.note()), together), *alone]


def _first_certified(
    table: Table,
    schema: Schema,
    frame: pd.DataFrame,
    cut: Cut,
    possible: Sequence[Choice],
    results: Sequence[CandidateResult],
    exact: Exact | None,
    fits: Fits,
    *,
    model: str,
    budget: Budget,
    seed: int,
    keep: bool,
) -> _Certified:
    """Return the first choice that compiles faithfully."""
    limits = LIMITS[budget]
    rounds = {result.name: result.rounds for result in results}
    struck = [result.name for result in results if result.struck]
    refused: list[str] = []
    for choice in possible:
        chosen = Calibration()
        # Classes that were weighed have probabilities that are shifted on purpose; and a single model is
        # explained in its own terms, as long as no calibration stands around it.
        shifted = schema.class_weight == "balanced" or (
            schema.class_weight is None and schema.metric in CLASS_POWER
        )
        if schema.task != "regression" and limits.members > 1 and not shifted:
            chosen = calibration(cut.rows.target, choice.predictions, cut.folds)
        about = {
            "candidate": choice.name,
            "members": dict(choice.weights),
            "calibration": chosen.method,
            "trained_rows": len(cut.chosen),
            "seed": seed,
        }
        if struck:
            about["struck"] = struck
        around = None
        if schema.task == "regression":
            around = interval(cut.rows.target, choice.predictions)
        fit = functools.partial(fit_ensemble, rounds=rounds, schema=schema, limits=limits, seed=seed)
        kept = Members(cut.rows.target)
        try:
            fitted = fit(
                choice.weights,
                rows=cut.rows,
                calibration=chosen,
                exact=exact.weights if exact else None,
                fits=fits,
                keep=kept if keep else None,
            )
            fits.pause()
            compiled, parity = certified(
                fitted,
                schema=schema,
                model=model,
                frame=frame.iloc[cut.sides.held_out],
                interval=None if around is None else asdict(around),
                background=cut.rows.frame,
                extra_header=about,
            )
        except (BadInput, ValueError) as error:  # it cannot be fitted or served faithfully; the next one may
            kind = "ensemble" if choice.name == "ensemble" else f"candidate {choice.name}"
            refused.append(f"The {kind} was better in cross-validation but is left out: {error}")
            continue
        told = [
            f"The candidate {name} met a limit of time or memory: on another machine the model may differ."
            for name in struck
        ]
        told += exact.notes(choice.weights) if exact else ()
        # The learning curve is of the heaviest member alone, a forest with fewer trees: it costs several
        # fits, and answers no request.
        alone = functools.partial(fit, {next(iter(choice.weights)): 1.0}, limits=LIMITS["quick"])
        refit = functools.partial(_refitted, alone, table, schema, frame)
        return _Certified(choice, compiled, chosen, around, asdict(parity), (*refused, *told), kept, refit)
    raise BadInput(
        "No candidate can be compiled to a faithful scoring plan",
        code="no-plan",
        where=" ".join(refused),
        remedy="Report this: candidates are chosen so that they can be compiled.",
    )


def _served(compiled: bytes, schema: Schema) -> Answer:
    """Return what the plan answers: what is judged is what will be served."""
    model = plan.read(compiled)
    scorer = block_scorer(model)

    def answer(frame: pd.DataFrame) -> NDArray[np.float64]:
        columns = {str(name): np.ascontiguousarray(frame[name].to_numpy()) for name in frame}
        return answers_of(model, columns, schema, len(frame), scorer)

    return answer


def _refitted(
    fit: Callable[..., Any], table: Table, schema: Schema, frame: pd.DataFrame, rows: NDArray[np.intp]
) -> Answer:
    """Fit a candidate to other rows, and return what then answers."""
    fitted = fit(rows=rows_of(table, schema, frame, rows))
    return functools.partial(predict, fitted, schema=schema)


def _score(result: CandidateResult) -> float:
    if result.cv_score is None:
        raise ValueError(f"the candidate {result.name} has no score")
    return result.cv_score


def _class_notes(table: Table, schema: Schema, sides: Sides) -> list[str]:
    """Say which classes the evaluation knows nothing of."""
    if schema.task == "regression":
        return []
    count = len(schema.classes)
    trained = np.bincount(table.target[sides.training], minlength=count)
    held = np.bincount(table.target[sides.held_out], minlength=count)
    notes = []
    for code, label in enumerate(schema.classes):
        if trained[code] == 0:
            notes.append(f"The class {label!r} has no row to train on: the model never answers it.")
        elif trained[code] == 1 and held[code] == 0:
            notes.append(f"The class {label!r} has one row: the model knows it, but no score tells how well.")
        elif held[code] == 0:
            notes.append(
                f"The class {label!r} has no held-out row: no hold-out score tells how well it does."
            )
    return notes if len(notes) <= MOST_CLASS_NOTES else [_summary(trained, held)]


def _summary(trained: NDArray[np.int64], held: NDArray[np.int64]) -> str:
    return (
        f"{int((held == 0).sum())} of {len(held)} classes have no held-out row, "
        f"{int((trained == 1).sum())} have one row to train on: no score tells how well they are learned."
    )


def _libraries() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "millrace": __version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "pandas": pd.__version__,
    }
