"""What the command line can do, Python can do in the same words."""

import inspect

import pytest

import limner
from limner.cli.main import COMMANDS
from limner.core.errors import UsageError
from limner.core.events import Finished

QUESTIONS = {"list", "show"}  # They answer in text.


def test_every_operation_is_a_function():
    assert set(COMMANDS) - QUESTIONS <= set(limner.__all__)
    assert all(inspect.getdoc(getattr(limner, name)) for name in limner.__all__ if name != "__version__")


def test_a_run_from_beginning_to_end(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for seed, run in enumerate((one, other)):
        *_, trained = limner.train("gan", data="digits", steps=20, width=8, batch=16, threads=1, seed=seed, out=run)
        assert isinstance(trained, Finished)
    *_, made = limner.sample(one, count=4, out=tmp_path / "four.png")
    assert made.what == "sample" and (tmp_path / "four.png").is_file()
    *_, measured = limner.evaluate(one, samples=60, features="tiny", metrics=["fd"])
    assert list(measured.values["figures"]) == ["FD-tiny"]
    *_, looked = limner.doctor(one)
    assert looked.values["verdict"] == "too little training"
    *_, both = limner.compare(one, other, out=tmp_path / "both.html")
    assert list(both.values["differ"]) == ["seed"] and (tmp_path / "both.html").is_file()


def test_a_pack(tmp_path):
    *_, packed = limner.prepare("digits", size=4, out=tmp_path / "pack")
    assert packed.what == "prepare"
    *_, measured = limner.evaluate(tmp_path / "pack", "digits", size=4, features="tiny", metrics=["fd"],
                                   samples=50, out=tmp_path / "page")  # fmt: skip
    assert measured.values["figures"]["FD-tiny"] >= 0


def test_a_misspelt_choice_is_refused():
    with pytest.raises(UsageError, match="unknown setting 'sampels'") as caught:
        next(limner.evaluate("runs/x", sampels=3))
    assert "samples" in caught.value.hint


@pytest.mark.parametrize(("ask", "says"), [
    (lambda: limner.train(3), "there is no method '3'"),
    (lambda: limner.train("gan", data="ring", generator=3), "setting 'generator': should be settings by name, not 3"),
    (lambda: limner.evaluate(None), "setting 'what.0': should be text, not None"),
    (lambda: limner.evaluate(), "setting 'what' takes at least 1 value, and got 0"),
    (lambda: limner.prepare(None), "setting 'source': should be text, not None"),
    (lambda: limner.ensemble(), "setting 'models' takes at least 1 value, and got 0"),
    (lambda: limner.doctor(None), "setting 'run': should be a path, not None"),
])  # fmt: skip
def test_what_is_no_value_is_refused_in_a_sentence(ask, says):
    with pytest.raises(UsageError, match=says):
        next(ask())


def test_several_may_come_as_one_list(tmp_path):
    runs = [tmp_path / "a", tmp_path / "b"]
    for seed, run in enumerate(runs):
        list(limner.train("gan", data="digits", steps=2, width=4, batch=16, threads=1, seed=seed, out=run))
    list(limner.compare(runs, out=tmp_path / "page.html"))
    list(limner.ensemble(runs, out=tmp_path / "both"))
    assert (tmp_path / "page.html").is_file() and (tmp_path / "both" / "model.safetensors").is_file()


def test_a_device_that_is_not_there_is_named(tmp_path):
    list(limner.train("gan", data="digits", steps=1, width=4, batch=16, threads=1, out=tmp_path / "a"))
    with pytest.raises(UsageError, match="cannot be moved to nonsense"):
        limner.load(tmp_path / "a" / "model.safetensors").to("nonsense")
