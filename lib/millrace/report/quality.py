"""How good the model is: metrics beside baselines, candidates, curves, thresholds, slices, what it looks
at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from millrace.contracts import LOWER_IS_BETTER, PINBALL, Schema
from millrace.report import figures
from millrace.report.html import Html, cell, count, figure, number, paragraph, strong, table, text
from millrace.report.html import figures as side_by_side

__all__ = [
    "candidates",
    "confusion",
    "dependence",
    "drawings",
    "guess_of",
    "importance",
    "label_of",
    "learning",
    "metrics",
    "slices",
    "thresholds",
]

MAX_LABELS = 20
"""Classes shown in the confusion matrix; more would not be read."""
MAX_BARS = 20
"""Columns shown in the importance figure."""
MAX_LINES = 100
"""Lines of the tables of importance and of slices; ``report.json`` has all."""

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
    "poisson_deviance": "Poisson deviance",
    "gamma_deviance": "gamma deviance",
    "tweedie_deviance": "Tweedie deviance",
}
"""What people call each metric."""


def label_of(metric: str) -> tuple[str, str]:
    """Return what people call a metric, and whether a higher or a lower value is better."""
    label = LABELS.get(metric, metric)
    if metric.startswith(PINBALL):
        label = f"pinball loss of the quantile {metric.removeprefix(PINBALL)}"
    return label, "lower" if metric in LOWER_IS_BETTER else "higher"


def guess_of(schema: Schema) -> str:
    """Return what the baseline that looks at no column answers."""
    if schema.task != "regression":
        return "the share of each class in training"
    return {"absolute": "the median", "quantile": f"the quantile {schema.quantile}"}.get(
        schema.loss, "the mean"
    )


def metrics(evaluation: Mapping[str, Any], schema: Schema) -> list[str]:
    """Show every metric with its interval, beside the baselines."""
    alone = evaluation.get("single_column")
    sure = evaluation.get("confidence") or {}
    lines = []
    for name, ours in evaluation["metrics"].items():
        naive = evaluation["baseline"].get(name)
        label, better = label_of(name)
        mark = ""
        if naive is not None and ours != naive:
            mark = " better" if (ours > naive) == (better == "higher") else " worse"
        ends = sure.get("metrics", {}).get(name)
        line: list[Any] = [
            label,
            cell(number(ours), f"number{mark}"),
            cell(f"{number(ends[0])} to {number(ends[1])}" if ends else "–"),
        ]
        if alone:
            line.append(cell(number(alone["metrics"].get(name))))
        lines.append([*line, cell(number(naive)), better])
    level = f"{sure['level']:.0%} interval" if sure else "interval"
    heads = ["metric", "model", level, *(["one column"] if alone else []), "no column", "better when"]
    parts: list[str] = [paragraph(_beside(schema, alone), _gains(evaluation, alone))]
    parts.append(table("Metrics on the held-out rows", heads, lines))
    around = evaluation.get("interval")
    if around:
        parts.append(
            paragraph(
                f"Each prediction comes with an interval, from {number(around['below'])} to "
                f"+{number(around['above'])} around it, meant to hold {around['level']:.0%} of the values. "
                f"On the held-out rows it held {around['coverage']:.1%} ({around['coverage_low']:.1%} to "
                f"{around['coverage_high']:.1%} by chance)."
            )
        )
    if sure:
        parts.append(
            paragraph(
                f"Intervals of metrics are of the bootstrap: {sure['resamples']:,} times, {sure['rows']:,} "
                f"held-out rows{_whole_groups(sure)} were drawn again."
            )
        )
    return parts


def _whole_groups(sure: Mapping[str, Any]) -> str:
    return f", in {sure['groups']:,} whole groups," if sure.get("groups") else ""


def _beside(schema: Schema, alone: Mapping[str, Any] | None) -> Html:
    said = f"“No column” always answers {guess_of(schema)}."
    if alone:
        said += " “One column” answers by "
        return Html(
            text(said) + strong(alone["column"]) + ", the best of all by itself, chosen on the training rows."
        )
    return Html(text(said))


def _gains(evaluation: Mapping[str, Any], alone: Mapping[str, Any] | None) -> str:
    """Say whether the model is better than what stands beside it, beyond chance."""
    sure = evaluation.get("confidence") or {}
    label, _ = label_of(str(evaluation["metric"]))
    said = []
    for name, what in (("single_column", "that one column"), ("baseline", "no column")):
        ends = sure.get("better_than", {}).get(name)
        if ends is None or (name == "single_column" and not alone):
            continue
        verdict = "better than" if ends[0] > 0 else "worse than" if ends[1] < 0 else "not surely better than"
        said.append(f"{verdict} {what} (gain {number(ends[0])} to {number(ends[1])})")
    return f" By its {label} the model is {' and '.join(said)}." if said else ""


def candidates(evaluation: Mapping[str, Any]) -> list[str]:
    """Show how each candidate did in cross-validation, best first, and which answer."""
    label, better = label_of(str(evaluation["metric"]))
    sign = -1.0 if better == "higher" else 1.0
    weighed = any(candidate.get("weight") for candidate in evaluation["candidates"])

    def rank(candidate: Mapping[str, Any]) -> float:
        score = candidate.get("cv_score")
        return float("inf") if score is None else sign * float(score)

    lines, marked = [], []
    for candidate in sorted(evaluation["candidates"], key=rank):
        failed = candidate["state"] != "ok"
        weight = candidate.get("weight")
        line: list[Any] = [
            f"{candidate['name']}: {candidate['about']}",
            cell(number(candidate.get("cv_score"))),
            cell(number(candidate.get("cv_std"))),
            cell(number(candidate.get("fit_seconds"))),
        ]
        if weighed:
            line.append(cell(f"{weight:.0%}" if weight else ""))
        why = candidate.get("error") or "no reason given"
        lines.append([*line, f"{candidate['state']}: {why}" if failed else ""])
        marked.append(bool(weight) if weighed else candidate["name"] == evaluation["chosen"])
    heads = ["candidate", "score", "± between folds", "fit, s", *(["weight"] if weighed else []), "remarks"]
    return [
        paragraph(
            f"Each was judged by cross-validation on the training rows ({label}, {better} is better); ",
            strong(evaluation["chosen"]),
            " was chosen",
            _together(evaluation),
        ),
        table("Candidates, best first", heads, lines, marked=marked),
    ]


def _together(evaluation: Mapping[str, Any]) -> str:
    """Say how good what was chosen is as a whole, and how its probabilities were calibrated."""
    said = "."
    score = evaluation.get("cv_score")
    if score is not None:
        said = f": {number(score)} on the folds, ± {number(evaluation.get('cv_std'))}."
    found = evaluation.get("calibration") or {"method": "none", "log_loss": {}}
    if found["method"] != "none":
        losses = found["log_loss"]
        said += (
            f" Its probabilities are calibrated ({found['method']}), which takes the log loss of the folds "
            f"from {number(losses.get('none'))} to {number(losses.get(found['method']))}."
        )
    elif found["log_loss"]:
        said += " No calibration made its probabilities surely better."
    return said


def drawings(evaluation: Mapping[str, Any], schema: Schema) -> list[str]:
    """Show the curves: ROC, precision and recall, calibration; or what is left of a regression."""
    curves = evaluation.get("curves", {})
    shown = []
    if ranking := curves.get("ranking"):
        shown.append(figure(figures.roc(ranking), "ROC curve. The dashed line is guessing."))
        shown.append(
            figure(
                figures.precision_recall(ranking),
                "Precision and recall. The dotted line is what flagging every row has.",
            )
        )
    if calibration := curves.get("calibration"):
        of = calibration.get("class")
        what = f"the class {of}" if of is not None else "the class that is answered"
        caption = (
            f"Are the probabilities right? Of {what}: points on the dashed line mean that a probability of "
            f"0.7 comes true 7 times in 10. They are {calibration['error']:.3f} apart on average."
        )
        shown.append(figure(figures.calibration(calibration), caption))
    if residuals := curves.get("residuals"):
        shown.append(
            figure(
                figures.predicted_against_actual(residuals, schema.target),
                "Each point is a held-out row; the dashed line is a perfect prediction.",
            )
        )
        shown.append(
            figure(
                figures.residuals(residuals, schema.target),
                "What the prediction leaves: no pattern is the best pattern.",
            )
        )
    parts: list[str] = [side_by_side(shown)] if shown else []
    if calibration:
        names = ("predicted", "observed", "low", "high", "count")
        parts.append(
            table(
                "Calibration",
                ["predicted", "observed", "from", "to", "rows"],
                [
                    [cell(number(value)) for value in line]
                    for line in zip(*(calibration[name] for name in names), strict=True)
                ],
            )
        )
    return parts


def confusion(evaluation: Mapping[str, Any]) -> list[str]:
    """Show which classes are taken for which."""
    found = evaluation.get("curves", {}).get("confusion")
    if not found:
        return []
    labels, matrix = list(found["labels"]), found["matrix"]
    shown = sorted(sorted(range(len(labels)), key=lambda index: -sum(matrix[index]))[:MAX_LABELS])
    lines: list[list[Any]] = []
    for row in shown:
        total = sum(matrix[row]) or 1
        cells: list[Any] = [str(labels[row])]
        for column in shown:
            share = round(40 * matrix[row][column] / total)
            cells.append(Html(f'<td style="--share: {share}%">{number(matrix[row][column])}</td>'))
        lines.append(cells)
    said = "Rows are the actual classes, columns the answered ones."
    if len(shown) < len(labels):
        said += f" The {len(shown)} most frequent of {len(labels)} classes."
    heads = ["actual \\ answered", *(str(labels[index]) for index in shown)]
    return [
        paragraph(said),
        table("Confusion matrix on the held-out rows", heads, lines, kind="matrix"),
    ]


def thresholds(evaluation: Mapping[str, Any]) -> list[str]:
    """Show what each threshold finds, misses and costs."""
    found = evaluation.get("thresholds")
    if not found:
        return []
    priced = "costs" in found
    heads = ["threshold", "flagged", "precision", "recall", "F1", *(["cost of a row"] if priced else [])]
    lines = [_threshold(line, priced) for line in found["table"]]
    best = found["best_f1"]
    parts: list[str] = [
        paragraph(
            "A row is flagged as ",
            strong(found["class"]),
            f" when its probability is at least the threshold. F1 is greatest, {number(best['f1'])}, at "
            f"{number(best['threshold'])}. ",
        )
    ]
    shown = [figure(figures.thresholds(found["table"]), "What each threshold finds.")]
    if priced:
        least, by_costs, half = found["least_cost"], found["by_costs"], found["half"]
        wrong, missed = found["costs"]["false_positive"], found["costs"]["false_negative"]
        parts.append(
            paragraph(
                f"With {number(wrong)} for a false alarm and {number(missed)} for a miss, a row costs "
                f"least, {number(least['cost'])}, at the threshold {number(least['threshold'])}; at 0.5 it "
                f"costs {number(half['cost'])}. Chosen on one half of these rows and judged on the other, "
                f"the least cost is {number(found['least_cost_elsewhere'])}. For calibrated probabilities "
                f"the threshold is {number(by_costs['threshold'])}, whatever the rows, and costs "
                f"{number(by_costs['cost'])}. No threshold is applied: the model answers probabilities, and "
                "its class is the likelier one.",
            )
        )
        shown.append(figure(figures.costs(found["table"], least["threshold"]), "What each threshold costs."))
    return [*parts, side_by_side(shown), table("Thresholds on the held-out rows", heads, lines)]


def _threshold(line: Mapping[str, Any], priced: bool) -> list[Any]:
    names = ("threshold", "precision", "recall", "f1", *(["cost"] if priced else []))
    values = [cell(number(line[name])) for name in names]
    return [values[0], cell(f"{line['flagged']:.1%}"), *values[1:]]


def slices(evaluation: Mapping[str, Any]) -> list[str]:
    """Show how the model does on parts of the rows, and call out where it is much worse."""
    found = evaluation.get("slices")
    if not found or not found["slices"]:
        return []
    covered = "coverage" in found["slices"][0]
    worse = [line for line in found["slices"] if line["worse"] or line.get("uncovered")]
    label, better = label_of(found["metric"])
    rule = (
        f"A slice is called out when its rows lose more than the others ({found['loss']}) by a test that "
        f"errs for any slice with a chance of {found['error']:.0%} (Welch's, Holm's correction for "
        f"{count(len(found['slices']), 'slice')}), at least {found['times']:g} times as much, and by at "
        f"least {found['of_naive']:.0%} of what the baseline without a column loses. Slices have at least "
        f"{found['least_rows']} rows."
    )
    calls = "".join(paragraph(*_call(line, found["loss"])) for line in worse[:MAX_LINES])
    verdict = (
        Html(f'<div class="call" role="note">{calls}</div>')
        if calls
        else paragraph("No slice is much worse.")
    )
    lines, marked = [], []
    # Of log loss the score of a slice is the mean of what its rows lose.
    same = found["metric"] == "log_loss"
    heads = ["column", "value", "rows", *([] if same else [label])]
    heads += [f"{found['loss']} of a row", "of the others", *(["in their interval"] if covered else [])]
    ordered = sorted(found["slices"], key=lambda line: not (line["worse"] or line.get("uncovered")))
    for line in ordered[:MAX_LINES]:
        values: list[Any] = [
            line["column"],
            str(line["value"]),
            cell(number(line["rows"])),
            *([] if same else [cell(number(line["score"]))]),
            cell(number(line["loss"]), "number worse" if line["worse"] else "number"),
            cell(number(line["others"])),
        ]
        if covered:
            short = line.get("uncovered")
            values.append(cell(f"{line['coverage']:.1%}", "number worse" if short else "number"))
        marked.append(bool(line["worse"] or line.get("uncovered")))
        lines.append(
            [*values, "much worse" if line["worse"] else "intervals too narrow" if marked[-1] else ""]
        )
    return [
        paragraph(rule),
        verdict,
        table(
            f"Slices of the held-out rows ({label}: {better} is better)",
            [*heads, "verdict"],
            lines,
            marked=marked,
        ),
    ]


def _call(line: Mapping[str, Any], loss: str) -> list[str]:
    where: list[str] = ["Where ", strong(line["column"]), " is ", strong(line["value"]), ": "]
    if line["worse"]:
        where.append(
            f"{loss} {number(line['loss'])} on {count(line['rows'], 'row')}, {number(line['others'])} on the "
            "others. "
        )
    if line.get("uncovered"):
        where.append(f"Only {line['coverage']:.1%} of the values lie in their interval.")
    return where


def importance(evaluation: Mapping[str, Any]) -> list[str]:
    """Show by which columns the model lives."""
    entries = sorted(evaluation.get("importance", []), key=lambda entry: -float(entry["mean"]))
    if not entries:
        return []
    note = "How much the score drops on held-out rows when a column's values are shuffled among them."
    lines = [
        [entry["column"], cell(number(entry["mean"])), cell(number(entry["std"]))]
        for entry in entries[:MAX_LINES]
    ]
    return [
        figure(figures.importance(entries[:MAX_BARS]), note),
        table(_most("Permutation importance", entries), ["column", "loss of score", "±"], lines),
    ]


def _most(caption: str, entries: Sequence[Any]) -> str:
    return caption if len(entries) <= MAX_LINES else f"{caption}, the first {MAX_LINES} of {len(entries):,}"


def dependence(evaluation: Mapping[str, Any], schema: Schema) -> list[str]:
    """Show what the model says by the value of each of the most important columns."""
    found = evaluation.get("dependence")
    if not found or not found["columns"]:
        return []
    of = [str(name) for name in found["of"]]
    values = [value for entry in found["columns"] for mean in entry["mean"] for value in mean]
    ends = (min(values), max(values))
    says = f"predicted {schema.target}" if not of else "probability" if len(of) > 1 else f"P({of[0]})"
    shown = [
        figure(figures.dependence(entry, of, ends, says, place), str(entry["column"]))
        for place, entry in enumerate(found["columns"])
    ]
    return [
        Html("<h3>Partial dependence</h3>"),
        paragraph(
            f"What the model says on average of {count(found['rows'], 'row')} when the column has the same "
            "value in all of them. It tells what the model does, not what causes what; of columns that go "
            "together it asks about rows that do not occur."
        ),
        side_by_side(shown),
    ]


def learning(evaluation: Mapping[str, Any]) -> list[str]:
    """Show whether more rows would help."""
    curve = evaluation.get("learning_curve")
    if not curve or len(curve["points"]) < 2:
        return []
    label, better = label_of(curve["metric"])
    first, last = curve["points"][-2]["score"], curve["points"][-1]["score"]
    gain = (last - first) if better == "higher" else (first - last)
    said = (
        f"From {curve['points'][-2]['rows']:,} to {curve['points'][-1]['rows']:,} rows the {label} "
        f"{'improved' if gain > 0 else 'did not improve'}, from {number(first)} to {number(last)}. "
        f"{curve['candidate']} was fitted to nested parts of the training rows and judged on "
        f"{count(curve['rows'], 'training row')} that were set aside; no held-out row was looked at."
    )
    return [paragraph(said), figure(figures.learning(curve, label), f"{label}; {better} is better.")]
