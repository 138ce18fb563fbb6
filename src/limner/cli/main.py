"""The command line: words and flags become a request, and its events become lines.

It holds no default, no check and no list of choices: all are drawn from the operations' requests and the methods'
settings. To add an operation, add its word to COMMANDS.
"""

from __future__ import annotations

import ast
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.cli.pages import page, section
from limner.cli.render import Face, Json, Lines
from limner.core import __version__
from limner.core.ending import endings
from limner.core.errors import LimnerError, UsageError, nearest
from limner.core.events import Event, Finished, Table

if TYPE_CHECKING:
    from limner.core.settings import Settings
    from limner.operations.show import Setting

COMMANDS = {
    "train": "train",
    "sample": "sample",
    "evaluate": "evaluate",
    "compare": "compare",
    "doctor": "doctor",
    "export": "export",
    "ensemble": "ensemble",
    "prepare": "prepare",
    "list": "show:listing",
    "show": "show",
}
"""Each command's word, and its operation: a module of limner.operations, and the function if its name differs.
The request is the class of the function's name, capitalised."""

EVERYWHERE = {
    "--help": "Say what a command takes, and stop.",
    "--quiet": "Print only errors and the result.",
    "--json": "Print each event as one line of JSON.",
    "--debug": "Print the traceback of an error.",
}
"""Switches that every command has."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    arguments  what follows `limner`; this process's own where it is not given
    returns    the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 or 129 terminated
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # It was closed before the start.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # A terminal that lacks a sign is no reason to stop.
    switches, rest = _pull(sys.argv[1:] if arguments is None else arguments, {*EVERYWHERE, "-h"})
    quiet = "--quiet" in switches
    face: Face = Json(quiet, sys.stdout) if "--json" in switches else Lines(quiet, sys.stdout, sys.stderr)
    try:
        if text := _page(rest, wanted=bool(switches & {"--help", "-h"})):
            print(text, end="", flush=True)
            return 0
        with _terminable():
            return _tell(face, _events(rest))
    except BrokenPipeError:
        return _unheard()
    except (Exception, KeyboardInterrupt) as error:
        return _fail(face, error, debug="--debug" in switches)
    finally:
        face.close()


class _Terminated(KeyboardInterrupt):
    """The system, another program or a closing terminal asked this one to end, by the signal of this number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def _terminable() -> Iterator[None]:
    """In this context what asks the program to end works as Ctrl-C does, and nothing half-made is left lying about."""

    def leave(number: int, _: object) -> None:
        raise _Terminated(number)

    if threading.current_thread() is not threading.main_thread():  # Python has signals in that one only.
        yield
        return
    before = {number: signal.signal(number, leave) for number in endings()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(face: Face, events: Iterator[Event]) -> int:
    for event in events:
        try:
            face.tell(event)
        except BrokenPipeError:
            _unheard()
            return 0 if isinstance(event, Table | Finished) else 1
    return 0


def _fail(face: Face, error: BaseException, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        number = error.number if isinstance(error, _Terminated) else signal.SIGINT
        known = LimnerError("interrupted" if number == signal.SIGINT else "terminated")
        known.exit_code = 128 + number
    elif isinstance(error, LimnerError):
        known = error
    elif isinstance(error, OSError) and error.errno:
        known = LimnerError(
            f"the system refused{f' {error.filename}' if error.filename else ''}: {str(error.strerror).lower()}",
            "check the path, the disk's free space and your rights; --debug tells where it happened",
        )
    else:
        known = LimnerError(
            f"limner itself failed: {type(error).__name__}: {error}".rstrip(": "),
            "run it again with --debug for the traceback, and please report it",
        )
    try:
        face.fail(known)
    except OSError:
        _unheard()
    return known.exit_code


def _unheard() -> int:
    """The reader has left, as `head` does: nothing more can be said, and Python shall not complain when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    return 0


def _pull(arguments: Sequence[str], switches: Collection[str]) -> tuple[set[str], list[str]]:
    """Part the switches that may stand anywhere (before `--`) from the rest of the line."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    found = {token for token in arguments[:end] if token in switches}
    return found, [*(token for token in arguments[:end] if token not in found), *arguments[end:]]


# --- requests ---------------------------------------------------------------------------------------------------------


def _events(line: Sequence[str]) -> Iterator[Event]:
    word, *rest = line
    if _command(word) == "train":
        return _train(rest)
    from limner.cli.flags import nested, read, split
    from limner.operations.show import settings_of

    run, request = _operation(word)
    settings = settings_of(request)
    return run(request.read(nested(read(split(rest, settings), settings, f"limner {word}"))))


def _train(rest: Sequence[str]) -> Iterator[Event]:
    """Training's settings are those of the run and of the method, which has to be known before its flags can be."""
    from limner.cli.flags import Line, nested, read, split
    from limner.core import catalog
    from limner.operations.show import settings_of
    from limner.operations.train import Train, asked, method_of, train

    run = [*settings_of(Train), _config()]
    line = split(rest, run)
    file, resume = (Path(str(line.given[flag])) if line.given.get(flag) else None for flag in ("--config", "--resume"))
    method = _first(line.words) or method_of(file, resume)
    if method is None:
        return train(None, Train.read({"resume": resume} if resume else {}))
    kind = catalog.head(method).Config
    settings = [*run, *settings_of(kind)]
    line = split(rest, settings)
    words = line.words[1:]
    if words:
        raise UsageError(f"limner train takes one method, and then flags, not '{words[0]}'",
                         f"did you mean --data {words[0]}?")  # fmt: skip
    values = nested(read(Line([], line.given), settings, f"limner train {method}"))
    values.pop("config", None)
    return train(*asked(method, values, file))


def _first(words: Sequence[str]) -> str | None:
    return words[0] if words else None


# --- commands and their pages -----------------------------------------------------------------------------------------


def _command(word: str) -> str:
    """The word, if it is a command's."""
    if word in COMMANDS:
        return word
    if word.startswith("-"):
        raise UsageError(f"limner has no flag {word}", "a command comes first, e.g. limner train dcgan --data mnist")
    from limner.core import catalog

    hint = f"limner train {word}" if word in catalog.names() else nearest(word, COMMANDS)
    raise UsageError(f"there is no command '{word}'", hint)


def _operation(word: str) -> tuple[Callable[[Any], Iterator[Event]], type[Settings]]:
    """A command's function and the class of its request."""
    name, _, function = COMMANDS[word].partition(":")
    module = import_module(f"limner.operations.{name}")
    return getattr(module, function or name), getattr(module, (function or name).capitalize())


def _about(word: str) -> str:
    """What a command does: the docstring of its module or function, read without importing it."""
    name, _, function = COMMANDS[word].partition(":")
    tree = ast.parse((Path(__file__).parent.parent / "operations" / f"{name}.py").read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function]
    return (ast.get_docstring(found[0] if found else tree) or "").partition("\n\n")[0]


def _page(line: Sequence[str], wanted: bool) -> str:
    """The page that the line asks for; empty if it asks for work."""
    if list(line[:1]) == ["--version"]:
        return f"limner {__version__}\n"
    if not line or list(line) == ["help"]:
        return _front()
    if line[0] == "help":
        line, wanted = line[1:], True
    if not wanted:
        return ""
    word, rest = _command(line[0]), line[1:]
    return _train_page(rest) if word == "train" else _operation_page(word)


def _front() -> str:
    import limner

    commands = [(word, _sentence(_about(word))) for word in COMMANDS]
    parts = [
        "usage: limner COMMAND …",
        _sentence((limner.__doc__ or "").partition("\n")[0]),
        section("commands (limner COMMAND --help says what one takes)", commands, 10),
        _closing(),
        "begin with:\n  limner list\n  limner train dcgan --data mnist",
    ]
    return "\n\n".join(parts) + "\n"


def _sentence(summary: str) -> str:
    """A summary without the name that it begins with."""
    text = summary.partition(": ")[2] or summary
    return text[:1].upper() + text[1:]


def _operation_page(word: str) -> str:
    from limner.cli.flags import place_of
    from limner.operations.show import settings_of

    settings = settings_of(_operation(word)[1])
    needed = [setting for setting in settings if setting.required]
    chosen = [setting for setting in settings if not setting.required]
    usage = " ".join(["limner", word, *map(place_of, needed), *(["[flags]"] if chosen else [])])
    return page(usage, _sentence(_about(word)), {"what": needed, "flags": chosen}, _closing())


def _train_page(rest: Sequence[str]) -> str:
    from limner.cli.flags import split
    from limner.core import catalog
    from limner.operations.show import settings_of
    from limner.operations.train import Train

    run = [*settings_of(Train), _config()]
    method = _first(split(rest, run).words)
    if method is not None:
        head = catalog.head(method)
        groups = {"the run": run, f"the method {method}": settings_of(head.Config)}
        return page(f"limner train {method} [flags]", head.summary, groups, _closing())
    methods = [(name, _sentence(catalog.head(name).summary)) for name in catalog.names()]
    closing = section("methods (limner train METHOD --help shows the flags of one)", methods)
    usage = "limner train METHOD [flags]\n       limner train --resume RUN [what shall change]"
    return page(usage, _sentence(_about("train")), {"the run": run}, f"{closing}\n\n{_closing()}")


def _config() -> Setting:
    from limner.operations.show import Setting

    return Setting("config", "Settings from a TOML file, a run's settings.json or its folder; flags win.", "PATH")


def _closing() -> str:
    return section("everywhere", EVERYWHERE.items())
