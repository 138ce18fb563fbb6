"""Whole runs: killed, interrupted, damaged, doubled, full disks."""

import errno
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import limner
from limner.core.ending import endings
from limner.core.errors import LimnerError, UsageError
from limner.core.events import Epoch, Finished, Note, Progress, Saved, Warned
from limner.core.files import atomic
from limner.core.tensorfile import read_tensors, write_tensors
from limner.training import checkpoint, cost
from limner.training.guard import Diverged
from limner.training.interrupt import Interrupted
from limner.training.log import Log, read_log

TINY = {"data": "ring", "batch": 20, "width": 4, "latent": 2, "threads": 1}
SRC = str(Path(limner.__file__).parents[1])


def run(folder, method="gan", **more):
    return list(limner.train(method, **{**TINY, "out": folder, **more}))


def weights(folder):
    return read_tensors(folder / "model.safetensors", "model")[1]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def started(folder, **more):
    """The same run in a process of its own, once it has written its first checkpoint after the start's."""
    choices = {**TINY, "out": str(folder), **more}
    code = (
        "import signal, sys, limner\nfrom limner.core.errors import LimnerError\n"
        # As in a terminal, where whoever runs the tests has it ignored.
        "if hasattr(signal, 'SIGHUP'):\n  signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        f"try:\n  [None for _ in limner.train('gan', **{choices!r})]\n"
        "except LimnerError as error:\n  print(error)\n  sys.exit(error.exit_code)"
    )
    env = {**os.environ, "PYTHONPATH": SRC, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(checkpoint.newest_first(folder / "checkpoints")) < 2 and time.monotonic() < deadline:
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


@pytest.mark.parametrize(("name", "times", "code"), [
    ("SIGINT", 1, 130), ("SIGTERM", 1, 143), ("SIGHUP", 1, 129),
    ("SIGHUP", 3, 129),  # a terminal that closes may say so more than once
])  # fmt: skip
def test_a_signal_saves_and_names_the_command_to_go_on(tmp_path, name, times, code):
    if not hasattr(signal, name):
        pytest.skip(f"there is no {name} on this system")
    process = started(tmp_path / "run", steps=1_000_000, checkpoint_every=50)
    try:
        for _ in range(times):
            process.send_signal(getattr(signal, name))
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()  # Or it would go on for hours where a signal is not heeded.
    assert process.returncode == code
    assert f"limner train --resume {tmp_path / 'run'}" in output
    newest = checkpoint.newest_first(tmp_path / "run" / "checkpoints")[0]
    assert f"step {int(newest.stem[5:]):,} of 1,000,000" in output


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no such signal on this system")
def test_a_closed_terminal_stops_nothing_that_was_told_to_ignore_it():
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        assert set(endings()) == {signal.SIGTERM, signal.SIGHUP}
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert endings() == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("force", [False, True])
def test_what_a_killed_process_left_half_written_is_taken_away(tmp_path, force):
    run(tmp_path / "a", steps=4)
    writing = [atomic(tmp_path / "a" / name) for name in (
        "settings.json", "grids/epoch-001.png", "checkpoints/best.safetensors", "checkpoints/step-00000009.safetensors",
    )]  # fmt: skip
    for each in writing:
        each.__enter__()
    mine = tmp_path / "a/checkpoints/.mine.safetensors.12345678.part"
    mine.write_text("keep me")
    there = list((tmp_path / "a").rglob("*.part"))
    assert len(there) == 5
    if force:
        run(tmp_path / "a", steps=4, force=True)
    else:
        told = [event.text for event in limner.train(resume=tmp_path / "a", steps=5) if isinstance(event, Note)]
        [named] = [text for text in told if text.startswith("took away what a killed process left half written: ")]
        assert all(path.name in named for path in there if path != mine)
    assert list((tmp_path / "a").rglob("*.part")) == [mine]
    for each in writing:
        each.gen.close()


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


def test_named_changes_are_listed(tmp_path):
    run(tmp_path / "a", steps=5)
    events = list(limner.train(resume=tmp_path / "a", steps=9))
    assert "changed on resume: steps: 5 → 9" in [getattr(event, "text", "") for event in events]


def test_data_that_changed_are_refused_unless_others_are_named(tmp_path):
    from limner.data.pack import write_pack

    def packed(name, seed, decoder=""):
        (tmp_path / name).mkdir(exist_ok=True)
        samples = np.random.default_rng(seed).integers(0, 256, (30, 1, 8, 8), dtype=np.uint8)
        write_pack(tmp_path / name, samples, None, name=name, source="a test", decoder=decoder)
        return str(tmp_path / name)

    run(tmp_path / "a", data=packed("one", 1), steps=3)
    packed("one", 1, decoder="another that made the same bytes")
    list(limner.train(resume=tmp_path / "a", steps=4))
    packed("one", 2)
    with pytest.raises(UsageError, match=r"the data are not those that the run began with \(sha256: was"):
        list(limner.train(resume=tmp_path / "a", steps=5))
    list(limner.train(resume=tmp_path / "a", steps=5, data=packed("two", 3)))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("average", 20.0, "average: 10.0 → 20.0"), ("data", "grid", "data: ring → grid")],
)
def test_settings_that_were_edited_are_refused_unless_they_are_named(tmp_path, name, value, said):
    run(tmp_path / "a", steps=5)
    path = tmp_path / "a" / "settings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    log = (tmp_path / "a" / "log.jsonl").read_text()
    with pytest.raises(UsageError, match=rf"is not what the run was trained with \({re.escape(said)}\)"):
        list(limner.train(resume=tmp_path / "a", steps=9))
    assert (tmp_path / "a" / "log.jsonl").read_text() == log
    events = list(limner.train("gan", resume=tmp_path / "a", steps=9, **{name: value}))
    assert f"changed on resume: {said}" in [getattr(event, "text", "") for event in events]


