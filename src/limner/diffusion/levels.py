"""Noise levels: through which standard deviations σ a sample passes, from pure noise down to 0.

Everywhere in limner.diffusion a noisy sample is x = x₀ + σ n, with n standard normal. Models that scale their samples
(x_t = √ᾱ x₀ + √(1 − ᾱ) n) are met by σ = √((1 − ᾱ) / ᾱ) and x = x_t / √ᾱ.
"""

from typing import Any

import torch
from torch import Tensor

# Schedules are numbers, not weights: on the CPU even where networks are being built elsewhere.
_EXACT: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}


def karras_levels(steps: int, lowest: float = 0.002, highest: float = 80.0, rho: float = 7.0) -> list[float]:
    """Levels that lie denser the nearer they are to 0.

    steps    how many levels above 0, at least 1
    returns  steps + 1 levels, from `highest` down to `lowest`, then 0

    Source: Karras et al. 2022, arXiv:2206.00364, equation 5
    """
    start, end = highest ** (1 / rho), lowest ** (1 / rho)
    return [*((start + i / max(1, steps - 1) * (end - start)) ** rho for i in range(steps)), 0.0]


def linear_schedule(times: int, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """ᾱ of each time: what is left of the sample's variance, where βₜ rises in a straight line.

    first, last  β of the ends of 1,000 times; fewer take as much more each, so that the last is noise all the same
    returns      (times,)  float64, falling

    Source: Ho et al. 2020, arXiv:2006.11239, section 4; scaled as in the code of Nichol & Dhariwal 2021,
    arXiv:2102.09672
    """
    beta = torch.linspace(first, last, times, **_EXACT) * (1000 / times)
    return torch.cumprod(1 - beta.clamp(max=0.999), 0)


def cosine_schedule(times: int, offset: float = 0.008, most: float = 0.999) -> Tensor:
    """ᾱ of each time as the square of a cosine: less of the time is spent on pure noise.

    most     βₜ is at most this
    returns  (times,)  float64, falling

    Source: Nichol & Dhariwal 2021, arXiv:2102.09672, equation 17
    """
    time = torch.arange(times + 1, **_EXACT) / times
    kept = torch.cos((time + offset) / (1 + offset) * torch.pi / 2) ** 2
    beta = (1 - kept[1:] / kept[:-1]).clamp(max=most)
    return torch.cumprod(1 - beta, 0)


def exponential_schedule(times: int, least: float = 0.1, most: float = 20.0, first: float = 1e-3) -> Tensor:
    """ᾱ of each time where the rate of noise rises in a straight line over continuous time, cut into few large steps.

    least, most  the rate β at the beginning and the end
    first        the time, of 1, that is taken for the beginning
    returns      (times,)  float64, falling

    Source: Xiao et al. 2022, arXiv:2112.07804, as in the authors' code; Song et al. 2021, arXiv:2011.13456
    """
    time = torch.arange(times + 1, **_EXACT) / times * (1 - first) + first
    log_kept = -0.5 * time**2 * (most - least) - time * least
    return (log_kept[1:] - log_kept[0]).exp()


def sigmas(kept: Tensor) -> Tensor:
    """σ of each ᾱ: √((1 − ᾱ) / ᾱ)."""
    return torch.sqrt((1 - kept) / kept)


def spaced_times(times: int, steps: int) -> Tensor:
    """Some of the times 0 … times − 1, as even as whole numbers can be, from the last down to 0.

    steps    how many, at most `times`
    returns  (steps,)  int64

    Source: Nichol & Dhariwal 2021, arXiv:2102.09672, section 4
    """
    return torch.linspace(times - 1, 0, steps, **_EXACT).round().long()
