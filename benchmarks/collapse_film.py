"""A film of mode collapse: three methods learn eight modes on a ring, checkpoint by checkpoint, from the same noise.

python benchmarks/collapse_film.py

About five minutes on one thread. Runs that are finished are not made again, so another look costs seconds.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from limner.core.files import atomic
from limner.core.random import normal
from limner.core.tensorfile import read_tensors
from limner.data.builtin.mixtures import RING
from limner.metrics import modes
from limner.operations.train import read_config, split_choices
from limner.tasks.generate import Generate
from limner.training.checkpoint import KIND, Checkpoint, newest_first
from limner.training.snapshot import snapshot
from runs import trained

STEPS, EVERY = 2_500, 100
SETTINGS = {"data": "ring", "network": "dense", "width": 32, "latent": 256, "batch": 256, "average": 0, "seed": 1}
CLASSIC = {"generator": {"lr": 1e-3, "beta1": 0.5}, "discriminator": {"lr": 1e-4, "beta1": 0.5}}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "GAN": ("gan", CLASSIC),
    "unrolled GAN": ("unrolled", {"unroll": 10, **CLASSIC}),
    "R3GAN": ("r3gan", {"generator": {"lr": 1e-3}, "discriminator": {"lr": 1e-3}, "gamma": 0.1}),
}
SAMPLES, SEED = 1_000, 0
WIDTH, HEIGHT, DPI = 900, 440, 100
PACE, HELD = 200, 3_000
"""Milliseconds that a frame is seen, and the last one."""
COLOURS, NEARLY_WHITE = 40, 250
NOTE = f"{SAMPLES:,} samples of the same noise; a mode counts once a sample lies on its dot (3 standard deviations)"
INK, GREY, FAINT, FOUND, LIT, POINT = "#22262e", "#6b7280", "#c3c9d2", "#2a9d8f", "#dcf0ed", "#d1495b"


@dataclass(frozen=True)
class Moment:
    """What a method makes at a checkpoint.

    step    of training
    points  (N, 2)  in the coordinates of the modes
    found   of each mode, whether a sample lies within 3 standard deviations
    """

    step: int
    points: Tensor
    found: list[bool]


def moments(run: Path) -> list[Moment]:
    """Every checkpoint of a run, the oldest first, each with samples of the same noise."""
    settings = read_config(run)
    name = str(settings.pop("method"))
    _, config = split_choices(name, settings, str(run))
    told = []
    for path in reversed(newest_first(run / "checkpoints")):
        found = Checkpoint(path, *read_tensors(path, KIND))
        method = snapshot(found, name, config)
        assert isinstance(method, Generate)
        points = method.draw(normal(SEED, SAMPLES, method.latent, "sample")).double() * RING.scale
        counted = modes.mixture(points, torch.tensor(RING.centres, dtype=torch.float64), RING.std)
        told.append(Moment(found.header["step"], points, (counted.counts > 0).tolist()))
    return told


def frame(scenes: dict[str, Moment]) -> Image.Image:
    """One moment of all methods, side by side."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Circle

    figure, axes = plt.subplots(1, len(scenes), figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.9, bottom=0.235, wspace=0.03)
    for axis, (title, scene) in zip(axes, scenes.items(), strict=True):
        for centre, found in zip(RING.centres, scene.found, strict=True):
            # The ring only shows where to look; what counts is the disc inside.
            axis.add_patch(Circle(centre, 3 * RING.std, color=FOUND if found else FAINT, linewidth=0, zorder=2))
            axis.add_patch(Circle(centre, 0.13, facecolor=LIT if found else "none", edgecolor=FOUND if found else FAINT,
                                  linewidth=1.8 if found else 1))  # fmt: skip
        axis.scatter(*scene.points.T.tolist(), s=5, color=POINT, alpha=0.55, linewidths=0, zorder=3)
        axis.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), aspect="equal", xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        axis.set_title(title, fontsize=16, fontweight="bold", color=INK, pad=4)
        captured = sum(scene.found)
        below = {"transform": axis.transAxes, "ha": "center", "va": "top"}
        axis.text(0.5, -0.02, f"{captured} of {len(scene.found)} modes", fontsize=15, fontweight="bold",
                  color=FOUND if captured else GREY, **below)  # fmt: skip
        axis.text(0.5, -0.12, f"step {scene.step:,}", fontsize=12, color=GREY, **below)
    figure.text(0.5, 0.02, NOTE, ha="center", fontsize=10, color=GREY)
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=DPI, facecolor="white")
        plt.close(figure)
        return Image.open(file).convert("RGB")


def film(frames: Sequence[Image.Image], file: Path) -> None:
    """A GIF that starts again after the last frame was held."""
    # One palette, taken from the middle and the end, keeps what stands still the same, so only what moves is stored.
    some = Image.new("RGB", (WIDTH, 2 * HEIGHT))
    for i, picture in enumerate((frames[len(frames) // 2], frames[-1])):
        some.paste(picture, (0, i * HEIGHT))
    palette = some.quantize(COLOURS)
    shown = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in frames]
    # White may have been taken for its nearest neighbour.
    colours = [255 if level >= NEARLY_WHITE else level for level in palette.getpalette() or []]
    for picture in shown:
        picture.putpalette(colours)
    times = [PACE] * (len(shown) - 1) + [HELD]
    with atomic(file) as place:
        shown[0].save(place, "GIF", save_all=True, append_images=shown[1:], duration=times, loop=0, optimize=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, draw, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/collapse"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "pictures")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    told = {}
    for title, (method, own) in METHODS.items():
        trained(
            chosen.runs / method, method, steps=STEPS, checkpoint_every=EVERY, keep=STEPS // EVERY + 5, threads=1,
            preview_every=1e6, **SETTINGS, **own,
        )  # fmt: skip
        told[title] = moments(chosen.runs / method)
        print(title, "modes captured:", *(sum(one.found) for one in told[title]))
    frames = [frame(dict(zip(told, scenes, strict=True))) for scenes in zip(*told.values(), strict=True)]
    film(frames, chosen.out / "mode-collapse.gif")
    with atomic(chosen.out / "mode-collapse.png") as place:
        frames[-1].save(place, "PNG", optimize=True)
    print(f"{chosen.out / 'mode-collapse.gif'}: {len(frames)} frames, "
          f"{(chosen.out / 'mode-collapse.gif').stat().st_size / 1e3:.0f} kB")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