def test_a_change_within_a_player_is_told_by_its_name(tmp_path):
    run(tmp_path / "a", steps=5)
    events = list(limner.train("gan", resume=tmp_path / "a", generator={"lr": 1e-5}))
    changed = [event.text for event in events if getattr(event, "text", "").startswith("changed")]
    assert changed == ["changed on resume: generator.lr: 0.0002 → 1e-05"]
    again = list(limner.train(resume=tmp_path / "a"))
    assert not [event for event in again if getattr(event, "text", "").startswith("changed")]


def test_another_machine_is_told_on_resume(tmp_path):
    run(tmp_path / "a", steps=5)
    events = list(limner.train(resume=tmp_path / "a", steps=9, threads=2, precision="bf16"))
    assert [event.text for event in events if isinstance(event, Warned)] == [
        "the results will differ in their last digits from those of one go (threads 1 → 2, "
        "precision float32 → bfloat16)"
    ]


def test_settings_repeat_a_run_when_defaults_change(tmp_path):
    """Every setting that was in force is written down, those that nobody chose included."""
    from limner.core import catalog
    from limner.operations.train import Train

    run(tmp_path / "a", steps=3, data="digits", method="dcgan")
    stored = json.loads((tmp_path / "a" / "settings.json").read_text())
    assert stored["variant"] == "paper"
    assert stored["generator"]["lr"] == 2e-4, "the rate that belongs to the variant, not the class's default"
    every = Train.model_fields.keys() | catalog.head("dcgan").Config.model_fields.keys()
    assert stored.keys() == every - {"resume", "force", "out", "dry_run"} | {"method"}


@pytest.mark.parametrize("dry_run", [False, True])
def test_another_network_does_not_fit_the_checkpoint(tmp_path, dry_run):
    run(tmp_path / "a", steps=5)
    with pytest.raises(UsageError, match=r"the networks of .*a do not fit what is asked for now") as error:
        list(limner.train("gan", resume=tmp_path / "a", width=8, average=5, steps=9, dry_run=dry_run))
    assert error.value.hint == "build it alike: --width 4"


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


def test_a_log_on_a_full_disk_is_a_clear_error():
    with pytest.raises(LimnerError, match="cannot write /dev/full: no space left on device"):
        Log(Path("/dev/full")).add("start")


@pytest.mark.parametrize("when", ["__init__", "flush"])
def test_tensorboard_on_a_full_disk_is_a_clear_error(tmp_path, monkeypatch, when):
    from torch.utils.tensorboard import SummaryWriter

    def full(*given):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(SummaryWriter, when, full)
    with pytest.raises(LimnerError, match=r"cannot write .*a/tensorboard: no space left on device"):
        run(tmp_path / "a", steps=5, tensorboard=True)
    monkeypatch.undo()
    list(limner.train(resume=tmp_path / "a"))


