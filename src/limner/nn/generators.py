"""Generators that several methods share: noise in, samples out. Each is named by a setting, `network`."""

from torch import Tensor, nn

from limner.core.errors import UsageError
from limner.core.signal import Signal
from limner.nn.conv import Conv2d, ConvTranspose2d
from limner.nn.labels import LabelledNoise, Unlabelled

_POINTS = "points are made by --network mixture, which limner train gan has"


def generator(network: str, signal: Signal, latent: int, width: int, labelled: bool = False) -> nn.Module:
    """A generator: (N, latent) noise and (N,) labels → (N, C, *size).

    network   dense, dcgan, mnist, mixture, tiny_quarter or tiny_half
    width     its measure, see each
    labelled  whether it makes the class it is asked for
    raises    UsageError   if the network does not suit the signal
    """
    build = {"dense": dense, "dcgan": dcgan, "mnist": keras, "mixture": mixture}.get(network, tiny)
    if not labelled:
        return build(signal, latent, width)
    # A class weighs as much as the noise: both are standard normal and have the same count.
    return LabelledNoise(build(signal, 2 * latent, width), signal.classes, latent)


def dense(signal: Signal, latent: int, width: int) -> Unlabelled:
    """(N, latent) → (N, C, *size) in [-1, 1], for any signal: three hidden layers of width, 2·width and 4·width."""
    return Unlabelled(
        nn.Linear(latent, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, 2 * width),
        nn.LeakyReLU(0.2),
        nn.Linear(2 * width, 4 * width),
        nn.LeakyReLU(0.2),
        nn.Linear(4 * width, signal.values),
        nn.Tanh(),
        nn.Unflatten(1, signal.shape),
    )


def dcgan(signal: Signal, latent: int, width: int) -> Unlabelled:
    """(N, latent) → (N, C, H, W) in [-1, 1]: a small map, doubled to H×W. Batch norm on all but the last layer.

    Source: Radford et al. 2016, arXiv:1511.06434; for other sides than powers of two the first map is not 4×4
    """
    start, doublings = halved(signal)
    wide = width << (doublings - 1)
    layers = [
        nn.Unflatten(1, (latent, 1, 1)),
        ConvTranspose2d(latent, wide, start, 1, 0, bias=False),
        nn.BatchNorm2d(wide),
        nn.ReLU(),
    ]
    while wide > width:
        layers += [ConvTranspose2d(wide, wide // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(wide // 2), nn.ReLU()]
        wide //= 2
    network = Unlabelled(*layers, ConvTranspose2d(wide, signal.channels, 4, 2, 1), nn.Tanh())
    dcgan_init(network)
    return network


def keras(signal: Signal, latent: int, width: int) -> Unlabelled:
    """(N, latent) → (N, C, H, W) in [-1, 1], with H and W multiples of 4: the form that newcomers meet."""
    h, v = quarter(signal)
    network = Unlabelled(
        nn.Linear(latent, 4 * width * h * v, bias=False),
        _keras_norm(nn.BatchNorm1d, 4 * width * h * v),
        nn.LeakyReLU(0.3),
        nn.Unflatten(1, (4 * width, h, v)),
        ConvTranspose2d(4 * width, 2 * width, 5, 1, padding="same", bias=False),
        _keras_norm(nn.BatchNorm2d, 2 * width),
        nn.LeakyReLU(0.3),
        ConvTranspose2d(2 * width, width, 5, 2, padding="same", bias=False),
        _keras_norm(nn.BatchNorm2d, width),
        nn.LeakyReLU(0.3),
        ConvTranspose2d(width, signal.channels, 5, 2, padding="same", bias=False),
        nn.Tanh(),
    )
    keras_init(network)
    return network


def mixture(signal: Signal, latent: int, width: int) -> Unlabelled:
    """(N, latent) → (N, C, *size) without a bound: four hidden layers with batch norm, for points in the plane.

    The last layer makes original coordinates, as published: the same weights would reach less far in smaller ones.

    Source: Lin et al. 2018, arXiv:1712.04086 (width 400)
    """
    layers: list[nn.Module] = []
    for inputs in (latent, *[width] * 3):
        layers += [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU()]
    network = Unlabelled(*layers, nn.Linear(width, signal.values), FromOriginal(signal))
    dcgan_init(network)
    return network


class FromOriginal(nn.Module):
    """(N, values) in original coordinates → (N, C, *size) in the signal's."""

    def __init__(self, signal: Signal) -> None:
        super().__init__()
        self.shape, self.scale = signal.shape, signal.scale

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, self.shape) / self.scale


def tiny(signal: Signal, latent: int, width: int) -> Unlabelled:
    """(N, latent) → (N, C, H, W) in [-1, 1]: three doublings and a convolution, 8·width channels to width.

    Source: Metz et al. 2017, arXiv:1611.02163, the stacked MNIST networks (width 8)
    """
    if signal.rank != 2:
        raise UsageError(f"the tiny networks make pictures, not {signal.describe()}", "give another --network")
    sizes = [signal.size]
    for _ in range(3):
        sizes.insert(0, tuple(-(-side // 2) for side in sizes[0]))
    layers: list[nn.Module] = [
        nn.Linear(latent, 8 * width * sizes[0][0] * sizes[0][1]),
        nn.Unflatten(1, (8 * width, *sizes[0])),
        nn.BatchNorm2d(8 * width),
        nn.ReLU(),
    ]
    for wide, small, big in zip((4 * width, 2 * width, width), sizes, sizes[1:], strict=False):
        extra = tuple(b - (2 * s - 1) for s, b in zip(small, big, strict=True))
        doubled = ConvTranspose2d(2 * wide, wide, 3, 2, 1, output_padding=extra, bias=False)
        layers += [doubled, nn.BatchNorm2d(wide), nn.ReLU()]
    network = Unlabelled(*layers, Conv2d(width, signal.channels, 3, 1, 1), nn.Tanh())
    dcgan_init(network)
    return network


def halved(signal: Signal) -> tuple[tuple[int, int], int]:
    """The last size of a picture that is halved until its shorter side is 4 to 7 px, and how often that takes.

    raises UsageError   if the signal is no picture, or it cannot be halved so far
    """
    times = signal.halvings()
    if not times:
        raise UsageError(
            f"these convolutions need pictures that can be halved down to 4 to 7 px, not {signal.describe()}",
            "give --size 32, say; or --network dense, where the method has it" if signal.rank else _POINTS,
        )
    return (signal.size[0] >> times, signal.size[1] >> times), times


def quarter(signal: Signal) -> tuple[int, int]:
    """A quarter of a picture's height and width.

    raises UsageError   if the signal is no picture, or its sides are no multiples of 4
    """
    if signal.rank != 2 or signal.size[0] % 4 or signal.size[1] % 4:
        raise UsageError(
            f"the mnist networks need pictures with sides that 4 divides, not {signal.describe()}",
            "give another --size, or another network" if signal.rank else _POINTS,
        )
    return signal.size[0] // 4, signal.size[1] // 4


def _keras_norm(norm: type[nn.BatchNorm1d] | type[nn.BatchNorm2d], channels: int) -> nn.Module:
    """Batch normalisation with Keras's defaults: ε 1e-3, and .99 of the running averages kept."""
    return norm(channels, eps=1e-3, momentum=0.01)


def keras_init(network: nn.Module) -> None:
    """Keras's defaults: Glorot-uniform weights, zero biases."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def dcgan_init(network: nn.Module) -> None:
    """Weights from N(0, .02), section 4 of the DCGAN paper; biases 0 and scales of batch norm around 1, as in its
    authors' code."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
