"""VAE: its loss worked out by hand, its choices, and a short training on points."""

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from limner.core.errors import UsageError
from limner.core.signal import Signal
from limner.models.model import build

GREY, COLOUR, POINTS = Signal(channels=1, size=(8, 8)), Signal(channels=3, size=(8, 8)), Signal(channels=2)


def made(signal=GREY, **config):
    torch.manual_seed(0)
    return build("vae", {"width": 8, "latent": 3, **config}, signal)


def test_the_loss_is_reconstruction_and_beta_times_divergence():
    method = made(beta=3.0, binarise="threshold")
    x = torch.rand(5, 1, 8, 8) * 2 - 1
    (turn,) = method.step({"x": x})
    on = (x > 0).float().flatten(1)
    mean, log_variance = method.autoencoder["encoder"](on).chunk(2, 1)
    guess = Normal(mean, (log_variance / 2).exp())
    noise = turn_noise(5, 3)
    answer = Bernoulli(logits=method.autoencoder["decoder"](guess.loc + guess.scale * noise))
    expected = -answer.log_prob(on).sum(1) + 3 * kl_divergence(guess, Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(turn.loss, expected)


def turn_noise(count, latent):
    """The noise that a method draws first where no learner has named its stream."""
    from limner.core.method import Luck

    return Luck(0).normal(count, latent)


def test_one_draw_of_the_bound_is_the_same_bound_in_the_mean():
    method = made(binarise="threshold").double()
    x = method.observed(torch.rand(1, 1, 8, 8).double() * 2 - 1)
    weights = method.weigh(x, torch.randn(20_000, 1, 3).double())
    mean, log_variance = method.encode(x)
    guess = Normal(mean, (log_variance / 2).exp())
    z = guess.sample((20_000,))
    bound = (method.explain(x, z) + Normal(0.0, 1.0).log_prob(z).sum(-1) - guess.log_prob(z).sum(-1)).mean()
    assert weights.mean().item() == pytest.approx(bound.item(), abs=0.05)


def test_what_auto_takes():
    for signal, network, pixels in [
        (GREY, "conv", "bernoulli"), (COLOUR, "conv", "discretised_logistic"), (POINTS, "dense", "gaussian"),
        (Signal(channels=1, size=(9, 8)), "dense", "bernoulli"),
    ]:  # fmt: skip
        config = made(signal).config
        assert (config.network, config.likelihood) == (network, pixels)
    assert build("vae", {}, GREY).config.width == 32
    assert build("vae", {"network": "dense"}, GREY).config.width == 400


def test_choices_that_do_not_go_together():
    with pytest.raises(UsageError, match="no beta"):
        made(beta=2.0, draws=5)
    with pytest.raises(UsageError, match="--binarise fixed is for pixels that are on or off"):
        made(likelihood="gaussian", binarise="fixed")
    with pytest.raises(UsageError, match="sides that 4 divides, not 9×8 px"):
        made(Signal(channels=1, size=(9, 8)), network="conv")


@pytest.mark.parametrize("pixels", ["bernoulli", "gaussian", "discretised_logistic"])
@pytest.mark.parametrize("draws", [1, 4])
def test_every_likelihood_learns(pixels, draws):
    method = made(likelihood=pixels, draws=draws, network="dense", width=32)
    # Each picture is one of four: a bit for its upper and one for its lower half.
    bits = torch.randint(0, 2, (64, 1, 2, 1), generator=torch.Generator().manual_seed(1)) * 2.0 - 1
    x = bits.repeat_interleave(4, 2).expand(64, 1, 8, 8)
    optimiser = torch.optim.Adam(method.parameters(), lr=5e-3)
    losses = []
    for _ in range(100):
        (turn,) = method.step({"x": x})
        optimiser.zero_grad()
        turn.loss.mean().backward()
        optimiser.step()
        losses.append(turn.loss.mean().item())
    assert losses[-1] < losses[0] - 30
