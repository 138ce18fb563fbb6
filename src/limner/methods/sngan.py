"""SNGAN: a discriminator whose every layer stretches by at most 1, and the hinge loss.

A discriminator that changes abruptly teaches nothing between its jumps. Here each layer's weight is divided by the
most it can stretch anything, so that the whole stays gentle. Samples judged rightly by a margin cost nothing more.

Source: Miyato et al. 2018, arXiv:1802.05957
Task: generate
Expect: limner train sngan --data digits --width 32 --epochs 60 --threads 1 --seed 42
        then limner evaluate: FD-digits 1.81, coverage .22, 10 of 10 classes; real data have .07, .97 and 10
        (benchmarks/results/expectations.md)
"""

from collections.abc import Iterator

from torch import Tensor

from limner.core.config import NetworksConfig
from limner.core.method import Batch, Move, Turn
from limner.core.signal import Signal
from limner.losses.adversarial import hinge_discriminator, hinge_generator, scores
from limner.nn.pair import pair
from limner.tasks.generate import Generate


class Config(NetworksConfig):
    """The choices of an SNGAN. The players' rates are DCGAN's, one of the settings that the paper compares."""

    spectral: bool = True
    """Divide each of the discriminator's weights by its largest stretch (and leave out its batch norm)."""


class SNGAN(Generate):
    """GAN with a spectrally normalised discriminator and the hinge loss."""

    odds = False

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__(config, signal)
        self.latent, self.conditional = config.latent, config.labelled
        self.generator, self.discriminator = pair(config, signal)

    def step(self, batch: Batch) -> Iterator[Move]:
        real, label = batch["x"], batch.get("label")
        fake = self.generate(self.noise(len(real), self.latent), label)
        on_real, on_fake = self.judge(real, label), self.judge(fake.detach(), label)
        yield Turn("discriminator", hinge_discriminator(on_real, on_fake), scores(on_real, on_fake))
        yield Turn("generator", hinge_generator(self.judge(fake, label)))

    def judge(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return self.discriminator(x, label)
