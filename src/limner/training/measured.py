"""Learning clean pictures from bad ones: the discriminator sees measured fakes beside measured real pictures."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limner.core.config import Adam
from limner.core.errors import UsageError
from limner.core.method import Batch, Method
from limner.core.random import scattered
from limner.nn.measure import measurement
from limner.training.wrap import Wrap, judges


class Measured(Wrap):
    """Measures what a method's generator makes while it trains, and the real pictures where they are not measured yet.

    A real picture is measured once, with numbers that depend on it alone, as if that had been done beforehand; each
    fake is measured anew. What is left after training makes clean pictures, since nothing is measured outside of
    training.

    method  its generator's samples are measured from now on
    text    the measurement, see nn.measure.measurement
    real    whether real pictures have to be measured
    seed    names the stream of their numbers
    raises  UsageError   if there is no such measurement, or the method has no generator or no discriminator

    Source: Bora et al. 2018, "AmbientGAN: Generative models from lossy measurements", ICLR
    """

    name = "measure"

    def __init__(self, method: Method, text: str, real: bool, seed: int) -> None:
        judges(method, "--measure", changed=True)
        if not isinstance(getattr(method.config, "generator", None), Adam):
            raise UsageError(f"--measure works on a generator, and {type(method).__name__} has none",
                             "leave out --measure")  # fmt: skip
        self.method, self.real, self.seed = method, real, seed
        self.measurement = measurement(text, method.signal)
        method.get_submodule("generator").register_forward_hook(self._made)

    def _made(self, generator: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        return self.fake(output) if generator.training else output

    def fake(self, x: Tensor) -> Tensor:
        """(N, C, H, W) samples, measured with numbers from the method's stream.

        Where the data came measured they came as pictures, whose values end at black and white.
        """
        u = self.method.luck.uniform(len(x), self.measurement.draws).to(x.device)
        seen = self.measurement.apply(x, u)
        return seen if self.real else seen.clamp(-1, 1)

    def batch(self, batch: Batch, indices: np.ndarray) -> Batch:
        if not self.real:
            return batch
        x = batch["x"]
        u = torch.from_numpy(scattered(self.seed, indices, self.measurement.draws, "measure")).to(x.device)
        return {**batch, "x": self.measurement.apply(x, u)}
