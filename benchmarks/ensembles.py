"""One big network against several small ones: DCGANs on MNIST, alone, joined, fitted and choosy.

python benchmarks/ensembles.py

Four networks stand beside two larger ones, all trained for as many steps: one of twice the width, which multiplies
about as often in a step as the four do, and one with as many weights as the four. The page says how many weights each
side has and how long it trained. It can be stopped and started again at any time; fewer
steps than 20,000 make a lite table.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import limner
from limner.core.files import write
from limner.reports.words import measured
from machine import where
from runs import RESULTS, command, evaluated, tell, trained

STEPS, WIDTH, MEMBERS, SAMPLES = 20_000, 16, 4, 10_000
BIG = {2 * WIDTH: "about as many multiplications", 47: "as many weights"}
"""Widths of the larger networks, and in what each has the four's budget."""
FIGURES = ("FD-digits", "IS-digits", "precision", "recall", "coverage")
JOINED: dict[str, dict[str, Any]] = {
    "joined": {}, "joined, weights fitted by kernel distance": {"weights": "kid"},
    "joined, discriminators reject": {"reject": True},
}  # fmt: skip


def weights(model: Path) -> int:
    """How many weights a model file holds."""
    return sum(weight.numel() for weight in limner.load(model).method.parameters())


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, join, evaluate, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    parser.add_argument("--runs", type=Path, default=Path("runs/ensembles"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    common: dict[str, Any] = {
        "data": "mnist", "steps": chosen.steps, "threads": chosen.threads, "preview_every": 1e6,
        "precision": chosen.precision,
        "checkpoint_every": max(1, chosen.steps // 4),
    }  # fmt: skip
    asked: dict[str, Any] = {"data": "mnist", "samples": SAMPLES, "metrics": ["fd", "is", "prdc"]}
    small = [
        trained(chosen.runs / f"small-{chosen.steps}-{seed}", "dcgan", width=WIDTH, seed=seed, **common)
        for seed in range(1, MEMBERS + 1)
    ]
    big = [
        trained(chosen.runs / f"big-{width}-{chosen.steps}", "dcgan", width=width, seed=1, **common) for width in BIG
    ]
    rows = [[{row["name"]: row for row in evaluated(model, **asked)["figures"]} for model in small]]
    for name, options in JOINED.items():
        place = chosen.runs / f"{name.replace(' ', '-').replace(',', '')}-{chosen.steps}"
        if not (place / "model.safetensors").is_file():
            tell(limner.ensemble(*small, out=place, **options))
        rows.append([{row["name"]: row for row in evaluated(place / "model.safetensors", **asked)["figures"]}])
    rows += [[{row["name"]: row for row in evaluated(model, **asked)["figures"]}] for model in big]
    titles = [f"one of width {WIDTH} (mean of {MEMBERS} seeds)", *(f"{MEMBERS} of them, {name}" for name in JOINED),
              *(f"one of width {width}, {equal}" for width, equal in BIG.items())]  # fmt: skip
    lines = ["# One big network or several small ones: DCGAN on MNIST", ""]
    lite = chosen.steps < STEPS
    if lite:
        lines += [f"**Lite: {chosen.steps:,} steps of 128 where the benchmark asks for {STEPS:,}.**", ""]
    lines += [f"| | {' | '.join(FIGURES)} |", "|---" * (len(FIGURES) + 1) + "|"]
    for title, found in zip(titles, rows, strict=True):
        cells = [
            measured(found[0][name])
            if len(found) == 1
            else f"{statistics.fmean(one[name]['value'] for one in found):.3g} ± "
            f"{statistics.stdev([one[name]['value'] for one in found]):.2g}"
            for name in FIGURES
        ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    lines.append(f"| real data | {' | '.join(measured(rows[0][0][name]['real']) for name in FIGURES)} |")
    took = [limner.load(model).header["training"]["seconds"] for model in (*small, *big)]
    here = limner.load(big[0]).header["training"]
    lines += [
        "", f"- {MEMBERS} × {weights(small[0]):,} weights, {sum(took[:MEMBERS]):,.0f} s of training in all",
        *(f"- width {width}: {weights(model):,} weights, {seconds:,.0f} s"
          for width, model, seconds in zip(BIG, big, took[MEMBERS:], strict=True)),
        f"- {SAMPLES:,} samples, sampling seed 0; training seeds 1 to {MEMBERS}, 1 for the big ones; ± is the standard "
        "deviation over training seeds in the first row, a 95 % range in the others (of IS the standard deviation)",
        f"- {where(here['precision'], f'{chosen.threads} threads', when='at the end')}; "
        f"`{command('ensembles', arguments)}`",
    ]  # fmt: skip
    path = chosen.out / f"ensembles{'-lite' if lite else ''}.md"
    write(path, "\n".join(lines) + "\n")
    print(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
