"""The MNIST DCGAN in plain JAX, the whole step under jit.

python jax_dcgan.py FILE.npy BATCH SEED      waits for "step N"; see protocol.py
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random

from protocol import serve

LAYOUT = ("NHWC", "HWIO", "NHWC")
Weights = dict[str, Any]


def first(key: jax.Array) -> tuple[Weights, Weights]:
    glorot = jax.nn.initializers.glorot_uniform()
    k = random.split(key, 7)
    generator = {
        "dense": glorot(k[0], (100, 12544)), "t1": glorot(k[1], (5, 5, 256, 128)), "t2": glorot(k[2], (5, 5, 128, 64)),
        "t3": glorot(k[3], (5, 5, 64, 1)),
        **{f"scale{i}": jnp.ones(n) for i, n in enumerate((12544, 128, 64))},
        **{f"shift{i}": jnp.zeros(n) for i, n in enumerate((12544, 128, 64))},
    }  # fmt: skip
    discriminator = {
        "c1": glorot(k[4], (5, 5, 1, 64)), "b1": jnp.zeros(64), "c2": glorot(k[5], (5, 5, 64, 128)),
        "b2": jnp.zeros(128), "dense": glorot(k[6], (6272, 1)), "b3": jnp.zeros(1),
    }  # fmt: skip
    return generator, discriminator


def normed(x: jax.Array, w: Weights, i: int) -> jax.Array:
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axes), x.var(axes)
    return jax.nn.leaky_relu((x - mean) * lax.rsqrt(var + 1e-3) * w[f"scale{i}"] + w[f"shift{i}"], 0.3)


def generate(w: Weights, z: jax.Array) -> jax.Array:
    def up(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
        return lax.conv_transpose(x, kernel, (stride, stride), "SAME", dimension_numbers=LAYOUT)

    x = normed(z @ w["dense"], w, 0).reshape(-1, 7, 7, 256)
    x = normed(up(x, w["t1"], 1), w, 1)
    x = normed(up(x, w["t2"], 2), w, 2)
    return jnp.tanh(up(x, w["t3"], 2))


def judge(w: Weights, x: jax.Array, key: jax.Array) -> jax.Array:
    for i, own in enumerate(random.split(key), 1):
        x = lax.conv_general_dilated(x, w[f"c{i}"], (2, 2), "SAME", dimension_numbers=LAYOUT) + w[f"b{i}"]
        x = jax.nn.leaky_relu(x, 0.3)
        x = jnp.where(random.bernoulli(own, 0.7, x.shape), x / 0.7, 0)
    return (x.reshape(len(x), -1) @ w["dense"] + w["b3"])[:, 0]


def adam(w: Weights, grad: Weights, m: Weights, v: Weights, t: jax.Array) -> tuple[Weights, Weights, Weights]:
    m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, grad)
    v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, grad)
    rate = 1e-4 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return jax.tree.map(lambda p, a, b: p - rate * a / (jnp.sqrt(b) + 1e-7), w, m, v), m, v


def main(file: str, batch: int, seed: int) -> None:
    pictures = np.load(file).transpose(0, 2, 3, 1).astype("float32") / 127.5 - 1
    weights = first(random.key(seed))
    zeros = [jax.tree.map(jnp.zeros_like, w) for w in weights]
    state = [(w, m, m) for w, m in zip(weights, zeros, strict=True)]

    @jax.jit
    def train_step(state: Any, real: jax.Array, key: jax.Array, t: jax.Array) -> tuple[Any, Any]:
        k = random.split(key, 3)
        z = random.normal(k[0], (batch, 100))
        (g, *mg), (d, *md) = state

        def guess(d: Weights) -> jax.Array:
            return (jax.nn.softplus(-judge(d, real, k[1])) + jax.nn.softplus(judge(d, generate(g, z), k[2]))).mean()

        def fooled(g: Weights) -> jax.Array:
            return jax.nn.softplus(-judge(d, generate(g, z), k[2])).mean()

        (loss_d, grad_d), (loss_g, grad_g) = jax.value_and_grad(guess)(d), jax.value_and_grad(fooled)(g)
        return [adam(g, grad_g, *mg, t), adam(d, grad_d, *md, t)], (loss_g, loss_d)

    done, rng = 0, np.random.default_rng(seed)

    def step() -> None:
        nonlocal state, done
        done += 1
        real = pictures[rng.integers(len(pictures), size=batch)]
        state, losses = train_step(state, real, random.key(done), jnp.float32(done))
        for loss in losses:
            float(loss)

    serve(f"JAX {jax.__version__}", {"step": step})


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]))
