"""Contracts that every method of the catalogue keeps. A new method file is tested by them as it is."""

import copy
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
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
from limner.operations.show import Show, show
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
    text = {"text": torch.nn.functional.normalize(torch.randn(count, case.signal.text), dim=1)}
    return {"x": x, "label": torch.arange(count) % max(1, case.signal.classes)} | (text if case.signal.text else {})


def learner(case, precision=torch.float32):
    method = built(case)
    return Learner(method, Average(method, 50), ALONE, precision, seed=5, total=10)


def moves(method, data):
    return [turn for move in method.step(data) for turn in (move if isinstance(move, tuple) else (move,))]


def choices(case, pack, folder):
    return {
        "data": str(pack), "steps": 12, "out": folder, "threads": 1, "checkpoint_every": 1, "keep": 20,
        "preview_every": 1e6, "precision": "fp32", **case.config,
    }  # fmt: skip


def trained(case, pack, folder, **more):
    events = list(limner.train(case.name, **{**choices(case, pack, folder), **more}))
    assert isinstance(events[-1], Finished)
    return events


@pytest.fixture(scope="session")
def finished():
    """Runs that were never stopped, kept for all tests that compare with one: case → (pack, run folder)."""
    return {}


@pytest.fixture
def whole(case, finished, packer, tmp_path_factory):
    """The pack and the folder of such a run of the case."""
    if str(case) not in finished:
        home = tmp_path_factory.mktemp("whole")
        pack = packer(case, home / "pack")
        trained(case, pack, home / "run")
        finished[str(case)] = pack, home / "run"
    return finished[str(case)]


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


def test_points_are_among_the_cases(every_case):
    """Cases are left out where a method refuses them, so that one which should not would go unseen."""
    learned = {case.name for case in every_case if not case.signal.rank}
    assert learned == set(catalog.names()) - {"dcgan", "ddgan", "ddpm", "edm", "gan_cls"}


@pytest.mark.parametrize("name", catalog.names())
def test_builds_from_its_defaults(name, suits):
    method = build(name, {}, suits(name, channels=1, size=(28, 28)))
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
    """Looked at around the learner's own moves, after the gradients that it took itself."""
    taught, movers = learner(case), []
    move = taught._move

    def watched(player, index):
        before = copy.deepcopy(dict(taught.method.named_parameters()))
        move(player, index)
        now = dict(taught.method.named_parameters())
        moved = {name for name, old in before.items() if not torch.equal(old, now[name])}
        assert moved and all(name.startswith(f"{player}.") for name in moved), player
        movers.append(player)

    taught._move = watched
    assert taught.step(0, [batch(case, taught.method)], 0)["skipped"] == 0
    assert set(movers) == set(taught.players)


def test_steps_in_bfloat16(case):
    """Two steps, so that the second's losses have seen what the first moved."""
    taught = learner(case, torch.bfloat16)
    for index in range(2):
        found = taught.step(index, [batch(case, taught.method)], 8 * index)
        assert found["skipped"] == 0
    assert {weight.dtype for weight in taught.method.parameters()} == {torch.float32}


def test_same_seed_same_weights(case, whole, tmp_path):
    pack, first = whole
    trained(case, pack, tmp_path / "again")
    same(weights(first), weights(tmp_path / "again"))
    trained(case, pack, tmp_path / "other", seed=43)
    with pytest.raises(AssertionError):
        same(weights(first), weights(tmp_path / "other"))


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
    model = Model(Path("test"), header, built(case).eval())
    if model.method.passes > 1 and case.signal.size == (28, 28):
        pytest.skip("writing such a network as a graph takes long, and smaller ones are tested")
    there, difference = moved(model, "onnxruntime")
    spread = float(there.draw(torch.randn(3, model.method.latent), None).std())
    # A network that has not learned makes nearly grey pictures, so the difference is measured by what varies in them.
    assert difference <= 1e-3 * spread


@pytest.mark.parametrize("stop", [1, 5, 10, 12])
def test_interrupted_and_resumed_equals_never_stopped(case, whole, tmp_path, stop):
    """Epochs end between steps 2-3, 5-6, 7-8 and at 10: the stops stand before, on and after borders."""
    folder = tmp_path / "part"
    shutil.copytree(whole[1], folder)
    for path in (folder / "checkpoints").iterdir():
        if path.name > f"step-{stop:08d}.safetensors":
            path.unlink()
    (folder / "model.safetensors").unlink()
    list(limner.train(resume=folder))
    same(weights(whole[1]), weights(folder))
    last = "checkpoints/step-00000012.safetensors"
    same(*(read_tensors(root / last, "checkpoint")[1] for root in (whole[1], folder)))


@pytest.fixture(scope="module")
def killed(packs, tmp_path_factory):
    """One process that parts into one for each method, which is killed; the folder of the runs."""
    folder = tmp_path_factory.mktemp("killed")
    runs = [[name, choices(case, pack, str(folder / name))] for name, (case, pack) in packs.items()]
    assert run("killed.py", [], json.dumps(runs)).split() == [str(signal.SIGKILL.value)] * len(runs)
    return folder


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes part by fork")
@pytest.mark.parametrize("name", catalog.names())
def test_killed_and_resumed_equals_never_stopped(name, packs, killed, tmp_path):
    folder, (case, pack) = killed / name, packs[name]
    saved = sorted(path.name for path in (folder / "checkpoints").glob("step-*"))
    assert saved[-1] == "step-00000006.safetensors"
    list(limner.train(resume=folder))
    trained(case, pack, tmp_path / "whole")
    same(weights(tmp_path / "whole"), weights(folder))


@pytest.fixture(scope="module")
def shared(every_case, tmp_path_factory):
    """What each case says of two processes that share its batches (see shared.py)."""
    asked = json.dumps([[case.name, case.config, case.signal.model_dump()] for case in every_case])
    meeting = str(tmp_path_factory.mktemp("shared") / "meeting")
    with started("shared.py", ["1", meeting]) as other:
        other.stdin.write(asked)
        other.stdin.close()
        said = run("shared.py", ["0", meeting], asked).splitlines()
    return {str(case): json.loads(line) for case, line in zip(every_case, said, strict=True)}


def test_two_processes_make_what_one_makes_or_are_refused(case, shared):
    found = shared[str(case)]
    if isinstance(found, str):
        assert catalog.method(case.name).batchwise
        assert found == "this method compares the samples of a batch, so processes cannot share one"
    else:
        assert found < 1e-9


@pytest.mark.parametrize("name", catalog.names())
def test_the_expected_command_is_one(name):
    """What `limner show METHOD` proposes next can be typed."""
    from limner.cli.main import _events

    *_, done = show(Show(thing=name))
    for line in done.next:
        command, *words = shlex.split(line)
        assert command == "limner"
        if "--help" not in words:
            _events(words)


def started(script, arguments):
    env = {**os.environ, "PYTHONPATH": str(Path(limner.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).parent / script), *arguments]
    return subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run(script, arguments, told):
    process = started(script, arguments)
    said, _ = process.communicate(told, timeout=60 + 20 * len(catalog.names()))
    assert process.returncode == 0
    return said
