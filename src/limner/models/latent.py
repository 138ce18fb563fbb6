"""Latent: the noise behind a picture, found by looking for the sample that is nearest to it."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.core.random import normal
from limner.features.network import Features
from limner.tasks.generate import Generate

_TRIES, _FEWEST = 500, 16
_RATE = 0.05


@dataclass(frozen=True)
class Found:
    """The nearest sample so far.

    z         (latent,)
    label     (1,) its class, where the method makes classes; (1, text) its caption, where it makes captions
    sample    (C, H, W)
    pixels    root of the mean squared difference, of a range of 2
    features  the same of the features' unit vectors; 0 where nothing looks
    """

    z: Tensor
    label: Tensor | None
    sample: Tensor
    pixels: float
    features: float


def nearest(
    method: Generate, picture: Tensor, eye: Features | None, *, steps: int, seed: int, label: Tensor | None = None
) -> Iterator[Found]:
    """Look for the noise whose sample is nearest to a picture, by pixels and by what a feature network sees.

    It begins with the nearest of many random samples and goes downhill. The noise's length is kept within √latent ± 2
    (each by itself, where a sample reads several), where all but a few in a thousand random noises lie, because a
    generator knows no others.

    method   in evaluation mode
    picture  (C, H, W) in [-1, 1]
    eye      looks at both; None for pixels alone
    label    (1,) or (1, text)  the class or caption to stay with; the best start's where it is not given
    yields   the nearest so far, after the start and after each step
    """
    target = picture[None].to(method.device)
    seen = None if eye is None else _unit(eye(target))

    def distances(made: Tensor) -> tuple[Tensor, Tensor]:
        """(N,) squared, by pixels and by features."""
        by_features = made.new_zeros(len(made))
        if eye is not None and seen is not None:
            by_features = (_unit(eye(made)) - seen).square().sum(1)
        return (made - target).square().flatten(1).mean(1), by_features

    # A method that passes often through its network would look for minutes before it begins.
    tries = max(_FEWEST, _TRIES // method.passes)
    noise = normal(seed, tries, method.latent, "project")
    label = method.in_turn(tries) if label is None else label.expand(tries, *label.shape[1:])
    with torch.no_grad():
        apart = sum(distances(method.draw(noise, label).to(target.device)))
    assert isinstance(apart, Tensor)
    first = int(apart.argmin())
    chosen = None if label is None else label[first : first + 1].to(target.device)
    # Samples drawn in inference mode cannot be differentiated, so the walk begins from a noise of its own.
    z = noise[first : first + 1].clone().to(target.device).requires_grad_()
    optimiser = torch.optim.Adam([z], lr=_RATE)
    best: Found | None = None
    for _ in range(steps + 1):
        made = method.generate(z, chosen)
        pixels, features = distances(made)
        whole = (pixels + features).sum()
        if best is None or float(whole.detach()) < best.pixels**2 + best.features**2:
            best = Found(
                z.detach()[0].cpu().clone(), None if chosen is None else chosen.cpu(),
                made.detach()[0].clamp(-1, 1).cpu(),
                float(pixels.detach().sqrt()), float(features.detach().sqrt()),
            )  # fmt: skip
        yield best
        (z.grad,) = torch.autograd.grad(whole, z)
        optimiser.step()
        with torch.no_grad():
            for block in z.split(method.blocks, 1):
                length, usual = block.norm(), block.shape[1] ** 0.5
                block.mul_(length.clamp(max(0.0, usual - 2), usual + 2) / length)


def _unit(x: Tensor) -> Tensor:
    return torch.nn.functional.normalize(x, dim=1)
