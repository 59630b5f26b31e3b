"""An update: the live version learns rows that it has not seen, instead of a search.

Its features, members, weights and calibration stay. The features are fitted again to the rows of the search,
which lie in the same table, under the same numbers; that they became what they were is looked at. The members
learn (:mod:`millrace.training.further`), and the whole is compiled and certified as any model is.

Each file's rows are divided on their own when it comes, and stay where they are: what was held out once is
never learned from until the next search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from millrace import plan
from millrace.compiler import certified
from millrace.contracts import Budget, Schema, Update, decode, encode
from millrace.errors import BadInput
from millrace.features.candidates import candidate
from millrace.features.limits import LIMITS
from millrace.training.answers import answers_of, row_losses
from millrace.training.ensemble import Calibration, Group, families_of, together
from millrace.training.frame import to_frame
from millrace.training.further import Lesson, go_on, keep
from millrace.training.intervals import Interval
from millrace.training.pipeline import Encoded, Learner
from millrace.training.state import Kept, libraries, pack, unpack
from millrace.training.suspects import suspect
from millrace.training.train import Cut, Sides, cut, rows_of, split

if TYPE_CHECKING:
    import pandas as pd

    from millrace.features.blocks import Table

__all__ = ["Learned", "Members", "Searched", "sides_learned", "sides_of", "state_of", "update"]

_HEAD = b"millrace state 1\n"
SAME = 1e-9
"""Relative difference of the sums of encoded columns up to which features are taken for the same."""
DRIFT = 1.25
"""How many times as large the live version's mean loss may be on new rows as on those held out before."""
DRIFT_ERRORS = 3.0
"""Standard errors by which it must be larger, too."""
FEWEST_LOSSES = 30


class Members:
    """What the fitted members of a search have learned, told family by family, so that no rows are held.

    Parameters
    ----------
    target : ndarray of shape (n,)
        Of the rows that they were fitted to.
    """

    def __init__(self, target: NDArray[Any]) -> None:
        self._target = target
        self.fits: dict[str, Kept | None] = {}
        self.features: dict[str, NDArray[Any]] = {}

    def __call__(self, encoded: Encoded, members: Mapping[str, Any]) -> None:
        """Keep what the members of a family learned from these rows."""
        for name, estimator in members.items():
            self.fits[name] = keep(estimator, encoded, self._target)
            self.features[candidate(name).family] = _column_sums(encoded.matrix)


@dataclass(frozen=True)
class Searched:
    """What a search chose, as far as an update needs it.

    Attributes
    ----------
    weights, rounds : Mapping
        By member: its weight, and its boosting rounds.
    calibration : Calibration
        Around the whole.
    interval : Interval, optional
        Of a regression.
    members : Members
        What they have learned.
    """

    weights: Mapping[str, float]
    rounds: Mapping[str, int | None]
    calibration: Calibration
    interval: Interval | None
    members: Members


@dataclass(frozen=True)
class Learned:
    """A version that has learned further rows.

    Attributes
    ----------
    plan, state : bytes
        Its scoring plan, and what the next update goes on with.
    about : Mapping
        What is said of it, as JSON types.
    """

    plan: bytes
    state: bytes
    about: Mapping[str, Any]


def state_of(found: Searched, rows: Cut, schema: Schema, *, records: int, code: str) -> bytes:
    """Return what an update of a version that a search made goes on with.

    Parameters
    ----------
    found : Searched
        What was chosen, fitted to ``rows``.
    rows : Cut
        The rows that it learned from.
    schema : Schema
        What they were trained under.
    records : int
        Records of the run's source.
    code : str
        Version of the code.
    """
    about = {
        "schema": encode(schema),
        "ends": [records],
        "rows": [len(rows.sides.training) + len(rows.sides.held_out)],
        "weights": dict(found.weights),
        "rounds": {name: found.rounds.get(name) for name in found.weights},
        "calibration": {"method": found.calibration.method, "log_loss": dict(found.calibration.log_loss)},
        "interval": None if found.interval is None else asdict(found.interval),
        "updates": 0,
    }
    return _pack(about, found.members.fits, found.members.features, found.calibration.arrays(), code)


def _pack(
    about: Mapping[str, Any],
    fits: Mapping[str, Kept | None],
    features: Mapping[str, NDArray[Any]],
    calibrators: Mapping[str, NDArray[Any]],
    code: str,
) -> bytes:
    kept = {name: one for name, one in fits.items() if one is not None}
    arrays = {f"fits/{name}/{key}": array for name, one in kept.items() for key, array in one.arrays.items()}
    arrays |= {f"features/{family}": array for family, array in features.items()}
    arrays |= {f"calibrators/{key}": array for key, array in calibrators.items()}
    made_with = {"code": code, "libraries": libraries()}
    return pack(_HEAD, {**about, **made_with, "fits": {n: dict(k.about) for n, k in kept.items()}}, arrays)


