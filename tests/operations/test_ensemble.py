"""Ensembles as a person makes and uses them."""

import numpy as np
import pytest
import torch
from PIL import Image

import limner
from limner.core.errors import UsageError
from limner.core.events import Note, Table, Warned
from limner.core.tensorfile import read_tensors
from limner.data.cache import finish
from limner.data.dataset import Dataset
from limner.data.pack import write_pack
from limner.data.sources import open_data

TINY = {"batch": 50, "width": 8, "latent": 3, "threads": 1, "steps": 30, "checkpoint_every": 10}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    for seed, data in ((1, "digits"), (2, "digits"), (3, "ring")):
        list(limner.train("gan", **TINY, data=data, seed=seed, out=place / f"r{seed}"))
    return place


def test_two_runs_become_a_model_that_every_command_takes(runs, tmp_path):
    *_, done = limner.ensemble(runs / "r1", runs / "r2", out=tmp_path / "both", weights="kid", reject=True, samples=200)
    assert sum(done.values["weights"]) == pytest.approx(1)
    assert done.values["kernel distance, fitted shares"] <= done.values["kernel distance, even shares"] + 1e-12
    model = limner.load(tmp_path / "both/model.safetensors")
    assert len(model.generate(5)) == 5
    list(limner.sample(tmp_path / "both", count=4))
    assert (tmp_path / "both/samples.png").is_file()
    list(limner.sample(tmp_path / "both", count=4, interpolate=3))
    *_, measured = limner.evaluate(tmp_path / "both", samples=300, metrics=("fd", "discriminator"))
    assert "FD-digits" in measured.values["figures"]
    *_, side = limner.compare(runs / "r1", tmp_path / "both", out=tmp_path / "side.html")
    assert side.values["runs"]["both"]["training"]["steps"] == 60
    from limner.operations.show import Show, show

    *_, shown = show(Show(thing=str(tmp_path / "both")))
    assert shown.values["method"] == "ensemble"
    with pytest.raises(UsageError, match="exists already"):
        list(limner.ensemble(runs / "r1", out=tmp_path / "both"))


def test_checkpoints_of_a_run_are_a_snapshot_mixture(runs, tmp_path):
    steps = [runs / f"r1/checkpoints/step-000000{step}.safetensors" for step in (10, 20, 30)]
    *_, done = limner.ensemble(*steps, out=tmp_path / "m.safetensors")
    assert done.values["weights"] == pytest.approx([1 / 3] * 3)
    tensors = read_tensors(tmp_path / "m.safetensors", "model")[1]
    final = read_tensors(runs / "r1/model.safetensors", "model")[1]
    assert all(torch.equal(tensors[f"members.2.{name}"], value) for name, value in final.items())
    early = read_tensors(steps[0], "checkpoint")[1]["average.generator.0.weight"]
    assert torch.equal(tensors["members.0.generator.0.weight"], early)


def test_the_checkpoint_of_the_start_is_no_member(tmp_path):
    list(limner.train("gan", **{**TINY, "steps": 20}, data="digits", out=tmp_path / "a"))
    start, *later = sorted((tmp_path / "a/checkpoints").glob("step-*.safetensors"))
    assert start.name == "step-00000000.safetensors"
    told = list(limner.ensemble(start, *later, out=tmp_path / "m.safetensors"))
    assert told[-1].values["weights"] == [0.5, 0.5]
    [note] = [event.text for event in told if isinstance(event, Note)]
    assert note == f"{start} is left out: it is from before the first step, and has learned nothing"
    list(limner.ensemble(*later, out=tmp_path / "n.safetensors"))
    joined, alone = (read_tensors(tmp_path / name, "model")[1] for name in ("m.safetensors", "n.safetensors"))
    assert joined.keys() == alone.keys() and all(torch.equal(joined[name], alone[name]) for name in alone)
    with pytest.raises(UsageError, match="is from before the first step"):
        list(limner.ensemble(start, out=tmp_path / "o.safetensors"))


def test_points_are_joined_and_fitted_as_they_are(runs, tmp_path):
    *_, done = limner.ensemble(runs / "r3", runs / "r3", out=tmp_path / "m.safetensors", weights="kid", reject=True,
                               samples=300)  # fmt: skip
    assert sum(done.values["weights"]) == pytest.approx(1)
    assert limner.load(tmp_path / "m.safetensors").method.draw(torch.randn(7, 2 + 16 * 5)).shape == (7, 2)