def test_a_batch_larger_than_the_data_is_refused(tmp_path):
    with pytest.raises(UsageError, match="a batch of 200,000 is larger than the data set of 100,000"):
        run(tmp_path / "a", batch=200_000)


@pytest.mark.parametrize(
    "wrong",
    [{"batch": 200_000}, {"method": "dcgan"}, {"method": "dcgan", "data": "digits", "size": 9},
     {"method": "dcgan", "data": "digits", "accumulate": 2}, {"precision": "bf16", "device": "cuda"}],
    ids=str,
)  # fmt: skip
def test_what_is_refused_leaves_no_folder_and_clears_none(tmp_path, monkeypatch, wrong):
    if wrong.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(UsageError):
        run(tmp_path / "a", **wrong)
    with pytest.raises(UsageError):
        list(limner.train(**{"method": "gan", **TINY, **wrong}))
    assert not (tmp_path / "a").exists() and not (tmp_path / "runs").exists()
    run(tmp_path / "b", steps=2)
    with pytest.raises(UsageError):
        run(tmp_path / "b", force=True, **wrong)
    assert (tmp_path / "b" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("method", "choice", "said"),
    [("gan", {"generator": {"final": 0.5}}, "--generator.final belongs to a rate that changes"),
     ("gan", {"discriminator": {"beta2_final": 0.9}}, "--discriminator.schedule is constant"),
     ("r3gan", {"generator": {"schedule": "constant", "until": 0.9}}, "--generator.until belongs")],
    ids=str,
)  # fmt: skip
def test_the_end_of_a_rate_that_never_changes_is_refused(tmp_path, method, choice, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        run(tmp_path, method, **choice)


def test_it_is_refused_on_resume_where_it_is_named_and_old_runs_go_on(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("limner.operations.train._refuse_idle", lambda chosen, named: None)
        run(tmp_path / "a", steps=2, generator={"final": 0.5})
    list(limner.train(resume=tmp_path / "a", steps=3))
    with pytest.raises(UsageError, match="belongs to a rate that changes"):
        list(limner.train(resume=tmp_path / "a", steps=4, generator={"final": 0.25}))


def test_a_constant_rate_may_be_asked_of_a_method_whose_own_falls(tmp_path):
    steady = {"schedule": "constant", "beta2_final": None}
    run(tmp_path / "a", "r3gan", generator=steady, steps=1)
    repeated = list(limner.train("r3gan", config=tmp_path / "a", out=tmp_path / "b"))
    assert isinstance(repeated[-1], Finished)


def test_checkpoints_that_are_there_are_no_lack_of_space(tmp_path, monkeypatch):
    run(tmp_path / "a", steps=30, checkpoint_every=10)
    there = sum(file.stat().st_size for file in (tmp_path / "a" / "checkpoints").iterdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=there))
    list(limner.train(resume=tmp_path / "a", steps=31))
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=1000))
    with pytest.raises(LimnerError, match="MB free, and the run's checkpoints need about"):
        list(limner.train(resume=tmp_path / "a", steps=32))


def test_the_log_of_a_resumed_run_is_that_of_one_go(tmp_path):
    def lines(folder):
        kept = [line for line in read_log(folder / "log.jsonl") if line["event"] == "train"]
        return [{name: value for name, value in line.items() if name != "seconds"} for line in kept]

    choices = {"steps": 50, "checkpoint_every": 30}
    run(tmp_path / "whole", **choices)
    going = limner.train("gan", **TINY, out=tmp_path / "parts", **choices)
    for event in going:
        if isinstance(event, Saved) and event.path.name == "step-00000030.safetensors":
            going.close()
    list(limner.train(resume=tmp_path / "parts"))
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")


def test_no_tensorboard_no_space_no_folder(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(LimnerError, match="this needs TensorBoard, which is not installed"):
        run(tmp_path / "deep" / "a", tensorboard=True)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=1000))
    with pytest.raises(LimnerError, match=rf"{tmp_path} has 0 MB free, and the run's checkpoints need about"):
        run(tmp_path / "deep" / "a")
    assert not (tmp_path / "deep").exists()


