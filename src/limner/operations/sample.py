"""Sample: make pictures with a trained model."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from limner.core.errors import UsageError
from limner.core.events import Event, Finished, Note, Progress, Saved
from limner.core.files import refuse_existing
from limner.core.settings import Settings

if TYPE_CHECKING:
    from limner.models.model import Model


class Sample(Settings):
    """How many pictures to make, and how to keep them."""

    model: Path
    """The model file, or its run folder."""
    count: int = Field(default=16, ge=1, le=10_000_000)
    """How many pictures."""
    seed: int = Field(default=0, ge=0)
    """The same seed gives the same pictures."""
    out: Path | None = None
    """A .png for one sheet, or a folder for separate files; samples.png beside the model where it is not given."""
    columns: int | None = Field(default=None, ge=1)
    """Pictures in a row of the sheet; about square where it is not given."""
    label: int | None = Field(default=None, ge=0)
    """The class to make, for models that learned classes."""
    text: str | None = Field(default=None, max_length=1000)
    """What to make, in words, for models that learned captions; a few captions of their data where it is not given."""
    truncation: float = Field(default=1.0, gt=0, le=2)
    """Scales the noise: below 1 gives more typical and less varied pictures."""
    interpolate: int | None = Field(default=None, ge=0)
    """Another seed: walk from --seed to it in --count pictures, as a strip and a GIF."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes the fastest there is."""
    backend: Literal["torch", "onnxruntime", "openvino"] = "torch"
    """What computes. The other two make the same pictures, to within 1e-4, on the CPU."""
    force: bool = False
    """Overwrite what stands in --out."""


_BATCH = 250


def model_file(path: Path) -> Path:
    """The model file that a person means: the file itself, or the one in a run folder."""
    inside = path / "model.safetensors"
    if not path.is_dir() or inside.is_file():
        return inside if path.is_dir() else path
    if (path / "settings.json").is_file():
        raise UsageError(f"the run {path} has not finished: it has no model.safetensors yet",
                         f"finish it with: limner train --resume {path}")  # fmt: skip
    raise UsageError(f"{path} is a folder with no model.safetensors in it", "give a model file or a run folder")


def sample(request: Sample) -> Iterator[Event]:
    """Make pictures, telling events; the last one is Finished.

    raises UsageError, ModelError, LimnerError
    """
    path = model_file(request.model)
    sheet = request.out is None or request.out.suffix.lower() == ".png"
    if request.out is not None and request.out.suffix.lower() not in ("", ".png"):
        raise UsageError(f"samples are written as .png, not {request.out.suffix}", "give --out FILE.png or a folder")
    out = request.out or path.with_name("samples.png" if request.interpolate is None else "interpolation.png")
    # Samples without --out are named for us, so a free name is found; a name that a person gave is never taken over.
    out = _free(out) if request.out is None and not request.force else out
    refuse_existing(out, request.force)
    if sheet and request.count > 10_000:
        raise UsageError(f"{request.count:,} pictures do not fit on one sheet", "give --out FOLDER for separate files")

    from limner.models.model import load
    from limner.training.world import pick_device

    if request.backend == "torch":
        model = load(path).to(pick_device(request.device))
    else:
        model = yield from _moved(load(path), request)
    if request.interpolate is not None:
        yield from _walk(request, model, out)
        return
    began = time.perf_counter()
    made = []
    noise = model.noise(request.count, request.seed) * request.truncation
    recipe = {"seed": request.seed, "count": request.count, "truncation": request.truncation, **_by(request)}
    recipe |= {} if request.label is None else {"label": request.label}
    recipe |= {} if request.text is None else {"text": request.text}
    # Points are drawn together on one picture.
    step = _BATCH if model.method.signal.rank else request.count
    for start in range(0, request.count, step):
        pictures = model.decode(noise[start : start + step], request.label, recipe, request.text)
        if sheet:
            made.append(pictures)
        else:
            pictures.save_each(out, start)
        done = min(start + step, request.count)
        speed = done / (time.perf_counter() - began)
        yield Progress("sample", done, request.count, "pictures", speed, "images/s", (request.count - done) / speed)
    if sheet:
        from limner.models.pictures import joined

        joined(made).save(out, request.columns)
    yield Saved("samples", out)
    yield Finished("sample", {"out": str(out), "count": request.count, "seed": request.seed, "model": model.sha256},
                   (f"limner show {out if sheet else out / '000000.png'}",))  # fmt: skip


def _moved(model: Model, request: Sample) -> Generator[Event, None, Model]:
    """The model with its graph run by another program."""
    if request.device not in ("auto", "cpu"):
        raise UsageError(f"--backend {request.backend} computes on the CPU, not on {request.device}",
                         "leave out --device or --backend")  # fmt: skip
    from limner.models.onnx import moved

    assert request.backend != "torch"
    there, difference = moved(model, request.backend)
    yield Note(f"{request.backend} computes; its samples differ from PyTorch's by {difference:.1e} at most")
    return there


def _by(request: Sample) -> dict[str, str]:
    """What computed, for the recipe, where a value may differ by a rounding."""
    return {} if request.backend == "torch" else {"backend": request.backend}


def _walk(request: Sample, model: Model, out: Path) -> Iterator[Event]:
    """From one seed's noise to another's on the sphere that normal noise lies near."""
    import numpy as np

    from limner.data.images import save_animation
    from limner.models.pictures import between

    assert request.interpolate is not None
    count = max(2, request.count)
    a, b = model.noise(1, request.seed)[0], model.noise(1, request.interpolate)[0]
    path = between(a, b, count) * request.truncation
    recipe = {"from": request.seed, "to": request.interpolate, "count": count, **_by(request)}
    recipe |= {} if request.text is None else {"text": request.text}
    pictures = model.decode(path, request.label, recipe, request.text)
    strip, film = (out, out.with_suffix(".gif")) if out.suffix else (out / "strip.png", out / "walk.gif")
    if request.out is not None:
        refuse_existing(film, request.force)
    pictures.save(strip, columns=count)
    yield Saved("strip", strip)
    there_and_back = np.concatenate([pictures.array, pictures.array[-2:0:-1]])
    save_animation(there_and_back, film)
    yield Saved("animation", film)
    yield Finished("sample", {"out": str(strip), "animation": str(film), "count": count, "model": model.sha256})


def _free(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
