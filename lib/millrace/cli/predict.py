"""``millrace predict``: the rows of a file, sent in blocks, one line of answer for each."""

from __future__ import annotations

import csv
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from millrace.cli.console import Console
from millrace.cli.http import Api, quote
from millrace.cli.rows import read_rows
from millrace.errors import NotFound, TooLarge, TransientError, Unprocessable
from millrace.values import is_missing, is_missing_word

BLOCK_ROWS = 500
"""Rows of one request: for most models the answer stays far below Lambda's 6 MB and the gateway's 30 s."""

BLOCK_BYTES = 1 << 20
"""Bytes of one request, far below the limit on a request's body."""

TRIES = 4
"""How often a request is sent in all; each wait is random, up to 2, 4, 8 s."""

Row = dict[str, str | None]


def predict(
    api: Api,
    console: Console,
    model: str,
    file: Path,
    output: Path | None,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Predict each row of ``file``; write them to ``output`` or standard output.

    A file that could not be predicted to its end leaves no output behind.
    """
    version, signature, classes = _live(api, model)
    names, rows = read_rows(file, signature)
    unused = [name for name in names if name not in signature]
    absent = [name for name in signature if name not in names]
    if unused:
        console.say(f"not used by the model: {', '.join(unused)}")
    if absent:
        console.say(
            f"taken as missing in every row, because the file has no such column: {', '.join(absent)}"
        )
    to_send = _blocks(_rows(names, rows, signature))
    answers = _ask(api, console, {"model": model, "version": version}, file, to_send, sleep)
    if output is not None:
        part = output.with_name(output.name + ".part")
        try:
            with part.open("w", encoding="utf-8", newline="") as sink:
                summary = _write(answers, classes, sink)
            part.replace(output)
        finally:
            part.unlink(missing_ok=True)
    elif console.as_json:
        summary = _collect(answers)
    else:
        summary = _write(answers, classes, console.out)
    summary = {"model": model, "version": version, **summary, "unused": unused, "absent": absent}
    if output is not None:
        summary["output"] = str(output)
    least = "at least " if summary["warnings_cut"] else ""
    for warning in summary["warnings"]:
        kind = ", ".join(filter(None, (warning["code"], warning["field"])))
        console.say(f"{kind}: {least}{warning['rows']} rows, e.g. {warning['message']}")
    if console.as_json:
        console.answer(summary, "")
    elif output is not None:
        console.say(f"{summary['rows']} rows predicted by version {version}: {output}")
    return 0


def _live(api: Api, model: str) -> tuple[int, dict[str, str], list[str]]:
    """Return the live version, which is to answer all blocks, its fields with their types, its classes."""
    number = api.get(f"/models/{quote(model)}")["live"]
    if number is None:
        raise NotFound(
            f"No version of {model!r} is live",
            code="model-unknown",
            remedy=f"Promote one: millrace promote {model} VERSION.",
        )
    version = api.get(f"/models/{quote(model)}/versions/{number}")
    signature = {field["name"]: field["type"] for field in version["signature"]}
    return number, signature, list(version["classes"])


def _rows(
    names: tuple[str, ...], rows: Iterable[tuple[int, list[str]]], signature: Mapping[str, str]
) -> Iterator[tuple[int, Row]]:
    """Yield what to send of each row: cells as they stand, missing ones as null.

    Which words are missing depends on the column's type, as in training.
    """
    used = [(index, name, signature[name]) for index, name in enumerate(names) if name in signature]
    for line, cells in rows:
        yield (
            line,
            {
                name: None
                if is_missing(cells[index]) or (kind in ("number", "time") and is_missing_word(cells[index]))
                else cells[index]
                for index, name, kind in used
            },
        )


def _blocks(rows: Iterable[tuple[int, Row]]) -> Iterator[tuple[list[int], list[Row]]]:
    """Yield rows in blocks, with the line that each row begins on."""
    lines: list[int] = []
    block: list[Row] = []
    size = 0
    for line, row in rows:
        lines.append(line)
        block.append(row)
        size += len(json.dumps(row))
        if len(block) == BLOCK_ROWS or size >= BLOCK_BYTES:
            yield lines, block
            lines, block, size = [], [], 0
    if block:
        yield lines, block


def _ask(
    api: Api,
    console: Console,
    target: Mapping[str, Any],
    file: Path,
    blocks: Iterable[tuple[list[int], list[Row]]],
    sleep: Callable[[float], None],
) -> Iterator[dict[str, Any]]:
    """Send block by block and yield the answers.

    A model of many classes or of long sums cannot answer a whole block within its limits: it gets less. A
    request that meets a short trouble is sent again: a long file must not be lost by one throttle.
    """
    most = BLOCK_ROWS
    done = failures = 0
    for lines, block in blocks:
        start = 0
        while start < len(block):
            part = block[start : start + most]
            try:
                answer = api.post("/predict", {**target, "rows": part})
            except TooLarge:
                if len(part) == 1:
                    raise
                most = len(part) // 2
                continue
            except TransientError:
                failures += 1
                if failures == TRIES:
                    raise
                sleep(random.uniform(0.0, 2.0**failures))
                continue
            except Unprocessable as error:
                # The answer counts the rows of the request; people count the lines of their file.
                row = error.values[0]["row"] if error.values else None
                if isinstance(row, int):
                    error.where = f"{file.name}, line {lines[start + row]}"
                raise
            failures = 0
            start += len(part)
            done += len(part)
            if console.err.isatty():
                print(f"\r{done} rows", end="", file=console.err, flush=True)
            yield answer
    if console.err.isatty():
        print("\r\033[K", end="", file=console.err, flush=True)


class _Summary:
    """What all answers together say."""

    def __init__(self) -> None:
        self.rows = 0
        self.warnings: Counter[tuple[str, str | None]] = Counter()
        self.examples: dict[tuple[str, str | None], str] = {}
        self.cut = False

    def add(self, answer: Mapping[str, Any]) -> None:
        self.rows += len(answer["predictions"])
        for warning in answer["warnings"]:
            if warning["code"] == "warnings-cut":  # an answer lists a thousand; this says how many more
                self.cut = True
                continue
            kind = (warning["code"], warning["field"])
            self.warnings[kind] += 1
            self.examples.setdefault(kind, warning["message"])

    def result(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "warnings": [
                {"code": code, "field": field, "rows": count, "message": self.examples[code, field]}
                for (code, field), count in self.warnings.most_common()
            ],
            "warnings_cut": self.cut,
        }


def _write(answers: Iterable[dict[str, Any]], classes: list[str], sink: TextIO) -> dict[str, Any]:
    """Write a header and a line for each row; return the summary."""
    summary = _Summary()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(["prediction", *(f"probability:{name}" for name in classes)])
    for answer in answers:
        probabilities = answer.get("probabilities")
        for index, prediction in enumerate(answer["predictions"]):
            shares = [probabilities[index][name] for name in classes] if probabilities else []
            writer.writerow([prediction, *shares])
        summary.add(answer)
    return summary.result()


def _collect(answers: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return predictions and probabilities with the summary."""
    summary = _Summary()
    predictions: list[Any] = []
    probabilities: list[Any] = []
    for answer in answers:
        predictions += answer["predictions"]
        probabilities += answer.get("probabilities") or []
        summary.add(answer)
    return {**summary.result(), "predictions": predictions, "probabilities": probabilities}
