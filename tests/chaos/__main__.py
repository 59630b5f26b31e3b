"""``python -m tests.chaos``: the fault suite; it ends with ``scenarios=N lost=0 stuck=0``, or it fails."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.suite import idle, line, run


def main() -> int:
    """Run the scenarios of some seeds."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Break uploads on purpose.")
    parser.add_argument("--seed", type=int, nargs="*", default=[], help="these scenarios, and no others")
    parser.add_argument("--scenarios", type=int, default=210, help="how many, from the first on")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="millrace-chaos-") as state:
        results = run(
            Path(state), options.seed or range(options.scenarios), lambda text: print(text, flush=True)
        )
    broken = [one for one in results if not one.good]
    if broken:
        print("\nWhat did not hold:", *broken, sep="\n")
        print(f"`make chaos SEED={broken[0].scenario.seed}` repeats the first of them.")
    print(f"{time.monotonic() - began:.0f} s; met no fault: {idle(results) or 'none'}")
    print(line(results))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
