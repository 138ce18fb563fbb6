"""What the README and the examples show runs as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from limner.cli.main import main
from limner.core import catalog

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def commands(text):
    lines = "\n".join(blocks(text, "sh")).splitlines()
    return [line.split("#")[0].split() for line in lines if line.startswith("limner ")]


def test_the_python_snippet_runs(tmp_path, capsys):
    (snippet,) = blocks(README, "python")
    script = tmp_path / "snippet.py"
    script.write_text(snippet)
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Finished" in done.stdout
    assert (tmp_path / "runs/points/model.safetensors").is_file()


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_examples_run_and_are_short(path, tmp_path):
    assert len(path.read_text().splitlines()) < 40
    done = subprocess.run([sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", commands(README), ids=" ".join)
def test_every_flag_that_the_readme_names_is_there(words, capsys):
    page = [words[1], *([words[2]] if words[1] == "train" and words[2] in catalog.names() else []), "--help"]
    assert main(page) == 0
    text = capsys.readouterr().out
    for flag in (word for word in words if word.startswith("--")):
        assert flag in text


def test_both_readmes_show_the_same_commands():
    other = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
    assert commands(other) == commands(README)


def test_the_demo_s_settings_are_settings():
    from limner.operations.train import read_config, split_choices

    stored = read_config(ROOT / "examples/demo.toml")
    method = stored.pop("method")
    request, config = split_choices(method, stored)
    assert request.data == "mnist"
    assert catalog.head(method).Config.read(config).epochs == 4


def test_pictures_that_the_docs_show_are_there():
    for page in [ROOT / "README.md", ROOT / "README.zh-CN.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
