"""Fine-tuning from a saved model: whose weights it begins with, which of them stay, and what does not fit."""

import pytest
import torch
from PIL import Image

import limner
from limner.core.errors import UsageError
from limner.core.events import Warned
from limner.core.signal import Signal
from limner.core.tensorfile import read_tensors
from limner.models.model import build
from limner.training.finetune import freeze

TINY = {"data": "digits", "batch": 20, "width": 4, "latent": 5, "threads": 1, "steps": 4}


def run(folder, method="gan", **more):
    return list(limner.train(method, **{**TINY, "out": folder, **more}))


def weights(folder):
    return read_tensors(folder / "model.safetensors", "model")[1]


def changed(before, after, prefix):
    return [name for name in before if name.startswith(prefix) and not torch.equal(before[name], after[name])]


def test_a_run_begins_with_the_model_s_weights_and_its_discriminator_s(tmp_path):
    run(tmp_path / "a", steps=20)
    run(tmp_path / "b", init=tmp_path / "a", steps=1, seed=7)
    before, after = weights(tmp_path / "a"), weights(tmp_path / "b")
    # One step of Adam moves a weight by its rate of 2e-4; other weights would be far away.
    assert max(float((before[name] - after[name]).abs().max()) for name in before) < 3e-4
    header = limner.load(tmp_path / "b/model.safetensors").header
    assert header["training"]["init"] == limner.load(tmp_path / "a/model.safetensors").sha256
    assert "began from: the model with SHA-256" in header["card"]


def test_frozen_layers_stay_and_all_others_move(tmp_path):
    run(tmp_path / "a", steps=5)
    run(tmp_path / "b", init=tmp_path / "a/model.safetensors", freeze=2)
    before, after = weights(tmp_path / "a"), weights(tmp_path / "b")
    names = [name for name in before if name.startswith("discriminator")]
    assert changed(before, after, "discriminator") == [name for name in names if not name.startswith(
        ("discriminator.1.", "discriminator.3."))]  # fmt: skip
    assert changed(before, after, "generator") == [name for name in before if name.startswith("generator")]


def test_batch_norms_between_frozen_layers_are_frozen():
    made = build("dcgan", {"variant": "paper", "width": 4}, Signal(channels=1, size=(32, 32)))
    freeze(made, 2)
    kinds = [(type(m).__name__, all(p.requires_grad for p in m.parameters()))
             for m in made.discriminator.modules() if list(m.parameters(recurse=False))]  # fmt: skip
    assert kinds[:5] == [
        ("Conv2d", False), ("Conv2d", False), ("BatchNorm2d", False), ("Conv2d", True), ("BatchNorm2d", True)
    ]  # fmt: skip


def test_each_of_several_discriminators_keeps_its_first_layers():
    made = build("gman", {"judges": 2, "width": 4, "network": "dcgan"}, Signal(channels=1, size=(16, 16)))
    freeze(made, 1)
    kept = [name for name, weight in made.discriminator.named_parameters() if not weight.requires_grad]
    assert {name.partition(".")[0] for name in kept} == {"0", "1"}
    assert all(weight.dim() in (1, 4) for weight in made.discriminator.parameters() if not weight.requires_grad)


def test_layers_that_read_something_else_than_the_picture_are_not_counted():
    """Those of ddgan's discriminator that read the time stand before its first convolution and in each block."""
    passed = ["first", "blocks.0.one", "blocks.0.two", "blocks.0.short", "blocks.1.one"]
    for count in (1, 5):
        made = build("ddgan", {"width": 8}, Signal(channels=1, size=(16, 16)))
        freeze(made, count)
        kept = [name for name, weight in made.discriminator.named_parameters() if not weight.requires_grad]
        assert {name.rpartition(".")[0] for name in kept} == set(passed[:count])


def test_a_resumed_run_is_the_same_without_the_model_that_it_began_from(tmp_path):
    run(tmp_path / "a")
    run(tmp_path / "whole", init=tmp_path / "a", freeze=1, steps=8)
    run(tmp_path / "part", init=tmp_path / "a", freeze=1, steps=3)
    (tmp_path / "a/model.safetensors").unlink()
    list(limner.train(resume=tmp_path / "part", steps=8, dry_run=True))
    list(limner.train(resume=tmp_path / "part", steps=8))
    assert not changed(weights(tmp_path / "whole"), weights(tmp_path / "part"), "")
    both = [limner.load(tmp_path / name / "model.safetensors").header["training"]["init"] for name in ("whole", "part")]
    assert both[0] == both[1]
    with pytest.raises(UsageError, match="this run froze 1 layers, and cannot go on with 2"):
        list(limner.train(resume=tmp_path / "part", steps=9, freeze=2))


