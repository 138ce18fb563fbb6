"""Augmentation around any adversarial method: who sees it, with which numbers, and what ADA makes of scores."""

import numpy as np
import pytest
import torch
from toys import ALONE

import limner
from limner.core.errors import UsageError
from limner.core.method import Luck
from limner.core.signal import Signal
from limner.core.tensorfile import read_tensors
from limner.data.dataset import Dataset, Manifest
from limner.models.model import build
from limner.nn.augment import DIFFAUGMENT_DRAWS, diffaugment
from limner.nn.labels import Unlabelled
from limner.training.augmentation import Adaptive, Augmentation
from limner.training.average import Average
from limner.training.learner import Learner, two_passes
from limner.training.log import read_log

SIGNAL = Signal(channels=1, size=(8, 8))


def method(name="gan", **config):
    torch.manual_seed(0)
    return build(name, {"width": 4, "latent": 5, **config}, SIGNAL)


def learner(made, *wraps):
    return Learner(made, Average(made, 0), ALONE, torch.float32, seed=1, total=10, wraps=wraps)


def dataset(count=60, split="train"):
    samples = np.random.default_rng(1).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
    manifest = Manifest(name="noise", split=split, source="a test", count=count, channels=1, size=(8, 8), sha256=split)
    return Dataset(manifest, samples)


def test_the_discriminator_sees_augmented_pictures_while_it_trains_and_only_then():
    made = method().train()
    wrap = Augmentation(made, "diffaugment")
    seen = []
    made.discriminator[0].register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    x = torch.rand(6, 1, 8, 8) * 2 - 1
    made.luck = Luck(3, "test")
    made.judge(x)
    expected = diffaugment(x, Luck(3, "test").uniform(6, DIFFAUGMENT_DRAWS))
    assert torch.equal(seen[0], expected)
    made.eval()
    made.judge(x)
    assert torch.equal(seen[1], x)
    made.luck = Luck(3, "test")
    packed = wrap.augmented(x.view(3, 2, 8, 8), made.luck)
    assert torch.equal(packed.view(6, 1, 8, 8), expected), "samples joined along the channels are changed one by one"


def test_gradients_reach_the_generator_through_the_augmentation():
    """Where the hole is, no slope comes back; elsewhere it is the network's own at what it saw."""
    made = method().train()
    Augmentation(made, "diffaugment")

    class Same(Luck):
        def uniform(self, count, *shape):
            # Contrast × 1, no shift, and a hole around the first corner.
            return torch.tensor([0.5, 0.5, 0.5, 0.5, 0.5, 0.0, 0.0]).expand(count, -1)

    made.luck = Same(0)
    x = torch.rand(2, 1, 8, 8, requires_grad=True)
    (slope,) = torch.autograd.grad(made.judge(x).sum(), x)
    made.eval()
    (plain,) = torch.autograd.grad(made.judge(diffaugment(x, made.luck.uniform(2))).sum(), x)
    assert torch.equal(slope, plain)
    assert (slope[:, :, :2, :2] == 0).all()
    assert (slope[:, :, 2:, 2:] != 0).all()


