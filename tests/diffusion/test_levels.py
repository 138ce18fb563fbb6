"""Noise levels and schedules against the papers' formulas and values."""

from math import cos, exp, pi

import pytest
import torch

from limner.core.errors import UsageError
from limner.core.signal import Signal
from limner.diffusion.levels import (
    cosine_schedule,
    exponential_schedule,
    karras_levels,
    linear_schedule,
    sigmas,
    spaced_times,
)
from limner.models.model import build


def test_karras_levels():
    levels = karras_levels(18)
    assert len(levels) == 19 and levels[-1] == 0
    assert levels[0] == pytest.approx(80) and levels[17] == pytest.approx(0.002)
    share = 5 / 17
    assert levels[5] == pytest.approx((80 ** (1 / 7) + share * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7)
    assert karras_levels(1) == [80, 0]


def test_linear_schedule():
    kept = linear_schedule(1000)
    assert kept[0].item() == pytest.approx(1 - 1e-4)
    assert kept[1].item() == pytest.approx((1 - 1e-4) * (1 - (1e-4 + 0.0199 / 999)))
    # Nearly nothing is left at the end: -log ᾱ is about the sum of the betas, 1000 · (1e-4 + .02) / 2.
    assert kept[-1].item() == pytest.approx(exp(-10.05), rel=0.1)


def test_cosine_schedule():
    kept = cosine_schedule(1000)

    def f(t):
        return cos((t + 0.008) / 1.008 * pi / 2) ** 2

    for t in (1, 250, 500, 900):
        assert kept[t - 1].item() == pytest.approx(f(t / 1000) / f(0))
    assert (kept[1:] / kept[:-1] >= 1 - 0.999 - 1e-9).all() and kept[-1] > 0


def test_four_large_steps():
    """The authors' code gives, for 4 steps, these shares of variance (worked out by hand from its formula)."""
    kept = exponential_schedule(4)
    times = [1e-3 + i / 4 * 0.999 for i in range(5)]
    raw = [exp(-0.5 * t * t * 19.9 - t * 0.1) for t in times]
    assert kept.tolist() == pytest.approx([value / raw[0] for value in raw[1:]])
    assert kept[-1] < 1e-4


def test_sigma_of_a_share():
    kept = torch.tensor([0.2], dtype=torch.float64)
    assert sigmas(kept).item() == pytest.approx(2.0)  # variance .8 beside .2


def test_spaced_times():
    assert spaced_times(1000, 1000).tolist() == list(range(999, -1, -1))
    assert spaced_times(10, 4).tolist() == [9, 6, 3, 0]
    assert len(set(spaced_times(1000, 333).tolist())) == 333


@pytest.mark.parametrize("times", [50, 200])
def test_few_times_end_in_noise_as_a_thousand_do(times):
    """Their β are larger by as much, so that ∫β, and with it what is left of the sample, is nearly the same."""
    assert linear_schedule(times)[-1] < 1.1 * linear_schedule(1000)[-1] < 5e-5


def test_levels_that_would_rise_are_refused():
    with pytest.raises(UsageError, match="--lowest 90 is not below --highest 80"):
        build("edm", {"lowest": 90.0}, Signal(channels=1, size=(8, 8)))
