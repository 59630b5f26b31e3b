"""The page: what was learned from the file, how good it is, and what to be careful about.

One self-contained HTML document: no script, no request to anywhere, readable on a phone, in the dark
and on paper. Every text that comes from a file is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from millrace.contracts import Run, Schema
from millrace.report import data, quality
from millrace.report.card import card, features
from millrace.report.html import Html, anchor, count, facts, number, paragraph, section, strong, text
from millrace.report.style import CSS

__all__ = ["render"]

MAX_NOTES = 100


def render(
    run: Run,
    evaluation: Mapping[str, Any],
    schema: Schema,
    description: Mapping[str, Any],
    cost: Mapping[str, Any],
) -> bytes:
    """Return the report of ``run`` as one HTML page in UTF-8.

    Parameters
    ----------
    run : Run
        The run's record.
    evaluation : mapping
        What ``select`` wrote; see ``docs/reference/evaluation.md``.
    schema : Schema
        Target, task and classes.
    description : mapping
        What ``select`` wrote of the columns: :class:`millrace.training.describe.Description`, as JSON types.
    cost : mapping
        What the run used so far and what that costs, as ``millrace.edge.cost.run_cost`` returns it; may be
        empty.
    """
    title = f"{evaluation['model']}: {evaluation['target']}"
    bodies: dict[str, Sequence[str]] = {
        "How good it is": quality.metrics(evaluation, schema),
        "To be careful about": [_warnings(run, evaluation, schema)],
        "Candidates": quality.candidates(evaluation),
        "Curves": quality.drawings(evaluation, schema),
        "Confusion": quality.confusion(evaluation),
        "Thresholds": quality.thresholds(evaluation),
        "Slices": quality.slices(evaluation),
        "What it looks at": [*quality.importance(evaluation), *quality.dependence(evaluation, schema)],
        "Would more rows help?": quality.learning(evaluation),
        "What was left out": data.left_out(description),
        "The columns": data.columns(evaluation, description),
        "Model card": card(run, evaluation, schema, description, cost),
    }
    sections = {name: section(name, *body) for name, body in bodies.items()}
    links = "".join(
        f'<li><a href="#{anchor(name)}">{text(name)}</a></li>' for name, made in sections.items() if made
    )
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{CSS}</style>
</head>
<body>
<a class="skip" href="#content">To the content</a>
<header>
<h1>{text(title)}</h1>
<p class="where">Run {text(run.run_id)}, {text(run.created_at)}, from
s3://{text(run.bucket)}/{text(run.key)}</p> </header>
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main id="content">
{_summary(evaluation, schema, description)}
{_facts(evaluation)}
{"".join(sections.values())}
</main>
<footer><p>Made by millrace {text(evaluation.get("libraries", {}).get("millrace", ""))}. All numbers of this
page, and more, are in <code>report.json</code> beside it.</p></footer>
</body>
</html>
"""
    return page.encode("utf-8")


def _summary(evaluation: Mapping[str, Any], schema: Schema, description: Mapping[str, Any]) -> Html:
    metric = str(evaluation["metric"])
    label, better = quality.label_of(metric)
    ours, naive = evaluation["metrics"].get(metric), evaluation["baseline"].get(metric)
    what = "the number " if schema.task == "regression" else f"which of {len(schema.classes)} classes "
    ends = (evaluation.get("confidence") or {}).get("metrics", {}).get(metric)
    sure = f" ({number(ends[0])} to {number(ends[1])})" if ends else ""
    said = paragraph(
        f"The model tells {what}",
        strong(schema.target),
        "" if schema.task == "regression" else " is",
        f" from {count(features(description), 'column')}. On "
        f"{count(evaluation['rows']['holdout'], 'row')} that no candidate saw, its {label} is ",
        strong(number(ours)),
        f"{sure}; always answering {quality.guess_of(schema)} has {number(naive)} ({better} is better).",
    )
    return Html(said.replace("<p>", '<p class="summary">', 1))


def _facts(evaluation: Mapping[str, Any]) -> Html:
    rows = evaluation["rows"]
    names = {
        "rows read": "read",
        "kept": "kept",
        "rejected": "rejected",
        "trained on": "trained",
        "held out": "holdout",
    }
    return facts({label: number(rows.get(name)) for label, name in names.items()})


def _warnings(run: Run, evaluation: Mapping[str, Any], schema: Schema) -> Html:
    notes = list(dict.fromkeys([*run.warnings, *schema.warnings, *map(str, evaluation.get("notes", []))]))
    if not notes:
        return paragraph("Nothing.")
    shown = "".join(f"<li>{escape(note)}</li>" for note in notes[:MAX_NOTES])
    more = f"<li>And {len(notes) - MAX_NOTES} more.</li>" if len(notes) > MAX_NOTES else ""
    return Html(f"<ul>{shown}{more}</ul>")
