"""EDM: a network learns to take noise off pictures; taken off again and again, pure noise becomes a picture.

Training is one plain minimisation: show a picture with some noise on it, ask for the picture. It is steady, misses no
kind of picture, and needs no opponent; the price is paid when sampling, which asks the network some 35 times a picture.

Source: Karras et al. 2022, arXiv:2206.00364 (preconditioning, noise levels, Heun's sampler)
Task: generate
Expect: limner train edm --data digits --batch 64 --steps 400 --threads 1 --seed 42
        then limner evaluate --samples 1000: FD-digits .16, coverage .81, 10 of 10 classes; real data have .07, .97 and
        10 (benchmarks/results/expectations.md)
"""

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import Field
from torch import Tensor

from limner.core.config import Adam, DiffusionConfig
from limner.core.errors import UsageError
from limner.core.method import Batch, Move, Turn
from limner.core.signal import Signal
from limner.diffusion.levels import karras_levels
from limner.diffusion.precondition import edm_scales, edm_weight, preconditioned
from limner.diffusion.samplers import latent, sample
from limner.nn.unet import sized_unet
from limner.tasks.generate import Generate

# Table 7 of the paper, for 32×32 px: batch 512, half-life of the average 500 kimg.
_PAPER = {"batch": 512, "average": 500.0}


class Config(DiffusionConfig):
    """The choices of EDM."""

    variant: Literal["small", "paper"] = "small"
    """How large a U-Net: small learns on a processor, paper is the published one (DDPM++, for a GPU), with batch 512
    and average 500 where none are given."""
    sampler: Literal["heun", "euler", "churned_heun"] = "heun"
    """How noise is taken off: heun corrects each step, euler does not, churned_heun adds a little noise in between."""
    lowest: float = Field(default=0.002, gt=0)
    """The last noise level of sampling, before 0."""
    highest: float = Field(default=80.0, gt=0)
    """The first noise level of sampling: far above the data's spread."""
    sigma_data: float = Field(default=0.5, gt=0)
    """Standard deviation of the data, in [-1, 1]."""
    mean: float = -1.2
    """Mean of the log of training's noise levels."""
    deviation: float = Field(default=1.2, gt=0)
    """Standard deviation of the log of training's noise levels."""
    denoiser: Adam = Adam(lr=1e-3, warmup=100)
    """How the network's weights move."""

    def settle(self, signal: Signal) -> Self:
        """Pick what belongs to the variant and the data.

        raises UsageError   if noise would not fall from the highest level to the lowest
        """
        if self.lowest >= self.highest:
            raise UsageError(
                f"--lowest {self.lowest:g} is not below --highest {self.highest:g}, and noise falls to it",
                "leave both out: they are the paper's .002 and 80",
            )
        return super(Config, self.varied(_PAPER if self.variant == "paper" else {})).settle(signal)


class EDM(Generate):
    """Diffusion with a preconditioned denoiser."""

    averaged = ("denoiser",)
    truncates = False

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__(config, signal)
        self.settings = config
        self.conditional = config.conditioning == "class"
        self.latent = latent(config.sampler, config.levels, signal.values)
        self.passes = config.levels * (1 if config.sampler == "euler" else 2)
        self.levels = karras_levels(config.levels, config.lowest, config.highest)
        classes = signal.classes if self.conditional else 0
        self.denoiser = sized_unet(signal, config.variant, config.width, classes)

    def step(self, batch: Batch) -> Iterator[Move]:
        x, chosen = batch["x"], self.settings
        sigma = (chosen.mean + chosen.deviation * self.noise(len(x))).exp()
        noisy = x + sigma[:, None, None, None] * self.noise(*x.shape)
        error = (self.denoise(noisy, sigma, batch.get("label")) - x).square().mean((1, 2, 3))
        yield Turn("denoiser", edm_weight(sigma, chosen.sigma_data) * error)

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        sampler, shape = self.settings.sampler, self.signal.shape
        return sample(sampler, lambda x, sigma: self.denoise(x, sigma, label), z, self.levels, shape)

    def denoise(self, x: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        """What a noisy picture looks like without noise.

        x       (N, C, H, W)  a picture plus noise of standard deviation sigma
        sigma   (N,)
        label   (N,)          needed where classes were learned
        returns (N, C, H, W)
        """
        told = label if self.conditional else None
        scales = edm_scales(sigma, self.settings.sigma_data)
        return preconditioned(lambda scaled, noise: self.denoiser(scaled, noise, told), x, scales)
