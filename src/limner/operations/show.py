"""Show: what a method, data set, model, run, pack or picture of limner's is.

`listing` is its sister: what there is to begin with.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from pydantic_core import PydanticUndefined

from limner.core import catalog
from limner.core.errors import LimnerError, UsageError, command, nearest
from limner.core.events import Event, Finished, Table
from limner.core.settings import Settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from limner.data.dataset import Manifest

_PNG = b"\x89PNG\r\n\x1a\n"


class Listing(Settings):
    """Nothing to choose."""


def listing(request: Listing) -> Iterator[Event]:
    """List the methods, by task, and the built-in data sets."""
    from limner.data.builtin import BUILT_IN

    heads = sorted((catalog.head(name) for name in catalog.names()), key=lambda head: (_task(head), head.name))
    methods = {head.name: {"task": _task(head), "about": _about(head)} for head in heads}
    sets = {record.name: {"about": record.about, "licence": record.licence} for record in BUILT_IN.values()}
    yield Table("methods", ("method", "task", "what it is"), _rows(methods))
    yield Table("data sets", ("data", "what it is", "licence"), _rows(sets))
    yield Finished(
        "list",
        {"methods": methods, "data": sets},
        (f"limner show {heads[0].name}", f"limner train {heads[0].name} --data {next(iter(sets))}"),
    )


class Show(Settings):
    """What to look at."""

    thing: str
    """A method, a built-in data set, a model file, a run folder, a prepared pack, or a PNG that limner made."""


def show(request: Show) -> Iterator[Event]:
    """Show what a thing is. The last event is Finished, with all of it as plain values.

    raises UsageError   if there is no such thing, or limner did not make it
           ModelError   if it is a damaged model
    """
    thing = request.thing
    try:
        if thing in catalog.names():
            yield from _method(catalog.head(thing))
            return
        from limner.data.builtin import BUILT_IN

        path = Path(thing)
        if thing in BUILT_IN:
            yield from _built_in(thing)
        elif path.is_dir():
            yield from _folder(path)
        elif path.is_file():
            yield from _picture(path) if _starts(path, _PNG) else _model(path)
        else:
            beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
            hint = nearest(path.name, beside, path.parent)
            if len(path.parts) < 2 or not hint.startswith("did you"):
                hint = nearest(thing, [*catalog.names(), *BUILT_IN])
            raise UsageError(f"there is nothing called '{thing}'", hint)
    except OSError as error:
        raise LimnerError(f"cannot read {thing}: {(error.strerror or str(error)).lower()}") from None


# --- settings, as a person meets them ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """One thing to choose, drawn from a field of Settings.

    name      dotted where it is nested: "generator.lr"
    help      the string under the field
    takes     "N" a whole number, "X" a number, "PATH", "TEXT", or the choices as "a|b"; "" for a switch
    limits    bounds in words, e.g. "1 to 4096"; "" where there are none
    default   None where it has none
    required  whether it must be given
    many      whether it takes several values
    """

    name: str
    help: str
    takes: str
    limits: str = ""
    default: Any = None
    required: bool = False
    many: bool = False

    @property
    def choices(self) -> tuple[str, ...]:
        """What it may be, where that is a list of words."""
        return tuple(self.takes.split("|")) if "|" in self.takes else ()


def settings_of(kind: type[Settings], defaults: Settings | None = None, prefix: str = "") -> list[Setting]:
    """Every setting of a class in order, nested ones by their dotted names.

    A word that Python keeps for itself, such as class, is its field's alias.

    defaults  an instance whose values stand for the defaults; the class's own where it is not given
    """
    found = []
    for name, field in kind.model_fields.items():
        default = getattr(defaults, name) if defaults else field.get_default(call_default_factory=True)
        default = None if default is PydanticUndefined else default
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            found += settings_of(field.annotation, default, f"{prefix}{name}.")
        else:
            takes, many = _takes(field.annotation)
            about, limits = field.description or "", _limits(field)
            called = prefix + (field.alias or name)
            found.append(Setting(called, about, takes, limits, default, field.is_required(), many))
    return found


def in_words(value: Any) -> str:
    """A plain value as a person writes it: 1e-4 as 0.0001, nothing as ''."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case int():
            return str(value)
        case list() | tuple():
            return ", ".join(map(in_words, value))
    return str(value)


def _takes(annotation: Any) -> tuple[str, bool]:
    """What a field takes (see Setting), and whether several."""
    inner = [kind for kind in get_args(annotation) if kind not in (type(None), Ellipsis)]
    origin = get_origin(annotation)
    if origin is Literal:
        return "|".join(map(str, inner)), False
    if origin in (Union, types.UnionType):
        return _takes(inner[0])
    if origin in (tuple, list):
        return _takes(inner[0])[0], True
    return {bool: "", int: "N", float: "X", Path: "PATH"}.get(annotation, "TEXT"), False


def _limits(field: FieldInfo) -> str:
    """The bounds of a field in words."""
    bound = {key: in_words(value) for rule in field.metadata for key in ("ge", "gt", "le", "lt")
             if (value := getattr(rule, key, None)) is not None}  # fmt: skip
    if "ge" in bound and "le" in bound:
        return f"{bound['ge']} to {bound['le']}"
    words = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}
    return ", ".join(words[key].format(value) for key, value in bound.items())


# --- each kind of thing -----------------------------------------------------------------------------------------------


def _method(head: catalog.Head) -> Iterator[Event]:
    settings = settings_of(head.Config)
    yield _text(head.doc)
    yield Table(
        "settings",
        ("setting", "default", "takes", "what it is"),
        tuple((s.name, in_words(s.default), s.limits or s.takes, s.help) for s in settings),
    )
    defaults = head.Config().model_dump(mode="json")
    yield Finished(
        "show",
        {"kind": "method", "name": head.name, "task": _task(head), "doc": head.doc, "settings": defaults},
        (_expected(head), f"limner train {head.name} --help"),
    )


