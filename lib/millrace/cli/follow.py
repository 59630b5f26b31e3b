"""Following runs: poll them, show how far they are, return when all have ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from millrace.cli.console import Console
from millrace.cli.http import Api, quote
from millrace.contracts import TERMINAL_STATES
from millrace.errors import TransientError

if TYPE_CHECKING:
    from rich.console import Group

STAGES = (
    ("QUEUED", "wait"),
    ("PROFILING", "profile"),
    ("DECIDING", "decide"),
    ("CONVERTING", "convert"),
    ("TRAINING", "train"),
    ("SELECTING", "select"),
    ("REPORTING", "report"),
    ("REGISTERING", "register"),
)
"""The states of a run that is under way, and what they are called on the screen."""

SCORE_STAGES = (("QUEUED", "wait"), ("SCORING", "score"), ("ASSEMBLING", "assemble"))
"""The same of a run that scores a file."""

PARTS = (("profile", "chunks"), ("convert", "chunks"), ("train", "parts"))
"""The counted sets of a run, and what is counted."""

SCORE_PARTS = (("score", "chunks"),)
"""The same of a run that scores a file."""


def _is_score(run: dict[str, Any]) -> bool:
    return run.get("kind") == "score"


MAX_TROUBLE_S = 60
"""How long the interface may fail to answer before following gives up."""


class Display(Protocol):
    """Shows runs while they are under way."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, runs: Sequence[dict[str, Any]]) -> None:
        """Show what the interface last said of each run."""
        ...


class PlainDisplay:
    """A line when a run changes its state, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._seen: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, runs: Sequence[dict[str, Any]]) -> None:
        """Write a line for each run whose state has changed."""
        for run in runs:
            if self._seen.get(run["run"]) == run["state"]:
                continue
            self._seen[run["run"]] = run["state"]
            counts = progress(run)
            self._console.say(
                f"{run['dataset']}: {run['state'].lower()}" + (f" ({counts})" if counts else "")
            )


def progress(run: dict[str, Any]) -> str:
    """Say how much of each counted set of a run is done."""
    return ", ".join(
        f"{name} {counted['done']}/{counted['total']} {unit}"
        for name, unit in (SCORE_PARTS if _is_score(run) else PARTS)
        if (counted := run.get("progress", {}).get(name))
    )


class LiveDisplay:
    """Bars that move, on a terminal."""

    def __init__(self, console: Console) -> None:
        from rich.console import Console as RichConsole
        from rich.live import Live

        self._live = Live(console=RichConsole(file=console.err), refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, runs: Sequence[dict[str, Any]]) -> None:
        """Draw all runs anew."""
        self._live.update(_drawing(runs))


def _drawing(runs: Sequence[dict[str, Any]]) -> Group:
    """Draw each run: its stages, and a bar for each counted set."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = []
    for run in runs:
        heading = Text(f"{run['dataset']}  ", style="bold")
        heading.append(run["run"], style="dim")
        parts += [heading, Text("  ") + _stages(run)]
        bars = Table.grid(padding=(0, 2))
        for name, unit in SCORE_PARTS if _is_score(run) else PARTS:
            progress = run.get("progress", {}).get(name) or {"done": 0, "total": 0}
            done, total = progress["done"], progress["total"]
            bars.add_row(
                f"  {name:8}",
                ProgressBar(total=max(total, 1), completed=done, width=32),
                f"{done} of {total} {unit}" if total else "",
            )
        parts += [bars, Text("")]
    return Group(*parts)


def _stages(run: dict[str, Any]) -> Any:
    from rich.text import Text

    line = Text()
    stages = SCORE_STAGES if _is_score(run) else STAGES
    states = [state for state, _ in stages]
    now = states.index(run["state"]) if run["state"] in states else len(states)
    for index, (_, name) in enumerate(stages):
        style = "green" if index < now else "bold yellow" if index == now else "dim"
        line.append(name, style=style)
        line.append(" › ", style="dim")
    ended = {"SUCCEEDED": "bold green", "FAILED": "bold red", "UNCHANGED": "bold cyan"}
    style = ended.get(run["state"], "dim")
    line.append(run["state"].lower() if run["state"] in ended else "done", style=style)
    return line


def display_for(console: Console) -> Display:
    """Return moving bars on a terminal where rich is installed, lines elsewhere."""
    if console.err.isatty():
        try:
            return LiveDisplay(console)
        except ModuleNotFoundError:  # rich comes with the extra `cli`
            return PlainDisplay(console)
    return PlainDisplay(console)


def follow(
    api: Api,
    run_ids: Sequence[str],
    display: Display,
    *,
    interval_s: float = 0.4,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> list[dict[str, Any]]:
    """Show the runs until all have ended, and return what the interface last said of each.

    Raises
    ------
    TransientError
        The interface has not answered for ``MAX_TROUBLE_S``.
    """
    last: dict[str, dict[str, Any]] = {}
    trouble_since: float | None = None
    with display:
        while True:
            try:
                for run_id in run_ids:
                    if last.get(run_id, {}).get("state") not in TERMINAL_STATES:
                        last[run_id] = api.get(f"/runs/{quote(run_id)}")
                trouble_since = None
            except TransientError:
                trouble_since = clock() if trouble_since is None else trouble_since
                if clock() - trouble_since > MAX_TROUBLE_S:
                    raise
            runs = [last[run_id] for run_id in run_ids if run_id in last]
            display.show(runs)
            if len(runs) == len(run_ids) and all(run["state"] in TERMINAL_STATES for run in runs):
                return runs
            sleep(interval_s)
