"""Randomness as named streams: a pure function of the seed and a name, so that nothing has to be replayed."""

import hashlib

import numpy as np
import torch

Part = str | int


def stream(seed: int, *name: Part) -> int:
    """A 63-bit seed for the stream of that name. Streams of other names are independent of it.

    seed    the run's seed
    name    what the randomness is for, and where it stands: ("noise", step)
    returns an integer in [0, 2**63)
    """
    text = "/".join([str(seed), *map(str, name)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *name: Part) -> torch.Generator:
    """A torch generator (CPU, so that every device sees the same numbers) for the named stream."""
    return torch.Generator().manual_seed(stream(seed, *name))


def seed_torch(seed: int, device: torch.device) -> None:
    """Set torch's own generators that work on a device draws from, and no other.

    torch.manual_seed sets those of every kind of device; for each that is not there it writes down a trace of the
    stack, for an error that may come later: milliseconds, in each turn of each step.

    seed  in [0, 2**63)
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def normal(seed: int, rows: int, columns: int, *name: Part) -> torch.Tensor:
    """(rows, columns) standard normal float32 of the named stream; the first rows do not depend on how many follow."""
    drawn = np.random.Generator(np.random.PCG64(stream(seed, *name)))
    # Torch fills in blocks, so that its last numbers depend on the count; NumPy draws one after the other.
    return torch.from_numpy(drawn.standard_normal((rows, columns), dtype=np.float32))


def direction(pair: torch.Tensor) -> torch.Tensor:
    """A number in [0, 1) from two normal ones, uniform however those are scaled: where they point to.

    pair     (N, 2)
    returns  (N,)
    """
    return (torch.atan2(pair[:, 0], pair[:, 1]) / (2 * torch.pi)) % 1.0


def normal_quantile(uniform: torch.Tensor) -> torch.Tensor:
    """Standard normal numbers from uniform ones in [0, 1), float32 or finer; on every device, unlike torch's own."""
    return torch.erfinv(2 * uniform.clamp(1e-6, 1 - 1e-6) - 1) * 2**0.5


def permutation(seed: int, count: int, *name: Part) -> np.ndarray:
    """An order of `count` things, int64 (count,), for the named stream."""
    return np.random.Generator(np.random.PCG64(stream(seed, *name))).permutation(count)


def scattered(seed: int, indices: np.ndarray, columns: int, *name: Part) -> np.ndarray:
    """(len(indices), columns) float32, uniform in [0, 1): a row depends on its index alone, in any order and company.

    indices  (N,)  int64, not negative

    Source: Steele et al. 2014, "Fast splittable pseudorandom number generators" (SplitMix64)
    """
    place = indices.astype(np.uint64)[:, None] * np.uint64(columns) + np.arange(1, columns + 1, dtype=np.uint64)
    mixed: np.ndarray = np.uint64(stream(seed, *name)) + place * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return ((mixed >> np.uint64(40)).astype(np.float32)) * np.float32(2**-24)
