"""Fine-tuning: beginning from a saved model, with the discriminator's first layers kept as they are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limner.core import catalog
from limner.core.errors import LimnerError, ModelError, UsageError, command
from limner.core.method import Method
from limner.core.signal import Signal
from limner.core.tensorfile import read_header, read_tensors
from limner.tasks.generate import Captioned, Generate
from limner.training.wrap import judges


def start_from(path: Path, method: Method, name: str) -> str:
    """Give a method the weights of a saved model. All of its networks are in the file, its discriminator too.

    method   freshly built
    name     the method's name
    returns  the model's SHA-256
    raises   UsageError   if the model is of another method, or of networks of other shapes
             ModelError   if the file is no limner model, or is damaged
    """
    header, tensors = read_tensors(path, "model")
    if (other := header.get("method")) != name:
        raise UsageError(
            f"--init {path} is a model of {other}, and this is a run of {name}",
            command("train", other, "--init", path) if other in catalog.names() else f"give a model of {name}",
        )
    own = method.state_dict()
    for key in sorted(own.keys() | tensors.keys()):
        there, needed = (tuple(some[key].shape) if key in some else None for some in (tensors, own))
        if there != needed:
            raise UsageError(
                f"--init {path} does not fit: '{key}' is {there or 'not there'}, needed {needed or 'nowhere'}",
                difference(header.get("config", {}), method) or _shape(header.get("signal") or {}, method.signal),
            )
    try:
        method.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(f"--init {path} does not fit: {error}") from None
    return str(header["sha256"])


def renamed(path: Path, method: Generate, classes: Sequence[str]) -> str | None:
    """A sentence where a saved model learned classes of other names, which its weights know by number only.

    method   begins with the model's weights
    classes  of the data that it goes on with
    raises   ModelError   if the file is no limner model, or is damaged
    """
    before = (read_header(path, "model").get("data") or {}).get("classes") or ()
    if not method.conditional or isinstance(method, Captioned) or not before or list(before) == list(classes):
        return None
    first = next(i for i, (a, b) in enumerate(zip(before, classes, strict=False)) if a != b)
    return (
        f"--init {path} learned classes of other names, and each goes on as the one of its number: "
        f"{first} was '{before[first]}' and is '{classes[first]}'"
    )


def difference(there: Mapping[str, Any], method: Method) -> str:
    """A hint with the flags that give this run the networks of another, where settings of networks differ; else ''.

    there   the other's settings, plain values by name
    """
    here = method.config.model_dump(mode="json")
    flags = [
        _flag(name, value)
        for name, value in there.items()
        if name in here and here[name] != value and not isinstance(value, Mapping) and _shapes(method, name, value)
    ]
    return f"build it alike: {' '.join(flags)}" if flags else ""


def _shape(there: Mapping[str, Any], signal: Signal) -> str:
    """A hint with the flags that give this run's pictures the shape of another's, where flags can."""
    size, channels, flags = tuple(there.get("size") or ()), there.get("channels"), []
    if len(size) == 2 == signal.rank:
        flags += [f"--size {size[0]}"] if size != signal.size and size[0] == size[1] else []
        flags += [f"--colour {'grey' if channels == 1 else 'colour'}"] if channels != signal.channels else []
    return f"give {' '.join(flags)}" if flags else f"its pictures or classes differ: {there}"


def _shapes(method: Method, name: str, value: Any) -> bool:
    """Whether another value of a setting makes tensors of other names or shapes."""
    try:
        # On the meta device tensors have shapes and no values, so this costs nothing.
        with torch.device("meta"):
            other = type(method)(method.config.model_copy(update={name: value}), method.signal)
    except (LimnerError, RuntimeError):
        return True
    shapes = [{key: tensor.shape for key, tensor in some.state_dict().items()} for some in (method, other)]
    return shapes[0] != shapes[1]


def _flag(name: str, value: Any) -> str:
    word = name.replace("_", "-")
    return f"--{word} {value}" if not isinstance(value, bool) else f"--{word}" if value else f"--no-{word}"


def freeze(method: Method, count: int) -> None:
    """Keep the first layers of a method's discriminators as they are: their weights are not a player's any more.

    Batch norms between them are kept as well; their running averages still follow the data.

    count    layers with weights of each, from the picture on: dense ones that come before a convolution read
             something else, a caption or a time, and are left as they are
    raises   UsageError   if there are not more layers than that

    Source: Mo et al. 2020, arXiv:2002.10964
    """
    found = judges(method, "--freeze")
    for judge in [one for some in found for one in (some if isinstance(some, nn.ModuleList) else [some])]:
        modules = list(judge.modules())
        dense = [i for i, module in enumerate(modules) if isinstance(module, nn.Linear)]
        convolutions = [i for i, module in enumerate(modules) if isinstance(module, nn.Conv2d)]
        beside = [i for i in dense if convolutions and i < convolutions[-1]]
        layers = sorted({*convolutions, *dense} - {*beside})
        if count >= len(layers):
            raise UsageError(
                f"the discriminator has {len(layers)} layers, and --freeze {count} would leave it nothing to learn",
                f"give --freeze {len(layers) - 1} or less",
            )
        for i in {*range(layers[0], layers[count])} - {*beside} if count else ():
            for weight in modules[i].parameters(recurse=False):
                weight.requires_grad_(False)
