"""Contracts that every method of the catalogue keeps. A new method file is tested by them as it is."""

import copy
import re
from pathlib import Path

import pytest
import torch

import limner
from limner.core import catalog
from limner.core.config import Adam
from limner.core.events import Finished
from limner.core.random import generator
from limner.core.tensorfile import read_tensors
from limner.models.model import Model, build, load, save_model
from limner.models.onnx import moved
from limner.training.average import Average
from limner.training.learner import Learner
from limner.training.world import World

ALONE = World(0, 1, torch.device("cpu"))


def built(case, seed=0):
    torch.manual_seed(seed)
    return build(case.name, case.config, case.signal)


def batch(case, method, count=8, seed=3):
    """As many batches of `count` as a step of the method reads, joined."""
    count *= method.batches
    x = torch.rand(count, *case.signal.shape, generator=generator(seed, "test")) * 2 - 1
    return {"x": x, "label": torch.arange(count) % max(1, case.signal.classes)}


def learner(case):
    method = built(case)
    return Learner(method, Average(method, 50), ALONE, torch.float32, seed=5, total=10)


def moves(method, data):
    return [turn for move in method.step(data) for turn in (move if isinstance(move, tuple) else (move,))]


def trained(case, pack, folder, **more):
    events = list(limner.train(case.name, **{
        "data": str(pack), "steps": 12, "out": folder, "threads": 1, "checkpoint_every": 1, "keep": 20,
        **case.config, **more,
    }))  # fmt: skip
    assert isinstance(events[-1], Finished)
    return events


def weights(folder):
    return read_tensors(folder / "model.safetensors", "model")[1]


def same(a, b):
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


@pytest.mark.parametrize("name", catalog.names())
def test_the_docstring_says_what_it_is_and_where_it_comes_from(name):
    doc = catalog.head(name).doc
    assert re.search(r"^Source: .*\b(19|20)\d\d\b.*arXiv:\d{4}\.\d{4,5}", doc, re.M)
    assert re.search(r"^Task: \w+$", doc, re.M)
    assert re.search(r"^Expect: .*limner train " + name, doc, re.M)


@pytest.mark.parametrize("name", catalog.names())
def test_the_head_without_torch_is_the_class_with_it(name):
    real = catalog.settings(name)
    assert catalog.head(name).Config.model_json_schema() == real.model_json_schema()
    assert [key for key, field in real.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("name", catalog.names())
def test_builds_from_its_defaults(name):
    from limner.core.signal import Signal

    method = build(name, {}, Signal(channels=1, size=(28, 28)))
    assert sum(p.numel() for p in method.parameters()) > 100_000


def test_each_player_is_a_child_module(case):
    method = built(case)
    players = [name for name, value in method.config if isinstance(value, Adam)]
    assert players and all(any(True for _ in method.get_submodule(name).parameters()) for name in players)
    assert set(method.averaged) <= set(dict(method.named_children()))


def test_a_step_yields_finite_losses_one_a_sample(case):
    method = built(case)
    players = {name for name, value in method.config if isinstance(value, Adam)}
    turns = moves(method, batch(case, method))
    assert {turn.player for turn in turns} == players
    for turn in turns:
        assert turn.loss.shape == (8,)
        assert torch.isfinite(turn.loss).all()
        assert turn.loss.requires_grad


def test_a_turn_moves_its_player_only(case):
    taught = learner(case)
    order = [player for turns in _walk(taught, case) for player in turns]
    assert set(order) == set(taught.players)


def _walk(taught, case):
    """Walk a step by hand, checking after each move that nothing but its players changed."""
    method = taught.method.train()
    walk = method.step(batch(case, method))
    while True:
        before = {name: copy.deepcopy(dict(method.get_submodule(name).named_parameters())) for name in taught.players}
        turns = taught._next(walk)
        if not turns:
            return
        for turn in turns:
            turn.loss.mean().backward(inputs=taught.players[turn.player], retain_graph=True)
        for turn in turns:
            taught._move(turn.player, 0)
        movers = {turn.player for turn in turns}
        for name, old in before.items():
            now = dict(method.get_submodule(name).named_parameters())
            moved = any(not torch.equal(old[key], now[key]) for key in old)
            assert moved == (name in movers), name
        yield sorted(movers)


def test_same_seed_same_weights(case, pack, tmp_path):
    trained(case, pack, tmp_path / "a")
    trained(case, pack, tmp_path / "b")
    same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    trained(case, pack, tmp_path / "c", seed=43)
    with pytest.raises(AssertionError):
        same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_saved_and_loaded_it_is_the_same(case, tmp_path):
    method = built(case).eval()
    facts = {"data": {}, "training": {}, "card": ""}
    save_model(tmp_path / "a.safetensors", method, case.name, facts)
    loaded = load(tmp_path / "a.safetensors")
    z = torch.randn(3, method.latent)
    assert torch.equal(method.draw(z), loaded.method.draw(z))
    save_model(tmp_path / "b.safetensors", loaded.method, case.name, facts)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_samples_have_the_signal_s_shape_and_range(case):
    method = built(case)
    made = method.draw(torch.randn(5, method.latent))
    assert made.shape == (5, *case.signal.shape)
    assert made.abs().max() <= 1
    assert made.std() > 0


def test_a_sample_does_not_depend_on_its_neighbours(case):
    method = built(case)
    z = torch.randn(7, method.latent)
    torch.testing.assert_close(method.draw(z), method.draw(z, batch=2), atol=1e-5, rtol=0)


def test_exports_with_parity(case):
    """A batch of another size than the one it was traced with makes the same samples in ONNX Runtime."""
    header = {"method": case.name, "config": case.config, "sha256": ""}
    there, difference = moved(Model(Path("test"), header, built(case).eval()), "onnxruntime")
    assert difference <= 1e-4
    assert there.generate(3).array.std() > 0


@pytest.mark.parametrize("stop", [1, 5, 10, 12])
def test_interrupted_and_resumed_equals_never_stopped(case, pack, tmp_path, stop):
    """Epochs end between steps 2-3, 5-6, 7-8 and at 10: the stops stand before, on and after borders."""
    trained(case, pack, tmp_path / "whole")
    folder = tmp_path / "part"
    trained(case, pack, folder)
    for path in (folder / "checkpoints").iterdir():
        if path.name > f"step-{stop:08d}.safetensors":
            path.unlink()
    (folder / "model.safetensors").unlink()
    list(limner.train(resume=folder))
    same(weights(tmp_path / "whole"), weights(folder))
    last = "checkpoints/step-00000012.safetensors"
    same(*(read_tensors(root / last, "checkpoint")[1] for root in (tmp_path / "whole", folder)))
