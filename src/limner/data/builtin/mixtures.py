"""Mixtures of normal distributions in the plane, where a method's lost modes can be counted.

Source: the protocol of Lin et al. 2018 (PacGAN), arXiv:1712.04086
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np

from limner.core.events import Event
from limner.data.builtin.record import BuiltIn, Drawn

_SEED = 20180409
_COUNTS = {"train": 100_000, "test": 10_000}


@dataclass(frozen=True)
class Mixture:
    """Normal distributions of one width, equally likely.

    centres  (x, y) of each mode, in the original coordinates
    std      standard deviation of each coordinate
    scale    the original coordinate is the stored value times this; nothing lies beyond it (10 std from the outermost)
    """

    centres: tuple[tuple[float, float], ...]
    std: float
    scale: float

    def points(self, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Points and the modes they come from: a pure function of its arguments.

        returns  (count, 2)  float32 in [-1, 1]
                 (count,)    int64
        """
        chance = np.random.Generator(np.random.PCG64(seed))
        mode = chance.integers(len(self.centres), size=count)
        where = np.array(self.centres)[mode] + self.std * chance.standard_normal((count, 2))
        return (where / self.scale).astype(np.float32), mode

    def draw(self) -> Generator[Event, None, Mapping[str, Drawn]]:
        """Every split, each from a seed of its own."""
        yield from ()
        drawn = {}
        for offset, (split, count) in enumerate(_COUNTS.items()):
            points, modes = self.points(count, _SEED + offset)
            drawn[split] = Drawn(points, modes, "drawn from a fixed seed", self.scale)
        return drawn


RING = Mixture(tuple((cos(k * pi / 4), sin(k * pi / 4)) for k in range(8)), std=0.01, scale=1.1)
GRID = Mixture(tuple((float(x), float(y)) for x in range(-4, 5, 2) for y in range(-4, 5, 2)), std=0.05, scale=4.5)


def _record(name: str, about: str, mixture: Mixture) -> BuiltIn:
    classes = tuple(str(k) for k in range(len(mixture.centres)))
    return BuiltIn(name, about, tuple(_COUNTS), classes, "public domain", "", mixture.draw, kept=False)


SETS = (
    _record("ring", "points: 8 narrow modes on a circle", RING),
    _record("grid", "points: 25 narrow modes on a 5×5 grid", GRID),
)
