"""What each method makes in some minutes: short runs on digits and on emoji, and a page of their grids.

python benchmarks/gallery.py
python benchmarks/gallery.py dcgan-mnist edm-mnist

A run that is finished is not made twice, nor a picture that is there, unless it is named: then it is sampled anew. To
train anew, delete the run's folder.
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import limner
from limner.cli.flags import nested, read, split
from limner.core import catalog
from limner.core.files import atomic, write
from limner.models.model import load
from limner.operations.show import settings_of
from limner.operations.train import Train, read_config, split_choices
from limner.reports.words import flat
from limner.tasks.generate import Captioned
from runs import tell, trained

SMALL = 400
"""Pixels: a grid that is less wide is doubled."""
DOCS = Path(__file__).parent.parent / "docs"
STEADY = "--generator.lr 3e-4 --discriminator.lr 3e-4"
QUICK = "--generator.lr 5e-4 --discriminator.lr 5e-4"
DIGITS = "--size 16 --width 32 --batch 64 --average 5"
EMOJI = "--size 32 --width 32 --batch 32 --average 5"
SLOWER = (
    "--size 16 --width 32 --batch 32 --average 5 --denoiser.lr 2e-3 --denoiser.schedule cosine --denoiser.final 0.05"
)
SETTINGS = {
    "lsgan-mnist": f"{DIGITS} --steps 2500 {QUICK}",
    "vae-mnist": "--network dense --width 200 --latent 16 --epochs 4 --average 2",
    "edm-mnist": "--size 16 --width 16 --batch 32 --steps 1500 --average 5 --denoiser.lr 2e-3",
    "dcgan-mnist": f"{DIGITS} --steps 2500 {QUICK}",
    "sngan-mnist": f"{DIGITS} --steps 2500 {QUICK}",
    "pacgan-mnist": f"{DIGITS} --steps 2500 {QUICK}",
    "mgan-mnist": f"{DIGITS} --steps 2500 {QUICK}",
    "gman-mnist": f"{DIGITS} --steps 2000 {QUICK}",
    "wgan_gp-mnist": f"{DIGITS} --critic-steps 2 --steps 2000 {QUICK}",
    "gan-mnist": f"--size 16 --width 128 --batch 64 --steps 6000 --average 5 {STEADY}",
    "vae-emoji": "--size 32 --network dense --width 400 --latent 64 --batch 32 --epochs 150 --average 5",
    "dcgan-emoji": f"{EMOJI} --epochs 100",
    "unrolled-mnist": "--size 16 --width 16 --spectral --unroll 1 --batch 32 --steps 3000 --average 5"
    " --generator.lr 1e-3 --discriminator.lr 1e-4",
    "r3gan-mnist": f"{DIGITS} --network dcgan --gamma 1 --lazy 4 --steps 3000 {QUICK}",
    "ddpm-mnist": "--size 16 --width 16 --batch 32 --steps 1500 --average 5 --denoiser.lr 2e-3",
    "ddgan-mnist": f"--size 16 --width 16 --batch 32 --steps 4000 --average 5 {STEADY}",
    "gan_cls-emoji": f"{EMOJI} --epochs 60",
    "lsgan-emoji": f"{EMOJI} --epochs 100",
    "sngan-emoji": f"{EMOJI} --epochs 100",
    "pacgan-emoji": f"{EMOJI} --epochs 200",
    "mgan-emoji": f"{EMOJI} --epochs 100",
    "gan-emoji": "--size 16 --width 128 --batch 32 --epochs 200 --average 5",
    "gman-emoji": f"{EMOJI} --epochs 60",
    "wgan_gp-emoji": f"{EMOJI} --critic-steps 2 --epochs 80 {QUICK}",
    "r3gan-emoji": f"{EMOJI} --network dcgan --gamma 1 --lazy 4 --steps 4000",
    "unrolled-emoji": "--size 16 --width 32 --spectral --unroll 1 --batch 32 --steps 3000 --average 5"
    " --generator.lr 5e-4 --discriminator.lr 1e-4",
    "edm-emoji": f"{SLOWER} --steps 6000",
    "ddpm-emoji": f"{SLOWER} --steps 6000",
    "ddgan-emoji": f"--size 16 --width 16 --batch 32 --steps 2000 --average 2 {STEADY}",
}
"""What is asked for beside the data: short runs want small networks and batches, quick rates and a short average."""


def command(name: str) -> str:
    """What a person types for a picture."""
    method, data = name.split("-")
    size = " --size 32" if data == "emoji" and "--size" not in SETTINGS[name] else ""
    return f"limner train {method} --data {data}{size} {SETTINGS[name]} --precision bf16 --threads 1 --seed 1"


def choices(name: str) -> dict[str, Any]:
    """What the command chooses."""
    method = name.partition("-")[0]
    settings = [*settings_of(Train), *settings_of(catalog.head(method).Config)]
    return nested(read(split(shlex.split(command(name))[3:], settings), settings, f"limner train {method}"))


def as_shown(name: str, run: Path) -> bool:
    """Whether a run was begun with what the command chooses."""
    method, named = name.partition("-")[0], choices(name)
    request, config = split_choices(method, named)
    every = request.model_dump(mode="json") | catalog.settings(method).model_validate(config).model_dump(mode="json")
    was, now = flat(read_config(run)), flat(every)
    return all(was[key] == now[key] for key in flat(named))


def enlarge(path: Path) -> None:
    """Double a grid of small pictures, each pixel four of its kind, so that a person sees them; it keeps its recipe."""
    with Image.open(path) as opened:
        opened.load()
        if opened.width >= SMALL:
            return
        doubled = opened.resize((2 * opened.width, 2 * opened.height), Image.Resampling.NEAREST)
        recipe = PngInfo()
        for name, value in opened.info.items():
            if isinstance(value, str):
                recipe.add_itxt(name, value)
    with atomic(path) as file:
        doubled.save(file, "png", optimize=True, pnginfo=recipe)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, sample, write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="METHOD-DATA", help="pictures to make; all that lack, if none")
    parser.add_argument("--runs", type=Path, default=Path("runs/gallery"))
    parser.add_argument("--out", type=Path, default=DOCS)
    chosen = parser.parse_args(arguments)
    if unknown := chosen.names and set(chosen.names) - SETTINGS.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are: {', '.join(SETTINGS)}")
    torch.set_num_threads(1)
    pictures = chosen.out / "pictures" / "gallery"
    kept = pictures / "facts.json"
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    for name in chosen.names or SETTINGS:
        run, picture = chosen.runs / name, pictures / f"{name}.png"
        if not chosen.names and name in found and picture.is_file():
            continue
        fresh, before = not run.exists(), time.process_time()
        if (run / "settings.json").is_file() and not as_shown(name, run):
            parser.error(f"{run} was trained by another command: delete it, or bring the command back")
        model = trained(run, name.partition("-")[0], **choices(name))
        work = time.process_time() - before if fresh else found.get(name, {}).get("processor")
        tell(limner.sample(model, count=32, columns=16, seed=0, out=picture, force=True))
        enlarge(picture)
        training = load(model).header["training"]
        found[name] = {
            "command": command(name), "seconds": training["seconds"], "processor": work, "images": training["images"],
            "date": f"{datetime.fromtimestamp(model.stat().st_mtime, UTC):%Y-%m-%d}", "machine": training["machine"],
        }  # fmt: skip
        write(kept, json.dumps(found, indent=2) + "\n")
        write(chosen.out / "gallery.md", page(found))
    write(chosen.out / "gallery.md", page(found))
    return 0


def page(found: dict[str, Any]) -> str:
    """Every method, its pictures and how each was made."""
    times = [one["processor"] or one["seconds"] for one in found.values()]
    least, most = min(times), max(times)
    lines = [
        "# Gallery", "",
        "What every method makes after a short run on one processor thread: small networks, small pictures, and "
        f"{least:.0f} seconds to {most / 60:.0f} minutes, as stands below each. So the grids show what a "
        "method makes soon, not what it can do; r3gan's have its loss over another method's networks, which are "
        "quicker. There are some 1,900 emoji, each unlike the next, so what is soon recognised in them is a round "
        "yellow face or a flag; ddgan's, unrolled's and the plain gan's wait for longer runs. Each has 32 samples of "
        "seed 0, as they came, those of 16 px doubled. The first seconds are those of the processor, the others those "
        "on the clock, on a machine that other work kept busy. All of it by `python benchmarks/gallery.py`.", "",
    ]  # fmt: skip
    for method in catalog.names():
        lines += [f"## {method}", "", catalog.head(method).summary, ""]
        for name in (f"{method}-mnist", f"{method}-emoji"):
            if name in found:
                lines += [f"![{name}](pictures/gallery/{name}.png)", "", "```sh", found[name]["command"], "```", ""]
                lines += [told(found[name]), ""]
            elif name in SETTINGS:
                lines += [f"`{name}` is not made yet: `python benchmarks/gallery.py {name}`", ""]
            elif issubclass(catalog.method(method), Captioned):
                lines += [f"There is no `{name}`: the digits of MNIST have no captions to learn from.", ""]
    return "\n".join(lines).rstrip() + "\n"


def told(one: dict[str, Any]) -> str:
    """How a run went, in a line."""
    on = one["machine"]
    work = "" if one["processor"] is None else f"{one['processor']:.0f} s of the processor, "
    return (f"*{work}{one['seconds']:.0f} s of training on the clock, {one['images']:,} images seen; {one['date']}, "
            f"torch {on['torch']}, {on['system']}, {on['cores']} thread, {on['precision']}.*")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
