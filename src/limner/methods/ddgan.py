"""DDGAN: a diffusion model that takes four large steps in place of a thousand small ones, each made by a GAN.

With small steps of noise what was there before is nearly certain, so a plain network can tell it; with large ones it
could have been many things. A generator with noise of its own makes one of them, and a discriminator that sees the
picture before and after the step judges it. So it keeps the variety of diffusion and samples in four passes.

The networks are limner's U-Net, told of its own noise by a style, and a residual discriminator, at a size for
processors. The authors' discriminator has more: their filter where it halves, second convolutions that begin at 0, and
a channel that tells how much the pictures of a batch differ, which speaks against collapse. Their style has five layers
to these three, and all of it and of the discriminator begins by their rule for the U-Net, here as PyTorch's layers do.

Source: Xiao, Kreis & Vahdat 2022, arXiv:2112.07804
Task: generate
Expect: limner train ddgan --data digits --batch 64 --steps 1500 --threads 1 --seed 42
        then limner evaluate --samples 1000: FD-digits 1.66, coverage .29, 10 of 10 classes; real data have .07, .97 and
        10 (benchmarks/results/expectations.md)
"""

from collections.abc import Iterator
from itertools import pairwise
from math import sqrt
from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from limner.core.config import Adam, AdversarialConfig
from limner.core.errors import UsageError
from limner.core.method import Batch, Move, Turn
from limner.core.signal import Signal
from limner.diffusion.levels import exponential_schedule, sigmas
from limner.diffusion.samplers import posterior
from limner.diffusion.scan import scan
from limner.losses.adversarial import cross_entropy_discriminator, non_saturating_generator, scores
from limner.losses.penalties import share, zero_centred
from limner.nn.conv import Conv2d
from limner.nn.unet import positions, sized_unet
from limner.tasks.generate import Generate

# The authors' command for 32×32 px: rates 1.6e-4 and 1.25e-4 on a cosine down to 1e-5, β .5 and .9.


class Config(AdversarialConfig):
    """The choices of a DDGAN."""

    times: int = Field(default=4, ge=1, le=64)
    """Steps from pure noise to a picture; the paper finds 4 best."""
    latent: int = Field(default=100, ge=1)
    """Random numbers of the generator at each step."""
    width: int = Field(default=32, ge=1)
    """Channels of the generator's largest map, and of the discriminator's."""
    style: int = Field(default=128, ge=1)
    """Units of the layers that turn random numbers into a style."""
    penalty: float = Field(default=0.02, ge=0)
    """Weight γ of the discriminator's squared slope at real pictures (R1)."""
    penalty_every: int = Field(default=15, ge=1)
    """Steps between two that have the penalty."""
    conditioning: Literal["none", "projection"] = "none"
    """Learn classes: the generator is told one beside the step, and the score is joined by a product with it."""
    generator: Adam = Adam(lr=1.6e-4, beta1=0.5, beta2=0.9, schedule="cosine", final=0.0625)
    """How the generator's weights move."""
    discriminator: Adam = Adam(lr=1.25e-4, beta1=0.5, beta2=0.9, schedule="cosine", final=0.08)
    """How the discriminator's weights move."""

    def settle(self, signal: Signal) -> Self:
        """See that these are pictures, and that there are classes, if they are to be learned.

        raises UsageError   if not, or if they cannot be halved
        """
        if signal.rank != 2:
            raise UsageError(f"ddgan makes pictures, not {signal.describe()}", "train gan, for example")
        if min(signal.size) < 2:
            raise UsageError("ddgan halves pictures, and these have a side of 1 px", "give --size 8, for example")
        return super().settle(signal)


