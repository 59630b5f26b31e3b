"""From the profile of the whole file to the schema: types, roles, target, task, classes, metric.

Every rule here looks at the merged profile alone, so the schema does not depend on how the file was cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from millrace.contracts import (
    DEVIANCES,
    METRICS,
    PINBALL,
    ClassWeight,
    Column,
    ColumnType,
    Layout,
    Loss,
    Role,
    Schema,
    Spec,
    Task,
)
from millrace.errors import BadInput
from millrace.profile.build import TIME_FORMATS
from millrace.profile.notes import duplicates, imbalance, mostly_missing
from millrace.profile.statistics import MAX_DISTINCT, ColumnProfile, Profile
from millrace.values import NUMBER_STYLES, is_missing_word, parse_number, read_number, read_time

__all__ = [
    "FIT_SHARE",
    "FOLDS",
    "MIN_ROWS",
    "class_counts",
    "column_type",
    "decide_schema",
    "listed",
    "short",
]

FIT_SHARE = 0.995
"""A column has the narrowest type that this share of its values fits, unless the spec says another."""

MIN_ROWS = 10
"""Fewest rows with a usable target from which anything can be learned and tested."""

FOLDS = 5
"""Folds of the cross-validation; a class with fewer rows is absent from some of them."""

MAX_CLASSES = MAX_DISTINCT
"""Most classes of a target: as many as are counted one by one."""

_CATEGORY_SHARE = 0.5
_UNIQUE_SHARE = 0.9
_REGRESSION_DISTINCT = 10
_POSITIVE_WORDS = frozenset(("yes", "true", "y", "t"))
_NAMES_SHOWN = 200
_CHARACTERS_SHOWN = 4000
_NAME_CHARACTERS = 80
_ID_WORDS = frozenset(("id", "ids", "uuid", "guid", "key", "index", "idx", "no", "nr", "number", "num"))
_CLOCK_WORDS = frozenset(
    ("year", "years", "month", "day", "week", "hour", "minute", "date", "time", "period", "t")
)
_NAME_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


_COUNTS_ROWS: tuple[Role, str] = ("identifier", "it counts the rows")


@dataclass(frozen=True)
class _Decided:
    """A column's type, and the format that goes with it."""

    type: ColumnType
    format: str = ""


def decide_schema(profile: Profile, layout: Layout, spec: Spec) -> Schema:
    """Decide the schema of a file.

    Parameters
    ----------
    profile : Profile
        Merged from all chunks.
    layout : Layout
        Names and notes of the file; the notes become the schema's first warnings.
    spec : Spec
        What the user asked for.

    Raises
    ------
    BadInput
        The spec asks for what the file does not have, or nothing can be learned from the file.
    """
    if not profile.rows:
        raise BadInput(
            f"None of the {profile.rejects} records has the header's {len(layout.names)} fields",
            code="no-rows",
            remedy="Check the delimiter, the header, and lines before it; see the rejected records.",
        )
    warnings = list(layout.notes)
    target_name = _target_name(profile, spec, warnings)
    _check_names(profile, spec, target_name)
    fit_share = FIT_SHARE if spec.fit_share is None else spec.fit_share
    types = {column.name: column_type(column, profile.rows, fit_share) for column in profile.columns}
    roles = {c.name: _role(c, types[c.name], profile.rows, target_name, spec) for c in profile.columns}
    if not any(role == "feature" for role, _ in roles.values()):
        # Better a feature that only counts than none: in a table of two columns it is what there is.
        roles |= {name: ("feature", "") for name, role in roles.items() if role == _COUNTS_ROWS}
    columns = tuple(
        _column(index, c, types[c.name], roles[c.name]) for index, c in enumerate(profile.columns)
    )
    found = next(column for column in profile.columns if column.name == target_name)
    target = _decide_target(found, types[target_name], spec, warnings)
    # A target of words is a category whatever it would be as a feature.
    columns = tuple(
        replace(c, type="category", categories=target.classes)
        if c.name == target_name and c.type == "text"
        else c
        for c in columns
    )
    if not any(column.role == "feature" for column in columns):
        raise BadInput(
            "No column is left to learn from" if len(columns) > 1 else "The file has one column only",
            code="no-features",
            where=listed([f"{short(c.name)}: {c.reason}" for c in columns if c.reason]),
            remedy="Add columns that say something about the target, or check the delimiter.",
        )
    _check_time_column(spec, columns)
    _check_weight_column(spec, columns, warnings)
    if spec.costs is not None and target.task != "binary":
        raise _costs_misplaced(target.task)
    loss = _loss(spec, target.task, columns, warnings)
    warnings += _left_out(columns)
    warnings += _cells(profile, columns)
    warnings += _noticed(profile, columns)
    return Schema(
        columns=columns,
        target=target_name,
        task=target.task,
        metric=_metric(spec, target.task, loss),
        classes=target.classes,
        positive_class=target.positive_class,
        time_column=spec.time_column,
        rows=profile.rows,
        warnings=tuple(warnings),
        costs=spec.costs,
        loss=loss or "squared",
        quantile=spec.quantile,
        class_weight=_class_weight(spec, target.task),
        weight_column=spec.weight_column,
        group_column=spec.group_column,
    )


