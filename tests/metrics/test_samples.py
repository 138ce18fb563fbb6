"""Inception Score, PRDC, Vendi, birthday, reservoir and neighbours: closed forms and independent libraries."""

import math

import numpy as np
import pytest
import scipy.spatial
import scipy.stats
import torch
from torch import Tensor, nn

from limner.metrics.birthday import birthday, poisson_interval, twin_distance
from limner.metrics.inception_score import InceptionScore, inception_score
from limner.metrics.interval import bootstrap
from limner.metrics.neighbours import nearest
from limner.metrics.prdc import coverage, prdc
from limner.metrics.reservoir import Reservoir
from limner.metrics.vendi import vendi_score


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Eye(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def test_inception_score_of_clear_and_varied_samples() -> None:
    logits = 100.0 * torch.eye(10).repeat(20, 1)
    assert inception_score(logits, splits=1).mean == pytest.approx(10)
    # Part i mod 10 holds one class alone, where nothing is varied.
    assert inception_score(logits, splits=10).mean == pytest.approx(1)
    assert inception_score(torch.zeros(50, 10)).mean == pytest.approx(1)


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore` will save:UserWarning")
@pytest.mark.filterwarnings("ignore:std:UserWarning")  # theirs takes the deviation of one part
def test_inception_score_equals_torchmetrics() -> None:
    from torchmetrics.image.inception import InceptionScore as Theirs

    logits = 2 * normal(500, 7)
    theirs = Theirs(feature=Eye(), splits=1)
    theirs.update(logits)
    assert inception_score(logits, splits=1).mean == pytest.approx(float(theirs.compute()[0]), rel=1e-5)


def test_inception_score_in_batches_and_parts_equals_one_pass() -> None:
    logits = 2 * normal(103, 5)
    whole, batched, first, second = (InceptionScore(5, splits=4) for _ in range(4))
    whole.update(logits)
    for part in logits.split(9):
        batched.update(part)
    first.update(logits[:33])
    second.update(logits[33:])
    first.merge(second)
    for other in (batched.compute(), first.compute()):
        assert other.mean == pytest.approx(whole.compute().mean, rel=1e-12)
        assert other.std == pytest.approx(whole.compute().std, rel=1e-9)


def test_inception_score_needs_a_sample_a_part() -> None:
    with pytest.raises(ValueError, match="10 splits"):
        inception_score(torch.zeros(3, 10))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_prdc_equals_the_authors() -> None:
    from prdc import compute_prdc

    real, fake = normal(300, 16), 0.8 * normal(250, 16, seed=1) + 0.3
    theirs = compute_prdc(real.double().numpy(), fake.double().numpy(), nearest_k=5)
    ours = prdc(real, fake, k=5)
    for name, value in theirs.items():
        interval = getattr(ours, name)
        assert interval.value == pytest.approx(value, abs=1e-12)
        assert interval.low <= interval.value <= interval.high


def test_prdc_s_ranges_are_as_wide_as_figures_of_other_fakes_are_apart() -> None:
    """Bootstrapping the reals would tell .015 of a coverage that varies by .023 here: every fourth range would miss."""
    real = normal(800, 6)
    found = [prdc(real, 1.5 * normal(800, 6, seed=seed)) for seed in range(1, 25)]
    for kind in ("precision", "density", "coverage"):
        values = np.array([getattr(one, kind).value for one in found])
        ranges = np.array([(getattr(one, kind).low, getattr(one, kind).high) for one in found])
        said = (ranges[:, 1] - ranges[:, 0]).mean() / 2 / 1.96
        assert 0.75 < said / values.std(ddof=1) < 1.5
        assert ((ranges[:, 0] <= values.mean()) & (values.mean() <= ranges[:, 1])).mean() > 0.8


def test_prdc_does_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = normal(120, 6), normal(90, 6, seed=1)
    whole = prdc(real, fake, k=3)
    monkeypatch.setattr("limner.metrics.prdc.ROWS", 17)
    monkeypatch.setattr("limner.metrics.prdc.COLUMNS", 13)
    monkeypatch.setattr("limner.metrics.neighbours.ROWS", 19)
    monkeypatch.setattr("limner.metrics.neighbours.COLUMNS", 11)
    assert prdc(real, fake, k=3) == whole


def test_prdc_of_equal_and_of_distant_sets() -> None:
    x = normal(100, 4)
    same = prdc(x, x)
    assert (same.precision.value, same.recall.value, same.coverage.value) == (1, 1, 1)
    apart = prdc(x, x + 100)
    assert (apart.precision.value, apart.recall.value, apart.density.value, apart.coverage.value) == (0, 0, 0, 0)


def test_one_fake_repeated_is_precise_and_covers_little() -> None:
    real = normal(200, 4)
    one = prdc(real, real[:1].repeat(50, 1) + 1e-3 * normal(50, 4, seed=1))
    assert one.precision.value == 1
    assert one.coverage.value < 0.3


def test_neighbours_equal_brute_force() -> None:
    query, base = normal(40, 9), normal(70, 9, seed=1)
    table = scipy.spatial.distance.cdist(query.double().numpy(), base.double().numpy())
    distance, index = nearest(query, base, k=3)
    np.testing.assert_allclose(distance.numpy(), np.sort(table, 1)[:, :3], rtol=1e-12)
    np.testing.assert_array_equal(index.numpy(), np.argsort(table, 1)[:, :3])
    distance, index = nearest(base, base, same=True)
    assert (index[:, 0] != torch.arange(70)).all()
    assert (distance > 0).all()
    with pytest.raises(ValueError, match="neighbours"):
        nearest(query, base[:2], k=3)


def test_vendi_counts_different_samples() -> None:
    assert vendi_score(torch.eye(12)) == pytest.approx(12)
    assert vendi_score(torch.ones(30, 4)) == pytest.approx(1)
    assert vendi_score(torch.eye(4).repeat(25, 1)) == pytest.approx(4)
    # Fewer samples than dimensions, through the other matrix; and against the definition.
    x = normal(20, 50)
    unit = (x / x.norm(dim=1, keepdim=True)).double().numpy()
    entropy = scipy.stats.entropy(np.linalg.eigvalsh(unit @ unit.T / 20).clip(0))
    assert vendi_score(x) == pytest.approx(math.exp(entropy), rel=1e-6)
    assert vendi_score(x.repeat(4, 1)) == pytest.approx(vendi_score(x), rel=1e-9)


def test_birthday_finds_the_support() -> None:
    pictures = normal(3000, 1, 4, 4)
    drawn = pictures[torch.randint(0, 3000, (600,), generator=torch.Generator().manual_seed(1))]
    found = birthday(drawn, 0.0)
    assert found.twins > 0
    assert found.support.low < 3000 < found.support.high
    distinct = birthday(pictures[:100], 0.0)
    assert distinct.twins == 0
    assert distinct.support.value == math.inf
    assert distinct.support.low == pytest.approx(100 * 99 / 2 / 3.6889, rel=1e-4)
    assert birthday(pictures[:1].repeat(10, 1, 1, 1), 0.0).twins == 45


def test_twin_distance_is_rare_among_real_images() -> None:
    real = normal(500, 8)
    share = (nearest(real, real, same=True)[0] <= twin_distance(real, 0.01)).double().mean()
    assert 0 < share <= 0.02


@pytest.mark.parametrize("count", [0, 1, 7, 200])
def test_poisson_interval_equals_scipy(count: int) -> None:
    low, high = poisson_interval(count)
    assert low == pytest.approx(scipy.stats.chi2.ppf(0.025, 2 * count) / 2 if count else 0, rel=1e-8)
    assert high == pytest.approx(scipy.stats.chi2.ppf(0.975, 2 * count + 2) / 2, rel=1e-8)


def test_bootstrap_holds_the_normal_interval() -> None:
    values = normal(1000)
    interval = bootstrap(values)
    half = 1.96 * values.std().item() / 1000**0.5
    assert interval.value == pytest.approx(values.mean().item(), abs=1e-6)
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.1)
    assert bootstrap(values, seed=3) == bootstrap(values, seed=3)


def test_reservoir_is_fair_and_does_not_depend_on_the_batch() -> None:
    rows = torch.arange(1000)[:, None]
    kept = []
    for batch in (1, 64, 1000):
        reservoir = Reservoir(100, 5)
        for part in rows.split(batch):
            reservoir.update(part)
        assert reservoir.seen == 1000
        kept.append(reservoir.rows)
    assert torch.equal(kept[0], kept[1])
    assert torch.equal(kept[0], kept[2])
    assert len(kept[0].unique()) == 100
    assert abs(kept[0].double().mean() - 499.5) < 4 * 1000 / 12**0.5 / 10
    small = Reservoir(10)
    small.update(rows[:4])
    assert torch.equal(small.rows, rows[:4])


def test_reservoirs_merge_into_a_fair_sample() -> None:
    means = []
    for seed in range(60):
        first, second = Reservoir(30, seed, "first"), Reservoir(30, seed, "second")
        first.update(torch.zeros(300, 1))
        second.update(torch.ones(100, 1))
        first.merge(second)
        assert first.seen == 400
        assert len(first.rows) == 30
        means.append(first.rows.mean().item())
    assert np.mean(means) == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 30 / 60))


def test_coverage_alone_is_that_of_all_four():
    luck = torch.Generator().manual_seed(0)
    real, fake = torch.randn(200, 6, generator=luck), 0.7 * torch.randn(150, 6, generator=luck)
    assert 0.5 < coverage(real, fake) == prdc(real, fake).coverage.value < 1
    assert coverage(real, real + 1e-6) == 1
    assert coverage(real, fake + 100) == 0
