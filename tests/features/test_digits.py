"""The digits network reads MNIST as its header says, and counts stacked digits as published."""

import os

import numpy as np
import pytest
import torch
from torch import Tensor

from limner.core.errors import DataError
from limner.data.cache import finish
from limner.data.sources import open_data
from limner.features import digits
from limner.metrics import modes
from limner.metrics.fid import Moments, frechet_distance
from limner.metrics.inception_score import inception_score


@pytest.fixture(scope="module")
def seen() -> tuple[Tensor, Tensor, Tensor]:
    """Features, logits and labels of the 10,000 test images."""
    try:
        dataset = finish(open_data("mnist", split="test"))
    except DataError as error:
        pytest.skip(f"offline: {error.message}")
    network = digits.load()
    images = torch.tensor(dataset.samples)
    both = [network.both(x.float() / 127.5 - 1) for x in images.split(500)]
    return torch.cat([f for f, _ in both]), torch.cat([c for _, c in both]), torch.tensor(dataset.labels)


def test_accuracy(seen: tuple[Tensor, Tensor, Tensor]) -> None:
    _, logits, labels = seen
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    assert accuracy >= 0.993
    assert accuracy == pytest.approx(float(digits.header()["accuracy"]), abs=1e-4)


def test_weights_are_small_and_tell_their_origin() -> None:
    assert digits.WEIGHTS.stat().st_size < 2**20
    assert os.fspath("benchmarks/digits_classifier.py") in digits.header()["command"]


def test_real_digits_score_as_they_should(seen: tuple[Tensor, Tensor, Tensor]) -> None:
    found, logits, _ = seen
    assert inception_score(logits).mean > 9
    halves = frechet_distance(Moments.of(found[::2]), Moments.of(found[1::2]))
    one_class = frechet_distance(Moments.of(found[::2]), Moments.of(found[1::2][logits[1::2].argmax(1) == 1]))
    assert one_class > 20 * halves


def test_real_stacked_digits_hold_every_mode(seen: tuple[Tensor, Tensor, Tensor]) -> None:
    read = seen[1].argmax(1)
    drawn = torch.randint(0, len(read), (26_000, 3), generator=torch.Generator().manual_seed(0))
    found = modes.stacked(torch.bincount(read[drawn] @ torch.tensor([100, 10, 1]), minlength=1000))
    assert found.captured == 1000
    assert found.reverse_kl == pytest.approx(0.0235, abs=0.002)


def test_small_digits_get_the_frame_that_mnist_s_have() -> None:
    x = torch.ones(2, 1, 8, 8)
    framed = digits.framed(x)
    assert framed.shape == (2, 1, 28, 28)
    assert (framed[:, :, 4:24, 4:24] == 1).all() and framed.sum() == 2 * (400 - 384)
    assert digits.framed(torch.ones(1, 1, 28, 28)).sum() == 784


def test_small_digits_are_read_as_their_labels_say() -> None:
    """Without their frame it would be .83 of them, and a third of the 9s."""
    data = finish(open_data("digits"))
    batch = data.take(np.arange(len(data)))
    right = digits.load().classify(batch["x"]).argmax(1) == batch["label"]
    assert right.double().mean() > 0.95
    assert all(right[batch["label"] == label].double().mean() > 0.85 for label in range(10))
