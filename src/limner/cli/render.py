"""Render: events become lines for a person, or JSON for a program.

Results go to stdout and everything that is told along the way to stderr, so `limner sample MODEL | xargs open` works.
A table is a result. An operation without one has the first of its final values as its result: the path that it wrote.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from limner.core.errors import LimnerError
from limner.core.events import Epoch, Event, Finished, Note, Progress, Saved, Table, Warned

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

BOLD, DIM, RED, YELLOW = "1", "2", "1;31", "33"
_FIRST, _EVERY = 1.0, 10.0  # s
_EPOCHS = 100
"""Lines of epochs of one command at the most: two hundred pictures have thousands, of a fraction of a second each."""
_BAR = 40


class Face(Protocol):
    """How a command tells what happens."""

    def tell(self, event: Event) -> None:
        """Show an event."""

    def fail(self, error: LimnerError) -> None:
        """Show what went wrong."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Json:
    """One JSON object a line on stdout, errors too."""

    def __init__(self, quiet: bool, out: TextIO) -> None:
        self._quiet, self._out = quiet, out

    def tell(self, event: Event) -> None:
        if not self._quiet or isinstance(event, Table | Finished):
            self._line(event.record())

    def fail(self, error: LimnerError) -> None:
        self._line({"event": "error", "message": error.message, "hint": error.hint, "exit_code": error.exit_code})

    def close(self) -> None:
        """Nothing is left open."""

    def _line(self, values: Mapping[str, Any]) -> None:
        print(json.dumps(_plain(values), allow_nan=False), file=self._out, flush=True)


class Lines:
    """Lines of text, with a live progress bar and colours where a person watches.

    quiet  only errors and the result
    """

    def __init__(self, quiet: bool, out: TextIO, err: TextIO) -> None:
        self._quiet, self._out, self._err = quiet, out, err
        self._live = _watched(err)
        self._bar: Live | None = None
        self._shown = False  # whether a table was
        self._what, self._due = "", 0.0
        self._part = 0  # of the epochs, how many of _EPOCHS are told

    def tell(self, event: Event) -> None:
        match event:
            case Table():
                self._table(event)
            case Finished():
                self._finish(event)
            case _ if self._quiet:
                pass
            case Progress() if self._live:
                self._draw(event)
            case Progress():
                self._pace(event)
            case Note():
                self._aside(event.text, DIM)
            case Warned():
                self._aside(f"warning: {event.text}", YELLOW)
            case Saved():
                self._aside(f"saved {event.what}: {event.path}", DIM)
            case Epoch():
                self._epoch(event)

    def fail(self, error: LimnerError) -> None:
        interrupted = error.exit_code > 128
        self._aside(error.message, "" if interrupted else RED, "" if interrupted else "error: ")
        if error.hint:
            self._aside(f"hint: {error.hint}")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    # --- results ----------------------------------------------------------------------------------------------------

    def _table(self, table: Table) -> None:
        self.close()
        if self._shown:
            print(file=self._out)
        self._shown = True
        if not table.columns:
            print(clean(table.title), file=self._out)
        elif _watched(self._out):
            _print_grid(table, self._out)
        else:
            print("\n".join(plain_table(table)), file=self._out)
        self._out.flush()

    def _finish(self, event: Finished) -> None:
        self.close()
        if event.values and not self._shown:
            (name, result), *rest = event.values.items()
            if self._quiet or not _watched(self._out):
                self._result(str(result))
            else:
                self._result(f"{name}: {result}", BOLD)
            # A list may have hundreds of numbers; --json gives it.
            told = ((name, value) for name, value in rest if not isinstance(value, list))
            facts = ", ".join(f"{name.replace('_', ' ')} {_number(value)}" for name, value in told)
            if facts and not self._quiet:
                self._aside(facts, DIM)
        if event.next and not self._quiet:
            self._aside("\n".join(["", "try next:", *(f"  {line}" for line in event.next)]))

    def _result(self, text: str, style: str = "") -> None:
        print(painted(clean(text), style, self._out), file=self._out, flush=True)

    # --- along the way ----------------------------------------------------------------------------------------------

    def _aside(self, text: str, style: str = "", label: str = "") -> None:
        """A line on stderr, in place of the bar; the label carries the style where there is one."""
        self.close()
        text = clean(text)
        line = painted(label, style, self._err) + text if label else painted(text, style, self._err)
        print(line, file=self._err, flush=True)

    def _draw(self, event: Progress) -> None:
        from rich.live import Live

        if self._bar is None:
            self._bar = Live(console=_console(self._err), auto_refresh=False, transient=True)
            self._bar.start()
        self._bar.update(_bar(event, self._bar.console.width), refresh=True)

    def _epoch(self, event: Epoch) -> None:
        """A line for each, or for as many as a person would read; the log has them all."""
        part = event.epoch * _EPOCHS // event.of if event.of > _EPOCHS else event.epoch
        if part != self._part:
            self._part = part
            self._aside(epoch_line(event))

    def _pace(self, event: Progress) -> None:
        """A line soon after the beginning, and then one every so often."""
        now = time.monotonic()
        if event.what != self._what:
            self._what, self._due = event.what, now + _FIRST
        if now >= self._due:
            self._due = now + _EVERY
            self._aside(progress_line(event))


