"""How long PyTorch's own convolutions and ours take: layers of the MNIST DCGAN and of tiny networks, then a whole step.

    python benchmarks/conv.py [--threads 2] [--rounds 9] [--precision bf16]

Each form has the order in memory that suits it: PyTorch's own (N, C, H, W), ours channels_last. They take turns, so
that a busy neighbour slows both; a figure is the median of the rounds, in ms of wall clock and, in brackets, of CPU
time of the process. The step is that of the method `dcgan`, variant `mnist`, without the optimiser: two gradients
from one forward pass of 128 real and 128 made pictures.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from limner.nn.conv import Conv2d, ConvTranspose2d, plain
from limner.nn.elementwise import Dropout
from machine import after, where
from runs import command

Call = Callable[[], object]


class Reorder(nn.Module):
    """(N, H·W·C) ↔ (N, C, H, W) in Keras's order, which is channels_last and costs no copy."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1) if x.dim() == 4 else x.view(len(x), 7, 7, -1).permute(0, 3, 1, 2)


def generator(last: bool) -> nn.Module:
    return nn.Sequential(
        nn.Linear(100, 12544, bias=False), nn.BatchNorm1d(12544), nn.LeakyReLU(0.3),
        Reorder() if last else nn.Unflatten(1, (256, 7, 7)),
        ConvTranspose2d(256, 128, 5, 1, "same", bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.3),
        ConvTranspose2d(128, 64, 5, 2, "same", bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.3),
        ConvTranspose2d(64, 1, 5, 2, "same", bias=False), nn.Tanh(),
    )  # fmt: skip


def discriminator(last: bool) -> nn.Module:
    return nn.Sequential(
        Conv2d(1, 64, 5, 2, "same"), nn.LeakyReLU(0.3), Dropout(0.3),
        Conv2d(64, 128, 5, 2, "same"), nn.LeakyReLU(0.3), Dropout(0.3),
        Reorder() if last else nn.Flatten(), nn.Linear(6272, 1),
    )  # fmt: skip


def step(last: bool) -> Call:
    """One simultaneous step, gradients only."""
    made, judge, real = generator(last), discriminator(last), torch.randn(128, 1, 28, 28)

    def run() -> None:
        on_real, on_fake = judge(real), judge(made(torch.randn(128, 100)))
        guess, fooled = softplus(-on_real).mean() + softplus(on_fake).mean(), softplus(-on_fake).mean()
        torch.autograd.grad(guess, list(judge.parameters()), retain_graph=True)
        torch.autograd.grad(fooled, list(made.parameters()))

    return run


def gradients(layer: nn.Module, *shape: int) -> Callable[[bool], Call]:
    """Forward and both gradients of a layer on data of this shape, channels_last or not."""

    def build(last: bool) -> Call:
        order = torch.channels_last if last else torch.contiguous_format
        x = torch.randn(shape).contiguous(memory_format=order).requires_grad_()
        aim = torch.randn_like(layer(x)).contiguous(memory_format=order)
        return lambda: torch.autograd.grad(layer(x), (x, *layer.parameters()), aim)

    return build


def own(call: Call) -> Call:
    def run() -> None:
        with plain():
            call()

    return run


def race(calls: list[Call], rounds: int) -> list[str]:
    """Medians of each, 'wall (CPU)' in ms, from rounds in which they take turns, after two to warm up."""
    taken: list[list[tuple[float, float]]] = [[] for _ in calls]
    for _ in range(rounds + 2):
        for call, times in zip(calls, taken, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            times.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
    medians = [[statistics.median(column) for column in zip(*times[2:], strict=True)] for times in taken]
    return [*(f"{wall:6.1f} ({cpu:6.1f})" for wall, cpu in medians), f"{medians[0][1] / medians[1][1]:5.2f}×"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    print(command("conv", None))
    print(where(f"{given.threads} threads", given.precision, "seed 0"), flush=True)
    rows: dict[str, Callable[[bool], Call]] = {
        "G convT 256→128, stride 1, 7 px": gradients(
            ConvTranspose2d(256, 128, 5, 1, "same", bias=False), 128, 256, 7, 7
        ),
        "G convT 128→64, stride 2, 7 px": gradients(ConvTranspose2d(128, 64, 5, 2, "same", bias=False), 128, 128, 7, 7),
        "G convT 64→1, stride 2, 14 px": gradients(ConvTranspose2d(64, 1, 5, 2, "same", bias=False), 128, 64, 14, 14),
        "D conv 1→64, stride 2, 28 px": gradients(Conv2d(1, 64, 5, 2, "same"), 128, 1, 28, 28),
        "D conv 64→128, stride 2, 14 px": gradients(Conv2d(64, 128, 5, 2, "same"), 128, 64, 14, 14),
        "convT 16→8, 3×3, stride 2, 14 px": gradients(
            ConvTranspose2d(16, 8, 3, 2, 1, output_padding=1, bias=False), 128, 16, 14, 14
        ),
        "conv 8→3, 3×3, 28 px": gradients(Conv2d(8, 3, 3, 1, 1), 128, 8, 28, 28),
        "conv 3→8, 3×3, stride 2, 28 px": gradients(Conv2d(3, 8, 3, 2, 1), 128, 3, 28, 28),
        "dropout .3, 64 × 14 × 14": gradients(Dropout(0.3), 128, 64, 14, 14),
        "the whole step": step,
    }
    print(f"{'forward + backward, batch 128, ms':34}{'PyTorch (CPU)':>16}{'limner (CPU)':>17}{'CPU ratio':>11}")
    for name, build in rows.items():
        with torch.autocast("cpu", torch.bfloat16, enabled=given.precision == "bf16"):
            own_time, ours, ratio = race([own(build(False)), build(True)], given.rounds)
        print(f"{name:34}{own_time:>16}{ours:>17}{ratio:>11}", flush=True)
    print(after())


if __name__ == "__main__":
    main()
