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
