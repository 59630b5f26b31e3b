"""Profiles of columns that add up, and the schema decided from them; the standard library alone."""

from millrace.profile.build import TIME_FORMATS, profile_bytes, profile_chunk
from millrace.profile.decide import FIT_SHARE, FOLDS, MIN_ROWS, decide_schema
from millrace.profile.statistics import (
    MAX_DISTINCT,
    ColumnProfile,
    NumberEvidence,
    Profile,
    TimeEvidence,
    merge,
)

__all__ = [
    "FIT_SHARE",
    "FOLDS",
    "MAX_DISTINCT",
    "MIN_ROWS",
    "TIME_FORMATS",
    "ColumnProfile",
    "NumberEvidence",
    "Profile",
    "TimeEvidence",
    "decide_schema",
    "merge",
    "profile_bytes",
    "profile_chunk",
]
