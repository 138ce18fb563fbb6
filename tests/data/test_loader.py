import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.core.errors import UsageError
from limner.core.random import permutation
from limner.data.loader import batch_indices


@given(st.integers(0, 3), st.integers(1, 40), st.data())
def test_batches_are_the_epochs_cut_in_pieces(seed, count, data):
    batch = data.draw(st.integers(1, count))
    epochs = [permutation(seed, count, "order", epoch) for epoch in range(4)]
    steps = 4 * count // batch
    pieces = [batch_indices(seed, step, batch, count) for step in range(steps)]
    assert all(len(piece) == batch for piece in pieces)
    assert np.concatenate(pieces).tolist() == np.concatenate(epochs)[: steps * batch].tolist()


def test_any_step_alone_is_the_same_as_in_its_row():
    row = [batch_indices(7, step, 6, 20) for step in range(12)]
    for step in (11, 0, 3, 10, 2):
        assert batch_indices(7, step, 6, 20).tolist() == row[step].tolist()


def test_every_sample_comes_once_an_epoch():
    seen = np.concatenate([batch_indices(0, step, 10, 50) for step in range(5)])
    assert sorted(seen) == list(range(50))


def test_epochs_and_seeds_have_orders_of_their_own():
    first, second = batch_indices(0, 0, 50, 50), batch_indices(0, 1, 50, 50)
    assert (first != second).any() and (first != batch_indices(1, 0, 50, 50)).any()


def test_changing_a_batch_does_not_change_the_order():
    try:
        batch_indices(3, 0, 5, 9)[:] = 0
    except ValueError:
        pass
    assert batch_indices(3, 0, 9, 9).tolist() == permutation(3, 9, "order", 0).tolist()


def test_a_batch_larger_than_the_data_set_is_refused():
    with pytest.raises(UsageError) as error:
        batch_indices(0, 0, 128, 40)
    assert str(error.value) == "a batch of 128 is larger than the data set of 40\nhint: give --batch 40"
