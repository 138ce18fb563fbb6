"""Sample: make pictures with a trained model."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from limner.core.errors import UsageError, command
from limner.core.events import Event, Finished, Note, Progress, Saved
from limner.core.files import refuse_existing
from limner.core.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from limner.core.signal import Signal
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
    """Pictures in a row of the sheet; about square where it is not given, or a column for each of up to 20 classes."""
    class_: str | None = Field(default=None, alias="class", coerce_numbers_to_str=True)
    """The class to make, by name, or by its number from 0 unless names are other numbers, for models that learned
    classes; each in turn where it is not given."""
    text: str | None = Field(default=None, max_length=1000)
    """What to make, in words, for models that learned captions; a few captions of their data where it is not given."""
    truncation: float = Field(default=1.0, gt=0, le=2)
    """Scales the noise: below 1 gives more typical and less varied pictures."""
    interpolate: int | None = Field(default=None, ge=0)
    """Another seed: walk from --seed to it in --count pictures, as a strip and a GIF."""
    project: Path | None = None
    """A picture: look for the noise whose sample is nearest to it, and show both side by side."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes the fastest there is."""
    backend: Literal["torch", "onnxruntime", "openvino"] = "torch"
    """What computes. The other two make the same pictures, to within 1e-4, on the CPU."""
    force: bool = False
    """Overwrite what stands in --out."""


_BATCH = 250
_MOST_COLUMNS = 20
_MOST_POINTS = 100_000
"""Points that are made at once, for one picture."""
_PROJECTION_STEPS = 300
_TELL_EVERY = 0.2


def model_file(path: Path) -> Path:
    """The model file that a person means: the file itself, or the one in a run folder."""
    inside = path / "model.safetensors"
    if not path.exists():
        raise UsageError(f"there is no file {path}", "a run ends with RUN/model.safetensors")
    if not path.is_dir() or inside.is_file():
        return inside if path.is_dir() else path
    if (path / "settings.json").is_file():
        raise UsageError(f"the run {path} has not finished: it has no model.safetensors yet",
                         f"finish it with: {command('train', '--resume', path)}")  # fmt: skip
    raise UsageError(f"{path} is a folder with no model.safetensors in it", "give a model file or a run folder")