def column_type(column: ColumnProfile, rows: int, fit_share: float = FIT_SHARE) -> _Decided:
    """Return the narrowest type that ``fit_share`` of the column's values fit.

    In the order number, number with decimal comma, number with marks of thousands, percent or currency,
    boolean, time, then category or text. Digits that a number would not preserve, as leading zeros, are no
    numbers; ``1,234`` alone is no proof of a decimal comma. Words for missing count as missing for numbers
    and times only.
    """
    filled = column.count - column.word_count
    enough = fit_share * filled
    plain, comma = column.plain, column.comma
    if filled and plain.codes <= filled - enough:
        if plain.count >= enough:
            return _Decided("number")
        if comma.count >= enough and comma.commas > comma.grouped:
            return _Decided("number", "decimal-comma")
        style = _style(column)
        if style and column.numbers(style).count >= enough:
            return _Decided("number", style)
    if column.count and column.booleans >= fit_share * column.count:
        return _Decided("boolean")
    best = max(TIME_FORMATS, key=lambda name: column.times[name].count if name in column.times else 0)
    if filled and best in column.times and column.times[best].count >= enough:
        return _Decided("time", best)
    return _Decided("category" if _is_category(column, rows) else "text")


def _style(column: ColumnProfile) -> str:
    """Return the style in which most cells are numbers, among those with marks that some cell bears."""
    order = {base: place for place, base in enumerate(NUMBER_STYLES)}

    def rank(style: str) -> tuple[int, int]:
        base = style if style in order else style.rpartition(" ")[0]
        return column.numbers(style).count, -order[base]

    return max(column.styles, key=rank, default="")


def _is_category(column: ColumnProfile, rows: int) -> bool:
    return column.distinct is not None and len(column.distinct) <= _CATEGORY_SHARE * rows


def _role(column: ColumnProfile, decided: _Decided, rows: int, target: str, spec: Spec) -> tuple[Role, str]:
    """Return the column's role, and why when it is no feature."""
    if column.name == target:
        return "target", ""
    if column.name == spec.weight_column:
        return "weight", "it weighs the rows"
    if column.name == spec.group_column and column.name not in spec.keep:
        return "group", "it says which rows belong together"
    if column.name in spec.exclude:
        return "excluded", "the spec leaves it out"
    numeric = decided.type in ("number", "time")
    missing = column.missing + (column.word_count if numeric else 0)
    if missing == rows:
        return "empty", "all its values are missing"
    if not missing and _one_value(column, decided):
        return "constant", "all its values are the same"
    if column.name == spec.time_column or column.name in spec.keep:
        return "feature", ""
    if decided.type == "number":
        return _number_role(column, decided)
    if decided.type == "text" and not _is_text(column, rows):
        if _mostly_numbers(column):
            fit_share = FIT_SHARE if spec.fit_share is None else spec.fit_share
            share = f"{fit_share:.1%}".replace("%", " %")
            return (
                "identifier",
                f"fewer than {share} of its values are numbers, yet nearly every row has its own",
            )
        return "identifier", "nearly every row has a value of its own, of a single word"
    return "feature", ""


