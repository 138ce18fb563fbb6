"""R3GAN against its equations, written out once more with plain tensors."""

import math

import pytest
import torch
from torch.nn.functional import conv2d, leaky_relu, softplus

from limner.core.errors import UsageError
from limner.core.method import Luck, Moment
from limner.core.signal import Signal
from limner.methods.r3gan import Block, Config, Generator
from limner.models.model import build
from limner.nn.augment import ADA_DRAWS
from limner.training.average import Average
from limner.training.learner import Learner
from limner.training.world import World

SMALL = {"width": 16, "latent": 6}


def weights(module):
    return sum(p.numel() for p in module.parameters())


def test_a_block_is_the_sum_that_the_paper_draws():
    """x + W₃ lrelu(grouped W₂ lrelu(W₁ x + b₁) + b₂): each sum over channels and taps written out in float64."""
    torch.manual_seed(0)
    block = Block(16, 8, 4).double()
    for weight in block.parameters():
        torch.nn.init.normal_(weight)
    x = torch.randn(2, 16, 5, 6, dtype=torch.float64)
    inside = torch.einsum("oc,nchw->nohw", block.widen.weight[:, :, 0, 0], x) + block.widen.bias[:, None, None]
    inside = leaky_relu(inside, 0.2)
    groups = []
    for i in range(4):  # 32 channels inside, 8 in a group
        groups.append(conv2d(inside[:, 8 * i : 8 * i + 8], block.mix.weight[8 * i : 8 * i + 8], padding=1))
    mixed = leaky_relu(torch.cat(groups, 1) + block.mix.bias[:, None, None], 0.2)
    whole = x + torch.einsum("oc,nchw->nohw", block.narrow.weight[:, :, 0, 0], mixed)
    torch.testing.assert_close(block(x), whole)


def test_initial_weights():
    """He's deviation √(2 / 1.04 / inputs), shrunk by the fourth root of the 8 blocks; what a block adds starts at 0."""
    torch.manual_seed(0)
    block = Block(64, 16, 8)
    for layer, inputs in ((block.widen, 64), (block.mix, 16 * 9)):
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / 1.04 / inputs) * 8**-0.25, rel=0.03)
        assert not layer.bias.any()
    assert not block.narrow.weight.any()


def test_the_published_cifar_generator_has_its_count():
    """Worked out from the authors' preset: 4 stages of 2 blocks, 768 channels, 1536 inside in 96 groups."""
    block = 768 * 1536 + 1536 * 16 * 9 + 1536 * 768 + 2 * 1536
    stem, last = 768 * 16 + 64 * 768, 768 * 3
    found = Generator(Config(width=768, fold=False), Signal(channels=3, size=(32, 32)))
    assert weights(found) == 8 * block + stem + last == 20_732_160


def test_channels_halve_above_32_px():
    found = Generator(Config(width=64, fold=False), Signal(channels=3, size=(128, 128)))
    assert [stage[0].widen.in_channels for stage in found.stages] == [64, 64, 64, 64, 32, 16]


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("size", [(8, 8), (28, 28), (32, 64)])
def test_sizes(fold, size):
    method = build("r3gan", {**SMALL, "fold": fold}, Signal(channels=3, size=size))
    x = method.generate(torch.randn(2, 6))
    assert x.shape == (2, 3, *size)
    assert method.discriminator(x).shape == (2,)


def step(method, moment=None):
    method.moment = moment or Moment()
    return list(method.step({"x": torch.rand(12, 1, 8, 8) * 2 - 1}))


