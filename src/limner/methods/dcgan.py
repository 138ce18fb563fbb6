"""DCGAN: a generator of transposed convolutions learns to fool a discriminator of convolutions.

The generator paints a picture out of 100 random numbers. The discriminator looks at real pictures and at painted
ones and says which is which. Each learns from the other's mistakes, until the painted ones pass for real.

Two variants. `mnist` is the form that every newcomer meets: 5×5 kernels, dropout, both players learning from the
same forward pass. `paper` is the published network, for square pictures of any power-of-two size.

Source: Radford, Metz & Chintala 2016, arXiv:1511.06434
Task: generate
Expect: limner train dcgan --data mnist --seed 42
        then limner evaluate: FD-digits 1.18 and coverage .44, where real data have .0053 and .97
        (benchmarks/results/dcgan_mnist.txt)
"""

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import Field
from torch import Tensor, nn

from limner.core.config import Adam, TrainingConfig
from limner.core.errors import UsageError
from limner.core.method import Batch, Move, Turn
from limner.core.signal import Signal
from limner.losses.adversarial import cross_entropy_discriminator, non_saturating_generator, scores
from limner.nn.conv import Conv2d, ConvTranspose2d
from limner.nn.elementwise import Dropout
from limner.tasks.generate import Generate

# Section 4 of the paper: Adam with rate 2e-4 and β1 .5, batch 128.
_PAPER = {"lr": 2e-4, "beta1": 0.5}
# Keras's Adam has its ε at 1e-7.
_MNIST = {"lr": 1e-4, "eps": 1e-7}


class Config(TrainingConfig):
    """The choices of a DCGAN."""

    variant: Literal["auto", "mnist", "paper"] = "auto"
    """Which network: 'mnist' with 5×5 kernels and dropout, 'paper' as published; auto takes mnist at 28×28 grey."""
    latent: int = Field(default=100, ge=1)
    """Random numbers that make one picture."""
    width: int = Field(default=64, ge=1)
    """Channels next to the picture; they double with every halving of its size."""
    generator: Adam = Adam()
    """How the generator's weights move; variant paper has lr 2e-4 and beta1 .5 where none are given, mnist eps 1e-7."""
    discriminator: Adam = Adam()
    """How the discriminator's weights move; where nothing is given, as the generator's."""

    def settle(self, signal: Signal) -> Self:
        """Pick the variant for the signal, and the learning rates that belong to it."""
        chosen = self.variant
        if chosen == "auto":
            chosen = "mnist" if signal.shape == (1, 28, 28) else "paper"
        rates = _MNIST if chosen == "mnist" else _PAPER
        settled = self.varied({"generator": rates, "discriminator": rates})
        return settled.model_copy(update={"variant": chosen})


class DCGAN(Generate):
    """Deep convolutional GAN."""

    batchwise = True

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__(config, signal)
        self.latent = config.latent
        self.together = config.variant == "mnist"
        build = (mnist_generator, mnist_discriminator) if self.together else (paper_generator, paper_discriminator)
        self.generator = build[0](config, signal)
        self.discriminator = build[1](config, signal)

    def step(self, batch: Batch) -> Iterator[Move]:
        real = batch["x"]
        fake = self.generate(self.noise(len(real), self.latent))
        on_real, on_fake = self.judge(real), self.judge(fake if self.together else fake.detach())
        guess = Turn("discriminator", cross_entropy_discriminator(on_real, on_fake), scores(on_real, on_fake))
        if self.together:
            yield guess, Turn("generator", non_saturating_generator(on_fake), through=(fake, on_fake))
        else:
            yield guess
            yield Turn("generator", non_saturating_generator(self.judge(fake)))

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.generator(z)

    def judge(self, x: Tensor) -> Tensor:
        return self.discriminator(x).flatten()


