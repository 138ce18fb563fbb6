"""U-Net: a picture goes down to a small map and up again, and what was seen on the way down helps on the way up.

Source: Ronneberger et al. 2015, arXiv:1505.04597 (the shape); Song et al. 2021, arXiv:2011.13456 (DDPM++); Karras et
al. 2022, arXiv:2206.00364, table 7 (DDPM++ for 32×32 px, which `UNet` is by its defaults)
"""

from functools import partial
from math import sqrt
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.core.signal import Signal
from limner.nn.conv import Conv2d
from limner.nn.elementwise import Dropout

_SKIP = sqrt(0.5)
"""What a sum of two branches is multiplied with, so that its variance stays."""


class UNet(nn.Module):
    """A picture and a time, and maybe a class and a style, to a picture.

    channels     of the picture that comes in
    out          of the picture that goes out
    size         (H, W) in px
    width        channels of the largest map
    multipliers  channels of each level over width; each level has half the size of the one before
    blocks       blocks of each level on the way down; one more on the way up
    attention    maps with these shorter sides, in px, attend over their places; the smallest map always does
    dropout      rate within the blocks
    classes      how many classes there are; 0 for none
    style        length of a vector that scales and shifts every normalised map; 0 for none
    patch        side in px of the squares that become the first map's places: 2 quarters the work

    x       (N, channels, H, W)
    time    (N,)                 e.g. a number for the noise level
    label   (N,)                 needed where there are classes
    style   (N, style)           needed where there is one
    returns (N, out, H, W)
    """

    def __init__(
        self,
        channels: int,
        out: int,
        size: tuple[int, ...],
        *,
        width: int = 128,
        multipliers: tuple[int, ...] = (2, 2, 2),
        blocks: int = 4,
        attention: tuple[int, ...] = (16,),
        dropout: float = 0.0,
        classes: int = 0,
        style: int = 0,
        patch: int = 1,
    ) -> None:
        super().__init__()
        self.width, self.patch, self.classes = width, patch, classes
        deep = 4 * width
        self.time = nn.Sequential(_linear(width, deep), nn.SiLU(), _linear(deep, deep), nn.SiLU())
        self.label = _linear(classes, width) if classes else None
        sides = [min(size) // patch >> level for level in range(len(multipliers))]

        def block(before: int, after: int, side: int, resample: Resample = None, attend: bool = True) -> Block:
            return Block(before, after, deep, resample, attend and side in attention, dropout, style)

        now = width
        self.first = _conv(channels * patch**2, width)
        self.down, kept = nn.ModuleList(), [width]
        for level, (side, multiplier) in enumerate(zip(sides, multipliers, strict=True)):
            if level:
                self.down.append(block(now, now, side, "down", attend=False))
                kept.append(now)
            for _ in range(blocks):
                self.down.append(block(now, width * multiplier, side))
                now = width * multiplier
                kept.append(now)
        self.middle = nn.ModuleList(
            [Block(now, now, deep, None, True, dropout, style), block(now, now, 0, None, False)]
        )
        self.up = nn.ModuleList()
        for level in reversed(range(len(multipliers))):
            if level < len(multipliers) - 1:
                self.up.append(block(now, now, sides[level], "up", attend=False))
            for i in range(blocks + 1):
                after = width * multipliers[level]
                self.up.append(block(now + kept.pop(), after, sides[level], attend=i == blocks))
                now = after
        self.norm = _norm(now)
        self.last = _conv(now, out * patch**2, gain=1e-5)

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None, style: Tensor | None = None) -> Tensor:
        told = positions(time, self.width).to(x.dtype)
        if self.label is not None:
            if label is None:
                raise ValueError("this network needs each sample's class")
            told = told + self.label(F.one_hot(label, self.classes).to(told.dtype) * sqrt(self.classes))
        told = self.time(told)
        x = self.first(F.pixel_unshuffle(x, self.patch) if self.patch > 1 else x)
        kept = [x]
        for block in self.down:
            x = block(x, told, style)
            kept.append(x)
        for block in self.middle:
            x = block(x, told, style)
        for block in self.up:
            x = block(x if block.resample else torch.cat([x, kept.pop()], 1), told, style)
        x = self.last(F.silu(self.norm(x)))
        return F.pixel_shuffle(x, self.patch) if self.patch > 1 else x


Resample = Literal["up", "down"] | None


