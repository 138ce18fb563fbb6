import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from limner.core.errors import DataError, UsageError
from limner.data.sources import open_data


def test_digits_are_those_of_scikit_learn(drain):
    _, dataset = drain(open_data("digits"))
    values, labels = load_digits(return_X_y=True)
    assert dataset.samples.shape == (1797, 1, 8, 8) and (dataset.labels == labels).all()
    np.testing.assert_allclose(dataset.samples.reshape(1797, 64), values * 255 / 16, atol=0.5)


def test_without_scikit_learn_one_line_says_how_to_get_it(monkeypatch, drain):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(DataError) as error:
        drain(open_data("digits"))
    assert str(error.value) == (
        "the set 'digits' comes with scikit-learn, which is not installed\nhint: pip install scikit-learn"
    )


def test_there_is_no_test_part(drain):
    with pytest.raises(UsageError) as error:
        drain(open_data("digits", split="test"))
    assert str(error.value) == "'digits' has no test part\nhint: there are: train"
