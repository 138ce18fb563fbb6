"""What a feature network is: a frozen eye that turns pictures into vectors, so that pictures can be compared."""

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Features(nn.Module, ABC):
    """A frozen network. It stays in evaluation mode and its weights ask for no gradient; gradients of a
    perceptual loss still flow to the pictures.

    name            what a report calls it: figures over different names cannot be compared
    dimensions      length of a feature vector
    weights_sha256  of the weights' file, or of the tensors where there is no file
    """

    name: str
    dimensions: int
    weights_sha256: str

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Feature vectors of pictures.

        x       (N, C, H, W)  in [-1, 1], grey or colour, of any size
        returns (N, dimensions)  float32
        """

    @property
    def frechet_name(self) -> str:
        """What a Fréchet distance over this network is called. FID is the name over one network alone."""
        return f"FD-{self.name}"

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode, whatever is asked: the eye is frozen."""
        return super().train(False)

    def freeze(self, weights_sha256: str) -> Self:
        """Marks the weights as final. Called once, by the function that loads them."""
        self.weights_sha256 = weights_sha256
        return self.requires_grad_(False).eval()


class Classifier(Features, ABC):
    """A feature network that also names what it sees.

    classes  how many classes it knows
    """

    classes: int

    @abstractmethod
    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits of pictures, in one pass.

        x       (N, C, H, W)  in [-1, 1]
        returns (N, dimensions) and (N, classes)  float32
        """

    def forward(self, x: Tensor) -> Tensor:
        return self.both(x)[0]

    def classify(self, x: Tensor) -> Tensor:
        """Logits of pictures.

        x       (N, C, H, W)  in [-1, 1]
        returns (N, classes)  float32
        """
        return self.both(x)[1]


def quantised(x: Tensor) -> Tensor:
    """Pictures as a PNG would hold them: clipped and rounded to 256 levels. Published figures measure such pictures.

    x       (N, C, H, W)
    returns (N, C, H, W)  in [-1, 1]
    """
    return (x.clamp(-1, 1) + 1).mul(127.5).round() / 127.5 - 1


def grey(x: Tensor) -> Tensor:
    """Pictures with one channel: colour becomes luma by the weights of ITU-R BT.601.

    x       (N, C, H, W)  C = 1 or 3
    returns (N, 1, H, W)
    """
    if x.shape[1] == 1:
        return x
    return (x * x.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)


def colour(x: Tensor) -> Tensor:
    """Pictures with three channels: grey is repeated.

    x       (N, C, H, W)  C = 1 or 3
    returns (N, 3, H, W)
    """
    return x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x


def resized(x: Tensor, side: int) -> Tensor:
    """Square pictures of one size: bilinear, antialiased when shrinking. Pictures of that size pass unchanged.

    x       (N, C, H, W)
    returns (N, C, side, side)
    """
    if x.shape[-2:] == (side, side):
        return x
    return F.interpolate(x, (side, side), mode="bilinear", align_corners=False, antialias=True)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_sha256(module: nn.Module) -> str:
    """The SHA-256 of a module's tensors (names, shapes, values), in hex, for weights that no file holds."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if tensor.dim() else
                      str(tensor.item()).encode())  # fmt: skip
    return digest.hexdigest()
