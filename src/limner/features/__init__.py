"""Frozen eyes: networks that turn pictures into vectors, for metrics and perceptual losses.

`load(name)` gives one; listing names imports no torch.
"""

from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from limner.core.errors import UsageError, nearest
from limner.core.events import Event

if TYPE_CHECKING:
    from limner.features.network import Features

SUMMARIES = {
    "digits": "reads 28×28 px grey digits; shipped",
    "efficientnet": "knows photographs (EfficientNet-lite0, ImageNet); fetched once from the package registry",
    "inception": "the network of FID; needs its weights' file",
    "stacked": "reads three stacked digits, one a channel: 1,000 classes; shipped",
    "tiny": "random weights, for tests",
}
"""Every feature network's name, and what it sees."""


def fetch(name: str) -> Generator[Event, None, None]:
    """Fetch what `load` will need and the cache does not hold, telling of it.

    raises DataError   if it can't be fetched
    """
    if name == "efficientnet":
        from limner.features.efficientnet import fetch as weights

        yield from weights()


def load(name: str, weights: Path | None = None) -> "Features":
    """A feature network by name. Imports torch.

    name    one of SUMMARIES
    weights a file of weights; needed for "inception", and taken by no other but "digits"
    raises  UsageError   if there is no such network, or it needs or takes no file
    """
    if name not in SUMMARIES:
        raise UsageError(f"there are no features '{name}'", nearest(name, SUMMARIES))
    if name == "inception" and weights is None:
        from limner.features.inception import FILE

        raise UsageError("the features 'inception' need their weights", f"give the file {FILE}")
    if weights is not None and name not in ("inception", "digits"):
        raise UsageError(f"the features '{name}' take no weights' file")
    module = import_module(f"limner.features.{name}")
    network: Features = module.load() if weights is None else module.load(weights)
    return network
