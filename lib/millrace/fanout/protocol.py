"""How a pass over the chunks begins, lives, completes and fails.

A pass of several chunks goes by tickets: whichever worker gets one claims the next chunk, so that none waits
while another has several before it. A ticket keeps its chunk however often it comes, and lets another ticket
follow before the chunk is marked done. A pass that is begun again has new tickets for all that is not done.

The chunks of a pass with many tickets are dealt to groups, each counted by itself, because one item of the
store takes only so many writes a second. A ticket claims chunks of one group, and so do those that follow
it; whoever completes a group counts it in the pass.

A pass is a counted set in the run store. Whoever finds the set complete answers the task token that
stands there (the newest one, should the pass have been begun again), so a worker that dies between
marking and answering is no loss: the stream delivers its record again, and the replay finds the set
complete and answers.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from millrace.contracts import Descriptor, Parts, PassName, PassProgress, RunError, RunStore
from millrace.errors import MillraceError
from millrace.fanout.descriptors import spread
from millrace.fanout.ports import DescriptorStream, TaskTokens

__all__ = [
    "Heartbeat",
    "begin_pass",
    "claim_chunk",
    "complete_chunk",
    "fail_pass",
    "heartbeats",
    "release_next",
    "report_complete",
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
    tickets: int = 0,
    group_tickets: int = 0,
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
    tickets : int
        How many tickets go round, at most two for each chunk; 0 to name every chunk on the stream. There are
        few of them, for a file of many chunks must not fill the stream before a small one that comes after
        it; and more than lanes, for only those lanes work that a ticket has come to.
    group_tickets : int
        There is a group for each so many tickets, and none for fewer than twice as many; 0 for none at all.

    Raises
    ------
    TransientError
        The stream refuses records; the call may be repeated as it is.
    """
    done = runs.parts_done(run_id, pass_name)
    left = chunks - len(done)
    # When all are done, two, whose workers find that out and answer.
    tickets = min(tickets, 2 * max(1, left)) if chunks > 1 else 0
    groups = min(tickets // group_tickets, left) if group_tickets else 0
    groups = groups if groups > 1 else 0
    runs.start_pass(run_id, pass_name, total=chunks, token=token, skip=done, groups=groups)
    # Without tickets all chunks are named, whether done or not: what is done is quickly found done.
    put = [Descriptor(run_id, pass_name, number, token, tickets) for number in range(tickets or chunks)]
    if groups:
        put = [replace(ticket, group=ticket.chunk % groups) for ticket in put]
    stream.put(spread(put))


def claim_chunk(descriptor: Descriptor, runs: RunStore) -> tuple[Descriptor | None, Parts | None]:
    """Return the descriptor with a chunk in place of a ticket, and the parts (of its group) as they are then.

    There is no chunk when all are claimed, or when the pass was begun again: then there are other tickets.
    For a descriptor that names its chunk the parts are not read.
    """
    if not descriptor.tickets:
        return descriptor, None
    while True:
        parts = runs.parts(descriptor.run_id, descriptor.pass_name, descriptor.group)
        if parts is None or not parts.begun_with(descriptor.token):
            return None, parts
        chunk = parts.claimed.get(descriptor.chunk)
        if chunk is None and parts.left:
            chunk = runs.claim_part(
                descriptor.run_id,
                descriptor.pass_name,
                ticket=descriptor.chunk,
                token=descriptor.token,
                group=descriptor.group,
            )
            if chunk is None:  # what was read has changed: the last one is gone, or our double has it
                continue
            parts = replace(parts, left=parts.left - 1)
        return None if chunk is None else replace(descriptor, chunk=chunk, tickets=0), parts


def release_next(
    ticket: Descriptor, chunk: int, parts: Parts | None, stream: DescriptorStream
) -> Descriptor | None:
    """Put the ticket onto the stream that follows this one, before its chunk is marked done.

    Should the worker die in between, the stream delivers its record again, and the next is released again.
    A ticket that had its chunk when ``parts`` were read, and whose chunk was marked, releases nothing:
    otherwise a record that came twice would let four follow, and those eight. Nor does one after which
    nothing was left to be claimed. If the chunk was marked before it was claimed, by a worker that had it
    before the pass was begun again, the next is released as ever.

    Raises
    ------
    TransientError
        The stream refuses the record; the call may be repeated as it is.
    """
    if not ticket.tickets or parts is None or not parts.left:
        return None
    if ticket.chunk in parts.claimed and chunk in parts.done:
        return None
    following = replace(ticket, chunk=ticket.chunk + ticket.tickets)
    stream.put(spread([following]))
    return following


def complete_chunk(descriptor: Descriptor, *, runs: RunStore, tasks: TaskTokens) -> PassProgress:
    """Mark the chunk done, and end the task when it was the last one; harmless when repeated."""
    progress = runs.complete_part(descriptor.run_id, descriptor.pass_name, descriptor.chunk, descriptor.group)
    _report(descriptor, progress, tasks)
    return progress


def report_complete(ticket: Descriptor, parts: Parts | None, *, runs: RunStore, tasks: TaskTokens) -> None:
    """End the task if all chunks are done, though the ticket has none: who did the last one may have died.

    Or who completed its group may have died before that was counted in the pass. Should the pass have been
    begun again, that is for its new tickets to find out.
    """
    if parts is None or not parts.complete or not parts.begun_with(ticket.token):
        return
    whole = parts if ticket.group is None else runs.parts(ticket.run_id, ticket.pass_name)
    if whole is not None and parts.done <= whole.done:
        _report(ticket, PassProgress(len(whole.done), whole.total, ticket.token), tasks)
    else:
        complete_chunk(replace(ticket, chunk=min(parts.done), tickets=0), runs=runs, tasks=tasks)


def _report(descriptor: Descriptor, progress: PassProgress, tasks: TaskTokens) -> None:
    if progress.complete:
        tasks.succeed(
            progress.token,
            {"run_id": descriptor.run_id, "pass_name": descriptor.pass_name, "chunks": progress.total},
        )


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
