"""The Inception of FID, with random weights, against the same graph written out by hand with functions alone."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limner import features
from limner.core.errors import ModelError
from limner.features import inception

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights that keep signals at a useful size."""
    luck = torch.Generator().manual_seed(0)
    state = inception.Inception().state_dict()
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        if tensor.dim() > 1:
            tensor.copy_(torch.randn(tensor.shape, generator=luck) * (2 / tensor[0].numel()) ** 0.5)
        elif name.endswith(("bn.weight", "running_var")):
            tensor.copy_(torch.rand(tensor.shape, generator=luck) + 0.5)
        else:
            tensor.copy_(torch.randn(tensor.shape, generator=luck) * 0.1)
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(state, path)
    return path


def resize_by_hand(pixels: np.ndarray, side: int) -> np.ndarray:
    """TensorFlow 1's bilinear resize, one output pixel after the other's definition: (C, H, W) → (C, side, side)."""
    _, tall, wide = pixels.shape
    out = np.zeros((len(pixels), side, side))
    for i in range(side):
        for j in range(side):
            y, x = i * tall / side, j * wide / side
            top, left = int(y), int(x)
            bottom, right = min(top + 1, tall - 1), min(left + 1, wide - 1)
            dy, dx = y - top, x - left
            upper = pixels[:, top, left] * (1 - dx) + pixels[:, top, right] * dx
            lower = pixels[:, bottom, left] * (1 - dx) + pixels[:, bottom, right] * dx
            out[:, i, j] = upper * (1 - dy) + lower * dy
    return out


def layer(state: State, name: str, x: Tensor, stride: int = 1, padding: tuple[int, int] = (0, 0)) -> Tensor:
    x = F.conv2d(x, state[f"{name}.conv.weight"], stride=stride, padding=padding)
    mean, variance = state[f"{name}.bn.running_mean"], state[f"{name}.bn.running_var"]
    return F.batch_norm(x, mean, variance, state[f"{name}.bn.weight"], state[f"{name}.bn.bias"], eps=0.001).relu()


def average(x: Tensor) -> Tensor:
    """Average of 3×3 that counts only what lies inside, from sums alone."""
    one = torch.ones(1, 1, 3, 3)
    total = F.conv2d(x.flatten(0, 1)[:, None], one, padding=1).view_as(x)
    return total / F.conv2d(torch.ones(1, 1, *x.shape[2:]), one, padding=1)


def block_a(at: Callable[..., Tensor], x: Tensor) -> Tensor:
    five = at("branch5x5_2", at("branch5x5_1", x), padding=(2, 2))
    three = at("branch3x3dbl_2", at("branch3x3dbl_1", x), padding=(1, 1))
    three = at("branch3x3dbl_3", three, padding=(1, 1))
    return torch.cat([at("branch1x1", x), five, three, at("branch_pool", average(x))], 1)


def block_b(at: Callable[..., Tensor], x: Tensor) -> Tensor:
    three = at("branch3x3dbl_2", at("branch3x3dbl_1", x), padding=(1, 1))
    three = at("branch3x3dbl_3", three, stride=2)
    return torch.cat([at("branch3x3", x, stride=2), three, F.max_pool2d(x, 3, 2)], 1)


def block_c(at: Callable[..., Tensor], x: Tensor) -> Tensor:
    flat, tall = {"padding": (0, 3)}, {"padding": (3, 0)}
    seven = at("branch7x7_3", at("branch7x7_2", at("branch7x7_1", x), **flat), **tall)
    twice = at("branch7x7dbl_3", at("branch7x7dbl_2", at("branch7x7dbl_1", x), **tall), **flat)
    twice = at("branch7x7dbl_5", at("branch7x7dbl_4", twice, **tall), **flat)
    return torch.cat([at("branch1x1", x), seven, twice, at("branch_pool", average(x))], 1)


def block_d(at: Callable[..., Tensor], x: Tensor) -> Tensor:
    three = at("branch3x3_2", at("branch3x3_1", x), stride=2)
    seven = at("branch7x7x3_2", at("branch7x7x3_1", x), padding=(0, 3))
    seven = at("branch7x7x3_4", at("branch7x7x3_3", seven, padding=(3, 0)), stride=2)
    return torch.cat([three, seven, F.max_pool2d(x, 3, 2)], 1)


