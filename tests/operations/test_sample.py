"""Sampling as a person asks for it."""

import numpy as np
import pytest
from PIL import Image

import limner
from limner.core.errors import UsageError
from limner.core.events import Finished, Progress
from limner.data.images import read_recipe
from limner.operations.sample import Sample, sample


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "a"
    for _ in limner.train("gan", data="digits", steps=3, batch=16, width=4, latent=6, threads=1, out=folder):
        pass
    return folder


def made(**choices):
    return list(sample(Sample.read(choices)))


def test_a_sheet(run, tmp_path):
    events = made(model=run, count=9, out=tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (3 * 8 + 4 * 2, 3 * 8 + 4 * 2)
    assert isinstance(events[-1], Finished)
    assert any(isinstance(event, Progress) for event in events)


def test_separate_files(run, tmp_path):
    made(model=run, count=3, out=tmp_path / "many")
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == ["000000.png", "000001.png", "000002.png"]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_another_backend_makes_the_same_pictures(run, tmp_path, backend):
    made(model=run, count=9, out=tmp_path / "own.png")
    made(model=run, count=9, out=tmp_path / "other.png", backend=backend)
    own, other = (np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("own.png", "other.png"))
    assert np.abs(own - other).max() <= 1  # of 255: a value on the edge may be rounded the other way
    assert read_recipe(tmp_path / "other.png") == {**read_recipe(tmp_path / "own.png"), "backend": backend}
    with pytest.raises(UsageError, match="computes on the CPU, not on cuda"):
        made(model=run, out=tmp_path / "a.png", backend=backend, device="cuda")


def test_without_out_each_sheet_has_a_name_of_its_own(run):
    before = {path.name for path in run.glob("samples*.png")}
    made(model=run)
    made(model=run)
    assert {path.name for path in run.glob("samples*.png")} - before == {"samples.png", "samples-2.png"}


def test_a_walk_is_a_strip_and_an_animation(run, tmp_path):
    made(model=run, interpolate=9, count=5, out=tmp_path / "walk.png")
    with Image.open(tmp_path / "walk.png") as strip:
        assert strip.size == (5 * 8 + 6 * 2, 8 + 2 * 2)
    with Image.open(tmp_path / "walk.gif") as film:
        assert film.n_frames == 5 + 3


def test_what_stands_there_is_not_overwritten(run, tmp_path):
    (tmp_path / "a.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists already"):
        made(model=run, out=tmp_path / "a.png")
    made(model=run, out=tmp_path / "a.png", force=True)


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"out": "a.jpg"}, r"samples are written as \.png, not \.jpg"),
        ({"count": 20_000, "out": "a.png"}, "do not fit on one sheet"),
        ({"label": 10}, "makes no classes on request"),
    ],
)
def test_wrong_wishes(run, choices, said):
    with pytest.raises(UsageError, match=said):
        made(model=run, **choices)


def test_a_run_that_has_not_finished_says_how_to_finish_it(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.json").write_text("{}")
    with pytest.raises(UsageError, match="has not finished") as error:
        made(model=tmp_path / "run")
    assert error.value.hint == f"finish it with: limner train --resume {tmp_path / 'run'}"
    with pytest.raises(UsageError, match="no model"):
        made(model=tmp_path)
