"""What is set for the processor while a run lasts."""

import subprocess
import sys
import threading

import pytest
import torch

from limner.training import processor
from limner.training.processor import tiny_is_zero


def tiny() -> torch.Tensor:
    return torch.full((8,), 2e-38) * 0.1


def test_numbers_below_the_least_normal_one_are_zero_in_the_context_alone() -> None:
    assert (tiny() > 0).all()
    with tiny_is_zero():
        assert (tiny() == 0).all()
        with tiny_is_zero():
            pass
        assert (tiny() == 0).all()
    assert (tiny() > 0).all()


def test_moments_of_a_weight_without_gradient_vanish() -> None:
    weight = torch.ones(8, requires_grad=True)
    optimiser = torch.optim.Adam([weight], fused=True)
    with tiny_is_zero():
        for step in range(900):
            weight.grad = torch.full((8,), 1e-2 * (step == 0))
            optimiser.step()
    moments = optimiser.state[weight]["exp_avg"]
    assert (moments == 0).all(), moments


@pytest.mark.skipif(sys.platform != "linux", reason="libgomp's waiting is Linux's")
def test_while_others_want_the_processors_there_is_a_team_more() -> None:
    """In a process of its own: the one that runs the tests is watched too, and others may want its processors."""
    code = """
import threading, time
from pathlib import Path
import torch
from limner.training.processor import watch

rate, taken = 0, 0

def interruptions():
    global taken
    taken += rate
    return taken

def teams():  # threads that the system knows of this process and Python does not
    return len(list(Path("/proc/self/task").iterdir())) - threading.active_count()

def comes(number):
    end = time.monotonic() + 20
    while teams() != number and time.monotonic() < end:
        time.sleep(0.01)
    assert teams() == number, (teams(), number)

torch.set_num_threads(2)
torch.ones(1 << 18).add_(1)  # this thread's own team
before, stop = teams(), threading.Event()
watcher = threading.Thread(target=watch, args=(stop, interruptions, 0.02))
watcher.start()
try:
    time.sleep(0.2)
    comes(before)
    rate = 1000
    comes(before + 1)
    time.sleep(0.2)
    comes(before + 1)
    rate = 0
    comes(before)
    rate = 1000
    comes(before + 1)
finally:
    stop.set()
    watcher.join()
comes(before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_process_is_set_up_once() -> None:
    processor.for_heavy_work()
    processor.for_heavy_work()
    watching = [thread for thread in threading.enumerate() if thread.name == "limner-watch"]
    assert len(watching) == (sys.platform == "linux")


@pytest.mark.skipif(sys.platform != "linux", reason="nothing watches elsewhere")
@pytest.mark.parametrize("moment", ["0.001", "0.003", "0.005"])
def test_a_process_ends_cleanly_while_its_threads_are_watched(moment: str) -> None:
    """Where others seem to want the processors at each look, looks come all the time, and the process ends in one."""
    code = f"""
import itertools, time
import torch
from limner.training import processor
processor.interruptions = itertools.count(0, 10**6).__next__
processor.watch.__defaults__ = (0.0005,)
processor.for_heavy_work()
time.sleep({moment})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
