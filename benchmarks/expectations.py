"""What each method's docstring says to expect, measured: runs its command, evaluates it, and keeps the table.

python benchmarks/expectations.py sngan pacgan

Minutes a method on one thread. A run can be stopped and started again; what is finished is not made twice. The results
of methods that are not named stay as they are.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import limner
from limner.cli.flags import nested, read, split
from limner.core import catalog
from limner.core.files import write
from limner.operations.show import settings_of
from limner.operations.train import Train
from limner.reports.words import measured
from machine import machine
from runs import RESULTS, evaluated, tell, trained

SAMPLES = {"vae": 2_000, "edm": 1_000, "ddpm": 1_000, "ddgan": 1_000, "gan_cls": 1_000}
"""Fewer where a sample takes many passes, or where there are no more pictures to compare with; 10,000 otherwise."""


def expected(method: str) -> tuple[str, dict[str, Any]]:
    """The command of a docstring's Expect, and its choices."""
    text = catalog.head(method).doc
    (line,) = (line for line in text.splitlines() if line.startswith("Expect:"))
    words = shlex.split(line.removeprefix("Expect:"))
    settings = [*settings_of(Train), *settings_of(catalog.head(method).Config)]
    return shlex.join(words), nested(read(split(words[3:], settings), settings, f"limner train {method}"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, evaluate, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("methods", nargs="+", choices=catalog.names(), metavar="METHOD")
    parser.add_argument("--runs", type=Path, default=Path("runs/expectations"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    kept = chosen.out / "expectations.json"
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    for method in chosen.methods:
        called, choices = expected(method)
        model = trained(chosen.runs / method, method, **choices)
        report = evaluated(model, data=choices.get("data", "mnist"), samples=SAMPLES.get(method, 10_000))
        tell(limner.sample(model, count=40, columns=20, out=chosen.runs / method / "forty.png", force=True))
        found[method] = {
            "command": called, "samples": report["protocol"]["samples"], "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "torch": report["machine"]["torch"], "seconds": report["training"]["seconds"],
            "precision": report["training"]["precision"], "processor": machine()["cpu"],
            "figures": {row["name"]: [measured(row), measured(row["real"])] for row in report["figures"]},
        }  # fmt: skip
        write(kept, json.dumps(found, indent=2, ensure_ascii=False) + "\n")
        write(chosen.out / "expectations.md", page(found))
    print(page(found))
    return 0


def page(found: dict[str, Any]) -> str:
    """A table for each method."""
    lines = ["# What each method's docstring says to expect", "", "`python benchmarks/expectations.py METHOD …`", ""]
    for method, one in sorted(found.items()):
        lines += [
            f"## {method}", "", f"`{one['command']}`, then {one['samples']:,} samples: {one['date']}, one thread of "
            f"{one['processor']} in {one['precision']}, torch {one['torch']}, {one['seconds']:.0f} s of training", "",
            "| | this model | real data |", "|---|---|---|",
            *(f"| {name} | {made} | {real} |" for name, (made, real) in one["figures"].items()), "",
        ]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