@pytest.mark.parametrize("other", ["c", None])
def test_a_run_goes_on_with_the_model_that_it_began_from(tmp_path, other):
    for name in ("a", "c"):
        run(tmp_path / name)
    run(tmp_path / "b", init=tmp_path / "a")
    with pytest.raises(UsageError, match=f"this run has begun with --init {tmp_path / 'a'}"):
        list(limner.train(resume=tmp_path / "b", steps=6, init=other and tmp_path / other))
    list(limner.train(resume=tmp_path / "b", steps=6, init=tmp_path / "a"))


@pytest.mark.parametrize(("more", "message", "hint"), [
    ({"width": 8}, r"does not fit: 'discriminator.1.bias' is \(16,\), needed \(32,\)", "build it alike: --width 4"),
    ({"latent": 6}, "does not fit", "build it alike: --latent 5"),
    ({"data": "ring"}, "does not fit", "its pictures or classes differ"),
    ({"size": 16}, "does not fit", "give --size 8"),
    ({"size": 16, "colour": "colour"}, "does not fit", "give --size 8 --colour grey"),
    ({"freeze": 4}, "the discriminator has 4 layers, and --freeze 4 would leave it nothing", "give --freeze 3 or less"),
])  # fmt: skip
def test_what_does_not_fit_is_named(tmp_path, more, message, hint):
    run(tmp_path / "a")
    with pytest.raises(UsageError, match=message) as error:
        run(tmp_path / "b", init=tmp_path / "a", **more)
    assert hint in error.value.hint


@pytest.mark.parametrize(
    ("first", "told"),
    [
        ("a", ["each goes on as the one of its number: 0 was '0' and is 'a'"]),
        ("0", ["each goes on as the one of its number: 1 was '1' and is 'b'"]),
    ],
)
def test_classes_of_other_names_are_told(tmp_path, first, told):
    """A model knows its classes by number; digits has '0' to '9'."""
    for name in [first, *"bcdefghij"]:
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(3):
            Image.new("L", (8, 8), 20 * i).save(tmp_path / "pictures" / name / f"{i}.png")
    more = {"network": "dense", "conditioning": "concat"}
    run(tmp_path / "a", **more)
    same = run(tmp_path / "b", init=tmp_path / "a", **more)
    assert not [event for event in same if isinstance(event, Warned)]
    other = run(tmp_path / "c", init=tmp_path / "a", data=str(tmp_path / "pictures"), **more)
    warned = [event.text for event in other if isinstance(event, Warned)]
    assert [text.partition("names, and ")[2] for text in warned] == told


@pytest.mark.parametrize(
    ("method", "before", "width", "hint"),
    [
        ("gan", {"network": "dense", "spectral": True, "loss": "minimax"}, 4, "--spectral"),
        ("r3gan", {"fold": False, "gamma": 2.0, "lazy": 4, "width": 8}, 16, "--no-fold --width 8"),
    ],
)
def test_the_hint_names_what_shapes_the_networks_as_the_command_line_has_it(tmp_path, method, before, width, hint):
    run(tmp_path / "a", method, **{**before, "steps": 1})
    kept = {"network": "dense"} if method == "gan" else {}
    with pytest.raises(UsageError) as error:
        run(tmp_path / "b", method, init=tmp_path / "a", width=width, **kept)
    assert error.value.hint == f"build it alike: {hint}"


def test_another_method_s_model_and_freezing_without_one_are_refused(tmp_path):
    run(tmp_path / "a")
    with pytest.raises(UsageError, match="is a model of gan, and this is a run of dcgan") as error:
        run(tmp_path / "b", "dcgan", init=tmp_path / "a")
    assert error.value.hint == f"limner train gan --init {tmp_path / 'a/model.safetensors'}"
    list(limner.ensemble(tmp_path / "a", out=tmp_path / "e"))
    with pytest.raises(UsageError, match="is a model of ensemble, and this is a run of gan") as error:
        run(tmp_path / "b", init=tmp_path / "e")
    assert error.value.hint == "give a model of gan"
    with pytest.raises(UsageError, match="--freeze keeps layers of a saved model"):
        run(tmp_path / "c", freeze=1)


def test_layers_are_counted_in_the_order_that_a_picture_passes_them():
    made = build("r3gan", {"width": 32, "blocks": 1, "fold": False}, Signal(channels=1, size=(64, 64)))
    passed = []
    for module in made.discriminator.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(lambda module, *_: passed.append(module))
    made.discriminator(torch.zeros(1, 1, 64, 64))
    for count in range(1, len(passed)):
        freeze(made, count)
        assert [not module.weight.requires_grad for module in passed] == [i < count for i in range(len(passed))]
