"""Augmentations that gradients pass through: what a discriminator sees of each picture, real or fake.

Pure functions of the pictures and of uniform numbers, so that the caller names the stream of randomness. They know
nothing of training. Pictures are in [-1, 1]; their middle, 0, fills what moves in from outside.
"""

from math import pi, sqrt

import torch
from torch import Tensor

from limner.core.random import normal_quantile
from limner.nn.warp import gathered, warp

DIFFAUGMENT_DRAWS = 7
"""Numbers that `diffaugment` takes for a picture."""
ADA_DRAWS = 28
"""Numbers that `ada` takes for a picture."""

# --- DiffAugment ------------------------------------------------------------------------------------------------------


def diffaugment(x: Tensor, u: Tensor) -> Tensor:
    """Colour, translation and cutout, each picture its own.

    x        (N, C, H, W)
    u        (N, 7)        uniform in [0, 1): brightness, saturation, contrast, shift down, right, hole's row, column
    returns  (N, C, H, W)

    Source: Zhao et al. 2020, arXiv:2006.10738
    """
    return cutout(translation(colour(x, u[:, :3]), u[:, 3:5]), u[:, 5:7])


def colour(x: Tensor, u: Tensor) -> Tensor:
    """Brightness ± ½; saturation × 0 to 2 around each pixel's grey; contrast × ½ to 1½ around the picture's mean.

    x        (N, C, H, W)
    u        (N, 3)        uniform in [0, 1)
    """
    brightness, saturation, contrast = u.to(x.dtype)[..., None, None, None].unbind(1)
    x = x + (brightness - 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (2 * saturation) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (contrast + 0.5) + mean


def translation(x: Tensor, u: Tensor, share: float = 0.125) -> Tensor:
    """Shifted by whole pixels, by at most `share` of the side; 0 moves in.

    x        (N, C, H, W)
    u        (N, 2)        uniform in [0, 1): rows, columns
    """
    places, inside = [], []
    for extent, chance in zip(x.shape[2:], u.unbind(1), strict=True):
        most = int(extent * share + 0.5)
        shift = (chance * (2 * most + 1)).long() - most
        place = torch.arange(extent, device=x.device) + shift[:, None]
        places.append(place.clamp(0, extent - 1))
        inside.append((place >= 0) & (place < extent))
    index = places[0][:, :, None] * x.shape[3] + places[1][:, None, :]
    kept = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return gathered(x, index.flatten(1)).view(x.shape) * kept


def cutout(x: Tensor, u: Tensor, share: float = 0.5) -> Tensor:
    """A rectangle of `share` of the sides is set to 0; where its middle is near the border, part of it lies outside.

    x        (N, C, H, W)
    u        (N, 2)        uniform in [0, 1): the middle's row and column
    """
    holes = []
    for extent, chance in zip(x.shape[2:], u.unbind(1), strict=True):
        hole = int(extent * share + 0.5)
        first = (chance * (extent + 1 - hole % 2)).long() - hole // 2
        place = torch.arange(extent, device=x.device)
        holes.append((place >= first[:, None]) & (place < first[:, None] + hole))
    return x * ~(holes[0][:, None, :, None] & holes[1][:, None, None, :])


# --- ADA --------------------------------------------------------------------------------------------------------------


def ada(x: Tensor, u: Tensor, p: float, colours: float = 1.0) -> Tensor:
    """Flips, turns, shifts, scales and colours, each with probability p.

    The published pipeline "bgc": pixel blitting, general geometry, colour. Pictures are resampled bilinearly, where the
    authors filter at twice the size.

    x        (N, C, H, W)
    u        (N, 28)       uniform in [0, 1)
    p        how likely each change is; 0 leaves pictures as they are
    colours  how likely a change of colour is beside the others
    returns  (N, C, H, W)

    Source: Karras et al. 2020, arXiv:2006.06676, appendix B; strengths as in the authors' code
    """
    if p <= 0:
        return x
    u = u.to(torch.promote_types(x.dtype, torch.float32))
    # Autocast would round places to bfloat16's 8 bits, which is several px in a large picture, and hues too.
    with torch.autocast(x.device.type, enabled=False):
        x = warp(x, geometry(u[:, :18], p, *x.shape[2:])[:, :2], "reflect")
        return recoloured(x, u[:, 18:], colours * p)


def geometry(u: Tensor, p: float, height: int, width: int) -> Tensor:
    """The map from a made pixel's place to its source's, in px from the centre.

    u        (N, 18)       uniform in [0, 1)
    p        how likely each change is
    returns  (N, 3, 3)
    """
    chance = iter(u.unbind(1))

    def drawn(value: Tensor, neutral: float, likely: float = p) -> Tensor:
        return torch.where(next(chance) < likely, value, torch.full_like(value, neutral))

    def shifted(right: Tensor, down: Tensor) -> Tensor:
        moved = next(chance) < p
        return _shifting(right * moved, down * moved)

    # Turned before and after the stretching, so that either happens with probability p.
    once = 1 - sqrt(1 - min(p, 1.0))
    one = torch.ones_like(u[:, 0])
    mirror = drawn(1 - 2 * (next(chance) * 2).floor(), 1.0)
    result = _scaling(mirror, one)
    result = result @ _turning(drawn((next(chance) * 4).floor(), 0.0) * (pi / 2))
    result = result @ shifted(*(((2 * next(chance) - 1) * 0.125 * extent).round() for extent in (width, height)))
    scale = drawn(torch.exp2(normal_quantile(next(chance)) * 0.2), 1.0)
    result = result @ _scaling(1 / scale, 1 / scale)
    result = result @ _turning(drawn((2 * next(chance) - 1) * pi, 0.0, once))
    stretch = drawn(torch.exp2(normal_quantile(next(chance)) * 0.2), 1.0)
    result = result @ _scaling(1 / stretch, stretch)
    result = result @ _turning(drawn((2 * next(chance) - 1) * pi, 0.0, once))
    return result @ shifted(*(normal_quantile(next(chance)) * 0.125 * extent for extent in (width, height)))


def recoloured(x: Tensor, u: Tensor, p: float) -> Tensor:
    """Brightness, contrast, and in colour: luma flip, hue, saturation.

    x        (N, C, H, W)
    u        (N, 10)       uniform in [0, 1)
    p        how likely each change is
    """
    chance = iter(u.unbind(1))

    def drawn(value: Tensor, neutral: float) -> Tensor:
        return torch.where(next(chance) < p, value, torch.full_like(value, neutral))[:, None, None]

    brightness = drawn(normal_quantile(next(chance)) * 0.2, 0.0)
    contrast = drawn(torch.exp2(normal_quantile(next(chance)) * 0.5), 1.0)
    flip = drawn((next(chance) * 2).floor(), 0.0)
    pixels = x.flatten(2)
    if x.shape[1] != 3:
        # Grey lies on the luma axis, which a flip turns round; hue and saturation leave it where it is.
        return (contrast * (pixels + brightness) * (1 - 2 * flip)).view(x.shape)
    angle, saturation = (
        drawn((2 * next(chance) - 1) * pi, 0.0), drawn(torch.exp2(normal_quantile(next(chance))), 1.0),
    )  # fmt: skip
    axis = u.new_full((3,), 1 / sqrt(3))
    along, eye = torch.outer(axis, axis), torch.eye(3).to(u)
    cross = torch.linalg.cross(eye, axis.expand(3, 3))
    turn = angle.cos() * eye + angle.sin() * cross + (1 - angle.cos()) * along
    matrix = (along + saturation * (eye - along)) @ turn @ (eye - 2 * flip * along)
    return (matrix @ (contrast * (pixels + brightness))).view(x.shape)


def _matrix(*rows: tuple[Tensor, ...]) -> Tensor:
    """(N, 3, 3) from the two first rows of an affine map."""
    zero, one = torch.zeros_like(rows[0][0]), torch.ones_like(rows[0][0])
    return torch.stack([torch.stack(row, -1) for row in (*rows, (zero, zero, one))], 1)


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    zero = torch.zeros_like(x)
    return _matrix((x, zero, zero), (zero, y, zero))


def _turning(angle: Tensor) -> Tensor:
    zero, sine, cosine = torch.zeros_like(angle), angle.sin(), angle.cos()
    return _matrix((cosine, -sine, zero), (sine, cosine, zero))


def _shifting(x: Tensor, y: Tensor) -> Tensor:
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return _matrix((one, zero, -x), (zero, one, -y))
