"""The stacked eye reads each channel as the digits network does, and real stacks as their labels say."""

import math

import numpy as np
import pytest
import torch

from limner import features
from limner.data.cache import finish
from limner.data.sources import open_data
from limner.features.stacked import Stacked


def test_it_reads_each_channel() -> None:
    single = features.load("tiny")
    eye = Stacked(single)
    x = torch.randn(6, 3, 28, 28, generator=torch.Generator().manual_seed(0)).tanh()
    each = [single.both(x[:, i : i + 1]) for i in range(3)]
    red, green, blue = (logits.softmax(1) for _, logits in each)
    seen, logits = eye.both(x)
    torch.testing.assert_close(seen, torch.cat([part for part, _ in each], 1)[:, : seen.shape[1]])
    chance = logits.softmax(1)
    for number in (0, 7, 314, 999):
        expected = red[:, number // 100] * green[:, number // 10 % 10] * blue[:, number % 10]
        torch.testing.assert_close(chance[:, number], expected)
    labels = 100 * red.argmax(1) + 10 * green.argmax(1) + blue.argmax(1)
    assert torch.equal(logits.argmax(1), labels)


def test_it_reads_real_stacks() -> None:
    """Three digits that are each read with .957 are read together with .957³ = .876."""
    data = finish(open_data("stacked-digits"))
    batch = data.take(np.arange(200))
    found = features.load("stacked").classify(batch["x"]).argmax(1)
    share = (found == batch["label"]).double().mean().item()
    assert share == pytest.approx(0.957**3, abs=4 * math.sqrt(0.876 * 0.124 / 200))
