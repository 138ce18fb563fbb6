"""Trains a DCGAN on 200 MNIST digits with and without what helps small sets, and writes how far from MNIST each gets.

python benchmarks/limited_data.py

Fifteen runs of 10,000 steps: hours on two cores. It can be stopped and started again at any time: a finished model
is kept, an unfinished run is gone on with, and a report that is there is not made twice. Fewer steps make a lite run,
which says so. Samples are judged against all of MNIST's training pictures, of which training saw 200; the real-data
row is MNIST's test part.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from limner.cli.render import Lines
from limner.core.events import Event
from limner.core.files import write
from limner.data.cache import finish
from limner.data.pack import building, is_pack, write_pack
from limner.data.sources import open_data
from limner.operations.evaluate import Evaluate, evaluate
from limner.operations.train import Train, train

ROOT = Path(__file__).parent
STEPS, SEEDS, SAMPLES, TRAINING, UNSEEN = 10_000, (1, 2, 3), 5_000, 200, 1_000
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "diffaugment": {"augment": "diffaugment"},
    "ada": {"augment": "ada"},
    "lecam": {"lecam": 0.3},
    "diffaugment + lecam": {"augment": "diffaugment", "lecam": 0.3},
}
"""What goes around the method, by the row's name."""


def prepare(place: Path) -> Path:
    """A pack of 200 digits, with a test part of others."""
    data = finish(open_data("mnist"))
    assert data.labels is not None
    about = {"name": "mnist200", "source": data.manifest.source, "classes": data.manifest.classes}
    for part, rows in (("train", slice(0, TRAINING)), ("test", slice(TRAINING, TRAINING + UNSEEN))):
        if not is_pack(place / part):
            with building(place / part) as folder:
                write_pack(folder, data.samples[rows], data.labels[rows], **about, split=part)
    return place


def trained(run: Path, data: Path, way: Mapping[str, Any], seed: int, chosen: argparse.Namespace) -> Path:
    """The model of a run, which is begun, gone on with, or there already."""
    model = run / "model.safetensors"
    if model.is_file():
        return model
    if (run / "settings.json").is_file():
        tell(train(None, Train(resume=run)))
    else:
        # A fifth of the run between checkpoints, so that little is lost; the network is small.
        request = Train(
            data=str(data), seed=seed, out=run, threads=chosen.threads, steps=chosen.steps,
            checkpoint_every=max(1, chosen.steps // 5), **way,
        )  # fmt: skip
        tell(train("dcgan", request, {"width": chosen.width, "batch": 64}))
    return model


def judged(model: Path, data: Path, chosen: argparse.Namespace) -> dict[str, float]:
    """Figures against MNIST, and whether the discriminator knows its 200 pictures."""
    found: dict[str, float] = {}
    for name, against, metrics in (
        ("against-mnist", "mnist", ("fd", "prdc")), ("against-its-own", str(data), ("discriminator",)),
    ):  # fmt: skip
        file = model.parent / name / "report.json"
        if not file.is_file():
            tell(
                evaluate(
                    Evaluate(
                        what=(str(model),),
                        data=against,
                        samples=chosen.samples,
                        metrics=metrics,
                        out=file.parent,
                        features="digits",
                    )
                )
            )
        report = json.loads(file.read_text(encoding="utf-8"))
        rows = [*report["figures"], *(report["discriminator"] or {"rows": ()})["rows"]]
        found |= {row["name"]: row["value"] for row in rows}
        if name == "against-mnist":
            found |= {f"real {row['name']}": row["real"]["value"] for row in report["figures"] if row["real"]}
    return found


def tell(events: Iterator[Event]) -> None:
    """Print events as the command line does."""
    face = Lines(quiet=False, out=sys.stdout, err=sys.stderr)
    try:
        for event in events:
            face.tell(event)
    finally:
        face.close()


def table(results: Mapping[str, Sequence[Mapping[str, float]]], names: Sequence[str]) -> list[str]:
    """A row for each way: the mean ± the standard deviation over seeds, and the real-data row."""
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for way, runs in results.items():
        cells = []
        for name in names:
            values = [run[name] for run in runs if name in run]
            spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.4g}{spread}" if values else "-")
        lines.append(f"| {way} | {' | '.join(cells)} |")
    first = next(iter(results.values()))[0]
    real = [f"{first[f'real {name}']:.4g}" if f"real {name}" in first else "" for name in names]
    return [*lines, f"| real data | {' | '.join(real)} |"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, evaluate, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--width", type=int, default=32, help="of the DCGAN")
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/limited-data"))
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    chosen = parser.parse_args(arguments)
    lite = chosen.steps < STEPS or len(chosen.seeds) < len(SEEDS) or chosen.samples < SAMPLES
    torch.set_num_threads(chosen.threads)
    data = prepare(chosen.runs / "mnist200")
    results: dict[str, list[dict[str, float]]] = {}
    for seed in chosen.seeds:  # Seed by seed, so that a table of all ways is there after a fifth of the time.
        for way in chosen.ways:
            run = chosen.runs / f"{way.replace(' + ', '-')}-{chosen.steps}-{chosen.width}-{seed}"
            results.setdefault(way, []).append(judged(trained(run, data, WAYS[way], seed, chosen), data, chosen))
    first = results[chosen.ways[0]][0]
    names = [name for name in first if not name.startswith("real ") or f"real {name}" in first]
    lines = ["# 200 MNIST digits, DCGAN", ""]
    if lite:
        lines += ["**LITE RUN**: fewer steps, seeds or samples than the benchmark asks for.", ""]
    lines += table(results, names)
    lines += [
        "",
        f"- {chosen.steps:,} steps of 64, width {chosen.width}, training seeds {chosen.seeds}; mean ± standard "
        f"deviation over them; {chosen.samples:,} samples, sampling seed 0",
        f"- {datetime.now(UTC):%Y-%m-%d}, torch {torch.__version__}, {chosen.threads} threads; "
        f"`python benchmarks/limited_data.py {' '.join(sys.argv[1:] if arguments is None else arguments)}`",
    ]
    path = chosen.out / f"limited_data{'-lite' if lite else ''}.md"
    write(path, "\n".join(lines) + "\n")
    print("\n".join(lines))
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
