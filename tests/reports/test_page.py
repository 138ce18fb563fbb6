import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest

from limner.reports import plots
from limner.reports.page import Html, columns, escape, facts, page, section, sheet, table

NASTY = '<script>alert("x")</script>&\'"'
VOID = {"meta", "img", "link", "br"}


class Balance(HTMLParser):
    """Collects tags that don't close."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def check_html(text):
    """Whole, with nothing from elsewhere and no script."""
    balance = Balance()
    balance.feed(re.sub(r"/>", ">", re.sub(r"<(line|circle|polyline|polygon|path|i)\b[^>]*/>", "", text)))
    assert balance.wrong == [] and balance.open == []
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?\s*(https?:|//)""", text)
    assert "<script" not in text and "@import" not in text and "<link" not in text
    assert "http:" not in text and "https:" not in text


def test_everything_is_escaped():
    drawn = plots.curves([plots.Line(NASTY, [0, 1], [1, 2])], NASTY, NASTY, marks=[(0.5, NASTY)])
    text = page(NASTY, NASTY, NASTY, [
        section(NASTY, table((NASTY,), [(NASTY, NASTY)]), facts({NASTY: NASTY}), columns(NASTY), drawn,
                sheet(np.zeros((2, 1, 4, 4), np.uint8), alt=NASTY), says=NASTY),
    ], NASTY)  # fmt: skip
    check_html(text)
    assert "alert" in text


def test_markup_passes_once():
    assert escape(Html("<b>")) == "<b>"
    assert escape("<b>") == "&lt;b&gt;"


def test_an_empty_section_is_left_out():
    assert section("title", "", None) == ""


def test_nothing_may_be_fetched():
    assert "default-src 'none'" in page("", "", "", [])


def test_large_pictures_are_made_small():
    large = np.random.default_rng(0).integers(0, 256, (4, 3, 300, 200), dtype=np.uint8)
    assert len(sheet(large)) < 120_000


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 400, [0, 100, 200, 300, 400]), (-1, 1, [-1, -0.5, 0, 0.5, 1]),
     (0.31, 0.39, [0.32, 0.34, 0.36, 0.38])],
)  # fmt: skip
def test_ticks_are_round(low, high, wanted):
    assert plots.ticks(low, high) == pytest.approx(wanted)


def test_drawings_are_well_formed():
    drawings = [
        plots.curves([plots.Line("a", [0, 1, 2], [1.0, float("nan"), 3.0], dots=True)], "x", "y"),
        plots.histograms([("a", "a", [0.0, 1.0, 2.0]), ("b", "b", [1.0, 1.0, 5.0])], "x"),
        plots.calibration([0.1, None], [0.2, None], [1.0, 0.0]),
        plots.scatter([("a", "a", [(0, 0), (1, -1)])]),
        plots.between(0.5, 0.4, 0.6, 0.9),
        plots.histograms([("a", "a", [3.0, 3.0])], "x"),
    ]
    for drawing in drawings:
        ElementTree.fromstring(drawing)
        assert "nan" not in drawing


def test_a_curve_of_nothing_is_nothing():
    assert plots.curves([], "x", "y") == ""
    assert plots.histograms([("a", "a", [])], "x") == ""


def test_thinning_keeps_the_shape():
    line = plots.thinned(plots.Line("a", list(range(5000)), list(range(5000))), most=100)
    assert len(line.x) == 100 and line.x[0] == 0


def test_smooth_is_the_mean_of_the_last_few():
    assert plots.smooth([1.0, 2.0, 3.0, 4.0], 2) == [1.0, 1.5, 2.5, 3.5]
