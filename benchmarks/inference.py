"""How long a generator takes to make pictures: PyTorch in three forms, ONNX Runtime and OpenVINO.

    python benchmarks/inference.py runs/dcgan-mnist

All are float32 on the CPU, from noise to pictures in [-1, 1], and make the same pictures (the largest difference from
the first form is printed). They take turns, round by round, so that a busy neighbour slows all. Of all the calls of a
form the median is given and, in brackets, the best, which is the nearer to a machine without neighbours. The ratios are
those of the best. Latency is the time of a batch of 1, throughput that of batches of 64.

PyTorch eager     nn.Module as it stands, PyTorch's own convolutions, (N, C, H, W) in memory
channels_last     the same with weights in the order of (N, H, W, C)
limner            what `limner sample` computes by itself: convolutions of small maps through frequencies
ONNX Runtime      what `limner sample --backend onnxruntime` computes
OpenVINO          what `limner sample --backend openvino` computes
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from limner.models.model import Model, load
from limner.models.onnx import through, to_onnx
from limner.models.runtimes import start
from limner.nn.conv import plain
from limner.operations.sample import model_file
from limner.tasks.generate import Generate
from machine import after, where

Call = Callable[[Tensor], Tensor]
FORMS = ("PyTorch eager", "PyTorch channels_last", "limner (PyTorch)", "ONNX Runtime", "OpenVINO")
REST = 0.03  # s, in which threads of the form before stop spinning


def forms(model: Model, graph: bytes, threads: int) -> list[Call]:
    """Each of FORMS, ready for its first call."""
    method = model.method
    assert isinstance(method, Generate) and not method.conditional
    last = copy.deepcopy(method).to(memory_format=torch.channels_last)
    run = [through(start(graph, runtime, threads), method) for runtime in ("onnxruntime", "openvino")]

    def own(z: Tensor) -> Tensor:
        with plain():
            return method.draw(z)

    def ordered(z: Tensor) -> Tensor:
        with plain():
            return last.draw(z)

    return [own, ordered, method.draw, lambda z: run[0](z, None), lambda z: run[1](z, None)]


def race(calls: list[Call], z: Tensor, rounds: int, each: int) -> list[tuple[float, float]]:
    """Median and least time of a call of each form in s, from rounds in which they take turns."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, times in zip(calls, taken, strict=True):
            time.sleep(REST)
            call(z)
            for _ in range(each):
                began = time.perf_counter()
                call(z)
                times.append(time.perf_counter() - began)
    return [(statistics.median(times), min(times)) for times in taken]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model or a run")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=12)
    given = parser.parse_args()
    model = load(model_file(given.model))
    graph = to_onnx(model)
    weights = sum(p.numel() for p in model.method.get_submodule("generator").parameters())
    torch.manual_seed(0)
    print("python benchmarks/inference.py MODEL")
    print(where(*(f"{name} {version(name)}" for name in ("onnxruntime", "openvino")), "float32", "seed 0"))
    print(f"generator of {model.name}: {weights:,} weights, {model.method.signal.describe()}")
    for threads in given.threads:
        torch.set_num_threads(threads)
        calls = forms(model, graph, threads)
        one, many = torch.randn(1, model.method.latent), torch.randn(64, model.method.latent)
        made = [call(many) for call in calls]
        latency = race(calls, one, given.rounds, 20)
        throughput = race(calls, many, given.rounds, 3)
        print(f"\n{threads} thread{'s' * (threads > 1)}")
        print(f"{'median (best)':24}{'batch 1':>20}{'batch 64':>24}{'against eager':>18}{'differs by':>12}")
        for name, wait, work, pictures in zip(FORMS, latency, throughput, made, strict=True):
            ratios = f"{latency[0][1] / wait[1]:.2f}×, {throughput[0][1] / work[1]:.2f}×"
            difference = float((pictures - made[0]).abs().max())
            waits = f"{1e3 * wait[0]:.2f} ({1e3 * wait[1]:.2f}) ms"
            speeds = f"{64 / work[0]:,.0f} ({64 / work[1]:,.0f}) images/s"
            print(f"{name:24}{waits:>20}{speeds:>24}{ratios:>18}{difference:>12.0e}", flush=True)
    print(f"\n{after()}")


if __name__ == "__main__":
    main()
