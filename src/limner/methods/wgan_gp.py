"""WGAN-GP: a critic measures how far the fakes are from the real samples, and its slope is held at 1.

The critic gives no verdict but a score, and the difference of its means on real samples and on fakes is a distance
that falls as the fakes get better. For that its slope must nowhere be above 1: on the straight lines between fakes and
real samples, every slope that is not 1 costs it. It moves several times, each time on samples of its own, before the
generator moves once.

Source: Gulrajani et al. 2017, arXiv:1704.00028, algorithm 1
Task: generate
Expect: limner train wgan_gp --data digits --width 32 --epochs 150 --threads 1 --seed 42
        then limner evaluate: FD-digits 4.39, coverage .11, 10 of 10 classes; real data have .07, .97 and 10
        (benchmarks/results/expectations.md)
"""

from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor
from torch.special import ndtr

from limner.core.config import Adam, NetworksConfig
from limner.core.method import Batch, Move, Turn
from limner.core.signal import Signal
from limner.losses.adversarial import hinge_generator, scores, wasserstein_critic
from limner.losses.penalties import between, share, unit_slope
from limner.nn.pair import pair
from limner.tasks.generate import Generate


class Config(NetworksConfig):
    """The choices of a WGAN-GP; the defaults are those of the paper's algorithm 1."""

    penalty: float = Field(default=10.0, ge=0)
    """Weight of the slope's distance from 1."""
    critic_steps: int = Field(default=5, ge=1)
    """Moves of the critic before each of the generator's; each reads a batch of its own."""
    batch: int = Field(default=64, ge=1)
    """Samples of a batch, over all processes."""
    generator: Adam = Adam(lr=1e-4, beta1=0.0, beta2=0.9)
    """How the generator's weights move."""
    discriminator: Adam = Adam(lr=1e-4, beta1=0.0, beta2=0.9)
    """How the critic's weights move."""


class WGANGP(Generate):
    """Wasserstein GAN with gradient penalty. Its critic judges each sample alone: it has no batch norm."""

    odds = False

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__(config, signal)
        self.latent, self.conditional = config.latent, config.labelled
        self.batches, self.weight = config.critic_steps, config.penalty
        self.generator, self.discriminator = pair(config, signal, norm=False)

    def step(self, batch: Batch) -> Iterator[Move]:
        for part in self.split(batch):
            real, label = part["x"], part.get("label")
            with torch.no_grad():
                fake = self.generate(self.noise(len(real), self.latent), label)
            on_real, on_fake = self.discriminator(real, label), self.discriminator(fake, label)
            # Φ of a normal number is uniform between 0 and 1.
            middle = between(real, fake, ndtr(self.noise(len(real))))
            penalty = unit_slope(self.discriminator(middle, label), middle)
            loss, weighed = wasserstein_critic(on_real, on_fake), self.weight * penalty
            values = {**scores(on_real, on_fake), "penalty": penalty, "penalty_share": share(weighed, loss)}
            yield Turn("discriminator", loss + weighed, values)
        fake = self.generate(self.noise(len(real), self.latent), label)
        yield Turn("generator", hinge_generator(self.discriminator(fake, label)))

    def score(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        scored: Tensor = self.discriminator(x, label)
        return scored