def block_e(at: Callable[..., Tensor], x: Tensor, pooled: Tensor) -> Tensor:
    def fork(name: str, y: Tensor) -> list[Tensor]:
        return [at(f"{name}a", y, padding=(0, 1)), at(f"{name}b", y, padding=(1, 0))]

    three = at("branch3x3_1", x)
    twice = at("branch3x3dbl_2", at("branch3x3dbl_1", x), padding=(1, 1))
    forks = [*fork("branch3x3_2", three), *fork("branch3x3dbl_3", twice)]
    return torch.cat([at("branch1x1", x), *forks, at("branch_pool", pooled)], 1)


def by_hand(state: State, pixels: Tensor) -> Tensor:
    """2048 features of 299×299 px, given as (N, 3, 299, 299) from 0 to 255."""
    at = partial(layer, state)
    x = at("Conv2d_1a_3x3", pixels / 128 - 1, stride=2)
    x = at("Conv2d_2b_3x3", at("Conv2d_2a_3x3", x), padding=(1, 1))
    x = at("Conv2d_4a_3x3", at("Conv2d_3b_1x1", F.max_pool2d(x, 3, 2)))
    x = F.max_pool2d(x, 3, 2)

    def inside(name: str) -> Callable[..., Tensor]:
        return lambda part, y, **how: layer(state, f"{name}.{part}", y, **how)

    for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        x = block_a(inside(name), x)
    x = block_b(inside("Mixed_6a"), x)
    for name in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        x = block_c(inside(name), x)
    x = block_d(inside("Mixed_7a"), x)
    x = block_e(inside("Mixed_7b"), x, average(x))
    x = block_e(inside("Mixed_7c"), x, F.max_pool2d(x, 3, 1, 1))
    return x.sum((2, 3)) / 64


def test_features_equal_the_graph_by_hand(weights: Path) -> None:
    network = features.load("inception", weights)
    pixels = torch.randint(0, 256, (1, 3, 40, 53), generator=torch.Generator().manual_seed(1)).float()
    big = torch.from_numpy(resize_by_hand(pixels[0].double().numpy(), 299)).float()[None]
    expected = by_hand(torch.load(weights, weights_only=True), big)
    found = network(pixels / 127.5 - 1)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_logits_leave_out_the_bias(weights: Path) -> None:
    network = inception.load(weights)
    x = torch.zeros(1, 3, 75, 75)
    seen, logits = network.both(x)
    torch.testing.assert_close(logits, seen @ network.fc.weight.T)


def test_resize_equals_the_definition() -> None:
    x = torch.rand(1, 2, 5, 9, generator=torch.Generator().manual_seed(0))
    for side in (3, 9, 14):
        expected = resize_by_hand(x[0].double().numpy(), side)
        np.testing.assert_allclose(inception.legacy_resize(x, side)[0].numpy(), expected, atol=1e-6)


def test_the_name_fid_is_kept_for_the_canonical_weights(weights: Path) -> None:
    network = inception.load(weights)
    assert not network.canonical
    assert network.frechet_name == "FD-inception"
    network.weights_sha256 = inception.SHA256_BEGINS + network.weights_sha256[8:]
    assert network.frechet_name == "FID"


def test_older_files_without_counters_load(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    older = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    torch.save(older, tmp_path / "older.pth")
    inception.load(tmp_path / "older.pth")


def test_other_files_are_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no Inception weights"):
        inception.load(tmp_path / "missing.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ModelError, match="not a weights file"):
        inception.load(tmp_path / "text.pth")
    state = torch.load(weights, weights_only=True)
    state["fc.weight"] = torch.zeros(1000, 2048)
    torch.save(state, tmp_path / "torchvision.pth")
    with pytest.raises(ModelError, match=r"'fc.weight' has shape \(1000, 2048\)"):
        inception.load(tmp_path / "torchvision.pth")
    torch.save({"weights": Path("x")}, tmp_path / "evil.pth")
    with pytest.raises(ModelError, match="not a weights file"):
        inception.load(tmp_path / "evil.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelError, match="a list where"):
        inception.load(tmp_path / "list.pth")