def _mostly_numbers(column: ColumnProfile) -> bool:
    return column.plain.count - column.plain.codes >= 0.5 * column.count


def _one_value(column: ColumnProfile, decided: _Decided) -> bool:
    if decided.type == "number":
        numbers = column.numbers(decided.format)
        return numbers.minimum == numbers.maximum and numbers.count == column.count
    return column.distinct is not None and len(column.distinct) == 1


def _number_role(column: ColumnProfile, decided: _Decided) -> tuple[Role, str]:
    """Return the role of a column of numbers: fractions are measurements, unique integers may be names."""
    words = {word.lower() for word in _NAME_WORDS.findall(column.name)}
    if decided.format or column.plain.integers < column.count - column.word_count or words & _CLOCK_WORDS:
        return "feature", ""
    if column.sequential and column.sequence is not None:
        return _COUNTS_ROWS
    if words & _ID_WORDS and column.distinct_count >= _UNIQUE_SHARE * column.count > 1:
        return "identifier", "its name says identifier, and nearly every row has a value of its own"
    return "feature", ""


def _is_text(column: ColumnProfile, rows: int) -> bool:
    """Return whether a column that is no category is text: words to learn from, not names of rows.

    Single words are worth it when they come again: more values than a category may have, but each in
    several rows.
    """
    if column.multiword >= 0.5 * column.count:
        return True
    return column.distinct is None and column.distinct_count <= _CATEGORY_SHARE * rows


def _column(index: int, column: ColumnProfile, decided: _Decided, role: tuple[Role, str]) -> Column:
    minimum: float | None = None
    maximum: float | None = None
    missing = column.missing
    if decided.type == "number":
        numbers = column.numbers(decided.format)
        minimum, maximum = numbers.minimum, numbers.maximum
        missing += column.word_count
    elif decided.type == "time":
        times = column.times[decided.format]
        minimum, maximum = times.minimum, times.maximum
        missing += column.word_count
    categories: tuple[str, ...] = ()
    if decided.type == "category" and column.distinct is not None:
        categories = tuple(sorted(column.distinct))
    return Column(
        name=column.name,
        index=index,
        type=decided.type,
        role=role[0],
        reason=role[1],
        categories=categories,
        format=decided.format,
        minimum=minimum,
        maximum=maximum,
        missing=missing,
    )


def _target_name(profile: Profile, spec: Spec, warnings: list[str]) -> str:
    names = [column.name for column in profile.columns]
    if spec.target is not None:
        if spec.target not in names:
            raise _no_such_column("target", spec.target, names)
        return spec.target
    for name in names:
        if name.strip().lower() == "target":
            warnings.append(f"No target is given: the column {name!r} is taken for its name.")
            return name
    last = len(names) - 1
    # A delimiter at the end of every line makes a column without name and values: that is nobody's target.
    while last and not profile.columns[last].count and names[last] == f"column_{last + 1}":
        last -= 1
    warnings.append(
        f"No target is given and no column is called 'target': the last, {names[last]!r}, is taken."
    )
    return names[last]


def _no_such_column(field: str, name: str, names: Sequence[str]) -> BadInput:
    return BadInput(
        f"The file has no column {name!r}",
        code="column-unknown",
        where=f"spec field {field!r}",
        remedy=f"Its columns are {listed([short(name) for name in names])}.",
    )


