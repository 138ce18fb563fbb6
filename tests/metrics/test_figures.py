from dataclasses import replace

import numpy as np
import pytest
import torch

from limner.data.cache import finish
from limner.data.sources import open_data
from limner.features import load
from limner.metrics import figures as module
from limner.metrics.figures import GROUPS, KINDS, Cloud, energy_distance, figures, quick, real_pictures, suited


@pytest.fixture(scope="module")
def data():
    return finish(open_data("digits"))


@pytest.fixture(scope="module")
def eye():
    return load("tiny")


def cloud(eye, pictures, batch):
    made = Cloud(eye)
    for part in pictures.split(batch):
        made.update(part)
    return made


def test_batches_of_any_size_give_the_same_cloud(data, eye):
    pictures = torch.cat(list(real_pictures(data, 300)))
    a, b = cloud(eye, pictures, 300), cloud(eye, pictures, 7)
    assert torch.allclose(a.moments.covariance, b.moments.covariance) and a.moments.count == 300
    assert torch.allclose(a.kept.rows, b.kept.rows, atol=1e-5) and torch.equal(a.counts, b.counts)


def test_a_cloud_beside_itself(data, eye):
    a = cloud(eye, torch.cat(list(real_pictures(data, 600))), 64)
    found = {figure.kind: figure for figure in figures(a, a, named=True)}
    assert found["fd"].value == pytest.approx(0, abs=1e-6) and found["fd"].name == "FD-tiny"
    assert found["coverage"].value == found["precision"].value == 1
    assert found["class_kl"].value == 0
    of_stacked_digits = {"modes", "mode_kl"}
    assert set(found) == {kind for group in GROUPS.values() for kind in group} - of_stacked_digits
    assert set(found) <= set(KINDS)


def test_the_jackknife_knows_the_spread(eye):
    """The range of one set of samples is as wide as the figures of many sets are apart."""
    luck = torch.Generator().manual_seed(0)

    def drawn(count):
        return cloud(eye, torch.rand(count, 1, 16, 16, generator=luck) * 2 - 1, 500)

    reference = drawn(2000)
    found = [next(figures(drawn(400), reference, ("fd",))) for _ in range(12)]
    apart = float(np.std([figure.value for figure in found], ddof=1))
    said = float(np.mean([(figure.high - figure.value) / 1.96 for figure in found]))
    assert apart / 2 < said < apart * 3


def test_too_few_samples_leave_figures_out(data, eye):
    a = cloud(eye, torch.cat(list(real_pictures(data, 4))), 4)
    assert [figure.kind for figure in figures(a, a)] == ["fd", "vendi"]


def test_an_inception_score_needs_many_samples_a_part(data, eye):
    """Of 20 samples in ten parts it could be at most 2, however varied they are."""
    a = cloud(eye, torch.cat(list(real_pictures(data, 400))), 64)
    assert "is" not in [figure.kind for figure in figures(a, a)]


def test_as_many_samples_as_reals_are_compared_each_with_each(data, eye):
    """Twenty times as many samples would reach more of the reals, however bad they are."""
    real = cloud(eye, torch.cat(list(real_pictures(data, 60))), 64)
    many = cloud(eye, torch.rand(1200, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1, 64)

    def of(most):
        return {figure.kind: figure.value for figure in figures(many, real, ("prdc", "vendi"), most=most)}

    few = cloud(eye, torch.zeros(0, 1, 8, 8), 1)
    few.kept.update(many.rows(60))
    expected = {figure.kind: figure.value for figure in figures(few, real, ("prdc", "vendi"))}
    assert of(5000) == of(60) == pytest.approx(expected)
    assert of(40) != of(60)


def test_quick_sees_the_reference_once(data, eye, monkeypatch):
    passes = []

    def watched(*arguments, **more):
        passes.append(1)
        yield from real_pictures(*arguments, **more)

    monkeypatch.setattr(module, "real_pictures", watched)
    monkeypatch.setattr(module, "_references", {})
    runs = [quick(lambda n: real_pictures(data, n, seed=1), data, eye, 600) for _ in range(3)]
    assert len(passes) == 1 and runs[0] == runs[1]
    assert list(runs[0]) == ["FD-tiny", "IS-tiny", "coverage"]


@pytest.mark.parametrize(("name", "device", "slow"), [
    ("efficientnet", "cpu", True), ("inception", "cpu", True), ("digits", "cpu", False),
    ("efficientnet", "meta", False),
])  # fmt: skip
def test_a_large_network_without_a_gpu_is_slow(name, device, slow):
    network = torch.nn.Linear(1, 1, device=device)
    network.name = name
    assert module.slow(network) is slow


@pytest.mark.parametrize(("slow", "few", "asked"), [
    (False, 93, 2_000), (True, 1_797, 1_000), (True, 700, 700), (True, 93, 500),
])  # fmt: skip
def test_a_slow_network_is_shown_no_more_than_it_needs(data, eye, monkeypatch, slow, few, asked):
    monkeypatch.setattr(module, "slow", lambda features: slow)
    monkeypatch.setattr(module, "_references", {})
    some, seen = replace(data, rows=np.arange(few)), []

    def draw(samples):
        seen.append(samples)
        return real_pictures(data, 60)

    quick(draw, some, eye)
    assert seen == [asked]


def test_parts_of_a_set_have_references_of_their_own(data, eye):
    halves = [replace(data, rows=np.arange(start, len(data), 2)) for start in (0, 1)]
    for half in halves:
        found = quick(lambda n, half=half: real_pictures(half, n), half, eye, 150)
        assert found["FD-tiny"] == pytest.approx(0, abs=1e-3)


def test_quick_counts_the_modes_of_points():
    ring, unseen = finish(open_data("ring")), finish(open_data("ring", split="test"))
    found = quick(lambda n: real_pictures(unseen, n), ring, None, 1000)
    assert list(found) == ["energy distance", "high quality", "modes captured", "reverse KL"]
    assert found["modes captured"] == 8 and found["energy distance"] < 0.1
    nothing = quick(lambda n: [torch.zeros(n, 2)], ring, None, 1000)
    assert nothing["energy distance"] > 0.5 and nothing["modes captured"] == 0 and "reverse KL" not in nothing


def test_energy_distance_of_two_points():
    """√(2·3 − 0 − 0)"""
    assert energy_distance(torch.zeros(4, 2), torch.tensor([[3.0, 0.0]])) == pytest.approx(6**0.5)


def test_digits_have_an_eye_of_their_own(data):
    assert suited(data.manifest) == "digits"
    assert suited(data.manifest.model_copy(update={"name": "cats"})) == "efficientnet"
    named_so = data.manifest.model_copy(update={"name": "mnist", "classes": ("eight", "five")})
    assert suited(named_so) == "efficientnet", "a folder of one's own, whose classes are in an order of their own"
