"""Classes that come in late: the scale over the run, and what the networks make of a class before and after."""

from pathlib import Path

import pytest
import torch
from toys import ALONE

import limner
from limner.core.errors import UsageError
from limner.core.signal import Signal
from limner.core.tensorfile import read_tensors
from limner.models.model import build
from limner.training.average import Average
from limner.training.learner import Learner
from limner.training.log import read_log
from limner.training.transition import Transition
from limner.training.wrap import Wrap


@pytest.mark.parametrize("conditioning", ["concat", "projection"])
def test_no_class_is_known_before_and_every_one_after(conditioning):
    torch.manual_seed(0)
    made = build("gan", {"width": 4, "latent": 5, "conditioning": conditioning},
                 Signal(channels=1, size=(8, 8), classes=3)).eval()  # fmt: skip
    average = Average(made, 0)
    z, x = torch.randn(3, 5), torch.randn(3, 1, 8, 8)
    label, other = torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0])
    plain = made.generate(z, label), made.judge(x, label)
    wrap = Transition(made, average.networks, 1.0, 3.0, 5.0)
    assert torch.equal(made.generate(z, label), made.generate(z, other))
    assert torch.equal(made.judge(x, label), made.judge(x, other))
    with average.applied(made):
        assert torch.equal(made.generate(z, label), made.generate(z, other)), "the average is watched on the way"
    for index, scale in enumerate((0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0)):
        assert wrap.after({}, index, 500) == {"class_scale": scale}
    assert torch.equal(made.generate(z, label), plain[0])
    assert torch.equal(made.judge(x, label), plain[1])
    assert not torch.equal(made.judge(x, label), made.judge(x, other))


class Look(Wrap):
    """Takes note of the scale in each turn."""

    name = "look"

    def __init__(self, late):
        self.late, self.scales = late, []

    def turn(self, turn):
        self.scales.append(self.late.scale)
        return turn


@pytest.mark.parametrize("kept", ["wrap", "method"])
def test_the_scale_follows_the_run_where_the_weights_go_back_or_never_knew_it(kept):
    """A scale of .25 at 1,500 samples of 1,000 to 3,000, whatever the checkpoint says: 0 seen, or nothing."""
    made = build("gan", {"width": 4, "latent": 5, "conditioning": "concat"},
                 Signal(channels=1, size=(8, 8), classes=3))  # fmt: skip
    average = Average(made, 0)
    late = Transition(made, average.networks, 1.0, 3.0, 5.0)
    look = Look(late)
    taught = Learner(made, average, ALONE, torch.float32, 1, 10, [late, look])
    before = {name: value.clone() for name, value in taught.state().items()}
    if kept == "method":
        before = {name: value for name, value in before.items() if not name.startswith("wrap.")}
    late.seen = 2000.0
    taught.restore(before, Path())
    assert late.scale == 0
    taught.step(3, [{"x": torch.zeros(500, 1, 8, 8), "label": torch.zeros(500, dtype=torch.long)}], 1500)
    assert look.scales == [0.25, 0.25]
    assert late.scale == 0.5


TINY = {"data": "digits", "batch": 20, "width": 4, "latent": 5, "threads": 1, "conditioning": "projection"}


def test_a_resumed_run_is_the_same(tmp_path):
    both = {**TINY, "transition": (0.04, 0.2)}
    list(limner.train("gan", **both, steps=15, out=tmp_path / "whole"))
    with pytest.raises(UsageError, match=r"--transition ends at 0.2 kimg, and the run at 0.1"):
        list(limner.train("gan", **both, steps=5, out=tmp_path / "short"))
    list(limner.train("gan", **both, steps=15, out=tmp_path / "part", checkpoint_every=5))
    for name in ("step-00000010", "step-00000015"):
        (tmp_path / "part/checkpoints" / f"{name}.safetensors").unlink()
    list(limner.train(resume=tmp_path / "part"))
    whole, part = (read_tensors(tmp_path / name / "model.safetensors", "model")[1] for name in ("whole", "part"))
    assert all(torch.equal(whole[name], part[name]) for name in whole)
    told = [line["class_scale"] for line in read_log(tmp_path / "part/log.jsonl") if "class_scale" in line]
    assert told and max(told) <= 1.0


def test_a_score_that_is_all_projection_has_a_slope_before_classes_come_in():
    made = build("r3gan", {"width": 4, "latent": 5, "conditioning": "projection"},
                 Signal(channels=1, size=(8, 8), classes=3))  # fmt: skip
    Transition(made, Average(made, 0).networks, 1.0, 3.0, 5.0)
    x = torch.randn(3, 1, 8, 8, requires_grad=True)
    score = made.discriminator(x, torch.tensor([0, 1, 2]))
    (slope,) = torch.autograd.grad(score.sum(), x)
    assert slope.abs().max() > 0


@pytest.mark.parametrize(("more", "message"), [
    ({"conditioning": "none"}, "--transition is for a method that learns classes"),
    ({"transition": (3.0, 2.0)}, "--transition 3,2 does not rise"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(tmp_path, more, message):
    with pytest.raises(UsageError, match=message):
        list(limner.train("gan", **{**TINY, "transition": (0.0, 0.1), "steps": 20, "out": tmp_path / "a", **more}))


def test_a_u_net_knows_no_class_before_either():
    torch.manual_seed(0)
    made = build("ddgan", {"width": 8, "style": 8, "latent": 4, "times": 2, "conditioning": "projection"},
                 Signal(channels=1, size=(8, 8), classes=3)).eval()  # fmt: skip
    for weight in made.parameters():  # Whose last layer begins near zero otherwise.
        torch.nn.init.normal_(weight, std=0.3)
    wrap = Transition(made, Average(made, 0).networks, 1.0, 3.0, 5.0)
    z, label = torch.randn(3, made.latent), torch.tensor([0, 1, 2])
    torch.testing.assert_close(made.generate(z, label), made.generate(z, label.flip(0)))
    wrap.after({}, 10, 500)
    assert (made.generate(z, label) - made.generate(z, label.flip(0))).abs().max() > 0.01


@pytest.mark.parametrize(("method", "hint"), [
    ("gan", "give --conditioning projection too"), ("mgan", "give --conditioning projection too"),
    ("pacgan", "give --conditioning concat too"), ("vae", "leave out --transition"),
])  # fmt: skip
def test_the_hint_has_a_way_of_learning_classes_that_the_method_knows(tmp_path, method, hint):
    more = {"network": "dense", "conditioning": "none"} if method != "vae" else {"network": "dense"}
    tiny = {name: value for name, value in TINY.items() if name not in ("conditioning", "network")}
    with pytest.raises(UsageError) as error:
        list(limner.train(method, **{**tiny, **more, "transition": (0.0, 0.1), "steps": 20, "out": tmp_path / "a"}))
    assert error.value.hint == hint
