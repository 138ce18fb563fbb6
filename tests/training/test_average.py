"""The moving average against its closed form."""

import pytest
import torch
from toys import Duel

from limner.training.average import Average


def test_it_halves_the_distance_in_a_half_life():
    method = Duel(together=True, w=0.0)
    average = Average(method, 100.0)
    method.a.w.data.fill_(1.0)
    for seen in range(10_010, 10_110, 10):
        average.update(method, seen, 10)
    assert average.networks["a"].w.item() == pytest.approx(0.5, abs=1e-6)


def test_early_on_the_half_life_is_a_share_of_what_was_seen():
    method = Duel(together=True, w=0.0)
    average = Average(method, 1e9)
    method.a.w.data.fill_(1.0)
    average.update(method, seen=200, new=10)
    assert average.networks["a"].w.item() == pytest.approx(1 - 0.5 ** (10 / (200 * 0.05)))


def test_without_a_half_life_it_keeps_the_last_weights():
    method = Duel(together=True, w=3.0)
    average = Average(method, 0.0)
    method.a.w.data.fill_(-1.0)
    average.update(method, 10, 10)
    assert average.networks["a"].w.item() == -1.0


def test_applied_puts_it_in_place_and_takes_it_back():
    method = Duel(together=True, w=3.0).train()
    average = Average(method, 100.0)
    method.a.w.data.fill_(5.0)
    with average.applied(method):
        assert method.a(torch.ones(1)).item() == 3.0
        assert not method.training
    assert method.a(torch.ones(1)).item() == 5.0
    assert method.training
