"""What a run will take: memory counted tensor by tensor, lines through small steps, and what is advised."""

import numpy as np
import pytest
import torch
from torch import nn
from toys import ALONE

import limner
from limner.core.config import Adam, TrainingConfig
from limner.core.errors import UsageError
from limner.core.events import Finished, Table, Warned
from limner.core.method import Method, Turn
from limner.core.signal import Signal
from limner.training import cost
from limner.training.average import Average
from limner.training.cost import Alive, Need, advice, need, pace
from limner.training.learner import Learner


class Config(TrainingConfig):
    net: Adam = Adam()
    """The only player."""


class Fit(Method):
    """A dense network that brings its inputs to zero, in as many turns as are wanted."""

    averaged = ("net",)

    def __init__(self, config, signal):
        super().__init__(config, signal)
        self.net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 64))

    def step(self, batch):
        yield Turn("net", self.net(batch["x"]).square().mean(1))


class FitTwice(Fit):
    """The second turn's loss is made before the first turn, so it waits."""

    def step(self, batch):
        waiting = self.net(batch["x"])
        yield Turn("net", self.net(batch["x"]).square().mean(1))
        # Only the first layer's input meets the weights that have moved meanwhile, so nothing is out of date.
        yield Turn("net", waiting.detach().square().mean(1) + self.net[4].bias.sum())


def learner(kind=Fit):
    method = kind(Config(), Signal(channels=64))
    return Learner(method, Average(method, 0), ALONE, torch.float32, 1, 10)


def batch(count):
    return {"x": torch.ones(count, 64)}


def most(step_learner, parts):
    with Alive() as alive:
        step_learner.step(0, parts, 0)
    return max(alive.moments)


def test_tensors_are_counted_while_they_live():
    with Alive() as alive:
        a = torch.zeros(1000)
        b = a.view(10, 100)[2:]
        a += 1
        c = a.double()
        assert alive.bytes == 4000 + 8000
        del a
        assert alive.bytes == 12000  # b still looks at it
        del b, c
        assert alive.bytes == 0
        torch.zeros(10)
    assert max(alive.moments) == 12000


def test_a_function_of_known_memory():
    x = torch.ones(100, 10, requires_grad=True)
    with Alive() as alive:
        y = x.exp()
        z = y * y
        assert alive.bytes == 2 * 4000
        z.backward(torch.ones(100, 10))
    # y, z, the seed and two gradients of y are there at once; the sum of the two may be a sixth.
    assert max(alive.moments) in (5 * 4000, 6 * 4000)
    assert x.grad is not None


@pytest.mark.parametrize("size", [4, 40, 4000])
def test_small_steps_foretell_a_large_one(size):
    wanted = need(learner(), size, 1, batch)
    assert wanted.bytes(size) == pytest.approx(most(learner(), [batch(size)]), rel=0.01)
    weights = sum(p.numel() for p in learner().method.parameters())
    assert wanted.bytes(0) >= 3 * 4 * weights  # gradients and two moments
    # Kept for backward, of each sample: what the second and third layer take in.
    assert wanted.bytes(8000) - wanted.bytes(4000) >= 4000 * 4 * (256 + 256)


@pytest.mark.parametrize("kind", [Fit, FitTwice])
def test_parts_that_wait_are_counted(kind):
    wanted = need(learner(kind), 4000, 1, batch)
    measured = most(learner(kind), [batch(1000)] * 4)
    # What the second part adds once, the sum of its gradient and the first's, is taken to come with each.
    assert measured <= wanted.bytes(4000, 4) <= 1.2 * measured


def test_lines():
    # Two moments: the optimiser's, which is the same for all, and a backward pass.
    line = Need(np.array([[500, 0], [100, 10]]), np.array([[500, 0], [100, 12]]))
    assert line.bytes(8) == 500
    assert line.bytes(80) == 900
    assert line.bytes(240, 2) == 1300 + 240
    assert line.bytes(240, 3) == 900 + 2 * 160
    assert line.largest(900, 200) == 80
    assert line.largest(905, 200) == 80
    assert line.largest(1540, 1000, 2) == 240
    assert line.largest(499, 200) == 0


def test_advice():
    one, two = np.array([[1e9, 1e8]]), np.array([[1e9, 1.2e8]])
    line = Need(one, two)
    assert advice(line, 8, 1, 1.8e9, False) is None
    assert advice(line, 8, 1, 1.5e9, False) == (
        "a step of 8 needs about 1.8 GB of memory, and 1.5 GB are free", "give --accumulate 2"
    )  # fmt: skip
    assert advice(line, 8, 1, 1.35e9, False)[1] == "give --accumulate 4"
    assert advice(Need(one), 8, 1, 1.5e9, True)[1] == "give --batch 5"
    assert advice(Need(one), 8, 1, 9e8, True)[1].startswith("choose a smaller --size")
    assert advice(line, 8, 1, 1.5e9, False, begun=True)[1] == "give --accumulate 2"
    assert advice(Need(one), 8, 1, 1.5e9, True, begun=True)[1].startswith("go on where more memory is free")


def test_pace_is_the_median_after_a_warm_up(monkeypatch):
    clock = iter([0, 9, 10, 11, 20, 23, 30, 32])
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(clock))
    assert pace(lambda number: None) == 2


def test_a_dry_run_tells_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    events = list(limner.train("gan", data="ring", batch=20, width=4, latent=2, epochs=2, threads=1, dry_run=True))
    told, done = events[-2], events[-1]
    assert isinstance(told, Table) and isinstance(done, Finished)
    rows = dict(told.rows)
    # 100,000 points in batches of 20, twice.
    assert rows["the run"] == "10,000 steps of 20, 2 epochs"
    assert done.values["steps"] == 10_000
    assert done.values["seconds"] == pytest.approx(10_000 * done.values["seconds_a_step"], rel=0.05, abs=1)
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_room_says_what_fits(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "room", lambda device: 200_000)
    choices = {"data": "ring", "width": 4, "latent": 2, "threads": 1, "batch": 4000}
    warned = [e.text for e in limner.train("gan", **choices, steps=1, out=tmp_path / "run") if isinstance(e, Warned)]
    assert len(warned) == 1 and warned[0].startswith("a step of 4,000 needs about 0.0 GB")
    events = list(limner.train("gan", **choices, dry_run=True))
    assert warned[0] in [event.text for event in events if isinstance(event, Warned)]
    assert events[-1].values["fits"] is False and "seconds" not in events[-1].values
    fitting = int(warned[0].split()[-1])
    assert "--accumulate" in warned[0] or fitting < 4000


def test_tiny_batches_train_or_are_refused_in_one_line(tmp_path):
    """Memory is measured with two samples at least, as batch normalisation of single values needs them."""
    list(
        limner.train("dcgan", data="digits", variant="mnist", width=4, batch=2, steps=1, threads=1, out=tmp_path / "a")
    )
    with pytest.raises(UsageError, match="batch normalisation has nothing to compare a single sample with"):
        list(limner.train("lsgan", data="ring", network="mixture", batch=1, steps=1, out=tmp_path / "b"))