def test_a_critic_s_scores_reject_too(tmp_path):
    list(limner.train("wgan_gp", **TINY, data="ring", out=tmp_path / "a"))
    list(limner.ensemble(tmp_path / "a", out=tmp_path / "m.safetensors", reject=True, samples=200))
    assert limner.load(tmp_path / "m.safetensors").method.rejections[0] is not None
    list(limner.train("pacgan", **TINY, data="ring", out=tmp_path / "b"))
    with pytest.raises(UsageError, match="no discriminator that says how real a sample is"):
        list(limner.ensemble(tmp_path / "b", out=tmp_path / "n.safetensors", reject=True, samples=200))


def test_models_of_different_things_are_refused(runs, tmp_path):
    with pytest.raises(UsageError, match=r"makes 8×8 px, grey, and .* points with 2 coordinates"):
        list(limner.ensemble(runs / "r1", runs / "r3", out=tmp_path / "m.safetensors"))
    list(limner.train("gan", **TINY, data="digits", conditioning="projection", out=tmp_path / "told"))
    with pytest.raises(UsageError, match=r"told/model.safetensors makes 10 classes on request, and .*r1.* none"):
        list(limner.ensemble(runs / "r1", tmp_path / "told", out=tmp_path / "m.safetensors"))
    with pytest.raises(UsageError, match="at most 12 models, not 13"):
        list(limner.ensemble(*[runs / "r1"] * 13, out=tmp_path / "m.safetensors", weights="kid"))


def test_a_discriminator_of_measured_pictures_judges_no_clean_ones(tmp_path):
    list(limner.train("gan", **TINY, data="digits", measure="block-pixels:0.5", out=tmp_path / "a"))
    for member in (tmp_path / "a", tmp_path / "a/checkpoints/step-00000020.safetensors"):
        with pytest.raises(UsageError, match=r"discriminator knows pictures measured by block-pixels:0\.5 alone"):
            list(limner.ensemble(member, out=tmp_path / "m.safetensors", reject=True, force=True))
        list(limner.ensemble(member, out=tmp_path / "m.safetensors", force=True))
        model = limner.load(tmp_path / "m.safetensors")
        assert model.header["training"]["measure"] == "block-pixels:0.5"
        assert "learned from measured pictures: block-pixels:0.5" in model.header["card"]
        told = limner.evaluate(tmp_path / "m.safetensors", samples=300, metrics=("fd", "discriminator"), force=True)
        (table,) = (event for event in told if isinstance(event, Table))
        assert any("the discriminator is not asked" in note for note in table.notes)


def test_clean_samples_are_not_fitted_to_measured_pictures(tmp_path):
    list(limner.train("gan", **TINY, data="digits", measure="block-pixels:0.5", measured=True, out=tmp_path / "a"))
    for member in (tmp_path / "a", tmp_path / "a/checkpoints/step-00000020.safetensors"):
        with pytest.raises(UsageError, match="learned from data that are measured, and makes clean pictures"):
            list(limner.ensemble(member, out=tmp_path / "m.safetensors", weights="kid"))
    list(limner.ensemble(tmp_path / "a", out=tmp_path / "m.safetensors", weights="kid", data="digits", samples=100))


def test_every_member_s_data_are_credited(runs, tmp_path):
    digits = finish(open_data("digits"))
    (tmp_path / "other").mkdir()
    write_pack(tmp_path / "other", digits.samples[:500], digits.labels[:500], name="other", source="elsewhere",
               classes=digits.manifest.classes, licence="CC0")  # fmt: skip
    list(limner.train("gan", **TINY, data=tmp_path / "other", out=tmp_path / "b"))
    told = list(limner.ensemble(runs / "r1", tmp_path / "b", out=tmp_path / "m.safetensors"))
    assert [event.text for event in told if isinstance(event, Warned)] == [
        "the members learned from different data: digits, other"
    ]
    header = limner.load(tmp_path / "m.safetensors").header
    assert [one["name"] for one in header["training"]["learned_from"]] == ["digits", "other"]
    assert "licence of other: CC0" in header["card"] and "licence of digits: BSD-3-Clause" in header["card"]


