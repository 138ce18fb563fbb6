"""Settings refuse what is wrong with a sentence that names what was meant."""

from pathlib import Path

import pytest

from limner.core import catalog
from limner.core.config import Adam
from limner.core.errors import UsageError
from limner.core.signal import Signal
from limner.operations.train import Train


def said(error):
    return str(error.value)


def test_a_misspelt_setting_is_refused_with_the_nearest_name():
    Config = catalog.head("dcgan").Config
    with pytest.raises(UsageError) as error:
        Config.read({"widht": 3}, "run.toml")
    assert said(error) == "unknown setting 'widht' in run.toml\nhint: did you mean 'width'?"
    with pytest.raises(UsageError) as error:
        Config.read({"generator": {"bta1": 0.5}})
    assert said(error) == "unknown setting 'generator.bta1'\nhint: did you mean 'beta1'?"


def test_a_value_out_of_bounds_is_refused():
    with pytest.raises(UsageError) as error:
        Adam.read({"lr": -1})
    assert said(error).startswith("setting 'lr': should be greater than 0, not -1")


@pytest.mark.parametrize(("choice", "value", "says"), [
    ("steps", 2.5, "should be a whole number, not 2.5"), ("seed", None, "should be a whole number, not None"),
    ("measured", "perhaps", "should be true or false, not 'perhaps'"), ("out", 3, "should be a path, not 3"),
    ("data", 3, "should be text, not 3"), ("checkpoint_every", "x", "should be a whole number, not 'x'"),
])  # fmt: skip
def test_what_is_no_value_at_all_is_refused_in_plain_words(choice, value, says):
    with pytest.raises(UsageError) as error:
        Train.read({choice: value})
    assert said(error) == f"setting '{choice}': {says}\nhint: see --help for what it takes"


def test_a_path_may_stand_for_a_string():
    assert Train.read({"data": Path("some") / "pictures"}).data == str(Path("some/pictures"))
    assert Train.read({"out": Path("runs")}).out == Path("runs")


def test_an_unknown_method_names_the_nearest():
    with pytest.raises(UsageError) as error:
        catalog.head("dcgn")
    assert said(error) == "there is no method 'dcgn'\nhint: did you mean 'dcgan'?"


def test_a_variant_brings_its_rates_and_a_person_s_own_win():
    Config = catalog.head("dcgan").Config
    mnist = Config().settle(Signal(channels=1, size=(28, 28)))
    assert (mnist.variant, mnist.generator.lr, mnist.generator.eps) == ("mnist", 1e-4, 1e-7)
    paper = Config.read({"generator": {"lr": 0.01}}).settle(Signal(channels=3, size=(64, 64)))
    assert (paper.variant, paper.generator.lr, paper.generator.beta1) == ("paper", 0.01, 0.5)
    assert paper.discriminator.lr == 2e-4


def test_one_choice_of_a_player_leaves_its_method_s_others():
    Config = catalog.head("r3gan").Config
    given = Config.read({"generator": {"lr": 0.01}}).settle(Signal(channels=1, size=(8, 8)))
    assert given.generator == Config().generator.model_copy(update={"lr": 0.01})
    assert given.generator.beta1 == 0
    assert given.discriminator == Config().discriminator
    # What was not given does not stand in the way of what suits the data.
    points = catalog.head("pacgan").Config.read({"generator": {"lr": 0.01}}).settle(Signal(channels=2))
    assert (points.generator.lr, points.generator.beta1) == (0.01, 0.8)


@pytest.mark.parametrize("size", [(48, 48), (64, 32), (4, 4), (64,)])
def test_sizes_that_are_no_power_of_two_are_refused_where_it_matters(size):
    with pytest.raises(UsageError, match="needs square pictures with a power-of-two side of 8 px or more"):
        Signal(channels=3, size=size).picture_size("dcgan")
