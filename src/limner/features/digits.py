"""Digits: a small network that reads handwritten digits. 28×28 px, grey; 128 features; 10 classes.

It was trained on MNIST's training images by `python benchmarks/digits_classifier.py`, which prints its accuracy on
the 10,000 test images; the weights' header repeats it. A Fréchet distance over it is called FD-digits: it sees
strokes, not photographs.
"""

from pathlib import Path
from typing import Any

import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from limner.core.errors import ModelError
from limner.features.network import Classifier, file_sha256, grey, resized

WEIGHTS = Path(__file__).parent / "weights" / "digits.safetensors"


class Digits(Classifier):
    """Five convolutions, averaged over the picture, and a linear classifier: 0.2 million weights."""

    name = "digits"
    dimensions = 128
    classes = 10

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _block(1, 24, 5, padding=0),                    # 24×24
            nn.MaxPool2d(2),                                # 12×12
            _block(24, 48, 3, padding=1),
            _block(48, 64, 3, padding=1),
            nn.MaxPool2d(2),                                # 6×6
            _block(64, 96, 3, padding=1),
            _block(96, self.dimensions, 3, padding=0),      # 4×4
        )  # fmt: skip
        self.head = nn.Linear(self.dimensions, self.classes)

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(resized(framed(grey(x)), 28).float()).mean((2, 3))
        return features, self.head(features)


def _block(inputs: int, outputs: int, kernel: int, padding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def framed(x: Tensor) -> Tensor:
    """Digits of 8 px, which fill their frame, as MNIST has them: 20 px high in a black frame of 28.

    Of scikit-learn's digits the network so reads .96, and .83 without the frame.

    x       (N, 1, H, W)
    returns (N, 1, 28, 28) where H and W are 8, else x
    """
    return F.pad(resized(x, 20), (4, 4, 4, 4), value=-1) if x.shape[-2:] == (8, 8) else x


def load(path: Path = WEIGHTS) -> Digits:
    """The network with its trained weights.

    raises ModelError   if the file is missing or holds something else
    """
    network = Digits()
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path} does not hold weights of the digits network: {why}", "leave out --weights") from None
    return network.freeze(file_sha256(path))


def header(path: Path = WEIGHTS) -> dict[str, Any]:
    """What the weights' file says of itself: accuracy, command, seed, data."""
    with safe_open(path, "pt") as file:
        return dict(file.metadata() or {})
