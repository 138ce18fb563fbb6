"""Convolutions against PyTorch's own, and 'same' padding against TensorFlow's definition."""

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.nn.conv import (
    Conv2d,
    ConvTranspose2d,
    Geometry,
    _mapped,
    axes,
    column_conv2d,
    column_conv_transpose2d,
    frequencies,
    frequency_conv2d,
    frequency_conv_transpose2d,
    plain,
    quick,
    same_padding,
)
from limner.nn.rows import row_conv2d, row_conv_transpose2d
from limner.nn.tiles import OUTPUTS, points, tile_conv2d, tile_conv_transpose2d

# (big, small, kernel, stride, left), height then width: the DCGAN's two shapes, then odd ones.
GEOMETRIES = [
    Geometry((7, 7), (7, 7), (5, 5), (1, 1), (2, 2)),
    Geometry((14, 14), (7, 7), (5, 5), (2, 2), (1, 1)),
    Geometry((9, 7), (5, 4), (3, 5), (2, 2), (1, 2)),
    Geometry((8, 10), (4, 9), (4, 2), (2, 1), (1, 0)),
    Geometry((6, 7), (2, 3), (2, 2), (3, 3), (0, 1)),
    Geometry((5, 5), (3, 3), (3, 3), (1, 1), (0, 0)),
    Geometry((1, 1), (1, 1), (5, 5), (1, 1), (2, 2)),
]
CONVS = [frequency_conv2d, column_conv2d, row_conv2d]
TRANSPOSES = [frequency_conv_transpose2d, column_conv_transpose2d, row_conv_transpose2d]
# Short kernels, for tiles of four: whole ones, a part of one, three phases, and taps that nothing reaches.
SHORT = [
    Geometry((8, 8), (8, 8), (3, 3), (1, 1), (1, 1)),
    Geometry((16, 9), (8, 9), (4, 3), (2, 1), (1, 1)),
    Geometry((14, 14), (7, 7), (5, 5), (2, 2), (1, 1)),
    Geometry((11, 5), (3, 3), (7, 2), (3, 1), (2, 0)),
    Geometry((11, 11), (4, 4), (4, 4), (2, 2), (0, 0)),
    Geometry((5, 5), (3, 3), (3, 3), (1, 1), (0, 0)),
    Geometry((1, 1), (1, 1), (3, 3), (1, 1), (1, 1)),
]


def reference(x: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry) -> Tensor:
    """Padded by hand on the left and generously on the right, convolved by PyTorch, and cut."""
    x = F.pad(x, (g.left[1], 30, g.left[0], 30))
    return F.conv2d(x, weight, bias, g.stride)[..., : g.small[0], : g.small[1]]


def reference_transpose(x: Tensor, weight: Tensor, bias: Tensor, g: Geometry) -> Tensor:
    """The derivative of the reference convolution with respect to its input, plus the bias."""
    big = torch.zeros(len(x), weight.shape[1], *g.big, dtype=x.dtype, requires_grad=True)
    (grad,) = torch.autograd.grad(reference(big, weight, None, g), big, x)
    return grad + bias[:, None, None]


def tensors(g: Geometry, dtype: torch.dtype = torch.float64, n: int = 3, s: int = 3, b: int = 2) -> list[Tensor]:
    """big, small, weight, bias of the small side, bias of the big side."""
    make = torch.Generator().manual_seed(0)
    shapes = [(n, b, *g.big), (n, s, *g.small), (s, b, *g.kernel), (s,), (b,)]
    return [torch.randn(shape, generator=make, dtype=dtype) for shape in shapes]


@pytest.mark.parametrize("g", GEOMETRIES)
@pytest.mark.parametrize("n", [1, 3])
def test_forms_agree_with_pytorch(g: Geometry, n: int) -> None:
    big, small, weight, bias_s, bias_b = tensors(g, n=n)
    for conv in CONVS:
        torch.testing.assert_close(conv(big, weight, bias_s, g), reference(big, weight, bias_s, g))
        last = big.to(memory_format=torch.channels_last)
        torch.testing.assert_close(conv(last, weight, None, g), reference(big, weight, None, g))
    for transpose in TRANSPOSES:
        expected = reference_transpose(small, weight, bias_b, g)
        torch.testing.assert_close(transpose(small, weight, bias_b, g), expected)


@pytest.mark.parametrize("g", SHORT)
def test_tiles_agree_with_pytorch(g: Geometry) -> None:
    big, small, weight, bias_s, bias_b = tensors(g)
    for x in (big, big.to(memory_format=torch.channels_last)):
        torch.testing.assert_close(tile_conv2d(x, weight, bias_s, g), reference(big, weight, bias_s, g))
    torch.testing.assert_close(
        tile_conv_transpose2d(small, weight, bias_b, g), reference_transpose(small, weight, bias_b, g)
    )


