"""GAN-CLS: pictures of what a sentence says. The discriminator also learns which caption belongs to which picture.

The generator paints out of random numbers and a caption. The discriminator is shown a real picture with its caption, a
real picture with the caption of another, and a painted one: only the first is right. So a picture that looks real and
shows something else does not pass. Halfway between two captions lies a third that nobody wrote; the generator has to
paint those too, which teaches it what lies between the few captions that there are.

Captions are read by a frozen sentence encoder (limner.features.minilm), where the paper trains one of its own on far
more captions.

Source: Reed et al. 2016, arXiv:1605.05396, algorithm 1 (GAN-CLS) and section 4.3 (GAN-INT)
Task: generate
Expect: limner train gan_cls --data emoji --size 32 --width 32 --batch 32 --average 5 --epochs 60 --precision bf16 --threads 1 --seed 1
        then limner evaluate --samples 1000: precision .27, recall 0, coverage .06, where real data have .87, .89 and .97:
        colours and outlines follow the caption, little else (benchmarks/results/expectations.md)
"""  # noqa: E501

from collections.abc import Iterator
from math import sqrt
from typing import Self

import torch
from pydantic import Field
from torch import Tensor, nn

from limner.core.config import Adam, TrainingConfig
from limner.core.errors import UsageError
from limner.core.method import Batch, Move, Turn
from limner.core.signal import Signal
from limner.losses.adversarial import non_saturating_generator, scores
from limner.nn import discriminators, generators
from limner.nn.conv import Conv2d
from limner.tasks.generate import Captioned


class Config(TrainingConfig):
    """The choices of a GAN-CLS; defaults are the paper's, but for the width, a constant rate (the authors halve it
    every 100 epochs) and --interpolated (their code counts captions in between half as much)."""

    epochs: float = Field(default=600, gt=0)
    """Passes over the data. --steps overrides it."""
    batch: int = Field(default=64, ge=2)
    """Samples a step learns from; each lends its caption to its neighbour."""
    latent: int = Field(default=100, ge=1)
    """Random numbers that make one picture, beside its caption."""
    told: int = Field(default=128, ge=1)
    """Numbers that each network brings a caption down to."""
    width: int = Field(default=64, ge=1)
    """Channels next to the picture; they double with every halving of its size."""
    interpolated: float = Field(default=1.0, ge=0, le=10)
    """How much captions halfway between two count in the generator's loss, beside the real ones; 0 leaves them out."""
    generator: Adam = Adam(lr=2e-4, beta1=0.5)
    """How the generator's weights move."""
    discriminator: Adam = Adam(lr=2e-4, beta1=0.5)
    """How the discriminator's weights move."""

    def settle(self, signal: Signal) -> Self:
        """See that there are captions.

        raises UsageError   if there are none
        """
        if not signal.text:
            raise UsageError("gan_cls learns from captions, and these data have none", "give --data emoji, say")
        return self


class GANCLS(Captioned):
    """Text-conditional GAN with a matching-aware discriminator."""

    batchwise = True  # Each picture is shown with its neighbour's caption too.

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__(config, signal)
        self.latent, self.interpolated = config.latent, config.interpolated
        self.generator = Painter(config, signal)
        self.discriminator = Judge(config, signal)

    def step(self, batch: Batch) -> Iterator[Move]:
        real, right = batch["x"], batch["text"]
        wrong = right.roll(1, 0)
        fake = self.generate(self.noise(len(real), self.latent), right)
        on_real, on_wrong, on_fake = (
            self.judge(x, text) for x, text in ((real, right), (real, wrong), (fake.detach(), right))
        )
        yield Turn("discriminator", matching(on_real, on_wrong, on_fake), told_apart(on_real, on_wrong, on_fake))
        loss = non_saturating_generator(self.judge(fake, right))
        if self.interpolated:
            between = (right + wrong) / 2
            fake = self.generate(self.noise(len(real), self.latent), between)
            loss = loss + self.interpolated * non_saturating_generator(self.judge(fake, between))
        yield Turn("generator", loss)

    def judge(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return self.discriminator(x, label)


def matching(real: Tensor, wrong: Tensor, fake: Tensor) -> Tensor:
    """-log D(x, t) - ½ [log(1 - D(x, t̂)) + log(1 - D(G(z, t), t))]: real and matching, against each alone.

    real    (N,)  logits of real pictures with their captions
    wrong   (N,)  of real pictures with other captions
    fake    (N,)  of fakes with the captions that they were made for
    returns (N,)
    """
    softplus = nn.functional.softplus
    return softplus(-real) + (softplus(wrong) + softplus(fake)) / 2


def told_apart(real: Tensor, wrong: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """What is worth logging: as for every GAN, and how often the right caption scores above the wrong one."""
    return scores(real, fake) | {"match_rate": (real.detach() > wrong.detach()).float()}


class Caption(nn.Module):
    """(N, text) → (N, told): a caption's vector, whose length is 1, scaled to variance 1 and brought down."""

    def __init__(self, text: int, told: int) -> None:
        super().__init__()
        self.scale = sqrt(text)
        self.layers = nn.Sequential(nn.Linear(text, told), nn.LeakyReLU(0.2))

    def forward(self, text: Tensor) -> Tensor:
        result: Tensor = self.layers(text * self.scale)
        return result


class Painter(nn.Module):
    """(N, latent) noise and (N, text) captions → (N, C, H, W) in [-1, 1]: DCGAN's, fed with both joined."""

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__()
        self.caption = Caption(signal.text, config.told)
        self.network = generators.dcgan(signal, config.latent + config.told, config.width)

    def forward(self, z: Tensor, text: Tensor) -> Tensor:
        result: Tensor = self.network(torch.cat([z, self.caption(text)], 1))
        return result


class Judge(nn.Module):
    """(N, C, H, W) and captions (N, text) → (N,) logits: the caption stands at every place of DCGAN's last map."""

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__()
        self.caption = Caption(signal.text, config.told)
        self.features, values, _ = discriminators.dcgan(signal, config.width, norm=True)
        last, _ = generators.halved(signal)
        wide = values // (last[0] * last[1])
        self.head = nn.Sequential(
            Conv2d(wide + config.told, wide, 1, 1, 0, bias=False),
            nn.BatchNorm2d(wide),
            nn.LeakyReLU(0.2),
            Conv2d(wide, 1, last, 1, 0),
            nn.Flatten(0),
        )
        generators.dcgan_init(self.head)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        seen = self.features(x)
        said = self.caption(text)[:, :, None, None].expand(-1, -1, *seen.shape[2:])
        result: Tensor = self.head(torch.cat([seen, said], 1))
        return result
