"""The page: what was learned from the file, how good it is, and what to be careful about.

One self-contained HTML document: no script, no request to anywhere, readable on a phone, in the dark
and on paper. Every text that comes from a file is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from millrace.contracts import LOWER_IS_BETTER, Run, Schema
from millrace.report import figures

MAX_LABELS = 20
"""Classes shown in the confusion matrix; more would not be read."""

MAX_BARS = 20
"""Columns shown in the importance figure; the table has all."""

LABELS: dict[str, str] = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "log_loss": "log loss",
    "brier": "Brier score",
    "f1_macro": "F1, macro average",
    "roc_auc": "area under the ROC curve",
    "rmse": "root mean squared error",
    "mae": "mean absolute error",
    "r2": "R²",
}
"""What people call each metric."""

_CSS = """
:root { color-scheme: light dark; --accent: #0b6e99; --quiet: #6b7280; --line: #d9dce1; --soft: #f4f6f8;
  --good: #1a7f37; --bad: #b42318; --paper: #fff; --ink: #1c2024; }
@media (prefers-color-scheme: dark) {
  :root { --accent: #5cc1e8; --quiet: #949ba6; --line: #343a42; --soft: #1e2329;
    --good: #57c278; --bad: #ff8a7a; --paper: #14171a; --ink: #e6e8eb; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem clamp(1rem, 4vw, 2.5rem) 3rem;
  background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1rem 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; padding-bottom: .2rem; border-bottom: 1px solid var(--line); }
p.where { color: var(--quiet); margin: 0 0 1rem; overflow-wrap: anywhere; }
p.summary { font-size: 1.1rem; }
.scroll { overflow-x: auto; margin-bottom: 1rem; }
.scroll:focus-visible { outline: 2px solid var(--accent); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .95rem; }
caption { text-align: left; color: var(--quiet); padding-bottom: .3rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { background: var(--soft); }
.number { text-align: right; white-space: nowrap; }
.better { color: var(--good); }
.worse { color: var(--bad); }
tbody th { font-weight: 400; }
tr.chosen > * { font-weight: 650; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .6rem; padding: 0; }
.facts > div { background: var(--soft); border-radius: .5rem; padding: .6rem .8rem; }
.facts dt { color: var(--quiet); font-size: .85rem; }
.facts dd { margin: 0; font-size: 1.2rem; font-weight: 600; overflow-wrap: anywhere; }
figure { margin: 1rem 0; }
svg { width: 100%; height: auto; }
svg text { font-family: inherit !important; }
figcaption { color: var(--quiet); }
.matrix td { text-align: right;
  background: color-mix(in srgb, var(--accent) var(--share), transparent); }
@media print {
  body { max-width: none; font-size: 11pt; }
  h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  .scroll { overflow: visible; } }
"""


def render(run: Run, evaluation: Mapping[str, Any], schema: Schema, description: Mapping[str, Any]) -> bytes:
    """Return the report of ``run`` as one HTML page in UTF-8.

    Parameters
    ----------
    run : Run
        The run's record.
    evaluation : mapping
        What ``select`` wrote: candidates, metrics, baseline, curves, importance, parity.
    schema : Schema
        Target, task and classes.
    description : mapping
        What ``select`` wrote of the columns: :class:`millrace.training.describe.Description`, as JSON types.
    """
    title = f"{evaluation['model']}: {evaluation['target']}"
    sections = [
        _section("How good it is", _metrics(evaluation)),
        _section("The candidates", _candidates(evaluation)),
        *_curves(evaluation, schema),
        _section("What it looks at", _importance(evaluation)),
        _section("The columns", _columns(evaluation, description)),
        _section("To be careful about", _warnings(run, evaluation, schema)),
        _section("The artifact", _artifact(evaluation)),
    ]
    body = "\n".join(section for section in sections if section)
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{_CSS}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p class="where">Run {escape(run.run_id)}, {escape(run.created_at)}, from s3://{escape(run.bucket)}/{escape(run.key)}</p>
</header>
<main>
<p class="summary">{_summary(evaluation, schema)}</p>
{_facts(evaluation)}
{body}
</main>
</body>
</html>
"""
    return page.encode("utf-8")


def _label(metric: str) -> tuple[str, str]:
    """Return what people call a metric, and whether a higher or a lower value is better."""
    return LABELS.get(metric, metric), "lower" if metric in LOWER_IS_BETTER else "higher"


def _summary(evaluation: Mapping[str, Any], schema: Schema) -> str:
    metric = str(evaluation["metric"])
    label, better = _label(metric)
    ours, naive = evaluation["metrics"].get(metric), evaluation["baseline"].get(metric)
    what = (
        f"the number <b>{escape(schema.target)}</b>"
        if schema.task == "regression"
        else f"which of {len(schema.classes)} classes <b>{escape(schema.target)}</b> is"
    )
    guess = "the mean" if schema.task == "regression" else "the share of each class in training"
    return (
        f"The model tells {what} from {_count(len(evaluation['features']), 'column')}. On "
        f"{_count(evaluation['rows']['holdout'], 'row')} that no candidate saw, its {label} is "
        f"<b>{_number(ours)}</b>; always answering {guess} has {_number(naive)} ({better} is better)."
    )


def _facts(evaluation: Mapping[str, Any]) -> str:
    rows = evaluation["rows"]
    names = ("read", "kept", "rejected", "trained", "holdout")
    labels = ("rows read", "kept", "rejected", "trained on", "held out")
    cells = "".join(
        f"<div><dt>{label}</dt><dd>{_number(rows.get(name))}</dd></div>"
        for name, label in zip(names, labels, strict=True)
    )
    return f'<dl class="facts">{cells}</dl>'


def _metrics(evaluation: Mapping[str, Any]) -> str:
    lines = []
    for name, ours in evaluation["metrics"].items():
        naive = evaluation["baseline"].get(name)
        label, better = _label(name)
        mark = ""
        if ours is not None and naive is not None and ours != naive:
            mark = "better" if (ours > naive) == (better == "higher") else "worse"
        lines.append(
            [label, _cell(_number(ours), f"number {mark}".strip()), _cell(_number(naive), "number"), better]
        )
    text = "<p>Measured on the held-out rows, beside a baseline that looks at no column.</p>"
    around = evaluation.get("interval")
    if around:
        text += (
            f"<p>Each prediction comes with an interval, from {_number(around['below'])} to "
            f"+{_number(around['above'])} around it, meant to hold {around['level']:.0%} of the values. "
            f"On the held-out rows it held {around['coverage']:.1%}.</p>"
        )
    return text + _table("Metrics", ["metric", "model", "baseline", "better when"], lines)


def _candidates(evaluation: Mapping[str, Any]) -> str:
    metric = str(evaluation["metric"])
    label, better = _label(metric)
    sign = -1.0 if better == "higher" else 1.0

    def rank(candidate: Mapping[str, Any]) -> float:
        score = candidate.get("cv_score")
        return float("inf") if score is None else sign * float(score)

    lines, chosen = [], []
    for candidate in sorted(evaluation["candidates"], key=rank):
        failed = candidate["state"] != "ok"
        lines.append(
            [
                f"{candidate['name']}: {candidate['about']}",
                _cell(_number(candidate.get("cv_score")), "number"),
                _cell(_number(candidate.get("cv_std")), "number"),
                _cell(_number(candidate.get("fit_seconds")), "number"),
                f"failed: {candidate.get('error') or 'no reason given'}" if failed else "",
            ]
        )
        chosen.append(candidate["name"] == evaluation["chosen"])
    text = (
        f"<p>Each was judged by cross-validation on the training rows ({escape(label)}, {better} is better); "
        f"<b>{escape(str(evaluation['chosen']))}</b> was chosen.</p>"
    )
    heads = ["candidate", "score", "± between folds", "fit, s", ""]
    return text + _table("Candidates, best first", heads, lines, chosen=chosen)


def _curves(evaluation: Mapping[str, Any], schema: Schema) -> list[str]:
    curves = evaluation.get("curves", {})
    out = []
    if confusion := curves.get("confusion"):
        out.append(_section("Which classes it confuses", _confusion(confusion)))
    if schema.task == "binary":
        for roc in curves.get("ranking", []):
            drawing = figures.roc(roc, str(roc["class"]))
            out.append(_section("ROC curve", _figure(drawing, "The dashed line is guessing.")))
    if calibration := curves.get("calibration"):
        note = "Points on the dashed line mean that a probability of 0.7 comes true 7 times in 10."
        out.append(
            _section(
                "Are the probabilities right?",
                _figure(figures.calibration(calibration), note)
                + _table(
                    "Calibration",
                    ["predicted", "observed", "rows"],
                    [
                        [_cell(_number(value), "number") for value in line]
                        for line in zip(
                            calibration["predicted"],
                            calibration["observed"],
                            calibration["count"],
                            strict=True,
                        )
                    ],
                ),
            )
        )
    if residuals := curves.get("residuals"):
        note = "Each point is a held-out row; the dashed line is a perfect prediction."
        out.append(
            _section("Predicted against actual", _figure(figures.residuals(residuals, schema.target), note))
        )
    return out


def _confusion(confusion: Mapping[str, Any]) -> str:
    labels, matrix = list(confusion["labels"]), confusion["matrix"]
    order = sorted(range(len(labels)), key=lambda index: -sum(matrix[index]))[:MAX_LABELS]
    shown = sorted(order)
    lines: list[list[Any]] = []
    for row in shown:
        total = sum(matrix[row]) or 1
        cells: list[Any] = [str(labels[row])]
        for column in shown:
            share = round(60 * matrix[row][column] / total)
            cells.append(_Html(f'<td style="--share: {share}%">{_number(matrix[row][column])}</td>'))
        lines.append(cells)
    text = "<p>Rows are the actual classes, columns the predicted ones.</p>"
    if len(shown) < len(labels):
        text += f"<p>The {len(shown)} most frequent of {len(labels)} classes.</p>"
    heads = ["actual \\ predicted", *(str(labels[index]) for index in shown)]
    return text + _table("Confusion matrix on the held-out rows", heads, lines, kind="matrix")


def _importance(evaluation: Mapping[str, Any]) -> str:
    entries = sorted(evaluation.get("importance", []), key=lambda entry: -float(entry["mean"]))
    if not entries:
        return ""
    note = "How much the score drops on the held-out rows when a column's values are shuffled."
    lines = [
        [entry["column"], _cell(_number(entry["mean"]), "number"), _cell(_number(entry["std"]), "number")]
        for entry in entries
    ]
    return _figure(figures.importance(entries[:MAX_BARS]), note) + _table(
        "Permutation importance", ["column", "loss of score", "±"], lines
    )


def _columns(evaluation: Mapping[str, Any], description: Mapping[str, Any]) -> str:
    columns = description["columns"]
    if not columns:
        return ""
    became = evaluation["features"]
    lines = []
    for column in columns:
        distinct = "over 1,000" if column["distinct"] is None else _number(column["distinct"])
        lines.append(
            [
                column["name"],
                column["type"],
                column["role"],
                _cell(_number(column["missing"]), "number"),
                _cell(
                    ("" if column["distinct_exact"] or column["distinct"] is None else "≈ ") + distinct,
                    "number",
                ),
                _values(column),
                _cell(_number(column["association"]), "number", column["association_measure"]),
                _cell(_number(column["alone"]), "number"),
                _cell(_number(column["drift"]), "number"),
                column["reason"] or became.get(column["name"], ""),
                "; ".join(column["warnings"]),
            ]
        )
    heads = ["column", "type", "role", "missing", "distinct", "values", "with the target", "alone", "drift"]
    return _estimates(description) + _table(
        _count(len(columns), "column"), [*heads, "what became of it", "look at"], lines
    )


def _estimates(description: Mapping[str, Any]) -> str:
    order = description["time_column"]
    text = (
        "<p>Of numbers and times: least · median · greatest. With the target: Spearman's correlation, the "
        "correlation ratio or Cramér's V. Alone: the share of the target that the column predicts by itself. "
        "Drift: the distance of the later half of the rows from the earlier, by "
        f"{escape(order) if order else 'their order in the file'}.</p>"
    )
    if description["sample_error"]:
        text += (
            f"<p>Medians, shares marked ≈, and the last three are estimates from "
            f"{_count(description['sample_rows'], 'row')}: a share, and the place of a median, is right to "
            f"{description['sample_error']:.1%} of the rows with a certainty of "
            f"{description['confidence']:.0%}.</p>"
        )
    return text


def _values(column: Mapping[str, Any]) -> str:
    """Return the range of a number or time, and of others the most frequent values with their shares."""
    if column["minimum"] is not None:
        ends = [column["minimum"], column["quantiles"].get("0.5"), column["maximum"]]
        return " · ".join(_point(value) for value in ends if value is not None)
    about = "" if column["top_exact"] else "≈ "
    return ", ".join(f"{value} ({about}{share:.0%})" for value, share in column["top"])


def _point(value: float | str) -> str:
    return value.removesuffix(" 00:00:00") if isinstance(value, str) else _number(value)


def _warnings(run: Run, evaluation: Mapping[str, Any], schema: Schema) -> str:
    notes = dict.fromkeys([*run.warnings, *schema.warnings, *map(str, evaluation.get("notes", []))])
    if not notes:
        return "<p>Nothing.</p>"
    return "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>"


def _artifact(evaluation: Mapping[str, Any]) -> str:
    parity = evaluation["parity"]
    verdict = "agree" if parity["passed"] else "do not agree"
    text = (
        f"<p>What answers requests is a scoring plan of {_number(evaluation['plan_bytes'])} bytes, compiled "
        f"from the fitted scikit-learn pipeline. The two {verdict} on "
        f"{_count(parity['rows'], 'held-out row')}: the largest difference is "
        f"{parity['max_difference']:.1e} (limit {parity['limit']:.0e}, relative to values above 1). "
        f"Seed {evaluation['seed']}.</p>"
    )
    libraries = [[name, str(version)] for name, version in sorted(evaluation.get("libraries", {}).items())]
    return text + _table("Trained with", ["library", "version"], libraries)


class _Html(str):
    """A piece of HTML, escaped already, standing for a whole cell."""

    __slots__ = ()


def _cell(text: str, kind: str, title: str | None = None) -> _Html:
    about = f' title="{escape(title)}"' if title else ""
    return _Html(f'<td class="{kind}"{about}>{escape(text)}</td>')


def _table(
    caption: str,
    heads: Sequence[str],
    lines: Iterable[Sequence[Any]],
    *,
    chosen: Sequence[bool] = (),
    kind: str = "",
) -> str:
    """Build a table whose first column names its rows."""
    lines = list(lines)
    numeric = [
        bool(lines) and isinstance(lines[0][index], _Html) and 'class="number' in lines[0][index]
        for index in range(len(heads))
    ]
    head = "".join(
        f'<th scope="col"{" class=number" if right else ""}>{escape(name)}</th>'
        for name, right in zip(heads, numeric, strict=True)
    )
    rows = []
    for number, line in enumerate(lines):
        first, *rest = line
        name = first if isinstance(first, _Html) else f'<th scope="row">{escape(str(first))}</th>'
        cells = "".join(cell if isinstance(cell, _Html) else f"<td>{escape(str(cell))}</td>" for cell in rest)
        mark = ' class="chosen"' if number < len(chosen) and chosen[number] else ""
        rows.append(f"<tr{mark}>{name}{cells}</tr>")
    label = escape(caption, quote=True)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table class="{kind}">'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{body}</section>" if body else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _number(value: float | None) -> str:
    """Write a number for reading: whole numbers with separators, others with four significant digits."""
    if value is None or value != value:
        return "–"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
