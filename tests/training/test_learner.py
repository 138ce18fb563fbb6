"""The learner against games whose moves can be worked out by hand."""

import json
import math
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import nn
from toys import Duel, learner

from limner.core.config import Adam
from limner.core.errors import UsageError
from limner.core.signal import Signal
from limner.models.model import build
from limner.training.learner import done, rate, two_passes

ONES = {"x": torch.ones(4, 1)}


def grads_of(method):
    """Run a step that records each player's gradient at its move."""
    taught, found = learner(method), {}
    original = taught._move
    taught._move = lambda player, index: (
        found.__setitem__(player, method.get_submodule(player).w.grad.item()),
        original(player, index),
    )
    taught.step(0, [ONES], 0)
    return found


def test_simultaneous_gradients_are_taken_before_anyone_moves():
    """a = b = 2: d(ab−1)²/da = 2·3·2 = 12 and d(ab+1)²/db = 2·5·2 = 20, both at the start."""
    assert grads_of(Duel(together=True)) == {"a": 12.0, "b": 20.0}


def test_a_later_turn_sees_the_earlier_move():
    """Adam's first move is the rate .1, so b's turn meets a = 1.9: 2·(3.8 + 1)·1.9 = 18.24."""
    found = grads_of(Duel(together=False))
    assert found["a"] == 12.0
    assert found["b"] == pytest.approx(18.24, abs=1e-4)


def test_adam_s_first_step_is_the_rate():
    method = Duel(together=True)
    learner(method).step(0, [ONES], 0)
    assert method.a.w.item() == pytest.approx(1.9, abs=1e-6)
    assert method.b.w.item() == pytest.approx(1.9, abs=1e-6)


def test_accumulated_parts_equal_the_joined_batch():
    x = torch.linspace(-1, 2, 8)[:, None]
    whole, parts = Duel(together=False), Duel(together=False)
    told = learner(whole).step(0, [{"x": x}], 0)
    told_parts = learner(parts).step(0, [{"x": x[:4]}, {"x": x[4:]}], 0)
    assert told == pytest.approx(told_parts, rel=1e-6)
    assert parts.a.w.item() == pytest.approx(whole.a.w.item(), abs=1e-6)
    assert torch.equal(torch.cat(parts.seen[:2]), whole.seen[0]), "each part takes its rows of the joined noise"


def test_batch_statistics_refuse_accumulation():
    method = Duel(together=False)
    method.norm = nn.BatchNorm1d(1)
    with pytest.raises(UsageError, match="batch statistics"):
        learner(method).step(0, [ONES, ONES], 0)


def test_logged_values_are_means():
    told = learner(Duel(together=True)).step(0, [{"x": torch.tensor([[1.0], [3.0]])}], 0)
    assert told["twice"] == 4.0
    assert told["a_loss"] == pytest.approx((9 + 81) / 2)
    assert told["skipped"] == 0.0


@pytest.mark.parametrize("together", [True, False])
def test_a_loss_that_is_not_finite_moves_nobody(together):
    method = Duel(together)
    taught = learner(method)
    told = taught.step(0, [{"x": torch.tensor([[1.0], [float("nan")]])}], 0)
    assert told["skipped"] == 1.0
    assert method.a.w.item() == method.b.w.item() == 2.0
    assert taught.step(1, [ONES], 2)["skipped"] == 0.0


def test_steps_draw_from_streams_of_their_own():
    method = Duel(together=True)
    taught = learner(method)
    for index in (0, 1, 0):
        taught.step(index, [ONES], 0)
    first, second, again = method.seen
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_schedules_follow_their_closed_forms():
    steady = Adam(lr=0.1, warmup=4)
    assert [rate(steady, i, 20) for i in (0, 1, 3, 4, 19)] == pytest.approx([0.025, 0.05, 0.1, 0.1, 0.1])
    linear = Adam(lr=0.1, schedule="linear", final=0.2)
    assert [rate(linear, i, 11) for i in (0, 5, 10)] == pytest.approx([0.1, 0.06, 0.02])
    cosine = Adam(lr=0.1, schedule="cosine")
    assert [rate(cosine, i, 9) for i in range(9)] == pytest.approx(
        [0.05 * (1 + math.cos(math.pi * i / 8)) for i in range(9)], abs=1e-9
    )


def test_beta2_changes_along_with_the_rate():
    late = Adam(lr=0.1, beta1=0.0, beta2=0.9, beta2_final=0.99, schedule="linear", warmup=10)
    assert [late.memory(done(late, i, 21))[1] for i in (0, 5, 10, 15, 20)] == pytest.approx(
        [0.9, 0.9, 0.9, 0.945, 0.99]
    )
    assert [rate(late, i, 21) for i in (10, 15, 20)] == pytest.approx([0.1, 0.05, 0.0])


