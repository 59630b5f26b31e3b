"""``millrace demo``: two real tables walk the whole way, and every claim on the way is checked.

Nothing here is special to the demo: it uses the same platform, the same uploads and the same HTTP
interface as everybody else.
"""

from __future__ import annotations

import itertools
import math
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millrace.cli.console import Console, number, table, usd
from millrace.cli.follow import display_for, follow
from millrace.cli.http import Api, quote
from millrace.cli.rows import read_rows
from millrace.cli.train import read_spec, submit
from millrace.errors import MillraceError, Misconfigured

DATASETS = ("penguins", "diamonds")
"""Folders of ``examples/``: a classification with missing values and text, and a regression."""

ASKED_ROWS = 3


class DemoFailed(MillraceError):
    """Something that the demo promises did not happen."""


@dataclass(frozen=True)
class Answer:
    """What ``POST /predict`` said about real rows."""

    rows: Sequence[dict[str, str | None]]
    truth: Sequence[str]
    body: dict[str, Any]


def demo(console: Console) -> int:
    """Build, start, deploy, train on both tables, predict; return the exit code."""
    began = time.perf_counter()
    root = _root()
    with _step(console, "building functions and layers (sam build)"):
        _make(root, "build")

    from millrace.local import platform

    was_running = platform.current() is not None
    with _step(console, "starting the embedded AWS and deploying the stack (sam deploy)"):
        running = platform.up()
        running.deploy()
    try:
        api = Api(running.api_url())
        uploaded = time.perf_counter()
        started = [
            submit(
                api,
                example / f"{example.name}.csv",
                example.name,
                read_spec(example / "spec.json", None),
                force=True,
            )
            for example in _examples(root)
        ]
        console.say(f"uploaded {' and '.join(DATASETS)}; following their runs")
        runs = follow(api, [run["run"] for run in started], display_for(console))
        answers = [_ask(api, root, run) for run in runs]
        reports = [_save_report(api, run, platform.state_folder() / "reports") for run in runs]
        seconds = time.perf_counter() - uploaded
        console.answer(
            None, "\n\n".join(_describe(*each) for each in zip(runs, answers, reports, strict=True))
        )
    finally:
        if not was_running:
            with _step(console, "stopping the embedded AWS; its state is kept, `make up` starts it again"):
                platform.down()
    total = time.perf_counter() - began
    console.say(f"upload to last answer {seconds:.1f} s, everything {total:.1f} s")
    return 0


def _root() -> Path:
    """Return the project's folder: the demo builds from source."""
    root = Path(__file__).resolve().parents[3]
    if not (root / "template.yaml").is_file():
        raise Misconfigured(
            "The demo builds and deploys from the project's source, which is not here",
            code="no-source",
            remedy="Clone the repository and run `make demo` in it.",
        )
    return root


def _examples(root: Path) -> Iterator[Path]:
    return (root / "examples" / name for name in DATASETS)


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    began = time.perf_counter()
    console.say(f"{what} ...")
    yield
    console.say(f"  done in {time.perf_counter() - began:.1f} s")


def _make(root: Path, target: str) -> None:
    made = subprocess.run(
        ["make", "--no-print-directory", target],
        cwd=root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if made.returncode:
        raise DemoFailed(
            f"`make {target}` failed:\n{made.stdout[-2000:]}{made.stderr[-4000:]}",
            code="build-failed",
            remedy=f"Run `make {target}` to see all of it.",
        )


def _expect(holds: bool, what: str, run: dict[str, Any]) -> None:
    if not holds:
        raise DemoFailed(f"{run['dataset']}: {what}", code="demo-failed", remedy=f"See run {run['run']}.")


def _ask(api: Api, root: Path, run: dict[str, Any]) -> Answer:
    """Check what the run left behind, and ask its model about rows of its own file."""
    error = (run.get("error") or {}).get("message", "")
    _expect(run["state"] == "SUCCEEDED", f"the run ended as {run['state']}. {error}", run)
    name = run["model"]
    if not run["promoted"]:  # the gate found an earlier run of yours better; the demo shows its own
        api.post(f"/models/{quote(name)}/promote", {"version": run["version"]})
    live = api.get(f"/models/{quote(name)}")["live"]
    _expect(live == run["version"], f"version {live} is live, not {run['version']}", run)
    _expect(run["rows_read"] == run["rows_kept"] + run["rows_rejected"], "rows are unaccounted for", run)
    _expect(bool(run["metrics"]) and set(run["metrics"]) == set(run["baseline"]), "metrics are missing", run)
    _expect(run["cost"]["usd"] > 0, "nothing was used", run)

    example = root / "examples" / run["dataset"]
    names, records = read_rows(example / f"{example.name}.csv")
    kept = run["rows_read"] // ASKED_ROWS
    chosen = itertools.islice((cells for _, cells in records), 0, None, kept)
    rows: list[dict[str, str | None]] = [
        {name: cell or None for name, cell in zip(names, cells, strict=True)}
        for cells in itertools.islice(chosen, ASKED_ROWS)
    ]
    truth = [str(row.pop(run["target"])) for row in rows]
    # Named, because a sandbox that has answered a moment ago may not have looked for a new version yet.
    body = api.post("/predict", {"model": name, "version": run["version"], "rows": rows})
    _expect(body["version"] == run["version"], "another version answered", run)
    _expect(len(body["predictions"]) == len(rows), "a row has no prediction", run)
    if run["task"] == "regression":
        _expect(all(math.isfinite(value) for value in body["predictions"]), "a prediction is no number", run)
    else:
        for shares in body["probabilities"]:
            _expect(abs(sum(shares.values()) - 1) < 1e-9, "probabilities do not sum to 1", run)
    return Answer(rows, truth, body)


def _save_report(api: Api, run: dict[str, Any], folder: Path) -> Path:
    """Fetch the version's report, so that it can be read when the platform has stopped."""
    page = api.page(f"/models/{quote(run['model'])}/versions/{run['version']}/report")
    _expect(page.startswith(b"<!DOCTYPE html>"), "there is no report", run)
    folder.mkdir(exist_ok=True)
    file = folder / f"{run['model']}-{run['version']}.html"
    file.write_bytes(page)
    return file


def _describe(run: dict[str, Any], answer: Answer, report: Path) -> str:
    lines = [
        f"{run['model']}, version {run['version']}: {run['target']} ({run['task']}, "
        f"{run['rows_trained']:,} of {run['rows_read']:,} rows trained on)",
        "",
    ]
    metrics = [[name, number(value), number(run["baseline"][name])] for name, value in run["metrics"].items()]
    lines += _indent(table(["on held-out rows", "model", "baseline"], metrics))
    lines.append("")
    heads = ["POST /predict", "prediction", "actual"]
    rows = []
    for index, (prediction, truth) in enumerate(zip(answer.body["predictions"], answer.truth, strict=True)):
        row = [f"row {index + 1}", _short(prediction), _short(truth)]
        if answer.body.get("probabilities"):
            shares = answer.body["probabilities"][index].items()
            row += [f"{share:.3f}" for _, share in shares]
            heads[3:] = [f"p({_short(name, 14)})" for name, _ in shares]
        rows.append(row)
    lines += _indent(table(heads, rows))
    lines += [
        "",
        f"  report  {run['report']}",
        f"          {report}",
        f"  cost    {usd(run['cost']['usd'])} at AWS's prices",
    ]
    return "\n".join(lines)


def _indent(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]


def _short(value: object, limit: int = 20) -> str:
    text = number(value) if isinstance(value, float) else str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