def gradients(shift):
    made = method("dcgan", variant="mnist").double()
    made.discriminator[-2].bias.data.fill_(shift)
    noise = made.noise
    made.noise = lambda *shape: noise(*shape).double()
    taught, found = learner(made, Augmentation(made, "diffaugment")), {}
    taught._move = lambda player, index: found.__setitem__(
        player, [p.grad.clone() for p in made.get_submodule(player).parameters()]
    )
    x = torch.rand(6, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 2 - 1
    taught.step(0, [{"x": x}], 0)
    return found


@pytest.mark.parametrize("shift", [0.0, -30.0])
def test_one_pass_equals_two_under_augmentation(shift):
    one = gradients(shift)
    with two_passes():
        two = gradients(shift)
    for player in ("discriminator", "generator"):
        for a, b in zip(one[player], two[player], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_parts_are_augmented_as_the_joined_batch():
    x = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(2)) * 2 - 1
    told = []
    for parts in ([x], [x[:4], x[4:]]):
        made = method()
        told.append(learner(made, Augmentation(made, "diffaugment")).step(0, [{"x": part} for part in parts], 0))
    assert told[0] == pytest.approx(told[1], rel=1e-5)


@pytest.mark.parametrize("name", ["lsgan", "gman", "mgan"])
def test_a_discriminator_sees_nothing_unaugmented(name, monkeypatch):
    """Augmentation is made to black out whatever it is given, so black is all that any first layer may see."""
    made = method(name, network="dense")
    wrap = Augmentation(made, "diffaugment")
    monkeypatch.setattr(wrap, "augmented", lambda x, luck: torch.zeros_like(x))
    seen = []
    for judge in made.discriminator if isinstance(made.discriminator, torch.nn.ModuleList) else [made.discriminator]:
        first = next(module for module in judge.modules() if isinstance(module, torch.nn.Linear))
        first.register_forward_pre_hook(lambda module, inputs: seen.append(float(inputs[0].detach().abs().max())))
    learner(made, wrap).step(0, [{"x": torch.rand(4, 1, 8, 8) * 2 - 1}], 0)
    assert seen and max(seen) == 0


def test_points_and_methods_without_a_discriminator_are_refused():
    with pytest.raises(UsageError, match="--augment changes pictures, not points"):
        Augmentation(build("gan", {"width": 4}, Signal(channels=2)), "ada")


@pytest.mark.parametrize(
    "name", ["gan", "lsgan", "sngan", "unrolled", "pacgan", "wgan_gp", "r3gan", "dcgan", "gman", "mgan"]
)
def test_ada_and_lecam_go_around_every_adversarial_method(tmp_path, name, monkeypatch):
    """Whatever the loss, the packing or the critic's steps."""
    monkeypatch.setattr(Adaptive, "every", 1)
    run(tmp_path / "a", method=name, steps=3, augment="ada", lecam=0.1)
    told = read_log(tmp_path / "a/log.jsonl")[-1]
    assert 0 <= told["augment_p"] <= 0.8 and np.isfinite(told["held_out_gap"]) and told["lecam"] >= 0
    run(tmp_path / "b", method=name, steps=3, augment="diffaugment", measure="block-pixels:0.5")


def test_a_discriminator_of_pairs_is_refused(tmp_path):
    with pytest.raises(UsageError, match="the discriminator of DDGAN sees each beside what it was made of"):
        run(tmp_path / "a", method="ddgan", steps=3, augment="diffaugment")


def adaptive(known, new, fake):
    made = method()
    wrap = Adaptive(made, dataset(), dataset(20, "test"), ALONE, seed=1)
    wrap._scores = lambda index: (known, new, fake)
    return wrap


def test_p_rises_where_unseen_pictures_score_nearer_to_fakes_and_falls_elsewhere():
    """Every 16 steps of 50 samples it moves by 16 · 50 / 100,000 = .008."""
    over = adaptive(2.0, 0.5, 0.0)  # 75 % of the way to the fakes
    for index in range(32):
        over.after({}, index, 50)
    assert over.p == pytest.approx(0.016)
    for scores in ((2.0, 1.5, 0.0), (1.0, 2.0, 0.0), (0.0, 0.0, 1.0)):
        well = adaptive(*scores)
        well.p = 0.01
        told = [well.after({}, index, 50) for index in range(16)]
        assert well.p == pytest.approx(0.002)
        assert told[:15] == [{}] * 15
        assert told[15] == {"augment_p": well.p, "held_out_gap": scores[0] - scores[1]}
        for index in range(16):
            well.after({}, index, 50)
        assert well.p == 0.0
    over.p = 0.799
    for index in range(16):
        over.after({}, index, 50)
    assert over.p == 0.8


def test_the_level_of_the_scores_does_not_matter():
    made = method()
    wrap = Adaptive(made, dataset(), dataset(20, "test"), ALONE, seed=1)
    before = wrap._scores(0)
    made.discriminator[-2].bias.data.add_(7.0)
    after = wrap._scores(0)
    assert [b - a for a, b in zip(before, after, strict=True)] == pytest.approx([7.0] * 3, abs=1e-4)
    assert wrap._scores(0) == after, "a look changes nothing"


def test_a_discriminator_that_knows_its_pictures_makes_p_rise():
    """By its weights: it scores a picture by how well its first pixels agree with a mark of the training set."""
    marked = dataset()
    marked.samples[:, :, :4] = 255
    made = method()
    made.discriminator = Unlabelled(torch.nn.Flatten(), torch.nn.Linear(64, 1), torch.nn.Flatten(0))
    made.discriminator[1].weight.data.zero_()[0, :32] = 0.1
    plain = dataset(20, "test")
    plain.samples[:] = 128
    wrap = Adaptive(made, marked, plain, ALONE, seed=1)
    known, new, _ = wrap._scores(15)
    assert known - new > 2.5
    wrap.after({}, 15, 50)
    assert wrap.p == pytest.approx(0.008)


def run(folder, method="gan", **more):
    choices = {"data": "digits", "batch": 20, "width": 4, "latent": 5, "threads": 1, "steps": 48,
               "checkpoint_every": 20, "out": folder, **more}  # fmt: skip
    return list(limner.train(method, **choices))


def weights(folder):
    return read_tensors(folder / "model.safetensors", "model")[1]


@pytest.mark.parametrize("kind", ["diffaugment", "ada"])
def test_a_resumed_run_is_the_same_and_p_is_kept(tmp_path, kind, monkeypatch):
    # Gaps of noise-like size, so that p moves off 0 within a few steps and the pictures do change.
    monkeypatch.setattr(Adaptive, "target", -1e9)
    monkeypatch.setattr(Adaptive, "speed", 2_000)
    run(tmp_path / "whole", augment=kind)
    run(tmp_path / "part", augment=kind, steps=20)
    list(limner.train(resume=tmp_path / "part", steps=48))
    whole, part = weights(tmp_path / "whole"), weights(tmp_path / "part")
    assert all(torch.equal(whole[name], part[name]) for name in whole)
    run(tmp_path / "plain")
    assert not torch.equal(whole["generator.0.weight"], weights(tmp_path / "plain")["generator.0.weight"])
    if kind == "ada":
        told = [line for line in read_log(tmp_path / "part" / "log.jsonl") if "augment_p" in line]
        assert told[-1]["augment_p"] > 0.1
        state = read_tensors(tmp_path / "part/checkpoints/step-00000048.safetensors", "checkpoint")[1]
        assert state["wrap.augment.p"].item() == pytest.approx(3 * 16 * 20 / 2_000)


def test_what_is_set_aside_is_not_learnt_from(tmp_path):
    whole = dataset(100)
    learned, aside = whole.aside(seed=3)
    assert (len(learned), len(aside)) == (90, 10)
    assert sorted([*learned.rows, *aside.rows]) == list(range(100))
    torch.testing.assert_close(aside.take(np.array([2]))["x"], whole.take(aside.rows[[2]])["x"])
    assert len(dataset(12_000).aside(seed=3)[1]) == 1000, "a tenth, but no more than there is use for"


def test_no_picture_is_changed_twice(tmp_path):
    with pytest.raises(UsageError, match="--augment diffaugment and --augment-p would change each picture twice"):
        list(limner.train("r3gan", data="digits", augment="diffaugment", augment_p=0.3, steps=1, out=tmp_path / "a"))