def test_members_whose_classes_have_other_names_are_refused(tmp_path):
    digits = finish(open_data("digits"))
    (tmp_path / "other").mkdir()
    names = tuple("abcdefghij")
    write_pack(tmp_path / "other", digits.samples, digits.labels, name="other", source="elsewhere", classes=names)
    for name, data in (("a", "digits"), ("b", tmp_path / "other")):
        list(limner.train("gan", **TINY, data=data, conditioning="concat", out=tmp_path / name))
    with pytest.raises(UsageError, match=r"knows the classes 0, 1, .* a, b, c"):
        list(limner.ensemble(tmp_path / "a", tmp_path / "b", out=tmp_path / "m.safetensors"))


def test_a_single_member_keeps_what_it_learned_from(tmp_path):
    list(limner.train("gan", **TINY, data="digits", shard="1/3", out=tmp_path / "a"))
    list(limner.ensemble(tmp_path / "a", out=tmp_path / "m.safetensors"))
    assert limner.load(tmp_path / "m.safetensors").header["training"]["shard"] == "1/3"


def test_a_walk_stays_with_one_member(runs, tmp_path):
    list(limner.ensemble(runs / "r1", runs / "r2", out=tmp_path / "m.safetensors"))
    model = limner.load(tmp_path / "m.safetensors")
    one, other = model.method.members
    drawn = []
    for seed in range(4):
        first = model.noise(1, seed)
        picked = one if int(model.method.picked(first[:, :2])) == 0 else other
        list(limner.sample(tmp_path / "m.safetensors", seed=seed, interpolate=seed + 10, count=5,
                           out=tmp_path / f"{seed}.png"))  # fmt: skip
        last = model.noise(1, seed + 10)
        drawn.append((tmp_path / f"{seed}.png", picked.draw(last[:, 4 : 4 + picked.latent])))
    for strip, end in drawn:
        found = torch.tensor(np.array(Image.open(strip))).float() / 127.5 - 1
        torch.testing.assert_close(found[-10:-2, -10:-2], end[0, 0].clamp(-1, 1), atol=0.01, rtol=0)


def test_choices_for_fitting_alone_are_refused_without_it(runs, tmp_path):
    for choice in ({"data": "digits"}, {"samples": 500}):
        with pytest.raises(UsageError, match="is for --weights kid and --reject"):
            list(limner.ensemble(runs / "r1", out=tmp_path / "m.safetensors", **choice))


def test_members_that_make_no_classes_are_joined_whatever_labels_their_data_had(runs, tmp_path):
    """What learns classes by itself, where there are any, is built again as for data without."""
    digits = finish(open_data("digits"))
    (tmp_path / "bare").mkdir()
    write_pack(tmp_path / "bare", digits.samples, None, name="bare", source="scikit-learn")
    small = {"width": 8, "batch": 50, "steps": 2, "threads": 1, "levels": 2}
    list(limner.train("edm", **small, data=tmp_path / "bare", out=tmp_path / "b"))
    list(limner.ensemble(runs / "r1", tmp_path / "b", out=tmp_path / "m.safetensors"))
    assert len(limner.load(tmp_path / "m.safetensors").generate(3)) == 3


def test_members_may_learn_from_shards(tmp_path, monkeypatch):
    seen, own = [], Dataset.take
    monkeypatch.setattr(Dataset, "take", lambda self, rows: (seen[-1].update(self.numbers(rows)), own(self, rows))[1])
    for number in (1, 2):
        seen.append(set())
        list(limner.train("gan", **TINY, data="digits", shard=f"{number}/2", seed=number, out=tmp_path / str(number)))
        header = limner.load(tmp_path / str(number) / "model.safetensors").header
        assert header["training"]["shard"] == f"{number}/2"
        assert f"learned from one part of them alone: {number}/2" in header["card"]
    assert not seen[0] & seen[1] and len(seen[0] | seen[1]) == 1797
    *_, done = limner.ensemble(tmp_path / "1", tmp_path / "2", out=tmp_path / "both")
    assert done.values["weights"] == [0.5, 0.5]
    list(limner.train(resume=tmp_path / "1", steps=40))
