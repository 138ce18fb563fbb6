"""limner: images made with neural networks, on the machine you have.

for event in limner.train("dcgan", data="mnist", epochs=1): print(event)
for event in limner.evaluate("runs/dcgan-001"): print(event)
limner.load("runs/dcgan-001/model.safetensors").generate(16, seed=0)

Every operation is a function that yields events as the work goes on; the last one is Finished, and holds the results.
Choices are the command line's, with `_` for `-`. Nothing happens until the events are asked for.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core import __version__
from limner.core.events import Event

if TYPE_CHECKING:
    from limner.models.model import Model

__all__ = ["__version__", "compare", "doctor", "ensemble", "evaluate", "export", "load", "prepare", "sample", "train"]


def train(method: str | None = None, config: str | Path | None = None, **choices: Any) -> Iterator[Event]:
    """Train a method. Nested settings are mappings; `config` is a file of settings, over which the choices win.

    for event in limner.train("dcgan", data="mnist", epochs=1, generator={"lr": 2e-4}): print(event)

    raises UsageError, DataError, LimnerError   as the command line would print them
    """
    from limner.operations.train import asked
    from limner.operations.train import train as run

    yield from run(*asked(method, choices, None if config is None else Path(config)))


def sample(model: str | Path, **choices: Any) -> Iterator[Event]:
    """Make pictures with a model.

    for event in limner.sample("runs/dcgan-001", count=100, seed=1, out="samples.png"): print(event)

    raises UsageError, ModelError, LimnerError   as the command line would print them
    """
    return _asked("sample", {"model": model, **choices})


def evaluate(*what: str | Path, **choices: Any) -> Iterator[Event]:
    """Measure a model or a set of pictures beside real ones, and write a page about it.

    *_, finished = limner.evaluate("runs/dcgan-001", data="mnist", samples=10_000)
    finished.values["figures"]

    raises UsageError, DataError, ModelError, LimnerError   as the command line would print them
    """
    return _asked("evaluate", {"what": _each(what), **choices})


def compare(*runs: str | Path, **choices: Any) -> Iterator[Event]:
    """Set runs side by side, in a table and on a page. They may come as one list.

    raises UsageError   as the command line would print it
    """
    return _asked("compare", {"runs": _each(runs), **choices})


def doctor(run: str | Path, **choices: Any) -> Iterator[Event]:
    """Say what ails a run, from what shows it, and what to do next.

    raises UsageError, DataError, ModelError   as the command line would print them
    """
    return _asked("doctor", {"run": run, **choices})


def export(model: str | Path, **choices: Any) -> Iterator[Event]:
    """Write a model as a graph that other programs run.

    for event in limner.export("runs/dcgan-001", out="digits.onnx"): print(event)

    raises UsageError, ModelError, LimnerError   as the command line would print them
    """
    return _asked("export", {"model": model, **choices})


def ensemble(*models: str | Path, **choices: Any) -> Iterator[Event]:
    """Join trained models into one. They may come as one list.

    for event in limner.ensemble("runs/gan-001", "runs/gan-002", out="runs/both", weights="kid"): print(event)

    raises UsageError, DataError, ModelError   as the command line would print them
    """
    return _asked("ensemble", {"models": _each(models), **choices})


def prepare(source: str | Path, **choices: Any) -> Iterator[Event]:
    """Pack pictures for training.

    raises UsageError, DataError   as the command line would print them
    """
    return _asked("prepare", {"source": source, **choices})


def _each(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """What was given, one by one or as one list."""
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], list | tuple) else given


def _asked(name: str, choices: dict[str, Any]) -> Iterator[Event]:
    operation = import_module(f"limner.operations.{name}")
    request = getattr(operation, name.capitalize()).read(choices)
    yield from getattr(operation, name)(request)


def load(path: str | Path) -> "Model":
    """Read a model file: `limner.load(path).generate(16, seed=0)`.

    raises ModelError, UsageError   if it is no limner model, or damaged
    """
    from limner.models.model import load as read

    return read(path)
