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
Autograd differentiates all of it to any order. In bfloat16 a result is off by about twice what PyTorch's own is.
Larger maps with short kernels go by tiles (see tiles.py), and in bfloat16 those of one channel by whole rows (rows.py).
A count of multiplications picks the form. What is left to PyTorch's own convolution comes to it in channels_last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.nn.function import Function
from limner.nn.geometry import Geometry, Pair
from limner.nn.moved import moved
from limner.nn.rows import WIDEST, row_conv2d, row_conv_transpose2d
from limner.nn.tiles import LONGEST, OUTPUTS, plan, tile_conv2d, tile_conv_transpose2d

Padding = int | Pair | Literal["same"]

_plain: ContextVar[bool] = ContextVar("plain", default=False)
_times: ContextVar[float] = ContextVar("times", default=1.0)


@contextmanager
def plain() -> Iterator[None]:
    """In this context the layers of limner.nn use PyTorch's own operations, so that both forms can be compared."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


@contextmanager
def as_if(times: float) -> Iterator[None]:
    """In this context a batch is served by the form that suits one so many times larger, so that small steps tell
    what large ones cost."""
    token = _times.set(times)
    try:
        yield
    finally:
        _times.reset(token)


def quick(x: Tensor) -> torch.dtype | None:
    """What a quick form of x would compute in, autocast's precision or its own; None where there may be none.

    Quick forms are for a CPU, and not while a graph is recorded.
    """
    # First of all, as what records a graph cannot look into a context.
    if torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export():
        return None
    if x.device.type != "cpu" or _plain.get():
        return None
    lowered = torch.is_autocast_enabled("cpu") and x.dtype != torch.float64
    return torch.get_autocast_dtype("cpu") if lowered else x.dtype


def same_padding(size: int, kernel: int, stride: int) -> Pair:
    """Zeros that TensorFlow's 'same' puts on the left and right of one axis, so that ⌈size / stride⌉ outputs remain."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class Axis(NamedTuple):
    """What the frequencies of one axis follow from."""

    period: int
    """n, the least for which q − o − m never reaches ±n"""
    first: int
    """the least m of a tap"""
    taps: int
    """values of m"""
    spots: int
    """positions of the big side in one phase"""


@lru_cache(maxsize=256)
def axes(g: Geometry) -> tuple[Axis, Axis]:
    """Both axes of a convolution."""

    def axis(big: int, small: int, kernel: int, stride: int, left: int) -> Axis:
        first, last, spots = -((left + stride - 1) // stride), (kernel - 1 - left) // stride, -(-big // stride)
        return Axis(max(spots - 1 - first, small - 1 + last) + 1, first, last - first + 1, spots)

    y, x = (axis(*sizes) for sizes in zip(*g, strict=True))
    return y, x


class Frequencies(NamedTuple):
    """The matrices U, V and S for R products: from Q positions of a phase, its M taps, and O small positions.

    big     (R, Q)
    kernel  (R, M)
    small   (R, O)
    """

    big: Tensor
    kernel: Tensor
    small: Tensor


@lru_cache(maxsize=64)
def frequencies(g: Geometry, dtype: torch.dtype) -> Frequencies:
    """The matrices of a convolution; all phases share them, as each is moved to begin at q = 0.

    The complex product of w and x is Gauss's: w′(x′ + x″), x′(w″ − w′) and x″(w′ + w″) make up both of its parts.
    """
    # Kept from one call to the next, so they must not belong to anybody's inference mode or default device.
    with torch.inference_mode(False), torch.device("cpu"):
        y, x = axes(g)
        n = (y.period, x.period)
        # The data are real, so of each pair of frequencies ±f one is enough, counted twice.
        pairs = [((a, b), (-a % n[0], -b % n[1])) for a in range(n[0]) for b in range(n[1])]
        half = [pair for pair in pairs if pair[0] <= pair[1]]
        lone = torch.tensor([f == mirror for f, mirror in half])
        turn = 2 * math.pi * torch.tensor([f for f, _ in half], dtype=torch.float64) / torch.tensor(n)

        def wave(down: range, across: range) -> Tensor:
            angle = turn @ torch.tensor([(a, b) for a in down for b in across], dtype=torch.float64).T
            return torch.polar(torch.ones_like(angle), angle)

        def rows(first: Tensor, second: Tensor, third: Tensor) -> Tensor:
            return torch.cat([first, second[~lone], third[~lone]]).to(dtype)

        big = wave(range(y.spots), range(x.spots))
        kernel = wave(range(y.first, y.first + y.taps), range(x.first, x.first + x.taps)).conj()
        small = wave(range(g.small[0]), range(g.small[1])).conj() * torch.where(lone, 1, 2)[:, None] / math.prod(n)
        # A lone frequency has no imaginary part: one product does, and sin(πq) ≈ 1e-16 does no harm to the first row.
        return Frequencies(
            rows(big.real + big.imag, big.real, big.imag),
            rows(kernel.real, kernel.imag - kernel.real, kernel.real + kernel.imag),
            rows(small.real - small.imag, -small.imag, -small.real),
        )


class _Product(Function):
    """x wᵀ for each frequency; unlike autograd's own it gives the gradient of w in the order of w."""

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


_product: Callable[[Tensor, Tensor], Tensor] = _Product.apply


class _Mapped(Function):
    """matrix (A, B) times x (B, C), plus bias (C,), where A and B are small and C is large; in bfloat16.

    Units that multiply matrices take rows 32 at a time, and those of a matrix that lies crosswise one by one: the
    library needs up to twice as long for other counts, and for autograd's own gradient.
    """

    @staticmethod
    def forward(x: Tensor, bias: Tensor | None, matrix: Tensor) -> Tensor:
        whole = F.pad(matrix, (0, 0, 0, -len(matrix) % 32)).contiguous()
        return (whole @ x if bias is None else torch.addmm(bias, whole, x))[: len(matrix)]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor | None, Tensor], output: Tensor) -> None:
        ctx.matrix = inputs[2]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        need_x, need_bias, _ = ctx.needs_input_grad
        return _mapped(grad, None, ctx.matrix.mT) if need_x else None, grad.sum(0) if need_bias else None, None