def breaking(monkeypatch, *calls):
    """Make the samples of these batches (counted from 1) something that is no number."""
    from limner.data.dataset import Dataset

    take, count = Dataset.take, itertools.count(-2)  # three choices are the watch's two and the memory estimate's

    def broken(self, indices):
        batch = take(self, indices)
        return {"x": batch["x"] * np.nan} if next(count) in calls else batch

    monkeypatch.setattr(Dataset, "take", broken)


def test_broken_numbers_are_skipped_then_rolled_back_then_stopped(tmp_path, monkeypatch):
    """From step 12 on the samples are not numbers: three skips, twice back to a checkpoint, then a sentence."""
    breaking(monkeypatch, *range(12, 100))
    events = []
    with pytest.raises(Diverged, match="did not help") as caught:
        events.extend(limner.train("gan", **TINY, out=tmp_path / "a", steps=100, checkpoint_every=5))
    back = [event.text for event in events if isinstance(event, Warned)]
    assert len(back) == 2
    assert "went back to the weights of step 10 with the learning rates × 0.5" in back[0]
    assert "× 0.25" in back[1]
    newest = checkpoint.newest_first(tmp_path / "a" / "checkpoints")[0]
    state = read_tensors(newest, "checkpoint")[1]
    assert all(torch.isfinite(value).all() for value in state.values())
    healthy = checkpoint.load_newest(tmp_path / "a" / "checkpoints", healthy=True)[0]
    assert caught.value.message.endswith(f"; the last healthy checkpoint is {healthy.path}")
    assert f"limner train --resume {tmp_path / 'a'} --generator.lr 2e-05 --discriminator.lr 2e-05" in caught.value.hint
    assert read_log(tmp_path / "a" / "log.jsonl")[-1] == {"event": "guard", "step": 20, "action": "stop"}


def test_the_last_sentence_names_the_best_model(tmp_path, monkeypatch):
    run(tmp_path / "a", steps=100, batch=1000, evaluate_every=0.5)
    breaking(monkeypatch, *range(100))
    with pytest.raises(Diverged) as caught:
        list(limner.train(resume=tmp_path / "a", steps=200))
    assert f"; the best model is {tmp_path / 'a' / 'checkpoints' / 'best.safetensors'}" in caught.value.message


def test_before_the_first_checkpoint_the_start_is_gone_back_to(tmp_path, monkeypatch):
    breaking(monkeypatch, 4, 5, 6)
    events = run(tmp_path / "a", steps=20)
    [back] = [event.text for event in events if isinstance(event, Warned)]
    assert "step 6: losses were not finite, so training went back to the weights of step 0" in back


def test_halved_rates_are_told_on_resume_and_a_named_one_is_taken_whole(tmp_path, monkeypatch):
    breaking(monkeypatch, 4, 5, 6)
    run(tmp_path / "a", steps=10)
    monkeypatch.undo()

    def resumed(steps, **more):
        told = [event.text for event in limner.train(resume=tmp_path / "a", steps=steps, **more)
                if isinstance(event, Note)]  # fmt: skip
        header = read_tensors(tmp_path / "a" / "checkpoints" / f"step-{steps:08d}.safetensors", "checkpoint")[0]
        return [text for text in told if "rates are" in text], header["guard"]["reloads"]

    told, reloads = resumed(12)
    assert [text.partition(";")[0] for text in told] == ["learning rates are × 0.5, as training went back once"]
    assert reloads == 1
    assert resumed(14, generator={"lr": 1e-5}) == ([], 0)


def test_a_step_that_leads_back_is_counted_and_the_last_one_is_finished(tmp_path, monkeypatch):
    """Steps 18 to 20 of 20 break: the last of them leads back, and still is the run's end."""
    breaking(monkeypatch, 18, 19, 20)
    events = run(tmp_path / "a", steps=20, checkpoint_every=5)
    assert events[-1].values["images"] == 20 * TINY["batch"]
    assert (tmp_path / "a" / "checkpoints" / "step-00000020.safetensors").exists()
    assert [event.path.name for event in events if isinstance(event, Saved) and event.what == "grid"] == [
        "step-000020.png"
    ]


