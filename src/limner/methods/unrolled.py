"""Unrolled GAN: the generator looks ahead at how the discriminator will answer, and learns from that.

A plain generator runs after whatever the discriminator overlooks at the moment, so that the two can chase each other
round the modes of the data. Here the generator's loss is that of a discriminator which has moved K times more, and the
gradient goes through those K moves. Then they are forgotten: the discriminator itself moves once, as ever. The loss is a plain
generator's, of the fakes alone; in the authors' code for points it is the whole of the discriminator's, turned round.

Source: Metz et al. 2017, arXiv:1611.02163
Task: generate
Expect: limner train unrolled --data ring --network dense --width 32 --latent 256 --unroll 10 --batch 256 --steps 2500 --average 0 --generator.lr 1e-3 --discriminator.lr 1e-4 --threads 1 --seed 1
        then limner evaluate: 8 of 8 modes, 7 % of the points of high quality, reverse KL .56; real data have 8, 99 % and
        .0006. A plain GAN with these networks falls on one mode: docs/modes.md (benchmarks/results/expectations.md)
"""  # noqa: E501

from collections.abc import Iterator
from typing import Self

import torch
from pydantic import Field
from torch import Tensor
from torch.func import functional_call

from limner.core.adam import moved
from limner.core.config import Adam, NetworksConfig
from limner.core.method import Batch, Move, Turn
from limner.core.signal import Signal
from limner.losses.adversarial import cross_entropy_discriminator, non_saturating_generator, scores
from limner.nn.pair import pair
from limner.tasks.generate import Generate


class Config(NetworksConfig):
    """The choices of an unrolled GAN."""

    unroll: int = Field(default=5, ge=0, le=100)
    """The discriminator's moves that the generator sees ahead; 0 is a plain GAN. The tiny networks take latent 256
    where none is given."""
    generator: Adam = Adam(lr=1e-4, beta1=0.5, beta2=0.99)
    """How the generator's weights move; as the paper's for stacked MNIST."""
    discriminator: Adam = Adam(lr=2e-4, beta1=0.5, beta2=0.99)
    """How the discriminator's weights move; as the paper's for stacked MNIST."""

    def settle(self, signal: Signal) -> Self:
        """Pick the networks for the signal; the tiny ones have 256 numbers of noise."""
        settled = super().settle(signal)
        return settled.varied({"latent": 256}) if settled.network.startswith("tiny") else settled


class UnrolledGAN(Generate):
    """GAN with a generator that sees the discriminator's next moves."""

    # Looking ahead, the discriminator moves by the batch that it is shown.
    batchwise = True

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__(config, signal)
        self.latent, self.conditional, self.unroll = config.latent, config.labelled, config.unroll
        self.generator, self.discriminator = pair(config, signal)

    def step(self, batch: Batch) -> Iterator[Move]:
        real, label = batch["x"], batch.get("label")
        fake = self.generate(self.noise(len(real), self.latent), label)
        on_real, on_fake = self.judge(real, label), self.judge(fake.detach(), label)
        # Looking ahead leaves the running statistics as they are: they are those of the weights that there are.
        kept = {name: buffer.clone() for name, buffer in self.discriminator.named_buffers()}
        ahead = self.ahead(real, fake, label, kept)
        yield (
            Turn("discriminator", cross_entropy_discriminator(on_real, on_fake), scores(on_real, on_fake)),
            Turn(
                "generator",
                non_saturating_generator(functional_call(self.discriminator, (ahead, kept), (fake, label))),
            ),
        )

    def ahead(self, real: Tensor, fake: Tensor, label: Tensor | None, buffers: dict[str, Tensor]) -> dict[str, Tensor]:
        """The discriminator's weights after its next moves, as a function of the fakes.

        real, fake  (N, C, *size)
        label       (N,)
        buffers     the discriminator's, which its passes write to
        returns     weights by name; at `unroll` 0 those that it has
        """
        named = self.discriminator.named_parameters()
        weights: dict[str, Tensor] = {name: weight for name, weight in named if weight.requires_grad}
        pace = self.pace("discriminator")
        for _ in range(self.unroll):
            on_real = functional_call(self.discriminator, (weights, buffers), (real, label))
            on_fake = functional_call(self.discriminator, (weights, buffers), (fake, label))
            loss = cross_entropy_discriminator(on_real, on_fake).mean()
            slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            weights, pace = moved(weights, dict(zip(weights, slopes, strict=True)), pace)
        return weights

    def judge(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return self.discriminator(x, label)
