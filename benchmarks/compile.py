"""What torch.compile does for a DCGAN on this machine's processor, whole and in pieces.

    python benchmarks/compile.py [--rounds 7] [--threads 1]

Each row is measured eagerly and compiled, in turns; a figure is the median of the rounds in ms of wall clock. The first
call is what compiling costs, with an empty cache. Networks are the plain PyTorch ones of benchmarks/peers, forward and
backward, batch 128: first those of the MNIST DCGAN, then what stands between its convolutions.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "peers"))

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from machine import after, where
from pytorch_dcgan import small

BATCH = 128
Call = Callable[[], object]


def gradients(network: Callable[[Tensor], Tensor], weights: list[Tensor], *shape: int) -> Call:
    """Forward and backward on data of a shape."""
    x = torch.randn(shape, requires_grad=True)
    return lambda: torch.autograd.grad(network(x).sum(), [x, *weights])


def alone(network: Callable[[Tensor], Tensor], *shape: int) -> Call:
    """Forward on data of a shape, without what a gradient would need."""
    x = torch.randn(shape)
    return lambda: network(x)


def step(generator: Callable[[Tensor], Tensor], judge: Callable[[Tensor], Tensor], weights: list[Tensor]) -> Call:
    """Both players' gradients, as one simultaneous turn."""
    real = torch.randn(BATCH, 1, 28, 28)

    def run() -> None:
        fake = generator(torch.randn(BATCH, 100))
        on_real, on_fake = judge(real), judge(fake)
        torch.autograd.grad(F.softplus(-on_real).sum() + F.softplus(on_fake).sum(), weights)

    return run


def pieces() -> dict[str, Callable[[bool], Call]]:
    """By name, what makes a call, compiled or not."""
    generator, discriminator = small()
    discriminator = discriminator[:-1]  # without the sigmoid
    both = [*generator.parameters(), *discriminator.parameters()]
    norm = nn.BatchNorm2d(64)

    def maybe(compiled: bool, network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return torch.compile(network) if compiled else network

    def leaky(x: Tensor) -> Tensor:
        return F.leaky_relu(x, 0.3)

    def dropped(x: Tensor) -> Tensor:
        return F.dropout(F.leaky_relu(x, 0.3), 0.3)

    def normed(x: Tensor) -> Tensor:
        return F.leaky_relu(norm(x), 0.3)

    def chain(x: Tensor) -> Tensor:
        return torch.tanh(x * 0.5 + 1).mul(x).add(0.1).sigmoid()

    maps = (BATCH, 64, 14, 14)
    return {
        "the whole step": lambda c: step(maybe(c, generator), maybe(c, discriminator), both),
        "discriminator": lambda c: gradients(maybe(c, discriminator), [*discriminator.parameters()], BATCH, 1, 28, 28),
        "one convolution, 64→128": lambda c: gradients(maybe(c, discriminator[3]), [], *maps),
        "leaky ReLU": lambda c: gradients(maybe(c, leaky), [], *maps),
        "leaky ReLU, forward alone": lambda c: alone(maybe(c, leaky), *maps),
        "leaky ReLU and dropout": lambda c: gradients(maybe(c, dropped), [], *maps),
        "batch norm and leaky ReLU": lambda c: gradients(maybe(c, normed), [], *maps),
        "six operations on each value": lambda c: gradients(maybe(c, chain), [], *maps),
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    found = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")
    version = subprocess.run([found, "--version"], capture_output=True, text=True).stdout if found else "none"
    print("python benchmarks/compile.py")
    print(where(f"{given.threads} threads", "seed 0"))
    print(f"C++ compiler: {version.splitlines()[0] if version else 'none'}")
    print(f"{'forward and backward, batch 128, ms':38}{'eager':>9}{'compiled':>10}{'ratio':>8}{'first call, s':>15}")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        for name, make in pieces().items():
            eager, compiled = make(False), make(True)
            began = time.perf_counter()
            compiled()
            first = time.perf_counter() - began
            taken: tuple[list[float], list[float]] = ([], [])
            for turn in range(given.rounds + 2):
                for call, times in zip((eager, compiled), taken, strict=True):
                    began = time.perf_counter()
                    call()
                    if turn >= 2:
                        times.append(1e3 * (time.perf_counter() - began))
            slow, fast = map(statistics.median, taken)
            print(f"{name:38}{slow:9.2f}{fast:10.2f}{slow / fast:7.2f}×{first:15.1f}", flush=True)
    print(after())


if __name__ == "__main__":
    main()
