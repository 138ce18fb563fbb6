"""The MNIST DCGAN of the TensorFlow listing that newcomers meet, with tf.function or eagerly.

python tensorflow_dcgan.py FILE.npy BATCH SEED [eager]    waits for "step N" and "sample N"; see protocol.py
"""

import os
import sys
from collections.abc import Callable

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
from tensorflow.keras import layers

from protocol import serve, threads


def networks() -> tuple[tf.keras.Model, tf.keras.Model]:
    generator = tf.keras.Sequential([
        layers.Input((100,)),
        layers.Dense(7 * 7 * 256, use_bias=False), layers.BatchNormalization(), layers.LeakyReLU(),
        layers.Reshape((7, 7, 256)),
        layers.Conv2DTranspose(128, (5, 5), strides=(1, 1), padding="same", use_bias=False),
        layers.BatchNormalization(), layers.LeakyReLU(),
        layers.Conv2DTranspose(64, (5, 5), strides=(2, 2), padding="same", use_bias=False),
        layers.BatchNormalization(), layers.LeakyReLU(),
        layers.Conv2DTranspose(1, (5, 5), strides=(2, 2), padding="same", use_bias=False, activation="tanh"),
    ])  # fmt: skip
    discriminator = tf.keras.Sequential([
        layers.Input((28, 28, 1)),
        layers.Conv2D(64, (5, 5), strides=(2, 2), padding="same"), layers.LeakyReLU(), layers.Dropout(0.3),
        layers.Conv2D(128, (5, 5), strides=(2, 2), padding="same"), layers.LeakyReLU(), layers.Dropout(0.3),
        layers.Flatten(), layers.Dense(1),
    ])  # fmt: skip
    return generator, discriminator


def stepping(
    generator: tf.keras.Model, discriminator: tf.keras.Model, batch: int
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """The listing's training step: pictures in, both losses out."""
    cross_entropy = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    generator_optimizer, discriminator_optimizer = tf.keras.optimizers.Adam(1e-4), tf.keras.optimizers.Adam(1e-4)
    # Optimisers make their variables outside of the function, as the listing's first call does.
    generator_optimizer.build(generator.trainable_variables)
    discriminator_optimizer.build(discriminator.trainable_variables)

    def train_step(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        noise = tf.random.normal([batch, 100])
        with tf.GradientTape() as gen_tape, tf.GradientTape() as disc_tape:
            generated_images = generator(noise, training=True)
            real_output = discriminator(images, training=True)
            fake_output = discriminator(generated_images, training=True)
            gen_loss = cross_entropy(tf.ones_like(fake_output), fake_output)
            real_loss = cross_entropy(tf.ones_like(real_output), real_output)
            disc_loss = real_loss + cross_entropy(tf.zeros_like(fake_output), fake_output)
        gen_grads = gen_tape.gradient(gen_loss, generator.trainable_variables)
        disc_grads = disc_tape.gradient(disc_loss, discriminator.trainable_variables)
        generator_optimizer.apply_gradients(zip(gen_grads, generator.trainable_variables, strict=True))
        discriminator_optimizer.apply_gradients(zip(disc_grads, discriminator.trainable_variables, strict=True))
        return gen_loss, disc_loss

    return train_step


def main(file: str, batch: int, seed: int, eager: bool) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(threads())
    tf.config.threading.set_inter_op_parallelism_threads(threads())
    tf.random.set_seed(seed)
    pictures = np.load(file).transpose(0, 2, 3, 1).astype("float32") / 127.5 - 1
    data = iter(tf.data.Dataset.from_tensor_slices(pictures).shuffle(len(pictures), seed).repeat().batch(batch))
    generator, discriminator = networks()
    train_step = stepping(generator, discriminator, batch)

    def made(noise: tf.Tensor) -> tf.Tensor:
        return generator(noise, training=False)

    taken, drawn = (train_step, made) if eager else (tf.function(train_step), tf.function(made))

    def step() -> None:
        for loss in taken(next(data)):
            loss.numpy()

    def sample() -> None:
        drawn(tf.random.normal([batch, 100])).numpy()

    serve(f"TensorFlow {tf.__version__}", {"step": step, "sample": sample})


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]), eager=sys.argv[4:] == ["eager"])
