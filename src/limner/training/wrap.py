"""Wrap: what stands around a method while it trains, from outside. The method never learns of it."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from limner.core.config import Adam
from limner.core.errors import UsageError
from limner.core.method import Batch, Method, Turn

_JUDGES = ("discriminator", "critic")


class Wrap:
    """To be subclassed: whatever a wrap does not say stays as it was.

    name  what its state is called in a checkpoint
    """

    name: ClassVar[str]

    def before(self, seen: int) -> None:
        """What changes before a step.

        seen   samples that the run has read so far, in steps that were skipped or gone back on too
        """

    def batch(self, batch: Batch, indices: np.ndarray) -> Batch:
        """What the method learns from instead of these samples.

        indices  (N,)  their numbers in the data set
        """
        return batch

    def turn(self, turn: Turn) -> Turn:
        """The turn that is made instead of the method's."""
        return turn

    def after(self, told: Mapping[str, float], index: int, batch: int) -> dict[str, float]:
        """What changes after a step that was made.

        told     the step's figures, means over the joined batch
        index    the step's number
        batch    samples in the joined batch
        returns  figures to log
        """
        return {}

    def state(self) -> dict[str, Tensor]:
        """What it needs to go on, by name."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go back to a state that `state` gave; nothing is there where the run began without this wrap."""


def judge_names(method: Method) -> list[str]:
    """The players that tell real samples from fakes: those called discriminator or critic."""
    return [name for name in _JUDGES if isinstance(getattr(method.config, name, None), Adam)]


def judges(method: Method, flag: str, changed: bool = False) -> list[nn.Module]:
    """The networks that tell real samples from fakes.

    flag     what needs them, for the error
    changed  whether the samples that they see are to be changed
    raises   UsageError   if the method has none, or they see pairs that a change would take apart
    """
    names = judge_names(method)
    if not names:
        raise UsageError(f"{flag} works on a discriminator, and {type(method).__name__} has none", f"leave out {flag}")
    if changed and method.paired:
        raise UsageError(
            f"{flag} changes samples, and the discriminator of {type(method).__name__} sees each beside what it was "
            "made of",
            f"leave out {flag}",
        )
    return [method.get_submodule(name) for name in names]
