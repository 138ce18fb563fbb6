"""Named streams."""

import numpy as np
import torch
from scipy.stats import norm

from limner.core.method import Luck
from limner.core.random import generator, normal_quantile, permutation, scattered, seed_torch, stream


def test_streams_depend_on_the_seed_and_every_part_of_the_name():
    seeds = {
        stream(1),
        stream(2),
        stream(1, "a"),
        stream(1, "b"),
        stream(1, "a", 0),
        stream(1, "a", 1),
        stream(1, "a1"),
    }
    assert len(seeds) == 7
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_stream_is_the_same_on_every_machine():
    """The first 8 bytes of SHA-256("42/noise/7"), as sha256sum prints them, without the last bit."""
    assert stream(42, "noise", 7) == int("3f27110dce3a4d69", 16) >> 1


def test_an_order_holds_each_thing_once():
    order = permutation(3, 1000, "order", 0)
    assert np.array_equal(np.sort(order), np.arange(1000))
    assert not np.array_equal(order, permutation(3, 1000, "order", 1))


def test_parts_of_a_batch_take_their_rows_of_the_joined_noise():
    whole = Luck(1, "noise", 4)
    halves = [Luck(1, "noise", 4, part=i, parts=2) for i in range(2)]
    for shape in ((3,), (2, 2)):
        assert torch.equal(whole.normal(8, *shape), torch.cat([half.normal(4, *shape) for half in halves]))


def test_torch_s_own_generator_is_left_alone():
    before = torch.get_rng_state()
    torch.randn(3, generator=generator(1, "x"))
    assert torch.equal(before, torch.get_rng_state())


def test_scattered_rows_depend_on_their_index_alone_and_are_uniform():
    from scipy.stats import kstest

    rows = scattered(1, np.arange(200), 500, "x")
    assert rows.dtype == np.float32 and rows.min() >= 0 and rows.max() < 1
    np.testing.assert_array_equal(scattered(1, np.array([7, 3]), 500, "x"), rows[[7, 3]])
    assert not np.array_equal(scattered(1, np.arange(200), 500, "y"), rows)
    assert kstest(rows.ravel(), "uniform").pvalue > 1e-3
    for a, b in ((rows[:, :-1], rows[:, 1:]), (rows[:-1], rows[1:])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / len(a.ravel()) ** 0.5


def test_normal_quantiles_are_scipy_s():
    u = torch.linspace(0.001, 0.999, 101, dtype=torch.float64)
    np.testing.assert_allclose(normal_quantile(u).numpy(), norm.ppf(u.numpy()), rtol=1e-9, atol=1e-12)
    assert torch.isfinite(normal_quantile(torch.tensor([0.0, 1.0 - 2**-24]))).all()


def test_seeding_a_device_sets_what_torch_would_set_there_and_nothing_else(monkeypatch):
    torch.manual_seed(stream(1, "x"))
    wanted = torch.randn(100)

    def never(*_):
        raise AssertionError("a device was seeded that nobody works on")

    for other in (torch.cuda, torch.xpu, torch.mtia):
        monkeypatch.setattr(other, "manual_seed_all", never)
    seed_torch(stream(1, "x"), torch.device("cpu"))
    assert torch.equal(torch.randn(100), wanted)
