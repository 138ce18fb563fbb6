from math import inf, nan

import pytest

from limner.reports.words import date, duration, finite, flat, measured, number, plain


@pytest.mark.parametrize(
    ("value", "said"),
    [(7.4249, "7.42"), (12345.6, "12,300"), (10.0, "10"), (0.00356, "0.00356"), (-0.5, "−0.500"), (0.0, "0"),
     (None, "–"), (nan, "–"), (inf, "∞"), (1e-9, "1.0·10⁻⁹"), (20_000_000.0, "20,000,000")],
)  # fmt: skip
def test_numbers(value, said):
    assert number(value) == said


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (35.098, 35.008, 35.188, "35.10 ± 0.09"),
        (0.041, 0.009, 0.073, "0.04 ± 0.03"),
        (0.5, 0.4, 0.9, "0.50 (0.40 to 0.90)"),
        (1.0, 1.0, 1.0, "1"),
        (7.0, None, None, "7"),
        (None, 540_000.0, None, "> 540,000"),
        (12345, 12000, 12690, "12,345 ± 345"),
    ],
)
def test_figures_with_their_range(value, low, high, said):
    assert measured({"value": value, "low": low, "high": high}) == said


def test_the_rest():
    assert measured(None) == "–"
    assert (finite(inf), finite(nan), finite(2)) == (None, None, 2.0)
    assert [duration(s) for s in (4.21, 61, 725, 11520)] == ["4.2 s", "61 s", "12 min 5 s", "3 h 12 min"]
    assert date("2026-11-22T20:00:00+00:00") == "22 November 2026"
    assert flat({"a": {"b": 1}, "c": 2}) == {"a.b": 1, "c": 2}
    assert [plain(x) for x in (None, True, 1e-4, [1, 2], "x")] == ["–", "yes", "0.0001", "1, 2", "x"]
