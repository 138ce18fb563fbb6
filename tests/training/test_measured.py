"""Measured real pictures and fakes around any GAN, and a generator that is clean when training is over."""

import numpy as np
import pytest
import torch
from toys import ALONE

import limner
from limner.core.errors import UsageError
from limner.core.method import Luck
from limner.core.random import scattered
from limner.core.signal import Signal
from limner.core.tensorfile import read_tensors
from limner.data.cache import finish
from limner.data.pack import building, write_pack
from limner.data.sources import open_data
from limner.models.model import build
from limner.tasks.generate import Generate
from limner.training.average import Average
from limner.training.learner import Learner
from limner.training.measured import Measured

SIGNAL = Signal(channels=1, size=(8, 8))


def method():
    torch.manual_seed(0)
    return build("gan", {"width": 4, "latent": 5}, SIGNAL)


def test_fakes_are_measured_in_training_only():
    made = method()
    Measured(made, "block-pixels:0.5", True, 1)
    made.luck, z = Luck(3), torch.randn(40, 5)
    clean = made.eval().generate(z)
    seen = made.train().generate(z)
    blocked = seen == -1
    assert 0.45 < blocked.double().mean() < 0.55
    assert torch.equal(seen[~blocked], clean[~blocked])
    assert not torch.equal(made.generate(z), seen), "each fake is measured anew"


def test_a_real_picture_is_measured_once_and_for_all():
    wrap = Measured(method(), "block-pixels:0.5", True, 1)
    x = torch.rand(6, 1, 8, 8)
    order = np.array([5, 900, 2, 7, 11, 3])
    measured = wrap.batch({"x": x}, order)["x"]
    turned = wrap.batch({"x": x.flip(0)}, order[::-1].copy())["x"].flip(0)
    assert torch.equal(measured, turned)
    assert not torch.equal(measured, wrap.batch({"x": x}, order + 1)["x"])
    expected = np.where(scattered(1, order, 64, "measure").reshape(6, 1, 8, 8) < 0.5, -1, x.numpy())
    np.testing.assert_array_equal(measured.numpy(), expected)
    already = Measured(method(), "block-pixels:0.5", False, 1)
    assert already.batch({"x": x}, order)["x"] is x


def test_fakes_beside_pictures_that_came_measured_end_at_black_and_white():
    """Noise on data that came as pictures was cut there; where limner measures both sides, neither is cut."""
    z = torch.randn(40, 5)
    for real, cut in ((True, False), (False, True)):
        made = method()
        Measured(made, "conv-noise:1,0.5", real, 1)
        made.luck = Luck(3)
        assert (made.train().generate(z).abs().max() <= 1) == cut


def test_the_generator_learns_through_the_measurement():
    """No weight that makes a blocked value alone gets a gradient from it: with all blocked, none gets any."""
    made = method()
    wrap = Measured(made, "block-pixels:0.5", True, 1)
    taught, norms = Learner(made, Average(made, 0), ALONE, torch.float32, 1, 10, [wrap]), []
    taught._move = lambda player, index: norms.append(
        sum(float(p.grad.abs().sum()) for p in made.get_submodule(player).parameters())
    )
    taught.step(0, [{"x": torch.zeros(8, 1, 8, 8)}], 0)
    assert norms[1] > 0
    norms.clear()
    made.zero_grad()
    wrap.measurement = type(wrap.measurement)(64, lambda x, u: torch.where(u.view(x.shape) < 2, -1.0, x))
    taught.step(0, [{"x": torch.zeros(8, 1, 8, 8)}], 0)
    assert norms[0] > 0 and norms[1] == 0


TINY = {"data": "digits", "batch": 20, "width": 4, "latent": 5, "threads": 1}


@pytest.mark.parametrize("more", [{"measure": "pad-rotate-project"}, {"measure": "keep-patch:4", "measured": True,
                                  "augment": "diffaugment"}])  # fmt: skip
def test_a_resumed_run_is_the_same_and_its_model_says_how_it_learned(tmp_path, more):
    list(limner.train("gan", **TINY, **more, steps=12, out=tmp_path / "whole"))
    list(limner.train("gan", **TINY, **more, steps=5, out=tmp_path / "part"))
    list(limner.train(resume=tmp_path / "part", steps=12))
    whole, part = (read_tensors(tmp_path / name / "model.safetensors", "model")[1] for name in ("whole", "part"))
    assert all(torch.equal(whole[name], part[name]) for name in whole)
    model = limner.load(tmp_path / "part/model.safetensors")
    assert model.header["training"]["measure"] == more["measure"]
    assert f"learned from measured pictures: {more['measure']}" in model.header["card"]


@pytest.mark.parametrize(("more", "message"), [
    ({"measured": True}, "--measured says nothing without --measure"),
    ({"measure": "keep-patch:4", "augment": "ada"}, "--augment ada looks at pictures that are not measured"),
    ({"measure": "keep-patch:4", "data": "ring"}, "--measure is for pictures, not points"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(tmp_path, more, message):
    with pytest.raises(UsageError, match=message):
        list(limner.train("gan", **{**TINY, "steps": 3, "out": tmp_path / "a", **more}))


def watched(folder, monkeypatch, **more):
    """What the evaluation on the way would compare with the data, of a run of two steps on digits."""
    met = []

    def quick(draw, dataset, eye):
        met.append(torch.cat(list(draw(400))))
        return {"FD-digits": 1.0}

    monkeypatch.setattr("limner.metrics.figures.quick", quick)
    tiny = {"data": "digits", "width": 4, "latent": 2, "batch": 700, "steps": 2, "threads": 1, "evaluate_every": 1}
    list(limner.train("gan", **{**tiny, **more}, out=folder))
    return met[-1]


@pytest.mark.parametrize("measured", [False, True])
def test_samples_are_compared_as_the_data_are(tmp_path, monkeypatch, measured):
    """Clean with clean; and with data that were measured before, measured samples."""
    met = watched(tmp_path / "a", monkeypatch, measure="block-pixels:0.5", measured=measured)
    blocked = (met == -1).double().mean()
    assert 0.48 < blocked < 0.53 if measured else blocked < 0.01


def test_classes_are_drawn_as_often_as_the_data_have_them(tmp_path, monkeypatch):
    """With a tenth of each digit but the 3, more than half of the samples are asked to be a 3."""
    data = finish(open_data("digits"))
    rows = np.concatenate([np.flatnonzero(data.labels == 3), np.flatnonzero(data.labels != 3)[::10]])
    with building(tmp_path / "few") as folder:
        about = {"name": "few", "source": "a test", "classes": data.manifest.classes, "split": "train"}
        write_pack(folder, data.samples[rows], data.labels[rows], **about)
    asked, own = [], Generate.draw

    def draw(self, z, told=None, *more):
        asked.extend([] if told is None else told.tolist())
        return own(self, z, told, *more)

    monkeypatch.setattr(Generate, "draw", draw)
    watched(tmp_path / "a", monkeypatch, data=str(tmp_path / "few"), batch=100, conditioning="concat")
    share = (data.labels[rows] == 3).mean()
    assert share > 0.5
    assert abs(np.mean(np.array(asked) == 3) - share) < 0.1
    assert len(set(asked)) == 10
