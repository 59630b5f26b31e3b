"""Rows to predictions: the one place that scores, whatever the protocol."""

from __future__ import annotations

from millrace.errors import TooLarge, Unprocessable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Protocol

    from millrace.edge.predict.call import Request
    from millrace.plan import Plan

    class Scorer(Protocol):
        """What scores one row: :class:`millrace.scoring.rows.RowScorer`."""

        def score(self, values: list[float | str | None]) -> tuple[Any, Any]:
            """Return the prediction and, for classification, the probabilities."""
            ...


__all__ = ["MAX_NAME", "MAX_VALUES", "MAX_WARNINGS", "SPARE_MS", "Scores", "load", "score"]

MAX_WARNINGS = 1_000
"""Warnings that an answer lists; the last one then says how many there were."""
MAX_VALUES = 100
"""Refused values that an error lists."""
SPARE_MS = 1_500
"""Scoring stops when less than this is left of the function's time."""
MAX_NAME = 500
"""Characters of an unknown field's name that are repeated to the caller."""
ROWS_A_LOOK = 64
"""Rows between two looks at the clock."""


class Scores:
    """What came of a request's rows, in their order.

    Attributes
    ----------
    predictions : sequence
        One a row: a label, or for regression a number; ``None`` where the result is not finite.
    probabilities : sequence of float or None
        Row by row, one number a class in the order of ``plan.classes``, all in one sequence; empty for
        regression.
    warnings : list of dict
        ``row``, ``field``, ``code``, ``message``.
    """

    __slots__ = ("predictions", "probabilities", "warnings")

    def __init__(
        self,
        predictions: Sequence[str | float | None],
        probabilities: Sequence[float | None],
        warnings: list[dict[str, Any]],
    ) -> None:
        self.predictions = predictions
        self.probabilities = probabilities
        self.warnings = warnings


def load(data: bytes) -> tuple[Plan, Scorer]:
    """Make of a plan's bytes what rows are scored with."""
    from millrace import plan
    from millrace.scoring.rows import RowScorer

    read = plan.read(data)
    return read, RowScorer(read)


def score(content: tuple[Plan, Scorer], request: Request, remaining_ms: Callable[[], int]) -> Scores:
    """Score all rows of a request, or none.

    Parameters
    ----------
    content : tuple
        What :func:`load` returned.
    request : Request
        Its ``rows`` or ``columns``.
    remaining_ms : callable
        Milliseconds that are left of the function's time.

    Raises
    ------
    Unprocessable
        A value does not convert, or with ``strict`` is worth a warning; ``values`` lists which.
    TooLarge
        There are more rows than the time is enough for.
    """
    plan, scorer = content
    rows = request.rows
    if rows is None:
        rows = _rows(request.columns or {})
    convert_row = plan.signature.convert_row
    converted: list[list[float | str | None]] = []
    warnings: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    more = 0
    for number, row in enumerate(rows):
        if number % ROWS_A_LOOK == 0:
            _in_time(remaining_ms, number, len(rows))
        try:
            values, noticed = convert_row(row)
        except Unprocessable as error:
            refused += _refused(plan, number, row, error)
            if len(refused) >= MAX_VALUES:
                break
            continue
        if noticed:
            if len(warnings) < MAX_WARNINGS:
                warnings += [
                    {"row": number, "field": field[:MAX_NAME], "code": code, "message": message}
                    for field, code, message in noticed
                ]
            else:
                more += len(noticed)
        converted.append(values)
    if request.strict:
        refused += warnings
    if refused:
        raise _refusal(refused)
    predictions: list[str | float | None] = []
    probabilities: list[float | None] = []
    classes = plan.classes
    score_row = scorer.score
    for number, values in enumerate(converted):
        if number % ROWS_A_LOOK == ROWS_A_LOOK - 1:
            _in_time(remaining_ms, number, len(rows))
        prediction, shares = score_row(values)
        size = prediction if shares is None else sum(shares)
        if size - size != 0.0:  # NaN or infinite, which JSON cannot say
            prediction, shares = None, [None] * len(classes)
            message = "The result is not a finite number: the row lies too far outside what training saw"
            warnings.append({"row": number, "field": None, "code": "not-finite", "message": message})
        predictions.append(prediction)
        if classes:
            probabilities += shares
    more += max(0, len(warnings) - MAX_WARNINGS)
    if more:
        message = f"{more} more warnings are not listed"
        warnings[MAX_WARNINGS:] = [{"row": None, "field": None, "code": "warnings-cut", "message": message}]
    return Scores(predictions, probabilities, warnings)


def _rows(columns: Mapping[str, Sequence[Any] | memoryview]) -> list[dict[str, Any]]:
    """Turn columns into rows of JSON values."""
    plain: list[Sequence[Any]] = []
    for column in columns.values():
        if isinstance(column, memoryview):
            values = column.tolist()
            plain.append([None if v != v else v for v in values] if column.format in ("f", "d") else values)
        else:
            plain.append(column)
    return [dict(zip(columns, values, strict=True)) for values in zip(*plain, strict=True)]


def _refused(plan: Plan, number: int, row: Mapping[str, Any], first: Unprocessable) -> list[dict[str, Any]]:
    """Return every value of a row that does not convert, not the first one alone."""
    from millrace.plan import convert

    found = []
    for field in plan.signature.fields:
        try:
            convert(field, row.get(field["name"]))
        except Unprocessable as error:
            message = f"{error.what}. {error.remedy}"
            found.append({"row": number, "field": field["name"], "code": error.code, "message": message})
    if not found:
        raise first
    return found


def _refusal(values: list[dict[str, Any]]) -> Unprocessable:
    values.sort(key=lambda value: value["row"])
    first = values[0]
    others = f", and {len(values) - 1} more" if len(values) > 1 else ""
    error = Unprocessable(
        f"Nothing was scored, because a value is refused: {first['message'].rstrip('.')}{others}",
        code=first["code"],
        where=f"row {first['row']}, field {first['field']!r}",
        remedy="Correct what 'errors' lists and send the rows again.",
    )
    error.values = tuple(values[:MAX_VALUES])
    return error


def _in_time(remaining_ms: Callable[[], int], done: int, rows: int) -> None:
    if remaining_ms() < SPARE_MS:
        raise TooLarge(
            f"Scoring {rows} rows takes longer than a request may; {done} were done in time",
            code="rows-too-many",
            where="field 'rows'",
            remedy="Send fewer rows in a request.",
        )
