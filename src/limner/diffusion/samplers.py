"""Samplers: from noise to samples by a denoiser, one noise level after the other. Pure functions of one signature.

    denoise  x (N, C, *size), σ (N,) → (N, C, *size), the estimate of x₀ in x = x₀ + σ n
    x        (N, C, *size)            the start: standard normal noise times levels[0], plus nothing
    levels   S + 1 noise levels, falling; the last may be 0
    noise    (S, N, C, *size)         standard normal, for the samplers in STOCHASTIC; the others ignore it
    returns  (N, C, *size)            a sample at levels[-1]

The samplers follow dx/dσ = (x − D(x, σ)) / σ, the path along which noise fades without chance (Karras et al. 2022,
arXiv:2206.00364, equation 1 with σ(t) = t). All chance is in the arguments, so the same noise gives the same sample.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from limner.diffusion.scan import scan

Level = float | Tensor
Denoiser = Callable[[Tensor, Tensor], Tensor]
Sampler = Callable[[Denoiser, Tensor, Sequence[float], Tensor | None], Tensor]


def euler(denoise: Denoiser, x: Tensor, levels: Sequence[float], noise: Tensor | None = None) -> Tensor:
    """One straight line a level: one evaluation each, and an error that falls with the number of levels.

    It is DDIM with η = 0, written for samples that are not scaled.

    Source: Song, Meng & Ermon 2021, arXiv:2010.02502, equation 13
    """
    return scan(_straight(denoise), x, *_columns(x, levels[:-1], levels[1:]))


def heun(denoise: Denoiser, x: Tensor, levels: Sequence[float], noise: Tensor | None = None) -> Tensor:
    """Each line is corrected by the slope at its end: two evaluations a level, and an error that falls with the square.

    Source: Karras et al. 2022, arXiv:2206.00364, algorithm 1
    """
    return _corrected(denoise, x, levels[:-1], levels[1:])


def ancestral(denoise: Denoiser, x: Tensor, levels: Sequence[float], noise: Tensor | None = None) -> Tensor:
    """Each step draws from the noisy sample's posterior, given the estimate of x₀: DDPM's sampler.

    Source: Ho et al. 2020, arXiv:2006.11239, equations 6 and 7 and algorithm 2, with the posterior's variance
    """
    noise = _needed(noise, levels)

    def step(x: Tensor, now: Tensor, then: Tensor, chance: Tensor) -> Tensor:
        return posterior(denoise(x, now.expand(x.shape[0])), x, now, then, chance)

    return scan(step, x, *_columns(x, levels[:-1], levels[1:]), noise)


def churned_heun(
    denoise: Denoiser,
    x: Tensor,
    levels: Sequence[float],
    noise: Tensor | None = None,
    churn: float = 40.0,
    lowest: float = 0.05,
    highest: float = 50.0,
    excess: float = 1.003,
) -> Tensor:
    """Heun's steps, each after a little fresh noise, which corrects errors of earlier steps.

    churn            how much noise over all levels; 0 is `heun`
    lowest, highest  levels between which noise is added
    excess           standard deviation of the added noise, a little above 1 against lost detail

    Source: Karras et al. 2022, arXiv:2206.00364, algorithm 2; the defaults are table 5's for ImageNet
    """
    noise = _needed(noise, levels)
    most = min(churn / (len(levels) - 1), 2**0.5 - 1)
    raised = [now * (1 + most) if lowest <= now <= highest else now for now in levels[:-1]]
    widths = [(above**2 - now**2) ** 0.5 * excess for above, now in zip(raised, levels, strict=False)]
    return _corrected(denoise, x, raised, levels[1:], *_columns(x, widths), noise)


def posterior(clean: Tensor, x: Tensor, now: Level, then: Level, noise: Tensor) -> Tensor:
    """A draw of the sample at a lower noise level, given the one at a higher level and x₀.

    clean    (N, C, *size)  x₀, or its estimate
    x        (N, C, *size)  x₀ with noise of level `now`
    now      a number, or (N, 1, …)
    then     the same, lower; 0 gives `clean`
    noise    (N, C, *size)  standard normal
    returns  (N, C, *size)

    Source: Ho et al. 2020, arXiv:2006.11239, equations 6 and 7, for samples that are not scaled
    """
    share = (then / now) ** 2
    return clean + share * (x - clean) + then * (1 - share) ** 0.5 * noise


SAMPLERS: dict[str, Sampler] = {
    "euler": euler, "ddim": euler, "heun": heun, "ancestral": ancestral, "churned_heun": churned_heun,
}  # fmt: skip
"""By the names that settings use."""
STOCHASTIC = frozenset({"ancestral", "churned_heun"})
"""Those that take noise for each level."""


def latent(sampler: str, levels: int, values: int) -> int:
    """How many numbers of noise one sample takes: its start and, for samplers with chance, a sample for each level."""
    return values * (1 + levels) if sampler in STOCHASTIC else values


def sample(sampler: str, denoise: Denoiser, z: Tensor, levels: Sequence[float], shape: tuple[int, ...]) -> Tensor:
    """Samples of a shape as a function of all their noise.

    sampler  its name
    z        (N, latent)  standard normal; see `latent`
    levels   S + 1 of them
    returns  (N, *shape)
    """
    parts = z.unflatten(1, (-1, *shape)).transpose(0, 1)
    return SAMPLERS[sampler](denoise, parts[0] * levels[0], levels, parts[1:] if sampler in STOCHASTIC else None)


def _columns(x: Tensor, *columns: Sequence[float]) -> list[Tensor]:
    """Numbers of each step, (S,) a column, as x has them."""
    return [torch.tensor(column, dtype=x.dtype, device=x.device) for column in columns]


def _slope(denoise: Denoiser, x: Tensor, sigma: Tensor) -> Tensor:
    return (x - denoise(x, sigma.expand(x.shape[0]))) / sigma


def _straight(denoise: Denoiser) -> Callable[..., Tensor]:
    def step(x: Tensor, now: Tensor, then: Tensor) -> Tensor:
        return x + (then - now) * _slope(denoise, x, now)

    return step


def _corrected(denoise: Denoiser, x: Tensor, starts: Sequence[float], ends: Sequence[float], *noise: Tensor) -> Tensor:
    """Heun's steps between levels, S of them.

    noise  what is added to x before each, if anything: standard deviations (S,) and numbers (S, N, C, *size)
    """

    def noised(x: Tensor, *noise: Tensor) -> Tensor:
        return x + noise[0] * noise[1] if noise else x

    def step(x: Tensor, now: Tensor, then: Tensor, *noise: Tensor) -> Tensor:
        x = noised(x, *noise)
        slope = _slope(denoise, x, now)
        guess = x + (then - now) * slope
        return x + (then - now) * (slope + _slope(denoise, guess, then)) / 2

    columns = [*_columns(x, starts, ends), *noise]
    if ends[-1] > 0:
        return scan(step, x, *columns)
    x = scan(step, x, *(column[:-1] for column in columns))
    # At level 0 there is no slope to correct by.
    now, then, *last = (column[-1] for column in columns)
    return _straight(denoise)(noised(x, *last), now, then)


def _needed(noise: Tensor | None, levels: Sequence[float]) -> Tensor:
    if noise is None or len(noise) != len(levels) - 1:
        raise ValueError(f"this sampler needs noise for each of the {len(levels) - 1} levels")
    return noise