def _check_names(profile: Profile, spec: Spec, target: str) -> None:
    names = [column.name for column in profile.columns]
    for field in ("exclude", "keep"):
        for name in getattr(spec, field):
            if name not in names:
                raise _no_such_column(field, name, names)
    if target in spec.exclude:
        raise BadInput(
            f"The target {target!r} is left out as well",
            code="target-excluded",
            where="spec field 'exclude'",
            remedy="Take it from the list, or name another target.",
        )
    for field in ("time_column", "weight_column", "group_column"):
        name = getattr(spec, field)
        if name is not None and name not in names:
            raise _no_such_column(field, name, names)
        if name == target:
            raise BadInput(
                f"The target {target!r} is named there as well",
                code="target-twice",
                where=f"spec field {field!r}",
                remedy="Name another column, or another target.",
            )


def _check_time_column(spec: Spec, columns: Iterable[Column]) -> None:
    if spec.time_column is None:
        return
    column = next(c for c in columns if c.name == spec.time_column)
    if column.type != "time" or column.role != "feature":
        state = (
            f"is the {column.role} column" if column.type == "time" else f"holds values of type {column.type}"
        )
        raise BadInput(
            f"The time column {column.name!r} {state}",
            code="time-column-type",
            where="spec field 'time_column'",
            remedy="Name a column whose values are dates or times, all in one format, and not left out.",
        )


def _check_weight_column(spec: Spec, columns: Iterable[Column], warnings: list[str]) -> None:
    if spec.weight_column is None:
        return
    column = next(c for c in columns if c.name == spec.weight_column)
    lowest, highest = column.minimum, column.maximum
    if column.type != "number" or lowest is None or highest is None or lowest < 0.0 or highest <= 0.0:
        holds = "no number above zero"
        if column.type != "number":
            holds = f"values of type {column.type}"
        elif lowest is not None and lowest < 0.0:
            holds = f"numbers below zero, such as {lowest:g}"
        raise BadInput(
            f"The weight column {column.name!r} holds {holds}",
            code="weight-column",
            where="spec field 'weight_column'",
            remedy="Name a column of numbers that are 0 or more: how much each row counts.",
        )
    if column.missing:
        warnings.append(
            f"{column.missing} records have no weight in {column.name!r}: they count nothing in training."
        )


@dataclass(frozen=True)
class _Target:
    task: Task
    classes: tuple[str, ...] = ()
    positive_class: str | None = None


def _decide_target(column: ColumnProfile, decided: _Decided, spec: Spec, warnings: list[str]) -> _Target:
    where = f"column {column.name!r}"
    if decided.type == "time":
        raise BadInput(
            "The target is a time, and a time cannot be predicted",
            code="target-time",
            where=where,
            remedy="Name another target, or make it a number, such as days since a fixed date.",
        )
    counts = class_counts(column, decided)
    usable = _usable(column, decided)
    if not usable:
        raise BadInput(
            "Every value of the target is missing",
            code="target-missing",
            where=where,
            remedy="Name another target in spec.json, or fill the column.",
        )
    if counts is not None and len(counts) == 1:
        raise BadInput(
            f"Every row has the same target, {next(iter(counts))!r}",
            code="target-constant",
            where=where,
            remedy="Name another target in spec.json, or add rows with other values.",
        )
    if usable < MIN_ROWS:
        raise BadInput(
            f"Only {usable} rows have a target, and {MIN_ROWS} are needed at least",
            code="too-few-rows",
            where=where,
            remedy="Add rows.",
        )
    task = _task(column, decided, counts, spec, where, warnings)
    if task == "regression":
        if spec.positive_class is not None:
            raise _positive_class_misplaced(task)
        return _Target(task)
    classes = _classes(counts, decided, usable, where)
    rare = [f"{name!r} ({counts[name]})" for name in classes if counts and counts[name] < FOLDS]
    if rare:
        warnings.append(
            f"Classes with fewer rows than the {FOLDS} folds are kept, but cannot be judged well: "
            f"{listed(rare)}."
        )
    rarest = imbalance(counts or {}, classes, usable)
    if rarest is not None:
        name, share = rarest
        told = f"{share:.1%}" if share >= 0.0005 else "less than 0.1%"
        warnings.append(f"The classes are unequal: {name!r} has {told} of the rows: accuracy says little.")
    return _Target(task, classes, _positive_class(classes, decided, spec, task))


