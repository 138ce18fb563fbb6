"""Ensembles against their members, and rejection against densities that are known."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from limner.core.config import TrainingConfig
from limner.core.signal import Signal
from limner.models.ensemble import Ensemble, EnsembleConfig, Member, Rejection, rejection
from limner.models.model import build, load, save_model
from limner.tasks.generate import Generate

SIGNAL = Signal(channels=2)


class Known(Generate):
    """Makes normal points of a known width; its judge knows the odds of being real when those are standard normal."""

    def __init__(self, std=2.0, at=0.0, latent=2):
        super().__init__(TrainingConfig(), SIGNAL)
        self.std, self.at, self.latent = std, at, latent
        self.weight = nn.Parameter(torch.zeros(1))

    def step(self, batch):
        raise NotImplementedError

    def generate(self, z, label=None):
        return z[:, :2] * self.std + self.at

    def judge(self, x, label=None):
        # log p(x) − log q(x) of two normal densities in the plane
        return -(x**2).sum(1) / 2 + (x**2).sum(1) / (2 * self.std**2) + 2 * np.log(self.std)


def joined(members, weights, rules=None, tries=1):
    rules = rules or [None] * len(members)
    config = EnsembleConfig(
        members=tuple(
            Member(method="known", config={}, sha256=str(i), weight=weight, rejection=rule)
            for i, (weight, rule) in enumerate(zip(weights, rules, strict=True))
        ),
        tries=tries,
    )
    return Ensemble(config, SIGNAL, members)


def test_each_member_makes_its_share_whatever_the_truncation():
    made = joined([Known(0.01, at) for at in (0.0, 5.0, 9.0)], [0.5, 0.2, 0.3])
    for scale in (1.0, 0.1):
        z = torch.randn(20_000, made.latent, generator=torch.Generator().manual_seed(1)) * scale
        places = made.draw(z)[:, 0]  # pictures end at 1, so members are told apart by what was picked
        picked = made.picked(z[:, :2])
        shares = [(picked == i).double().mean().item() for i in range(3)]
        assert shares == pytest.approx([0.5, 0.2, 0.3], abs=0.02)
        assert len(places) == 20_000
        assert torch.allclose(made.generate(z)[picked == 1].mean(), torch.tensor(5.0), atol=0.01)


def test_a_sample_is_its_member_s_own():
    members = [Known(1.0, latent=2), Known(3.0, latent=5)]
    made = joined(members, [0.5, 0.5])
    z = torch.randn(30, made.latent)
    picked = made.picked(z[:, :2])
    expected = torch.stack([members[p].generate(row[None, 4:])[0] for p, row in zip(picked, z, strict=True)])
    assert torch.equal(made.generate(z), expected)
    assert made.judge(z[:, :2]) is None


def normal(count, std, seed):
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * std


def test_rejection_of_a_perfect_judge_gives_the_real_distribution():
    """q is normal with std 2, p with 1. Without γ and the ε, accepted samples are p exactly: their std is 1."""
    member = Known(2.0)
    rule = Rejection(scale=1.0, offset=0.0, top=2 * np.log(2.0), shift=0.0)
    x = normal(40_000, 2.0, 1)
    chance = rule.chance(member.judge(x))
    density_ratio = torch.exp(member.judge(x)) / 4  # p/q over its maximum
    torch.testing.assert_close(chance, density_ratio, atol=1e-5, rtol=0)
    made = joined([member], [1.0], [rule], tries=30)
    z = torch.randn(20_000, made.latent, generator=torch.Generator().manual_seed(2))
    found = made.generate(z)
    assert found.std().item() == pytest.approx(1.0, abs=0.02)
    assert made.judge(x) is not None


def test_where_all_are_turned_down_the_likeliest_is_taken():
    member = Known(2.0)
    rule = Rejection(scale=1.0, offset=0.0, top=50.0, shift=0.0)
    made = joined([member], [1.0], [rule], tries=5)
    z = torch.randn(50, made.latent)
    tries = z[:, 2:].view(50, 5, 4)[:, :, 2:] * 2.0
    nearest = tries.norm(dim=2).argmin(1)
    torch.testing.assert_close(made.generate(z), tries[torch.arange(50), nearest])


def test_scores_are_calibrated_as_by_logistic_regression():
    """A judge whose scores are 3 · log-odds + 7 is set right."""
    member = Known(2.0)
    real, fake = (3 * member.judge(x) + 7 for x in (normal(6000, 1.0, 3), normal(6000, 2.0, 4)))
    rule = rejection(real, fake)
    assert rule.scale == pytest.approx(1 / 3, rel=0.06)
    assert rule.offset == pytest.approx(-7 / 3, rel=0.06)
    score = torch.cat([real, fake])[:, None].numpy()
    oracle = LogisticRegression(C=1e6).fit(score, np.repeat([1, 0], 6000))
    assert rule.scale == pytest.approx(float(oracle.coef_[0, 0]), rel=0.01)
    assert rule.offset == pytest.approx(float(oracle.intercept_[0]), rel=0.01)
    assert (rule.chance(fake) >= 0.5).double().mean().item() == pytest.approx(0.2, abs=0.001)


def test_scores_that_tell_nothing_or_all_are_borne():
    same = torch.zeros(100)
    assert rejection(same, same).scale == 0.0
    assert (rejection(same, same).chance(same) == 0.5).all()
    apart = rejection(torch.full((100,), 5.0), torch.full((100,), -5.0) + torch.linspace(-1, 1, 100))
    assert np.isfinite(apart.shift) and 0 < apart.scale < 100


def test_it_is_one_file_that_loads_to_the_same_samples(tmp_path):
    signal = Signal(channels=1, size=(8, 8))
    settings = [("gan", {"width": 4, "latent": 5}), ("dcgan", {"variant": "paper", "width": 4, "latent": 7})]
    members = [build(name, config, signal) for name, config in settings]
    rule = Rejection(scale=1.0, offset=0.1, top=2.0, shift=-1.0)
    config = EnsembleConfig(
        members=tuple(
            Member(method=name, config=config, sha256="0" * 64, weight=weight, rejection=rule)
            for (name, config), weight in zip(settings, (0.25, 0.75), strict=True)
        ),
        tries=3,
    )
    made = Ensemble(config, signal, members)
    facts = {"data": {}, "training": {}, "card": ""}
    save_model(tmp_path / "a.safetensors", made, "ensemble", facts)
    loaded = load(tmp_path / "a.safetensors")
    z = torch.randn(20, made.latent)
    assert torch.equal(made.draw(z), loaded.method.draw(z))
    torch.testing.assert_close(made.draw(z), loaded.method.draw(z, batch=3), atol=1e-5, rtol=0)
    save_model(tmp_path / "b.safetensors", loaded.method, "ensemble", facts)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_members_that_know_classes_and_such_that_do_not_may_be_joined():
    class Conditional(Known):
        conditional = True

        def generate(self, z, label=None):
            return z[:, :2] * 0 + label[:, None].float()

    made = joined([Known(0.0, 0.5), Conditional()], [0.5, 0.5])
    z = torch.randn(40, made.latent, generator=torch.Generator().manual_seed(1))
    points = made.generate(z, torch.ones(40, dtype=torch.int64))
    assert made.conditional and set(points[:, 0].tolist()) == {0.5, 1.0}