def test_augmentation_follows_the_schedule(monkeypatch):
    """From nothing at the start, along half a cosine of half the run, to all of it; both turns see both samples so."""
    asked = []

    def flipped(x, u, p, colours):
        asked.append((p, u.shape))
        assert colours == 0.5
        return x.flip(3)

    monkeypatch.setattr("limner.methods.r3gan.ada", flipped)
    monkeypatch.setattr("limner.methods.r3gan.cutout", lambda x, u: x * 0)
    method = build("r3gan", {**SMALL, "augment_p": 0.4}, Signal(channels=1, size=(8, 8)))
    step(method, Moment(0, 101))
    assert not asked
    step(method, Moment(25, 101))
    assert [p for p, _ in asked] == pytest.approx([0.2] * 3)
    asked.clear()
    seen = []
    method.discriminator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    real = torch.rand(12, 1, 8, 8) * 2 - 1
    method.moment = Moment(80, 101)
    first, _ = method.step({"x": real})
    assert asked == [(pytest.approx(0.4), (count, ADA_DRAWS)) for count in (12, 6, 6)]
    shown = seen[0][::2]
    cut = shown.flatten(1).abs().amax(1) == 0
    torch.testing.assert_close(shown[~cut], real[:6].flip(3)[~cut])
    assert first.values["r1"][~cut].min() > 0  # with respect to the picture as it was
    method.seen(torch.ones(2000, 1, 8, 8), None)
    assert (seen[-1].flatten(1).amax(1) == 0).double().mean() == pytest.approx(0.4, abs=0.04)
    with pytest.raises(UsageError, match="--augment-p changes pictures, not points"):
        build("r3gan", {**SMALL, "augment_p": 0.4}, Signal(channels=2))


def test_where_rates_are_constant_average_and_augmentation_are_whole_from_the_start():
    steady = {"schedule": "constant", "beta2_final": None}
    choices = {**SMALL, "augment_p": 0.4, "generator": steady, "discriminator": steady}
    method, asked = build("r3gan", choices, Signal(channels=1, size=(8, 8))), []
    method.luck.uniform = lambda *shape: (asked.append(shape), torch.rand(shape))[1]
    step(method, Moment(0, 101))
    assert (12, ADA_DRAWS + 3) in asked
    assert method.half_life(3000, 0) == 3000 and method.gamma == Config().gamma


def test_the_paper_s_preset_is_the_authors_for_cifar():
    paper = Config(variant="paper").settle(Signal(channels=3, size=(32, 32)))
    found = (paper.width, paper.fold, paper.blocks, paper.group, paper.batch, paper.augment_p)
    assert found == (768, False, 2, 16, 512, 0.55)
    # Of a step's two batches of real pictures their code counts one: 5M and 20M pictures are 10M and 40M reads.
    assert (paper.average, paper.epochs * 50_000 * paper.discriminator.until) == (10_000, 40e6)
    assert (paper.gamma, paper.gamma * paper.gamma_final, paper.latent) == (0.05, pytest.approx(0.005), 64)
    assert Config(variant="paper").settle(Signal(channels=2)).augment_p == 0


def test_losses_are_those_of_pairs():
    torch.manual_seed(0)
    method = build("r3gan", {**SMALL, "gamma": 0.4}, Signal(channels=1, size=(8, 8)))
    for stage in [*method.generator.stages, *method.discriminator.path[::2]]:
        torch.nn.init.normal_(stage[0].narrow.weight, std=0.1)
    first, second = step(method)
    v = first.values
    adversarial = softplus(v["fake_logit"] - v["real_logit"])
    torch.testing.assert_close(first.loss, adversarial + 0.2 * (v["r1"] + v["r2"]))
    assert v["r1"].min() > 0 and v["r2"].min() > 0
    assert second.player == "generator" and second.loss.shape == (6,)


def test_each_player_meets_real_samples_of_its_own():
    method, seen = build("r3gan", SMALL, Signal(channels=1, size=(8, 8))), []
    method.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    x = torch.rand(12, 1, 8, 8)
    list(method.step({"x": x}))
    assert torch.equal(seen[0][::2], x[:6]) and torch.equal(seen[1], x[6:])


def test_penalties_are_the_slopes_of_each_sample_by_itself():
    """Real samples and fakes pass together; each has the slope that it has alone."""
    torch.manual_seed(0)
    method = build("r3gan", {"network": "dense", "width": 8}, Signal(channels=1, size=(4, 4), classes=3)).double()
    noise = method.noise
    method.noise = lambda *shape: noise(*shape).double()
    method.luck, x = Luck(1), torch.rand(6, 1, 4, 4, dtype=torch.float64)
    turn = next(method.step({"x": x}))
    method.luck = Luck(1)
    fake = method.generate(method.noise(3, method.latent)).detach()
    for name, side in (("r1", x[:3]), ("r2", fake)):
        slopes = torch.func.vmap(torch.func.grad(lambda one: method.score(one[None])[0]))(side)
        torch.testing.assert_close(turn.values[name], slopes.flatten(1).square().sum(1))
    torch.testing.assert_close(turn.values["real_logit"], method.score(x[:3]))
    torch.testing.assert_close(turn.values["fake_logit"], method.score(fake))


