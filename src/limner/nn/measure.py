"""Measurements: known ways in which a picture is seen badly, through which gradients pass.

Each is a function of pictures and of uniform numbers. All but the added noise are linear in the picture's brightness,
which is 0 at −1. What is measured has the picture's shape, so that any discriminator takes it.

Source: Bora et al. 2018, "AmbientGAN: Generative models from lossy measurements", ICLR
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil, hypot, pi

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d, conv2d, pad

from limner.core.errors import UsageError, nearest
from limner.core.random import normal_quantile
from limner.core.signal import Signal
from limner.nn.warp import warp


@dataclass(frozen=True)
class Measurement:
    """A measurement of one signal's pictures.

    draws   uniform numbers that it takes for a picture
    apply   (N, C, H, W) and (N, draws) → (N, C, H, W)
    """

    draws: int
    apply: Callable[[Tensor, Tensor], Tensor]


def measurement(text: str, signal: Signal) -> Measurement:
    """The measurement that a person names.

    text    block-pixels:P, keep-patch:PX, conv-noise:PX,STD or pad-rotate-project
    raises  UsageError   if there is no such measurement, or it does not suit the pictures
    """
    if signal.rank != 2:
        raise UsageError(f"--measure is for pictures, not {signal.describe()}", "leave out --measure")
    name, _, given = text.partition(":")
    short = min(signal.size)
    half = max(1, short // 2)
    forms = {
        "block-pixels": "block-pixels:0.5 sets half of the values to black; the share lies between 0 and 1",
        "keep-patch": f"keep-patch:{half} keeps a square of {half} px; 1 to {short - 1} px are possible",
        "conv-noise": "conv-noise:1,0.4 blurs by a Gaussian of 1 px, and adds noise of .4 on the scale of −1 to 1; it "
        f"takes less than {short / 2:g} px, and noise up to 10",
        "pad-rotate-project": "pad-rotate-project takes no numbers",
    }
    if name not in forms:
        raise UsageError(f"there is no measurement '{name}'", nearest(name, forms))
    try:
        numbers = [float(number) for number in given.split(",") if number]
    except ValueError:
        numbers = []
    match name, numbers:
        case "block-pixels", [p] if 0 < p < 1:
            return Measurement(signal.values, partial(block_pixels, p=p))
        case "keep-patch", [side] if side == int(side) and 1 <= side < short:
            return Measurement(2, partial(keep_patch, side=int(side)))
        case "conv-noise", [radius, std] if 0 < radius < short / 2 and 0 <= std <= 10:
            return Measurement(signal.values, partial(conv_noise, radius=radius, std=std))
        case "pad-rotate-project", [] if not given:
            return Measurement(1, pad_rotate_project)
    raise UsageError(f"'{text}' does not say how pictures of {signal.describe()} are measured", forms[name])


def block_pixels(x: Tensor, u: Tensor, p: float) -> Tensor:
    """Each value is black with probability p; the others stay as they are (the authors' code divides them by 1 - p).

    x        (N, C, H, W)
    u        (N, C · H · W)  uniform in [0, 1)
    """
    return torch.where(u.view(x.shape) < p, x.new_tensor(-1.0), x)


def keep_patch(x: Tensor, u: Tensor, side: int) -> Tensor:
    """All but a square at a random place is black.

    x        (N, C, H, W)
    u        (N, 2)         uniform in [0, 1): row, column
    side     of the square, px
    """
    inside = []
    for extent, chance in zip(x.shape[2:], u.unbind(1), strict=True):
        first = (chance * (extent - side + 1)).long()[:, None]
        place = torch.arange(extent, device=x.device)
        inside.append((place >= first) & (place < first + side))
    kept = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return torch.where(kept, x, x.new_tensor(-1.0))


def conv_noise(x: Tensor, u: Tensor, radius: float, std: float) -> Tensor:
    """Blurred, with black around the picture, and with noise added. Values may leave [-1, 1].

    x        (N, C, H, W)
    u        (N, C · H · W)  uniform in [0, 1)
    radius   standard deviation of the Gaussian, px; it is cut at three of them
    std      standard deviation of the noise, on the picture's scale
    """
    # bfloat16 has no number between 1 − 2⁻⁸ and 1, and a kernel rounded to it would brighten the picture.
    exact = torch.promote_types(x.dtype, torch.float32)
    x, u = x.to(exact), u.to(exact)
    reach = ceil(3 * radius)
    place = torch.arange(-reach, reach + 1, device=x.device, dtype=exact)
    weight = torch.exp(-(place**2) / (2 * radius**2))
    weight = weight / weight.sum()
    planes = (x + 1).flatten(0, 1)[:, None]
    with torch.autocast(x.device.type, enabled=False):
        planes = conv2d(conv2d(planes, weight.view(1, 1, -1, 1), padding=(reach, 0)), weight.view(1, 1, 1, -1),
                        padding=(0, reach))  # fmt: skip
    noise = normal_quantile(u) * std
    return planes.view(x.shape) - 1 + noise.view(x.shape)


def pad_rotate_project(x: Tensor, u: Tensor) -> Tensor:
    """Turned by a random angle and projected onto a line, as a scanner's detector sees a slice.

    Black is put around the picture so that no corner is lost; the mean brightness along each column of the turned
    picture is brought to the picture's width, and repeated down the rows. (The authors' figures on digits are of two
    angles a picture, told to a dense discriminator.)

    x        (N, C, H, W)
    u        (N, 1)         uniform in [0, 1): the angle, over the full circle
    """
    height, width = x.shape[2:]
    side = ceil(hypot(height, width))
    above, left = (side - height) // 2, (side - width) // 2
    padded = pad(x + 1, (left, side - width - left, above, side - height - above))
    angle = u[:, 0].to(torch.promote_types(x.dtype, torch.float32)) * (2 * pi)
    zero, sine, cosine = torch.zeros_like(angle), angle.sin(), angle.cos()
    turn = torch.stack([torch.stack([cosine, -sine, zero], 1), torch.stack([sine, cosine, zero], 1)], 1)
    line = warp(padded, turn, "zero").mean(2)
    # As a product, since pooling to a size that does not divide is not there on every device.
    share = adaptive_avg_pool1d(torch.eye(side)[None], width)[0].to(line)
    with torch.autocast(x.device.type, enabled=False):
        line = line @ share
    return (line - 1)[:, :, None].expand(-1, -1, height, -1).to(x.dtype)
