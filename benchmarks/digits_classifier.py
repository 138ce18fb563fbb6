"""Trains the digits network that metrics look through, and prints its accuracy on MNIST's 10,000 test images.

python benchmarks/digits_classifier.py

Minutes on two cores. The same seed on the same machine gives the same weights. Weights that miss 99.3 % are refused.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from limner.core.random import generator, permutation
from limner.data.cache import finish
from limner.data.sources import open_data
from limner.features.digits import WEIGHTS, Digits
from limner.features.network import file_sha256, state_sha256

NEEDED = 0.993


def augmented(x: Tensor, luck: torch.Generator) -> Tensor:
    """Each picture turned by up to 12°, scaled by up to 10 % and shifted by up to 2 px.

    x       (N, 1, H, W)  in [-1, 1]
    returns (N, 1, H, W)
    """
    n = len(x)
    turn = (torch.rand(n, generator=luck) * 2 - 1) * (12 * torch.pi / 180)
    scale = 1 + (torch.rand(n, generator=luck) * 2 - 1) * 0.1
    shift = (torch.rand(n, 2, 1, generator=luck) * 2 - 1) * (2 * 2 / x.shape[-1])
    cos, sin = turn.cos() * scale, turn.sin() * scale
    matrix = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    grid = F.affine_grid(torch.cat([matrix, shift], 2), list(x.shape), align_corners=False)
    return F.grid_sample(x + 1, grid, align_corners=False) - 1


def train(samples: Tensor, labels: Tensor, epochs: int, batch: int, seed: int) -> Digits:
    """The network after training: SGD with Nesterov momentum, the rate rising then falling to 0 (one cycle).

    samples (N, 1, 28, 28)  uint8
    labels  (N,)            int64
    """
    torch.manual_seed(seed)
    network = Digits()
    for module in network.modules():
        module.training = True  # train() would refuse: outside this file the network is frozen.
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = len(samples) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=0.2, total_steps=epochs * steps, pct_start=0.2, final_div_factor=1e4
    )
    for epoch in range(epochs):
        began, total = time.monotonic(), 0.0
        order = torch.from_numpy(permutation(seed, len(samples), "epoch", epoch))
        luck = generator(seed, "augment", epoch)
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            x = augmented(samples[chosen].float() / 127.5 - 1, luck).contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(network.classify(x), labels[chosen], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{epochs}: loss {total / steps:.4f}, {time.monotonic() - began:.0f} s", flush=True)
    return network.to(memory_format=torch.contiguous_format)


def calibrate(network: Digits, samples: Tensor, labels: Tensor, seed: int) -> float:
    """Makes the network as sure as it is right, by one factor on all logits. Features and answers stay as they are.

    Smoothed labels teach it to be unsure, which would lower the Inception Score of real digits. The factor is the one
    under which 10,000 training images, moved about as in training, are likeliest.

    returns the factor

    Source: Guo et al. 2017, arXiv:1706.04599 (temperature scaling)
    """
    x = augmented(samples[:10_000].float() / 127.5 - 1, generator(seed, "calibrate"))
    logits = torch.cat([network.classify(part) for part in x.split(500)]).double()
    low, high = 0.1, 20.0
    for _ in range(60):  # The loss is convex in the factor: its slope tells on which side the least lies.
        factor = torch.tensor((low + high) / 2, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(F.cross_entropy(logits * factor, labels[:10_000]), factor)
        low, high = (low, factor.item()) if slope > 0 else (factor.item(), high)
    network.head.weight.mul_(low)
    network.head.bias.mul_(low)
    return low


def accuracy(network: Digits, samples: Tensor, labels: Tensor) -> float:
    """Share of pictures that the network reads rightly."""
    right = sum(
        int((network.classify(x.float() / 127.5 - 1).argmax(1) == y).sum())
        for x, y in zip(samples.split(500), labels.split(500), strict=True)
    )
    return right / len(samples)


def run(chosen: argparse.Namespace, fit: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> int:
    """Trains, prints the accuracy, and writes the weights if they are good enough."""
    network = train(*fit, chosen.epochs, chosen.batch, chosen.seed)
    network.freeze("")
    factor = calibrate(network, *fit, chosen.seed)
    share = accuracy(network, *test)
    print(f"test accuracy: {share:.2%} of {len(test[0])} images (logits times {factor:.3f})")
    if share < NEEDED:
        print(f"error: {NEEDED:.1%} is needed; the weights were not written")
        return 1
    command = f"python benchmarks/digits_classifier.py --epochs {chosen.epochs} --batch {chosen.batch}"
    header = {
        "what": "digits: the network of limner.features.digits",
        "accuracy": f"{share:.4f}",
        "test_images": str(len(test[0])),
        "train_images": str(len(fit[0])),
        "command": f"{command} --seed {chosen.seed} --threads {chosen.threads}",
        "data": "MNIST (LeCun, Cortes, Burges), CC BY-SA 3.0",
    }
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    header["state_sha256"] = state_sha256(network)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_bytes(save(state, header))
    print(f"wrote {chosen.out}: {chosen.out.stat().st_size / 2**20:.2f} MiB, sha256 {file_sha256(chosen.out)}")
    return 0


def loaded(split: Literal["train", "test"]) -> tuple[Tensor, Tensor]:
    """MNIST's samples (N, 1, 28, 28) uint8 and labels (N,), from wherever limner finds them."""
    dataset = finish(open_data("mnist", split=split))
    return torch.tensor(dataset.samples), torch.tensor(dataset.labels)


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--epochs", type=int, default=10)
    arguments.add_argument("--batch", type=int, default=128)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--out", type=Path, default=WEIGHTS)
    chosen = arguments.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.use_deterministic_algorithms(True)
    return run(chosen, loaded("train"), loaded("test"))


if __name__ == "__main__":
    sys.exit(main())
