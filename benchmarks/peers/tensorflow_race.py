"""Training of the TensorFlow listing's DCGAN under tf.function for a race: samples at so many seconds of training.

python tensorflow_race.py FILE.npy NOISE.npy BATCH SEED SECONDS=OUT.npy …

At each mark it writes what the generator makes of the noise, uint8 (N, C, H, W), and tells of it in a line of JSON. The
clock runs while training steps are taken and their data read; not while the data are opened, the function is traced
and samples are made.
"""

import json
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

from protocol import threads
from tensorflow_dcgan import networks, stepping


def main(file: str, noise_file: str, batch: int, seed: int, marks: dict[float, str]) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(threads())
    tf.config.threading.set_inter_op_parallelism_threads(threads())
    tf.random.set_seed(seed)
    pictures = np.load(file).transpose(0, 2, 3, 1).astype("float32") / 127.5 - 1
    noise = np.load(noise_file)
    data = iter(tf.data.Dataset.from_tensor_slices(pictures).shuffle(len(pictures), seed).batch(batch).repeat())
    generator, discriminator = networks()
    # Everything that is done once is done before the clock starts.
    train_step = tf.function(stepping(generator, discriminator, batch))
    images = next(data)
    for size in {batch, len(pictures) % batch or batch}:  # An epoch's last batch is smaller.
        train_step.get_concrete_function(tf.TensorSpec([size, *images.shape[1:]], images.dtype))

    seconds, seen, steps = 0.0, 0, 0
    for mark, out in sorted(marks.items()):
        began, before = time.perf_counter(), seconds
        while seconds < mark:
            for loss in train_step(images):
                loss.numpy()  # The step is over when its losses are there.
            steps, seen = steps + 1, seen + len(images)
            images = next(data)
            seconds = before + time.perf_counter() - began
        made = [generator(z, training=False).numpy() for z in np.array_split(noise, max(1, len(noise) // 250))]
        whole = np.rint((np.concatenate(made) + 1) * 127.5).clip(0, 255).astype(np.uint8)
        np.save(out, whole.transpose(0, 3, 1, 2))
        print(json.dumps({"file": out, "seconds": seconds, "steps": steps, "images": seen}), flush=True)
    print(json.dumps({"version": f"TensorFlow {tf.__version__}"}), flush=True)


if __name__ == "__main__":
    given = (word.split("=", 1) for word in sys.argv[5:])
    main(*sys.argv[1:3], *map(int, sys.argv[3:5]), marks={float(mark): out for mark, out in given})
