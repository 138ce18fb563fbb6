"""Exporting as a person asks for it."""

import sys

import onnx
import pytest

import limner
from limner.core.errors import LimnerError, UsageError
from limner.core.events import Finished, Note, Saved
from limner.models import onnx as graphs
from limner.operations.export import Export, export


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "a"
    for _ in limner.train("gan", data="digits", steps=3, batch=16, width=4, latent=6, threads=1, out=folder):
        pass
    return folder


def made(**choices):
    return list(export(Export.read(choices)))


def test_a_graph_lands_beside_the_model(run):
    events = made(model=run)
    out = run / "model.onnx"
    onnx.checker.check_model(str(out), full_check=True)
    note, saved, finished = events
    assert isinstance(note, Note) and "in batches of 1, 2, 5 and 16" in note.text
    assert saved == Saved("graph", out)
    assert isinstance(finished, Finished)
    assert finished.values["out"] == str(out) and finished.values["bytes"] == out.stat().st_size
    assert 0 <= finished.values["largest_difference"] <= 1e-4
    facts = {item.key: item.value for item in onnx.load(out).metadata_props}
    assert facts["data"] == "digits" and "BSD" in facts["data_licence"]
    with pytest.raises(UsageError, match="exists already"):
        made(model=run)
    made(model=run, force=True)


@pytest.mark.parametrize("opset", [18, 25])
def test_the_opset_is_the_one_that_was_asked_for(run, tmp_path, opset):
    made(model=run, out=tmp_path / "a.onnx", opset=opset)
    assert [item.version for item in onnx.load(tmp_path / "a.onnx").opset_import if not item.domain] == [opset]


def test_a_graph_that_differs_is_not_written(run, tmp_path, monkeypatch):
    monkeypatch.setattr(graphs, "TOLERANCE", -1.0)
    with pytest.raises(LimnerError, match="is not the model"):
        made(model=run, out=tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_one_line(run, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(LimnerError, match="which is not installed") as error:
        made(model=run, out=tmp_path / "a.onnx")
    assert error.value.hint == "pip install 'limner[export]'"
    assert list(tmp_path.iterdir()) == []


def test_another_ending_is_refused(run):
    with pytest.raises(UsageError, match=r"a graph is written as \.onnx, not \.pb") as error:
        made(model=run, out="a.pb")
    assert error.value.hint == "give --out a.onnx"