class DDGAN(Generate):
    """Denoising diffusion GAN."""

    paired = True
    truncates = False

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__(config, signal)
        self.times, self.own, self.passes = config.times, config.latent, config.times
        self.penalty, self.penalty_every = config.penalty, config.penalty_every
        self.conditional = config.labelled
        classes = signal.classes if config.labelled else 0
        # Each step takes a picture of noise (the first as its start, the others from the posterior) and its own.
        self.latent = self.times * (signal.values + self.own)
        # Noise levels from the picture itself, 0, up to what is taken for pure noise.
        levels = [0.0, *sigmas(exponential_schedule(self.times)).tolist()]
        self.levels = torch.tensor(levels, device="cpu")
        self.generator = DenoisingGenerator(config, signal, classes)
        self.discriminator = StepDiscriminator(signal, config.width, classes)

    def step(self, batch: Batch) -> Iterator[Move]:
        label = self.told(batch) if self.conditional else None
        before, after, time = self.pair(batch["x"])
        fake = self.guess(after, time, label)
        penalised = self.moment.step % self.penalty_every == 0 and self.penalty > 0
        on_real = self.discriminator(before.requires_grad_(penalised), after, time, label)
        on_fake = self.discriminator(fake.detach(), after, time, label)
        loss, values = cross_entropy_discriminator(on_real, on_fake), scores(on_real, on_fake)
        if penalised:
            weighed = self.penalty / 2 * zero_centred(on_real, before)
            values |= {"penalty_share": share(weighed, loss)}
            loss = loss + weighed
        yield Turn("discriminator", loss, values)
        _, after, time = self.pair(batch["x"])
        fake = self.guess(after, time, label)
        yield Turn("generator", non_saturating_generator(self.discriminator(fake, after, time, label)))

    def pair(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures before and after one step of noise, scaled to unit variance, and which step (N,), from 0."""
        time = (self.uniform(len(x)) * self.times).long()
        low, high = self.wide(time), self.wide(time + 1)
        before = x + low * self.noise(*x.shape)
        after = before + (high**2 - low**2).sqrt() * self.noise(*x.shape)
        return scaled(before, low), scaled(after, high), time

    def guess(self, after: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        """What the pictures after a step could have been before it, scaled like them."""
        low, high = self.wide(time), self.wide(time + 1)
        clean = self.generator(after, time, self.noise(len(after), self.own), label)
        noisy = after * (1 + high**2).sqrt()
        return scaled(posterior(clean, noisy, high, low, self.noise(*after.shape)), low)

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        told = label if self.conditional else None
        pictures, own = z.unflatten(1, (self.times, -1)).split([self.signal.values, self.own], 2)
        pictures = pictures.unflatten(2, self.signal.shape)

        def step(x: Tensor, time: Tensor, own: Tensor, chance: Tensor) -> Tensor:
            times = time.expand(x.shape[0])
            low, high = self.wide(times), self.wide(times + 1)
            return posterior(self.generator(scaled(x, high), times, own, told), x, high, low, chance)

        x = pictures[:, 0] * (1 + self.levels[-1] ** 2).sqrt()
        # The last step goes to level 0, where the posterior is the picture and takes no noise.
        chance = pictures.roll(-1, 1).transpose(0, 1)
        return scan(step, x, torch.arange(self.times - 1, -1, -1, device=x.device), own.transpose(0, 1), chance)

    def wide(self, time: Tensor) -> Tensor:
        """The noise level of each time (N,), as (N, 1, 1, 1)."""
        return self.levels.to(time.device)[time][:, None, None, None]


def scaled(x: Tensor, sigma: Tensor) -> Tensor:
    """A sample with noise of level sigma, brought to unit variance."""
    return x / (1 + sigma**2).sqrt()


class DenoisingGenerator(nn.Module):
    """A picture with noise (N, C, H, W), its step (N,), random numbers (N, latent) and, where there are any, its class
    (N,) → a picture in [-1, 1]."""

    def __init__(self, config: Config, signal: Signal, classes: int) -> None:
        super().__init__()
        wide = config.style
        self.style = nn.Sequential(
            nn.Linear(config.latent, wide),
            nn.SiLU(),
            nn.Linear(wide, wide),
            nn.SiLU(),
            nn.Linear(wide, wide),
            nn.SiLU(),
        )
        self.network = sized_unet(signal, "small", config.width, classes, style=wide)

    def forward(self, x: Tensor, time: Tensor, z: Tensor, label: Tensor | None = None) -> Tensor:
        # The authors bring z to unit length in each component first, as StyleGAN does.
        z = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        return self.network(x, time, label, style=self.style(z)).tanh()


class StepDiscriminator(nn.Module):
    """The picture before and after a step (N, C, H, W), its step (N,) and, where there are any, its class (N,) → (N,)
    logits, positive for real; a class adds its product with the features."""

    def __init__(self, signal: Signal, width: int, classes: int) -> None:
        super().__init__()
        self.width, self.patch = width, 2 if min(signal.size) >= 16 and not any(side % 2 for side in signal.size) else 1
        deep = 4 * width
        self.time = nn.Sequential(nn.Linear(width, deep), nn.LeakyReLU(0.2), nn.Linear(deep, deep), nn.LeakyReLU(0.2))
        self.first = Conv2d(2 * signal.channels * self.patch**2, width, 1)
        halvings = max(1, (min(signal.size) // self.patch).bit_length() - 3)
        wide = [width * min(4, 2**i) for i in range(halvings + 1)]
        self.blocks = nn.ModuleList([Step(width, width, deep, down=False)])
        self.blocks.extend(Step(a, b, deep, down=True) for a, b in pairwise(wide))
        self.last = nn.Sequential(Conv2d(wide[-1], wide[-1], 3, padding=1), nn.LeakyReLU(0.2))
        self.score = nn.Linear(wide[-1], 1)
        if classes:
            self.embedding = nn.Embedding(classes, wide[-1])
            nn.init.normal_(self.embedding.weight, std=wide[-1] ** -0.5)

    def forward(self, before: Tensor, after: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        told = self.time(positions(time, self.width).to(before.dtype))
        x = self.first(F.pixel_unshuffle(torch.cat([before, after], 1), self.patch))
        for block in self.blocks:
            x = block(x, told)
        # A sum, as the authors take: a mean over so small a map leaves scores that hardly move.
        found = self.last(x).sum((2, 3))
        score: Tensor = self.score(found).flatten()
        return score if label is None else score + (self.embedding(label) * found).sum(1)


class Step(nn.Module):
    """Two convolutions beside a short cut, told of the step: (N, C, H, W) → (N, C', H, W), or half as large."""

    def __init__(self, before: int, after: int, told: int, down: bool) -> None:
        super().__init__()
        self.down = down
        self.one, self.two = Conv2d(before, after, 3, padding=1), Conv2d(after, after, 3, padding=1)
        self.told, self.short = nn.Linear(told, after), Conv2d(before, after, 1, bias=False)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        y = F.leaky_relu(self.one(F.leaky_relu(x, 0.2)) + self.told(told)[:, :, None, None], 0.2)
        if self.down:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        return (self.two(y) + self.short(x)) * sqrt(0.5)
