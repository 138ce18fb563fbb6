"""Pairs: restored pictures beside the originals of the same names, one by one."""

from bisect import bisect_right
from collections.abc import Collection, Generator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limner.core.errors import DataError, UsageError, nearest
from limner.core.events import Event
from limner.data.collection import Folder
from limner.data.folder import Meter
from limner.data.images import EXTENSIONS, ImageProblem, decode
from limner.features.efficientnet import EfficientNet
from limner.metrics.perceptual import perceptual
from limner.metrics.psnr import cropped, luma, psnr
from limner.metrics.ssim import WINDOW, ms_ssim, ssim
from limner.reports.page import Html, code, columns, escape, facts, figure, image, joined, page, section, table
from limner.reports.words import date as in_words
from limner.reports.words import number

PAIRED = ("psnr", "ssim", "ms_ssim", "perceptual")
"""Metrics that need the original of each picture."""
LEAST = {
    "psnr": ("PSNR-Y", 1), "ssim": ("SSIM-Y", WINDOW), "ms_ssim": ("MS-SSIM-Y", 161),
    "perceptual": ("perceptual-efficientnet", 32),
}  # fmt: skip
"""Metric → its figure, and the shortest side in px that it takes."""
_WORST = 6
_SHOWN = 512

SAYS = {
    "PSNR-Y": ("dB", "higher", "over Y of BT.601 in studio range, as super-resolution tables have it"),
    "PSNR": ("dB", "higher", "over red, green and blue"),
    "SSIM-Y": ("", "higher", "over Y; 1 is equal"),
    "MS-SSIM-Y": ("", "higher", "SSIM over five scales; 1 is equal"),
    "perceptual-efficientnet": ("", "lower", "LPIPS's form over EfficientNet-lite0 without learned weights: no LPIPS"),
}


@dataclass(frozen=True)
class Pair:
    """A picture and its original.

    name          of its file, without folder and ending
    figures       name to value; equal pictures have an infinite PSNR
    made, real    (C, H, W) uint8, at most 512 px a side around the middle; kept for the worst only
    """

    name: str
    figures: dict[str, float]
    made: np.ndarray | None = None
    real: np.ndarray | None = None


def pairs(
    made: str, real: str, metrics: Collection[str], border: int, eye: EfficientNet | None
) -> Generator[Event, None, list[Pair]]:
    """Compare each picture of a folder with the one of the same name in another. Memory holds one pair at a time.

    made, real  the folders
    metrics     some of PAIRED
    border      px that are cut from each side first
    eye         the network of the perceptual metric
    returns     worst first, by the first figure
    raises      UsageError   if a picture has no partner, or one of another size
                DataError    if a picture can't be read
    """
    files, originals = _named(made), _named(real)
    for name, path in files.items():
        if name not in originals:
            raise UsageError(f"{path} has no partner called {name}.* in {real}", nearest(name, originals))
    meter = Meter("compare", len(files))
    found: list[Pair] = []
    for name, path in files.items():
        a, b = _read(path), _read(originals[name])
        if a.shape[1:] != b.shape[1:]:
            raise UsageError(
                f"{path} is {a.shape[2]}×{a.shape[1]} px and its original {b.shape[2]}×{b.shape[1]} px",
                "compare pictures of one size",
            )
        if len(a) != len(b):
            a, b = (np.broadcast_to(x, (3, *x.shape[1:])) for x in (a, b))
        figures = _figures(torch.from_numpy(a[None].copy()), torch.from_numpy(b[None].copy()), metrics, border, eye)
        place = bisect_right(found, badness(figures), key=lambda pair: badness(pair.figures))
        # Only the worst are shown, so only they stay in memory.
        shown = (_middle(a), _middle(b)) if figures and place < _WORST else ()
        found.insert(place, Pair(name, figures, *shown))
        if len(found) > _WORST:
            found[_WORST] = Pair(found[_WORST].name, found[_WORST].figures)
        yield from meter.tick()
    if not any(pair.figures for pair in found):
        raise UsageError(f"the pictures in {made} are too small for {', '.join(metrics)}",
                         "psnr takes pictures of any size")  # fmt: skip
    return found


def shown(name: str, value: float | None) -> str:
    """A figure with as many places as tables give it."""
    if value is None or value == float("inf"):
        return number(value)
    return f"{value:.2f}" if name.startswith("PSNR") else f"{value:.4f}"


