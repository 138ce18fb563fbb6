"""LSGAN: the discriminator's scores are drawn to 1 for real samples and to 0 for fakes, by their squared distance.

A discriminator that is sure of a fake gives the first GAN's generator little to learn from. A squared distance keeps
pulling: the farther a fake's score is from a real sample's, the steeper.

Source: Mao et al. 2017, arXiv:1611.04076
Task: generate
Expect: limner train lsgan --data digits --width 32 --epochs 60 --threads 1 --seed 42
        then limner evaluate: FD-digits 2.32, coverage .15, 10 of 10 classes; real data have .07, .97 and 10
        (benchmarks/results/expectations.md)
"""

from collections.abc import Iterator

from torch import Tensor

from limner.core.config import NetworksConfig
from limner.core.method import Batch, Move, Turn
from limner.core.signal import Signal
from limner.losses.adversarial import least_squares_discriminator, least_squares_generator, scores
from limner.nn.pair import pair
from limner.tasks.generate import Generate


class Config(NetworksConfig):
    """The choices of an LSGAN. The players' rates are DCGAN's, as the networks are."""


class LSGAN(Generate):
    """Least squares GAN."""

    odds = False

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__(config, signal)
        self.latent, self.conditional = config.latent, config.labelled
        self.generator, self.discriminator = pair(config, signal)

    def step(self, batch: Batch) -> Iterator[Move]:
        real, label = batch["x"], batch.get("label")
        fake = self.generate(self.noise(len(real), self.latent), label)
        on_real, on_fake = self.discriminator(real, label), self.discriminator(fake.detach(), label)
        yield Turn("discriminator", least_squares_discriminator(on_real, on_fake), scores(on_real, on_fake))
        yield Turn("generator", least_squares_generator(self.discriminator(fake, label)))

    def judge(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        # Half-way between the scores that are asked for.
        return self.discriminator(x, label) - 0.5
