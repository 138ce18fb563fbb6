"""Discriminators that several methods share: samples in, one score each out. They go by the generators' names."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.errors import UsageError
from limner.core.signal import Signal
from limner.nn.conv import Conv2d
from limner.nn.elementwise import Dropout
from limner.nn.function import Function
from limner.nn.generators import dcgan_init, halved, keras_init, quarter
from limner.nn.labels import LabelledSamples, Projection, Unlabelled
from limner.nn.spectral import spectral as normalised

Judge = Callable[[Tensor, Tensor | None], Tensor]


class Layers(NamedTuple):
    """A discriminator before it is put together.

    features  (N, C, *size) → (N, …)
    size      how many features a sample has
    head      from the features to (N, 1, …)
    """

    features: nn.Sequential
    size: int
    head: nn.Module


def discriminator(
    network: str,
    signal: Signal,
    width: int,
    conditioning: str = "none",
    *,
    norm: bool = True,
    spectral: bool = False,
    packed: int = 1,
) -> nn.Module:
    """A discriminator: (N, C, *size) and labels (N,) → (N,) scores, positive for real.

    network       dense, dcgan, mnist, mixture, tiny_quarter or tiny_half
    width         its measure, see each
    conditioning  how it learns of the class: none, concat or projection
    norm          whether layers that have batch norm where they were published keep it
    spectral      whether each weight is divided by its largest stretch; batch norm is left out then
    packed        samples that are joined along the channels and judged together; labels are (N, packed)
    raises        UsageError   if the network does not suit the signal
    """
    seen = signal.channels * packed * (2 if conditioning == "concat" else 1)
    layers = layers_of(network, signal.model_copy(update={"channels": seen}), width, norm=norm and not spectral)
    whole: nn.Module
    if conditioning == "projection":
        whole = Projection(*layers, classes=signal.classes)
    else:
        whole = Unlabelled(*layers.features, layers.head, nn.Flatten(0))
        if conditioning == "concat":
            whole = LabelledSamples(whole, signal.classes, signal.values)
    return normalised(whole) if spectral else whole


def layers_of(network: str, signal: Signal, width: int, *, norm: bool = True) -> Layers:
    """A discriminator's layers, for heads of another kind. Parameters as of `discriminator`."""
    build = {"dense": dense, "dcgan": dcgan, "mnist": keras, "mixture": mixture}.get(network)
    if build is None:
        return tiny(signal, width // 2 if network == "tiny_half" else width // 4, norm)
    return build(signal, width, norm)


def together(judge: Judge, real: Tensor, fake: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
    """The scores of real samples and of fakes, (N,) each, by one pass of a discriminator that sees each by itself.

    Each transform of a kernel serves both. Real samples and fakes take turns, so that a part of the batch is a part of
    both.

    judge       (2·N, C, *size) and labels (2·N,) → (2·N,)
    real, fake  (N, C, *size)
    label       (N,) or (N, packed)  of both
    """
    on_both = judge(interleaved(real, fake), None if label is None else label.repeat_interleave(2, 0))
    return apart(on_both)


def interleaved(real: Tensor, fake: Tensor) -> Tensor:
    """(N, *shape) each → (2·N, *shape): a real one, a fake, a real one …, of the fakes' type."""
    return torch.stack([real.to(fake), fake], 1).flatten(0, 1)


def apart(both: Tensor) -> tuple[Tensor, Tensor]:
    """(2·N, …) → what belongs to real samples and what to fakes, (N, …) each, where they were interleaved."""
    of_real, of_fake = both.unflatten(0, (-1, 2)).unbind(1)
    return of_real, of_fake


def dense(signal: Signal, width: int, norm: bool) -> Layers:
    """(N, C, *size), any signal: three hidden layers of 4·width, 2·width and width; it has no batch norm."""
    features = nn.Sequential(
        nn.Flatten(),
        nn.Linear(signal.values, 4 * width),
        nn.LeakyReLU(0.2),
        nn.Linear(4 * width, 2 * width),
        nn.LeakyReLU(0.2),
        nn.Linear(2 * width, width),
        nn.LeakyReLU(0.2),
    )
    return Layers(features, width, nn.Linear(width, 1))


def dcgan(signal: Signal, width: int, norm: bool) -> Layers:
    """(N, C, H, W): halved to a map of 4 to 7 px. Batch norm on all but the first and the last layer.

    Source: Radford et al. 2016, arXiv:1511.06434
    """
    last, times = halved(signal)
    layers: list[nn.Module] = [Conv2d(signal.channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for _ in range(times - 1):
        layers.append(Conv2d(width, 2 * width, 4, 2, 1, bias=not norm))
        layers += [nn.BatchNorm2d(2 * width)] if norm else []
        layers.append(nn.LeakyReLU(0.2))
        width *= 2
    features, head = nn.Sequential(*layers), Conv2d(width, 1, last, 1, 0)
    dcgan_init(features)
    dcgan_init(head)
    return Layers(features, width * last[0] * last[1], head)


def keras(signal: Signal, width: int, norm: bool) -> Layers:
    """(N, C, H, W), with H and W multiples of 4: 5×5 kernels and dropout; it has no batch norm."""
    h, v = quarter(signal)
    features = nn.Sequential(
        Conv2d(signal.channels, width, 5, 2, padding="same"),
        nn.LeakyReLU(0.3),
        Dropout(0.3, inplace=True),
        Conv2d(width, 2 * width, 5, 2, padding="same"),
        nn.LeakyReLU(0.3),
        Dropout(0.3, inplace=True),
    )
    head = Head(2 * width * h * v, 1)
    keras_init(features)
    keras_init(head)
    return Layers(features, 2 * width * h * v, head)


def mixture(signal: Signal, width: int, norm: bool) -> Layers:
    """(N, C, *size): three layers of width/2 units, each the largest of five; for points in the plane.

    They see original coordinates, as published.

    Source: Lin et al. 2018, arXiv:1712.04086 (width 400); the units are Goodfellow et al. 2013, arXiv:1302.4389
    """
    units = max(1, width // 2)
    layers: list[nn.Module] = [ToOriginal(signal.scale)]
    for inputs in (signal.values, units, units):
        layers += [nn.Linear(inputs, 5 * units), Maxout(5)]
    features, head = nn.Sequential(*layers), nn.Linear(units, 1)
    dcgan_init(features)
    dcgan_init(head)
    return Layers(features, units, head)


def tiny(signal: Signal, width: int, norm: bool) -> Layers:
    """(N, C, H, W): three halved with width, 2·width and 4·width channels.

    Source: Metz et al. 2017, arXiv:1611.02163, the stacked MNIST networks (width 2 and 4)
    """
    if signal.rank != 2:
        raise UsageError(f"the tiny networks judge pictures, not {signal.describe()}", "give another --network")
    before, wide, (h, v) = signal.channels, max(1, width), signal.size
    layers: list[nn.Module] = []
    for _ in range(3):
        layers.append(Conv2d(before, wide, 3, 2, 1, bias=not norm))
        layers += [nn.BatchNorm2d(wide)] if norm else []
        layers.append(nn.LeakyReLU(0.3))
        before, wide, h, v = wide, 2 * wide, -(-h // 2), -(-v // 2)
    features, head = nn.Sequential(*layers), Head(before * h * v, 1)
    dcgan_init(features)
    dcgan_init(head)
    return Layers(features, before * h * v, head)


class Head(nn.Linear):
    """torch.nn.Linear on whole maps: (N, C, H, W) → (N, out), as if they were flattened first.

    Maps in channels_last stay as they lie: the weight is turned to their order, for it is far smaller.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x.flatten(1))
        weight = self.weight.unflatten(1, x.shape[1:]).permute(0, 2, 3, 1).flatten(1)
        return F.linear(x.permute(0, 2, 3, 1).flatten(1), weight, self.bias)


class _Largest(Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.amax(1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        # Here, and not in the backward pass, of which a slope penalty makes two. 1 for the largest: comparing, and
        # counting in whole numbers as autograd does, takes several times longer.
        share = (inputs[0].detach() - output.detach().unsqueeze(1)).sign_().add_(1)
        ctx.save_for_backward(share.div_(share.sum(1, keepdim=True)))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (share,) = ctx.saved_tensors
        return share * grad.unsqueeze(1)


class ToOriginal(nn.Module):
    """(N, C, *size) in the signal's coordinates → (N, values) in the original ones."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) * self.scale


class Maxout(nn.Module):
    """(N, pieces·units) → (N, units): the largest of each unit's pieces, which lie `units` apart.

    Where several are the largest, they share the gradient.
    """

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        pieces = x.unflatten(1, (self.pieces, -1))
        if not torch.is_grad_enabled():
            return pieces.amax(1)
        largest: Tensor = _Largest.apply(pieces)  # type: ignore[no-untyped-call]
        return largest