def badness(figures: dict[str, float]) -> float:
    """Lower is worse, by the first figure; infinite without any."""
    name, value = next(iter(figures.items()), ("PSNR-Y", float("inf")))
    return value if SAYS[name][1] == "higher" else -value


def means(found: list[Pair]) -> dict[str, float]:
    """Each figure's mean over the pairs that have it, as tables print it."""
    names = [name for name in SAYS if any(name in pair.figures for pair in found)]
    return {name: float(np.mean([pair.figures[name] for pair in found if name in pair.figures])) for name in names}


def _named(folder: str) -> dict[str, Path]:
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise UsageError(f"{folder} is no folder", "pictures are paired by name, so give two folders")
    names: dict[str, Path] = {}
    for member in Folder(path).members():
        place = PurePosixPath(member.name)
        if place.suffix.lower() in EXTENSIONS:
            name = str(place.with_suffix(""))
            if name in names:
                raise UsageError(f"{folder} holds {names[name].name} and {place.name}", "leave one of the two")
            names[name] = path / member.name
    if not names:
        raise DataError(f"no images in {folder}", "give a folder of pictures")
    return names


def _read(path: Path) -> np.ndarray:
    try:
        found = decode(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} can't be read ({(error.strerror or 'error').lower()})") from None
    if isinstance(found, ImageProblem):
        raise DataError(f"{path} {found.reason}", "leave it out, or mend it")
    return found


def _figures(a: Tensor, b: Tensor, metrics: Collection[str], border: int, eye: EfficientNet | None) -> dict[str, float]:
    a, b = cropped(a, border), cropped(b, border)
    side = min(a.shape[-2:])
    if side < 1:
        return {}
    y = luma(a), luma(b)
    found: dict[str, Tensor] = {}
    if "psnr" in metrics:
        found["PSNR-Y"] = psnr(*y)
        if a.shape[1] == 3:
            found["PSNR"] = psnr(a, b)
    if "ssim" in metrics and side >= LEAST["ssim"][1]:
        found["SSIM-Y"] = ssim(*y)
    if "ms_ssim" in metrics and side >= LEAST["ms_ssim"][1]:
        found["MS-SSIM-Y"] = ms_ssim(*y)
    if "perceptual" in metrics and eye is not None and side >= LEAST["perceptual"][1]:
        device = next(eye.parameters()).device
        with torch.inference_mode():
            maps = [eye.maps((x.to(device).float() / 127.5) - 1) for x in (a, b)]
        found["perceptual-efficientnet"] = perceptual(*maps)
    return {name: float(value) for name, value in found.items()}


def _middle(picture: np.ndarray) -> np.ndarray:
    top, left = (max(0, (side - _SHOWN) // 2) for side in picture.shape[1:])
    return picture[:, top : top + _SHOWN, left : left + _SHOWN]


def pairs_page(record: dict[str, Any], found: list[Pair]) -> str:
    """The page: means, the worst pairs side by side, and every picture's figures."""
    names = list(record["figures"])

    def row(name: str) -> tuple[str, ...]:
        unit, better, says = SAYS[name]
        return name, f"{shown(name, record['figures'][name])} {unit}".strip(), f"{better} is better", says

    worst = [
        joined([Html("<h3>"), pair.name, Html("</h3>"),
                columns(figure(image(pair.made, "restored", pixels=False), "restored"),
                        figure(image(pair.real, "original", pixels=False), "original")),
                facts({name: shown(name, value) for name, value in pair.figures.items()})])
        for pair in found if pair.made is not None and pair.real is not None
    ]  # fmt: skip
    return page(
        f"limner · restored beside originals · {in_words(record['date'])}",
        record["title"],
        f"{len(found):,} pictures, each beside its original.",
        [
            section("Figures", table(("figure", "mean", "direction", ""), map(row, names)),
                    Html(f"<ul>{joined(Html(f'<li>{escape(note)}</li>') for note in record['notes'])}</ul>")),
            section(f"The {len(worst)} worst" if len(worst) < len(found) else "The pictures, worst first", *worst),
            section("Every picture", table(("picture", *names), [
                (pair.name, *(shown(name, pair.figures.get(name)) for name in names)) for pair in found])),
            section("Do it again", code(record["command"])),
        ],
        f"Made by limner {record['limner']}.",
    )  # fmt: skip