def test_guard_best_score_and_the_epoch_s_means_survive_a_resume(tmp_path, monkeypatch):
    """Ten steps are an epoch; the run stops at step 25, after a broken step, amid the third."""
    choices = {"batch": 10_000, "evaluate_every": 1, "checkpoint_every": 25}
    breaking(monkeypatch, 23)
    run(tmp_path / "whole", steps=40, **choices)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    breaking(monkeypatch, 23)
    for event in limner.train("gan", **{**TINY, **choices}, steps=40, out=tmp_path / "part"):
        if isinstance(event, Saved) and event.path.name == "step-00000025.safetensors":
            break
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    # A best score out of a worse time, so that losing it would show.
    list(limner.train(resume=tmp_path / "part"))
    headers = [read_tensors(tmp_path / name / "checkpoints" / "step-00000040.safetensors", "checkpoint")[0]
               for name in ("whole", "part")]  # fmt: skip
    for key in ("guard", "best", "epoch_sums", "seen", "due"):
        assert headers[0][key] == headers[1][key], key
    assert headers[0]["guard"]["skipped"] == 1
    logs = [[line for line in read_log(tmp_path / name / "log.jsonl") if line["event"] in ("epoch", "evaluation")]
            for name in ("whole", "part")]  # fmt: skip
    assert logs[0] == logs[1]
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "part"))


def test_whoever_stops_listening_leaves_a_checkpoint(tmp_path):
    run(tmp_path / "whole", steps=30)
    for event in limner.train("gan", **TINY, steps=30, out=tmp_path / "part"):
        if isinstance(event, Progress) and event.done:
            break
    newest = checkpoint.newest_first(tmp_path / "part" / "checkpoints")[0]
    assert newest.name == f"step-{event.done:08d}.safetensors"
    list(limner.train(resume=tmp_path / "part"))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "part"))


def test_a_signal_in_an_evaluation_leaves_at_once_and_it_is_made_up_for(tmp_path, monkeypatch):
    """Sampling for the evaluation of step 10 would take a minute: the signal comes in the first of its layers."""
    from limner.methods.gan import GAN

    generate, calls = GAN.generate, []

    def slow(self, z, label=None):
        if len(z) == 250:
            calls.append(len(z))
            os.kill(os.getpid(), signal.SIGINT)
        return generate(self, z, label)

    choices = {"steps": 20, "batch": 10_000, "evaluate_every": 1}
    run(tmp_path / "whole", **choices)
    monkeypatch.setattr(GAN, "generate", slow)
    with pytest.raises(Interrupted, match="stopped at step 10 of 20"):
        run(tmp_path / "part", **choices)
    assert len(calls) == 1
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert "evaluation" not in [line["event"] for line in read_log(tmp_path / "part" / "log.jsonl")]
    list(limner.train(resume=tmp_path / "part"))
    found = [[line for line in read_log(tmp_path / name / "log.jsonl") if line["event"] == "evaluation"]
             for name in ("whole", "part")]  # fmt: skip
    assert [line["step"] for line in found[1]] == [10, 20]
    assert found[0] == found[1]


def test_a_signal_in_the_last_evaluation_is_made_up_for_too(tmp_path, monkeypatch):
    from limner.methods.gan import GAN

    generate = GAN.generate

    def slow(self, z, label=None):
        if len(z) == 250:
            os.kill(os.getpid(), signal.SIGTERM)
        return generate(self, z, label)

    monkeypatch.setattr(GAN, "generate", slow)
    with pytest.raises(Interrupted, match="stopped at step 10 of 10") as caught:
        run(tmp_path / "a", steps=10, batch=10_000, evaluate_every=1)
    assert caught.value.exit_code == 143
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    events = list(limner.train(resume=tmp_path / "a"))
    assert (tmp_path / "a" / "checkpoints" / "best.safetensors").exists()
    assert isinstance(events[-1], Finished)


@pytest.mark.parametrize("steps", [10, 20])
def test_a_second_signal_in_the_same_evaluation_loses_nothing_either(tmp_path, monkeypatch, steps):
    from limner.methods.gan import GAN

    generate = GAN.generate

    def slow(self, z, label=None):
        if len(z) == 250:
            os.kill(os.getpid(), signal.SIGINT)
        return generate(self, z, label)

    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(GAN, "generate", slow)
        with pytest.raises(Interrupted, match="stopped at step 10"):
            run(tmp_path / "a", steps=steps, batch=10_000, evaluate_every=1)
        with pytest.raises(Interrupted, match="stopped at step 10"):
            list(limner.train(resume=tmp_path / "a"))
    list(limner.train(resume=tmp_path / "a"))
    found = [line["step"] for line in read_log(tmp_path / "a" / "log.jsonl") if line["event"] == "evaluation"]
    assert found == list(range(10, steps + 1, 10))


