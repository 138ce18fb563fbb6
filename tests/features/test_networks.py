"""What holds for every feature network: frozen, the same whatever the batch, grey and colour, any size."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from limner import features
from limner.core.errors import DataError, UsageError
from limner.features.network import Classifier, Features, colour, grey, quantised, resized


def network(name: str) -> Classifier:
    try:
        found = features.load(name)
    except DataError as error:
        pytest.skip(f"offline: {error.message}")
    assert isinstance(found, Classifier)
    return found


SHIPPED = pytest.mark.parametrize("name", ["digits", "tiny", "efficientnet"])


@SHIPPED
def test_frozen_and_the_same_in_every_batch(name: str) -> None:
    eye = network(name)
    assert eye.name == name
    assert len(eye.weights_sha256) == 64
    assert not any(p.requires_grad for p in eye.parameters())
    assert not eye.train().training
    luck = torch.Generator().manual_seed(0)
    for channels, size in ((1, (28, 28)), (3, (20, 33))):
        x = torch.rand(4, channels, *size, generator=luck) * 2 - 1
        together = eye(x)
        assert together.shape == (4, eye.dimensions)
        assert together.dtype == torch.float32
        assert eye.classify(x).shape == (4, eye.classes)
        apart = torch.cat([eye(x[i : i + 1]) for i in range(4)])
        torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


@SHIPPED
def test_a_gradient_reaches_the_picture(name: str) -> None:
    x = torch.zeros(1, 1, 28, 28, requires_grad=True)
    network(name)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_tiny_is_fixed_by_its_seed() -> None:
    from limner.features import tiny

    assert tiny.load().weights_sha256 == tiny.load().weights_sha256
    assert tiny.load(1).weights_sha256 != tiny.load().weights_sha256


def test_names_of_distances() -> None:
    assert network("digits").frechet_name == "FD-digits"
    assert network("tiny").frechet_name == "FD-tiny"


def test_unknown_names_and_files() -> None:
    with pytest.raises(UsageError, match="did you mean 'digits'"):
        features.load("digit")
    with pytest.raises(UsageError, match="pt_inception-2015-12-05"):
        features.load("inception")
    with pytest.raises(UsageError, match="take no weights"):
        features.load("tiny", Path("weights.pth"))


def test_listing_names_imports_no_torch() -> None:
    code = "import sys, limner.features as f; assert f.SUMMARIES and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pictures_are_brought_to_shape() -> None:
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert grey(red)[0, 0, 0, 0].item() == pytest.approx(0.299)
    assert grey(red[:, :1]).shape == colour(red[:, :1])[:, :1].shape
    assert resized(red, 8) is red
    assert resized(red, 4).shape == (1, 3, 4, 4)
    levels = quantised(torch.tensor([-2.0, -1.0, 0.001, 0.5, 3.0]))
    assert ((levels + 1) * 127.5).tolist() == pytest.approx([0, 0, 128, 191, 255], abs=1e-4)


def test_abstract() -> None:
    with pytest.raises(TypeError):
        Features()  # type: ignore[abstract]
