"""How a pass over the chunks begins, lives, completes and fails.

A pass is a counted set in the run store. Whoever finds the set complete answers the task token that
stands there (the newest one, should the pass have been begun again), so a worker that dies between
marking and answering is no loss: the stream delivers its record again, and the replay finds the set
complete and answers.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from millrace.contracts import Descriptor, PassName, PassProgress, RunError, RunStore
from millrace.errors import MillraceError, NotFound
from millrace.fanout.descriptors import spread
from millrace.fanout.ports import DescriptorStream, TaskTokens

__all__ = [
    "Heartbeat",
    "begin_pass",
    "complete_chunk",
    "fail_pass",
    "heartbeats",
    "newest_token",
    "release_next",
]

_log = logging.getLogger(__name__)


def begin_pass(
    run_id: str,
    pass_name: PassName,
    *,
    chunks: int,
    token: str,
    runs: RunStore,
    stream: DescriptorStream,
    window: int = 0,
) -> None:
    """Begin a pass, or begin it again: chunks already done are found done by their workers.

    The set stands before the first descriptor is on the stream, so no worker can find it absent.

    Parameters
    ----------
    run_id, pass_name, token : str
        The run, the pass, and the task token that it answers to.
    chunks : int
        How many there are.
    runs, stream
        Run records, and the stream of descriptors.
    window : int
        Most descriptors to be on the stream at once, 0 for all: a file of many chunks must not fill the
        stream before a small one that comes after it. Each chunk that is done lets the next one follow.

    Raises
    ------
    TransientError
        The stream refuses records; the call may be repeated as it is.
    """
    runs.start_pass(run_id, pass_name, total=chunks, token=token)
    ahead = window if 0 < window < chunks else 0
    todo: Iterable[int] = range(chunks)
    if ahead:
        # Of every chain each chunk that is not done while the one before it is: a worker lets the next one
        # follow before its own is marked, so there may be gaps. When all are done, one, whose worker answers.
        done = runs.parts_done(run_id, pass_name)
        open_ = (chunk for chunk in range(chunks) if chunk not in done)
        todo = [chunk for chunk in open_ if chunk < ahead or chunk - ahead in done] or [0]
    stream.put(spread([Descriptor(run_id, pass_name, chunk, token, ahead) for chunk in todo]))


def release_next(
    descriptor: Descriptor, *, replayed: bool, runs: RunStore, stream: DescriptorStream
) -> Descriptor | None:
    """Put the chunk onto the stream that follows this one, before this one is marked done.

    Should the worker die in between, the stream delivers its record again, and the chunk is released again.
    A replay of a chunk that is marked releases nothing: otherwise a record that came twice would let four
    follow, and those eight.

    Raises
    ------
    TransientError
        The stream refuses the record; the call may be repeated as it is.
    """
    if not descriptor.ahead:
        return None
    if replayed and descriptor.chunk in runs.parts_done(descriptor.run_id, descriptor.pass_name):
        return None
    progress = runs.get(descriptor.run_id).progress[descriptor.pass_name]
    following = replace(descriptor, chunk=descriptor.chunk + descriptor.ahead, token=progress.token)
    if following.chunk >= progress.total:
        return None
    stream.put(spread([following]))
    return following


def complete_chunk(descriptor: Descriptor, *, runs: RunStore, tasks: TaskTokens) -> PassProgress:
    """Mark the chunk done, and end the task when it was the last one; harmless when repeated."""
    progress = runs.complete_part(descriptor.run_id, descriptor.pass_name, descriptor.chunk)
    if progress.complete:
        tasks.succeed(
            progress.token,
            {"run_id": descriptor.run_id, "pass_name": descriptor.pass_name, "chunks": progress.total},
        )
    return progress


def newest_token(descriptor: Descriptor, runs: RunStore) -> str:
    """Return the token with which the descriptor's pass was begun last; its own if nothing is known of it."""
    try:
        progress = runs.get(descriptor.run_id).progress.get(descriptor.pass_name)
    except NotFound:
        progress = None
    return progress.token if progress is not None else descriptor.token


def fail_pass(token: str, error: RunError, *, tasks: TaskTokens) -> bool:
    """End the task with an error, in the shape in which Lambda reports one; ``False`` if nobody waits."""
    cause = {
        "errorType": error.type,
        "errorMessage": error.message,
        "code": error.code,
        "stage": error.stage,
    }
    return tasks.fail(token, error.type, json.dumps(cause, ensure_ascii=False))


class Heartbeat:
    """Whether somebody still waits for the task, as far as the last heartbeat told."""

    def __init__(self) -> None:
        self.wanted = True
        self.missed = 0
        """Heartbeats that the service did not take; the next one may get through."""


@contextmanager
def heartbeats(token: str, *, every_s: float, tasks: TaskTokens) -> Iterator[Heartbeat]:
    """Send a heartbeat now, and every ``every_s`` seconds until the block ends.

    Sending stops early when nobody waits for the token any more. A heartbeat that fails is skipped: the
    work itself must not fail by it, and if all of them fail the task times out.
    """
    state = Heartbeat()
    over = threading.Event()

    def beat() -> None:
        try:
            state.wanted = tasks.heartbeat(token)
        except MillraceError as error:
            state.missed += 1
            _log.warning("A heartbeat was not taken, %d so far: %s", state.missed, error)

    def beat_on() -> None:
        while state.wanted and not over.wait(every_s):
            beat()

    beat()
    thread = threading.Thread(target=beat_on, name="heartbeats", daemon=True)
    thread.start()
    try:
        yield state
    finally:
        over.set()
        thread.join()
