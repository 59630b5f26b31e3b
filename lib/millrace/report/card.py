"""The model card: data, intended use, limits, what it is, what it took (M. Mitchell and others, "Model Cards
for Model Reporting", 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from millrace.contracts import Run, Schema
from millrace.report.html import Html, cell, count, number, paragraph, size, table, text
from millrace.report.quality import label_of

__all__ = ["card", "features"]


def card(
    run: Run,
    evaluation: Mapping[str, Any],
    schema: Schema,
    description: Mapping[str, Any],
    cost: Mapping[str, Any],
) -> list[str]:
    """Show what somebody must know who is to use the model, or to answer for it."""
    return [
        Html("<h3>Data</h3>"),
        _data(run, evaluation, schema, description),
        Html("<h3>Intended use</h3>"),
        paragraph(_use(evaluation, schema)),
        Html("<h3>Limits</h3>"),
        _list(_limits(evaluation, schema, description)),
        Html("<h3>The artifact</h3>"),
        paragraph(_artifact(evaluation)),
        _versions(evaluation),
        Html("<h3>What the run used</h3>"),
        *_used(run, cost),
    ]


def features(description: Mapping[str, Any]) -> int:
    """Return how many columns the model looks at: suspects are features of the file, not of the model."""
    return sum(column["role"] == "feature" for column in description["columns"])


def _data(run: Run, evaluation: Mapping[str, Any], schema: Schema, description: Mapping[str, Any]) -> Html:
    rows = evaluation["rows"]
    held = "the latest" if schema.time_column else "drawn at random"
    if schema.classes and not schema.time_column and not schema.group_column:
        held += ", each class in proportion"
    lines = [
        ["file", f"s3://{run.bucket}/{run.key}"],
        ["version of it", f"{run.version_id}, {size(run.size_bytes)}, etag {run.etag}"],
        ["came", "from a stream" if run.source == "stream" else "by upload"],
        ["rows", f"{number(rows.get('read'))} read, {number(rows.get('rejected'))} rejected"],
        ["trained on", f"{number(rows['trained'])} rows"],
        *_updated(evaluation),
        ["held out", f"{number(rows['holdout'])} rows, {held}"],
        ["features", f"{features(description)} of {count(len(schema.columns), 'column')}"],
        ["target", f"{schema.target}, {schema.task}"],
    ]
    if schema.task == "regression" and schema.loss != "squared":
        lines.append(["loss", f"{schema.loss} {schema.quantile or ''}".strip()])
    if schema.group_column:
        lines.append(["kept together", f"rows with the same {schema.group_column}"])
    if schema.weight_column or schema.class_weight == "balanced":
        weighed = [schema.weight_column or "", "classes alike" if schema.class_weight == "balanced" else ""]
        lines.append(["weights in training", ", ".join(filter(None, weighed))])
    if schema.classes:
        shown = ", ".join(schema.classes[:10])
        lines.append(
            ["classes", shown + (f" and {len(schema.classes) - 10} more" if len(schema.classes) > 10 else "")]
        )
    if schema.positive_class:
        lines.append(["positive class", schema.positive_class])
    return table("What it was made of", ["about", "what"], lines)


def _updated(evaluation: Mapping[str, Any]) -> list[list[str]]:
    """Return that it was made by an update, if it was."""
    made = evaluation.get("updated")
    if not made:
        return []
    return [
        ["made by", f"updating version {made['version']} with {count(made['rows'], 'new row')}"],
        ["updates", f"{made['updates']} since the search that made version {made['searched']}"],
    ]


def _use(evaluation: Mapping[str, Any], schema: Schema) -> str:
    what = (
        "an estimate of the number"
        if schema.task == "regression"
        else "the probability of each class, and the likelier class, of"
    )
    return (
        f"For {what} {schema.target!r}, for rows that come about as those of the file did, with the same "
        "columns known at the same moment. It was made automatically: nobody has judged whether the target "
        "means what it is taken for, or whether decisions by it are fair or lawful. It does not tell "
        "causes: acting on a column need not move the target as the model says. It is not for rows of "
        "another population, or of another time, than those it was measured on."
    )


def _limits(evaluation: Mapping[str, Any], schema: Schema, description: Mapping[str, Any]) -> list[str]:
    metric = str(evaluation["metric"])
    label, _ = label_of(metric)
    held = evaluation["rows"]["holdout"]
    limits = []
    ends = (evaluation.get("confidence") or {}).get("metrics", {}).get(metric)
    if ends:
        limits.append(
            f"It was measured on {count(held, 'row')}: on as many others of their kind its {label} might as "
            f"well be anything from {number(ends[0])} to {number(ends[1])}. This takes "
            f"{'groups' if schema.group_column else 'rows'} for independent."
        )
    if not schema.time_column:
        limits.append("The held-out rows are as old as the others: what changes with time was not measured.")
    if schema.classes:
        limits.append(f"It answers only the {len(schema.classes)} classes of the file.")
    limits.append(
        "Numbers and times outside what training saw are scored all the same, with the warning 'outside'; "
        "trees answer there as at the nearest value that they saw."
    )
    bad = [line for line in (evaluation.get("slices") or {}).get("slices", []) if line["worse"]]
    if bad:
        limits.append(f"It is much worse on {count(len(bad), 'slice')} of the rows: see Slices.")
    drifting = [c["name"] for c in description["columns"] if any("drift" in said for said in c["warnings"])]
    if drifting:
        limits.append(f"Columns drift with time, so it will age: {', '.join(drifting[:10])}.")
    suspects = [
        column["name"]
        for column in description["columns"]
        if column["role"] == "feature" and any("leakage" in said for said in column["warnings"])
    ]
    if suspects:
        limits.append(
            f"Columns that it looks at may give the target away: {', '.join(suspects[:10])}. Ask whether "
            "they are known before it is."
        )
    return limits


def _list(items: list[str]) -> Html:
    return Html("<ul>" + "".join(f"<li>{text(item)}</li>" for item in items) + "</ul>")


def _artifact(evaluation: Mapping[str, Any]) -> str:
    parity = evaluation["parity"]
    verdict = "agree" if parity["passed"] else "do not agree"
    return (
        f"What answers requests is a scoring plan of {size(evaluation['plan_bytes'])}, compiled from the "
        f"fitted scikit-learn pipeline. Certificate: the two {verdict} on "
        f"{count(parity['rows'], 'held-out row')}; the largest difference is {parity['max_difference']:.1e} "
        f"(limit {parity['limit']:.0e}, relative to values above 1). Seed {evaluation['seed']}: the same "
        "file, spec and seed make the same bytes on the same kind of processor."
    )


def _versions(evaluation: Mapping[str, Any]) -> Html:
    libraries = [[name, str(version)] for name, version in sorted(evaluation.get("libraries", {}).items())]
    return table("Versions", ["library", "version"], libraries)


def _used(run: Run, cost: Mapping[str, Any]) -> list[Html]:
    if not cost or not cost["functions"]:
        return [paragraph("What the run used was not recorded.")]
    lines = [
        [
            name,
            cell(number(used["invocations"])),
            cell(number(used["seconds"])),
            cell(number(used["memory_mb"])),
        ]
        for name, used in cost["functions"].items()
    ]
    return [
        paragraph(
            f"Until this page was written the run cost about {cost['usd']:.4f} US dollars at AWS's list "
            f"prices ({cost['prices']}): {count(cost['invocations'], 'invocation')}, "
            f"{number(cost['gb_seconds'])} GB-seconds of Lambda, requests and state transitions. Logs and "
            "storage are not in it. On the embedded platform durations are those of its computer."
        ),
        table("Functions", ["function", "invocations", "seconds", "MB"], lines),
    ]
