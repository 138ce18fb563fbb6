"""GMAN: several discriminators judge the same generator, and it learns from all of them, or from the sternest.

One discriminator that is far ahead teaches little, and one that is fooled teaches wrongly. Several that began
differently are seldom fooled in the same way. Each learns as a GAN's would; the generator's loss is their mean, or that
of the discriminator which fools least. All see the same samples; in the authors' code each sees a part of the batch.

Source: Durugkar et al. 2017, arXiv:1611.01673 (GMAN-0 is the mean, GMAN-max the sternest)
Task: generate
Expect: limner train gman --data digits --width 32 --epochs 60 --threads 1 --seed 42
        then limner evaluate: FD-digits 1.32, coverage .24, 10 of 10 classes; real data have .07, .97 and 10
        (benchmarks/results/expectations.md)
"""

from collections.abc import Iterator
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from limner.core.config import NetworksConfig
from limner.core.method import Batch, Move, Turn
from limner.core.signal import Signal
from limner.losses.adversarial import cross_entropy_discriminator, non_saturating_generator, scores
from limner.nn.pair import pair
from limner.tasks.generate import Generate


class Config(NetworksConfig):
    """The choices of a GMAN."""

    judges: int = Field(default=3, ge=1, le=32)
    """Discriminators; 1 is a plain GAN."""
    listen: Literal["mean", "max"] = "mean"
    """Whom the generator learns from: all discriminators alike, or the one whose loss for it is largest."""


class GMAN(Generate):
    """GAN with several discriminators."""

    # The sternest discriminator is that of the whole batch.
    batchwise = True

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__(config, signal)
        self.latent, self.conditional, self.listen = config.latent, config.labelled, config.listen
        self.generator, first = pair(config, signal)
        self.discriminator = Jury([first, *(pair(config, signal)[1] for _ in range(config.judges - 1))])

    def step(self, batch: Batch) -> Iterator[Move]:
        real, label = batch["x"], batch.get("label")
        fake = self.generate(self.noise(len(real), self.latent), label)
        on_real, on_fake = self.discriminator(real, label), self.discriminator(fake.detach(), label)
        # Each moves by its own loss alone, so the losses may be added: no weight is in two of them. The log has one's.
        each = cross_entropy_discriminator(on_real, on_fake)
        values = {**scores(on_real.mean(1), on_fake.mean(1)), "discriminator_loss": each.mean(1)}
        yield Turn("discriminator", each.sum(1), values)
        losses = non_saturating_generator(self.discriminator(fake, label))
        yield Turn("generator", losses.mean(1) if self.listen == "mean" else losses[:, losses.mean(0).argmax()])

    def judge(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        verdicts: Tensor = self.discriminator(x, label)
        return verdicts.mean(1)


class Jury(nn.ModuleList):
    """What each discriminator says of each sample: (N, C, *size) → (N, judges)."""

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return torch.stack([judge(x, label) for judge in self], 1)
