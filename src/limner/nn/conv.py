"""Convolutions with TensorFlow's 'same' padding that are several times quicker on small maps on a CPU.

A CPU's usual convolution multiplies every tap with every position for every pair of channels. On the 7×7 and 14×14
maps of a small generator it is cheaper to go through frequencies. Both kinds of convolution are one sum

    small[o] = Σ_j big[s·o + j − l] · w[j]           the convolution of stride s with l zeros on the left, per axis
    big[s·o + j − l] = Σ small[o] · w[j]             its transpose

Split the positions of the big side into s phases, a = s·q + r. In phase r only the taps with s·m = j − r − l meet it,
and the sum is a plain correlation, q = o + m. Taken modulo n that is a product of Fourier transforms, and it is exact
when q − o − m never reaches ±n: for a 'same' 5×5 kernel on 7×7 n = 9 is enough where a whole product would need 11,
because what wraps around falls on outputs that nobody asked for. A real n×n transform has about n²/2 frequencies, and
Gauss multiplies complex numbers with three real products: 121 products in place of 1225 for each pair of channels.

So a convolution is three small matrices: U on the big side, V on the kernel, S on the small side. It transforms with U
and V, multiplies channels one frequency at a time, and returns with Sᵀ; its transpose goes in by S and out by Uᵀ.
All are batched matrix products on channels_last data without a permuting copy, and autograd differentiates them to
any order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pair = tuple[int, int]
Padding = int | Pair | Literal["same"]

_plain: ContextVar[bool] = ContextVar("plain", default=False)


@contextmanager
def plain() -> Iterator[None]:
    """In this context the layers of limner.nn use PyTorch's own operations, so that both forms can be compared."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def quick(x: Tensor) -> bool:
    """Whether a quick form may be used for x: on a CPU, in the precision of x, and not while a graph is recorded."""
    recorded = torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export() or torch.jit.is_tracing()
    return x.device.type == "cpu" and not (_plain.get() or recorded or torch.is_autocast_enabled("cpu"))


def same_padding(size: int, kernel: int, stride: int) -> Pair:
    """Zeros that TensorFlow's 'same' puts on the left and right of one axis, so that ⌈size / stride⌉ outputs remain."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class Geometry(NamedTuple):
    """Sizes of a convolution, height then width; the big side is its input, or the output of its transpose."""

    big: Pair
    small: Pair
    kernel: Pair
    stride: Pair
    left: Pair


class Frequencies(NamedTuple):
    """The matrices U, V and S for R products, P = s·s phases of Q positions each, K taps and O small positions.

    big     (R, Q)
    kernel  (R·P, K)
    small   (R, O)
    """

    big: Tensor
    kernel: Tensor
    small: Tensor


def _period(big: int, small: int, kernel: int, stride: int, left: int) -> int:
    """The smallest n for which q − o − m never reaches ±n, on one axis."""
    least, most = math.ceil((1 - stride - left) / stride), (kernel - 1 - left) // stride
    return max(math.ceil(big / stride) - 1 - least, small - 1 + most) + 1


@lru_cache(maxsize=64)
def frequencies(g: Geometry, dtype: torch.dtype) -> Frequencies:
    """The matrices of a convolution, made once for each geometry.

    Source: Gauss's three products for the complex one, k₁ = w′(x′ + x″), k₂ = x′(w″ − w′), k₃ = x″(w′ + w″)
    """
    with torch.inference_mode(False), torch.device("cpu"):
        return _frequencies(g, dtype)


def _frequencies(g: Geometry, dtype: torch.dtype) -> Frequencies:
    n = [_period(*axis) for axis in zip(*g, strict=True)]
    # Of each pair of frequencies ±f only one is needed, as the data are real.
    half = [(y, x) for y in range(n[0]) for x in range(n[1]) if (y, x) <= (-y % n[0], -x % n[1])]
    lone = torch.tensor([(y, x) == (-y % n[0], -x % n[1]) for y, x in half])
    turn = 2 * math.pi * torch.tensor(half, dtype=torch.float64) / torch.tensor(n)

    def wave(places: list[Pair]) -> Tensor:
        angle = turn @ torch.tensor(places, dtype=torch.float64).T
        return torch.polar(torch.ones_like(angle), angle)

    def grid(height: int, width: int) -> list[Pair]:
        return [(y, x) for y in range(height) for x in range(width)]

    (sy, sx), (ly, lx) = g.stride, g.left
    x = wave(grid(math.ceil(g.big[0] / sy), math.ceil(g.big[1] / sx)))
    y = wave(grid(*g.small)).conj() * torch.where(lone, 1, 2)[:, None] / (n[0] * n[1])
    w = torch.stack([
        wave([((j - r - ly) // sy, (i - c - lx) // sx) for j, i in grid(*g.kernel)]).conj()
        * torch.tensor([(j - r - ly) % sy == 0 and (i - c - lx) % sx == 0 for j, i in grid(*g.kernel)])
        for r, c in grid(sy, sx)
    ], dim=1)  # fmt: skip

    def rows(first: Tensor, second: Tensor, third: Tensor) -> Tensor:
        return torch.cat([first, second[~lone], third[~lone]]).to(dtype)

    return Frequencies(
        rows(torch.where(lone[:, None], x.real, x.real + x.imag), x.real, x.imag),
        rows(w.real, w.imag - w.real, w.real + w.imag).flatten(0, 1),
        rows(torch.where(lone[:, None], y.real, y.real - y.imag), -y.imag, -y.real),
    )


class _Product(torch.autograd.Function):
    """x wᵀ for each frequency; unlike autograd's own it gives the gradient of w in the order of w."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, w: Tensor) -> Tensor:
        return torch.bmm(x, w.mT)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, w = ctx.saved_tensors
        need_x, need_w = ctx.needs_input_grad
        return torch.bmm(grad, w) if need_x else None, torch.bmm(grad.mT, x) if need_w else None


