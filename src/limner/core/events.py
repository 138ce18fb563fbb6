"""Events: what an operation tells while it works. The command line prints them; a notebook iterates over them."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Event:
    """Something that happened. `record` gives it as plain JSON values."""

    def record(self) -> dict[str, Any]:
        """The event as {"event": name, field: value …}, with paths as text."""
        values = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}
        return {"event": type(self).__name__.lower(), **values}


@dataclass(frozen=True)
class Note(Event):
    """A sentence that is worth a line."""

    text: str


@dataclass(frozen=True)
class Warned(Event):
    """A sentence about something that is not as it should be, though the work goes on."""

    text: str


@dataclass(frozen=True)
class Progress(Event):
    """How far long work is.

    what    what is being done, e.g. "train"
    done    units done so far, of `total`
    unit    "steps", "images", "MB"
    rate    things per second, e.g. images/s (see rate_unit); 0 where unknown
    left    seconds left; negative where unknown
    values  figures to show, e.g. losses by player
    """

    what: str
    done: int
    total: int
    unit: str
    rate: float = 0.0
    rate_unit: str = ""
    left: float = -1.0
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Epoch(Event):
    """An epoch of training ended.

    epoch    its number, from 1; `of` so many
    step     steps done so far
    seconds  of training so far, over all sittings of the run
    values   means over the epoch's steps, those that were skipped left out
    """

    epoch: int
    of: int
    step: int
    seconds: float
    values: dict[str, float]


@dataclass(frozen=True)
class Saved(Event):
    """A file or folder was written. what: "grid", "checkpoint", "model", "report" …"""

    what: str
    path: Path


@dataclass(frozen=True)
class Table(Event):
    """Figures for a person: a title, column names, rows of cells, and notes below."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finished(Event):
    """The operation's result: plain values for machines, and what to try next."""

    what: str
    values: dict[str, Any]
    next: tuple[str, ...] = ()
