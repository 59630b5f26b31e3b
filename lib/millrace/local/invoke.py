"""One function, one event, no Docker: ``python -m millrace.local.invoke FUNCTION EVENT``.

The function runs in a sandbox of the local platform with its real code and layers. If no platform runs in
the background, one is started for the time of the call, with the state of the last one; if the stack is
not in it, it is deployed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from millrace.errors import BadInput, MillraceError, NotFound
from millrace.local import platform as control
from millrace.local.platform import Platform

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the response on standard output and the log on standard error.

    Returns
    -------
    int
        0 when the function returned; 1 when it failed, or could not be run.
    """
    parser = argparse.ArgumentParser(prog="python -m millrace.local.invoke", description="Run one function.")
    parser.add_argument("function", help="for example ingest, or IngestFunction")
    parser.add_argument("event", type=Path, help="a JSON file, for example events/ingest.upload.json")
    options = parser.parse_args(arguments)
    try:
        event = _read(options.event)
        with _running() as running:
            got = running.invoke(options.function, event)
    except MillraceError as error:
        print(error, file=sys.stderr)
        return 1
    print(got.log, end="", file=sys.stderr)
    print(json.dumps(got.payload, indent=2, ensure_ascii=False))
    return 1 if got.error else 0


def _read(path: Path) -> object:
    try:
        event: object = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadInput(
            f"The event cannot be read: {error}",
            code="event-unreadable",
            where=str(path),
            remedy="Name a JSON file; events/ has one for each function.",
        ) from error
    return event


@contextlib.contextmanager
def _running() -> Iterator[Platform]:
    """Give the platform in the background, or one for the time of the block, with the stack in it."""
    with contextlib.ExitStack() as stack:
        running = control.current()
        if running is None:
            print("No local platform is running: starting one for this call.", file=sys.stderr)
            running = stack.enter_context(Platform(control.state_folder()))
        try:
            running.outputs()
        except NotFound:
            print("The stack is not in it: deploying.", file=sys.stderr)
            running.deploy()
        yield running


if __name__ == "__main__":
    sys.exit(main())
