"""What becomes of the times of one row."""

from __future__ import annotations

from math import floor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]

_NAN = float("nan")


class TimeParts:
    """Calendar parts of seconds since 1970, in UTC."""

    __slots__ = ("_parts",)

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._parts = spec["parts"]

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        result: list[float] = []
        for seconds in row:
            # The bounds are the years 1 to 9999; a missing value is outside them.
            if not -62_135_596_800.0 <= seconds < 253_402_300_800.0:
                result += [_NAN] * len(self._parts)
                continue
            parts = _calendar(seconds)
            result += [parts[part] for part in self._parts]
        return result


def _calendar(seconds: float) -> dict[str, float]:
    # civil_from_days of H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    days, clock = divmod(floor(seconds), 86400)
    era, day_of_era = divmod(days + 719468, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_from_march = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_from_march + 2) // 153
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    year = year_of_era + era * 400 + (month <= 2)
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return {
        "days": seconds / 86400.0,
        "year": float(year),
        "month": float(month),
        "day": float(day_from_march - (153 * month_from_march + 2) // 5 + 1),
        "weekday": float((days + 3) % 7),
        "day_of_year": float(day_from_march - 305 if month <= 2 else day_from_march + 60 + leap),
        "hour": float(clock // 3600),
        "minute": float(clock // 60 % 60),
        "second": float(clock % 60),
    }


KINDS = {"time-parts": TimeParts}
