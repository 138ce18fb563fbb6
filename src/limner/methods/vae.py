"""VAE: an encoder tells which few numbers a picture could come from, a decoder paints the picture again from them.

Both learn together to make the pictures of the data likely. The numbers are drawn with a little noise and kept near
the normal distribution, so that afterwards the decoder paints new pictures from nothing but normal noise. Training is
one plain minimisation: it is quick, steady and never collapses onto a few pictures; the samples are softer than a
GAN's. It is also the one method here that says how likely a given picture is (limner.metrics.nll).

Source: Kingma & Welling 2014, arXiv:1312.6114 (β: Higgins et al. 2017; draws: Burda et al. 2016, arXiv:1509.00519)
Task: generate
Expect: limner train vae --data mnist --epochs 2 --threads 1 --seed 42
        then limner evaluate --samples 2000: FD-digits 3.40 and coverage .14, where real data have .04 and .96
        (benchmarks/results/expectations.md)
"""

from collections.abc import Iterator
from itertools import pairwise
from math import log, prod
from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from limner.core.config import Adam, TrainingConfig
from limner.core.errors import UsageError
from limner.core.method import Batch, Move, Turn
from limner.core.signal import Signal
from limner.data.binarise import binarise
from limner.losses import likelihood
from limner.losses.divergence import importance_bound, standard_normal_divergence
from limner.nn.conv import Conv2d, ConvTranspose2d
from limner.tasks.generate import Generate


class Config(TrainingConfig):
    """The choices of a VAE."""

    network: Literal["auto", "dense", "conv"] = "auto"
    """Layers: dense as published, or convolutions; auto takes conv for pictures whose sides 4 divides."""
    width: int = Field(default=400, ge=1)
    """Units of a dense hidden layer; for conv, channels next to the picture (32 where none is given)."""
    depth: int = Field(default=2, ge=1, le=100)
    """Hidden layers of the dense encoder, and of the dense decoder."""
    latent: int = Field(default=40, ge=1)
    """Random numbers that make one picture."""
    likelihood: Literal["auto", "bernoulli", "gaussian", "discretised_logistic"] = "auto"
    """What a pixel is: on or off, a number, or a byte; auto takes bernoulli for grey pictures, bytes for colour."""
    binarise: Literal["none", "threshold", "fixed", "dynamic"] = "dynamic"
    """For bernoulli, how grey becomes on or off: not at all (none), cut at half (threshold), drawn
    once for each picture (fixed), or drawn anew each time (dynamic)."""
    beta: float = Field(default=1.0, ge=0)
    """Weight of staying near the normal distribution: above 1 gives simpler codes and softer pictures."""
    draws: int = Field(default=1, ge=1)
    """Codes drawn for each picture: above 1 the importance-weighted bound, tighter and that much slower."""
    batch: int = Field(default=100, ge=1)
    """Samples a step learns from, over all processes."""
    autoencoder: Adam = Adam(lr=1e-3)
    """How the weights of encoder and decoder move."""

    def settle(self, signal: Signal) -> Self:
        """Pick network and likelihood for the signal.

        raises UsageError   if choices do not go together, or do not suit the signal
        """
        if self.draws > 1 and self.beta != 1:
            raise UsageError("the importance-weighted bound has no beta", "leave out --beta or --draws")
        quarters = signal.rank == 2 and not any(side % 4 for side in signal.size)
        if self.network == "conv" and not quarters:
            raise UsageError(
                f"vae (network conv) needs pictures with sides that 4 divides, not {signal.describe()}",
                "give another --size, or --network dense",
            )
        network, pixels = self.network, self.likelihood
        if network == "auto":
            network = "conv" if quarters else "dense"
        if pixels == "auto":
            pixels = "gaussian" if signal.rank == 0 else "bernoulli" if signal.channels == 1 else "discretised_logistic"
        if pixels != "bernoulli" and self.binarise != "dynamic" and "binarise" in self.model_fields_set:
            raise UsageError(
                f"--binarise {self.binarise} is for pixels that are on or off, and the likelihood is {pixels}",
                "leave it out, or give --likelihood bernoulli",
            )
        settled = self.varied({"width": 32} if network == "conv" else {})
        return settled.model_copy(update={"network": network, "likelihood": pixels})


