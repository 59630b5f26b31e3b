"""Threads: as many as the function has processors, decided before the libraries that start them load."""

from __future__ import annotations

from collections.abc import MutableMapping

__all__ = ["MB_PER_PROCESSOR", "pin_threads"]

MB_PER_PROCESSOR = 1769
"""Memory at which a Lambda function has one full processor (AWS Lambda's documentation)."""


def pin_threads(environ: MutableMapping[str, str], memory_mb: int) -> int:
    """Set the thread counts of OpenMP and the BLAS libraries, and return them.

    Call it before numpy is imported. The libraries' own default is one thread for each processor of the
    host, which a quota then holds up: boosted trees pay five times the processor time for that.

    Parameters
    ----------
    environ : mutable mapping
        The process environment.
    memory_mb : int
        The function's memory.
    """
    threads = max(1, memory_mb // MB_PER_PROCESSOR)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environ[name] = str(threads)
    # Threads that wait by spinning would burn the quota of those that work.
    environ["OMP_WAIT_POLICY"] = "PASSIVE"
    return threads
