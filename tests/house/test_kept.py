"""Figures that benchmarks keep: pooled as if all runs were at hand, and never mixed with those of other steps."""

import importlib
import json
import statistics
import sys
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("kept")
    for name in ("kept", "machine"):
        sys.modules.pop(name, None)


def runs(kept: Any, values: list[float | None], first: int = 1) -> Any:
    known = [value for value in values if value is not None]
    spread = statistics.variance(known) if len(known) > 1 else 0.0
    figures = {"modes": (statistics.mean(known), spread) if known else None}
    return kept.Runs(list(range(first, first + len(values))), len(values), figures, "here")


def test_groups_and_single_runs_pool_as_all_runs_together(kept: Any) -> None:
    values = [17.0, 20.0, 14.0, 19.0, 19.0, 22.0, 13.0]
    parts = [runs(kept, values[:5]), *(runs(kept, [value], 6 + i) for i, value in enumerate(values[5:]))]
    error = statistics.stdev(values) / sqrt(len(values))
    assert kept.pooled(parts, "modes") == f"{statistics.mean(values):.4g} ± {error:.2g}"
    assert kept.pooled(parts[-1:], "modes") == "13"
    assert kept.pooled([*parts, runs(kept, [None], 8)], "modes") == "∞ in 1"


def test_what_is_kept_comes_back_and_counts_as_made(kept: Any, tmp_path: Path) -> None:
    path = tmp_path / "modes.json"
    table = kept.Kept(path, 100)
    table.real = {"modes": 25.0}
    for seed, value in ((2, 20.0), (1, None)):
        table.add("GAN", [seed], {"modes": value}, "1 thread")
    table.add("GAN", [1, 2], {"modes": 23.0}, "1 thread")
    table.add("GAN", [1, 2, 3], {"modes": 24.0}, "1 thread")
    again = kept.Kept(path, 100)
    assert again.seeds("GAN") == {1, 2} and again.seeds("PacGAN2") == set() and again.real == {"modes": 25.0}
    # A larger ensemble takes the place of its parts.
    assert [one.seeds for one in again.joined["GAN"]] == [[1, 2, 3]]
    (line,) = again.places()
    assert "1 thread" in line and line.endswith("GAN 1–2; 3 × GAN 1–3")
    assert json.loads(path.read_text(encoding="utf-8"))["steps"] == 100


def test_a_table_whose_runs_are_not_kept_is_not_written_over(kept: Any, tmp_path: Path) -> None:
    (tmp_path / "modes.md").write_text("# Modes\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="move it away"):
        kept.Kept(tmp_path / "modes.json", 100)


def test_other_steps_are_refused(kept: Any, tmp_path: Path) -> None:
    table = kept.Kept(tmp_path / "modes.json", 100)
    table.add("GAN", [1], {"modes": 20.0}, "1 thread")
    with pytest.raises(SystemExit, match="of 100 steps, not 200"):
        kept.Kept(tmp_path / "modes.json", 200)


@pytest.mark.parametrize(("seeds", "said"), [([3], "3"), ([2, 1, 3, 7], "1–3, 7"), ([1, 3], "1, 3")])
def test_spans(kept: Any, seeds: list[int], said: str) -> None:
    assert kept.spans(seeds) == said
