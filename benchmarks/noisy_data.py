"""Trains a DCGAN on digits that are spoilt in a known way: on clean ones, as they are, and as measured ones.

python benchmarks/noisy_data.py
python benchmarks/noisy_data.py --measure pad-rotate-project

Three runs per seed, of minutes each on one core. It can be stopped and started again at any time. Every model is judged
against the clean digits.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

import limner
from limner.core.errors import LimnerError
from limner.core.files import atomic, write
from limner.core.random import scattered
from limner.data.cache import finish
from limner.data.images import grid, to_image
from limner.data.pack import building, is_pack, write_pack
from limner.data.sources import open_data
from limner.nn.measure import measurement
from machine import where
from runs import RESULTS, command, evaluated, table, trained

ACROSS, SIDE, LABEL, GAP = 12, 72, 26, 10


def prepare(place: Path, source: str, measure: str) -> Path:
    """A pack of measured pictures: all that a person has whose camera is broken."""
    if not is_pack(place):
        data = finish(open_data(source))
        found = measurement(measure, data.signal)
        numbers = np.arange(len(data))
        seen = found.apply(data.take(numbers)["x"], torch.from_numpy(scattered(0, numbers, found.draws, "benchmark")))
        with building(place) as folder:
            samples = ((seen + 1) * 127.5).round().to(torch.uint8).numpy()
            write_pack(folder, samples, None, name="measured", split="train", source=data.manifest.source)
    return place


def picture(rows: dict[str, np.ndarray]) -> Image.Image:
    """A row of samples under each name.

    rows  (ACROSS, C, H, W) uint8 each
    """
    strips = {name: to_image(grid(samples, ACROSS)).convert("RGB") for name, samples in rows.items()}
    width, height = next(iter(strips.values())).size
    size = (width * (SIDE // height), height * (SIDE // height))
    step = LABEL + size[1] + GAP
    sheet = Image.new("RGB", (size[0] + 2 * GAP, len(rows) * step + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for i, (name, strip) in enumerate(strips.items()):
        pen.text((GAP, GAP + i * step), name, fill="#333333", font=font)
        sheet.paste(strip.resize(size, Image.Resampling.NEAREST), (GAP, GAP + i * step + LABEL))
    return sheet


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, evaluate, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", choices=("digits", "mnist"), default="digits")
    parser.add_argument("--measure", default="block-pixels:0.5", help="as of limner train")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--width", type=int, default=16, help="of the DCGAN")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/noisy-data"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    name = f"{chosen.data}-{chosen.measure.replace(':', '-')}"
    try:
        measured = str(prepare(chosen.runs / f"{name}-measured", chosen.data, chosen.measure))
    except LimnerError as error:
        sys.exit(str(error))
    ways: dict[str, dict[str, Any]] = {
        "clean data": {"data": chosen.data},
        "measured data, taken as they are": {"data": measured},
        "measured data, fakes measured too": {"data": measured, "measure": chosen.measure, "measured": True},
    }
    results: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    seen = finish(open_data(measured)).take(np.arange(ACROSS))["x"]
    rows = {"measured data, which is all there is": ((seen + 1) * 127.5).round().to(torch.uint8).numpy()}
    for seed in chosen.seeds:
        for number, (way, choices) in enumerate(ways.items()):
            run = chosen.runs / f"{name if number else chosen.data}-{chosen.steps}-{chosen.width}-{number}-{seed}"
            model = trained(
                run, "dcgan", **choices, seed=seed, steps=chosen.steps, threads=chosen.threads, width=chosen.width,
                batch=64,
            )  # fmt: skip
            report = evaluated(model, data=chosen.data, samples=5000, metrics=["fd", "is", "prdc"])
            rows.setdefault(f"learned from {way}", limner.load(model).generate(ACROSS).array)
            results[way].append({row["name"]: row for row in report["figures"]})
    names = list(results["clean data"][0])
    lines = [
        f"# {chosen.data}, {chosen.measure}", "",
        f"**Lite: {chosen.steps:,} steps of a small DCGAN; the paper's networks are larger.** Compare the order, not "
        "the figures.", "", *table(results, names),
    ]  # fmt: skip
    lines += [
        "",
        f"- {chosen.steps:,} steps of 64, width {chosen.width}, training seeds {chosen.seeds} (mean ± standard "
        "deviation), 5,000 samples, sampling seed 0",
        *(f"- {note}" for note in report["notes"] if note.startswith("real row")),
        f"- {where(f'{chosen.threads} threads', when='at the end')}; `{command('noisy_data', arguments)}`",
    ]
    path = chosen.out / f"noisy_data-{name}-lite.md"
    write(path, "\n".join(lines) + "\n")
    with atomic(path.with_suffix(".png")) as place:
        picture(rows).save(place, "PNG", optimize=True)
    print("\n".join(lines))
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
