"""Rules for the whole source: nothing that could run what a file from outside says, and no drawers."""

import re
from pathlib import Path

import pytest

import limner

ROOT = Path(limner.__file__).parents[2]
FILES = sorted(
    path for folder in ("src", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")
)  # fmt: skip
BANNED = {
    r"\bpickle\b(?!d)": "pickle",
    r"torch\.load\((?!.*weights_only=True)": "torch.load without weights_only=True",
    r"yaml\.load\(": "yaml.load",
    r"(?<![\w.])eval\(": "eval",
    r"(?<![\w.])exec\(": "exec",
    r"shell=True": "shell=True",
}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_banned_calls(path):
    text = path.read_text(encoding="utf-8")
    for pattern, name in BANNED.items():
        found = re.search(pattern, text)
        assert not found, f"{path}: {name}"


def test_no_drawers():
    drawers = {"utils", "helpers", "common", "base", "manager", "handler", "misc"}
    assert [path for path in FILES if path.stem in drawers] == []


def test_every_module_says_what_it_holds():
    import ast

    modules = [path for path in FILES if path.name != "__init__.py"]
    assert [path for path in modules if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))] == []
