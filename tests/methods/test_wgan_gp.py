"""WGAN-GP: who reads what, and how often each moves."""

import pytest
import torch

from limner.core.signal import Signal
from limner.models.model import build


def test_each_move_of_the_critic_reads_a_batch_of_its_own():
    method = build("wgan_gp", {"critic_steps": 3, "width": 4}, Signal(channels=2))
    seen = []
    method.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.arange(12.0).reshape(6, 2)
    turns = list(method.step({"x": x}))
    assert [turn.player for turn in turns] == ["discriminator"] * 3 + ["generator"]
    assert [part.tolist() for part in seen[:9:3]] == [part.tolist() for part in x.split(2)]


def test_the_loss_is_the_distance_and_ten_times_the_penalty():
    method = build("wgan_gp", {"critic_steps": 1, "width": 4}, Signal(channels=2))
    turn = next(method.step({"x": torch.rand(8, 2)}))
    values = turn.values
    worked_out = values["fake_logit"] - values["real_logit"] + 10 * values["penalty"].detach()
    assert turn.loss.tolist() == pytest.approx(worked_out.tolist(), abs=1e-6)
