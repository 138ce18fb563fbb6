"""Precision and devices, and whole runs of several processes as torchrun starts them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import limner
from limner.core.errors import UsageError
from limner.core.tensorfile import read_tensors
from limner.training.world import pick_device, pick_precision

RUN = ["train", "gan", "--data", "ring", "--steps", "30", "--batch", "40", "--width", "4", "--latent", "2",
       "--threads", "1", "--out"]  # fmt: skip


THREADS_AFTER = """
import os, sys
from limner.cli.main import main

code = main(sys.argv[1:])
if os.path.isdir("/proc/self/task"):
    names = [open(f"/proc/self/task/{thread}/comm").read().strip() for thread in os.listdir("/proc/self/task")]
    print("left:", *sorted(name for name in names if "gloo" in name), file=sys.stderr)
sys.exit(code)
"""
"""Runs the command line and tells which threads of the exchange between processes are still there after it."""


def trained(folder, launch):
    env = {**os.environ, "PYTHONPATH": str(Path(limner.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *launch, *RUN, str(folder)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return read_tensors(folder / "model.safetensors", "model")[1], done.stderr


def test_two_processes_make_the_run_that_one_makes(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(THREADS_AFTER)
    one, _ = trained(tmp_path / "one", ["limner"])
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    two, said = trained(tmp_path / "two", torchrun)
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=0)
    assert said.count("train points") == 1, "one process tells what both do"
    assert "left: " not in said, "a thread that outlives the group may abort the process as Python shuts down"


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UsageError, match="a batch of 128 cannot be shared by 3 processes in 1 parts each"):
        list(limner.train("gan", data="ring", batch=128))


def test_a_variant_s_own_batch_is_what_must_be_shared(tmp_path):
    """R3GAN's published batch is 512; 128 is what others take."""
    tiny = {"data": "digits", "variant": "paper", "network": "dense", "width": 4, "latent": 2, "augment_p": 0,
            "threads": 1}  # fmt: skip
    *_, done = limner.train("r3gan", **tiny, steps=1, accumulate=256, out=tmp_path / "a")
    assert done.values["images"] == 2 * 512
    with pytest.raises(UsageError, match="a batch of 512 cannot be shared by 1 processes in 3 parts each"):
        list(limner.train("r3gan", **tiny, steps=1, accumulate=3, out=tmp_path / "b"))
    assert not (tmp_path / "b").exists()


def test_several_processes_need_a_folder(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="several processes need to know the run folder"):
        list(limner.train("gan", data="ring"))


def test_a_device_that_is_not_there_is_refused():
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="this machine has no cuda device"):
            pick_device("cuda")
    assert pick_device("cpu") == torch.device("cpu")


def test_precision_follows_the_wish_and_the_hardware(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert pick_precision("fp32", gpu) == torch.float32
    assert pick_precision("bf16", cpu) == torch.bfloat16
    for native, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda native=native: native)
        assert pick_precision("auto", cpu) == expected
        assert pick_precision("auto", cpu, points=True) == torch.float32
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, native=native: native)
        assert pick_precision("auto", gpu) == expected
        assert pick_precision("auto", gpu, points=True) == torch.float32


@pytest.mark.parametrize("method", ["gan", "dcgan"])
def test_bf16_trains_and_its_weights_stay_float32(method, tmp_path):
    events = list(limner.train(method, data="digits", steps=3, batch=8, width=4, precision="bf16", threads=1,
                               out=tmp_path / "a"))  # fmt: skip
    assert events[-1].values["skipped_steps"] == 0
    assert {t.dtype for t in limner.load(tmp_path / "a" / "model.safetensors").method.parameters()} == {torch.float32}


def test_tensorboard_on_request(tmp_path):
    list(limner.train("gan", data="ring", steps=5, batch=8, width=4, tensorboard=True, threads=1, out=tmp_path / "a"))
    assert list((tmp_path / "a" / "tensorboard").glob("events.out.tfevents.*"))