def _transform(matrix: Tensor, x: Tensor, start: Tensor | None = None) -> Tensor:
    """matrix (A, B) times each x (N, B, C), plus start (C,) if there is one: (N, A, C)."""
    each = matrix.expand(len(x), *matrix.shape)
    return torch.bmm(each, x) if start is None else torch.baddbmm(start, each, x)


def _kernel(weight: Tensor, f: Frequencies) -> Tensor:
    """weight (S, B, *kernel) by frequency, the phases of the big side beside its channels: (R, S, P·B)."""
    each = _transform(f.kernel, weight.flatten(2).mT)
    return each.view(len(weight), len(f.big), -1).transpose(0, 1)


def frequency_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry) -> Tensor:
    """Convolution of x (N, B, *g.big) with weight (S, B, *g.kernel): (N, S, *g.small)."""
    f = frequencies(g, x.dtype)
    (sy, sx), (h, w) = g.stride, [math.ceil(b / s) for b, s in zip(g.big, g.stride, strict=True)]
    x = F.pad(x, (0, w * sx - g.big[1], 0, h * sy - g.big[0])) if (h * sy, w * sx) != g.big else x
    x = x.permute(0, 2, 3, 1).reshape(len(x), h, sy, w, sx, -1).transpose(2, 3).reshape(len(x), h * w, -1)
    product = _Product.apply(_transform(f.big, x).transpose(0, 1), _kernel(weight, f))
    y = _transform(f.small.mT, product.transpose(0, 1), bias)
    return y.view(len(y), *g.small, -1).permute(0, 3, 1, 2)


def frequency_conv_transpose2d(x: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry) -> Tensor:
    """Transposed convolution of x (N, S, *g.small) with weight (S, B, *g.kernel): (N, B, *g.big)."""
    f = frequencies(g, x.dtype)
    (sy, sx), (h, w) = g.stride, [math.ceil(b / s) for b, s in zip(g.big, g.stride, strict=True)]
    x = x.permute(0, 2, 3, 1).reshape(len(x), -1, x.shape[1])
    product = torch.bmm(_transform(f.small, x).transpose(0, 1), _kernel(weight, f))
    y = _transform(f.big.mT, product.transpose(0, 1), None if bias is None else bias.repeat(sy * sx))
    y = y.view(len(y), h, w, sy, sx, -1).transpose(2, 3).reshape(len(y), h * sy, w * sx, -1)
    return y[:, : g.big[0], : g.big[1]].permute(0, 3, 1, 2)


