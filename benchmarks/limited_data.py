"""Trains a DCGAN on 200 MNIST digits with and without what helps small sets, and writes how far from MNIST each gets.

python benchmarks/limited_data.py

Fifteen runs of 10,000 steps: hours on two cores. It can be stopped and started again at any time: a finished model
is kept, an unfinished run is gone on with, and a report that is there is not made twice. Fewer steps make a lite run,
which says so. Samples are judged against all of MNIST's training pictures, of which training saw 200; the real-data
row is MNIST's test part.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from limner.core.files import write
from limner.data.cache import finish
from limner.data.pack import building, is_pack, write_pack
from limner.data.sources import open_data
from machine import where
from runs import RESULTS, command, evaluated, table, trained

STEPS, SEEDS, SAMPLES, TRAINING, UNSEEN = 10_000, (1, 2, 3), 5_000, 200, 1_000
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "diffaugment": {"augment": "diffaugment"},
    "ada": {"augment": "ada"},
    "lecam": {"lecam": 0.3},
    "diffaugment + lecam": {"augment": "diffaugment", "lecam": 0.3},
}
"""What goes around the method, by the row's name."""


def prepare(place: Path, first: int) -> Path:
    """A pack of 200 digits, with a test part of others, that begins at a digit's number."""
    data = finish(open_data("mnist"))
    assert data.labels is not None
    about = {"name": "mnist200", "source": data.manifest.source, "classes": data.manifest.classes}
    for part, rows in (("train", slice(0, TRAINING)), ("test", slice(first, first + UNSEEN))):
        if not is_pack(place / part):
            with building(place / part) as folder:
                write_pack(folder, data.samples[rows], data.labels[rows], **about, split=part)
    return place


def judged(model: Path, data: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Figures against MNIST, whether the 200 pictures are copied, and whether the discriminator knows them."""
    against = evaluated(model, "against-mnist", data="mnist", samples=chosen.samples, metrics=["fd", "prdc"],
                        features="digits")  # fmt: skip
    own = evaluated(model, "against-its-own", data=str(data), samples=chosen.samples,
                    metrics=["memorisation", "discriminator"], features="digits")  # fmt: skip
    rows = [*against["figures"], *own["figures"], *(own["discriminator"] or {"rows": ()})["rows"]]
    return {row["name"]: row for row in rows}


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
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    lite = chosen.steps < STEPS or len(chosen.seeds) < len(SEEDS) or chosen.samples < SAMPLES
    torch.set_num_threads(chosen.threads)
    # ADA watches its pack's test part while it trains, so what is told of unseen digits is told of others.
    data = prepare(chosen.runs / "mnist200", TRAINING)
    others = prepare(chosen.runs / "mnist200-others", TRAINING + UNSEEN)
    results: dict[str, list[dict[str, Any]]] = {}
    for seed in chosen.seeds:  # Seed by seed, so that a table of all ways is there after a fifth of the time.
        for way in chosen.ways:
            run = chosen.runs / f"{way.replace(' + ', '-')}-{chosen.steps}-{chosen.width}-{seed}"
            # A fifth of the run between checkpoints, so that little is lost; the network is small.
            model = trained(
                run, "dcgan", data=data, seed=seed, threads=chosen.threads, steps=chosen.steps, width=chosen.width,
                batch=64, checkpoint_every=max(1, chosen.steps // 5), **WAYS[way],
            )  # fmt: skip
            results.setdefault(way, []).append(judged(model, others, chosen))
    names = list(results[chosen.ways[0]][0])
    lines = ["# 200 MNIST digits, DCGAN", ""]
    if lite:
        lines += ["**LITE RUN**: fewer steps, seeds or samples than the benchmark asks for.", ""]
    lines += table(results, names)
    lines += [
        "",
        f"- {chosen.steps:,} steps of 64, width {chosen.width}, training seeds {chosen.seeds}; mean ± standard "
        f"deviation over them; {chosen.samples:,} samples, sampling seed 0",
        f"- ada watches {UNSEEN:,} digits that no other row has, without learning from them; unseen ones are others",
        f"- {where(f'{chosen.threads} threads', when='at the end')}; `{command('limited_data', arguments)}`",
    ]
    longer = f"-{chosen.steps}-steps" if chosen.steps != STEPS else ""
    path = chosen.out / f"limited_data{longer}{'-lite' if lite else ''}.md"
    write(path, "\n".join(lines) + "\n")
    print("\n".join(lines))
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