def _usable(column: ColumnProfile, decided: _Decided) -> int:
    """Return the rows whose target can be used."""
    if decided.type == "number":
        numbers = column.numbers(decided.format)
        return numbers.count - numbers.too_large
    return column.count


def class_counts(column: ColumnProfile, decided: _Decided | Column) -> dict[str, int] | None:
    """Return the rows of each class by its label; None when there are too many to count.

    Numbers of the same value are one class, labelled by their most frequent spelling.
    """
    if column.distinct is None:
        return None
    if decided.type != "number":
        return dict(column.distinct)
    spellings: dict[float, list[tuple[int, int, str]]] = {}
    for text, count in column.distinct.items():
        if is_missing_word(text):
            continue
        try:
            value = parse_number(text, decided.format)
        except ValueError:
            continue
        spellings.setdefault(value, []).append((-count, len(text), text))
    return {min(found)[2]: -sum(count for count, _, _ in found) for found in spellings.values()}


def _task(
    column: ColumnProfile,
    decided: _Decided,
    counts: Mapping[str, int] | None,
    spec: Spec,
    where: str,
    warnings: list[str],
) -> Task:
    regression = (*METRICS["regression"], *DEVIANCES)
    if spec.task is not None and spec.task not in get_args(Task):
        raise BadInput(f"Unknown task {spec.task!r}", code="task-unknown", where="spec field 'task'")
    number = decided.type == "number"
    if spec.task == "regression":
        if not number:
            raise BadInput(
                f"The target is of type {decided.type}, and regression needs numbers",
                code="task-impossible",
                where=where,
                remedy=f"Ask for classification, or correct the values, for example {column.example!r}.",
            )
        return "regression"
    if spec.task is not None:
        classes = "too many" if counts is None else str(len(counts))
        if counts is None or (len(counts) == 2) != (spec.task == "binary"):
            raise BadInput(
                f"The target has {classes} classes, which is not {spec.task}",
                code="task-impossible",
                where=where,
                remedy="Leave 'task' out of the spec to have it decided from the data.",
            )
        return spec.task
    if number and spec.metric in regression:
        warnings.append(f"The task is regression, because the metric is {spec.metric}.")
        return "regression"
    if number:
        few = counts is not None and (
            len(counts) == 2
            or (
                len(counts) <= _REGRESSION_DISTINCT
                and all(parse_number(text, decided.format).is_integer() for text in counts)
            )
        )
        if not few:
            if counts is not None and all(parse_number(text, decided.format).is_integer() for text in counts):
                warnings.append(
                    f"The task is regression, because the target has {len(counts)} different whole numbers, "
                    f"more than {_REGRESSION_DISTINCT}; 'task' in spec.json overrides that."
                )
            return "regression"
        if counts is not None and len(counts) > 2:
            warnings.append(
                f"The task is multiclass, because the target has {len(counts)} different whole numbers, no "
                f"more than {_REGRESSION_DISTINCT}; 'task' in spec.json overrides that."
            )
    return "binary" if counts is not None and len(counts) == 2 else "multiclass"


def _classes(counts: Mapping[str, int] | None, decided: _Decided, usable: int, where: str) -> tuple[str, ...]:
    if counts is None or len(counts) > _CATEGORY_SHARE * usable:
        many = f"more than {MAX_CLASSES}" if counts is None else str(len(counts))
        raise BadInput(
            f"The target has {many} classes in {usable} rows: too many to learn",
            code="target-classes",
            where=where,
            remedy="Name another target in spec.json, or group its values.",
        )
    key: Callable[[str], float | str] = (
        (lambda text: parse_number(text, decided.format)) if decided.type == "number" else str
    )
    return tuple(sorted(counts, key=key))


def _positive_class_misplaced(task: Task) -> BadInput:
    return BadInput(
        f"A positive class is given, but the task is {task}",
        code="positive-class-misplaced",
        where="spec field 'positive_class'",
        remedy="Leave it out: only a target of two classes has one.",
    )