@pytest.mark.parametrize("taps", [1, 2, 3])
def test_points_make_a_correlation(taps: int) -> None:
    # Σ over the points of small[o] · kernel[m] · big[q] is 1 where q = o + m and 0 elsewhere, for every output.
    big, kernel, small = points(taps)
    assert len(big) == OUTPUTS + taps - 1
    made = torch.einsum("po,pm,pq->omq", small, kernel, big)
    for o in range(OUTPUTS):
        for m in range(taps):
            assert made[o, m].tolist() == pytest.approx([float(q == o + m) for q in range(len(big))], abs=1e-14)


@pytest.mark.parametrize("g", SHORT[:2])
def test_tiles_keep_single_precision(g: Geometry) -> None:
    # Values at points are up to 4 times as large as what they come from, so some more rounding is left than by taps.
    big, small, weight, _, _ = tensors(g, s=64, b=64)
    for form, x in ((tile_conv2d, big), (tile_conv_transpose2d, small)):
        exact = form(x, weight, None, g)
        single = form(x.float(), weight.float(), None, g).double()
        assert (single - exact).norm() < 4e-6 * exact.norm()


@pytest.mark.parametrize("g", [SHORT[1], SHORT[3]])
def test_derivatives_of_tiles(g: Geometry) -> None:
    big, small, weight, bias_s, bias_b = [t.requires_grad_() for t in tensors(g, n=2, s=2, b=1)]
    for form, x, bias in ((tile_conv2d, big, bias_s), (tile_conv_transpose2d, small, bias_b)):

        def call(x: Tensor, w: Tensor, b: Tensor, form=form) -> Tensor:
            return form(x, w, b, g)

        assert torch.autograd.gradcheck(call, (x, weight, bias), fast_mode=True)
        assert torch.autograd.gradgradcheck(call, (x, weight, bias), fast_mode=True)


def test_single_precision_is_kept() -> None:
    # Rounding grows with the √ of the 25 · 64 terms of a sum: 40 · 6e-8 · |y| ≈ 2.4e-6 |y|, and PyTorch's own
    # convolution is as far from the truth. The bound leaves room for four times that.
    for g in GEOMETRIES[:2]:
        big, small, weight, _, _ = tensors(g, s=64, b=64)
        for form, x in ((frequency_conv2d, big), (frequency_conv_transpose2d, small)):
            exact = form(x, weight, None, g)
            single = form(x.float(), weight.float(), None, g).double()
            assert (single - exact).abs().max() < 1e-5 * exact.abs().max()


@pytest.mark.parametrize("g", [GEOMETRIES[2], GEOMETRIES[5]])
def test_first_and_second_derivatives(g: Geometry) -> None:
    big, small, weight, bias_s, bias_b = [t.requires_grad_() for t in tensors(g, n=2, s=2, b=1)]
    for form, x, bias in [(f, big, bias_s) for f in CONVS] + [(f, small, bias_b) for f in TRANSPOSES]:

        def call(x: Tensor, w: Tensor, b: Tensor, form=form) -> Tensor:
            return form(x, w, b, g)

        assert torch.autograd.gradcheck(call, (x, weight, bias), fast_mode=True)
        assert torch.autograd.gradgradcheck(call, (x, weight, bias), fast_mode=True)


@pytest.mark.parametrize("rows", [5, 32, 49])
def test_maps_by_small_matrices(rows: int) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(7, rows, dtype=torch.float64).mT  # crosswise in memory
    x, bias = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in [(7, 11), (11,)])
    torch.testing.assert_close(_mapped(x, bias, matrix), matrix @ x + bias)
    assert torch.autograd.gradcheck(lambda x, b: _mapped(x, b, matrix), (x, bias))
    assert torch.autograd.gradgradcheck(lambda x: _mapped(x, None, matrix), (x,))


def test_period_and_count_of_products() -> None:
    # 9×9 for a 'same' 5×5 on 7×7: one real frequency and 40 complex ones, three products each.
    assert [axis.period for axis in axes(GEOMETRIES[0])] == [9, 9]
    assert frequencies(GEOMETRIES[0], torch.float32).big.shape == (121, 49)
    # 8×8 with stride 2: 4 real frequencies and 30 complex ones.
    assert frequencies(GEOMETRIES[1], torch.float32).big.shape == (94, 49)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"),
    # From TensorFlow's definition: out = ⌈size / stride⌉, total = (out − 1)·stride + kernel − size, odd one right.
    [
        (28, 5, 2, (1, 2)),
        (7, 5, 1, (2, 2)),
        (7, 5, 2, (2, 2)),
        (7, 2, 1, (0, 1)),
        (9, 1, 3, (0, 0)),
        (32, 4, 2, (1, 1)),
    ],
)
def test_same_padding(size: int, kernel: int, stride: int, pads: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride) == pads


