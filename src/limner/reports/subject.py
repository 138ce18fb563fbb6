"""Subject: what a report judges: a model's samples, or a set of pictures; and the real data that it is held against."""

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from limner.core.errors import UsageError
from limner.core.events import Event, Warned
from limner.core.method import Batch
from limner.core.random import generator
from limner.data.builtin import BUILT_IN
from limner.data.dataset import Dataset
from limner.data.sources import open_data, open_parts
from limner.features.captions import embedded
from limner.metrics.figures import BATCH, real_samples
from limner.models.model import Model, load
from limner.tasks.generate import Captioned, Generate
from limner.training.world import pick_device

Sampler = Callable[[int, int], Iterator[Batch]]
"""(seed, count) → batches: "x" (N, C, *size) in [-1, 1], and the class or caption that each was asked for, if any."""


@dataclass(frozen=True)
class Subject:
    """What is judged.

    title    of the page
    names    of the samples and of the real pictures, in the page's sentences
    sampler  gives the samples
    most     how many there are at most; None where they are made
    model    None for a set of pictures
    facts    what the report says of it
    learned  those of the real data that the model learned from; None where it learned from others
    """

    title: str
    names: tuple[str, str]
    sampler: Sampler
    most: int | None
    model: Model | None
    facts: Mapping[str, Any]
    learned: Dataset | None = None


Found = tuple[Subject, Dataset, Dataset | None]
"""What is judged, the real data, and their held-out part where there is one."""


def model_subject(path: Path, source: str | None, device: str) -> Generator[Event, None, Found]:
    """A model's samples, beside the data that it learned from or a named set.

    path    the model file
    source  the real data; None for those that the model learned from
    device  as `pick_device` takes it
    raises  UsageError, DataError, ModelError
    """
    model = load(path).to(pick_device(device))
    method, header = model.method, model.header
    if not isinstance(method, Generate):
        raise UsageError(
            f"{path} is a model of {model.name}, which does not make pictures out of noise",
            "compare what it makes with what it should have made: limner evaluate ITS-PICTURES THE-REAL-ONES",
        )
    learned: Mapping[str, Any] = header.get("data") or {}
    fit = str(learned.get("fit") or "crop")
    source = source or source_of(path, learned)
    signal = method.signal
    shape: dict[str, Any] = {"channels": signal.channels, "fit": fit} if signal.rank == 2 else {}
    if signal.rank == 2 and signal.size[0] == signal.size[1]:
        shape["size"] = signal.size[0]
    data, held_out = yield from open_parts(source, **shape)
    if data.signal.shape != signal.shape:
        raise UsageError(
            f"{path} makes {signal.describe()}, and {source} holds {data.signal.describe()}",
            "give the --data that it learned from",
        )
    if isinstance(method, Captioned):
        data = (yield from embedded(data)) if data.captions else data
        held_out = (yield from embedded(held_out)) if held_out is not None and held_out.captions else held_out
    part = None
    if learned.get("sha256") != data.manifest.sha256:
        yield Warned(f"{source} is not what {path} learned from: its pictures differ, so copying can't be seen")
    else:
        part = data.shard(header["training"].get("shard", ""))
        if "set_aside" in header["training"]:
            part, aside = part.aside(header["training"]["seed"])
            if held_out is None:
                data, held_out = data.without(aside), aside
    told = data
    asked = method.conditional and not isinstance(method, Captioned) and data.labels is not None
    if asked and data.manifest.classes != tuple(learned.get("classes", ())):
        told = replace(data, labels=None)
        yield Warned(f"{source} has other classes than {path} learned, so each of its own is made as often")

    def sampler(seed: int, count: int) -> Iterator[Batch]:
        return draws(method, told, seed, count)

    facts = {
        "what": "model", "path": str(path), "method": model.name, "sha256": model.sha256,
        "settings": header["config"], "learned_from": learned.get("name"),
    }  # fmt: skip
    title = f"{model.name} on {data.manifest.name}"
    names = ("samples", "real points" if not signal.rank else "real pictures")
    return Subject(title, names, sampler, None, model, facts, part), data, held_out


def draws(method: Generate, data: Dataset, seed: int, count: int) -> Iterator[Batch]:
    """Samples of a seed, as `Sampler` gives them; classes or captions, where there are any, as often as in the data."""
    luck = generator(seed, "evaluate")
    told = data.text if isinstance(method, Captioned) else data.labels if method.signal.classes else None
    batch = min(BATCH, method.at_once)
    # Of classes that nothing tells each is made as often, in an order of its own: figures split samples into parts.
    turns = method.in_turn(count) if told is None else None
    if turns is not None:
        turns = turns[torch.randperm(count, generator=generator(seed, "classes"))]
    for start in range(0, count, batch):
        z = torch.randn(batch, method.latent, generator=luck)
        some = min(batch, count - start)
        asked = None if turns is None else turns[start : start + some]
        if told is not None:
            which = torch.randint(len(data), (batch,), generator=luck)[:some].numpy()
            asked = torch.from_numpy(told[data.numbers(which)])
        yield {"x": method.draw(z[:some], asked, batch), **({} if asked is None else {method.reads: asked})}


def source_of(path: Path, learned: Mapping[str, Any]) -> str:
    """What to open for the data that a model learned from.

    path     the model file
    learned  the data in its header
    raises   UsageError   if they can't be found by name
    """
    named = _source_of(path.parent) or (str(learned.get("name")) if learned.get("name") in BUILT_IN else None)
    if named is None:
        raise UsageError(
            f"the data that {path} learned from ({learned.get('name', 'unknown')}) can't be found by name",
            "give --data",
        )
    return named


def _source_of(run: Path) -> str | None:
    """What a run was told to learn from, if its settings lie beside the model and what they name is there."""
    try:
        named = json.loads((run / "settings.json").read_text(encoding="utf-8")).get("data", "mnist")
    except (OSError, ValueError, AttributeError):
        return None
    return str(named) if named in BUILT_IN or Path(str(named)).exists() else None


def pictures_subject(first: str, second: str, size: int | None, whole: bool) -> Generator[Event, None, Found]:
    """A set of pictures, beside another.

    first   what is judged: a folder, archive, pack or built-in set
    second  the real pictures
    size    px that both are brought to; None to leave them
    whole   whether all of the second is the reference; else its held-out part, if any, gives the row of real pictures
    raises  UsageError, DataError
    """
    shape: dict[str, Any] = {} if size is None else {"size": size}
    made = yield from open_data(first, **shape)
    if whole:
        data, held_out = (yield from open_data(second, **shape)), None
    else:
        data, held_out = yield from open_parts(second, **shape)
    if made.signal.shape != data.signal.shape:
        ways = []
        if made.signal.channels != data.signal.channels:
            ways.append("bring both to the same channels first: limner prepare PICTURES --colour grey")
        if made.signal.size != data.signal.size:
            ways.append(f"give both one size: --size {min(data.signal.size or (0,))}")
        raise UsageError(
            f"{first} holds {made.signal.describe()}, and {second} holds {data.signal.describe()}", "; ".join(ways)
        )

    def sampler(seed: int, count: int) -> Iterator[Batch]:
        return real_samples(made, count, seed)

    a, b = made.manifest.name, data.manifest.name
    names = (a, b) if a != b else (f"{a} (the first)", f"{b} (the second)")
    facts = {"what": "pictures", "path": first, "data": made.manifest.model_dump(mode="json")}
    return Subject(f"{a} beside {b}", names, sampler, len(made), None, facts), data, held_out
