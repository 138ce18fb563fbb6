"""R3GAN: a plain modern GAN. Fakes compete with real samples in pairs, and the discriminator is smooth around both.

The generator wins where a fake scores above a real sample, so that it is never enough to make one kind of picture
well. The discriminator pays for its slope at real samples (R1) and at fakes (R2), which lets the two settle. With that
no trick of older GANs is needed: the networks are residual blocks without normalisation. Rate, penalty, average and
augmentation (--augment-p) change along one half of a cosine and then stand still.

Width and depth are chosen for a processor: pictures are folded by 2 px at the image end, so that no convolution works
at full resolution. --variant paper is the published one for CIFAR, with its batch and its average. The loss alone can be
had with other methods' networks (--network), which is what points in the plane get.

Source: Huang et al. 2024, arXiv:2501.05441
Task: generate
Expect: limner train r3gan --data digits --width 32 --lazy 4 --epochs 200 --gamma 1 --average 2 --generator.lr 1e-3 --discriminator.lr 1e-3 --threads 1 --seed 42
        then limner evaluate: FD-digits 1.70, coverage .35, 10 of 10 classes; real data have .07, .97 and 10. With the CIFAR
        defaults of gamma and rate it is far slower on so small pictures (benchmarks/results/expectations.md)
"""  # noqa: E501

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, Self, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pixel_shuffle, pixel_unshuffle
from torch.nn.modules.batchnorm import _BatchNorm

from limner.core.config import WIDTHS, Adam, AdversarialConfig
from limner.core.errors import UsageError
from limner.core.method import Batch, Move, Turn
from limner.core.signal import Signal
from limner.losses.adversarial import relativistic, scores
from limner.losses.penalties import share, zero_centred
from limner.nn.augment import ADA_DRAWS, ada, cutout
from limner.nn.discriminators import apart, discriminator, interleaved
from limner.nn.generators import generator
from limner.nn.generators import halved as sizes_of
from limner.nn.resample import doubled, halved
from limner.tasks.generate import Generate

# The authors' schedules: rate 2e-4 → 5e-5 and β2 .9 → .99; theirs end well before training does.
_PLAYER = Adam(lr=2e-4, beta1=0.0, beta2=0.9, beta2_final=0.99, schedule="cosine", final=0.25, until=0.5)
# Their CIFAR preset, beside what is the default here. They count one of a step's two batches of real pictures, limner
# both: a half-life of 5M pictures is 10M here, and schedules that end at 20M end at 40M, the half of 1,600 × 50,000.
_PAPER = {"width": 768, "fold": False, "batch": 512, "average": 10_000.0, "augment_p": 0.55, "epochs": 1600.0}


class Config(AdversarialConfig):
    """The choices of an R3GAN."""

    variant: Literal["small", "paper"] = "small"
    """Whose choices stand where none are made: small learns on a processor, paper is the authors' for CIFAR, for GPUs:
    width 768, no fold, batch 512, average 10,000, augment-p .55, epochs 1,600 (without their classes and mirrors)."""
    latent: int = Field(default=64, ge=1)
    """Random numbers that make one sample."""
    network: Literal["auto", "residual", "dense", "dcgan", "mnist", "mixture", "tiny_quarter", "tiny_half"] = "auto"
    """The published residual blocks; or the pair of networks of other methods, without the discriminator's batch norm,
    which only the tiny ones keep: with so few channels it cannot follow the generator without.
    Only residual has blocks, group and fold. auto takes mixture for points, and residual for pictures."""
    width: int = Field(default=0, ge=0)
    """Of residual, channels of every stage up to 32 px, halved above that with every doubling of the size; of other
    networks their measure; 0 takes 64, or the published one."""
    blocks: int = Field(default=2, ge=1)
    """Residual blocks of a stage."""
    group: int = Field(default=16, ge=1)
    """Channels that a 3x3 convolution joins; others do not meet in it."""
    fold: bool = True
    """Fold pictures by 2 px at the image end: four times the channels at half the size."""
    gamma: float = Field(default=0.05, ge=0)
    """Weight of both slope penalties at the start; pictures of 64 px want about 2, of 256 px about 150."""
    gamma_final: float = Field(default=0.1, ge=0)
    """The weight at the end of the discriminator's schedule, as a share of gamma; with a constant rate gamma stays."""
    augment_p: float = Field(default=0.0, ge=0, le=1)
    """How likely each of ADA's changes is at the end of the discriminator's schedule, in all that it sees, colours half
    as likely, and a hole; 0 at its start."""
    lazy: int = Field(default=1, ge=1)
    """Steps between penalties, which then count that many times; 4 saves a good part of the time."""
    conditioning: Literal["none", "projection"] = "none"
    """Learn classes: the noise is joined by the class, and the score is a product with it."""
    generator: Adam = _PLAYER
    """How the generator's weights move."""
    discriminator: Adam = _PLAYER
    """How the discriminator's weights move."""

    def settle(self, signal: Signal) -> Self:
        """Pick the networks for the signal, their width, and what belongs to the variant.

        raises UsageError   if what are no pictures should be augmented
        """
        if self.augment_p and signal.rank != 2:
            raise UsageError(f"--augment-p changes pictures, not {signal.describe()}", "leave out --augment-p")
        settled = super(Config, self.varied(_PAPER if self.variant == "paper" else {})).settle(signal)
        if signal.rank != 2:
            settled = settled.model_copy(update={"augment_p": 0.0})
        chosen = settled.network
        if chosen == "auto":
            chosen = "residual" if signal.rank else "mixture"
        return settled.model_copy(update={"network": chosen, "width": settled.width or WIDTHS.get(chosen, 64)})


