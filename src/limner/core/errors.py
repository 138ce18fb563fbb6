"""What goes wrong, said so that a person can mend it: what broke and where, then what to do next."""

import shlex
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class LimnerError(Exception):
    """Something failed that the person can understand. Printed as one line, with a hint.

    message    what broke, where, what was seen and what was needed
    hint       the next thing to do; may be empty
    exit_code  what the command line returns: 1 failed, 2 wrong usage
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class UsageError(LimnerError):
    """The request itself is wrong: an unknown name, a value out of range, a file of the wrong kind."""

    exit_code = 2


class DataError(LimnerError):
    """Data is missing, damaged, or not what the request needs."""


class ModelError(LimnerError):
    """A model or checkpoint file is damaged, foreign or newer than this limner."""


def missing_extra(what: str, extra: str) -> LimnerError:
    """The error for an optional package that is not installed: it names the command that installs it."""
    return LimnerError(f"this needs {what}, which is not installed", f"pip install 'limner[{extra}]'")


def command(*words: object) -> str:
    """A limner command to try, as it can be pasted: what a shell would split or expand is quoted."""
    return shlex.join(["limner", *map(str, words)])


def nearest(name: str, names: Iterable[str], where: Path | None = None) -> str:
    """A hint that names what the person probably meant, or lists what there is.

    where   the folder that holds what is named, so that a path is proposed
    returns "did you mean 'dcgan'?" or "there are: dcgan, gan"
    """
    known = sorted(names)
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0] if where is None else where / close[0]}'?"
    return "there are: " + ", ".join(known) if known else "there are none"