def _costs_misplaced(task: Task) -> BadInput:
    return BadInput(
        f"Costs of the two errors are given, but the task is {task}",
        code="costs-misplaced",
        where="spec field 'costs'",
        remedy="Leave them out: only a target of two classes has two errors.",
    )


def _positive_class(classes: tuple[str, ...], decided: _Decided, spec: Spec, task: Task) -> str | None:
    if task != "binary":
        if spec.positive_class is not None:
            raise _positive_class_misplaced(task)
        return None
    asked = spec.positive_class
    if asked is None:
        return next((name for name in classes if name.strip().lower() in _POSITIVE_WORDS), classes[1])
    if asked in classes:
        return asked
    if decided.type == "number":
        for name in classes:
            try:
                if parse_number(asked, decided.format) == parse_number(name, decided.format):
                    return name
            except ValueError:
                break
    raise BadInput(
        f"The target has no class {asked!r}",
        code="positive-class-unknown",
        where="spec field 'positive_class'",
        remedy=f"Its classes are {' and '.join(map(repr, classes))}.",
    )


_METRIC_OF: Mapping[Loss, str] = {
    "squared": "rmse",
    "absolute": "mae",
    "poisson": "poisson_deviance",
    "gamma": "gamma_deviance",
    "tweedie": "tweedie_deviance",
}
_LOSS_OF = {metric: loss for loss, metric in _METRIC_OF.items()}


def _loss(spec: Spec, task: Task, columns: Iterable[Column], warnings: list[str]) -> Loss | None:
    """Return what a regression makes small; None for classes."""
    if task != "regression":
        for field in ("loss", "quantile"):
            if getattr(spec, field) is not None:
                raise BadInput(
                    f"A {field} is given, but the task is {task}",
                    code="loss-misplaced",
                    where=f"spec field {field!r}",
                    remedy="Leave it out, or ask for the task 'regression'.",
                )
        return None
    asked = spec.loss or _LOSS_OF.get(spec.metric or "", "squared")
    if spec.loss is None and asked != "squared":
        warnings.append(f"Models make the {asked} loss small, because the metric is {spec.metric}.")
    target = next(column for column in columns if column.role == "target")
    lowest = 0.0 if target.minimum is None else target.minimum
    if (asked in ("poisson", "tweedie") and lowest < 0.0) or (asked == "gamma" and lowest <= 0.0):
        raise BadInput(
            f"The target goes down to {lowest:g}, and the {asked} loss needs values "
            + ("above 0" if asked == "gamma" else "of 0 or more"),
            code="loss-impossible",
            where=f"column {target.name!r}",
            remedy="Ask for another loss or metric in spec.json, or correct the values.",
        )
    return asked


def _class_weight(spec: Spec, task: Task) -> ClassWeight | None:
    if spec.class_weight is not None and task == "regression":
        raise BadInput(
            "A class weight is given, but the task is regression",
            code="class-weight-misplaced",
            where="spec field 'class_weight'",
            remedy="Leave it out; 'weight_column' weighs rows.",
        )
    return spec.class_weight


def _metric(spec: Spec, task: Task, loss: Loss | None) -> str:
    if spec.metric is None:
        if loss == "quantile":
            return f"{PINBALL}{spec.quantile:g}"
        return METRICS[task][0] if loss is None else _METRIC_OF[loss]
    if spec.metric not in METRICS[task] and not (task == "regression" and spec.metric in DEVIANCES):
        raise BadInput(
            f"There is no metric {spec.metric!r} for a {task} task",
            code="metric-unknown",
            where="spec field 'metric'",
            remedy=f"There are {', '.join(METRICS[task])}.",
        )
    return spec.metric


def _left_out(columns: Iterable[Column]) -> list[str]:
    """Return a warning for each reason, with the columns left out for it."""
    reasons: dict[str, list[str]] = {}
    for column in columns:
        if column.reason:
            reasons.setdefault(column.reason, []).append(short(column.name))
    return [f"Left out, because {reason}: {listed(names)}." for reason, names in reasons.items()]


