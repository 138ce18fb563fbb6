"""The two networks that a game is played with, as a method's settings name them."""

from torch import nn

from limner.core.config import NetworksConfig
from limner.core.signal import Signal
from limner.nn.discriminators import discriminator
from limner.nn.generators import generator


def pair(config: NetworksConfig, signal: Signal, *, norm: bool = True, packed: int = 1) -> tuple[nn.Module, nn.Module]:
    """A generator, (N, latent) noise and (N,) labels → (N, C, *size), and a discriminator of what it makes.

    norm, packed  as of `discriminator`
    raises        UsageError   if the networks do not suit the signal
    """
    made = generator(config.network, signal, config.latent, config.width, config.labelled)
    judge = discriminator(
        config.network, signal, config.width, config.conditioning, norm=norm, spectral=config.spectral, packed=packed
    )
    return made, judge
