"""The guard: notices when training breaks, and climbs a ladder: skip, go back, stop."""

from dataclasses import dataclass
from typing import Literal

from limner.core.errors import LimnerError

IN_A_ROW = 3
"""Steps skipped in a row before going back to a checkpoint."""
RELOADS = 2
"""Times of going back before training stops."""
COLLAPSED = 0.35
"""A diversity ratio below this means collapse: healthy runs measured .79-.98, collapsed ones 0-.13."""


class Diverged(LimnerError):
    """Training broke down and the ladder has no rung left."""


@dataclass
class Guard:
    """Counts what went wrong. Its fields are part of a checkpoint.

    skipped    steps skipped so far, because a loss or gradient was not finite
    in_a_row   steps skipped since the last good one
    reloads    times training went back to a checkpoint
    diversity  the last diversity ratio (fake pair distance / real pair distance); 1 before the first
    """

    skipped: int = 0
    in_a_row: int = 0
    reloads: int = 0
    diversity: float = 1.0

    @property
    def healthy(self) -> bool:
        """Whether a checkpoint taken now deserves the health stamp."""
        return self.in_a_row == 0 and self.diversity >= COLLAPSED

    @property
    def rate_factor(self) -> float:
        """Learning rates are halved each time training goes back."""
        return 0.5**self.reloads

    def after(self, skipped: bool) -> Literal["go", "reload", "stop"]:
        """What to do after a step: go on, go back to a checkpoint, or stop where that did not help."""
        if not skipped:
            self.in_a_row = 0
            return "go"
        self.skipped += 1
        self.in_a_row += 1
        if self.in_a_row < IN_A_ROW:
            return "go"
        if self.reloads == RELOADS:
            return "stop"
        self.reloads += 1
        self.in_a_row = 0
        return "reload"
