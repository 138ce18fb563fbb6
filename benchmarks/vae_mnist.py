"""How likely unseen digits are to a VAE, in nats: trains it on binarised MNIST and prints the figure beside 89.9.

python benchmarks/vae_mnist.py --binarise fixed

The published row: a normal posterior with a diagonal covariance, dense layers of 400 units, 40 latent numbers, Adam
1e-4, batch 100, 500 epochs, likelihood from 200 importance samples. It can be stopped and started again at any time.
Fewer epochs make a lite run, which says so. How grey digits become black and white has no default here, because the
figure moves by nats with it: published ones are for `fixed`.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from limner.core.files import write
from machine import where
from runs import RESULTS, command, trained

EPOCHS, LR, SEED = 500.0, 1e-4, 42
PUBLISHED = {
    ("fixed", 2, 1): "89.9 (500 epochs)",
    ("fixed", 2, 50): "87.1 (another protocol: 2 layers of 200 tanh, 50 latent, batch 20, 3,280 epochs, 5,000 samples)",
}
"""What was published, in nats, and after what: by binarisation, layers each way and draws."""


def measured(model: Path, chosen: argparse.Namespace) -> str:
    """The figure on test digits, in a few lines."""
    import limner
    from limner.data.cache import finish
    from limner.data.sources import open_data
    from limner.methods.vae import VAE
    from limner.metrics.nll import nll

    loaded = limner.load(model)
    method, training = loaded.method, loaded.header["training"]
    assert isinstance(method, VAE)
    test = finish(open_data("mnist", split="test"))
    count = min(chosen.samples, len(test))
    noise = torch.Generator().manual_seed(chosen.seed)
    method.uniform = lambda rows, *shape: torch.rand(rows, *shape, generator=noise)  # type: ignore[method-assign]

    def batches() -> Iterator[Tensor]:
        for start in range(0, count, 500):
            yield method.observed(test.take(torch.arange(start, min(start + 500, count)).numpy())["x"])

    found = nll(method.weigh, batches(), method.latent)
    full = chosen.epochs == EPOCHS and count == len(test)
    return "\n".join([
        f"-log p(x) of {count:,} test digits, binarised ({chosen.binarise}), 200 importance samples, in nats:",
        f"  this run   {found.value:.2f} ± {(found.high - found.low) / 2:.2f} (95 % over digits)",
        f"  published  {PUBLISHED.get((chosen.binarise, chosen.depth, chosen.draws), '–')}",
        f"{'' if full else 'a LITE run: '}{chosen.epochs:g} epochs of {loaded.header['data']['count']:,} digits, "
        f"{chosen.depth} layers of 400 units, {chosen.draws} draws, Adam {chosen.lr:g}, seed {chosen.seed}",
        f"{training['seconds']:,.0f} s of training",
        where("1 thread", when="at the end"),
    ])  # fmt: skip


def main() -> None:
    """Train if that is still to be done, measure, and keep the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binarise", required=True, choices=["threshold", "fixed", "dynamic"])
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--depth", type=int, default=2, help="hidden layers each way")
    parser.add_argument("--draws", type=int, default=1, help="above 1 trains the importance-weighted bound")
    parser.add_argument("--lr", type=float, default=LR)
    parser.add_argument("--samples", type=int, default=10_000, help="test digits that are measured")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, default=None, help="the run folder")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    name = f"vae_mnist-{chosen.binarise}-{chosen.depth}x400-{chosen.draws}"
    # What is not as published has a name of its own, so that it takes no other's place.
    name += f"-lr{chosen.lr:g}" if chosen.lr != LR else ""
    name += f"-seed{chosen.seed}" if chosen.seed != SEED else ""
    model = trained(
        chosen.out or Path("runs") / f"{name}-{chosen.epochs:g}", "vae", data="mnist", seed=chosen.seed, threads=1,
        epochs=chosen.epochs, batch=100, checkpoint_every=5500, preview_every=1e6, precision="fp32",
        network="dense", width=400, depth=chosen.depth, latent=40, draws=chosen.draws,
        likelihood="bernoulli", binarise=chosen.binarise, average=0, autoencoder={"lr": chosen.lr},
    )  # fmt: skip
    said = measured(model, chosen)
    print(said)
    write(RESULTS / f"{name}{'-lite' if 'LITE' in said else ''}.txt", f"{command('vae_mnist', None)}\n{said}\n")


if __name__ == "__main__":
    main()
