"""GAN: the first generative adversarial network, two plain multi-layer perceptrons.

A generator turns random numbers into samples; a discriminator tells real samples from made ones; each is trained
against the other. With nothing but dense layers it learns pictures as a list of pixels, or points in the plane; other
networks can take their place.

Source: Goodfellow et al. 2014, arXiv:1406.2661, algorithm 1
Task: generate
Expect: limner train gan --data ring --latent 2 --width 128 --batch 500 --epochs 10 --threads 1 --seed 42
        then limner evaluate: 8 of 8 modes, 69 % of the points of high quality, reverse KL .53; real data have 8, 99 %
        and .0006 (benchmarks/results/expectations.md). On MNIST, 50 epochs with --seed 42: FD-digits 3.5, coverage .65,
        where real data have .0053 and .97 (benchmarks/results/evaluate_mnist.md)
"""

from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from limner.core.config import Network, NetworksConfig
from limner.core.method import Batch, Move, Turn
from limner.core.signal import Signal
from limner.losses.adversarial import (
    cross_entropy_discriminator,
    minimax_generator,
    non_saturating_generator,
    scores,
)
from limner.nn.pair import pair
from limner.tasks.generate import Generate


class Config(NetworksConfig):
    """The choices of a GAN."""

    network: Network = "dense"
    """Which pair of networks: dense layers as published, or another method's."""
    loss: Literal["non_saturating", "minimax"] = "non_saturating"
    """What the generator minimises: -log D(G(z)), or the zero-sum log(1 - D(G(z)))."""


class GAN(Generate):
    """Generative adversarial network."""

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__(config, signal)
        self.latent, self.conditional = config.latent, config.labelled
        self.generator, self.discriminator = pair(config, signal)
        self.cost = minimax_generator if config.loss == "minimax" else non_saturating_generator

    def step(self, batch: Batch) -> Iterator[Move]:
        real, label = batch["x"], batch.get("label")
        fake = self.generate(self.noise(len(real), self.latent), label)
        on_real, on_fake = self.judge(real, label), self.judge(fake.detach(), label)
        yield Turn("discriminator", cross_entropy_discriminator(on_real, on_fake), scores(on_real, on_fake))
        yield Turn("generator", self.cost(self.judge(fake, label)))

    def judge(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return self.discriminator(x, label)