class VAE(Generate):
    """Variational autoencoder."""

    averaged = ("autoencoder",)

    def __init__(self, config: Config, signal: Signal) -> None:
        super().__init__(config, signal)
        self.latent, self.beta, self.draws = config.latent, config.beta, config.draws
        self.likelihood, self.scheme = config.likelihood, config.binarise
        build = (dense_encoder, dense_decoder) if config.network == "dense" else (conv_encoder, conv_decoder)
        self.autoencoder = nn.ModuleDict({"encoder": build[0](config, signal), "decoder": build[1](config, signal)})
        if self.likelihood != "bernoulli":
            # One spread for all pixels, learned. It begins at a tenth of the range from black to grey.
            self.autoencoder.register_parameter("log_scale", nn.Parameter(torch.tensor(log(0.1))))

    def step(self, batch: Batch) -> Iterator[Move]:
        x = self.observed(batch["x"])
        if self.draws > 1:
            noise = self.noise(len(x), self.draws, self.latent).transpose(0, 1)
            yield Turn("autoencoder", -importance_bound(self.weigh(x, noise)))
            return
        mean, log_variance = self.encode(x)
        z = mean + torch.exp(0.5 * log_variance) * self.noise(len(x), self.latent)
        reconstruction, divergence = -self.explain(x, z), standard_normal_divergence(mean, log_variance)
        values = {"reconstruction": reconstruction, "divergence": divergence}
        yield Turn("autoencoder", reconstruction + self.beta * divergence, values)

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        values = self.autoencoder["decoder"](z).unflatten(1, self.signal.shape)
        return 2 * torch.sigmoid(values) - 1 if self.likelihood == "bernoulli" else values.clamp(-1, 1)

    def observed(self, x: Tensor) -> Tensor:
        """Samples (N, C, *size) in [-1, 1] as what the likelihood is of: (N, values), for bernoulli 0 and 1."""
        return binarise(x.flatten(1), self.scheme, self.uniform) if self.likelihood == "bernoulli" else x.flatten(1)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the codes of observed samples (N, values) could be: mean and log of the variance, (N, latent) each."""
        mean, log_variance = self.autoencoder["encoder"](x).chunk(2, 1)
        return mean, log_variance

    def explain(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z) of observed samples (N, values), codes (…, N, latent): (…, N), in nats."""
        answer = self.autoencoder["decoder"](z.flatten(0, -2)).unflatten(0, z.shape[:-1])
        if self.likelihood == "bernoulli":
            return likelihood.bernoulli(answer, x)
        spread = self.autoencoder.get_parameter("log_scale")
        kind = likelihood.gaussian if self.likelihood == "gaussian" else likelihood.discretised_logistic
        return kind(answer, spread, x)

    def weigh(self, x: Tensor, noise: Tensor) -> Tensor:
        """log p(x, z) − log q(z|x) of codes that noise makes.

        x        (N, values)      as `observed` gives them
        noise    (K, N, latent)   standard normal
        returns  (K, N)           in nats
        """
        mean, log_variance = self.encode(x)
        z = mean + torch.exp(0.5 * log_variance) * noise
        # The constants of both normal densities are equal and leave together.
        prior, guess = -0.5 * z.square().sum(-1), -0.5 * (noise.square() + log_variance).sum(-1)
        return self.explain(x, z) + prior - guess


def dense_encoder(config: Config, signal: Signal) -> nn.Module:
    """(N, values) → (N, 2·latent)"""
    return dense([signal.values, *[config.width] * config.depth, 2 * config.latent])


def dense_decoder(config: Config, signal: Signal) -> nn.Module:
    """(N, latent) → (N, values)"""
    return dense([config.latent, *[config.width] * config.depth, signal.values])


def dense(widths: list[int]) -> nn.Module:
    """Dense layers of these widths, with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def conv_encoder(config: Config, signal: Signal) -> nn.Module:
    """(N, values) → (N, 2·latent): halved twice by 4×4 kernels."""
    w, small = config.width, [side // 4 for side in signal.size]
    return nn.Sequential(
        nn.Unflatten(1, signal.shape),
        Conv2d(signal.channels, w, 4, 2, 1),
        nn.ReLU(),
        Conv2d(w, 2 * w, 4, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * w * prod(small), 2 * config.latent),
    )


def conv_decoder(config: Config, signal: Signal) -> nn.Module:
    """(N, latent) → (N, values): the encoder's way back."""
    w, small = config.width, [side // 4 for side in signal.size]
    return nn.Sequential(
        nn.Linear(config.latent, 2 * w * prod(small)),
        nn.ReLU(),
        nn.Unflatten(1, (2 * w, *small)),
        ConvTranspose2d(2 * w, w, 4, 2, 1),
        nn.ReLU(),
        ConvTranspose2d(w, signal.channels, 4, 2, 1),
        nn.Flatten(),
    )