def test_a_dry_run_of_an_old_run_leaves_it_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "a", steps=3)
    before = {path: path.read_bytes() for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()}
    events = list(limner.train(resume=tmp_path / "a", steps=9, evaluate_every=1, dry_run=True))
    assert isinstance(events[-1], Finished)
    assert [event.text for event in events if getattr(event, "text", "").startswith("changed")] == [
        "changed on resume: evaluate_every: 0.0 → 1.0", "changed on resume: steps: 3 → 9"
    ]  # fmt: skip
    assert before == {path: path.read_bytes() for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()}


@pytest.mark.parametrize(("now", "said"), [
    ({"shard": "2/2"}, "this run began with --shard 1/2"), ({"batch": 40}, "cannot go on with 40"),
    ({"steps": 2}, "has gone 3 steps already, more than the 2 asked for"),
])  # fmt: skip
def test_a_dry_run_of_an_old_run_is_refused_for_what_the_run_is(tmp_path, now, said):
    run(tmp_path / "a", steps=3, shard="1/2")
    with pytest.raises(UsageError, match=said):
        list(limner.train(resume=tmp_path / "a", dry_run=True, **{"steps": 9, **now}))


def test_epochs_win_over_the_steps_of_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "a", steps=3, batch=1000)
    *_, done = limner.train(resume=tmp_path / "a", epochs=0.05)
    assert done.values["steps"] == 5
    *_, done = limner.train(config=tmp_path / "a", epochs=0.04, out=tmp_path / "b")
    assert done.values["steps"] == 4


@pytest.mark.parametrize(("before", "now", "said"), [
    ({}, {"augment": "ada"}, "began with 0 samples set aside, and cannot go on with 179"),
    ({"augment": "ada"}, {"seed": 7}, "the seed says which samples are set aside"),
    ({"shard": "1/2"}, {"shard": "2/2"}, "this run began with --shard 1/2"),
    ({}, {"batch": 40}, "a step of this run has read 20 samples, and cannot go on with 40"),
    ({"method": "wgan_gp", "critic_steps": 2}, {"critic_steps": 3}, "has read 40 samples, and cannot go on with 60"),
    ({}, {"init": "a"}, "this run has begun with weights of its own"),
    ({}, {"out": "b"}, "a run goes on in its own folder"),
])  # fmt: skip
def test_a_run_goes_on_with_what_it_began_with(tmp_path, monkeypatch, before, now, said):
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "a", data="digits", steps=3, **before)
    with pytest.raises(UsageError, match=said):
        list(limner.train(resume=tmp_path / "a", steps=6, **now))


def test_a_run_leaves_the_process_as_it_found_it(tmp_path):
    before = torch.get_rng_state(), torch.get_num_threads(), dict(os.environ)
    run(tmp_path / "a", steps=3, threads=2, deterministic=True)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    assert not torch.are_deterministic_algorithms_enabled()
    assert dict(os.environ) == before[2]
    limner.load(tmp_path / "a" / "model.safetensors")
    assert torch.equal(torch.get_rng_state(), before[0])


def test_in_bfloat16_on_two_threads_a_run_is_repeated_and_resumed_bit_for_bit(tmp_path):
    choices = {"data": "digits", "variant": "mnist", "width": 16, "latent": 8, "batch": 32, "steps": 8,
               "checkpoint_every": 4, "deterministic": True, "threads": 2, "precision": "bf16"}  # fmt: skip
    for name in "ab":
        run(tmp_path / name, method="dcgan", **choices)
    whole = weights(tmp_path / "a")
    assert same(whole, weights(tmp_path / "b"))
    (tmp_path / "b" / "checkpoints" / "step-00000008.safetensors").unlink()
    (tmp_path / "b" / "model.safetensors").unlink()
    list(limner.train(resume=tmp_path / "b"))
    assert same(whole, weights(tmp_path / "b"))


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


