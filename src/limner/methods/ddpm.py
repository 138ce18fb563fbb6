"""DDPM: a network learns to tell the noise in pictures; taken off pure noise step by step, it leaves a picture.

The first diffusion model that painted as well as GANs. Noise comes in a thousand times, from almost none to nothing
else; at a random time the network sees the picture and tells the noise. Its sampler draws a little noise back in at
each step (ancestral) or none (ddim), which needs far fewer steps. The networks, and the average of their weights, are
those of limner's `edm`, in --variant paper too: DDPM++, not the paper's own U-Net.

Source: Ho, Jain & Abbeel 2020, arXiv:2006.11239 (cosine times: arXiv:2102.09672; ddim: arXiv:2010.02502)
Task: generate
Expect: limner train ddpm --data digits --batch 64 --steps 400 --denoiser.lr 1e-3 --threads 1 --seed 42
        then limner evaluate --samples 1000: FD-digits .71, coverage .73, 10 of 10 classes; real data have .07, .97 and
        10 (benchmarks/results/expectations.md)
"""

from collections.abc import Iterator
from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from limner.core.config import Adam, DiffusionConfig
from limner.core.errors import UsageError
from limner.core.method import Batch, Move, Turn
from limner.core.signal import Signal
from limner.diffusion.levels import cosine_schedule, linear_schedule, sigmas, spaced_times
from limner.diffusion.precondition import epsilon_scales, preconditioned
from limner.diffusion.samplers import latent, sample
from limner.nn.unet import sized_unet
from limner.tasks.generate import Generate


class Config(DiffusionConfig):
    """The choices of DDPM."""

    schedule: Literal["linear", "cosine"] = "linear"
    """How noise comes in over time: as published, or by a cosine, which keeps more of small pictures for longer."""
    times: int = Field(default=1000, ge=2, le=10_000)
    """Times at which training adds noise."""
    sampler: Literal["ddim", "ancestral"] = "ddim"
    """How noise is taken off: ddim needs few levels; ancestral is DDPM's own and likes them all."""
    levels: int = Field(default=50, ge=1, le=1000)
    """Noise levels that a sample passes through, out of all times."""
    denoiser: Adam = Adam(lr=2e-4, warmup=100)
    """How the network's weights move."""

    def settle(self, signal: Signal) -> Self:
        """Pick what belongs to the variant and the data.

        raises UsageError   if there are more levels than times
        """
        if self.levels > self.times:
            raise UsageError(f"{self.levels} levels cannot be chosen out of {self.times} times", "lower --levels")
        return super().settle(signal)


class DDPM(Generate):
    """Diffusion with a network that tells the noise."""

    averaged = ("denoiser",)
    truncates = False

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__(config, signal)
        self.conditional = config.conditioning == "class"
        self.sampler, self.passes = config.sampler, config.levels
        self.latent = latent(config.sampler, config.levels, signal.values)
        self.kept = (linear_schedule if config.schedule == "linear" else cosine_schedule)(config.times)
        self.asked = spaced_times(config.times, config.levels)
        self.levels = [*sigmas(self.kept)[self.asked].tolist(), 0.0]
        classes = signal.classes if self.conditional else 0
        self.denoiser = sized_unet(signal, config.variant, config.width, classes)

    def step(self, batch: Batch) -> Iterator[Move]:
        x = batch["x"]
        time = (self.uniform(len(x)) * len(self.kept)).long()
        kept = self.kept.to(x)[time][:, None, None, None]
        noise = self.noise(*x.shape)
        told = self.denoiser(kept.sqrt() * x + (1 - kept).sqrt() * noise, time, self._class(batch.get("label")))
        yield Turn("denoiser", (told - noise).square().mean((1, 2, 3)))

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        asked = self.asked.to(z.device)
        levels = torch.tensor(self.levels[:-1], device=z.device)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            time = asked[(sigma[:, None] - levels).abs().argmin(1)]
            scales = epsilon_scales(sigma, time)
            clean = preconditioned(lambda scaled, time: self.denoiser(scaled, time, self._class(label)), x, scales)
            # The authors' code does so too: at great noise a small error would lead far off.
            return clean.clamp(-1, 1)

        return sample(self.sampler, denoise, z, self.levels, self.signal.shape)

    def _class(self, label: Tensor | None) -> Tensor | None:
        return label if self.conditional else None
