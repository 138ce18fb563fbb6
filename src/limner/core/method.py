"""Method: how something is made. Its training step is a generator of turns (see Turn)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from limner.core.adam import Pace
from limner.core.random import generator
from limner.core.settings import Settings
from limner.core.signal import Signal

Batch = Mapping[str, Tensor]
"""What a step learns from: "x" (N, C, *size) in [-1, 1]; "label" (N,) int64 where there are classes; "text"
(N, signal.text), captions as vectors of length 1, where there are captions and the method reads them."""


@dataclass(frozen=True)
class Turn:
    """One player's move in a step.

    player  the name of the child module that moves
    loss    (N,)  what it wants less of, one value a sample
    values  figures worth logging, each of shape (N,) or ()
    through (N, C, *size) and (N,), where the loss reaches the player through these samples alone, and each sample's
            own score alone: then a simultaneous turn of the judge serves this player too (see the learner)
    """

    player: str
    loss: Tensor
    values: Mapping[str, Tensor] = field(default_factory=dict)
    through: tuple[Tensor, Tensor] | None = None


Move = Turn | tuple[Turn, ...]
"""A turn, or several taken at once: every gradient is taken before any player moves."""


@dataclass(frozen=True)
class Moment:
    """Where in a run a step stands, for what changes over it.

    step   the step's number from 0
    steps  steps of the whole run
    """

    step: int = 0
    steps: int = 1

    @property
    def progress(self) -> float:
        """From 0 at the first step to 1 at the last."""
        return self.step / max(1, self.steps - 1)


class Luck:
    """Where a method's noise comes from: a stream that is named for the step, cut to this process's part.

    Every process draws the joined batch's noise and keeps its own rows, so that the same batch is trained on
    however many processes share it.
    """

    def __init__(self, seed: int, *name: str | int, part: int = 0, parts: int = 1) -> None:
        self._generator = generator(seed, *name)
        self._part, self._parts = part, parts

    def normal(self, count: int, *shape: int) -> Tensor:
        """(count, *shape), standard normal, on the CPU."""
        joined = torch.randn(count * self._parts, *shape, generator=self._generator)
        return joined[self._part * count : (self._part + 1) * count]

    def uniform(self, count: int, *shape: int) -> Tensor:
        """(count, *shape), uniform in [0, 1), on the CPU."""
        joined = torch.rand(count * self._parts, *shape, generator=self._generator)
        return joined[self._part * count : (self._part + 1) * count]


class Method(nn.Module, ABC):
    """One published method: networks as child modules, `step`, and its task's verb.

    Its players are the child modules whose names are settings that hold an optimiser's.
    No optimiser, device, backward, precision or process appears in a method: those are the learner's.

    batchwise  true where a sample's result depends on the rest of the batch by more than batch normalisation, whose
               statistics the learner takes over all processes by itself
    paired     true where the discriminator sees a sample beside what it was made of, so neither can be changed alone
    averaged   the child modules whose moving average is what is left after training
    batches    how many batches of real samples a step reads; they come joined, one after the other (see `split`)
    moment     where in the run the step stands; the learner tells it
    pace       how a player, by name, would move next; the learner tells it
    """

    batchwise: ClassVar[bool] = False
    paired: ClassVar[bool] = False
    averaged: ClassVar[tuple[str, ...]] = ()
    batches: int = 1

    def __init__(self, config: Settings, signal: Signal) -> None:
        super().__init__()
        self.config = config
        self.signal = signal
        self.luck = Luck(0)
        self.moment = Moment()
        self.pace: Callable[[str], Pace] = self._unmoved

    @abstractmethod
    def step(self, batch: Batch) -> Iterator[Move]:
        """Walk through one step of training, yielding each move before it is made."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def half_life(self, longest: float, seen: int) -> float:
        """Samples after which a weight's old value counts half in the moving average.

        longest  as the settings say
        seen     samples trained on so far
        returns  early on at most a twentieth of those seen, so that the start is forgotten

        Source: Karras et al. 2020, arXiv:2006.06676 (a half-life in samples with a ramp, as in the authors' code)
        """
        return min(longest, seen * 0.05)

    def _unmoved(self, player: str) -> Pace:
        return Pace.fresh(getattr(self.config, player), dict(self.get_submodule(player).named_parameters()))

    def split(self, batch: Batch) -> list[Batch]:
        """The batches that a step reads, one by one."""
        parts = {name: value.chunk(self.batches) for name, value in batch.items()}
        return [{name: part[i] for name, part in parts.items()} for i in range(self.batches)]

    def noise(self, count: int, *shape: int) -> Tensor:
        """(count, *shape), standard normal, on the method's device, from the step's own stream."""
        return self.luck.normal(count, *shape).to(self.device)

    def uniform(self, count: int, *shape: int) -> Tensor:
        """(count, *shape), uniform in [0, 1), on the method's device, from the step's own stream."""
        return self.luck.uniform(count, *shape).to(self.device)