def pays(g: Geometry, batch: int, small: int, big: int) -> bool:
    """Whether frequencies should beat PyTorch's own convolution, by counted multiplications.

    small, big   channels of each side

    The weights of the count were fitted on two Zen 3 cores: transforms run at about 0.7 of the speed of the channel
    products, which run at that of PyTorch's convolution; the rest is for copies.
    """
    n = [_period(*axis) for axis in zip(*g, strict=True)]
    alone = math.prod(2 - k % 2 for k in n)
    products = (3 * math.prod(n) - alone) // 2
    phases, taps, spots = math.prod(g.stride), math.prod(g.kernel), math.prod(g.small)
    transforms = products * (math.prod(g.big) * big + spots * small + phases * taps * big * small / batch)
    return products * phases * big * small + 1.4 * transforms < 0.8 * taps * spots * big * small


def _serves(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor, g: Geometry) -> bool:
    ordinary = layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros"
    kind = x.dim() == 4 and len(x) > 0 and x.dtype == layer.weight.dtype in (torch.float32, torch.float64)
    small, big = layer.weight.shape[:2]
    return ordinary and kind and quick(x) and min(*g.big, *g.small) > 0 and pays(g, len(x), small, big)


class Conv2d(nn.Conv2d):
    """torch.nn.Conv2d whose padding="same" is TensorFlow's for any stride, and quick on small maps on a CPU.

    x         (N, C, H, W)
    returns   (N, C', ⌈H / stride⌉, ⌈W / stride⌉)   with padding="same"

    TensorFlow puts the odd zero on the right: a 5×5 kernel with stride 2 on 28 px is padded by 1 and 2.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: Padding = 0,
        **options: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, 0 if padding == "same" else padding, **options)
        self.same = padding == "same"

    def forward(self, x: Tensor) -> Tensor:
        size, reach = x.shape[-2:], [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        if self.same:
            pads = [same_padding(*axis) for axis in zip(size, reach, self.stride, strict=True)]
        elif isinstance(self.padding, str):
            return super().forward(x)
        else:
            pads = [(p, p) for p in self.padding]
        small = [(b + sum(p) - r) // s + 1 for b, p, r, s in zip(size, pads, reach, self.stride, strict=True)]
        (top, bottom), (left, right) = pads
        g = Geometry(_two(size), _two(small), _two(self.kernel_size), _two(self.stride), (top, left))
        if _serves(self, x, g):
            return frequency_conv2d(x, self.weight, self.bias, g)
        if not self.same:
            return super().forward(x)
        if self.padding_mode == "zeros" and (top, left) == (bottom, right):
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), self.dilation, self.groups)
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        x = F.pad(x, (left, right, top, bottom), mode)
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def extra_repr(self) -> str:
        return super().extra_repr() + (", padding=same" if self.same else "")


class ConvTranspose2d(nn.ConvTranspose2d):
    """torch.nn.ConvTranspose2d with TensorFlow's padding="same", and quick on small maps on a CPU.

    x         (N, C, H, W)
    returns   (N, C', H·stride, W·stride)   with padding="same"

    It is the exact transpose of Conv2d(padding="same") with the same stride, whose padding it cuts off.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: Padding = 0,
        **options: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, 0 if padding == "same" else padding, **options)
        self.same = padding == "same"

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is not None:
            return super().forward(x, output_size)
        size, reach = x.shape[-2:], [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        axes = list(zip(size, reach, self.stride, strict=True))
        if self.same:
            big = [a * s for a, _, s in axes]
            cut = [same_padding(a * s, r, s)[0] for a, r, s in axes]
        else:
            cut = [int(p) for p in self.padding]
            big = [(a - 1) * s - 2 * p + r + o for (a, r, s), p, o in zip(axes, cut, self.output_padding, strict=True)]
        g = Geometry(_two(big), _two(size), _two(self.kernel_size), _two(self.stride), _two(cut))
        if _serves(self, x, g):
            return frequency_conv_transpose2d(x, self.weight, self.bias, g)
        if not self.same:
            return super().forward(x)
        # A kernel shorter than its stride leaves the last positions to the bias alone.
        extra = [max(s - r, 0) for _, r, s in axes]
        y = F.conv_transpose2d(x, self.weight, self.bias, self.stride, cut, extra, self.groups, self.dilation)
        return y[..., : big[0], : big[1]]

    def extra_repr(self) -> str:
        return super().extra_repr() + (", padding=same" if self.same else "")


def _two(sizes: Sequence[int]) -> Pair:
    height, width = sizes
    return height, width
