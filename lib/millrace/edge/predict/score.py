"""Rows to predictions: the one place that scores, whatever the protocol."""

from __future__ import annotations

from millrace.errors import TooLarge, Unprocessable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from millrace.edge.predict.call import Request
    from millrace.plan import Plan
    from millrace.scoring.kernel import KernelScorer

__all__ = ["MAX_NAME", "MAX_VALUES", "MAX_WARNINGS", "SPARE_MS", "Scores", "array_bytes", "load", "score"]

MAX_WARNINGS = 1_000
"""Warnings that an answer lists; the last one then says how many there were."""
MAX_VALUES = 100
"""Refused values that an error lists."""
SPARE_MS = 1_500
"""Scoring stops when less than this is left of the function's time."""
MAX_NAME = 500
"""Characters of an unknown field's name that are repeated to the caller."""
BLOCK_ROWS = 8
"""Rows from which on a request is scored as a block: about where that begins to cost less."""
SLOW_ROWS = 32
"""Rows that a sandbox scores before it loads the kernel for single rows."""
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
    explanations : dict or None
        As :func:`millrace.edge.predict.explained.explanations` makes them, when they were asked for.
    """

    __slots__ = ("explanations", "predictions", "probabilities", "warnings")

    def __init__(
        self,
        predictions: Sequence[str | float | None],
        probabilities: Sequence[float | None],
        warnings: list[dict[str, Any]],
        explanations: dict[str, Any] | None = None,
    ) -> None:
        self.predictions = predictions
        self.probabilities = probabilities
        self.warnings = warnings
        self.explanations = explanations


class Scorer:
    """Scores rows one by one, and many at once where the kernel knows the plan.

    The first rows are scored without the kernel: it takes as long to load as they do.

    Parameters
    ----------
    plan : Plan
        What to score with.
    """

    __slots__ = ("_classes", "_kernel", "_left", "_plan", "_row", "_rows", "score")

    score: Callable[[list[float | str | None]], tuple[Any, Any]]
    """One row's prediction and, for classification, probabilities."""

    def __init__(self, plan: Plan) -> None:
        from millrace.scoring.rows import RowScorer

        self._plan = plan
        self._classes = plan.classes
        self._kernel: Any = None
        self._row: Any = None
        self._rows: Any = RowScorer(plan)
        self._left = SLOW_ROWS
        self.score = self._slowly

    def _slowly(self, values: list[float | str | None]) -> tuple[Any, Any]:
        if self._left:
            self._left -= 1
            found: tuple[Any, Any] = self._rows.score(values)
            return found
        if self.score == self._slowly:  # whoever scores the rest of a request has this function still
            kernel = self.kernel()
            if kernel is None:
                self.score = self._rows.score
            else:
                self._row, self._rows, self.score = kernel.row(), None, self._quickly
        return self.score(values)

    def _quickly(self, values: list[float | str | None]) -> tuple[Any, Any]:
        result = self._row(values)
        if not self._classes:
            return result[0], None
        return self._classes[result.index(max(result))], result

    @property
    def has_kernel(self) -> bool:
        """Whether a block, or many rows, have loaded the kernel."""
        return bool(self._kernel)

    def kernel(self) -> KernelScorer | None:
        """Return the kernel's scorer, made for the first block; None when rows are as fast."""
        if self._kernel is None:
            self._kernel = _kernel(self._plan)
        return self._kernel or None


def _kernel(plan: Plan) -> Any:
    from millrace.scoring.kernel import KernelScorer, NotCovered, Unavailable

    try:
        scorer = KernelScorer(plan)
    except NotCovered:
        return False
    except Unavailable as error:
        import sys

        sys.stderr.write(f"Rows are scored in Python, because there is no kernel: {error}\n")
        return False
    return scorer if scorer.is_native else False


def load(data: bytes) -> tuple[Plan, Scorer]:
    """Make of a plan's bytes what rows are scored with."""
    from millrace import plan

    read = plan.read(data)
    return read, Scorer(read)


