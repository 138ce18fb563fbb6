"""Sampling as a person asks for it."""

import shlex

import numpy as np
import pytest
from PIL import Image

import limner
from limner.core.errors import ModelError, UsageError
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


def test_what_is_tried_next_can_be_pasted(run, tmp_path):
    place = tmp_path / "it's my folder" / "a b.png"
    (command,) = made(model=run, count=1, out=place)[-1].next
    assert shlex.split(command) == ["limner", "show", str(place)]


@pytest.mark.parametrize(("choices", "says"), [
    ({"count": 0}, "count is a whole number of 1 or more, not 0"), ({"count": 2.5}, "count is a whole number"),
    ({"seed": -1}, "seed is a whole number of 0 or more, not -1"), ({"seed": "7"}, "seed is a whole number"),
    ({"truncation": 0}, "truncation is a factor above 0, not 0"), ({"truncation": float("nan")}, "truncation is a"),
    ({"truncation": "1"}, "truncation is a factor above 0"), ({"text": ""}, "a text says what to make, and '' says"),
    ({"text": ["a", "b"]}, "a text says what to make"),
])  # fmt: skip
def test_python_is_told_what_is_wrong_as_well(run, choices, says):
    with pytest.raises(UsageError, match=says):
        limner.load(run / "model.safetensors").generate(**choices)


def test_a_sheet_is_a_png_by_name_as_well(run, tmp_path):
    pictures = limner.load(run / "model.safetensors").generate(2)
    with pytest.raises(UsageError, match="is called otherwise"):
        pictures.save(tmp_path / "a.jpg")
    assert pictures.save(tmp_path / "a.PNG").is_file() and not (tmp_path / "a.jpg").exists()


def test_a_model_is_loaded_from_a_path():
    with pytest.raises(UsageError, match="loaded from the path of its file, not from None"):
        limner.load(None)


def test_a_checkpoint_becomes_a_model_as_the_hint_says(run, tmp_path):
    checkpoint = next((run / "checkpoints").glob("step-*.safetensors"))
    with pytest.raises(ModelError) as error:
        made(model=checkpoint, out=tmp_path / "a.png")
    word, *_, flag, _ = shlex.split(error.value.hint.partition(": ")[2])[1:]
    assert (word, flag) == ("ensemble", "--out")
    list(limner.ensemble(checkpoint, out=tmp_path / "model"))
    made(model=tmp_path / "model", out=tmp_path / "a.png")


