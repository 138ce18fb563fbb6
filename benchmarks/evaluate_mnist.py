"""Trains the DCGAN from three seeds and the vanilla GAN from one on MNIST, for 50 epochs each, and evaluates them.

python benchmarks/evaluate_mnist.py

Hours on two cores. It can be stopped and started again at any time: a finished model is kept, an unfinished run is
gone on with, and a report that is there is not made twice. The table is written anew after each seed. Fewer epochs or
samples make a lite run, which says so.
"""

import argparse
import os
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runs import RESULTS, command, evaluated, tell, trained

METHODS = ("dcgan", "gan")
EPOCHS, SAMPLES, SEEDS = 50.0, 10_000, (42, 43, 44)


def over_seeds(rows: Sequence[Mapping[str, Any] | None]) -> Mapping[str, Any] | None:
    """One figure of several models: their mean ± standard deviation. Of a single one, the figure with its own range."""
    there = [row for row in rows if row is not None]
    values = [row["value"] for row in there]
    if len(there) < 2 or None in values:
        # Where one has no upper end, neither has their mean; the least lower end is what all can vouch for.
        return min(there, key=lambda row: row["low"] or 0) if there else None
    mean, std = statistics.fmean(values), statistics.stdev(values)
    return {"value": mean, "low": mean - std, "high": mean + std}


def summary(reports: Mapping[str, Sequence[Mapping[str, Any]]], lite: bool, called: str) -> str:
    """Both models' figures beside the real-data row, as Markdown."""
    from limner.reports.words import duration, measured

    methods = list(reports)
    first = reports[methods[0]][0]
    machine = first["machine"]
    lines = ["# DCGAN and GAN on MNIST", ""]
    if lite:
        lines += ["**LITE RUN**: fewer epochs or samples than the benchmark asks for. These figures mean nothing.", ""]
    head = ["figure", *methods, "real data", "direction"]
    lines += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    found = {m: [{row["name"]: row for row in report["figures"]} for report in reports[m]] for m in methods}
    for name, row in found[methods[0]][0].items():
        cells = [measured(over_seeds([rows.get(name) for rows in found[m]])) for m in methods]
        lines.append(f"| {name} | {' | '.join(cells)} | {measured(row['real'])} | {row['better']} |")
    judges = {m: [{row["name"]: row for row in report["discriminator"]["rows"]} for report in reports[m]]
              for m in methods}  # fmt: skip
    for name in judges[methods[0]][0]:
        cells = [measured(over_seeds([rows.get(name) for rows in judges[m]])) for m in methods]
        lines.append(f"| discriminator: {name} | {' | '.join(cells)} | | |")
    training = {m: [report["training"] for report in reports[m]] for m in methods}
    steps = (f"{training[m][0]['steps']:,}" for m in methods)
    lines.append(f"| steps | {' | '.join(steps)} | | |")
    times = (duration(statistics.fmean(run["seconds"] for run in training[m])) for m in methods)
    lines.append(f"| training time | {' | '.join(times)} | | |")
    speeds = (f"{statistics.fmean(r['speed']['images_per_second'] for r in reports[m]):,.0f}" for m in methods)
    lines.append(f"| samples/s | {' | '.join(speeds)} | | |")
    ranges = {
        m: f"{m}: mean ± standard deviation over training seeds {' '.join(str(run['seed']) for run in training[m])}"
        if len(training[m]) > 1 else f"{m}: training seed {training[m][0]['seed']}"
        for m in methods
    }  # fmt: skip
    notes = [note.replace("± is", "where there is one seed, ± is") for note in first["notes"]]
    lines += ["", *(f"- {text}" for text in ranges.values()), *(f"- {note}" for note in notes)]
    precisions = ", ".join(f"{m} {' '.join(sorted({run['precision'] for run in training[m]}))}" for m in methods)
    cores = " ".join(sorted({str(run["machine"]["cores"]) for m in methods for run in training[m]}))
    lines += [
        f"- trained in {precisions} on {machine['gpu'] or cores + ' threads'}, {machine['system']}, "
        f"Python {machine['python']}, torch {machine['torch']}",
        f"- {datetime.now(UTC):%Y-%m-%d}; `{called}`",
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, evaluate, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="of training")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs lie: RUNS/METHOD-mnist-SEED")
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
    reports: dict[str, list[dict[str, Any]]] = {method: [] for method in METHODS}
    for seed in chosen.seeds:
        for method in METHODS if seed == chosen.seeds[0] else METHODS[:1]:
            run = chosen.runs / f"{method}-mnist-{'lite-' if lite else ''}{seed}"
            model = trained(
                run, method, data="mnist", seed=seed, threads=chosen.threads, epochs=chosen.epochs,
                precision=chosen.precision,
            )  # fmt: skip
            reports[method].append(evaluated(model, data="mnist", samples=chosen.samples))
            if seed == chosen.seeds[0]:
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