def mnist_generator(config: Config, signal: Signal) -> nn.Module:
    """(N, latent) → (N, C, H, W) in [-1, 1], with H and W multiples of 4."""
    w, (h, v) = config.width, quarter(signal)
    return keras_init(
        nn.Sequential(
            nn.Linear(config.latent, 4 * w * h * v, bias=False),
            keras_norm(nn.BatchNorm1d, 4 * w * h * v),
            nn.LeakyReLU(0.3),
            nn.Unflatten(1, (4 * w, h, v)),
            ConvTranspose2d(4 * w, 2 * w, 5, 1, padding="same", bias=False),
            keras_norm(nn.BatchNorm2d, 2 * w),
            nn.LeakyReLU(0.3),
            ConvTranspose2d(2 * w, w, 5, 2, padding="same", bias=False),
            keras_norm(nn.BatchNorm2d, w),
            nn.LeakyReLU(0.3),
            ConvTranspose2d(w, signal.channels, 5, 2, padding="same", bias=False),
            nn.Tanh(),
        )
    )


def mnist_discriminator(config: Config, signal: Signal) -> nn.Module:
    """(N, C, H, W) → (N, 1) logits, positive for real."""
    w, (h, v) = config.width, quarter(signal)
    return keras_init(
        nn.Sequential(
            Conv2d(signal.channels, w, 5, 2, padding="same"),
            nn.LeakyReLU(0.3),
            Dropout(0.3),
            Conv2d(w, 2 * w, 5, 2, padding="same"),
            nn.LeakyReLU(0.3),
            Dropout(0.3),
            nn.Flatten(),
            nn.Linear(2 * w * h * v, 1),
        )
    )


def paper_generator(config: Config, signal: Signal) -> nn.Module:
    """(N, latent) → (N, C, S, S) in [-1, 1]: 4×4 px, then doubled to S px. Batch norm on all but the last layer."""
    side = signal.picture_size("dcgan (variant paper)")
    wide = config.width * side // 8
    layers = [
        nn.Unflatten(1, (config.latent, 1, 1)),
        ConvTranspose2d(config.latent, wide, 4, 1, 0, bias=False),
        nn.BatchNorm2d(wide),
        nn.ReLU(),
    ]
    while wide > config.width:
        layers += [ConvTranspose2d(wide, wide // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(wide // 2), nn.ReLU()]
        wide //= 2
    return paper_init(nn.Sequential(*layers, ConvTranspose2d(wide, signal.channels, 4, 2, 1), nn.Tanh()))


def paper_discriminator(config: Config, signal: Signal) -> nn.Module:
    """(N, C, S, S) → (N, 1, 1, 1) logits: halved to 4×4 px. Batch norm on all but the first and the last layer."""
    side, wide = signal.picture_size("dcgan (variant paper)"), config.width
    layers: list[nn.Module] = [Conv2d(signal.channels, wide, 4, 2, 1), nn.LeakyReLU(0.2)]
    for _ in range(side.bit_length() - 4):
        layers += [Conv2d(wide, 2 * wide, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * wide), nn.LeakyReLU(0.2)]
        wide *= 2
    return paper_init(nn.Sequential(*layers, Conv2d(wide, 1, 4, 1, 0)))


def quarter(signal: Signal) -> tuple[int, int]:
    """A quarter of a picture's height and width.

    raises UsageError   if the signal is no picture, or its sides are no multiples of 4
    """
    if signal.rank != 2 or signal.size[0] % 4 or signal.size[1] % 4:
        raise UsageError(
            f"dcgan (variant mnist) needs pictures with sides that 4 divides, not {signal.describe()}",
            "give another --size, or --variant paper",
        )
    return signal.size[0] // 4, signal.size[1] // 4


def keras_norm(norm: type[nn.BatchNorm1d] | type[nn.BatchNorm2d], channels: int) -> nn.Module:
    """Batch normalisation with Keras's defaults: ε 1e-3, and .99 of the running averages kept."""
    return norm(channels, eps=1e-3, momentum=0.01)


def keras_init(network: nn.Module) -> nn.Module:
    """Keras's defaults: Glorot-uniform weights, zero biases."""
    for layer in network.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def paper_init(network: nn.Module) -> nn.Module:
    """Section 4 of the paper: weights from N(0, .02). Scales of batch norm around 1, as in the authors' code."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
    return network
