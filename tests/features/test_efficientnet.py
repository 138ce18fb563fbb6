"""EfficientNet-lite0 on pictures whose classes are known."""

import numpy as np
import pytest
import skimage.data
import torch

from limner.core.errors import DataError
from limner.features import efficientnet


@pytest.mark.parametrize(("name", "classes"), [("chelsea", {281, 282, 285}), ("coffee", {967})])
def test_cat_and_coffee(name: str, classes: set[int]) -> None:
    try:
        network = efficientnet.load()
    except DataError as error:
        pytest.skip(f"offline: {error.message}")
    x = torch.from_numpy(np.asarray(getattr(skimage.data, name)())).permute(2, 0, 1)[None].float() / 127.5 - 1
    probability, label = network.classify(x).softmax(1).max(1)
    assert label.item() in classes  # tabby, tiger cat or Egyptian cat; espresso
    assert probability.item() > 0.5


def test_padding_is_tensorflow_s() -> None:
    convolution = efficientnet.Same(1, 1, 3, stride=2)
    torch.nn.init.ones_(convolution.weight)
    x = torch.arange(16.0).view(1, 1, 4, 4)
    # An even side takes all of its padding on the right and bottom.
    assert convolution(x).flatten().tolist() == [45, 39, 66 + 0, 50]
