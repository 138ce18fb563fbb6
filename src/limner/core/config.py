"""What every method's settings have: how a player moves, and how long training goes."""

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field

from limner.core.errors import UsageError
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
    until: float = Field(default=1.0, gt=0, le=1)
    """The share of the run after which a schedule stands still."""
    beta2_final: float | None = Field(default=None, ge=0, lt=1)
    """beta2 at the end of the schedule, where it changes along with the rate."""

    def left(self, progress: float) -> float:
        """How much of the schedule is still to come, from 1 at the start to 0.

        progress   0 to 1, of the run after the warm-up
        """
        done = min(1.0, progress / self.until)
        if self.schedule == "linear":
            return 1 - done
        return (1 + math.cos(math.pi * done)) / 2 if self.schedule == "cosine" else 1.0

    def memory(self, progress: float) -> tuple[float, float]:
        """β1 and β2 at this much of the run."""
        last = self.beta2 if self.beta2_final is None else self.beta2_final
        return self.beta1, last + (self.beta2 - last) * self.left(progress)


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


class AdversarialConfig(TrainingConfig):
    """What every game of a generator and a discriminator lets a person choose."""

    latent: int = Field(default=100, ge=1)
    """Random numbers that make one sample."""
    conditioning: Literal["none", "concat", "projection"] = "none"
    """Learn classes: the generator's noise is joined by the class, and the discriminator sees it joined to the sample
    (concat) or multiplied with its features (projection)."""
    generator: Adam = Adam(lr=2e-4, beta1=0.5)
    """How the generator's weights move."""
    discriminator: Adam = Adam(lr=2e-4, beta1=0.5)
    """How the discriminator's weights move."""

    @property
    def labelled(self) -> bool:
        """Whether classes are learned."""
        return self.conditioning != "none"

    def settle(self, signal: Signal) -> Self:
        """See that there are classes, if they are to be learned.

        raises UsageError   if there are none
        """
        if self.labelled and not signal.classes:
            raise UsageError(
                f"--conditioning {self.conditioning} needs classes, and these data have no labels",
                "put the pictures of each class in a subfolder of its own, or leave it out",
            )
        return self


Network = Literal["auto", "dense", "dcgan", "mnist", "mixture", "tiny_quarter", "tiny_half"]
"""The pairs of networks that limner.nn.generators and limner.nn.discriminators build."""
WIDTHS = {"dense": 256, "dcgan": 64, "mnist": 64, "mixture": 400, "tiny_quarter": 8, "tiny_half": 8}
"""The published width of each; 256 for dense, which has none."""


class NetworksConfig(AdversarialConfig):
    """What a game over shared networks lets a person choose."""

    network: Network = "auto"
    """Which pair of networks. dense: plain layers; dcgan: strided convolutions; mnist: 5x5 kernels with dropout;
    mixture: PacGAN's, for points; tiny: those of unrolled GANs, with a discriminator of a quarter or half the size.
    auto takes mixture for points, dcgan for pictures that can be halved down to 4 to 7 px, dense otherwise."""
    width: int = Field(default=0, ge=0)
    """The networks' measure: channels next to the picture, or units of a layer; 0 takes the published one."""
    spectral: bool = False
    """Divide each of the discriminator's weights by its largest stretch (and leave out its batch norm)."""

    def settle(self, signal: Signal) -> Self:
        """Pick the networks for the signal, and their width."""
        settled = super().settle(signal)
        chosen = settled.network
        if chosen == "auto":
            chosen = "mixture" if signal.rank == 0 else "dcgan" if signal.halvings() else "dense"
        return settled.model_copy(update={"network": chosen, "width": settled.width or WIDTHS[chosen]})


class DiffusionConfig(TrainingConfig):
    """What every method that learns to remove noise lets a person choose."""

    variant: Literal["small", "paper"] = "small"
    """How large a U-Net: small learns on a processor, paper is the published one (DDPM++, for a GPU)."""
    width: int = Field(default=0, ge=0)
    """Channels of the largest map; 0 takes the variant's: 32 or 128."""
    conditioning: Literal["auto", "none", "class"] = "auto"
    """Learn classes, so that one can be asked for; auto does where the data have labels."""
    levels: int = Field(default=18, ge=1, le=1000)
    """Noise levels that a sample passes through: more are slower and more exact."""
    denoiser: Adam = Adam(lr=1e-3, warmup=100)
    """How the network's weights move."""

    def settle(self, signal: Signal) -> Self:
        """Pick the width, and whether to learn classes.

        raises UsageError   if these are no pictures, or classes are wished for and there are none
        """
        if signal.rank != 2:
            raise UsageError(f"this method makes pictures, not {signal.describe()}", "train gan, for example")
        if self.conditioning == "class" and not signal.classes:
            raise UsageError(
                "--conditioning class needs classes, and these data have no labels",
                "put the pictures of each class in a subfolder of its own, or leave it out",
            )
        learned = "class" if signal.classes and self.conditioning != "none" else "none"
        width = self.width or (32 if self.variant == "small" else 128)
        return self.model_copy(update={"conditioning": learned, "width": width})


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Plain settings laid over others, nested ones name by name."""
    result = dict(under)
    for name, value in over.items():
        below = result.get(name)
        result[name] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result
