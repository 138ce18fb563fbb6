"""The catalogue: which methods there are, and what can be said of them without importing torch.

The folder `limner/methods` is the registry: a file there is a method. Plugins add theirs through the entry-point
group `limner.methods`. A method file's head (its docstring and its settings) can be read alone, in a few
milliseconds, so that help, `show` and errors in arguments never wait for torch.
"""

import ast
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from functools import cache
from importlib.abc import SourceLoader
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from limner.core.config import TrainingConfig
from limner.core.errors import UsageError, nearest

if TYPE_CHECKING:
    from limner.core.method import Method

_FOLDER = Path(__file__).parent.parent / "methods"
_FREE_OF_TORCH = (
    *(f"limner.core.{name}" for name in ("config", "errors", "settings", "signal")), "pydantic", "typing", "enum",
)  # fmt: skip


@dataclass(frozen=True)
class Head:
    """What a method file says before its networks: name, docstring, settings class."""

    name: str
    doc: str
    Config: type[TrainingConfig]

    @property
    def summary(self) -> str:
        """The docstring's first sentence."""
        return self.doc.partition("\n")[0].strip()


class _HeadLoader(SourceLoader):
    """Loads a method file up to and including its settings, leaving out every import that would bring torch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get_filename(self, fullname: str) -> str:
        # A name of its own: a field's help is found through its file's name, which must lead to one module only.
        return f"{self.path}#head"

    def get_data(self, path: str | bytes) -> bytes:
        return self.path.read_bytes()

    def source_to_code(self, data: Any, path: Any, fullname: str | None = None) -> CodeType:  # type: ignore[override]
        tree = ast.parse(data)
        last = max(i for i, node in enumerate(tree.body) if isinstance(node, ast.ClassDef) and node.name == "Config")
        tree.body = [
            node for node in tree.body[: last + 1]
            if not isinstance(node, ast.Import)
            and not (isinstance(node, ast.ImportFrom) and not (node.module or "").startswith(_FREE_OF_TORCH))
        ]  # fmt: skip
        code: CodeType = compile(tree, path, "exec", dont_inherit=True)
        return code


@cache
def _modules() -> dict[str, str]:
    """Method name → module name."""
    found = {path.stem: f"limner.methods.{path.stem}" for path in _FOLDER.glob("[a-z]*.py")}
    found |= {point.name: point.value for point in entry_points(group="limner.methods")}
    return dict(sorted(found.items()))


def names() -> list[str]:
    """Every method's name, in order."""
    return list(_modules())


def _module(name: str) -> str:
    if name not in _modules():
        raise UsageError(f"there is no method '{name}'", nearest(str(name), names()))
    return _modules()[name]


@cache
def head(name: str) -> Head:
    """A method's docstring and settings, without importing torch.

    raises UsageError   if there is no such method
    """
    full = _module(name)
    spec = importlib.util.find_spec(full)
    if spec is None or spec.origin is None:
        raise UsageError(f"method '{name}' is registered as {full}, which is not installed")
    loader = _HeadLoader(Path(spec.origin))
    alone = importlib.util.spec_from_file_location(f"limner._heads.{name}", loader.get_filename(""), loader=loader)
    assert alone is not None
    module = importlib.util.module_from_spec(alone)
    # Pydantic looks up a class's attribute docstrings and forward names through sys.modules.
    sys.modules[alone.name] = module
    loader.exec_module(module)
    return Head(name, (module.__doc__ or "").strip(), module.Config)


def settings(name: str) -> type[TrainingConfig]:
    """A method's settings class, the very one that its class is built with. Imports torch.

    raises UsageError   if there is no such method
    """
    kind: type[TrainingConfig] = _imported(name).Config
    return kind


def _imported(name: str) -> ModuleType:
    return importlib.import_module(_module(name))


def method(name: str) -> "type[Method]":
    """A method's class. Imports torch.

    raises UsageError   if there is no such method
    """
    from limner.core.method import Method

    module = _imported(name)
    final = [
        thing for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Method) and thing.__module__ == module.__name__
    ]  # fmt: skip
    if len(final) != 1:
        raise UsageError(f"{module.__name__} must hold exactly one method, not {len(final)}")
    return final[0]
