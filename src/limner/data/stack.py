"""Stack: colour pictures whose channels are grey pictures of another set, put together when they are asked for."""

from collections.abc import Iterator
from typing import Any

import numpy as np


class Stack:
    """Reads like an array (count, C, H, W), and holds nothing but which pictures go together.

    singles  (M, 1, H, W)  grey pictures
    chosen   (count, C)    which of them are the channels of each sample
    """

    def __init__(self, singles: np.ndarray, chosen: np.ndarray) -> None:
        self.singles, self.chosen = singles, chosen
        self.shape = (*chosen.shape, *singles.shape[2:])
        self.dtype = singles.dtype

    def __len__(self) -> int:
        return len(self.chosen)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, rows: Any) -> np.ndarray:
        picked: np.ndarray = self.singles[self.chosen[rows], 0]
        return picked