def _built_in(name: str) -> Iterator[Event]:
    from limner.data.builtin import BUILT_IN

    record = BUILT_IN[name]
    values = {
        "about": record.about,
        "splits": record.splits,
        "classes": record.classes,
        "licence": record.licence,
        "attribution": record.attribution,
    }
    yield _pairs(f"data set {name}", values)
    yield Finished("show", {"kind": "data set", "name": name, **values}, (f"limner train gan --data {name}",))


def _folder(path: Path) -> Iterator[Event]:
    from limner.data.pack import is_pack

    if (path / "settings.json").is_file():
        return _run(path)
    packs = [part for part in (path, *sorted(path.iterdir())) if part.is_dir() and is_pack(part)]
    if packs:
        return _packs(path, packs)
    if (path / "model.safetensors").is_file():
        return _model(path / "model.safetensors")
    raise UsageError(
        f"{path} is a folder, but neither a run nor a prepared pack",
        f"if it holds pictures: {command('prepare', path)}",
    )


def _run(folder: Path) -> Iterator[Event]:
    from limner.operations.train import read_config
    from limner.training.log import read_log

    log, model = read_log(folder / "log.jsonl"), folder / "model.safetensors"
    saved = [int(path.stem[-8:]) for path in folder.glob(f"checkpoints/step-{'[0-9]' * 8}.safetensors")]
    step = max([0, *saved, *(line.get("step", 0) for line in log)])
    state, advice = _state(folder, step)
    last: dict[str, Any] = next((line for line in reversed(log) if line["event"] == "train"), {})
    losses = {name: value for name, value in last.items() if name.endswith("_loss")}
    settings = read_config(folder / "settings.json")
    yield _pairs(f"run {folder}", {"state": state, **losses, "model": model if model.is_file() else None})
    yield _pairs("settings", settings)
    values = {"kind": "run", "run": str(folder), "state": state, "step": step, "losses": losses, "settings": settings}
    yield Finished("show", values, advice)


def _state(folder: Path, step: int) -> tuple[str, tuple[str, ...]]:
    """Where a run stands, in words, and what to do with it."""
    from limner.operations.train import is_locked

    if is_locked(folder):
        return f"running, at step {step:,}", ()
    if (folder / "model.safetensors").is_file():
        return f"finished, at step {step:,}", (command("sample", folder), command("show", folder / "model.safetensors"))
    return f"stopped at step {step:,}", (command("train", "--resume", folder),)


def _model(path: Path) -> Iterator[Event]:
    from limner.core.signal import Signal
    from limner.models.model import describe

    header = describe(path)
    signal = Signal.read(header["signal"], str(path))
    about = {
        "method": header["method"],
        "makes": signal.describe(),
        "size": f"{path.stat().st_size / 1e6:,.1f} MB",
        "sha256": header["sha256"],
    }
    yield _text(header.get("card", ""))
    yield _pairs(f"model {path}", about)
    yield _pairs("data", header.get("data", {}))
    yield _pairs("training", header.get("training", {}))
    yield _pairs("settings", header["config"])
    yield Finished("show", {**about, **header, "kind": "model"}, (command("sample", path, "--count", 64),))


def _picture(path: Path) -> Iterator[Event]:
    from limner.data.images import read_recipe

    recipe = read_recipe(path)
    if recipe is None:
        raise UsageError(f"{path} carries no recipe: limner did not make it, or another program saved it again",
                         "limner can show the PNG files that it wrote itself")  # fmt: skip
    yield _pairs(f"recipe of {path}", recipe)
    yield Finished("show", {"kind": "picture", **recipe})


def _packs(path: Path, packs: list[Path]) -> Iterator[Event]:
    from limner.data.pack import read_manifest

    manifests = [(pack, read_manifest(pack)) for pack in packs]
    for pack, manifest in manifests:
        yield _pairs(f"pack {pack}", _manifest(manifest))
    values = {str(pack): _manifest(manifest) for pack, manifest in manifests}
    yield Finished("show", {"kind": "pack", "packs": values}, (command("train", "dcgan", "--data", path),))


def _manifest(manifest: Manifest) -> dict[str, Any]:
    return {"about": manifest.describe(), **manifest.model_dump(mode="json")}


# --- tables -----------------------------------------------------------------------------------------------------------


def _text(words: str) -> Table:
    """Paragraphs, as a table of nothing else."""
    return Table(words.strip(), (), ())


def _pairs(title: str, values: Mapping[str, Any]) -> Table:
    """Names and values, nested ones by dotted names, empty ones left out."""
    rows = tuple((name, in_words(value)) for name, value in _flat(values) if in_words(value))
    return Table(title, ("", ""), rows)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
            yield from _flat({str(number): one for number, one in enumerate(value)}, f"{prefix}{name}.")
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _rows(things: Mapping[str, Mapping[str, str]]) -> tuple[tuple[str, ...], ...]:
    return tuple((name, *values.values()) for name, values in things.items())


# --- what a method's docstring says -----------------------------------------------------------------------------------


def _task(head: catalog.Head) -> str:
    return _said(head, "Task")


def _expected(head: catalog.Head) -> str:
    return _said(head, "Expect") or f"limner train {head.name}"


def _about(head: catalog.Head) -> str:
    """The summary without the name that it begins with."""
    return head.summary.partition(": ")[2] or head.summary


def _said(head: catalog.Head, label: str) -> str:
    found = re.search(rf"^{label}: (.+)$", head.doc, re.MULTILINE)
    return found[1].strip() if found else ""


def _starts(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic
