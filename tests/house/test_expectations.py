"""What each docstring says to expect is what its command gave when it was measured."""

import json
import re
from pathlib import Path

import pytest

from limner.core import catalog

MEASURED = json.loads(
    (Path(__file__).parents[2] / "benchmarks" / "results" / "expectations.json").read_text(encoding="utf-8")
)
WORDS = {
    "FD-digits": r"FD-digits ([\d.]+\d)", "coverage": r"coverage ([\d.]*\d)", "precision": r"precision ([\d.]*\d)",
    "recall": r"recall ([\d.]*\d)", "reverse KL": r"reverse KL ([\d.]*\d)", "classes made": r"(\d+) of 10 classes",
    "modes captured": r"(\d+) of 8 modes", "high quality": r"(\d+ %) of the points of high quality",
}  # fmt: skip


def said(number: str) -> tuple[float, float]:
    """The number, and half a unit of its last digit."""
    digits, percent = number.removesuffix(" %"), number.endswith(" %")
    half = 0.5 * 10.0 ** -len(digits.partition(".")[2])
    scale = 100 if percent else 1
    return float(digits) / scale, half / scale


@pytest.mark.parametrize("name", sorted(set(catalog.names()) & set(MEASURED)))
def test_a_docstring_quotes_what_was_measured(name: str) -> None:
    doc = catalog.head(name).doc
    expected = doc[doc.index("Expect:") :]
    assert expected.splitlines()[0].removeprefix("Expect: ") == MEASURED[name]["command"]
    quoted = 0
    for figure, pattern in WORDS.items():
        if (found := re.search(pattern, expected)) and figure in MEASURED[name]["figures"]:
            value, half = said(found[1])
            measured = float(MEASURED[name]["figures"][figure][0].split(" ±")[0])
            assert value == pytest.approx(measured, abs=1.01 * half), figure
            quoted += 1
    assert quoted >= 2


def test_all_but_the_dcgan_of_50_epochs_are_measured_so() -> None:
    assert set(catalog.names()) - set(MEASURED) == {"dcgan"}
