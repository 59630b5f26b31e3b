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
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, ACCENT, QUIET = "#010203", "#040506", "#070809"
_CSS = {INK: "currentColor", ACCENT: "var(--accent)", QUIET: "var(--quiet)"}

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


def roc(curve: Mapping[str, Sequence[float]], positive: str) -> str:
    """Draw true against false positive rate for the class ``positive``."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=QUIET, linestyle="--", linewidth=1)
        axes.plot(curve["fpr"], curve["tpr"], color=ACCENT, linewidth=2)
        axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.02, 1.02))
        axes.set(ylim=(-0.02, 1.02), aspect="equal")

    return _figure("roc", draw, f"ROC curve for the class {positive} on the held-out rows.", (4.4, 4.2))


def calibration(curve: Mapping[str, Sequence[float]]) -> str:
    """Draw the observed share of a class against its predicted probability, by bin."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=QUIET, linestyle="--", linewidth=1)
        axes.plot(curve["predicted"], curve["observed"], color=ACCENT, linewidth=2, marker="o")
        axes.set(xlabel="predicted probability", ylabel="observed share", xlim=(-0.02, 1.02))
        axes.set(ylim=(-0.02, 1.02), aspect="equal")

    return _figure(
        "calibration",
        draw,
        "Observed share against predicted probability on the held-out rows; the diagonal is perfect.",
        (4.4, 4.2),
    )


def residuals(curve: Mapping[str, Sequence[float]], target: str) -> str:
    """Draw predicted against actual values."""

    def draw(axes: Axes) -> None:
        both = [*curve["predicted"], *curve["actual"]]
        ends = [min(both), max(both)]
        axes.plot(ends, ends, color=QUIET, linestyle="--", linewidth=1)
        axes.plot(curve["actual"], curve["predicted"], "o", color=ACCENT, alpha=0.35, markersize=3)
        axes.set(xlabel=f"actual {target}", ylabel=f"predicted {target}")

    return _figure(
        "residuals",
        draw,
        f"Predicted against actual {target}, {len(curve['actual'])} held-out rows; the diagonal is perfect.",
        (5.2, 4.2),
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
        axes.set_xlabel("loss of score when the column is shuffled")

    return _figure(
        "importance",
        draw,
        "Bars: how much the score drops when a column is shuffled. The table below has the numbers.",
        (6.4, 1.0 + 0.26 * max(len(rows), 3)),
    )


def _shorten(name: str, limit: int = 28) -> str:
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
