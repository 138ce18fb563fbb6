"""limner: every way of making images with neural networks, working on the machine you have.

for event in limner.train("dcgan", data="mnist", epochs=1): print(event)
limner.load("runs/dcgan-001/model.safetensors").generate(16, seed=0)
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core import __version__
from limner.core.events import Event

if TYPE_CHECKING:
    from limner.models.model import Model

__all__ = ["__version__", "load", "train"]


def train(method: str | None = None, **choices: Any) -> Iterator[Event]:
    """Train a method. Choices are the command line's, with `_` for `-` and nested settings as mappings.

    for event in limner.train("dcgan", data="mnist", epochs=1, generator={"lr": 2e-4}): print(event)

    raises UsageError, DataError, LimnerError   as the command line would print them
    """
    from limner.operations.train import Train, split_choices
    from limner.operations.train import train as run

    if method is None:
        yield from run(None, Train.read(choices))
    else:
        request, config = split_choices(method, choices)
        yield from run(method, request, config)


def load(path: str | Path) -> "Model":
    """Read a model file: `limner.load(path).generate(16, seed=0)`.

    raises ModelError, UsageError   if it is no limner model, or damaged
    """
    from limner.models.model import load as read

    return read(path)