def _cells(profile: Profile, columns: Iterable[Column]) -> list[str]:
    """Return the warnings about cells that are not what their column is."""
    warnings: list[str] = []
    kept: list[str] = []
    for found, column in zip(profile.columns, columns, strict=True):
        if column.role not in ("feature", "target"):
            continue
        words = listed([f"{word!r} ({count})" for word, count in found.words.items()])
        if column.type in ("number", "time"):
            warnings += _readings(found, column)
            if words:
                warnings.append(f"In {column.name!r}, {words} counts as missing: it is else {column.type}s.")
            misfits = found.count - found.word_count - _fitting(found, column)
            if misfits:
                warnings.append(
                    f"{misfits} cells of {column.name!r} do not fit its type {column.type}"
                    + _odd_example(found, column)
                    + ("." if column.role == "target" else ", and become missing.")
                )
        elif _mostly_numbers(found) and found.example is not None and column.type != "boolean":
            warnings.append(
                f"{column.name!r} is taken for words: {found.plain.count} of its {found.count} values are "
                f"numbers, but others are not, for example {found.example!r}."
            )
        elif words:
            kept.append(f"{column.name!r} {words}")
    if kept:
        warnings.append(f"These words are values, not missing, in columns of words: {listed(kept)}.")
    return warnings


def _readings(found: ColumnProfile, column: Column) -> list[str]:
    """Return how a column's numbers or times are read where that is not plain, and what else would fit."""
    if column.type == "time":
        other = column.format.translate(str.maketrans("dm", "md"))
        seen = found.times.get(other)
        if other == column.format or seen is None or seen.count < found.times[column.format].count:
            return []
        first = "the day" if column.format.find("%d") < column.format.find("%m") else "the month"
        return [
            f"The times of {column.name!r} fit with the day first and with the month first: {first} is "
            "taken for the first. If that is wrong, write them as 2024-01-31."
        ]
    if column.format in ("", "decimal-comma"):
        return []
    example = found.example or ""
    try:
        shown = f", so {example!r} is {read_number(example, column.format):.15g}"
    except ValueError:
        shown = ""
    notes = [f"The numbers of {column.name!r} are read in the style {column.format!r}{shown}."]
    if column.format == "thousands-comma" and found.comma.count == found.numbers(column.format).count:
        notes.append(
            f"The numbers of {column.name!r} would fit with a decimal comma, too: commas are taken for marks "
            "of thousands, because three digits stand behind each."
        )
    return notes


def _odd_example(found: ColumnProfile, column: Column) -> str:
    """Return an example of what does not fit, if the one that is known does not."""
    if found.example is None:
        return ""
    try:
        read_number(found.example, column.format) if column.type == "number" else read_time(
            found.example, column.format
        )
    except ValueError:
        return f", for example {found.example!r}"
    return ""


def _noticed(profile: Profile, columns: Sequence[Column]) -> list[str]:
    """Return the warnings about features that say nothing new, or little."""
    noticed = [
        f"{listed([short(name) for name in names])} hold the same in every record."
        for names in duplicates(profile.columns, columns)
    ]
    missing = [f"{short(name)} ({share:.0%})" for name, share in mostly_missing(columns, profile.rows)]
    if missing:
        noticed.append(f"Mostly missing: {listed(missing)}.")
    return noticed


def _fitting(found: ColumnProfile, column: Column) -> int:
    if column.type == "time":
        return found.times[column.format].count
    numbers = found.numbers(column.format)
    return numbers.count - numbers.too_large


def short(name: str) -> str:
    """Return a column's name in quotes, as much of it as a message can hold."""
    return repr(name if len(name) <= _NAME_CHARACTERS else name[:_NAME_CHARACTERS] + "…")


def listed(items: Sequence[str]) -> str:
    """Return the items in a row, as many as a message can hold: the run's record has a size limit."""
    shown, size = 0, 0
    for item in items[:_NAMES_SHOWN]:
        size += len(item) + 2
        if size > _CHARACTERS_SHOWN:
            break
        shown += 1
    more = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(items[:shown]) + more
