"""Trains and evaluates the DCGAN and the vanilla GAN on MNIST, for 50 epochs each, and writes what was measured.

python benchmarks/evaluate_mnist.py

Hours on two cores. It can be stopped and started again at any time: a finished model is kept, an unfinished run is
gone on with, and a report that is there is not made twice. Fewer epochs or samples make a lite run, which says so.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runs import RESULTS, command, evaluated, tell, trained

METHODS = ("dcgan", "gan")
EPOCHS, SAMPLES, SEED = 50.0, 10_000, 42


def summary(reports: Mapping[str, Mapping[str, Any]], lite: bool, called: str) -> str:
    """Both models' figures beside the real-data row, as Markdown."""
    from limner.reports.words import duration, measured

    methods = list(reports)
    first = reports[methods[0]]
    machine = first["machine"]
    lines = ["# DCGAN and GAN on MNIST", ""]
    if lite:
        lines += ["**LITE RUN**: fewer epochs or samples than the benchmark asks for. These figures mean nothing.", ""]
    head = ["figure", *methods, "real data", "direction"]
    lines += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    found = {name: {row["name"]: row for row in report["figures"]} for name, report in reports.items()}
    for name, row in found[methods[0]].items():
        cells = [measured(found[method].get(name)) for method in methods]
        lines.append(f"| {name} | {' | '.join(cells)} | {measured(row['real'])} | {row['better']} |")
    judges = {m: {row["name"]: row for row in (reports[m]["discriminator"] or {"rows": []})["rows"]} for m in methods}
    for name in judges[methods[0]]:
        lines.append(f"| discriminator: {name} | {' | '.join(measured(judges[m].get(name)) for m in methods)} | | |")
    training = {m: reports[m]["training"] for m in methods}
    steps = (f"{training[m]['steps']:,}" for m in methods)
    lines.append(f"| steps | {' | '.join(steps)} | | |")
    lines.append(f"| training time | {' | '.join(duration(training[m]['seconds']) for m in methods)} | | |")
    speeds = (f"{reports[m]['speed']['images_per_second']:,.0f}" for m in methods)
    lines.append(f"| samples/s | {' | '.join(speeds)} | | |")
    lines += ["", *(f"- {note}" for note in first["notes"])]
    lines += [
        f"- training seed {SEED}; {machine['gpu'] or str(machine['cores']) + ' threads'}, {machine['system']}, "
        f"Python {machine['python']}, torch {machine['torch']}",
        f"- {datetime.now(UTC):%Y-%m-%d}; `{called}`",
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, evaluate, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--seeds", type=int, default=1, help="sampling seeds")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs lie: RUNS/METHOD-mnist")
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    lite = chosen.epochs < EPOCHS or chosen.samples < SAMPLES
    name = "evaluate_mnist" + ("-lite" if lite else "")
    if lite:
        print(f"LITE RUN: {chosen.epochs:g} epochs and {chosen.samples:,} samples; the benchmark is {EPOCHS:g} epochs "
              f"and {SAMPLES:,} samples", flush=True)  # fmt: skip
    import torch

    import limner
    from limner.core.files import write

    torch.set_num_threads(chosen.threads)
    reports = {}
    for method in METHODS:
        run = chosen.runs / f"{method}-mnist{'-lite' if lite else ''}"
        model = trained(run, method, data="mnist", seed=SEED, threads=chosen.threads, epochs=chosen.epochs)
        reports[method] = evaluated(model, data="mnist", samples=chosen.samples, seeds=chosen.seeds)
        tell(limner.sample(model, count=100, seed=0, out=chosen.out / f"{name}-{method}.png", force=True))
        # The page stays beside the model: results hold small things only.
        shutil.copyfile(model.parent / "evaluation" / "report.json", chosen.out / f"{name}-{method}.json")
    text = summary(reports, lite, command("evaluate_mnist", arguments))
    write(chosen.out / f"{name}.md", text)
    print(text)
    print(f"wrote {chosen.out / name}.md, and a .json and .png for each method")
    return 0


if __name__ == "__main__":
    sys.exit(main())
