"""Pages: what --help prints, drawn from the commands' docstrings and settings."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from limner.cli.flags import flag_of, place_of
from limner.cli.render import BOLD, painted

if TYPE_CHECKING:
    from limner.operations.show import Setting

_LEFT = 26
_WIDEST = 110


def page(usage: str, about: str, groups: Mapping[str, Sequence[Setting]], closing: str = "") -> str:
    """A help page: usage, what the command does, then each group of settings under its title."""
    parts = [f"usage: {usage}", _paragraphs(about)]
    parts += [section(title, map(_row, settings)) for title, settings in groups.items() if settings]
    return "\n\n".join(filter(None, [*parts, closing])) + "\n"


def section(title: str, rows: Iterable[tuple[str, str]], left: int = _LEFT) -> str:
    """A title with two columns below."""
    return "\n".join([painted(f"{title}:", BOLD, sys.stdout), *_columns(rows, left)])


def _columns(rows: Iterable[tuple[str, str]], left: int) -> Iterator[str]:
    """Two columns, the right one wrapped; a left cell that is too long stands on a line of its own."""
    indent = " " * (left + 2)
    for name, text in rows:
        wrapped = textwrap.wrap(text, _width() - len(indent), break_on_hyphens=False) or [""]
        if len(name) > left - 2:
            yield f"  {name}"
        else:
            yield f"  {name:<{left}}{wrapped.pop(0)}".rstrip()
        yield from (indent + line for line in wrapped if line)


def _row(setting: Setting) -> tuple[str, str]:
    return _left(setting), _right(setting)


def _left(setting: Setting) -> str:
    if setting.required:
        return place_of(setting)
    name = flag_of(f"no_{setting.name}" if setting.default is True else setting.name)
    return f"{name} {setting.takes}".rstrip()


def _right(setting: Setting) -> str:
    from limner.operations.show import in_words

    default = "" if setting.default is False else in_words(setting.default)
    facts = filter(None, [setting.limits, f"default {default}" if default else ""])
    brackets = "; ".join(facts)
    told = f"Turn off: {setting.help}" if setting.default is True else setting.help
    return f"{told} [{brackets}]" if brackets else told


def _paragraphs(text: str) -> str:
    """Prose wrapped to the terminal; paragraphs whose lines are labels (`Source: …`) are left as they are."""
    return "\n\n".join(
        part if ": " in part.partition("\n")[2] else textwrap.fill(" ".join(part.split()), _width())
        for part in text.split("\n\n")
    )


def _width() -> int:
    return max(60, min(_WIDEST, shutil.get_terminal_size().columns))
