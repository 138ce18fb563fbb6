"""Why the listing's DCGAN draws as it does: single changes to it, trained for the same few epochs, measured alike.

python benchmarks/dcgan_choices.py

About ten minutes a row on two quiet cores. It can be stopped and started again at any time: what is finished is kept.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runs import RESULTS, command, evaluated, trained

SEED, EPOCHS, SAMPLES = 42, 5.0, 10_000


def adam(**choices: float) -> dict[str, Any]:
    """The same change to both players."""
    return {"generator": choices, "discriminator": choices}


CHOICES: Mapping[str, Mapping[str, Any]] = {
    "as the listing has it": {},
    "momentum β1 .5": adam(beta1=0.5),
    "β1 .5 and twice the rate": adam(beta1=0.5, lr=2e-4),
    "discriminator's rate × 3": {"discriminator": {"lr": 3e-4}},
    "average over 100 kimg": {"average": 100.0},
}
FIGURES = ("FD-digits", "IS-digits", "precision", "coverage", "class KL")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train each, evaluate each, write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=Path, default=Path("runs") / "dcgan-choices")
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    import torch

    from limner.core.files import write
    from limner.reports.words import measured

    torch.set_num_threads(chosen.threads)
    lines = [
        f"# DCGAN on MNIST, {chosen.epochs:g} epochs: one change at a time", "",
        f"| change | {' | '.join(FIGURES)} |", "|---" * (len(FIGURES) + 1) + "|",
    ]  # fmt: skip
    report: dict[str, Any] = {}
    for i, (name, change) in enumerate(CHOICES.items()):
        run = chosen.runs / f"{i}-{chosen.epochs:g}"
        model = trained(run, "dcgan", data="mnist", seed=SEED, epochs=chosen.epochs, threads=chosen.threads, **change)
        report = evaluated(model, data="mnist", samples=chosen.samples)
        rows = {row["name"]: row for row in report["figures"]}
        lines.append(f"| {name} | {' | '.join(measured(rows[figure]) for figure in FIGURES)} |")
        print(lines[-1], flush=True)
    lines.append(f"| real data | {' | '.join(measured(rows[figure]['real']) for figure in FIGURES)} |")
    machine = report["machine"]
    lines += [
        "", *(f"- {note}" for note in report["notes"]),
        f"- training seed {SEED}; {machine['cores']} threads, {machine['system']}, torch {machine['torch']}",
        f"- {datetime.now(UTC):%Y-%m-%d}; `{command('dcgan_choices', arguments)}`",
    ]  # fmt: skip
    write(chosen.out / f"dcgan_choices{'' if chosen.epochs >= EPOCHS else '-lite'}.md", "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
