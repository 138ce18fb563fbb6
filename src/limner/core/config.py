"""What every method's settings have: how a player moves, and how long training goes."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field

from limner.core.settings import Settings
from limner.core.signal import Signal


class Adam(Settings):
    """How a player's weights move: Adam, with a schedule over the run.

    Source: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1
    """

    lr: float = Field(default=1e-4, gt=0, le=1)
    """Learning rate: how far a step moves the weights."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Memory of the gradient's mean. GANs often like .5 or 0."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Memory of the gradient's square."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the denominator."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the rate falls over the run, after the warm-up."""
    warmup: int = Field(default=0, ge=0)
    """Steps in which the rate rises from 0."""
    final: float = Field(default=0.0, ge=0, le=1)
    """The rate at the end of a falling schedule, as a share of lr."""


class TrainingConfig(Settings):
    """What every method's training lets a person choose. A method's Config adds its own."""

    epochs: float = Field(default=50, gt=0)
    """Passes over the data. --steps overrides it."""
    batch: int = Field(default=128, ge=1)
    """Samples a step learns from, over all processes."""
    average: float = Field(default=10.0, ge=0)
    """Half-life of the weights' moving average, in thousands of samples (kimg); 0 keeps the last weights."""

    def settle(self, signal: Signal) -> Self:
        """These choices with what depends on the data filled in, e.g. a variant for its size."""
        return self

    def varied(self, presets: Mapping[str, Any]) -> Self:
        """The same choices over other defaults: a person's own values win over `presets`."""
        return self.read(merged(presets, self.model_dump(exclude_unset=True)))


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Plain settings laid over others, nested ones name by name."""
    result = dict(under)
    for name, value in over.items():
        below = result.get(name)
        result[name] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result
