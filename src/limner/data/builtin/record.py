"""What a built-in set is: one record, and one function that draws its samples."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from limner.core.events import Event
from limner.data.dataset import Dataset
from limner.data.stack import Stack


@dataclass(frozen=True)
class Drawn:
    """One split of a set, in memory.

    samples   (count, C, *size)  uint8, or float32 in [-1, 1]
    labels    (count,)           integers, or None
    source    who served it, in words
    scale     for points: the original coordinate is the stored value times this
    captions  what each sample shows, in words; empty where nobody said
    """

    samples: np.ndarray | Stack
    labels: np.ndarray | None
    source: str
    scale: float = 1.0
    captions: Sequence[str] = ()


Draw = Callable[[], Generator[Event, None, Mapping[str, Drawn]]]


@dataclass(frozen=True)
class Stacks:
    """How a set is made whose colours are pictures of another one.

    of     the built-in set of single grey pictures
    stack  from a part of it, and that part's name
    """

    of: str
    stack: Callable[[Dataset, str], Drawn]


@dataclass(frozen=True)
class BuiltIn:
    """A data set that limner knows by name.

    name         what it is called
    about        one line for a newcomer
    splits       its parts: "train", "test"
    classes      class names, in the order of the labels
    licence      of the data
    attribution  whom to name
    draw         tells of its progress and returns every split; or what the set is stacked from
    kept         whether the result is kept in the cache; false where it is drawn in a moment
    """

    name: str
    about: str
    splits: tuple[str, ...]
    classes: tuple[str, ...]
    licence: str
    attribution: str
    draw: Draw | Stacks
    kept: bool = True
