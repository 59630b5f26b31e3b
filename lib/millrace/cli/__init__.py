"""``millrace``: the platform from a terminal.

Standard output carries the answer, standard error everything else: progress, warnings, errors. The exit
code is 0 for success, 1 for a run or a request that failed, 2 for wrong usage.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    from millrace.cli.app import run

    return run(argv)
