"""MGAN: several generators in one, with all layers but the first in common, and a classifier that tells them apart.

A discriminator judges the samples of all of them. A classifier, on the discriminator's own features, says which of the
generators made a fake, and each generator wants to be recognised: so each settles on modes of its own, and together
they cover more of the data than one would. A generator's own layer is linear, from noise to noise; the authors' makes
the first map, with a batch norm of its own, and their code counts the classifier fully in the discriminator's turn.

Source: Hoang et al. 2017, arXiv:1708.02556
Task: generate
Expect: limner train mgan --data digits --width 32 --epochs 60 --threads 1 --seed 42
        then limner evaluate: FD-digits 1.57, coverage .21, 10 of 10 classes; real data have .07, .97 and 10
        (benchmarks/results/expectations.md)
"""

from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from limner.core.config import NetworksConfig
from limner.core.method import Batch, Move, Turn
from limner.core.random import direction
from limner.core.signal import Signal
from limner.losses.adversarial import cross_entropy_discriminator, non_saturating_generator, scores
from limner.nn.discriminators import layers_of
from limner.nn.generators import generator
from limner.nn.spectral import spectral
from limner.tasks.generate import Generate

_PICK = 2  # numbers of noise whose direction picks the generator


class Config(NetworksConfig):
    """The choices of an MGAN."""

    generators: int = Field(default=4, ge=1, le=64)
    """Generators, with all layers but the first in common; 1 is a plain GAN."""
    diversity: float = Field(default=0.1, ge=0)
    """Weight of the classifier's cross-entropy in both players' losses (beta in the paper); the default is ours."""


class MGAN(Generate):
    """Mixture of generators."""

    picks = _PICK
    generator: "Mixture"

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__(config, signal)
        self.latent, self.conditional = _PICK + config.latent, config.labelled
        self.weight = config.diversity
        trunk = generator(config.network, signal, config.latent, config.width, config.labelled)
        self.generator = Mixture(trunk, config)
        self.discriminator = Judge(config, signal)

    def step(self, batch: Batch) -> Iterator[Move]:
        real, label = batch["x"], batch.get("label")
        z = self.noise(len(real), self.latent)
        fake, maker = self.generate(z, label), self.generator.maker(z)
        (on_real, _), (on_fake, guess) = self.discriminator(real, label), self.discriminator(fake.detach(), label)
        recognised = cross_entropy(guess, maker, reduction="none")
        values = {**scores(on_real, on_fake), "recognised": (guess.argmax(1) == maker).float()}
        yield Turn("discriminator", cross_entropy_discriminator(on_real, on_fake) + self.weight * recognised, values)
        on_fake, guess = self.discriminator(fake, label)
        recognised = cross_entropy(guess, maker, reduction="none")
        yield Turn("generator", non_saturating_generator(on_fake) + self.weight * recognised)

    def judge(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        score: Tensor = self.discriminator(x, label)[0]
        return score


class Mixture(nn.Module):
    """Noise (N, 2 + latent), labels (N,) → (N, C, *size): a linear first layer of each generator, and the layers that
    they share, which are told the class."""

    def __init__(self, trunk: nn.Module, config: Config) -> None:
        super().__init__()
        self.count, wide = config.generators, config.latent
        # What reaches the trunk is distributed as the noise that its initialisation is meant for. Biases that differ
        # from the start (tried: half of the variance) make it collapse.
        self.weight = nn.Parameter(torch.randn(self.count, wide, wide) * wide**-0.5)
        self.bias = nn.Parameter(torch.zeros(self.count, wide))
        self.trunk = trunk

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        noise, maker = z[:, _PICK:], self.maker(z)
        every = torch.einsum("ni,koi->nko", noise, self.weight) + self.bias
        own = one_hot(maker, self.count).to(every)
        made: Tensor = self.trunk((every * own[:, :, None]).sum(1), label)
        return made

    def maker(self, z: Tensor) -> Tensor:
        """Which generator makes each sample: (N, 2 + latent) → (N,) int64."""
        return (direction(z[:, :_PICK]) * self.count).long().clamp_max(self.count - 1)


class Judge(nn.Module):
    """(N, C, *size) and labels (N,) → scores (N,), and logits of who made it (N, generators), from the same features.

    A class is a sample beside what is judged, or adds its product with the features to the score.
    """

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__()
        joined = config.conditioning == "concat"
        seen = signal.model_copy(update={"channels": signal.channels * (2 if joined else 1)})
        self.features, size, self.head = layers_of(config.network, seen, config.width, norm=not config.spectral)
        self.classifier = nn.Linear(size, config.generators)
        if config.conditioning == "projection":
            self.embedding = nn.Embedding(signal.classes, size)
            nn.init.normal_(self.embedding.weight, std=size**-0.5)
        if config.spectral:
            spectral(self)
        if joined:
            self.sample = nn.Embedding(signal.classes, signal.values)

    def forward(self, x: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if hasattr(self, "sample"):
            x = torch.cat([x, self.sample(label).view_as(x)], 1)
        found = self.features(x)
        score, flat = self.head(found).flatten(0), found.flatten(1)
        if hasattr(self, "embedding"):
            score = score + (self.embedding(label) * flat).sum(1)
        return score, self.classifier(flat)