def test_lazy_penalties_come_every_fourth_step_four_times():
    method = build("r3gan", {**SMALL, "lazy": 4, "gamma": 0.4}, Signal(channels=1, size=(8, 8)))
    found = [step(method, Moment(i, 10_000))[0] for i in range(5)]
    assert ["r1" in turn.values for turn in found] == [True, False, False, False, True]
    v = found[0].values
    extra = found[0].loss - softplus(v["fake_logit"] - v["real_logit"])
    torch.testing.assert_close(extra, 4 * 0.2 * (v["r1"] + v["r2"]))


@pytest.mark.parametrize(("progress", "left"), [(0.0, 1.0), (0.125, 0.5 + math.sqrt(0.125)), (0.25, 0.5), (0.7, 0.0)])
def test_all_schedules_are_one_cosine(progress, left):
    """At an eighth of the run, a quarter of the schedule: (1 + cos 45°) / 2."""
    method = build("r3gan", {**SMALL, "average": 3.0}, Signal(channels=1, size=(8, 8)))
    learner = Learner(
        method, Average(method, 3000), World(0, 1, torch.device("cpu")), torch.float32, seed=1, total=1001
    )
    index = round(1000 * progress)
    method.moment = Moment(index, 1001)
    assert method.gamma == pytest.approx(0.005 + 0.045 * left)
    assert method.half_life(3000, 10**9) == pytest.approx(3000 * (1 - left), abs=1e-9)
    method.generator.basis.grad = torch.ones_like(method.generator.basis)
    learner._move("generator", index)
    group = learner.optimisers["generator"].param_groups[0]
    assert group["lr"] == pytest.approx(5e-5 + 15e-5 * left)
    assert group["betas"] == pytest.approx((0.0, 0.99 - 0.09 * left))


def test_tiny_networks_keep_batch_norm_and_each_side_its_own_statistics():
    """Slopes by the chain rule written out: ∂ Σ scores / ∂ x, from the Jacobian of all scores."""
    method = build("r3gan", {"network": "tiny_half", "latent": 6, "gamma": 3.0}, Signal(channels=3, size=(8, 8)))
    assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in method.discriminator)
    seen = []
    method.discriminator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    real = torch.rand(12, 3, 8, 8) * 2 - 1
    method.moment = Moment()
    first, _ = method.step({"x": real})
    x, made = seen[:2]
    torch.testing.assert_close(x, real[:6])
    with torch.no_grad():
        gap = method.discriminator(x) - method.discriminator(made)
    slopes = [
        torch.autograd.functional.jacobian(method.discriminator, side).sum(0).square().sum((1, 2, 3))
        for side in (x, made)
    ]
    torch.testing.assert_close(first.loss, softplus(-gap) + 3.0 / 2 * sum(slopes))


def test_points_get_the_networks_for_points_and_pictures_residual_blocks():
    assert build("r3gan", {}, Signal(channels=2)).config.network == "mixture"
    assert build("r3gan", SMALL, Signal(channels=1, size=(8, 8))).config.network == "residual"


def test_the_paper_variant_is_the_cifar_preset_and_a_person_s_choices_win():
    """Table of the authors' CIFAR-10 preset: batch 512, half-life of 5 million images in each of two batches, γ .05 to
    .005, no fold."""
    chosen = Config(variant="paper").settle(Signal(channels=3, size=(32, 32)))
    assert (chosen.width, chosen.fold, chosen.batch, chosen.average) == (768, False, 512, 10_000)
    assert (chosen.gamma, chosen.gamma * chosen.gamma_final) == pytest.approx((0.05, 0.005))
    assert Config(variant="paper", batch=64).settle(Signal(channels=3, size=(32, 32))).batch == 64