def sample(request: Sample) -> Iterator[Event]:
    """Make pictures, telling events; the last one is Finished.

    raises UsageError, ModelError, LimnerError
    """
    path = model_file(request.model)
    sheet = request.out is None or request.out.suffix.lower() == ".png"
    if request.out is not None and request.out.suffix.lower() not in ("", ".png"):
        raise UsageError(f"samples are written as .png, not {request.out.suffix}", "give --out FILE.png or a folder")
    if request.interpolate is not None and request.project is not None:
        raise UsageError(
            "--interpolate walks between two seeds, and --project begins with a picture", "give one of them"
        )
    if request.project is not None and (vain := {"count", "truncation", "columns"} & request.model_fields_set):
        raise UsageError(
            f"--project looks for one picture's noise, and takes no --{min(vain)}", f"leave out --{min(vain)}"
        )
    wish = "projection" if request.project is not None else "samples"
    out = request.out or path.with_name(f"{wish if request.interpolate is None else 'interpolation'}.png")
    # Samples without --out are named for us, so a free name is found; a name that a person gave is never taken over.
    out = _free(out) if request.out is None and not request.force else out
    refuse_existing(out, request.force)
    if request.interpolate is not None and request.count < 2:
        raise UsageError("a walk from one picture to another has two of them at least", "give --count 2 or more")
    if request.columns is not None and (request.interpolate is not None or not sheet):
        why = "a walk is one row" if request.interpolate is not None else "separate files have no rows"
        raise UsageError(f"--columns is for a sheet, and {why}", "leave out --columns")
    if request.project is not None and request.backend != "torch":
        raise UsageError(f"--project needs gradients, which {request.backend} does not give", "leave out --backend")

    from limner.models.model import load
    from limner.tasks.generate import Captioned
    from limner.training.processor import for_heavy_work
    from limner.training.world import pick_device

    for_heavy_work()
    if request.backend == "torch":
        model = load(path).to(pick_device(request.device))
    else:
        model = yield from _moved(load(path), request)
    # Points are drawn together on one picture.
    together = not model.method.signal.rank and request.interpolate is None
    if together and request.count > _MOST_POINTS:
        raise UsageError(f"{request.count:,} points do not fit on one picture", f"ask for {_MOST_POINTS:,} at most")
    if sheet and not together and request.count > 10_000:
        raise UsageError(f"{request.count:,} pictures do not fit on one sheet", "give --out FOLDER for separate files")
    if request.interpolate is not None:
        yield from _walk(request, model, out)
        return
    if request.project is not None:
        yield from _project(request, model, request.project, out)
        return
    began = time.perf_counter()
    made = []
    noise = model.noise(request.count, request.seed, request.truncation)
    recipe = {"seed": request.seed, "count": request.count, **_how(request)}
    labels = model.labels(request.count, request.class_, request.text)
    kind, turns = _turns(request, model)
    if sheet and turns:
        recipe[kind] = "each in turn"
    columns = request.columns or (len(turns) if kind == "label" and len(turns) <= _MOST_COLUMNS else None)
    if isinstance(model.method, Captioned) and turns:
        # By place, as classes are, so that the batches do not each begin with the first.
        labels = model.method.in_turn(len(turns))
    if not sheet:
        _clear(out)
    step = request.count if together else _BATCH
    for start in range(0, request.count, step):
        some = range(start, min(start + step, request.count))
        told = None if labels is None else labels[[i % len(labels) for i in some]]
        pictures = model.decode(noise[some.start : some.stop], told, recipe)
        if sheet:
            made.append(pictures)
        else:
            pictures.save_each(out, start, [{kind: turns[i % len(turns)]} for i in some] if turns else ())
        done = some.stop
        speed = done / (time.perf_counter() - began)
        yield Progress("sample", done, request.count, "pictures", speed, "images/s", (request.count - done) / speed)
    if sheet:
        from limner.models.pictures import joined

        joined(made).save(out, columns)
    yield Saved("samples", out)
    yield Finished("sample", {"out": str(out), "count": request.count, "seed": request.seed, "model": model.sha256},
                   (command("show", out if sheet else out / "000000.png"),))  # fmt: skip


def _turns(request: Sample, model: Model) -> tuple[str, Sequence[Any]]:
    """What pictures are made of in turn where nobody said which: what a recipe calls it, and one after the other."""
    from limner.tasks.generate import EXAMPLES, Captioned, Generate

    method = model.method
    if request.class_ is not None or request.text is not None or not isinstance(method, Generate):
        return "", ()
    if isinstance(method, Captioned):
        return "example", range(EXAMPLES)
    if not method.conditional:
        return "", ()
    names = model.header["data"].get("classes")
    classes = method.signal.classes
    return "label", names if isinstance(names, list) and len(names) == classes else range(classes)


def _clear(folder: Path) -> None:
    """Take away an earlier call's samples, which would lie among the new ones; nothing that limner did not make."""
    from limner.data.images import read_recipe

    for old in folder.glob("[0-9]" * 6 + ".png"):
        if read_recipe(old):
            old.unlink()


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


def _how(request: Sample) -> dict[str, Any]:
    """What was asked for, for the recipe; and what computed, where a value may differ by a rounding."""
    asked = {"truncation": request.truncation, "label": request.class_, "text": request.text}
    by = {} if request.backend == "torch" else {"backend": request.backend}
    return {name: value for name, value in asked.items() if value is not None} | by


