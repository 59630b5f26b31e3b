"""What becomes of columns of times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.scoring.blocks import Column

__all__ = ["KINDS"]


class TimeParts:
    """Calendar parts of seconds since 1970, in UTC."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._parts = spec["parts"]

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        result: list[Column] = []
        for seconds in block:
            # The bounds are the years 1 to 9999; a missing value is outside them.
            known = (seconds >= -62_135_596_800.0) & (seconds < 253_402_300_800.0)
            instants = np.floor(np.where(known, seconds, 0.0)).astype("datetime64[s]")
            days, months = instants.astype("datetime64[D]"), instants.astype("datetime64[M]")
            clock = (instants - days).astype(np.int64)
            years = instants.astype("datetime64[Y]")
            values = {
                "days": seconds / 86400.0,
                "year": years.astype(np.int64) + 1970,
                "month": months.astype(np.int64) % 12 + 1,
                "day": (days - months).astype(np.int64) + 1,
                "weekday": (days.astype(np.int64) + 3) % 7,
                "day_of_year": (days - years).astype(np.int64) + 1,
                "hour": clock // 3600,
                "minute": clock // 60 % 60,
                "second": clock % 60,
            }
            result += [np.where(known, values[part], np.nan) for part in self._parts]
        return result


KINDS = {"time-parts": TimeParts}
