"""Reservoir: a fair sample of a stream, so that metrics over pairs need no more memory for a million pictures."""

import numpy as np
import torch
from torch import Tensor

from limner.core.random import Part, stream


class Reservoir:
    """Keeps `capacity` rows of all that pass, each with equal chance, in the order they came.

    Every row draws a number; those with the smallest stay. So batches of any size keep the same rows, and parts
    (with names of their own) merge into a fair sample of the whole.

    Source: Efraimidis & Spirakis 2006, "Weighted random sampling with a reservoir", with equal weights
    """

    def __init__(self, capacity: int, seed: int = 0, *part: Part) -> None:
        self.capacity = capacity
        self.seen = 0
        self._luck = np.random.Generator(np.random.PCG64(stream(seed, "reservoir", *part)))
        self._tickets = torch.empty(0, dtype=torch.float64)
        self._rows: Tensor | None = None

    @property
    def rows(self) -> Tensor:
        """(min(seen, capacity), …)  what was kept."""
        if self._rows is None:
            raise ValueError("nothing has passed the reservoir yet")
        return self._rows

    def update(self, rows: Tensor) -> None:
        """Let rows pass.

        rows    (N, …)
        """
        self.seen += len(rows)
        self._keep(rows, torch.from_numpy(self._luck.random(len(rows))))

    def merge(self, other: "Reservoir") -> None:
        """Takes in another part's sample, as if both streams had passed here."""
        self.seen += other.seen
        if other._rows is not None:
            self._keep(other._rows, other._tickets)

    def _keep(self, rows: Tensor, tickets: Tensor) -> None:
        joined = rows if self._rows is None else torch.cat([self._rows, rows])
        tickets = torch.cat([self._tickets, tickets])
        if len(joined) > self.capacity:
            kept = tickets.argsort()[: self.capacity].sort().values
            joined, tickets = joined[kept], tickets[kept]
        self._rows, self._tickets = joined, tickets