def _walk(request: Sample, model: Model, out: Path) -> Iterator[Event]:
    """From one seed's noise to another's on the sphere that normal noise lies near."""
    import numpy as np

    from limner.data.images import save_animation
    from limner.models.pictures import between
    from limner.tasks.generate import Generate

    assert request.interpolate is not None
    count = request.count
    a, b = (model.noise(1, seed, request.truncation)[0] for seed in (request.seed, request.interpolate))
    recipe = {"from": request.seed, "to": request.interpolate, "count": count, **_how(request)}
    labels = model.labels(count, request.class_, request.text)
    picks = model.method.picks if isinstance(model.method, Generate) else 0
    if request.class_ is None and request.text is None and isinstance(model.method, Generate):
        # A walk stays with one class or caption: the first, if none is given.
        first = model.method.in_turn(1)
        labels = None if first is None else first.expand(count, *first.shape[1:])
    noise = between(a, b, count)
    noise[:, :picks] = a[:picks]
    pictures = model.decode(noise, labels, recipe)
    strip, film = (out, out.with_suffix(".gif")) if out.suffix else (out / "strip.png", out / "walk.gif")
    if request.out is not None:
        refuse_existing(film, request.force)
    pictures.save(strip, columns=count)
    yield Saved("strip", strip)
    there_and_back = np.concatenate([pictures.array, pictures.array[-2:0:-1]])
    save_animation(there_and_back, film)
    yield Saved("animation", film)
    yield Finished("sample", {"out": str(strip), "animation": str(film), "count": count, "model": model.sha256})


def _project(request: Sample, model: Model, picture: Path, out: Path) -> Iterator[Event]:
    """From a picture to the noise whose sample is nearest to it."""
    import torch

    from limner import features
    from limner.data.dataset import Manifest
    from limner.metrics.figures import suited
    from limner.models.latent import nearest
    from limner.models.pictures import Pictures
    from limner.tasks.generate import Generate

    method, signal = model.method, model.method.signal
    if not isinstance(method, Generate) or signal.rank != 2:
        raise UsageError(f"--project works on models of pictures, and {request.model} makes {signal.describe()}",
                         "leave out --project")  # fmt: skip
    target = _read(picture, signal)
    eye = None
    if model.header.get("data"):
        name = suited(Manifest.model_validate(model.header["data"]))
        yield from features.fetch(name)
        eye = features.load(name).to(method.device)
    anything = request.class_ is None and request.text is None
    labels = None if anything else model.labels(1, request.class_, request.text)
    yield Note("looking among random samples for the one to begin with")
    began, told = time.perf_counter(), 0.0
    looking = nearest(method.eval(), target, eye, steps=_PROJECTION_STEPS, seed=request.seed, label=labels)
    for step, nearer in enumerate(looking):
        found = nearer
        passed = time.perf_counter() - began
        if step and (passed - told > _TELL_EVERY or step == _PROJECTION_STEPS):
            told, speed = passed, step / passed
            left = (_PROJECTION_STEPS - step) / speed
            yield Progress("sample", step, _PROJECTION_STEPS, "steps", speed, "steps/s", left)
    recipe = {
        "method": model.name, "model": model.sha256, "project": picture.name, "seed": request.seed, **_how(request),
        "settings": model.header["config"],
    }  # fmt: skip
    both = out if out.suffix else out / "projection.png"
    Pictures.of(torch.stack([target, found.sample]), recipe).save(both, columns=2)
    yield Saved("picture and nearest sample", both)
    seen = "" if eye is None else f", their {eye.name} features by {found.features:.3f} of at most 2"
    yield Note(f"the nearest sample's pixels differ by {found.pixels / 2:.3f} of the range from black to white{seen}")
    label = {} if found.label is None or found.label.dim() > 1 else {"label": int(found.label)}
    yield Finished("sample", {"out": str(both), "pixel_distance": found.pixels, "feature_distance": found.features,
                              "features": None if eye is None else eye.name, **label,
                              "latent": found.z.tolist(), "model": model.sha256})  # fmt: skip


def _read(picture: Path, signal: Signal) -> Tensor:
    """A picture's file as the model's samples are: (C, H, W) in [-1, 1]."""
    import torch

    from limner.data.images import ImageProblem, decode

    try:
        data = picture.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {picture}: {(error.strerror or '').lower()}", "check the path") from None
    height, width = signal.size
    found = decode(data, channels=signal.channels, size=(height, width))
    if isinstance(found, ImageProblem):
        raise UsageError(f"{picture} {found.reason}", "give a picture")
    return torch.tensor(found).float() / 127.5 - 1


def _free(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
