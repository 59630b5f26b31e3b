"""The report in a browser: what a reader sees on a phone and on a screen, by day, by night and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.report import render
from tests.browser import WIDTHS, Browser
from tests.unit.test_report import COST, NASTY, description, evaluation, run, schema

pytestmark = pytest.mark.slow

PAGES = ("classes", "numbers")
LEAST_CONTRAST = 4.5
"""Of text, by WCAG 2.2, success criterion 1.4.3 (AA)."""

WHAT_IS_WIDE = """
[document.documentElement.scrollWidth, innerWidth,
 [...document.querySelectorAll("svg")].map(s => s.getBoundingClientRect().width),
 Math.min(...[...document.querySelectorAll("svg text")].map(
   t => parseFloat(getComputedStyle(t).fontSize) * Math.hypot(t.getScreenCTM().a, t.getScreenCTM().b)))]
"""

FAINT = """
(() => {
  const context = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  // What a pixel becomes when colours are laid over one another, the last one on top.
  const over = colours => {
    context.fillStyle = "white"; context.fillRect(0, 0, 1, 1);
    for (const colour of colours) { context.fillStyle = colour; context.fillRect(0, 0, 1, 1); }
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = pixel => pixel.map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const grounds = element => {
    const colours = [];
    for (let e = element; e; e = e.parentElement) colours.unshift(getComputedStyle(e).backgroundColor);
    return colours;
  };
  const found = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.getClientRects().length) continue;
    const style = getComputedStyle(element), ground = grounds(element);
    const ink = element.closest("svg") ? style.fill : style.color;
    const [a, b] = [light(over([...ground, ink])), light(over(ground))].sort((x, y) => y - x);
    const contrast = (a + .05) / (b + .05);
    seen += 1;
    if (contrast < LEAST) found.push([texts.currentNode.data.trim().slice(0, 40), ink, contrast]);
  }
  return [seen, found];
})()
""".replace("LEAST", str(LEAST_CONTRAST))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a page of each kind, with everything that there may be on it."""
    folder = tmp_path_factory.mktemp("pages")
    numbers = evaluation(
        task="regression",
        metric="rmse",
        target="price",
        classes=[],
        metrics={"rmse": 529.8},
        baseline={"rmse": 3994.5},
        curves={"residuals": {"predicted": [1.0, 2.5, 3.5], "actual": [1.1, 2.0, 4.0]}},
        interval={"level": 0.9, "below": -12.5, "above": 17.5, "coverage": 0.91}
        | {"coverage_low": 0.85, "coverage_high": 0.95},
        thresholds=None,
        dependence={"rows": 9, "of": [], "columns": evaluation()["dependence"]["columns"]},
    )
    made = {
        "classes": render(run(warnings=(NASTY * 9,)), evaluation(), schema(), description(), COST),
        "numbers": render(
            run(),
            numbers,
            schema(task="regression", target="price", classes=(), positive_class=None),
            description(),
            COST,
        ),
    }
    for name, page in made.items():
        (folder / f"{name}.html").write_bytes(page)
    return {name: folder / f"{name}.html" for name in made}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_asks_for_nothing_and_complains_of_nothing(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    browser.open(pages[name], width=WIDTHS[1])
    asked = [event["request"]["url"] for event in browser.told("Network.requestWillBeSent")]
    assert asked == [pages[name].as_uri()]
    assert browser.told("Log.entryAdded", "Runtime.exceptionThrown") == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_as_wide_as_the_window_and_its_figures_can_be_read(
    browser: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    browser.open(pages[name], width=width)
    page, window, figures, least_text = browser.run(WHAT_IS_WIDE)
    assert page <= window == width, "only tables scroll sideways, by themselves"
    assert len(figures) > 5 and all(0.5 * min(width, 640) < figure <= width for figure in figures)
    assert least_text >= 10.0, "pixels of the smallest text in a figure"


@pytest.mark.parametrize("way", ["day", "night", "paper at night"])
@pytest.mark.parametrize("name", PAGES)
def test_every_text_stands_out_from_its_ground(
    browser: Browser, pages: dict[str, Path], name: str, way: str
) -> None:
    browser.open(pages[name], width=WIDTHS[0], dark="night" in way, paper="paper" in way)
    seen, faint = browser.run(FAINT)
    assert seen > 200
    assert faint == []
    ground = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (way != "night")


def test_a_reader_of_screens_finds_its_way(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["classes"], width=WIDTHS[1])
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    roles: dict[str, list[str]] = {}
    for node in nodes:
        if not node["ignored"]:
            name = node.get("name", {}).get("value", "")
            roles.setdefault(node["role"]["value"], []).append(name)
    for landmark in ("banner", "navigation", "main", "contentinfo"):
        assert len(roles[landmark]) == 1, landmark
    images = roles.get("image", []) + roles.get("img", []) + roles.get("SvgRoot", [])
    assert len(images) == 11 and all(len(image) > 20 for image in images)
    assert len(roles["table"]) > 8 and all(roles["table"])
    assert all(roles["heading"]) and all(roles["columnheader"]) and all(roles["rowheader"])


def test_the_page_prints(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["classes"], width=WIDTHS[1])
    paper = browser.pdf()
    assert paper.startswith(b"%PDF-") and paper.count(b"/Type /Page\n") >= 3
