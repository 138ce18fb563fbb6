"""LeCam regularisation against numbers worked out by hand."""

import pytest
import torch
from toys import ALONE

import limner
from limner.core.errors import UsageError
from limner.core.method import Turn
from limner.core.signal import Signal
from limner.core.tensorfile import read_tensors
from limner.losses.adversarial import lecam, scores
from limner.models.model import build
from limner.training.average import Average
from limner.training.learner import Learner
from limner.training.lecam import LeCam


def method():
    torch.manual_seed(0)
    return build("gan", {"width": 4, "latent": 5}, Signal(channels=2))


def test_only_scores_beyond_the_other_kind_s_anchor_cost():
    """Reals of 2 and −1 against fakes' anchor −.5: 2.5², 0. Fakes of 3 and 0 against reals' anchor 1: 0, 1."""
    found = lecam(torch.tensor([2.0, -1.0]), torch.tensor([3.0, 0.0]), anchor_real=1.0, anchor_fake=-0.5)
    assert found.tolist() == [6.25, 1.0]


def test_anchors_are_means_of_the_steps_before():
    wrap = LeCam(method(), 0.3)
    real, fake = torch.tensor([1.0, 3.0], requires_grad=True), torch.tensor([-1.0, 0.0], requires_grad=True)
    turn = Turn("discriminator", torch.zeros(2), scores(real, fake))
    assert wrap.turn(turn) is turn, "before the first step there is no anchor"
    wrap.after({"real_logit": 2.0, "fake_logit": -0.5}, 0, 2)
    wrap.after({"real_logit": 1.0, "fake_logit": -1.5}, 1, 2)
    # Weights .99 · .01 and .01 over their sum.
    share = 0.99 / 1.99
    anchor_real, anchor_fake = share * 2 + (1 - share) * 1, share * -0.5 + (1 - share) * -1.5
    made = wrap.turn(turn)
    expected = [0.3 * ((r - anchor_fake) ** 2 + (anchor_real - f) ** 2) for r, f in ((1.0, -1.0), (3.0, 0.0))]
    assert made.loss.tolist() == pytest.approx(expected, rel=1e-6)
    (slope,) = torch.autograd.grad(made.loss.sum(), real)
    assert slope.tolist() == pytest.approx([0.6 * (1 - anchor_fake), 0.6 * (3 - anchor_fake)], rel=1e-6)


def test_a_generator_s_turn_is_left_alone():
    wrap = LeCam(method(), 0.3)
    wrap.after({"real_logit": 2.0, "fake_logit": -0.5}, 0, 2)
    turn = Turn("generator", torch.zeros(2))
    assert wrap.turn(turn) is turn


def test_it_draws_the_scores_together():
    """After the same steps, real and fake scores lie closer with it than without."""
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(1)) * 0.1 + 0.8
    apart = []
    for weight in (0.0, 5.0):
        made = method()
        wraps = [LeCam(made, weight)] if weight else []
        taught = Learner(made, Average(made, 0), ALONE, torch.float32, seed=1, total=60, wraps=wraps)
        for index in range(60):
            told = taught.step(index, [{"x": x}], 0)
        apart.append(told["real_logit"] - told["fake_logit"])
    assert abs(apart[1]) < abs(apart[0])


def test_a_method_without_a_discriminator_is_refused():
    from toys import Duel

    with pytest.raises(UsageError, match="--lecam works on a discriminator, and Duel has none"):
        LeCam(Duel(together=True), 0.1)


def test_a_resumed_run_is_the_same(tmp_path):
    tiny = {"data": "ring", "batch": 20, "width": 4, "latent": 2, "threads": 1, "lecam": 1.0}
    list(limner.train("gan", **tiny, steps=12, out=tmp_path / "whole"))
    list(limner.train("gan", **tiny, steps=5, out=tmp_path / "part"))
    list(limner.train(resume=tmp_path / "part", steps=12))
    whole, part = (read_tensors(tmp_path / name / "model.safetensors", "model")[1] for name in ("whole", "part"))
    assert all(torch.equal(whole[name], part[name]) for name in whole)
    state = read_tensors(tmp_path / "part/checkpoints/step-00000012.safetensors", "checkpoint")[1]
    assert state["wrap.lecam.anchors"][2].item() == pytest.approx(1 - 0.99**12)
