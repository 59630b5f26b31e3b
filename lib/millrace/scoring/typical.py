"""Shapley values of a plan's answer over its fields, against the typical row: for models of every kind.

The game [1]_: a coalition is a set of fields, and it is worth what the plan answers to a row that has the
explained row's values there and the typical row's elsewhere. The contributions and the base, which is the
answer to the typical row, add up to the answer itself: a probability, or the prediction. Fields whose values
are the typical ones contribute nothing, so only those that differ play.

Where few differ, every coalition is answered, and the values are exact. Where many do, each is the mean of
what its field adds when the fields come one after the other, over orders [2]_ that stand in pairs, one and
its reverse [3]_. The orders follow from the number of fields alone, so a row has the same explanation every
time; with each of them the contributions add up, so their means do as well. A pair is one observation, and
the standard error is that of the mean of all pairs.

References
----------
.. [1] M. Sundararajan, A. Najmi, "The many Shapley values for model explanation", ICML 2020: baseline
   Shapley.
.. [2] J. Castro, D. Gómez, J. Tejada, "Polynomial calculation of the Shapley value based on sampling",
   Computers & Operations Research 36 (2009).
.. [3] R. Mitchell, J. Cooper, E. Frank, G. Holmes, "Sampling permutations for Shapley value estimation",
   Journal of Machine Learning Research 23 (2022): antithetic sampling.
"""

from __future__ import annotations

from hashlib import sha256
from itertools import islice
from math import factorial, fsum, sqrt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from millrace.plan import Plan

    Value = float | str | None

__all__ = ["BLOCK_ROWS", "EVALUATIONS", "EXACT_FIELDS", "Values", "shapley", "typical_row"]

EXACT_FIELDS = 10
"""Most fields that differ for which every coalition is answered: 1,024 of them."""
EVALUATIONS = 1_024
"""Most coalitions that are answered when more fields differ, unless :data:`FEWEST_PAIRS` take more."""
FEWEST_PAIRS = 4
"""Fewest pairs of orders: with fewer of them their spread says little about an error."""
_NAN = float("nan")
BLOCK_ROWS = 256
"""Most coalitions that are answered at once."""


def typical_row(plan: Plan) -> list[Value]:
    """Return the typical row of a plan that has one, as converted values."""
    return [
        (None if field["type"] in ("category", "text") else _NAN)
        if value is None
        else value
        if isinstance(value, str)
        else float(value)
        for value, field in zip(plan.header["typical"], plan.signature.fields, strict=True)
    ]


class Values:
    """An explanation.

    Attributes
    ----------
    base : float
        The answer to the typical row.
    contributions : list of float
        One a field; they and the base add up to the answer.
    errors : list of float or None
        The standard error of each contribution; None when they are exact.
    """

    __slots__ = ("base", "contributions", "errors")

    def __init__(self, base: float, contributions: list[float], errors: list[float] | None) -> None:
        self.base = base
        self.contributions = contributions
        self.errors = errors


def shapley(
    row: Sequence[Value],
    typical: Sequence[Value],
    answers: Callable[[Sequence[list[Value]]], Sequence[float]],
) -> Values:
    """Explain the answer to a row.

    Parameters
    ----------
    row, typical : sequence
        Converted values, one a field: a float (NaN when missing), or a text (None when missing).
    answers : callable
        Returns the answers to rows, at most ``BLOCK_ROWS`` of them.

    Returns
    -------
    Values
        All NaN when an answer is no finite number.
    """
    pairs = zip(row, typical, strict=True)
    differing = [i for i, (a, b) in enumerate(pairs) if a != b and (a == a or b == b)]
    count, exact = len(differing), len(differing) <= EXACT_FIELDS
    orders = [] if exact else list(_orders(count))
    coalitions = _all(row, typical, differing) if exact else _along(orders, row, typical, differing)
    worth: dict[int, float] = {}
    while block := tuple(islice(coalitions, BLOCK_ROWS)):
        members, rows = zip(*block, strict=True)
        worth.update(zip(members, answers(rows), strict=True))
    size = sum(map(abs, worth.values()))
    if size - size != 0.0:
        return Values(_NAN, [_NAN] * len(row), None)
    found, errors = (_exact(count, worth), None) if exact else _sampled(count, orders, worth)
    return Values(
        worth[0],
        _by_field(found, differing, len(row)),
        None if errors is None else _by_field(errors, differing, len(row)),
    )


def _by_field(values: Sequence[float], fields: Sequence[int], width: int) -> list[float]:
    result = [0.0] * width
    for field, value in zip(fields, values, strict=True):
        result[field] = value
    return result


def _all(
    row: Sequence[Value], typical: Sequence[Value], differing: Sequence[int]
) -> Iterator[tuple[int, list[Value]]]:
    """Yield every coalition and its row."""
    mixed = [list(typical)]
    yield 0, mixed[0]
    for coalition in range(1, 1 << len(differing)):
        player = coalition.bit_length() - 1
        mixed.append(mixed[coalition ^ 1 << player].copy())
        mixed[coalition][differing[player]] = row[differing[player]]
        yield coalition, mixed[coalition]


def _along(
    orders: Sequence[Sequence[int]],
    row: Sequence[Value],
    typical: Sequence[Value],
    differing: Sequence[int],
) -> Iterator[tuple[int, list[Value]]]:
    """Yield the coalitions that the orders go through, each once, and their rows."""
    seen = {0}
    yield 0, list(typical)
    for order in orders:
        coalition, mixed = 0, list(typical)
        for player in order:
            coalition |= 1 << player
            mixed[differing[player]] = row[differing[player]]
            if coalition not in seen:
                seen.add(coalition)
                yield coalition, mixed.copy()


def _exact(count: int, worth: dict[int, float]) -> list[float]:
    """Return the values by their definition."""
    every = factorial(count)
    weights = [factorial(size) * factorial(count - 1 - size) / every for size in range(count)]
    return [
        fsum(
            weights[coalition.bit_count()] * (worth[coalition | 1 << player] - worth[coalition])
            for coalition in worth
            if not coalition >> player & 1
        )
        for player in range(count)
    ]


def _orders(count: int) -> Iterator[list[int]]:
    """Yield orders of the players, each followed by its reverse: as if drawn, and the same everywhere."""
    for pair in range(max(FEWEST_PAIRS, EVALUATIONS // (2 * count))):
        keys = [sha256(b"%d %d" % (pair, player)).digest() for player in range(count)]
        order = sorted(range(count), key=keys.__getitem__)
        yield order
        yield order[::-1]


def _sampled(
    count: int, orders: Sequence[Sequence[int]], worth: dict[int, float]
) -> tuple[list[float], list[float]]:
    """Return the values' estimates and their standard errors."""
    added: list[list[float]] = [[] for _ in range(count)]
    for order in orders:
        coalition, before = 0, worth[0]
        for player in order:
            coalition |= 1 << player
            after = worth[coalition]
            added[player].append(after - before)
            before = after
    values, errors = [], []
    for steps in added:
        pairs = [0.5 * (one + other) for one, other in zip(steps[::2], steps[1::2], strict=True)]
        mean = fsum(pairs) / len(pairs)
        spread = fsum([(pair - mean) * (pair - mean) for pair in pairs]) / (len(pairs) - 1)
        values.append(mean)
        errors.append(sqrt(spread / len(pairs)))
    return values, errors
