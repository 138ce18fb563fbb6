"""Trains a DCGAN on digits of which half of the pixels are black: on clean ones, as they are, and as measured ones.

python benchmarks/noisy_data.py

Three runs per seed, of minutes each on one core. It can be stopped and started again at any time. Every model is judged
against the clean digits.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limner.cli.render import Lines
from limner.core.files import write
from limner.core.random import scattered
from limner.data.cache import finish
from limner.data.pack import building, is_pack, write_pack
from limner.data.sources import open_data
from limner.nn.measure import measurement
from limner.operations.evaluate import Evaluate, evaluate
from limner.operations.sample import Sample, sample
from limner.operations.train import Train, train

ROOT = Path(__file__).parent
MEASURE = "block-pixels:0.5"


def prepare(place: Path, source: str) -> Path:
    """A pack of measured pictures: all that a person has whose camera is broken."""
    if not is_pack(place):
        data = finish(open_data(source))
        found = measurement(MEASURE, data.signal)
        numbers = np.arange(len(data))
        seen = found.apply(data.take(numbers)["x"], torch.from_numpy(scattered(0, numbers, found.draws, "benchmark")))
        with building(place) as folder:
            samples = ((seen + 1) * 127.5).round().to(torch.uint8).numpy()
            write_pack(folder, samples, None, name="measured", split="train", source=data.manifest.source)
    return place


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, evaluate, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", choices=("digits", "mnist"), default="digits")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--width", type=int, default=16, help="of the DCGAN")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/noisy-data"))
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    measured = str(prepare(chosen.runs / f"{chosen.data}-measured", chosen.data))
    ways: dict[str, dict[str, Any]] = {
        "clean data": {"data": chosen.data},
        "measured data, taken as they are": {"data": measured},
        "measured data, fakes measured too": {"data": measured, "measure": MEASURE, "measured": True},
    }
    face = Lines(quiet=False, out=sys.stdout, err=sys.stderr)
    results: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    names: list[str] = []
    for seed in chosen.seeds:
        for number, (way, choices) in enumerate(ways.items()):
            run = chosen.runs / f"{chosen.data}-{chosen.steps}-{chosen.width}-{number}-{seed}"
            if not (run / "model.safetensors").is_file():
                going = (run / "settings.json").is_file()
                request = (
                    Train(resume=run)
                    if going
                    else Train(**choices, seed=seed, steps=chosen.steps, out=run, threads=chosen.threads)
                )
                for event in train(None if going else "dcgan", request, {"width": chosen.width, "batch": 64}):
                    face.tell(event)
            report = run / "evaluation" / "report.json"
            if not report.is_file():
                for event in evaluate(
                    Evaluate(what=(str(run),), data=chosen.data, samples=5000, metrics=("fd", "is", "prdc"))
                ):
                    face.tell(event)
                for event in sample(Sample(model=run, count=40, columns=20)):
                    face.tell(event)
            rows = json.loads(report.read_text(encoding="utf-8"))["figures"]
            names = [row["name"] for row in rows]
            results[way].append({row["name"]: row for row in rows})
    face.close()
    lines = [f"# {chosen.data}, {MEASURE}", "", f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for way, runs in results.items():
        cells = []
        for name in names:
            values = [run[name]["value"] for run in runs]
            spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.4g}{spread}")
        lines.append(f"| {way} | {' | '.join(cells)} |")
    real = [next(iter(results.values()))[0][name]["real"] for name in names]
    cells = [f"{row['value']:.4g}" if row else "" for row in real]
    lines.append(f"| real data | {' | '.join(cells)} |")
    lines += [
        "",
        f"- {chosen.steps:,} steps of 64, width {chosen.width}, training seeds {chosen.seeds} (mean ± standard "
        "deviation), 5,000 samples, sampling seed 0",
        f"- {datetime.now(UTC):%Y-%m-%d}, torch {torch.__version__}, {chosen.threads} threads; "
        f"`python benchmarks/noisy_data.py {' '.join(sys.argv[1:] if arguments is None else arguments)}`",
    ]
    path = chosen.out / f"noisy_data_{chosen.data}.md"
    write(path, "\n".join(lines) + "\n")
    print("\n".join(lines))
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
