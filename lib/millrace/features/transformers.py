"""The few transformers that scikit-learn lacks, with scikit-learn's manners.

Each has its class in the compiler and in both scoring rooms; the same formula stands there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

__all__ = ["CYCLES", "TIME_PARTS", "TOKEN_PATTERN", "TimeDifferences", "TimeParts", "circle", "lower_text"]

TIME_PARTS = ("days", "year", "month", "day", "weekday", "day_of_year", "hour", "minute", "second")
"""What :class:`TimeParts` can make of an instant. ``days`` is its place on the time line, in days since
1970 with fractions; the others are calendar parts in UTC, ``weekday`` with Monday as 0."""

CYCLES = {"month": (1, 12), "weekday": (0, 7), "hour": (0, 24)}
"""Parts that come round again: the first value, and how many there are."""

TOKEN_PATTERN = r"(?u)\b\w\w+\b"
"""A word of a text column: two or more word characters in a row."""

FIRST_SECOND = -62_135_596_800.0
"""0001-01-01T00:00:00Z in seconds since 1970."""
LAST_SECOND = 253_402_300_800.0
"""10000-01-01T00:00:00Z in seconds since 1970: the first instant that no longer counts."""


def lower_text(document: str | None) -> str:
    """Return the document in lower case, and a missing one as an empty text.

    It is the ``preprocessor`` of our ``TfidfVectorizer``: scikit-learn's own fails on ``None``.
    """
    return document.lower() if isinstance(document, str) else ""


class TimeParts(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn seconds since 1970 (UTC) into calendar parts.

    Parameters
    ----------
    parts : sequence of str
        Names from :data:`TIME_PARTS`; each input column gives one output column a part, in this order.
    cycles : sequence of str
        Names from :data:`CYCLES`; each input column gives two more for each: sine and cosine of the part's
        place on a circle, on which December is next to January. They are for models that add and multiply.

    Notes
    -----
    A missing value, and an instant outside the years 1 to 9999, gives a missing value in every part.
    Calendar arithmetic: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", ``civil_from_days``.
    """

    def __init__(
        self,
        parts: Sequence[str] = ("days", "year", "month", "day", "weekday", "day_of_year", "hour"),
        cycles: Sequence[str] = (),
    ) -> None:
        self.parts = parts
        self.cycles = cycles

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Check the parameters and remember the number of columns."""
        unknown = [part for part in self.parts if part not in TIME_PARTS]
        if unknown:
            raise ValueError(f"There is no part {unknown[0]!r}; the parts are {', '.join(TIME_PARTS)}")
        unknown = [cycle for cycle in self.cycles if cycle not in CYCLES]
        if unknown:
            raise ValueError(f"There is no cycle {unknown[0]!r}; the cycles are {', '.join(CYCLES)}")
        validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan")
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return parts and cycles of each column, shape (rows, columns x (parts + 2 cycles)), float64."""
        check_is_fitted(self, "n_features_in_")
        seconds = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        width = len(self.parts)
        result = []
        for column in seconds.T:
            found = _parts(column, [*self.parts, *self.cycles])
            result.append(found[:, :width])
            result += [_on_circle(found[:, width + k], *CYCLES[cycle]) for k, cycle in enumerate(self.cycles)]
        return np.hstack(result)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return ``<column>_<part>`` or ``<column>_<cycle>_<function>`` for each output column."""
        if input_features is None:
            input_features = getattr(self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)])
        endings = [*self.parts, *(f"{cycle}_{f}" for cycle in self.cycles for f in ("sin", "cos"))]
        return np.asarray([f"{name}_{ending}" for name in input_features for ending in endings], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class TimeDifferences(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn times into the seconds between each two of them.

    A later column less an earlier one, pair by pair; missing where one of the two is. Seconds since 1970 are
    whole numbers far below 2**53, or carry the fractions that a float64 has room for.
    """

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Remember the number of columns."""
        validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan")
        return self

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Positions of the columns that are taken from each other, the one that is taken away first."""
        check_is_fitted(self, "n_features_in_")
        return list(combinations(range(self.n_features_in_), 2))

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the difference of each pair, shape (rows, pairs), float64."""
        check_is_fitted(self, "n_features_in_")
        seconds = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        pairs = self.pairs
        result: NDArray[np.float64] = np.zeros((len(seconds), len(pairs)))
        for k, (earlier, later) in enumerate(pairs):
            result[:, k] = seconds[:, later] - seconds[:, earlier]
        return result

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return ``<later>_since_<earlier>`` for each pair."""
        if input_features is None:
            input_features = getattr(self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)])
        return np.asarray(
            [f"{input_features[b]}_since_{input_features[a]}" for a, b in self.pairs], dtype=object
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def circle(size: int) -> NDArray[np.float64]:
    """Return sine and cosine of each place on a circle, shape (size, 2)."""
    angles = [2.0 * math.pi * place / size for place in range(size)]
    return np.asarray([[math.sin(angle), math.cos(angle)] for angle in angles])


def _on_circle(values: NDArray[np.float64], first: int, size: int) -> NDArray[np.float64]:
    known = ~np.isnan(values)
    result = np.full((len(values), 2), np.nan)
    result[known] = circle(size)[values[known].astype(np.intp) - first]
    return result


def _parts(seconds: NDArray[np.float64], parts: Sequence[str]) -> NDArray[np.float64]:
    known = (seconds >= FIRST_SECOND) & (seconds < LAST_SECOND)
    whole = np.floor(np.where(known, seconds, 0.0)).astype(np.int64)
    days, clock = whole // 86400, whole % 86400
    shifted = days + 719468
    era = shifted // 146097
    day_of_era = shifted % 146097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_from_march = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_from_march + 2) // 153
    month = np.where(month_from_march < 10, month_from_march + 3, month_from_march - 9)
    year = year_of_era + era * 400 + (month <= 2)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    values = {
        "days": seconds / 86400.0,
        "year": year,
        "month": month,
        "day": day_from_march - (153 * month_from_march + 2) // 5 + 1,
        "weekday": (days + 3) % 7,
        "day_of_year": np.where(month <= 2, day_from_march - 305, day_from_march + 60 + leap),
        "hour": clock // 3600,
        "minute": clock // 60 % 60,
        "second": clock % 60,
    }
    return np.column_stack([np.where(known, values[part], np.nan) for part in parts]).astype(np.float64)
