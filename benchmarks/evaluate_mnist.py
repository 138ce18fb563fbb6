"""Trains and evaluates the DCGAN and the vanilla GAN on MNIST, for 50 epochs each, and writes what was measured.

python benchmarks/evaluate_mnist.py

Hours on two cores. It can be stopped and started again at any time: a finished model is kept, an unfinished run is
gone on with, and a report that is there is not made twice. Fewer epochs or samples make a lite run, which says so.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent
METHODS = ("dcgan", "gan")
EPOCHS, SAMPLES, SEED = 50.0, 10_000, 42


def trained(method: str, run: Path, chosen: argparse.Namespace) -> Path:
    """The model of a run, which is begun, gone on with, or there already."""
    from limner.core.events import Event
    from limner.operations.train import Train, train

    model = run / "model.safetensors"
    if model.is_file():
        return model
    events: Iterator[Event]
    if (run / "settings.json").is_file():
        events = train(None, Train(resume=run))
    else:
        events = train(method, Train(data="mnist", seed=SEED, out=run, threads=chosen.threads),
                       {"epochs": chosen.epochs})  # fmt: skip
    tell(events)
    return model


def evaluated(model: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """What the model's report holds, made now if it is not there with as many samples."""
    from limner.operations.evaluate import Evaluate, evaluate

    file = model.parent / "evaluation" / "report.json"
    if not _fits(file, chosen):
        tell(
            evaluate(Evaluate(what=(str(model),), data="mnist", samples=chosen.samples, seeds=chosen.seeds, force=True))
        )
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return report


def _fits(file: Path, chosen: argparse.Namespace) -> bool:
    if not file.is_file():
        return False
    protocol = json.loads(file.read_text(encoding="utf-8"))["protocol"]
    return bool(protocol["samples"] == chosen.samples and len(protocol["seeds"]) == chosen.seeds)


def tell(events: Iterator[Any]) -> None:
    """Print events as the command line does."""
    from limner.cli.render import Lines

    face = Lines(quiet=False, out=sys.stdout, err=sys.stderr)
    try:
        for event in events:
            face.tell(event)
    finally:
        face.close()


def summary(reports: Mapping[str, Mapping[str, Any]], lite: bool, command: str) -> str:
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
        f"- {datetime.now(UTC):%Y-%m-%d}; `{command}`",
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
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    chosen = parser.parse_args(arguments)
    lite = chosen.epochs < EPOCHS or chosen.samples < SAMPLES
    name = "evaluate_mnist" + ("-lite" if lite else "")
    if lite:
        print(f"LITE RUN: {chosen.epochs:g} epochs and {chosen.samples:,} samples; the benchmark is {EPOCHS:g} epochs "
              f"and {SAMPLES:,} samples", flush=True)  # fmt: skip
    import torch

    from limner.core.files import write
    from limner.operations.sample import Sample, sample

    torch.set_num_threads(chosen.threads)
    reports = {}
    for method in METHODS:
        model = trained(method, chosen.runs / f"{method}-mnist{'-lite' if lite else ''}", chosen)
        reports[method] = evaluated(model, chosen)
        tell(sample(Sample(model=model, count=100, seed=0, out=chosen.out / f"{name}-{method}.png", force=True)))
        # The page stays beside the model: results hold small things only.
        shutil.copyfile(model.parent / "evaluation" / "report.json", chosen.out / f"{name}-{method}.json")
    text = summary(reports, lite, " ".join(["python benchmarks/evaluate_mnist.py", *(arguments or sys.argv[1:])]))
    write(chosen.out / f"{name}.md", text)
    print(text)
    print(f"wrote {chosen.out / name}.md, and a .json and .png for each method")
    return 0


if __name__ == "__main__":
    sys.exit(main())
