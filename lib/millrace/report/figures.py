"""The report's figures: matplotlib's SVG, made to live inside a page.

Colours are CSS, so that a figure follows the page into dark mode and onto paper: matplotlib draws with
placeholder colours that are replaced by ``currentColor`` and custom properties afterwards.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, ACCENT, QUIET, SECOND, THIRD, FOURTH = "#010203", "#040506", "#070809", "#0a0b0c", "#0d0e0f", "#101112"
_CSS = {
    INK: "currentColor",
    ACCENT: "var(--accent)",
    QUIET: "var(--quiet)",
    SECOND: "var(--second)",
    THIRD: "var(--third)",
    FOURTH: "var(--fourth)",
}
_STROKES: Any = ((ACCENT, "-"), (SECOND, "--"), (THIRD, "-."), (FOURTH, (0, (4, 1, 1, 1, 1, 1))))
"""Lines are told apart by stroke too: not everybody sees the colours."""
SQUARE = (4.4, 4.0)
_UNIT = (-0.02, 1.02)
_EPOCH = datetime(1970, 1, 1)

_STYLE: Any = {
    "text.parse_math": False,  # a column may be called "$x$"
    "svg.fonttype": "none",  # text stays text: small, searchable, in the page's font
    "svg.hashsalt": "millrace",  # same input, same bytes
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
}


def roc(curves: Sequence[Mapping[str, Any]]) -> str:
    """Draw true against false positive rate, for each class of ``curves``."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=QUIET, linestyle="--", linewidth=1)
        _lines(axes, [(curve["class"], curve["fpr"], curve["tpr"]) for curve in curves])
        axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=_UNIT, ylim=_UNIT)
        axes.set_aspect("equal")

    areas = ", ".join(f"{curve['class']}: {_area(curve['fpr'], curve['tpr']):.3f}" for curve in curves)
    return _figure("roc", draw, f"ROC curve on the held-out rows. Area by class: {areas}.", SQUARE)


def precision_recall(curves: Sequence[Mapping[str, Any]]) -> str:
    """Draw precision against recall, for each class of ``curves``, and its share as what guessing gives."""

    def draw(axes: Axes) -> None:
        for (colour, _), curve in zip(_STROKES, curves, strict=False):
            axes.axhline(curve["share"], color=colour, linestyle=(0, (1, 3)), linewidth=1)
        _lines(axes, [(curve["class"], curve["recall"], curve["precision"]) for curve in curves])
        axes.set(xlabel="recall", ylabel="precision", xlim=_UNIT, ylim=_UNIT)
        axes.set_aspect("equal")

    shares = ", ".join(f"{curve['class']}: {curve['share']:.1%} of the rows" for curve in curves)
    return _figure(
        "precision-recall", draw, f"Precision against recall on the held-out rows. {shares}.", SQUARE
    )