# --- words ------------------------------------------------------------------------------------------------------------


def progress_line(event: Progress) -> str:
    """'train: 1,200 of 21,450 steps  discriminator 1.214  generator 0.812  310 images/s  2 min 31 s left'"""
    left = [f"{duration(event.left)} left"] if event.left >= 0 else []
    count = f"{event.what}: {event.done:,} of {event.total:,} {event.unit}"
    return "  ".join([count, *_losses(event.values), *_rate(event), *left])


def epoch_line(event: Epoch) -> str:
    """'epoch  3/50  discriminator 1.214  generator 0.812  61 s'"""
    head = f"epoch {event.epoch:>{len(str(event.of))}}/{event.of}"
    return "  ".join([head, *_losses(event.values), duration(event.seconds)])


def duration(seconds: float) -> str:
    """'61 s', '12 min 5 s', '3 h 12 min'."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def clock(seconds: float) -> str:
    """'0:09', '12:05', '3:12:00'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def clean(text: str) -> str:
    """Text from files without the control characters that could take over a terminal."""
    return "".join(c if c in "\n\t" or c.isprintable() else "�" for c in text)


def plain_table(table: Table) -> Iterator[str]:
    """A table as aligned lines, with nothing cut or wrapped, for pipes and files."""
    rows = [tuple(map(_cell, row)) for row in ((table.columns, *table.rows) if any(table.columns) else table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield clean(table.title)
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
    yield from map(clean, table.notes)


def _rate(event: Progress) -> Iterator[str]:
    if event.rate > 0:
        yield f"{event.rate:,.{0 if event.rate >= 10 else 1}f} {event.rate_unit}"


def _losses(values: Mapping[str, float], digits: int = 3) -> Iterator[str]:
    """The losses by player; all values where none is a loss."""
    losses = {name: value for name, value in values.items() if name.endswith("_loss")} or values
    return (f"{name.removesuffix('_loss').replace('_', ' ')} {_short(value, digits)}" for name, value in losses.items())


def _short(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if value == 0 or 10**-digits <= abs(value) < 1e4 else f"{value:.2g}"


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return clean(" ".join(text.split()))


def _plain(value: Any) -> Any:
    """JSON values: numbers that are not finite become null, anything unknown its text."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(name): _plain(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
    return str(value)


# --- the terminal -----------------------------------------------------------------------------------------------------


def painted(text: str, style: str, stream: TextIO) -> str:
    """The text in a style, where the stream is a terminal and nobody said NO_COLOR."""
    return f"\x1b[{style}m{text}\x1b[0m" if style and text and _coloured(stream) else text


def _watched(stream: TextIO) -> bool:
    """Whether a person sees the stream on a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _coloured(stream: TextIO) -> bool:
    return _watched(stream) and not os.environ.get("NO_COLOR")


def _console(stream: TextIO) -> Any:
    from rich.console import Console

    return Console(file=stream, highlight=False, color_system="auto" if _coloured(stream) else None)


def _bar(event: Progress, width: int) -> Text:
    """One line for the width that there is: the bar takes what the figures leave; the rate goes first."""
    from rich.text import Text

    total = f"{event.total:,}"
    count = f"{event.done:>{len(total)},}/{total}" + ("" if event.values else f" {event.unit}")
    head = count if event.values else f"{event.what} {count}"
    left = [f"{clock(event.left)} left"] if event.left >= 0 else []
    losses = list(_losses(event.values, digits=2))
    figures = [*losses, *_rate(event), *left]
    if len("  ".join([head, *figures])) > width:
        figures = [*losses, *left]
    tail = "  ".join(["", *figures])
    room = min(_BAR, width - len(head + tail) - 2)
    full = room * event.done // max(1, event.total)
    bar = [("  ", ""), ("━" * full, "cyan"), ("━" * (room - full), "bright_black")] if room >= 4 else []
    return Text.assemble(head, *bar, tail, no_wrap=True, overflow="ellipsis")


def _print_grid(table: Table, stream: TextIO) -> None:
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(
        title=Text(clean(table.title), "bold"), title_justify="left", box=None, padding=(0, 2, 0, 0),
        show_header=any(table.columns), header_style="dim",
    )  # fmt: skip
    for column in table.columns:
        grid.add_column(Text(column), overflow="fold")
    for row in table.rows:
        grid.add_row(*(Text(_cell(cell)) for cell in row))
    console = _console(stream)
    console.print(grid)
    for note in table.notes:
        console.print(Text(clean(note), "dim"))
