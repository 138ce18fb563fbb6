import numpy as np
import pytest
import torch

from limner.data.folder import Choices
from limner.data.pack import check_sums
from limner.data.sources import open_data, prepare_pack
from limner.metrics import modes


def test_each_channel_is_a_digit_and_the_label_says_which(drain):
    _, digits = drain(open_data("digits"))
    _, dataset = drain(open_data("stacked-digits"))
    batch = dataset.take(np.arange(50))
    assert batch["x"].shape == (50, 3, 8, 8) and len(dataset) == 128_000
    known = {sample.tobytes(): label for sample, label in zip(digits.samples, digits.labels, strict=True)}
    for sample, label in zip(dataset.samples[:50], dataset.labels, strict=False):
        assert int("".join(str(known[channel[None].tobytes()]) for channel in sample)) == label
    assert dataset.manifest.classes[314] == "314" and dataset.manifest.licence == digits.manifest.licence


def test_it_is_the_same_each_time_and_a_pack_of_it_too(drain, tmp_path):
    _, first = drain(open_data("stacked-digits"))
    _, again = drain(open_data("stacked-digits"))
    assert first.manifest == again.manifest
    check_sums(first)
    drain(prepare_pack("stacked-digits", tmp_path / "pack", Choices()))
    _, packed = drain(open_data(str(tmp_path / "pack")))
    assert packed.manifest == first.manifest


def test_there_is_no_test_part_without_one_of_the_digits(drain):
    with pytest.raises(Exception, match="'stacked-digits' has no test part"):
        drain(open_data("stacked-digits", split="test"))


def test_real_stacks_score_what_arithmetic_says(mnist, drain, cache, monkeypatch):
    """The divergence of N samples is (K - 1) / 2N above that of the digits' own frequencies (Miller 1955)."""
    monkeypatch.delenv("LIMNER_CACHE")  # MNIST as the person has it
    test = mnist[1]
    _, stacks = drain(open_data("stacked-mnist", split="test"))
    assert len(stacks) == modes.STACKED_SAMPLES == 26_000
    share = np.bincount(test.labels) / len(test)
    closed = 3 * (share * np.log(10 * share)).sum() + 999 / (2 * 26_000)
    found = modes.stacked(torch.from_numpy(np.bincount(stacks.labels, minlength=1000)))
    spread = np.sqrt(2 * 999) / (2 * 26_000)  # 2N times the divergence is nearly χ² with K - 1 degrees of freedom
    assert found.captured == 1000 and found.reverse_kl == pytest.approx(closed, abs=4 * spread)
    assert closed == pytest.approx(0.0235, abs=0.002)