def array_bytes(content: tuple[Plan, Scorer]) -> int:
    """Return the size in memory of all arrays of what :func:`load` returned, made or not yet."""
    from millrace.plan.format import ITEM_BYTES

    arrays = content[0].arrays
    declared = map(arrays.declared, range(len(arrays)))
    return sum(ITEM_BYTES[code] * elements for code, elements in declared)


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
    if request.count >= BLOCK_ROWS and not request.explain:
        kernel = scorer.kernel()
        if kernel is not None:
            _in_time(remaining_ms, 0, request.count)
            scores = _block(plan, kernel, request)
            if scores is not None:
                return scores
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
            warnings.append(_not_finite(number))
        predictions.append(prediction)
        if classes:
            probabilities += shares
    explained = None
    if request.explain:
        from millrace.edge.predict.explained import explanations

        def look(number: int) -> None:
            _in_time(remaining_ms, number, len(rows), "Explaining", ", or leave out 'explain'")

        explained = explanations(plan, scorer, converted, predictions, look)
    return Scores(predictions, probabilities, _cut(warnings, more), explained)


def _block(plan: Plan, kernel: KernelScorer, request: Request) -> Scores | None:
    """Score all rows at once; None when a value is refused, which the rows then say one by one."""
    from millrace.plan.columns import convert_columns, convert_rows

    signature = plan.signature
    try:
        if request.rows is None:
            columns, noticed = convert_columns(signature, request.columns or {}, request.count)
        else:
            columns, noticed = convert_rows(signature, request.rows)
    except Unprocessable:
        return None
    if noticed and request.strict:
        return None
    warnings: list[dict[str, Any]] = [
        {"row": row, "field": field[:MAX_NAME], "code": code, "message": message}
        for row, field, code, message in noticed[:MAX_WARNINGS]
    ]
    more = len(noticed) - len(warnings)
    flat: list[Any] = kernel.score(columns, request.count).tolist()
    classes, k = plan.classes, kernel.width
    total = sum(flat)
    lost: list[int] = []
    if total - total != 0.0:
        for row in range(request.count):
            size = sum(flat[row * k : row * k + k])
            if size - size != 0.0:
                lost.append(row)
    predictions: list[str | float | None]
    if not classes:
        predictions, probabilities = flat, []
    else:
        shares = list(zip(*[iter(flat)] * k, strict=True))
        if k == 2:
            first, second = classes
            predictions = [second if other > one else first for one, other in shares]
        else:
            predictions = [classes[row.index(max(row))] for row in shares]
        probabilities = flat
    for row in lost:
        predictions[row] = None
        if classes:
            probabilities[row * k : row * k + k] = [None] * k
        warnings.append(_not_finite(row))
    return Scores(predictions, probabilities, _cut(warnings, more))


def _not_finite(row: int) -> dict[str, Any]:
    message = "The result is not a finite number: the row lies too far outside what training saw"
    return {"row": row, "field": None, "code": "not-finite", "message": message}


def _cut(warnings: list[dict[str, Any]], more: int) -> list[dict[str, Any]]:
    """Return the warnings that an answer lists; ``more`` are not among them yet."""
    more += max(0, len(warnings) - MAX_WARNINGS)
    if more:
        message = f"{more} more warnings are not listed"
        warnings[MAX_WARNINGS:] = [{"row": None, "field": None, "code": "warnings-cut", "message": message}]
    return warnings


def _rows(columns: Mapping[str, Sequence[Any] | memoryview]) -> list[dict[str, Any]]:
    """Turn columns into rows of JSON values."""
    plain = [
        [None if value != value else value for value in column] if isinstance(column, memoryview) else column
        for column in columns.values()
    ]
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


def _in_time(
    remaining_ms: Callable[[], int], done: int, rows: int, what: str = "Scoring", or_else: str = ""
) -> None:
    if remaining_ms() < SPARE_MS:
        raise TooLarge(
            f"{what} {rows} rows takes longer than a request may; {done} were done in time",
            code="rows-too-many",
            where="field 'rows'",
            remedy=f"Send fewer rows in a request{or_else}.",
        )