def test_leaving_out_any_state_shows(tmp_path):
    """Restoring all of the state continues exactly; without any one kind of tensor it does not."""

    def go(drop):
        torch.manual_seed(0)
        first = learner(Duel(together=False), half_life=20.0)
        for i in range(3):
            first.step(i, [ONES], 4 * i)
        state = {name: value.clone() for name, value in first.state().items()}
        second = learner(Duel(together=False), half_life=20.0)
        fresh = second.state() | {
            name: torch.zeros_like(value) for name, value in state.items() if name.startswith("optimiser")
        }
        second.restore(
            {name: fresh[name] if drop and name.startswith(drop) else value for name, value in state.items()}, tmp_path
        )
        for i in range(3, 6):
            first.step(i, [ONES], 4 * i)
            second.step(i, [ONES], 4 * i)
        return all(torch.equal(value, second.state()[name]) for name, value in first.state().items())

    assert go(None)
    for drop in ("method.a", "method.b", "average.a", "optimiser.a.0.exp_avg", "optimiser.b.0.exp_avg_sq",
                 "optimiser.a.0.step"):  # fmt: skip
        assert not go(drop), drop


SCRIPT = """
import json, torch
from limner.models.model import build
from limner.core.signal import Signal
from limner.training.average import Average
from limner.training.learner import Learner
from limner.training.world import join
torch.set_num_threads(1)
with join("cpu") as world:
    torch.manual_seed(0)
    method = build("gan", {"width": 16, "latent": 5}, Signal(channels=1, size=(8, 8)))
    taught = Learner(method, Average(method, 100.0), world, torch.float32, seed=1, total=10)
    x = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(7)) * 2 - 1
    own = 16 // world.size
    for i in range(5):
        told = taught.step(i, [{"x": x[world.rank * own : (world.rank + 1) * own]}], 16 * i)
        if world.first:
            print(json.dumps(told), flush=True)
"""


def test_two_processes_equal_one_with_the_joined_batch(tmp_path):
    """Real processes over gloo, started as torchrun starts them."""
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}", "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    two = subprocess.run(launch, env=env, capture_output=True, text=True, timeout=120)
    one = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=120)
    lines = [text.stdout.strip().splitlines() for text in (two, one)]
    assert len(lines[0]) == len(lines[1]) == 5, two.stderr + one.stderr
    for a, b in zip(*lines, strict=True):
        assert json.loads(a) == pytest.approx(json.loads(b), abs=1e-5)


def gradients(method, x):
    method.zero_grad()
    taught, found = learner(method), {}
    taught._move = lambda player, index: found.__setitem__(
        player, [p.grad.clone() for p in method.get_submodule(player).parameters()]
    )
    taught.step(0, [{"x": x}], 0)
    return found


@pytest.mark.parametrize("shift", [0.0, 30.0, -30.0, -200.0])
def test_one_pass_equals_two(shift):
    """In float64, with a judge that is unsure, very sure of either side, and too sure for the ratio to exist."""
    torch.manual_seed(0)
    method = build("dcgan", {"variant": "mnist", "width": 4, "latent": 5}, Signal(channels=1, size=(8, 8))).double()
    method.discriminator[-2].bias.data.fill_(shift)
    noise = method.noise
    method.noise = lambda *shape: noise(*shape).double()
    x = torch.rand(6, 1, 8, 8, dtype=torch.float64) * 2 - 1
    one = gradients(method, x)
    with two_passes():
        two = gradients(method, x)
    for player in ("discriminator", "generator"):
        for a, b in zip(one[player], two[player], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=0 if shift else 1e-12)
            assert torch.isfinite(a).all()


@pytest.mark.parametrize(("precision", "limit"), [(torch.float32, 0.02), (torch.bfloat16, 0.2)])
def test_one_pass_moves_weights_as_two_do(precision, limit):
    """Adam reads a gradient's memory, whose order is another after products of frequencies: the weights tell."""
    x = torch.rand(16, 1, 28, 28, generator=torch.Generator().manual_seed(1)) * 2 - 1
    moved = []
    for form in (nullcontext(), two_passes()):
        torch.manual_seed(0)
        method = build("dcgan", {"variant": "mnist", "width": 16, "latent": 5}, Signal(channels=1, size=(28, 28)))
        taught = learner(method)
        taught.precision = precision
        with form:
            for index in range(2):
                taught.step(index, [{"x": x}], 0)
        moved.append(dict(method.named_parameters()))
    rate = method.config.discriminator.lr
    for name, value in moved[1].items():
        # Adam moves each weight by about its rate, so one read crosswise would be off by twice that.
        assert (moved[0][name] - value).abs().mean() < limit * rate, name


def test_a_skipped_step_leaves_running_statistics_as_they_were():
    method = build("dcgan", {"variant": "paper", "width": 4, "latent": 5}, Signal(channels=1, size=(16, 16)))
    taught = learner(method)
    before = [buffer.clone() for buffer in method.buffers()]
    x = torch.zeros(4, 1, 16, 16)
    x[0, 0, 0, 0] = float("nan")
    assert taught.step(0, [{"x": x}], 0)["skipped"] == 1.0
    assert all(torch.equal(a, b) for a, b in zip(before, method.buffers(), strict=True))
