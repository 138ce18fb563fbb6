"""GAN: the first generative adversarial network, two plain multi-layer perceptrons.

A generator turns random numbers into samples; a discriminator tells real samples from made ones; each is trained
against the other. With nothing but dense layers it learns pictures as a list of pixels, or points in the plane.

Source: Goodfellow et al. 2014, arXiv:1406.2661, algorithm 1
Task: generate
Expect: limner train gan --data ring --latent 2 --width 128 --batch 500 --epochs 10 --threads 1 --seed 42
        then limner evaluate: 8 of 8 modes, 68 % of the points of high quality, reverse KL .56; real data have 8, 99 %
        and .0006 (benchmarks/results/gan_ring.txt). On MNIST, 50 epochs with --seed 42: FD-digits 4.3, coverage .57,
        where real data have .0053 and .97 (benchmarks/results/evaluate_mnist.md)
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from limner.core.config import Adam, TrainingConfig
from limner.core.method import Batch, Move, Turn
from limner.core.signal import Signal
from limner.losses.adversarial import (
    cross_entropy_discriminator,
    minimax_generator,
    non_saturating_generator,
    scores,
)
from limner.tasks.generate import Generate


class Config(TrainingConfig):
    """The choices of a GAN."""

    latent: int = Field(default=100, ge=1)
    """Random numbers that make one sample."""
    width: int = Field(default=256, ge=1)
    """Units of the generator's first hidden layer; the next ones have 2 and 4 times as many."""
    loss: Literal["non_saturating", "minimax"] = "non_saturating"
    """What the generator minimises: -log D(G(z)), or the zero-sum log(1 - D(G(z)))."""
    generator: Adam = Adam(lr=2e-4, beta1=0.5)
    """How the generator's weights move."""
    discriminator: Adam = Adam(lr=2e-4, beta1=0.5)
    """How the discriminator's weights move."""


class GAN(Generate):
    """Generative adversarial network of dense layers."""

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__(config, signal)
        self.latent = config.latent
        self.generator = generator(config, signal)
        self.discriminator = discriminator(config, signal)
        self.cost = minimax_generator if config.loss == "minimax" else non_saturating_generator

    def step(self, batch: Batch) -> Iterator[Move]:
        real = batch["x"]
        fake = self.generate(self.noise(len(real), self.latent))
        on_real, on_fake = self.judge(real), self.judge(fake.detach())
        yield Turn("discriminator", cross_entropy_discriminator(on_real, on_fake), scores(on_real, on_fake))
        yield Turn("generator", self.cost(self.judge(fake)))

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.generator(z)

    def judge(self, x: Tensor) -> Tensor:
        return self.discriminator(x).flatten()


def generator(config: Config, signal: Signal) -> nn.Module:
    """(N, latent) → (N, C, *size) in [-1, 1]."""
    w = config.width
    return nn.Sequential(
        nn.Linear(config.latent, w),
        nn.LeakyReLU(0.2),
        nn.Linear(w, 2 * w),
        nn.LeakyReLU(0.2),
        nn.Linear(2 * w, 4 * w),
        nn.LeakyReLU(0.2),
        nn.Linear(4 * w, signal.values),
        nn.Tanh(),
        nn.Unflatten(1, signal.shape),
    )


def discriminator(config: Config, signal: Signal) -> nn.Module:
    """(N, C, *size) → (N, 1) logits, positive for real."""
    w = config.width
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(signal.values, 4 * w),
        nn.LeakyReLU(0.2),
        nn.Linear(4 * w, 2 * w),
        nn.LeakyReLU(0.2),
        nn.Linear(2 * w, w),
        nn.LeakyReLU(0.2),
        nn.Linear(w, 1),
    )
