"""Flags: a command line becomes plain values, by a table that is drawn from Settings.

Values stay text: their types, bounds and choices are checked where they are stated, in Settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from limner.core.errors import UsageError

if TYPE_CHECKING:
    from limner.operations.show import Setting

_FLAG = re.compile(r"-[^\d.]")  # -1 and -.5 are values


@dataclass(frozen=True)
class Line:
    """A command line, taken apart.

    words  what stands without a flag
    given  flags as typed, each with its value; True for a switch, None where the value is missing
    """

    words: list[str]
    given: dict[str, str | bool | None]


def split(arguments: Sequence[str], settings: Iterable[Setting]) -> Line:
    """Take a command line apart. A flag that `settings` do not know is thought to have a value.

    Both `--name value` and `--name=value` are read, `--no-name` turns a switch off, and after `--` all are words.
    """
    switches = {setting.name for setting in settings if not setting.takes}
    words: list[str] = []
    given: dict[str, str | bool | None] = {}
    rest = list(arguments)
    while rest:
        token = rest.pop(0)
        flag, equals, value = token.partition("=")
        if token == "--":
            words += rest
            break
        if not _FLAG.match(token):
            words.append(token)
        elif equals:
            given[flag] = value
        elif named(flag) in switches or named(flag).removeprefix("no_") in switches:
            given[flag] = True
        else:
            given[flag] = rest.pop(0) if rest and not _FLAG.match(rest[0]) else None
    return Line(words, given)


def read(line: Line, settings: Sequence[Setting], command: str) -> dict[str, Any]:
    """Values by dotted name: those that were given and no others.

    command  what was called, e.g. "limner train dcgan", for the hints
    raises   UsageError   for an unknown flag, a missing value, a word too few or too many
    """
    known = {setting.name: setting for setting in settings}
    values: dict[str, Any] = {}
    for flag, value in line.given.items():
        name = named(flag)
        negated = known.get(name.removeprefix("no_"))
        if name not in known and negated is not None and not negated.takes and value is True:
            name, value = negated.name, False
        if name not in known or not flag.startswith("--"):
            raise UsageError(f"{command} has no flag {flag}", _meant(flag, known, command))
        if value is None:
            raise UsageError(f"{flag} needs a value", f"it takes {_wanted(known[name])}")
        values[name] = str(value).split(",") if known[name].many else value
    return values | _places(line.words, [s for s in settings if s.required and s.name not in values], command)


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """{"generator.lr": x} as {"generator": {"lr": x}}."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *path, last = name.split(".")
        here = tree
        for part in path:
            here = here.setdefault(part, {})
        here[last] = value
    return tree


def named(flag: str) -> str:
    """The setting's name that a flag stands for: --checkpoint-every is checkpoint_every."""
    return flag.lstrip("-").replace("-", "_")


def flag_of(name: str) -> str:
    """The flag that stands for a setting."""
    return "--" + name.replace("_", "-")


def place_of(setting: Setting) -> str:
    """How a required setting is written where it stands without a flag: MODEL, RUN …"""
    return setting.name.upper().replace("_", "-") + (" …" if setting.many else "")


def _places(words: Sequence[str], places: Sequence[Setting], command: str) -> dict[str, Any]:
    """Words by the required settings that they stand for, in order. One that takes many takes all that are left."""
    values: dict[str, Any] = {}
    left = list(words)
    for place in places:
        if not left:
            raise UsageError(f"{command} needs {place_of(place)}", place.help)
        values[place.name] = left if place.many else left.pop(0)
        left = [] if place.many else left
    if left:
        raise UsageError(f"{command} does not know what to do with '{left[0]}'", f"{command} --help says what it takes")
    return values


def _meant(flag: str, known: Mapping[str, Setting], command: str) -> str:
    flags = [flag_of(name) for name in known]
    ends = [full for full in flags if full.rpartition(".")[2] == flag.lstrip("-")]
    meant = ends or get_close_matches(flag, flags, n=1, cutoff=0.6)
    return f"did you mean {_either(meant)}?" if meant else f"{command} --help lists its flags"


def _wanted(setting: Setting) -> str:
    kinds = {"N": "a whole number", "X": "a number", "PATH": "a path", "TEXT": "text"}
    return _either(setting.choices) or kinds.get(setting.takes, setting.takes) + (
        f", {setting.limits}" if setting.limits else ""
    )


def _either(words: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
