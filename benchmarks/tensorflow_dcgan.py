"""Is limner's MNIST DCGAN the one that every newcomer meets? The same weights, noise and images go through the
TensorFlow listing (Keras layers as the tutorial writes them) and through limner; both losses must agree to 1e-4.

python benchmarks/tensorflow_dcgan.py     makes .venv-tensorflow with TensorFlow in it, and compares

Dropout is off on both sides, since the two draw other numbers. Arrays are passed through a .npz file.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

TENSORFLOW = "tensorflow-cpu==2.21.0"
BATCH, TOLERANCE = 128, 1e-4


def ours(file: Path, seed: int) -> dict[str, float]:
    """Write weights, noise and images for the peer, and give limner's own losses and sums of gradients."""
    import torch
    from torch import nn

    from limner.data.cache import finish
    from limner.data.sources import open_data
    from limner.models.model import build

    torch.manual_seed(seed)
    dataset = finish(open_data("mnist"))
    method = build("dcgan", {"variant": "mnist"}, dataset.signal)
    for layer in method.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    x, z = dataset.take(np.arange(BATCH))["x"], torch.randn(BATCH, 100)
    method.noise = lambda *shape: z  # type: ignore[method-assign]
    (move,) = method.train().step({"x": x})
    assert isinstance(move, tuple)
    losses = {turn.player: turn.loss.mean() for turn in move}
    g, d = method.generator, method.discriminator
    arrays = {
        "x": x.permute(0, 2, 3, 1), "z": z,
        # Keras keeps maps as (7, 7, 256); the rows of the dense layer are put in that order.
        "dense": g[0].weight.view(256, 49, 100).transpose(0, 1).reshape(12544, 100).T,
        "t1": g[4].weight.permute(2, 3, 1, 0), "t2": g[7].weight.permute(2, 3, 1, 0),
        "t3": g[10].weight.permute(2, 3, 1, 0),
        "c1": d[0].weight.permute(2, 3, 1, 0), "b1": d[0].bias, "c2": d[3].weight.permute(2, 3, 1, 0), "b2": d[3].bias,
        "last": d[7].weight.view(1, 128, 49).transpose(1, 2).reshape(1, 6272).T, "b3": d[7].bias,
    }  # fmt: skip
    np.savez(file, **{name: array.detach().numpy() for name, array in arrays.items()})
    slopes = {}
    for player, first in (("discriminator", d[0].weight), ("generator", g[0].weight)):
        (slope,) = torch.autograd.grad(losses[player], first, retain_graph=True)
        slopes[f"{player} slope"] = float(slope.norm())
    return {**{name: float(value.detach()) for name, value in losses.items()}, **slopes}


def theirs(file: Path) -> dict[str, float]:
    """The listing's losses for the arrays in the file. Runs where TensorFlow is."""
    import tensorflow as tf
    from tensorflow.keras import layers

    given = np.load(file)
    generator = tf.keras.Sequential([
        layers.Input((100,)),
        layers.Dense(7 * 7 * 256, use_bias=False), layers.BatchNormalization(), layers.LeakyReLU(negative_slope=0.3),
        layers.Reshape((7, 7, 256)),
        layers.Conv2DTranspose(128, 5, strides=1, padding="same", use_bias=False),
        layers.BatchNormalization(), layers.LeakyReLU(negative_slope=0.3),
        layers.Conv2DTranspose(64, 5, strides=2, padding="same", use_bias=False),
        layers.BatchNormalization(), layers.LeakyReLU(negative_slope=0.3),
        layers.Conv2DTranspose(1, 5, strides=2, padding="same", use_bias=False, activation="tanh"),
    ])  # fmt: skip
    discriminator = tf.keras.Sequential([
        layers.Input((28, 28, 1)),
        layers.Conv2D(64, 5, strides=2, padding="same"), layers.LeakyReLU(negative_slope=0.3), layers.Dropout(0.0),
        layers.Conv2D(128, 5, strides=2, padding="same"), layers.LeakyReLU(negative_slope=0.3), layers.Dropout(0.0),
        layers.Flatten(), layers.Dense(1),
    ])  # fmt: skip
    for layer, name in zip([one for one in generator.layers if _kernel(one)], ("dense", "t1", "t2", "t3"), strict=True):
        layer.set_weights([given[name]])
    names = (("c1", "b1"), ("c2", "b2"), ("last", "b3"))
    for layer, pair in zip([one for one in discriminator.layers if _kernel(one)], names, strict=True):
        layer.set_weights([given[name] for name in pair])
    entropy = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    with tf.GradientTape(persistent=True) as tape:
        fake = generator(given["z"], training=True)
        on_real, on_fake = discriminator(given["x"], training=True), discriminator(fake, training=True)
        losses = {
            "discriminator": entropy(tf.ones_like(on_real), on_real) + entropy(tf.zeros_like(on_fake), on_fake),
            "generator": entropy(tf.ones_like(on_fake), on_fake),
        }
    firsts = {"discriminator": discriminator.layers[0], "generator": generator.layers[0]}
    slopes = {
        f"{player} slope": float(tf.norm(tape.gradient(losses[player], layer.trainable_variables[0])))
        for player, layer in firsts.items()
    }
    return {**{name: float(value) for name, value in losses.items()}, **slopes, "version": tf.__version__}


def _kernel(layer: object) -> bool:
    return type(layer).__name__ in ("Dense", "Conv2D", "Conv2DTranspose")


def main() -> int:
    """Print both sides; exit 1 where they differ."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--theirs", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.theirs:
        print(json.dumps(theirs(given.theirs)))
        return 0
    home = Path(__file__).parents[1] / ".venv-tensorflow"
    python = home / "bin" / "python"
    if not list(home.glob("lib/python*/site-packages/tensorflow")):
        print(f"making {home.name} with {TENSORFLOW}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", TENSORFLOW], check=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "given.npz"
        mine = ours(file, given.seed)
        env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        told = subprocess.run([str(python), __file__, "--theirs", str(file)], capture_output=True, text=True, env=env)
    if told.returncode:
        print(told.stderr, file=sys.stderr)
        return 1
    peer = json.loads(told.stdout.strip().splitlines()[-1])
    print(f"MNIST DCGAN, batch {BATCH}, seed {given.seed}, float32: limner against TensorFlow {peer['version']}")
    worst = 0.0
    for name, value in mine.items():
        worst = max(worst, abs(value - peer[name]))
        print(f"{name:22} {value:.7f}  {peer[name]:.7f}  difference {abs(value - peer[name]):.1e}")
    print("agree" if worst <= TOLERANCE else "DIFFER", f"to {TOLERANCE}")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
