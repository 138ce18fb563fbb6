"""Imports point down (the table in the design), and nothing goes round in a circle."""

import ast
from pathlib import Path

import pytest

import limner

ROOT = Path(limner.__file__).parent
# Each floor may import from the floors after it, and from itself.
FLOORS = [
    {"cli", "studio", "__main__"},
    {"operations"},
    {"methods"},
    {"training", "models", "tasks", "reports"},
    {"metrics", "losses"},
    {"data", "features", "nn", "diffusion"},
    {"core"},
]
LEVEL = {name: i for i, floor in enumerate(FLOORS) for name in floor}
FILES = sorted(ROOT.rglob("*.py"))


def module(path):
    parts = ("limner", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("limner"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("limner"):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", [p for p in FILES if p.parent != ROOT], ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    own = path.relative_to(ROOT).parts[0]
    for name in imported(path):
        parts = name.split(".")
        if len(parts) < 2 or parts[1] not in LEVEL:
            continue
        assert parts[1] != "methods" or own == "methods", f"{path} imports the method {name}: ask the catalogue"
        assert LEVEL[parts[1]] >= LEVEL[own], f"{path} imports {name}, which stands above it"
        assert own != "methods" or parts[1] != "methods", f"{path}: no method imports another"


def test_no_circles():
    known = {module(path): path for path in FILES}
    edges = {name: {target for target in imported(path) if target in known} - {name} for name, path in known.items()}
    edges = {name: {t for t in targets if t != "limner"} for name, targets in edges.items()}
    done, walking = set(), []

    def walk(name):
        assert name not in walking, " → ".join([*walking[walking.index(name) :], name])
        if name in done:
            return
        walking.append(name)
        for target in sorted(edges[name]):
            walk(target)
        walking.pop()
        done.add(name)

    for name in sorted(known):
        walk(name)
