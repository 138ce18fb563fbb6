"""PacGAN: the discriminator judges several samples together, and so sees when the fakes are all alike.

A generator that makes one mode well passes where samples are judged one by one. Here m samples are joined, all real or
all fake, and get one verdict: m fakes of the same kind are no likely draw from the data. Both players move at once,
from one pass, as in the authors' code for points; where batch norm mixes the packs, the generator moves second. The
generator's batch norm sees all fakes of a step at once, where the authors' sees each position of the packs by itself.

Source: Lin et al. 2018, arXiv:1712.04086
Task: generate
Expect: limner train pacgan --data ring --epochs 10 --threads 1 --seed 42
        then limner evaluate: 8 of 8 modes, 84 % of the points of high quality, reverse KL .06; real data have 8, 99 %
        and .0006 (benchmarks/results/expectations.md)
"""

from collections.abc import Iterator
from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from limner.core.config import NetworksConfig
from limner.core.method import Batch, Move, Turn
from limner.core.signal import Signal
from limner.losses.adversarial import cross_entropy_discriminator, non_saturating_generator, scores
from limner.nn.discriminators import together
from limner.nn.pair import pair
from limner.tasks.generate import Generate

# The paper's protocol for mixtures in the plane.
_MIXTURE = {
    "latent": 2,
    "batch": 100,
    "generator": {"lr": 1e-4, "beta1": 0.8},
    "discriminator": {"lr": 1e-4, "beta1": 0.8},
}


class Config(NetworksConfig):
    """The choices of a PacGAN."""

    packed: int = Field(default=2, ge=1, le=64)
    """Samples that are judged together; 1 is a plain GAN. For points latent 2, batch 100, lr 1e-4 and beta1 .8 are
    taken where none are given."""
    conditioning: Literal["none", "concat"] = "none"
    """Learn classes: noise and samples are joined by the class."""

    def settle(self, signal: Signal) -> Self:
        """Pick the networks for the signal, and for points the paper's protocol."""
        settled = super().settle(signal)
        return settled.varied(_MIXTURE) if settled.network == "mixture" else settled


class PacGAN(Generate):
    """GAN with a discriminator of packs of samples."""

    batchwise = True

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__(config, signal)
        self.latent, self.conditional = config.latent, config.labelled
        self.batches = config.packed
        self.generator, self.discriminator = pair(config, signal, packed=config.packed)
        self.alone = not any(isinstance(layer, _BatchNorm) for layer in self.discriminator.modules())

    def step(self, batch: Batch) -> Iterator[Move]:
        label = batch.get("label")
        fake = self.generate(self.noise(len(batch["x"]), self.latent), label)
        real, fake, label = self.packs(batch["x"]), self.packs(fake), self.labels(label)
        if self.alone:
            on_real, on_fake = together(self.discriminator, real, fake, label)
        else:
            on_real, on_fake = self.discriminator(real, label), self.discriminator(fake.detach(), label)
        guess = Turn("discriminator", cross_entropy_discriminator(on_real, on_fake), scores(on_real, on_fake))
        if self.alone:
            yield guess, Turn("generator", non_saturating_generator(on_fake), through=(fake, on_fake))
        else:
            yield guess
            yield Turn("generator", non_saturating_generator(self.discriminator(fake, label)))

    def packs(self, x: Tensor) -> Tensor:
        """Samples joined along the channels.

        x       (packed·N, C, *size)   `packed` batches, one after the other
        returns (N, packed·C, *size)   the n-th pack is the n-th sample of each batch
        """
        return torch.cat(x.chunk(self.batches), 1)

    def labels(self, label: Tensor | None) -> Tensor | None:
        """(packed·N,) classes → (N, packed), as `packs` joins what they belong to."""
        return None if label is None else torch.stack(label.chunk(self.batches), 1)