def _column_sums(matrix: Any) -> NDArray[np.float64]:
    """Return what tells one encoded table from another."""
    found = matrix.sum(axis=0) if sparse.issparse(matrix) else np.nansum(matrix, axis=0)
    return np.asarray(found, dtype=np.float64).ravel()


def _cannot(what: str) -> BadInput:
    return BadInput(what, code="update-impossible", remedy="A search takes its place.")


def sides_of(table: Table, schema: Schema, ends: Sequence[int], *, seed: int) -> list[Sides]:
    """Return how each file's rows were divided when it came, as positions in the table.

    Parameters
    ----------
    table : Table
        The rows of all files, one behind the other.
    schema : Schema
        What they are read under.
    ends : sequence of int
        Record numbers at which the files end that came together.
    seed : int
        Of the run.

    Raises
    ------
    BadInput
        A file has too few rows to be divided, or those to train on are of one class.
    """
    found = []
    for start, end in pairwise(np.searchsorted(table.record, [0, *ends]).tolist()):
        sides = split(_rows(table, start, end), schema, seed=seed)
        found.append(Sides(sides.training + start, sides.held_out + start))
    return found


def _rows(table: Table, start: int, end: int) -> Table:
    part = slice(start, end)
    columns = {name: column[part] for name, column in table.columns.items()}
    return replace(table, columns=columns, target=table.target[part], record=table.record[part])


def sides_learned(table: Table, schema: Schema, ends: Sequence[int], *, budget: Budget, seed: int) -> Sides:
    """Return the rows that an update learned from, and those that judge it.

    Parameters
    ----------
    table, schema, ends, seed
        As for :func:`sides_of`.
    budget : Budget
        Of the run.
    """
    parts = sides_of(table, schema, ends, seed=seed)
    size = len(parts[0].training) + len(parts[0].held_out)
    chosen = cut(_rows(table, 0, size), schema, budget=budget, seed=seed).chosen
    return _learned_and_held(parts, chosen, schema)


def _learned_and_held(parts: Sequence[Sides], chosen: NDArray[np.intp], schema: Schema) -> Sides:
    """Return the two sides of all files.

    Of rows ordered in time the new file's alone may judge: those held out before are older than rows that
    are learned now.
    """
    training = np.concatenate([chosen, *(part.training for part in parts[1:])])
    judging = parts[-1:] if schema.time_column else parts
    return Sides(training, np.concatenate([part.held_out for part in judging]))


def update(
    table: Table,
    schema: Schema,
    state: bytes,
    champion: bytes,
    asked: Update,
    *,
    model: str,
    budget: Budget,
    seed: int,
    keep_columns: Sequence[str] = (),
    code: str = "",
) -> Learned:
    """Let a version learn the rows that are new to it.

    Parameters
    ----------
    table : Table
        The rows of all files.
    schema : Schema
        What the whole source decided.
    state, champion : bytes
        What lies beside the version: what it goes on with, and its plan.
    asked : Update
        Which version, and where the new records are.
    model : str
        The model's name, written into the plan.
    budget, seed, keep_columns
        Of the run's spec.
    code : str
        Version of the code.

    Raises
    ------
    BadInput
        It cannot be updated; ``what`` says why.
    """
    about, arrays = _read(state, asked, code)
    now = suspect(table, schema, keep=keep_columns, seed=seed).schema
    under = _under(decode(Schema, about["schema"]), now)
    ends = [*about["ends"], asked.records]
    parts = sides_of(table, under, ends, seed=seed)
    rows = [len(part.training) + len(part.held_out) for part in parts]
    if rows[:-1] != about["rows"]:
        raise _cannot("the files before have other rows than when it learned them")
    _check_drift(table, under, champion, parts)
    first = cut(_rows(table, 0, rows[0]), under, budget=budget, seed=seed)
    sides = _learned_and_held(parts, first.chosen, under)
    _check_classes(table, under, first.chosen, sides.training)
    frame = to_frame(table, under)
    new = len(parts[-1].training)
    fits, groups, how = _learn(
        (about, arrays), first, table, under, frame, sides.training[len(first.chosen) :], new, budget, seed
    )
    method = about["calibration"]
    calibrators = _below("calibrators/", arrays)
    calibration = Calibration.of(method["method"], method["log_loss"], calibrators)
    told = {
        "version": asked.version,
        "rows": new,
        "updates": about["updates"] + 1,
        "searched": about.get("searched", asked.version),
    }
    compiled, parity = certified(
        together(groups, about["weights"], under, calibration),
        schema=under,
        model=model,
        frame=frame.iloc[sides.held_out],
        interval=about["interval"],
        background=frame.iloc[sides.training],
        extra_header={
            "candidate": "ensemble" if len(about["weights"]) > 1 else next(iter(about["weights"])),
            "members": about["weights"],
            "calibration": calibration.method,
            "trained_rows": len(sides.training),
            "seed": seed,
            "updated": told,
        },
    )
    known = {**about, "ends": ends, "rows": rows, "updates": told["updates"], "searched": told["searched"]}
    after = _pack(known, fits, _below("features/", arrays), calibrators, code)
    outcome = {
        "ends": ends,
        "chosen": len(first.chosen),
        "updated": told,
        "how": how,
        "weights": about["weights"],
        "calibration": method,
        "interval": about["interval"],
        "parity": asdict(parity),
    }
    return Learned(compiled, after, outcome)