def calibration(curve: Mapping[str, Any]) -> str:
    """Draw the observed share of a class against its predicted probability, by bin, with its interval."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=QUIET, linestyle="--", linewidth=1)
        axes.vlines(curve["predicted"], curve["low"], curve["high"], color=ACCENT, linewidth=1)
        axes.plot(curve["predicted"], curve["observed"], color=ACCENT, linewidth=2, marker="o", markersize=5)
        axes.set(xlabel="predicted probability", ylabel="observed share", xlim=_UNIT, ylim=_UNIT)
        axes.set_aspect("equal")

    return _figure(
        "calibration",
        draw,
        "Observed share against predicted probability on the held-out rows, with intervals of 95 %. They are "
        f"{curve['error']:.3f} apart on average; the diagonal is perfect.",
        SQUARE,
    )


def predicted_against_actual(curve: Mapping[str, Sequence[float]], target: str) -> str:
    """Draw predicted against actual values."""

    def draw(axes: Axes) -> None:
        both = [*curve["predicted"], *curve["actual"]]
        ends = [min(both), max(both)]
        axes.plot(ends, ends, color=QUIET, linestyle="--", linewidth=1)
        axes.plot(curve["actual"], curve["predicted"], "o", color=ACCENT, alpha=0.4, markersize=3, mew=0)
        axes.set(xlabel=_shorten(f"actual {target}"), ylabel=_shorten(f"predicted {target}"))

    return _figure(
        "predicted",
        draw,
        f"Predicted against actual {target}, {len(curve['actual'])} held-out rows; the diagonal is perfect.",
        SQUARE,
    )


def residuals(curve: Mapping[str, Sequence[float]], target: str) -> str:
    """Draw what is left, actual less predicted, against what was predicted."""
    left = [actual - said for actual, said in zip(curve["actual"], curve["predicted"], strict=True)]

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=QUIET, linestyle="--", linewidth=1)
        axes.plot(curve["predicted"], left, "o", color=ACCENT, alpha=0.4, markersize=3, mew=0)
        axes.set(xlabel=_shorten(f"predicted {target}"), ylabel="residual: actual − predicted")

    middle = sorted(left)[len(left) // 2] if left else 0.0
    return _figure(
        "residuals",
        draw,
        f"Residuals against predicted {target}, {len(left)} held-out rows; half are above {middle:.3g}.",
        SQUARE,
    )


def importance(entries: Iterable[Mapping[str, Any]]) -> str:
    """Draw how much the score drops when a column is shuffled, largest first."""
    rows = sorted(entries, key=lambda entry: float(entry["mean"]))

    def draw(axes: Axes) -> None:
        names = [_shorten(str(row["column"])) for row in rows]
        axes.barh(
            range(len(rows)),
            [float(row["mean"]) for row in rows],
            xerr=[float(row["std"]) for row in rows],
            color=ACCENT,
            ecolor=INK,
            height=0.7,
        )
        axes.set_yticks(range(len(rows)), names)
        axes.axvline(0, color=QUIET, linewidth=1)
        axes.set_xlabel("loss of score when shuffled")

    most = ", ".join(_shorten(str(row["column"])) for row in rows[:-4:-1])
    return _figure(
        "importance",
        draw,
        f"Bars: how much the score drops when a column is shuffled; most for {most}. The table has the "
        "numbers.",
        (4.8, 0.8 + 0.26 * max(len(rows), 3)),
    )


def thresholds(table: Sequence[Mapping[str, Any]]) -> str:
    """Draw precision, recall and F1 against the threshold."""

    def draw(axes: Axes) -> None:
        lines = []
        for name in ("precision", "recall", "f1"):
            known = [(line["threshold"], line[name]) for line in table if line[name] is not None]
            lines.append((name.replace("f1", "F1"), [x for x, _ in known], [y for _, y in known]))
        _lines(axes, lines)
        axes.set(xlabel="threshold", ylabel="share", xlim=_UNIT, ylim=_UNIT)

    return _figure(
        "thresholds",
        draw,
        "Precision, recall and F1 by threshold on the held-out rows. The table has the numbers.",
        SQUARE,
    )


def costs(table: Sequence[Mapping[str, Any]], least: float) -> str:
    """Draw what a row costs against the threshold, and where that is least."""

    def draw(axes: Axes) -> None:
        axes.axvline(least, color=QUIET, linestyle="--", linewidth=1)
        axes.plot([line["threshold"] for line in table], [line["cost"] for line in table], color=ACCENT)
        axes.set(xlabel="threshold", ylabel="cost of a row", xlim=_UNIT)
        axes.set_ylim(bottom=0)

    return _figure("costs", draw, f"Cost of a row by threshold; it is least at {least:.3g}.", SQUARE)


def dependence(
    entry: Mapping[str, Any], of: Sequence[str], ends: tuple[float, float], says: str, number: int
) -> str:
    """Draw what the model says on average against the values of a column.

    Parameters
    ----------
    entry : mapping
        ``column``, ``type``, ``values`` and ``mean`` of the evaluation's ``dependence``.
    of : sequence of str
        Classes; none for regression.
    ends : (float, float)
        Least and greatest of all columns, so that the figures compare.
    says : str
        What the model says, for the axis.
    number : int
        Of the figure: names of columns may be alike.
    """
    column = str(entry["column"])
    lines = list(zip(of or [""], entry["mean"], strict=True))
    spare = 0.06 * ((ends[1] - ends[0]) or 1.0)
    limits = (ends[0] - spare, ends[1] + spare)

    def along(axes: Axes) -> None:
        values: list[Any] = list(entry["values"])
        if entry["type"] == "time":
            values = [_EPOCH + timedelta(seconds=value) for value in values]
        _lines(axes, [(name, values, mean) for name, mean in lines], marker=True)
        axes.set(xlabel=_shorten(column), ylabel=_shorten(says), ylim=limits)
        if entry["type"] == "time":
            _few_dates(axes)
        else:
            axes.xaxis.set_major_locator(_few_ticks())

    def across(axes: Axes) -> None:
        places = range(len(entry["values"]))
        for (colour, _), marker, (name, mean) in zip(_STROKES, "osD^", lines, strict=False):
            axes.plot(mean[::-1], places, marker, color=colour, label=_shorten(name), markersize=6)
        names = [_value(value, str(entry["type"])) for value in entry["values"]]
        axes.set_yticks(places, names[::-1])
        axes.grid(axis="y", color=QUIET, alpha=0.35, linewidth=0.6)
        axes.set(xlabel=_shorten(says), xlim=limits, ylim=(-0.6, len(names) - 0.4))
        if len(lines) > 1:
            _legend(axes)

    ordered = entry["type"] in ("number", "time")
    changes = "; ".join(
        f"{name + ': ' if name else ''}from {min(mean):.3g} to {max(mean):.3g}" for name, mean in lines
    )
    height = 3.2 if ordered else max(2.2, 1.0 + 0.3 * len(entry["values"])) + (0.3 if len(lines) > 1 else 0)
    return _figure(
        f"dependence-{number}",
        along if ordered else across,
        f"{says} by the value of {column}; {changes}.",
        (4.4, height),
    )


def learning(curve: Mapping[str, Any], label: str) -> str:
    """Draw the score against the number of rows that were learned from."""
    points = curve["points"]
    rows = [point["rows"] for point in points]

    def draw(axes: Axes) -> None:
        _lines(
            axes,
            [
                ("on rows set aside", rows, [point["score"] for point in points]),
                ("on the rows learned from", rows, [point["fitted"] for point in points]),
            ],
            marker=True,
        )
        axes.set(xlabel="rows learned from", ylabel=label)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(_few_ticks())

    told = ", ".join(f"{point['score']:.3g} from {point['rows']:,}" for point in points)
    return _figure("learning", draw, f"{label} on rows set aside, by rows learned from: {told}.", (4.8, 3.4))


def _lines(axes: Axes, lines: Sequence[tuple[str, Any, Any]], *, marker: bool = False) -> None:
    """Draw lines that are told apart by colour and by stroke, with a legend when there are several."""
    for (colour, stroke), (name, x, y) in zip(_STROKES, lines, strict=False):
        axes.plot(
            *(x, y),
            color=colour,
            linestyle=stroke,
            linewidth=2,
            marker="o" if marker else "",
            markersize=4,
            label=_shorten(name),
        )
    if len(lines) > 1:
        _legend(axes)


def _legend(axes: Axes) -> None:
    columns = 1 if max(len(text) for text in axes.get_legend_handles_labels()[1]) > 14 else 2
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, frameon=False, borderaxespad=0.0)


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=5)


def _few_dates(axes: Axes) -> None:
    from matplotlib import dates

    untyped: Any = dates
    locator = untyped.AutoDateLocator(minticks=3, maxticks=5)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(untyped.ConciseDateFormatter(locator))


def _area(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the area under a line, by trapezoids."""
    return sum((b - a) * (f + g) / 2 for a, b, f, g in zip(x, x[1:], y, y[1:], strict=False))