_mapped: Callable[[Tensor, Tensor | None, Tensor], Tensor] = _Mapped.apply


def _there(matrix: Tensor, x: Tensor, stride: Pair) -> Tensor:
    """Maps by frequency: matrix (R, h·w) times the positions of x (N, C, h·s, w·s): (R, N, s·s·C).

    In float32 each sample is a product of its own, since the library takes products of any order in memory. The one
    for bfloat16 would copy what does not lie in order, so there positions are moved first, and all is one product.
    """
    if x.dtype == torch.bfloat16:
        # Channels first, a split would be no copy but a view, and the product and its gradients would read crosswise.
        positions = _split(x.contiguous(memory_format=torch.channels_last), stride)
        return _mapped(positions.flatten(1), None, matrix).view(-1, *positions.shape[1:])
    (n, c, height, width), (sy, sx) = x.shape, stride
    x = x.permute(0, 2, 3, 1).reshape(n, height // sy, sy, width // sx, sx, c)
    return torch.bmm(matrix.expand(n, *matrix.shape), x.transpose(2, 3).reshape(n, -1, sy * sx * c)).transpose(0, 1)


def _back(matrix: Tensor, x: Tensor, stride: Pair, grid: Pair, bias: Tensor | None = None) -> Tensor:
    """Maps from frequencies: matrix (h·w, R) times x (R, N, s·s·C), plus bias (C,): (N, C, h·s, w·s)."""
    if bias is not None:
        bias = bias.repeat(math.prod(stride)).to(x.dtype)
    if x.dtype == torch.bfloat16:
        y = _mapped(x.flatten(1), None if bias is None else bias.repeat(x.shape[1]), matrix)
        return _join(y.view(-1, *x.shape[1:]), stride, grid)
    x = x.transpose(0, 1)
    each = matrix.expand(len(x), *matrix.shape)
    x = torch.bmm(each, x) if bias is None else torch.baddbmm(bias, each, x)
    (n, _, wide), (sy, sx), (h, w) = x.shape, stride, grid
    x = x.view(n, h, w, sy, sx, wide // (sy * sx)).transpose(2, 3)
    return x.reshape(n, h * sy, w * sx, wide // (sy * sx)).permute(0, 3, 1, 2)


def _positions_first(x: Tensor, stride: Pair) -> Tensor:
    (n, c, height, width), (sy, sx) = x.shape, stride
    x = x.permute(0, 2, 3, 1).reshape(n, height // sy, sy, width // sx, sx, c)
    return x.permute(1, 3, 0, 2, 4, 5).reshape(-1, n, sy * sx * c)


def _channels_last(x: Tensor, stride: Pair, grid: Pair) -> Tensor:
    (_, n, wide), (sy, sx), (h, w) = x.shape, stride, grid
    x = x.reshape(h, w, n, sy, sx, wide // (sy * sx)).permute(2, 0, 3, 1, 4, 5)
    return x.reshape(n, h * sy, w * sx, wide // (sy * sx)).contiguous().permute(0, 3, 1, 2)


def _split(x: Tensor, stride: Pair) -> Tensor:
    """Positions first, phases beside the channels: (N, C, h·s, w·s) → (h·w, N, s·s·C)."""
    grid = (x.shape[2] // stride[0], x.shape[3] // stride[1])
    return moved(x, partial(_positions_first, stride=stride), partial(_channels_last, stride=stride, grid=grid))


def _join(x: Tensor, stride: Pair, grid: Pair) -> Tensor:
    """Back from _split: (h·w, N, s·s·C) → (N, C, h·s, w·s) in channels_last."""
    return moved(x, partial(_channels_last, stride=stride, grid=grid), partial(_positions_first, stride=stride))


def _kernel(weight: Tensor, g: Geometry, f: Frequencies) -> Tensor:
    """weight (S, B, *kernel) by frequency, with the phases of the big side beside its channels: (R, S, P·B)."""
    pads: list[int] = []
    for axis, size, stride, left in zip(axes(g), g.kernel, g.stride, g.left, strict=True):
        before = -(axis.first * stride + left)
        pads = [before, axis.taps * stride - size - before, *pads]
    return _there(f.kernel, F.pad(weight.to(f.kernel.dtype), pads), g.stride)


def frequency_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry) -> Tensor:
    """Convolution of x (N, B, *g.big) with weight (S, B, *g.kernel): (N, S, *g.small), by products of frequencies."""
    f = frequencies(g, x.dtype)
    rest = [-size % stride for size, stride in zip(g.big, g.stride, strict=True)]
    x = F.pad(x, (0, rest[1], 0, rest[0])) if any(rest) else x
    products = _product(_there(f.big, x, g.stride), _kernel(weight, g, f))
    return _back(f.small.mT, products, (1, 1), g.small, bias)


def frequency_conv_transpose2d(x: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry) -> Tensor:
    """Transposed convolution of x (N, S, *g.small) with weight (S, B, *g.kernel): (N, B, *g.big), by frequencies."""
    f = frequencies(g, x.dtype)
    products = torch.bmm(_there(f.small, x, (1, 1)), _kernel(weight, g, f))
    y, x_axis = axes(g)
    whole = _back(f.big.mT, products, g.stride, (y.spots, x_axis.spots), bias)
    return whole[..., : g.big[0], : g.big[1]]


def column_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry) -> Tensor:
    """The same as frequency_conv2d by one product with all patches of x: the quickest where B is 1."""
    x = F.pad(x, _margins(g))
    patches = F.unfold(x, g.kernel, stride=g.stride).mT
    return F.linear(patches, weight.flatten(1), bias).mT.unflatten(2, g.small)


def column_conv_transpose2d(x: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry) -> Tensor:
    """The same as frequency_conv_transpose2d by one product that makes all patches: the quickest where B is 1."""
    before, after, above, below = _margins(g)
    whole = (g.big[0] + above + below, g.big[1] + before + after)
    patches = x.flatten(2).mT @ weight.flatten(1)
    y = F.pad(F.fold(patches.mT, whole, g.kernel, stride=g.stride), (-before, -after, -above, -below))
    return y if bias is None else y + bias[:, None, None]


def _margins(g: Geometry) -> tuple[int, int, int, int]:
    """Zeros beside, after, above and below the big side that every patch needs; what no patch needs is below 0."""
    after = [(small - 1) * stride + kernel - big - left for big, small, kernel, stride, left in zip(*g, strict=True)]
    return g.left[1], after[1], g.left[0], after[0]


Form = Callable[[Tensor, Tensor, Tensor | None, Geometry], Tensor]


class Forms(NamedTuple):
    """The ways to do a convolution, or its transpose, other than PyTorch's own."""

    frequencies: Form
    columns: Form
    rows: Form
    tiles: Form


def _in_parts(form: Form, x: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry) -> Tensor:
    x = x.to(quick(x))
    # Data by frequency are some 2.5 times as large, so a very large batch is done in parts to bound the memory.
    if len(x) <= 512:
        return form(x, weight, bias, g)
    return torch.cat([form(part, weight, bias, g) for part in x.split(512)])


def _form(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor, g: Geometry, forms: Forms) -> Form | None:
    """Which form should do x, or none, by counting multiplications for each sample.

    The weights of the count were fitted with benchmarks/conv.py on Zen 3: transforms run at .7 of the speed of the
    products between channels, which is that of PyTorch's convolution; a number that is copied to a tile or back takes
    the time of 60 multiplications. What is won must pay for other copies too.
    """
    small, big = layer.weight.shape[:2]
    ordinary = layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros" and x.dim() == 4
    precision, lowered = quick(x), torch.is_autocast_enabled("cpu")
    suits = precision == torch.bfloat16 if lowered else precision in (torch.float32, torch.float64)
    if not (ordinary and suits and (lowered or x.dtype == layer.weight.dtype)) or min(len(x), *g.big, *g.small) < 1:
        return None
    if big == 1 and small >= 16:
        return forms.rows if lowered and g.big[1] * small <= WIDEST else forms.columns
    batch = len(x) * _times.get()
    limit = 0.8 * math.prod(g.kernel) * math.prod(g.small) * big * small
    by_frequency = _by_frequency(g, batch, small, big)
    # Tiles add and take away what is nearly equal, which bfloat16 cannot.
    by_tile = math.inf if lowered else _by_tile(g, batch, small, big)
    if min(by_frequency, by_tile) >= limit:
        return None
    return forms.tiles if by_tile < by_frequency else forms.frequencies


def _by_frequency(g: Geometry, batch: float, small: int, big: int) -> float:
    """Multiplications that a sample costs by frequency, with so many channels on each side."""
    y, x = axes(g)
    alone = (2 - y.period % 2) * (2 - x.period % 2)
    products, phases = (3 * y.period * x.period - alone) // 2, math.prod(g.stride)
    taps = phases * y.taps * x.taps * big * small / batch
    transforms = products * (phases * y.spots * x.spots * big + math.prod(g.small) * small + taps)
    return products * phases * big * small + 1.4 * transforms


def _by_tile(g: Geometry, batch: float, small: int, big: int) -> float:
    """The same by tiles; infinite where a kernel is too long for them."""
    p = plan(g)
    if max(p.taps) > LONGEST:
        return math.inf
    values, wide = math.prod(OUTPUTS + tap - 1 for tap in p.taps), math.prod(g.stride) * big
    tile = values * wide * small + 1.4 * values * (values * wide + OUTPUTS**2 * small)
    copies = 60 * (values * wide + OUTPUTS**2 * small)
    return math.prod(p.tiles) * (tile + copies) + 1.4 * values * math.prod(p.taps) * wide * small / batch


_DOWN = Forms(frequency_conv2d, column_conv2d, row_conv2d, tile_conv2d)
_UP = Forms(frequency_conv_transpose2d, column_conv_transpose2d, row_conv_transpose2d, tile_conv_transpose2d)


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
        if form := _form(self, x, g, _DOWN):
            return _in_parts(form, x, self.weight, self.bias, g)
        x = _ordered(x)
        if not self.same:
            return super().forward(x)
        if self.padding_mode == "zeros" and (top, left) == (bottom, right):
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), self.dilation, self.groups)
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        x = F.pad(x, (left, right, top, bottom), mode)
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}{', padding=same' if self.same else ''}"  # type: ignore[no-untyped-call]


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
        if form := _form(self, x, g, _UP):
            return _in_parts(form, x, self.weight, self.bias, g)
        x = _ordered(x)
        if not self.same:
            return super().forward(x)
        # A kernel shorter than its stride leaves the last positions to the bias alone.
        extra = [max(s - r, 0) for _, r, s in axes]
        y = F.conv_transpose2d(x, self.weight, self.bias, self.stride, cut, extra, self.groups, self.dilation)
        return y[..., : big[0], : big[1]]

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}{', padding=same' if self.same else ''}"  # type: ignore[no-untyped-call]


def _ordered(x: Tensor) -> Tensor:
    """x in channels_last on a CPU: PyTorch's own convolutions are quicker in that order, and quick forms have it."""
    # Turned by hand, as vmap knows no orders of memory.
    return x if quick(x) is None or x.dim() != 4 else x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def _two(sizes: Sequence[int]) -> Pair:
    height, width = sizes
    return height, width