def test_same_by_hand() -> None:
    # 1×4 row, kernel (1, 2, 3), stride 2: TensorFlow pads nothing on the left and one zero on the right.
    conv = Conv2d(1, 1, (1, 3), (1, 2), padding="same", bias=False)
    back = ConvTranspose2d(1, 1, (1, 3), (1, 2), padding="same", bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[[[1.0, 2, 3]]]]))
        back.weight.copy_(conv.weight)
    assert conv(torch.tensor([[[[1.0, 2, 3, 4]]]])).tolist() == [[[[14.0, 11.0]]]]
    assert back(torch.tensor([[[[1.0, 10.0]]]])).tolist() == [[[[1.0, 2.0, 13.0, 20.0]]]]


# in, out, kernel, stride, size: by tiles, by frequency, by columns, and left to PyTorch.
LAYERS = [
    (128, 96, 3, 1, 16), (64, 128, 4, 2, 16), (32, 48, 5, 1, 7), (64, 128, 5, 2, 7), (1, 16, 5, 2, 14), (3, 4, 4, 3, 9),
    (4, 2, 3, 1, 5), (2, 2, 1, 2, 5),
]  # fmt: skip


@pytest.mark.parametrize(("c", "d", "k", "s", "size"), LAYERS)
def test_layers_agree_with_plain(c: int, d: int, k: int, s: int, size: int) -> None:
    torch.manual_seed(0)
    down = Conv2d(c, d, k, s, padding="same").double()
    up = ConvTranspose2d(d, c, k, s, padding="same").double()
    x = torch.randn(16, c, size * s, size * s, dtype=torch.float64, requires_grad=True)
    for layer, given in ((down, x), (up, torch.randn(16, d, size, size, dtype=torch.float64, requires_grad=True))):
        quick = layer(given)
        with plain():
            slow = layer(given)
        torch.testing.assert_close(quick, slow)
        assert quick.shape[2] == (size if layer is down else size * s)
        to = (given, *layer.parameters())
        aim = torch.randn_like(quick)
        for a, b in zip(torch.autograd.grad(quick, to, aim), torch.autograd.grad(slow, to, aim), strict=True):
            torch.testing.assert_close(a, b)


def test_transpose_undoes_the_shape_of_same() -> None:
    # <conv(x), y> = <x, transpose(y)> for the same weights: what TensorFlow's Conv2DTranspose is defined by.
    down = Conv2d(2, 3, 5, 2, padding="same", bias=False).double()
    up = ConvTranspose2d(3, 2, 5, 2, padding="same", bias=False).double()
    up.load_state_dict(down.state_dict())
    x, y = torch.randn(2, 2, 8, 8, dtype=torch.float64), torch.randn(2, 3, 4, 4, dtype=torch.float64)
    torch.testing.assert_close((down(x) * y).sum(), (x * up(y)).sum())


@pytest.mark.parametrize("padding", [0, 1, 2, (2, 1)])
@pytest.mark.parametrize("stride", [1, 2])
def test_numbered_padding_is_pytorch_s(padding: int | tuple[int, int], stride: int) -> None:
    ours, theirs = Conv2d(32, 48, 5, stride, padding), nn.Conv2d(32, 48, 5, stride, padding)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(16, 32, 9, 9)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
    back, their_back = (
        kind(32, 48, 5, stride, padding, output_padding=stride - 1) for kind in (ConvTranspose2d, nn.ConvTranspose2d)
    )
    their_back.load_state_dict(back.state_dict())
    torch.testing.assert_close(back(x), their_back(x), rtol=1e-4, atol=1e-5)


def test_what_is_left_to_pytorch() -> None:
    x = torch.randn(4, 8, 9, 9)
    for options in ({"groups": 2}, {"dilation": 2}, {"padding_mode": "reflect"}):
        assert Conv2d(8, 8, 3, padding="same", **options)(x).shape == x.shape
    assert Conv2d(8, 8, 3, padding="same")(x[0]).shape == x[0].shape
    assert ConvTranspose2d(8, 8, 3, 2, padding="same", groups=2)(x).shape == (4, 8, 18, 18)
    assert ConvTranspose2d(8, 8, 1, 3, padding="same")(x).shape == (4, 8, 27, 27)
    assert ConvTranspose2d(8, 8, 3, 2, padding=1)(x, [18, 18]).shape == (4, 8, 18, 18)
    with torch.autocast("cpu", torch.bfloat16):
        assert Conv2d(64, 64, 5, padding="same")(torch.randn(16, 64, 7, 7)).dtype == torch.bfloat16
    assert Conv2d(64, 64, 5, padding="same").bfloat16()(torch.randn(16, 64, 7, 7).bfloat16()).dtype == torch.bfloat16
    assert Conv2d(64, 64, 5, padding="same", device="meta")(torch.empty(16, 64, 7, 7, device="meta")).is_meta


