"""``millrace score``: a file goes up, a model scores it, and the result comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from millrace.cli.console import Console
from millrace.cli.follow import display_for, follow
from millrace.cli.http import Api, download, quote
from millrace.cli.train import describe, started, upload
from millrace.errors import MillraceError
from millrace.runs.ingest import parse_score_spec


def score(
    api: Api,
    console: Console,
    model: str,
    file: Path,
    options: dict[str, Any],
    *,
    output: Path | None = None,
    wait: bool = False,
) -> int:
    """Upload ``file`` to be scored, follow its run when asked to; return the exit code.

    Parameters
    ----------
    api, console
        The deployment, and where words go.
    model : str
        The model.
    file : Path
        A CSV file, plain or packed (gzip, zstd, zip).
    options : dict
        Fields of :class:`millrace.contracts.ScoreSpec`; they go before those of the ``score.json`` there.
    output : Path, optional
        Where the result goes; the rejected records go to ``<output>.rejects.jsonl`` when there are any.
    wait : bool
        Follow the run to its end, even without ``output``.
    """
    parse_score_spec([(json.dumps(options).encode(), "the options")])
    asked = {"score": options} if options else {}
    run = started(api, upload(api, file, file.name, model=model, **asked), model)
    console.say(f"{file.name} is up: run {run['run']}")
    if wait or output is not None:
        try:
            (run,) = follow(api, [run["run"]], display_for(console))
        except MillraceError as error:
            error.where = f"following run {run['run']}"  # it goes on, and can be looked up
            raise
    if output is not None and run["state"] == "SUCCEEDED":
        links = api.get(f"/runs/{quote(run['run'])}/result")
        download(links["result"], output)
        if run["rows_rejected"]:
            download(links["rejects"], output.with_name(output.name + ".rejects.jsonl"))
        run = {**run, "output": str(output)}
    console.answer(run, describe(run))
    return 1 if run["state"] == "FAILED" else 0