class R3GAN(Generate):
    """Regularised relativistic GAN."""

    batches = 2
    odds = False

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__(config, signal)
        self.choices = config
        self.latent, self.conditional = config.latent, config.labelled
        self.augments = config.augment_p > 0
        if config.network == "residual":
            self.generator: nn.Module = Generator(config, signal)
            self.discriminator: nn.Module = Discriminator(config, signal)
        else:
            self.generator = generator(config.network, signal, config.latent, config.width, config.labelled)
            norm = config.network.startswith("tiny")
            self.discriminator = discriminator(config.network, signal, config.width, config.conditioning, norm=norm)
        self.alone = not any(isinstance(layer, _BatchNorm) for layer in self.discriminator.modules())

    def step(self, batch: Batch) -> Iterator[Move]:
        first, second = self.split(batch)
        real, label = first["x"], first.get("label")
        with torch.no_grad():
            fake = self.generate(self.noise(len(real), self.latent), label)
        penalised = self.moment.step % self.choices.lazy == 0
        if self.alone:
            # No layer mixes samples, so one pass serves both sides, and one more both slopes.
            both = interleaved(real, fake.to(real)).requires_grad_()
            on_both = self.seen(both, None if label is None else label.repeat_interleave(2))
            on_real, on_fake = apart(on_both)
            r1, r2 = apart(zero_centred(on_both, both)) if penalised else (None, None)
        else:
            # Batch norm keeps to its side; a slope is then that of the whole side's scores.
            real, fake = real.detach().requires_grad_(penalised), fake.to(real).requires_grad_(penalised)
            on_real, on_fake = self.seen(real, label), self.seen(fake, label)
            r1, r2 = (zero_centred(on_real, real), zero_centred(on_fake, fake)) if penalised else (None, None)
        loss, values = relativistic(on_real, on_fake), scores(on_real, on_fake)
        if r1 is not None and r2 is not None:
            weighed = self.choices.lazy * self.gamma / 2 * (r1 + r2)
            values |= {"r1": r1, "r2": r2, "penalty_share": share(weighed, loss)}
            loss = loss + weighed
        yield Turn("discriminator", loss, values)

        real, label = second["x"], second.get("label")
        fake = self.generate(self.noise(len(real), self.latent), label)
        with torch.no_grad():
            on_real = self.seen(real, label)
        yield Turn("generator", relativistic(self.seen(fake, label), on_real))

    def seen(self, x: Tensor, label: Tensor | None) -> Tensor:
        """Scores of what the discriminator is shown of samples at this moment. Penalties stay those of the samples."""
        p = self.choices.augment_p * come(self.choices.discriminator, self.moment.progress)
        if p > 0:
            u = self.luck.uniform(len(x), ADA_DRAWS + 3).to(x.device)
            x = ada(x, u[:, :ADA_DRAWS], p, colours=0.5)
            hole = (u[:, ADA_DRAWS] < p)[:, None, None, None]
            x = torch.where(hole, cutout(x, u[:, ADA_DRAWS + 1 :]), x)
        return self.score(x, label)

    @property
    def gamma(self) -> float:
        """The penalties' weight at this moment, along the discriminator's schedule."""
        left = self.choices.discriminator.left(self.moment.progress)
        return self.choices.gamma * (self.choices.gamma_final + (1 - self.choices.gamma_final) * left)

    def half_life(self, longest: float, seen: int) -> float:
        """Samples after which a weight counts half in the moving average: from 0, along the generator's schedule."""
        return longest * come(self.choices.generator, self.moment.progress)

    def score(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        scored: Tensor = self.discriminator(x, label)
        return scored


def come(player: Adam, progress: float) -> float:
    """How much of a player's schedule has passed, from 0 to 1; all of it where its rate is constant."""
    return 1.0 if player.schedule == "constant" else 1 - player.left(progress)


class Generator(nn.Module):
    """(N, latent) and labels (N,) → (N, C, H, W): a learned map that the noise weighs, then blocks and doublings."""

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__()
        widths, start, depth = stages(config, signal)
        self.fold = 2 if config.fold else 1
        inputs = config.latent * (2 if config.labelled else 1)
        self.basis = nn.Parameter(torch.randn(widths[0], *start))
        self.linear = scaled(nn.Linear(inputs, widths[0], bias=False))
        self.stages = nn.ModuleList(stage(width, config, depth) for width in widths)
        self.changes = nn.ModuleList(change(a, b) for a, b in pairwise(widths))
        self.last = scaled(nn.Conv2d(widths[-1], signal.channels * self.fold**2, 1, bias=False))
        if config.labelled:
            self.embedding = nn.Embedding(signal.classes, config.latent)
            nn.init.normal_(self.embedding.weight, std=signal.classes**-0.5)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        if hasattr(self, "embedding"):
            z = torch.cat([z, self.embedding(label)], 1)
        x = self.stages[0](self.basis * self.linear(z)[:, :, None, None])
        for fit, blocks in zip(self.changes, self.stages[1:], strict=True):
            x = blocks(doubled(fit(x)))
        return pixel_shuffle(self.last(x), self.fold)


class Discriminator(nn.Module):
    """(N, C, H, W) and labels (N,) → (N,): the generator turned round; a class's score is a product with it."""

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__()
        widths, start, depth = stages(config, signal)
        self.fold = 2 if config.fold else 1
        self.first = scaled(nn.Conv2d(signal.channels * self.fold**2, widths[-1], 1, bias=False))
        blocks = [stage(width, config, depth) for width in reversed(widths)]
        changes = [change(a, b) for a, b in pairwise(widths[::-1])]
        # In the order that a picture passes them, by which fine-tuning counts the first layers: stage, change, stage …
        self.path = nn.ModuleList([blocks[0], *(one for two in zip(changes, blocks[1:], strict=True) for one in two)])
        self.basis = scaled(nn.Conv2d(widths[0], widths[0], start, groups=widths[0], bias=False))
        told = widths[0] if config.labelled else 1
        self.linear = scaled(nn.Linear(widths[0], told, bias=False))
        if config.labelled:
            self.embedding = nn.Embedding(signal.classes, told)
            nn.init.normal_(self.embedding.weight, std=(told * signal.classes) ** -0.5)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        x = self.path[0](self.first(pixel_unshuffle(x, self.fold)))
        for fit, blocks in zip(self.path[1::2], self.path[2::2], strict=True):
            x = blocks(fit(halved(x)))
        found = self.linear(self.basis(x).flatten(1))
        if hasattr(self, "embedding"):
            found = found * self.embedding(label)
        return found.sum(1)


class Block(nn.Module):
    """x + 1×1 (lrelu (grouped 3×3 (lrelu (1×1 x)))), with twice the channels inside and no normalisation.

    depth   blocks of the whole network: He's initialisation is shrunk by its fourth root, and the last layer is 0
    """

    def __init__(self, width: int, group: int, depth: int) -> None:
        super().__init__()
        gain = math.sqrt(2 / (1 + 0.2**2)) * depth**-0.25
        inside = 2 * width
        # Whole groups only: the largest number of them that divides the channels.
        groups = max(n for n in range(1, max(1, inside // group) + 1) if inside % n == 0)
        self.widen = scaled(nn.Conv2d(width, inside, 1), gain)
        self.mix = scaled(nn.Conv2d(inside, inside, 3, padding=1, groups=groups), gain)
        self.narrow = scaled(nn.Conv2d(inside, width, 1, bias=False), 0.0)

    def forward(self, x: Tensor) -> Tensor:
        inside = leaky_relu(self.mix(leaky_relu(self.widen(x), 0.2)), 0.2)
        return x + self.narrow(inside)


Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def stages(config: Config, signal: Signal) -> tuple[list[int], tuple[int, int], int]:
    """Channels of each stage from the smallest map on, the smallest map's size, and how many blocks there are in all.

    raises UsageError   if the signal is no picture that can be halved down to 4 to 7 px
    """
    start, times = sizes_of(signal)
    count = times if config.fold else times + 1
    widths = [max(1, min(config.width, config.width * 32 // (max(start) << i))) for i in range(count)]
    return widths, start, count * config.blocks


def stage(width: int, config: Config, depth: int) -> nn.Sequential:
    """The residual blocks at one size."""
    return nn.Sequential(*(Block(width, config.group, depth) for _ in range(config.blocks)))


def change(before: int, after: int) -> nn.Module:
    """From one stage's channels to the next one's."""
    return nn.Identity() if before == after else scaled(nn.Conv2d(before, after, 1, bias=False))


def scaled(layer: Layer, gain: float = 1.0) -> Layer:
    """A layer with weights from N(0, gain² / inputs), and biases of 0."""
    nn.init.normal_(layer.weight, std=gain * layer.weight[0].numel() ** -0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