@pytest.mark.parametrize("case", [(256, 128, 7, 1, ConvTranspose2d), (128, 64, 7, 2, ConvTranspose2d),
                                  (64, 128, 14, 2, Conv2d), (1, 64, 28, 2, Conv2d)])  # fmt: skip
def test_bfloat16_is_off_by_no_more_than_twice_what_pytorch_s_is(case: tuple) -> None:
    """The layers of the MNIST DCGAN: output and both gradients, against PyTorch's in float64."""
    inputs, outputs, size, stride, kind = case
    torch.manual_seed(0)
    layer, x = kind(inputs, outputs, 5, stride, padding="same"), torch.randn(16, inputs, size, size)
    grad = torch.randn_like(layer(x))

    def found(layer: nn.Module, x: Tensor) -> list[Tensor]:
        x = x.clone().requires_grad_()
        y = layer(x)
        return [y.detach(), *torch.autograd.grad(y, [x, layer.weight], grad.to(y.dtype))]

    with plain():
        exact = found(copy.deepcopy(layer).double(), x.double())
        with torch.autocast("cpu", torch.bfloat16):
            theirs = found(layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert quick(x) == torch.bfloat16
        ours = found(layer, x)
    assert ours[0].dtype == torch.bfloat16
    for one, other, true in zip(ours, theirs, exact, strict=True):
        error, allowed = ((value.double() - true).norm() / true.norm() for value in (one, other))
        assert error < 2.2 * allowed


def test_inference_first_then_training() -> None:
    # The matrices kept from a call in inference mode must serve a later backward pass.
    frequencies.cache_clear()
    layer = Conv2d(64, 64, 5, padding="same")
    x = torch.randn(16, 64, 7, 7)
    with torch.inference_mode():
        layer(x)
    layer(x).sum().backward()
    assert layer.weight.grad is not None


def test_large_batches_are_done_in_parts() -> None:
    layer, x = Conv2d(32, 32, 5, padding="same"), torch.randn(600, 32, 7, 7)
    torch.testing.assert_close(layer(x)[511:514], layer(x[511:514]), rtol=1e-4, atol=1e-5)


def test_per_sample_gradients_by_vmap() -> None:
    layer = Conv2d(16, 32, 5, padding="same").double()
    x = torch.randn(3, 8, 16, 7, 7, dtype=torch.float64)

    def loss(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(layer, weights, (x,)).square().sum()

    weights = {name: w.detach() for name, w in layer.named_parameters()}
    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, x)
    torch.testing.assert_close(each["weight"][1], torch.func.grad(loss)(weights, x[1])["weight"])


def test_weights_are_exchanged_with_pytorch() -> None:
    file = io.BytesIO()
    torch.save(nn.ConvTranspose2d(4, 2, 5, 2).state_dict(), file)
    file.seek(0)
    layer = ConvTranspose2d(4, 2, 5, 2, padding="same")
    layer.load_state_dict(torch.load(file, weights_only=True))
    assert "same" in repr(layer)


def test_export_goes_through_pytorch_s_operation() -> None:
    layer, x = Conv2d(64, 64, 5, padding="same").eval(), torch.randn(16, 64, 7, 7)
    called = {str(node.target) for node in torch.export.export(layer, (x,)).graph.nodes}
    assert "aten.conv2d.default" in called
    assert not any("bmm" in name for name in called)


def test_these_shapes_take_the_quick_form(monkeypatch: pytest.MonkeyPatch) -> None:
    # The layers of the MNIST DCGAN, and the first five of LAYERS above; the last three are PyTorch's.
    import limner.nn.conv as module

    seen: list[str] = []
    noted = {
        name: lambda *a, name=name, form=form: (seen.append(name), form(*a))[1]
        for name, form in module._DOWN._asdict().items()
    }
    monkeypatch.setattr(module, "_DOWN", module.Forms(**noted))
    for c, d, k, s, size in [(256, 128, 5, 1, 7), (64, 128, 5, 2, 7), (1, 64, 5, 2, 14), *LAYERS]:
        Conv2d(c, d, k, s, padding="same")(torch.randn(16, c, size * s, size * s))
    assert seen == ["frequencies", "frequencies", "columns", "tiles", "tiles", "frequencies", "frequencies", "columns"]
    # In bfloat16 one channel goes by whole rows unless they are wide.
    seen.clear()
    with torch.autocast("cpu", torch.bfloat16):
        for size in (28, 80):
            Conv2d(1, 64, 5, 2, padding="same")(torch.randn(2, 1, size, size))
    assert seen == ["rows", "columns"]
