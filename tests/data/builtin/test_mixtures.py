import numpy as np
import pytest

from limner.core.signal import Signal
from limner.data.builtin.mixtures import GRID, RING
from limner.data.sources import open_data


@pytest.mark.parametrize(("name", "mixture", "modes"), [("ring", RING, 8), ("grid", GRID, 25)])
def test_points_lie_around_their_modes(name, mixture, modes, drain):
    _, dataset = drain(open_data(name))
    assert len(dataset) == 100_000 and dataset.signal == Signal(channels=2, classes=modes, scale=mixture.scale)
    assert dataset.samples.dtype == np.float32 and np.abs(dataset.samples).max() <= 1
    assert dataset.manifest.scale == mixture.scale
    offset = dataset.samples * mixture.scale - np.array(mixture.centres)[dataset.labels]
    np.testing.assert_allclose(offset.std(axis=0), mixture.std, rtol=0.02)
    np.testing.assert_allclose(offset.mean(axis=0), 0, atol=4 * mixture.std / 100_000**0.5)
    assert np.bincount(dataset.labels).min() > 0.95 * 100_000 / modes


def test_centres_are_those_of_the_protocol():
    np.testing.assert_allclose(np.hypot(*np.array(RING.centres).T), 1)
    assert RING.std == 0.01 and GRID.std == 0.05
    assert sorted(set(np.array(GRID.centres).ravel())) == [-4, -2, 0, 2, 4]


def test_perfect_samples_score_as_the_circle_rule_says(drain):
    """Within 3 std of the mode lie 1 - exp(-9/2) = 98.89 % of a normal distribution in the plane."""
    _, dataset = drain(open_data("ring"))
    away = np.hypot(*(dataset.samples * RING.scale - np.array(RING.centres)[dataset.labels]).T)
    assert abs((away < 3 * RING.std).mean() - (1 - np.exp(-4.5))) < 0.001


def test_two_openings_are_the_same_and_test_is_another_draw(drain):
    first, second = drain(open_data("grid"))[1], drain(open_data("grid"))[1]
    test = drain(open_data("grid", split="test"))[1]
    assert (first.samples == second.samples).all() and first.manifest == second.manifest
    assert len(test) == 10_000 and (test.samples != first.samples[:10_000]).all(axis=1).mean() > 0.99