class Block(nn.Module):
    """Two convolutions beside a short cut, told of time and style; then, maybe, attention.

    x       (N, before, H, W)
    told    (N, told)
    style   (N, style), where there is one
    returns (N, after, H, W), or half or twice as large
    """

    def __init__(
        self, before: int, after: int, told: int, resample: Resample, attention: bool, dropout: float, style: int
    ) -> None:
        super().__init__()
        self.resample = resample
        self.norm_in, self.norm_out = StyledNorm(before, style), StyledNorm(after, style)
        self.conv_in, self.conv_out = _conv(before, after), _conv(after, after, gain=1e-5)
        self.told = _linear(told, after)
        self.dropout = Dropout(dropout)
        self.short = _conv(before, after, 1) if before != after or resample else nn.Identity()
        self.attention = Attention(after) if attention else nn.Identity()

    def forward(self, x: Tensor, told: Tensor, style: Tensor | None = None) -> Tensor:
        y = self.conv_in(self._resampled(F.silu(self.norm_in(x, style))))
        y = y + self.told(told)[:, :, None, None]
        y = self.conv_out(self.dropout(F.silu(self.norm_out(y, style))))
        return self.attention((y + self.short(self._resampled(x))) * _SKIP)

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample == "down":
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2, mode="nearest") if self.resample == "up" else x


class StyledNorm(nn.Module):
    """Group normalisation whose scale and shift come from a style, where there is one.

    Source: Huang & Belongie 2017, arXiv:1703.06868 (scales and shifts from a style)
    """

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.norm = _norm(channels, affine=not style)
        self.style = _linear(style, 2 * channels) if style else None

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        if self.style is None:
            return self.norm(x)
        if style is None:
            raise ValueError("this network needs a style")
        scale, shift = self.style(style)[:, :, None, None].chunk(2, 1)
        return torch.addcmul(shift, self.norm(x), 1 + scale)


class Attention(nn.Module):
    """Each place of a map looks at all others: one head, beside a short cut.

    x       (N, C, H, W)
    returns (N, C, H, W)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.ask = _conv(channels, 3 * channels, 1, gain=sqrt(0.2))
        self.answer = _conv(channels, channels, 1, gain=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.ask(self.norm(x)).reshape(*x.shape[:2], 3, -1).unbind(2)
        seen = F.scaled_dot_product_attention(query.mT[:, None], key.mT[:, None], value.mT[:, None])
        return (x + self.answer(seen[:, 0].mT.reshape(x.shape))) * _SKIP


def positions(time: Tensor, width: int) -> Tensor:
    """Times as sines and cosines of rising slowness.

    time     (N,)
    returns  (N, width)

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5, in the order of Song et al. 2021, arXiv:2011.13456
    """
    half = width // 2
    speed = (1 / 10_000) ** (torch.arange(half, dtype=torch.float32, device=time.device) / max(1, half - 1))
    angle = time.float()[:, None] * speed
    return F.pad(torch.cat([angle.sin(), angle.cos()], 1), (0, width % 2))


def sized_unet(
    signal: Signal, variant: str, width: int, classes: int = 0, channels: int | None = None, style: int = 0
) -> UNet:
    """A U-Net for pictures of a size.

    variant   small: one block a level, and pictures of 16 px or more are taken in squares of 2×2 px;
              paper: four blocks a level and dropout, as published for 32×32 px
    channels  of what comes in; the picture's where it is not given
    """
    size, patch = signal.size, 1
    if variant == "small":
        patch = 2 if min(size) >= 16 and _halvings(size) else 1
    levels = 1 + _halvings(tuple(side // patch for side in size))
    incoming = signal.channels if channels is None else channels
    build = partial(UNet, incoming, signal.channels, size, width=width, classes=classes, style=style, patch=patch)
    if variant == "small":
        return build(multipliers=(1, 2, 2, 2)[:levels], blocks=1, attention=())
    return build(multipliers=(2, 2, 2)[:levels], dropout=0.13)


def _halvings(size: tuple[int, ...], smallest: int = 4) -> int:
    """How often both sides of a picture can be halved while neither falls below `smallest` px."""
    times = 0
    while all(side % 2 == 0 and side // 2 >= smallest for side in size):
        size, times = tuple(side // 2 for side in size), times + 1
    return times


def _norm(channels: int, affine: bool = True) -> nn.Module:
    """Group normalisation in at most 32 groups of 4 channels or more."""
    groups = next(n for n in range(max(1, min(32, channels // 4)), 0, -1) if channels % n == 0)
    return nn.GroupNorm(groups, channels, eps=1e-6, affine=affine)


def _conv(before: int, after: int, kernel: int = 3, gain: float = 1.0) -> nn.Module:
    return _begun(Conv2d(before, after, kernel, padding=kernel // 2), gain)


def _linear(before: int, after: int) -> nn.Module:
    return _begun(nn.Linear(before, after), 1.0)


def _begun(layer: nn.Conv2d | nn.Linear, gain: float) -> nn.Module:
    """Glorot's uniform weights times a gain, zero biases: branches begin near zero where the gain is small."""
    nn.init.xavier_uniform_(layer.weight)
    with torch.no_grad():
        layer.weight.mul_(gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
