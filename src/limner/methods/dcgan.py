"""DCGAN: a generator of transposed convolutions learns to fool a discriminator of convolutions.

The generator paints a picture out of 100 random numbers. The discriminator looks at real pictures and at painted
ones and says which is which. Each learns from the other's mistakes, until the painted ones pass for real.

Two variants. `mnist` is the form that every newcomer meets: 5×5 kernels, dropout, both players learning from the
same forward pass. `paper` is the published network, for square pictures of any power-of-two size.

Source: Radford, Metz & Chintala 2016, arXiv:1511.06434
Task: generate
Expect: limner train dcgan --data mnist --seed 42
        then limner evaluate: FD-digits 1.08 and coverage .42, where real data have .0053 and .97
        (benchmarks/results/dcgan_mnist.txt)
"""

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import Field
from torch import Tensor

from limner.core.config import Adam, AdversarialConfig
from limner.core.method import Batch, Move, Turn
from limner.core.signal import Signal
from limner.losses.adversarial import cross_entropy_discriminator, non_saturating_generator, scores
from limner.nn.discriminators import discriminator, together
from limner.nn.generators import generator
from limner.tasks.generate import Generate

# Section 4 of the paper: Adam with rate 2e-4 and β1 .5, batch 128.
_PAPER = {"lr": 2e-4, "beta1": 0.5}
# Keras's Adam has its ε at 1e-7.
_MNIST = {"lr": 1e-4, "eps": 1e-7}


class Config(AdversarialConfig):
    """The choices of a DCGAN."""

    variant: Literal["auto", "mnist", "paper"] = "auto"
    """Which network: 'mnist' with 5×5 kernels and dropout, 'paper' as published; auto takes mnist at 28×28 grey.
    Where none are given, paper moves by lr 2e-4 and beta1 .5, and mnist by eps 1e-7."""
    width: int = Field(default=64, ge=1)
    """Channels next to the picture; they double with every halving of its size."""
    generator: Adam = Adam()
    """How the generator's weights move."""
    discriminator: Adam = Adam()
    """How the discriminator's weights move."""

    def settle(self, signal: Signal) -> Self:
        """Pick the variant for the signal, and the learning rates that belong to it."""
        settled = super().settle(signal)
        chosen = settled.variant
        if chosen == "auto":
            chosen = "mnist" if signal.shape == (1, 28, 28) else "paper"
        if chosen == "paper":
            signal.picture_size("dcgan (variant paper)")
        rates = _MNIST if chosen == "mnist" else _PAPER
        return settled.varied({"generator": rates, "discriminator": rates}).model_copy(update={"variant": chosen})


class DCGAN(Generate):
    """Deep convolutional GAN."""

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__(config, signal)
        self.latent, self.conditional = config.latent, config.labelled
        self.together = config.variant == "mnist"
        network = "mnist" if self.together else "dcgan"
        self.generator = generator(network, signal, config.latent, config.width, config.labelled)
        self.discriminator = discriminator(network, signal, config.width, config.conditioning)

    def step(self, batch: Batch) -> Iterator[Move]:
        real, label = batch["x"], batch.get("label")
        fake = self.generate(self.noise(len(real), self.latent), label)
        if self.together:
            on_real, on_fake = together(self.judge, real, fake, label)
        else:
            on_real, on_fake = self.judge(real, label), self.judge(fake.detach(), label)
        guess = Turn("discriminator", cross_entropy_discriminator(on_real, on_fake), scores(on_real, on_fake))
        if self.together:
            yield guess, Turn("generator", non_saturating_generator(on_fake), through=(fake, on_fake))
        else:
            yield guess
            yield Turn("generator", non_saturating_generator(self.judge(fake, label)))

    def judge(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return self.discriminator(x, label)