def test_a_sheet(run, tmp_path):
    events = made(model=run, count=9, out=tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (3 * 8 + 4 * 2, 3 * 8 + 4 * 2)
    assert isinstance(events[-1], Finished)
    assert any(isinstance(event, Progress) for event in events)


def test_separate_files(run, tmp_path):
    made(model=run, count=3, out=tmp_path / "many")
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == ["000000.png", "000001.png", "000002.png"]


def test_new_files_do_not_lie_among_old_ones(run, tmp_path):
    made(model=run, count=5, out=tmp_path / "many")
    Image.new("L", (8, 8)).save(tmp_path / "many" / "000007.png")
    made(model=run, count=3, out=tmp_path / "many", force=True)
    left = sorted(path.name for path in (tmp_path / "many").iterdir())
    with pytest.raises(UsageError, match="makes no classes on request"):
        made(model=run, count=1, out=tmp_path / "many", **{"class": "3"}, force=True)
    made(model=run, count=4, interpolate=2, out=tmp_path / "many", force=True)
    now = sorted(path.name for path in (tmp_path / "many").iterdir())
    assert now == [*left, "strip.png", "walk.gif"], "a refused wish and a walk take nothing away"
    assert left == ["000000.png", "000001.png", "000002.png", "000007.png"], "the last is somebody's own"


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


@pytest.mark.parametrize(("method", "more"), [("edm", {"levels": 2}), ("ddpm", {"levels": 2}), ("ddgan", {})])
def test_the_noise_of_diffusion_has_one_size(method, more, tmp_path):
    for _ in limner.train(method, data="digits", steps=1, batch=4, width=8, threads=1, out=tmp_path / "a", **more):
        pass
    for choices in ({}, {"interpolate": 2}):
        with pytest.raises(UsageError, match=f"is a model of {method}, which begins with noise of one size"):
            made(model=tmp_path / "a", count=2, truncation=0.7, **choices)
    with pytest.raises(UsageError, match="leave out --truncation"):
        limner.load(tmp_path / "a" / "model.safetensors").generate(1, truncation=0.7)
    made(model=tmp_path / "a", count=1)


def test_what_stands_there_is_not_overwritten(run, tmp_path):
    (tmp_path / "a.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists already"):
        made(model=run, out=tmp_path / "a.png")
    made(model=run, out=tmp_path / "a.png", force=True)


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "classes"
    for _ in limner.train("gan", data="digits", steps=3, batch=16, width=4, latent=6, threads=1, out=folder,
                          conditioning="projection"):  # fmt: skip
        pass
    return folder


def test_classes_come_in_turn_with_a_column_each(classes, tmp_path):
    made(model=classes, count=20, out=tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (10 * 8 + 11 * 2, 2 * 8 + 3 * 2)
    model = limner.load(classes / "model.safetensors")
    assert model.labels(12).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    each = model.generate(10, seed=5).array
    for number in (0, 7):
        assert (model.generate(10, seed=5, label=number).array[number] == each[number]).all()


def test_a_picture_says_which_class_it_was_asked_for(classes, tmp_path):
    made(model=classes, count=12, out=tmp_path / "many")
    assert [read_recipe(tmp_path / "many" / f"{i:06d}.png")["label"] for i in (0, 9, 11)] == ["0", "9", "1"]
    made(model=classes, count=20, out=tmp_path / "sheet.png")
    assert read_recipe(tmp_path / "sheet.png")["label"] == "each in turn"
    made(model=classes, count=2, out=tmp_path / "two", **{"class": "7"})
    assert read_recipe(tmp_path / "two" / "000001.png")["label"] == "7"


def test_a_class_by_number_or_name(classes, tmp_path):
    model = limner.load(classes / "model.safetensors")
    model.header["data"]["classes"] = [*"abcdefghij"]
    assert model.labels(2, 7).tolist() == model.labels(2, "7").tolist() == model.labels(2, "h").tolist() == [7, 7]
    for wrong in ("k", 10, "-1"):
        with pytest.raises(UsageError, match=f"has classes 0 to 9, not class {wrong}"):
            model.labels(1, wrong)


def test_a_number_that_no_class_is_called_is_not_taken_for_its_place(classes):
    model = limner.load(classes / "model.safetensors")
    model.header["data"]["classes"] = [str(i) for i in range(1, 11)]
    assert model.labels(1, 10).tolist() == [9] and model.labels(1, "1").tolist() == [0]
    for wrong in ("0", 11):
        with pytest.raises(UsageError, match=f"called by numbers, and none is called {wrong}") as error:
            model.labels(1, wrong)
        assert error.value.hint == "give one of 1, 2, 3, 4, 5, 6, 7, 8, 9, 10"
    model.header["data"]["classes"] = [f"{i:02}" for i in range(10)]
    assert model.labels(1, 7).tolist() == [7], "07 stands in the place 7"


def test_a_grid_of_classes_while_training(classes):
    with Image.open(classes / "grids" / "step-000003.png") as sheet:
        assert sheet.size == (10 * 8 + 11 * 2, 4 * 8 + 5 * 2)


def test_a_picture_is_projected(run, tmp_path):
    made(model=run, count=1, out=tmp_path / "own.png")
    events = made(model=run, project=tmp_path / "own.png", out=tmp_path / "both.png")
    done = events[-1].values
    with Image.open(tmp_path / "both.png") as both:
        assert both.size == (2 * 8 + 3 * 2, 8 + 2 * 2)
    assert read_recipe(tmp_path / "both.png")["settings"]["latent"] == 6
    assert 0 <= done["pixel_distance"] < 2 and len(done["latent"]) == 6 and done["features"] == "digits"


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"out": "a.jpg"}, r"samples are written as \.png, not \.jpg"),
        ({"count": 20_000, "out": "a.png"}, "do not fit on one sheet"),
        ({"class": "10"}, "makes no classes on request"),
        ({"project": "nowhere.png"}, "cannot read nowhere.png: no such file"),
        ({"project": "a.png", "count": 4}, "takes no --count"),
        ({"project": "a.png", "interpolate": 3}, "give one of them|begins with a picture"),
    ],
)
def test_wrong_wishes(run, choices, said):
    with pytest.raises(UsageError, match=said):
        made(model=run, **choices)


def test_many_points_are_one_picture(tmp_path):
    list(limner.train("gan", data="ring", steps=1, batch=16, width=4, threads=1, out=tmp_path / "a"))
    made(model=tmp_path / "a", count=20_000, out=tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (256 + 2 * 2, 256 + 2 * 2)
    with pytest.raises(UsageError, match="200,000 points do not fit on one picture") as error:
        made(model=tmp_path / "a", count=200_000, out=tmp_path / "b.png")
    assert error.value.hint == "ask for 100,000 at most"


def test_a_run_that_has_not_finished_says_how_to_finish_it(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.json").write_text("{}")
    with pytest.raises(UsageError, match="has not finished") as error:
        made(model=tmp_path / "run")
    assert error.value.hint == f"finish it with: limner train --resume {tmp_path / 'run'}"
    with pytest.raises(UsageError, match="no model"):
        made(model=tmp_path)


@pytest.mark.parametrize(("choices", "said", "hint"), [
    ({"interpolate": 3, "columns": 2}, "--columns is for a sheet, and a walk is one row", "leave out --columns"),
    ({"interpolate": 3, "count": 1}, "has two of them at least", "give --count 2 or more"),
    ({"columns": 2, "out": "many"}, "separate files have no rows", "leave out --columns"),
    ({"project": "x.png", "backend": "onnxruntime"}, "needs gradients, which onnxruntime", "leave out --backend"),
])  # fmt: skip
def test_choices_without_effect_are_refused(run, choices, said, hint):
    with pytest.raises(UsageError, match=said) as error:
        made(model=run, **choices)
    assert error.value.hint == hint


@pytest.mark.parametrize("label", ["12", "-1"])
def test_a_class_number_that_is_not_there_gets_no_other_number_for_an_answer(tmp_path, label):
    list(limner.train("gan", data="digits", steps=1, batch=16, width=4, threads=1, conditioning="concat",
                      out=tmp_path / "a"))  # fmt: skip
    with pytest.raises(UsageError, match="has classes 0 to 9") as error:
        made(model=tmp_path / "a", **{"class": label})
    assert error.value.hint == "give one of them"