def test_a_resumed_run_without_room_is_not_told_to_change_its_batch(tmp_path, monkeypatch):
    choices = {"method": "dcgan", "data": "digits", "variant": "mnist"}
    run(tmp_path / "a", steps=2, **choices)
    monkeypatch.setattr(cost, "room", lambda device: 1000)
    [warned] = [event.text for event in limner.train(resume=tmp_path / "a", steps=3) if isinstance(event, Warned)]
    assert warned.endswith("go on where more memory is free, or start a new run with a smaller --batch")


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


def test_a_run_whose_pictures_are_elsewhere_says_so(tmp_path, monkeypatch):
    (tmp_path / "here/pets").mkdir(parents=True)
    for i, x in enumerate(np.random.default_rng(0).integers(0, 256, (16, 8, 8), dtype=np.uint8)):
        Image.fromarray(x).save(tmp_path / f"here/pets/{i}.png")
    monkeypatch.chdir(tmp_path / "here")
    run(tmp_path / "a", data="pets", batch=8, steps=2)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="learned from pets, which is not to be found from here") as caught:
        list(limner.train(resume=tmp_path / "a", steps=3))
    assert "--data" in caught.value.hint
    assert list(limner.train(resume=tmp_path / "a", steps=3, data="here/pets"))[-1].values["steps"] == 3


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
    step, score = best.header["training"]["steps"], best.header["training"]["score"]
    said = f"- weights: the moving average at step {step:,}, the best of its evaluations (score {score:.4g})"
    assert said in best.header["card"]
    last = limner.load(tmp_path / "a" / "model.safetensors").header
    assert "- weights: the moving average at the end of training" in last["card"]


def test_the_log_says_how_far_the_discriminator_learns_by_heart(tmp_path):
    """16 pictures of noise are learned by heart; on the ring's 100,000 points there is nothing to learn by heart."""
    for part, seed in (("train", 0), ("test", 1)):
        (tmp_path / "noise" / part).mkdir(parents=True)
        for i, x in enumerate(np.random.default_rng(seed).integers(0, 256, (16, 8, 8), dtype=np.uint8)):
            Image.fromarray(x).save(tmp_path / "noise" / part / f"{i}.png")
    run(tmp_path / "a", data=str(tmp_path / "noise"), batch=16, width=32, steps=250, generator={"lr": 1e-5})
    run(tmp_path / "b", steps=250)
    run(tmp_path / "c", steps=250, measure="keep-patch:4", data=str(tmp_path / "noise"), batch=16)
    logs = [read_log(tmp_path / name / "log.jsonl") for name in "abc"]
    few, many, measured = (next(line for line in log if line["event"] == "diversity") for log in logs)
    assert few["held_out_gap"] > 3 and abs(many["held_out_gap"]) < 0.3
    assert "held_out_gap" not in measured  # whose discriminator never sees clean pictures
    assert all(0 <= line["coverage"] <= 1 for line in (few, many, measured))


def test_a_model_says_how_much_memory_its_training_took(tmp_path):
    """At least what this process holds now by the kernel's count, and no less after resuming in a smaller one."""
    run(tmp_path / "a", steps=5, average=0)
    header = limner.load(tmp_path / "a" / "model.safetensors").header
    held = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    assert 0.5 * held < header["training"]["peak_memory_mb"] < 20 * held
    assert "- weights: as they stood at the end of training" in header["card"]
    newest = checkpoint.newest_first(tmp_path / "a" / "checkpoints")[0]
    kept, tensors = read_tensors(newest, "checkpoint")
    kept.pop("sha256")
    write_tensors(newest, tensors, {**kept, "peak": 10**15})
    list(limner.train(resume=tmp_path / "a", steps=7))
    assert limner.load(tmp_path / "a" / "model.safetensors").header["training"]["peak_memory_mb"] == 1e9


def test_a_named_change_is_kept_for_the_next_resume(tmp_path):
    run(tmp_path / "a", steps=5)
    list(limner.train(resume=tmp_path / "a", steps=9))
    events = list(limner.train(resume=tmp_path / "a"))
    assert events[-1].values["steps"] == 9


def test_with_every_checkpoint_damaged_nothing_starts_over(tmp_path):
    run(tmp_path / "a", steps=10, checkpoint_every=5)
    for path in checkpoint.newest_first(tmp_path / "a" / "checkpoints"):
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(LimnerError, match=r"none of the 3 checkpoints of .* is whole"):
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
