"""Inception-v3 as the Fréchet Inception Distance uses it: TensorFlow's graph of 2015. 2048 features; 1008 logits.

FID is the name of a figure only over this network with its canonical weights. They are not shipped: give the file
`pt_inception-2015-12-05-6726825d.pth`. The graph differs from torchvision's Inception-v3 in its pooling (padding does
not count in averages; the last block takes the maximum, an oversight that every published FID shares), in its resize
(TensorFlow 1's bilinear, which takes no account of pixel centres and does not antialias) and in its 1008 logits.

Source: Szegedy et al. 2015, arXiv:1512.00567; Heusel et al. 2017, arXiv:1706.08500
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.errors import ModelError
from limner.features.network import Classifier, colour, file_sha256

FILE = "pt_inception-2015-12-05-6726825d.pth"
SHA256_BEGINS = "6726825d"


class Inception(Classifier):
    """Inception-v3 of 2015 at 299×299 px. Its parts bear the names in the weights' file.

    `classify` leaves out the last layer's bias, as every published Inception Score does.
    """

    name = "inception"
    dimensions = 2048
    classes = 1008

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3, padded=False)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3, padded=False)
        self.Mixed_5b = _mixed_a(192, pool=32)
        self.Mixed_5c = _mixed_a(256, pool=64)
        self.Mixed_5d = _mixed_a(288, pool=64)
        self.Mixed_6a = Mixed(288, "max2", branch3x3=[(384, 3)], branch3x3dbl=[(64, 1), (96, 3), (96, 3)])
        self.Mixed_6b = _mixed_c(768, 128)
        self.Mixed_6c = _mixed_c(768, 160)
        self.Mixed_6d = _mixed_c(768, 160)
        self.Mixed_6e = _mixed_c(768, 192)
        self.Mixed_7a = Mixed(
            768, "max2", branch3x3=[(192, 1), (320, 3)], branch7x7x3=[(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3)]
        )
        self.Mixed_7b = _mixed_e(1280, "average")
        self.Mixed_7c = _mixed_e(2048, "max")
        self.fc = nn.Linear(2048, 1008)

    @property
    def frechet_name(self) -> str:
        return "FID" if self.canonical else "FD-inception"

    @property
    def canonical(self) -> bool:
        """Whether these are the weights of every published FID."""
        return self.weights_sha256.startswith(SHA256_BEGINS)

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pixels = legacy_resize((colour(x).float() + 1) * 127.5, 299)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3((pixels - 128) / 128)))
        x = F.max_pool2d(x, 3, 2)
        x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, 2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        features = x.mean((2, 3))
        return features, F.linear(features, self.fc.weight)


Kernel = int | tuple[int, int]
Layer = tuple[int, Kernel] | list[tuple[int, Kernel]]
"""Outputs and kernel of a convolution; a list is a fork, whose results are joined."""


class Mixed(nn.Module):
    """Branches side by side, joined along the channels; the last looks at the pooled input.

    pooled    "average" or "max" keep the size; "max2" halves it, as does the last convolution of every branch
    branches  name → layers in order; a branch's layers are called name_1, name_2 … and a fork's name_2a, name_2b
    """

    def __init__(self, inputs: int, pooled: str, **branches: list[Layer]) -> None:
        super().__init__()
        self.pooled = pooled
        self.chains: dict[str, list[list[str]]] = {}
        for branch, layers in branches.items():
            width, chain = inputs, []
            for i, layer in enumerate(layers, 1):
                fork = layer if isinstance(layer, list) else [layer]
                halves = pooled == "max2" and i == len(layers)
                name = branch if len(layers) == 1 else f"{branch}_{i}"
                names = [name + letter for letter in "ab"] if len(fork) > 1 else [name]
                for part, (outputs, kernel) in zip(names, fork, strict=True):
                    self.add_module(part, Conv(width, outputs, kernel, stride=2 if halves else 1))
                width = sum(outputs for outputs, _ in fork)
                chain.append(names)
            self.chains[branch] = chain

    def forward(self, x: Tensor) -> Tensor:
        if self.pooled == "average":
            pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        else:
            pooled = F.max_pool2d(x, 3, 2, 0) if self.pooled == "max2" else F.max_pool2d(x, 3, 1, 1)
        results = []
        for branch, chain in self.chains.items():
            y = pooled if branch == "branch_pool" else x
            for names in chain:
                y = torch.cat([self.get_submodule(name)(y) for name in names], 1)
            results.append(y)
        return torch.cat(results if "branch_pool" in self.chains else [*results, pooled], 1)


class Conv(nn.Module):
    """Convolution, normalisation, ReLU. Padded to keep the size, unless its stride is 2 or padded is False."""

    def __init__(self, inputs: int, outputs: int, kernel: Kernel, stride: int = 1, padded: bool = True) -> None:
        super().__init__()
        tall, wide = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        padding = (tall // 2, wide // 2) if padded and stride == 1 else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, (tall, wide), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


def _mixed_a(inputs: int, pool: int) -> Mixed:
    return Mixed(
        inputs, "average",
        branch1x1=[(64, 1)], branch5x5=[(48, 1), (64, 5)], branch3x3dbl=[(64, 1), (96, 3), (96, 3)],
        branch_pool=[(pool, 1)],
    )  # fmt: skip


def _mixed_c(inputs: int, c: int) -> Mixed:
    return Mixed(
        inputs, "average",
        branch1x1=[(192, 1)],
        branch7x7=[(c, 1), (c, (1, 7)), (192, (7, 1))],
        branch7x7dbl=[(c, 1), (c, (7, 1)), (c, (1, 7)), (c, (7, 1)), (192, (1, 7))],
        branch_pool=[(192, 1)],
    )  # fmt: skip


def _mixed_e(inputs: int, pooled: str) -> Mixed:
    fork: Layer = [(384, (1, 3)), (384, (3, 1))]
    return Mixed(
        inputs, pooled,
        branch1x1=[(320, 1)], branch3x3=[(384, 1), fork], branch3x3dbl=[(448, 1), (384, 3), fork],
        branch_pool=[(192, 1)],
    )  # fmt: skip


def legacy_resize(x: Tensor, side: int) -> Tensor:
    """Bilinear resize as TensorFlow 1 did it: output pixel i looks at i × input/output, with no half-pixel shift.

    x       (N, C, H, W)
    returns (N, C, side, side)
    """
    for axis in (2, 3):
        extent = x.shape[axis]
        place = torch.arange(side, device=x.device, dtype=torch.float32) * (extent / side)
        low = place.long().clamp_max(extent - 1)
        high = (low + 1).clamp_max(extent - 1)
        share = (place - low).to(x.dtype).view(-1, 1) if axis == 2 else (place - low).to(x.dtype)
        near, far = x.index_select(axis, low), x.index_select(axis, high)
        x = near + (far - near) * share
    return x


def load(path: Path) -> Inception:
    """The network with the weights of a file. `canonical` tells whether they are those of every published FID.

    path    a .pth with a plain state dict
    raises  ModelError   if the file is missing or holds something else
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"no Inception weights at {path}", f"give the file {FILE}") from None
    except Exception as error:
        raise ModelError(f"{path} is not a weights file: {error}", f"give the file {FILE}") from error
    network = Inception()
    wrong = _differences(network.state_dict(), state)
    if wrong:
        raise ModelError(f"{path} does not hold Inception of 2015: {wrong}", f"give the file {FILE}")
    network.load_state_dict(state)
    return network.freeze(file_sha256(path))


def _differences(wanted: Mapping[str, Tensor], given: object) -> str:
    if not isinstance(given, Mapping):
        return f"a {type(given).__name__} where named tensors were expected"
    for name, tensor in wanted.items():
        if name.endswith("num_batches_tracked"):
            continue
        if name not in given:
            return f"'{name}' is missing"
        if given[name].shape != tensor.shape:
            return f"'{name}' has shape {tuple(given[name].shape)}, not {tuple(tensor.shape)}"
    extra = sorted(set(given) - set(wanted))
    return f"'{extra[0]}' is unknown" if extra else ""
