"""What a step asks of its players, with networks whose answers are known: losses by hand, from the papers."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from limner.core.errors import UsageError
from limner.core.method import Luck, Moment
from limner.core.signal import Signal
from limner.models.model import build

SIGNAL = Signal(channels=1, size=(8, 8))
REAL, FAKE, AFTER = [2.0, -0.5, 0.3], [-1.0, 0.25, 3.0], [0.5, -2.0, 1.5]
"""Scores of three real samples, of their fakes, and of the same fakes when it is the generator's turn."""


class Known(nn.Module):
    """A network that has learned nothing; a method asks a weight on which device it is."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))


class Says(Known):
    """Answers with what it is given, one after the other, and keeps what it was asked."""

    def __init__(self, *answers):
        super().__init__()
        self.answers, self.asked = list(answers), []

    def forward(self, *asked):
        self.asked.append(asked)
        return torch.tensor(self.answers[len(self.asked) - 1])


def sigmoid(score):
    return 1 / (1 + math.exp(-score))


def losses(method, data):
    """Of each turn, the losses of the samples."""
    method.luck, method.moment = Luck(3), Moment(0, 10)
    turns = []
    for move in method.train().step({"x": data}):
        turns += move if isinstance(move, tuple) else [move]
    return [turn.loss.tolist() for turn in turns]


GAMES = {
    "gan": (
        {},
        lambda real, fake: -math.log(sigmoid(real)) - math.log(1 - sigmoid(fake)),
        lambda fake: -math.log(sigmoid(fake)),
    ),
    "gan minimax": (
        {"loss": "minimax"},
        lambda real, fake: -math.log(sigmoid(real)) - math.log(1 - sigmoid(fake)),
        lambda fake: math.log(1 - sigmoid(fake)),
    ),
    "lsgan": (
        {},
        lambda real, fake: (real - 1) ** 2 / 2 + fake**2 / 2,
        lambda fake: (fake - 1) ** 2 / 2,
    ),
    "sngan": (
        {},
        lambda real, fake: max(0, 1 - real) + max(0, 1 + fake),
        lambda fake: -fake,
    ),
}


@pytest.mark.parametrize("game", GAMES)
def test_a_game_s_turns_cost_what_the_paper_says(game):
    more, judge, maker = GAMES[game]
    method = build(game.split()[0], {"network": "dense", "width": 4, "latent": 3, **more}, SIGNAL)
    method.discriminator = Says(REAL, FAKE, AFTER)
    data = torch.rand(3, 1, 8, 8)
    first, second = losses(method, data)
    assert first == pytest.approx([judge(*pair) for pair in zip(REAL, FAKE, strict=True)], rel=1e-5)
    assert second == pytest.approx([maker(score) for score in AFTER], rel=1e-5)
    (real, _), (fake, _), (again, _) = method.discriminator.asked
    assert torch.equal(real, data)
    assert torch.equal(fake, again) and not fake.requires_grad and again.requires_grad


def test_edm_weighs_a_denoiser_s_error_by_its_level():
    """σ = exp(−1.2 + 1.2 n), and an error counts (σ² + σd²) / (σ σd)²; equation 8 and table 1 of the paper."""
    method = build("edm", {"width": 8}, SIGNAL)
    data = torch.rand(5, 1, 8, 8) * 2 - 1
    method.luck = Luck(3)
    sigma = (-1.2 + 1.2 * method.noise(5).double()).exp()
    added = method.noise(5, 1, 8, 8)
    seen = []

    def denoise(x, level, label=None):
        seen.append((x, level))
        return answer

    method.denoise, answer = denoise, data
    assert losses(method, data) == [[0.0] * 5]
    torch.testing.assert_close(seen[0][1].double(), sigma, rtol=1e-5, atol=0)
    torch.testing.assert_close(seen[0][0], data + sigma.float()[:, None, None, None] * added)
    answer = torch.zeros_like(data)
    weight = (sigma**2 + 0.25) / (sigma * 0.5) ** 2
    wanted = weight * data.double().square().mean((1, 2, 3))
    assert losses(method, data)[0] == pytest.approx(wanted.tolist(), rel=1e-4)


def test_ddpm_asks_for_the_noise_that_it_added():
    """xₜ = √ᾱₜ x₀ + √(1 − ᾱₜ) ε with βₜ from 1e-4 to .02 over 1,000 times; algorithm 1 of the paper."""
    method = build("ddpm", {"width": 8, "schedule": "linear"}, SIGNAL)
    data = torch.rand(6, 1, 8, 8) * 2 - 1
    beta = [1e-4 + (0.02 - 1e-4) * t / 999 for t in range(1000)]
    left = torch.tensor([math.prod(1 - b for b in beta[: t + 1]) for t in range(1000)], dtype=torch.float64)
    times = []

    class Perfect(Known):
        def forward(self, x, time, label):
            times.append(time)
            kept = left[time][:, None, None, None]
            return ((x.double() - kept.sqrt() * data) / (1 - kept).sqrt()).float()

    method.denoiser = Perfect()
    (found,) = losses(method, data)
    assert max(found) < 1e-6
    assert len(times[0].unique()) > 1
    method.denoiser = Says(torch.zeros(6, 1, 8, 8).tolist())
    # Nothing told costs what the noise weighs: about 1 for each value.
    assert sum(losses(method, data)[0]) / 6 == pytest.approx(1.0, abs=0.2)


class Knows(Known):
    """A generator that knows the picture behind the noise."""

    def __init__(self, clean):
        super().__init__()
        self.clean, self.times = clean, []

    def forward(self, x, time, own, label):
        self.times.append(time)
        return self.clean


def test_ddgan_s_sampling_ends_at_what_a_perfect_generator_knows():
    method = build("ddgan", {"width": 8}, SIGNAL).eval()
    clean = torch.rand(4, 1, 8, 8) * 2 - 1
    method.generator = Knows(clean)
    torch.testing.assert_close(method.generate(torch.randn(4, method.latent)), clean)
    assert [int(time[0]) for time in method.generator.times] == [3, 2, 1, 0]


def test_ddgan_s_fake_step_back_is_spread_as_the_real_one():
    """With x₀ known, xₜ₋₁ given x₀ alone has mean √ᾱ x₀ and variance 1 − ᾱ, whichever way it was drawn (section 3).

    ᾱ(t) = exp(−∫β), β in a straight line from .1 to 20, four equal steps of time that begin at .001.
    """
    method = build("ddgan", {"width": 8}, SIGNAL)
    method.luck = Luck(3)
    data = torch.full((20_000, 1, 8, 8), 0.7)
    before, after, time = method.pair(data)
    method.generator = Knows(data)
    fake = method.guess(after, time)

    def gone(moment):
        return 0.1 * moment + 19.9 * moment**2 / 2

    moments = [0.001 + 0.999 * step / 4 for step in range(5)]
    left = [math.exp(gone(moments[0]) - gone(moment)) for moment in moments]
    for step in range(4):
        some = time == step
        assert some.double().mean() == pytest.approx(0.25, abs=0.02)
        for samples, kept in ((before, left[step]), (fake, left[step]), (after, left[step + 1])):
            assert samples[some].mean() == pytest.approx(kept**0.5 * 0.7, abs=0.005)
            assert samples[some].var() == pytest.approx(1 - kept, abs=0.01)
        # Both steps are as near to the sample that they lead to.
        ties = [float(((s - s.mean()) * (after[some] - after[some].mean())).mean()) for s in (before[some], fake[some])]
        assert ties[0] == pytest.approx(ties[1], abs=0.01)


def test_ddgan_s_turns_judge_the_step_with_what_it_came_from():
    method = build("ddgan", {"width": 8, "penalty": 0}, SIGNAL)
    method.discriminator = Says(REAL, FAKE, AFTER)
    first, second = losses(method, torch.rand(3, 1, 8, 8))
    judge, maker = GAMES["gan"][1:]
    assert first == pytest.approx([judge(*pair) for pair in zip(REAL, FAKE, strict=True)], rel=1e-5)
    assert second == pytest.approx([maker(score) for score in AFTER], rel=1e-5)
    (_, came, time, _), (fake, came_too, time_too, _), (last, *_) = method.discriminator.asked
    assert torch.equal(came, came_too) and torch.equal(time, time_too)
    assert not fake.requires_grad and last.requires_grad


def test_ddgan_s_penalty_is_half_gamma_times_the_squared_slope_every_fifteenth_step():
    """Of a score that is a straight line through the picture before the step, Σ w x, the squared slope is Σ w²."""
    method = build("ddgan", {"width": 8, "penalty": 0.5}, SIGNAL)
    w = torch.randn(SIGNAL.shape, generator=torch.Generator().manual_seed(2))

    class Line(Known):
        def forward(self, before, after, time, label=None):
            return (before * w).flatten(1).sum(1)

    method.discriminator = Line()
    found = {}
    for step in (0, 7, 15):
        method.moment, method.luck = Moment(step, 100), Luck(1)
        turn = next(method.step({"x": torch.zeros(3, 1, 8, 8)}))
        on_real, on_fake = turn.values["real_logit"], turn.values["fake_logit"]
        found[step] = turn.loss - softplus(-on_real) - softplus(on_fake)
    torch.testing.assert_close(found[0], w.square().sum().expand(3) * 0.5 / 2)
    torch.testing.assert_close(found[7], torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[15], found[0])


def test_ddgan_learns_classes():
    """A class changes what is guessed, and adds the inner product of its row with the features to the score."""
    torch.manual_seed(0)
    told = {"width": 8, "conditioning": "projection"}
    method = build("ddgan", told, SIGNAL.model_copy(update={"classes": 3})).eval()
    judge, seen = method.discriminator, []
    judge.last.register_forward_hook(lambda module, inputs, output: seen.append(output.detach().sum((2, 3))))
    x, time = torch.randn(4, *SIGNAL.shape), torch.tensor([0, 1, 2, 3])
    zero, two = (judge(x, x / 2, time, torch.full((4,), label)) for label in (0, 2))
    rows = judge.embedding.weight
    torch.testing.assert_close(zero - two, seen[0] @ (rows[0] - rows[2]))
    z = torch.randn(4, method.latent)
    assert not torch.equal(method.draw(z, torch.zeros(4, dtype=torch.long)), method.draw(z, torch.full((4,), 2)))
    turns = list(method.step({"x": x.tanh(), "label": torch.tensor([0, 1, 2, 0])}))
    assert [turn.player for turn in turns] == ["discriminator", "generator"]
    with pytest.raises(UsageError, match="needs classes"):
        build("ddgan", told, SIGNAL)
