"""Whole runs: killed, interrupted, damaged, doubled, full disks."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import limner
from limner.core.errors import LimnerError, UsageError
from limner.core.events import Epoch, Finished, Saved, Warned
from limner.core.tensorfile import read_tensors
from limner.training import checkpoint
from limner.training.guard import Diverged
from limner.training.log import read_log

TINY = {"data": "ring", "batch": 20, "width": 4, "latent": 2, "threads": 1}
SRC = str(Path(limner.__file__).parents[1])


def run(folder, method="gan", **more):
    return list(limner.train(method, **{**TINY, "out": folder, **more}))


def weights(folder):
    return read_tensors(folder / "model.safetensors", "model")[1]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def started(folder, **more):
    """The same run in a process of its own, once it has written its first checkpoint."""
    choices = {**TINY, "out": str(folder), **more}
    code = (
        "import sys, limner\nfrom limner.core.errors import LimnerError\n"
        f"try:\n  [None for _ in limner.train('gan', **{choices!r})]\n"
        "except LimnerError as error:\n  print(error)\n  sys.exit(error.exit_code)"
    )
    env = {**os.environ, "PYTHONPATH": SRC, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not checkpoint.newest_first(folder / "checkpoints") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, "the run ended before it could be disturbed"
    return process


def test_killed_and_resumed_equals_never_stopped(tmp_path):
    run(tmp_path / "whole", steps=1500, checkpoint_every=10)
    process = started(tmp_path / "part", steps=1500, checkpoint_every=10)
    process.kill()
    process.communicate()
    assert not (tmp_path / "part" / "model.safetensors").exists()
    list(limner.train(resume=tmp_path / "part"))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "part"))
    steps = [line["step"] for line in read_log(tmp_path / "part" / "log.jsonl") if line["event"] == "train"]
    assert steps == sorted(set(steps)), "the log holds each step once"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_names_the_command_to_go_on(tmp_path, number, code):
    process = started(tmp_path / "run", steps=1_000_000, checkpoint_every=50)
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == code
    assert f"limner train --resume {tmp_path / 'run'}" in output
    newest = checkpoint.newest_first(tmp_path / "run" / "checkpoints")[0]
    assert f"step {int(newest.stem[5:]):,} of 1,000,000" in output


def test_two_runs_on_one_folder_the_second_is_refused(tmp_path):
    process = started(tmp_path / "run", steps=1_000_000, checkpoint_every=50)
    try:
        with pytest.raises(UsageError, match="another process is writing to"):
            list(limner.train(resume=tmp_path / "run"))
    finally:
        process.kill()
        process.communicate()


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_it_used(tmp_path):
    run(tmp_path / "a", steps=30, checkpoint_every=10)
    whole = weights(tmp_path / "a")
    newest = checkpoint.newest_first(tmp_path / "a" / "checkpoints")[0]
    raw = bytearray(newest.read_bytes())
    raw[-7] ^= 4
    newest.write_bytes(raw)
    events = list(limner.train(resume=tmp_path / "a"))
    warned = [event.text for event in events if isinstance(event, Warned)]
    assert warned == [f"{newest} is damaged: its content does not match its checksum; using the checkpoint before it"]
    assert same(whole, weights(tmp_path / "a"))


def test_five_resumes_in_a_chain_equal_never_stopped(tmp_path):
    run(tmp_path / "whole", steps=30)
    run(tmp_path / "part", steps=5)
    for steps in (11, 12, 20, 27, 30):
        list(limner.train(resume=tmp_path / "part", steps=steps))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "part"))


def test_named_changes_are_listed_and_data_that_changed_are_refused(tmp_path):
    run(tmp_path / "a", steps=5)
    events = list(limner.train(resume=tmp_path / "a", steps=9))
    assert "changed on resume: steps: 5 → 9" in [getattr(event, "text", "") for event in events]
    settings = tmp_path / "a" / "settings.json"
    settings.write_text(settings.read_text().replace('"ring"', '"grid"'))
    with pytest.raises(UsageError, match=r"the data are not those that the run began with \(name: was ring, is grid"):
        list(limner.train(resume=tmp_path / "a", steps=12))


def test_another_network_does_not_fit_the_checkpoint(tmp_path):
    run(tmp_path / "a", steps=5)
    with pytest.raises(LimnerError, match="does not fit"):
        list(limner.train("gan", resume=tmp_path / "a", width=8, steps=9))


def test_the_last_ones_and_the_best_are_kept_and_foreign_files_stay(tmp_path):
    (tmp_path / "a" / "checkpoints").mkdir(parents=True)
    (tmp_path / "a" / "checkpoints" / "mine.txt").write_text("keep me")
    run(tmp_path / "a", steps=50, checkpoint_every=10, keep=2, force=True)
    names = sorted(path.name for path in (tmp_path / "a" / "checkpoints").iterdir())
    assert names == ["mine.txt", "step-00000040.safetensors", "step-00000050.safetensors"]


def test_an_existing_run_is_not_overwritten(tmp_path):
    run(tmp_path / "a", steps=3)
    with pytest.raises(UsageError, match="exists already"):
        run(tmp_path / "a", steps=3)
    run(tmp_path / "a", steps=3, force=True)


def test_default_folders_are_numbered(tmp_path):
    for _ in range(2):
        list(limner.train("gan", **TINY, steps=2))
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["gan-001", "gan-002"]


def test_a_full_disk_is_a_clear_error_and_the_last_checkpoint_stays(tmp_path, monkeypatch):
    run(tmp_path / "a", steps=10)
    before = checkpoint.newest_first(tmp_path / "a" / "checkpoints")[0]
    content = before.read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LimnerError, match="no space left on device"):
        list(limner.train(resume=tmp_path / "a", steps=20))
    monkeypatch.undo()
    assert before.read_bytes() == content
    assert not list((tmp_path / "a" / "checkpoints").glob("*.part"))
    list(limner.train(resume=tmp_path / "a", steps=20))


def test_a_batch_larger_than_the_data_is_refused(tmp_path):
    with pytest.raises(UsageError, match="a batch of 200,000 is larger than the data set of 100,000"):
        run(tmp_path / "a", batch=200_000)


def test_broken_numbers_are_skipped_then_rolled_back_then_stopped(tmp_path, monkeypatch):
    """From step 12 on the samples are not numbers: three skips, twice back to a checkpoint, then a sentence."""
    from limner.data.dataset import Dataset

    take, calls = Dataset.take, []

    def broken(self, indices):
        calls.append(len(indices))
        batch = take(self, indices)
        return {"x": batch["x"] * np.nan} if len(calls) > 12 else batch

    monkeypatch.setattr(Dataset, "take", broken)
    events = []
    with pytest.raises(Diverged, match="did not help"):
        events.extend(limner.train("gan", **TINY, out=tmp_path / "a", steps=100, checkpoint_every=5))
    back = [event.text for event in events if isinstance(event, Warned)]
    assert len(back) == 2
    assert "went back to the weights of step 10 with the learning rates × 0.5" in back[0]
    assert "× 0.25" in back[1]
    state = read_tensors(checkpoint.newest_first(tmp_path / "a" / "checkpoints")[0], "checkpoint")[1]
    assert all(torch.isfinite(value).all() for value in state.values())


def test_a_run_explains_itself(tmp_path):
    events = run(tmp_path / "a", steps=40, data="digits", batch=100, checkpoint_every=20, latent=8)
    names = {str(path.relative_to(tmp_path / "a")) for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert {"settings.json", "log.jsonl", "losses.png", "model.safetensors", "grids/epoch-001.png",
            "checkpoints/step-00000040.safetensors"} <= names  # fmt: skip
    epochs = [event for event in events if isinstance(event, Epoch)]
    assert [event.epoch for event in epochs] == [1, 2]
    assert {"generator_loss", "discriminator_loss"} <= epochs[0].values.keys()
    assert isinstance(events[-1], Finished)
    assert any(isinstance(event, Saved) and event.what == "model" for event in events)
    settings = json.loads((tmp_path / "a" / "settings.json").read_text())
    assert settings["method"] == "gan"
    assert settings["steps"] == 40
    header = limner.load(tmp_path / "a" / "model.safetensors").header
    assert header["data"]["name"] == "digits"
    assert "gan trained on digits" in header["card"]


def test_the_settings_of_an_earlier_run_repeat_it(tmp_path):
    from limner.operations.train import read_config, split_choices
    from limner.operations.train import train as operation

    run(tmp_path / "a", steps=8)
    stored = read_config(tmp_path / "a")
    request, config = split_choices(stored.pop("method"), {**stored, "out": tmp_path / "b"})
    list(operation("gan", request, config))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_going_back_in_steps_is_refused(tmp_path):
    run(tmp_path / "a", steps=5)
    with pytest.raises(UsageError, match="has gone 5 steps already, more than the 3 asked for"):
        list(limner.train(resume=tmp_path / "a", steps=3))


def test_a_folder_that_is_no_run_cannot_be_resumed(tmp_path):
    with pytest.raises(UsageError, match=r"is not a run: it has no settings\.json"):
        list(limner.train(resume=tmp_path))
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(UsageError, match="names no method"):
        list(limner.train(resume=tmp_path))


def test_evaluation_while_training_keeps_the_best(tmp_path):
    """100 steps are an epoch of the ring: it is judged at each half, and the best is a model of its own."""
    events = run(tmp_path / "a", steps=200, batch=1000, evaluate_every=0.5, width=16)
    lines = [line for line in read_log(tmp_path / "a" / "log.jsonl") if line["event"] == "evaluation"]
    assert [line["step"] for line in lines] == [50, 100, 150, 200]
    assert {"energy distance", "high quality", "modes captured"} <= lines[0].keys()
    best = limner.load(tmp_path / "a" / "checkpoints" / "best.safetensors")
    assert best.header["training"]["score"] == min(line["energy distance"] for line in lines)
    assert best.header["training"]["steps"] == min(lines, key=lambda line: line["energy distance"])["step"]
    assert any(isinstance(event, Saved) and event.what.startswith("best model so far") for event in events)


def test_a_named_change_is_kept_for_the_next_resume(tmp_path):
    run(tmp_path / "a", steps=5)
    list(limner.train(resume=tmp_path / "a", steps=9))
    events = list(limner.train(resume=tmp_path / "a"))
    assert events[-1].values["steps"] == 9


def test_with_every_checkpoint_damaged_nothing_starts_over(tmp_path):
    run(tmp_path / "a", steps=10, checkpoint_every=5)
    for path in checkpoint.newest_first(tmp_path / "a" / "checkpoints"):
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(LimnerError, match=r"none of the 2 checkpoints of .* is whole"):
        list(limner.train(resume=tmp_path / "a"))


def test_a_new_checkpoint_is_never_the_one_let_go(tmp_path):
    run(tmp_path / "a", steps=10, checkpoint_every=5, keep=1)
    newest = checkpoint.newest_first(tmp_path / "a" / "checkpoints")[0]
    later = newest.with_name("step-00000999.safetensors")
    later.write_bytes(newest.read_bytes()[:-9])
    list(limner.train(resume=tmp_path / "a", steps=12))
    assert newest.with_name("step-00000012.safetensors").exists()


def test_force_does_not_take_over_a_run_that_is_going_on(tmp_path):
    process = started(tmp_path / "run", steps=1_000_000, checkpoint_every=50)
    try:
        with pytest.raises(UsageError, match="another process is writing to"):
            run(tmp_path / "run", steps=3, force=True)
        assert checkpoint.newest_first(tmp_path / "run" / "checkpoints")
    finally:
        process.kill()
        process.communicate()