def _value(value: Any, kind: str) -> str:
    if value is None:
        return "(missing)"
    if kind == "boolean":
        return "yes" if value else "no"
    return _shorten(str(value), 18)


def _shorten(name: str, limit: int = 28) -> str:
    """Cut a name, and take out what no line of a drawing can hold."""
    name = " ".join(name.split())
    return name if len(name) <= limit else name[: limit - 1] + "…"


def _figure(name: str, draw: Callable[[Axes], None], alt: str, inches: tuple[float, float]) -> str:
    # Matplotlib keeps a font list beside its settings; a function's home cannot be written.
    os.environ.setdefault("MPLCONFIGDIR", tempfile.gettempdir())
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=inches, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _embed(buffer.getvalue(), name, alt)


def _embed(svg: str, name: str, alt: str) -> str:
    """Cut the drawing out of its document, name it for screen readers, and keep its ids its own."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", body)
    body = re.sub(r' (width|height)="[\d.]+pt"', "", body, count=2)
    for colour, css in _CSS.items():
        body = body.replace(colour, css)
    label = f'<svg role="img" aria-labelledby="{name}-title" style="max-width: {_width(body)}px"'
    body = body.replace("<svg", label, 1)
    return body.replace(">", f'><title id="{name}-title">{escape(alt)}</title>', 1)


def _width(body: str) -> int:
    found = re.search(r'viewBox="0 0 ([\d.]+)', body)
    return round(float(found.group(1)) * 4 / 3) if found else 600