def _read(state: bytes, asked: Update, code: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    found = unpack(_HEAD, state)
    if found is None:
        raise _cannot("what it kept to go on with is damaged")
    about, arrays = found
    if (about["code"], about["libraries"]) != (code, libraries()):
        raise _cannot("it was made by another version of Millrace or of scikit-learn")
    if about["ends"][-1] != asked.known:
        raise _cannot("the files before have another number of records than when it learned them")
    return about, arrays


def _below(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}


def _under(before: Schema, now: Schema) -> Schema:
    """Return the schema of the search, with the ranges that all files have now."""
    names = [column.name for column in now.features]
    if names != [column.name for column in before.features]:
        changed = sorted({column.name for column in before.features} ^ set(names))
        raise _cannot(f"other columns are learned from now: {', '.join(map(repr, changed))}")
    ranges = {column.name: column for column in now.columns}
    columns = tuple(
        replace(column, minimum=ranges[column.name].minimum, maximum=ranges[column.name].maximum)
        for column in before.columns
    )
    return replace(before, columns=columns)


def _check_classes(
    table: Table, schema: Schema, chosen: NDArray[np.intp], training: NDArray[np.intp]
) -> None:
    if schema.task == "regression":
        return
    unknown = np.setdiff1d(table.target[training], table.target[chosen])
    if len(unknown):
        raise _cannot(f"it never learned the class {schema.classes[int(unknown[0])]!r}")


def _check_drift(table: Table, schema: Schema, champion: bytes, parts: Sequence[Sides]) -> None:
    """Let the live version answer the new rows that may be learned from, before they are."""
    new, before = parts[-1].training, np.concatenate([part.held_out for part in parts[:-1]])
    if min(len(new), len(before)) < FEWEST_LOSSES:
        return
    read = plan.read(champion)
    losses = []
    for rows in (new, before):
        columns = {name: column[rows] for name, column in table.columns.items()}
        answers = answers_of(read, columns, schema, len(rows))
        losses.append(row_losses(schema.metric, table.target[rows], answers))
    now, then = (float(one.mean()) for one in losses)
    error = float(np.sqrt(sum(one.var() / len(one) for one in losses)))
    if now > DRIFT * then and now - then > DRIFT_ERRORS * error:
        raise _cannot(
            f"the new rows are not like those before: its mean loss on them is {now:.3g}, and was {then:.3g} "
            "on those that were held out"
        )


def _learn(
    known: tuple[dict[str, Any], dict[str, NDArray[Any]]],
    first: Cut,
    table: Table,
    schema: Schema,
    frame: pd.DataFrame,
    later: NDArray[np.intp],
    new: int,
    budget: Budget,
    seed: int,
) -> tuple[dict[str, Kept | None], list[Group], dict[str, str]]:
    about, arrays = known
    fits: dict[str, Kept | None] = {}
    groups: list[Group] = []
    how: dict[str, str] = {}
    more = rows_of(table, schema, frame, later)
    target = np.concatenate([first.rows.target, more.target])
    for family, names in families_of(about["weights"]).items():
        searched = Encoded.of(first.rows, schema, family, seed=seed, watched=False)
        sums, before = _column_sums(searched.matrix), arrays[f"features/{family}"]
        if sums.shape != before.shape or not np.allclose(sums, before, rtol=SAME, atol=SAME):
            raise _cannot("its features did not become what they were")
        encoded = searched.features.transform(more.frame)
        matrix = _stacked(searched.matrix, encoded)
        lesson = Lesson(searched, matrix, target, new)
        members = {}
        for name in names:
            kept = None
            if name in about["fits"]:
                kept = Kept(_below(f"fits/{name}/", arrays), about["fits"][name])
            learner = Learner(name, schema, LIMITS[budget], seed)
            further = go_on(learner, kept, lesson, rounds=about["rounds"][name])
            members[name], fits[name], how[name] = further.estimator, further.kept, further.how
        groups.append(Group(searched.features, members))
    return fits, groups, how


def _stacked(first: Any, more: Any) -> Any:
    if sparse.issparse(first) or sparse.issparse(more):
        return sparse.csr_matrix(sparse.vstack([first, more]))
    return np.concatenate([first, more])
