"""Figures of runs that are over, kept beside a table, which goes on with them where their models no longer are."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from math import sqrt
from pathlib import Path

from limner.core.files import write
from machine import machine


@dataclass(frozen=True)
class Runs:
    """What some runs came to.

    seeds    of their training
    count    as many as seeds; or 1, where their models were joined to one
    figures  name → mean and variance (n - 1) over the runs; None where it is infinite
    where    the day, the processor and versions
    """

    seeds: Sequence[int]
    count: int
    figures: Mapping[str, Sequence[float] | None]
    where: str


class Kept:
    """The runs of one table, by row; and of models that were joined, by their row.

    raises SystemExit   if the file is of another number of steps, or there is a table without it
    """

    def __init__(self, path: Path, steps: int) -> None:
        self.path, self.steps = path, steps
        self.real: dict[str, float] = {}
        self.rows: dict[str, list[Runs]] = {}
        self.joined: dict[str, list[Runs]] = {}
        if not path.is_file():
            if (table := path.with_suffix(".md")).is_file():
                sys.exit(f"{table} has no figures of single runs beside it: give another --out, or move it away")
            return
        held = json.loads(path.read_text(encoding="utf-8"))
        if held["steps"] != steps:
            sys.exit(f"{path} is of {held['steps']:,} steps, not {steps:,}: give another --out, or move it away")
        self.real = held["real"]
        for ours, theirs in ((self.rows, held["rows"]), (self.joined, held["joined"])):
            ours |= {row: [Runs(**runs) for runs in all_of_it] for row, all_of_it in theirs.items()}

    def seeds(self, row: str) -> set[int]:
        """Of runs whose figures are there."""
        return {seed for runs in self.rows.get(row, []) for seed in runs.seeds}

    def add(self, row: str, seeds: Sequence[int], figures: Mapping[str, float | None], threads: str) -> None:
        """Keep the figures of a run; or of one model that was joined from several seeds' in place of smaller ones."""
        values = {name: None if value is None else (value, 0.0) for name, value in figures.items()}
        m = machine()
        where = f"{time.strftime('%Y-%m-%d')}, {m['cpu']} ({m['flags']}), {threads}, torch {version('torch')}, {code()}"
        into = self.rows if len(seeds) == 1 else self.joined
        rest = [runs for runs in into.get(row, []) if not set(runs.seeds) <= set(seeds)]
        into[row] = sorted([*rest, Runs(list(seeds), 1, values, where)], key=lambda runs: list(runs.seeds))
        self.save()

    def save(self) -> None:
        """Write all of it, over what was there."""
        held = {
            "steps": self.steps, "real": self.real,
            "rows": {row: [asdict(runs) for runs in all_of_it] for row, all_of_it in self.rows.items()},
            "joined": {row: [asdict(runs) for runs in all_of_it] for row, all_of_it in self.joined.items()},
        }  # fmt: skip
        write(self.path, json.dumps(held, indent=1, ensure_ascii=False) + "\n")

    def places(self) -> list[str]:
        """One line for each day and machine: what was made there."""
        made: dict[str, dict[str, list[int]]] = {}
        for into in (self.rows, self.joined):
            for row, all_of_it in into.items():
                for runs in all_of_it:
                    name = row if into is self.rows else f"{len(runs.seeds)} × {row}"
                    made.setdefault(runs.where, {}).setdefault(name, []).extend(runs.seeds)
        return [
            f"{where}: {'; '.join(f'{row} {spans(seeds)}' for row, seeds in rows.items())}"
            for where, rows in sorted(made.items())
        ]


def code() -> str:
    """limner's version, and the commit that its code is of, where git knows."""
    asked = ["git", "log", "-1", "--format=%h", "--", "src"]
    try:
        told = subprocess.run(asked, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return f"limner {version('limner')}"
    return f"limner {version('limner')} as of {told.stdout.strip()}"


def pooled(all_of_it: Sequence[Runs], figure: str) -> str:
    """The mean ± standard error over all runs, as a table says it."""
    known = [(runs.count, *value) for runs in all_of_it if (value := runs.figures[figure]) is not None]
    count = sum(runs.count for runs in all_of_it)
    endless = count - sum(n for n, _, _ in known)
    if endless:
        return f"∞ in {endless}"
    mean = sum(n * own for n, own, _ in known) / count
    if count == 1:
        return f"{mean:.4g}"
    squares = sum((n - 1) * variance + n * (own - mean) ** 2 for n, own, variance in known)
    return f"{mean:.4g} ± {sqrt(squares / (count - 1) / count):.2g}"


def spans(seeds: Sequence[int]) -> str:
    """1, 2, 3, 7 → "1–3, 7"."""
    parts: list[list[int]] = []
    for seed in sorted(seeds):
        if parts and parts[-1][-1] == seed - 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(f"{part[0]}–{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)
