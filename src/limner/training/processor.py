"""How the processor and the C library are set while there is heavy work, on a CPU."""

import atexit
import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch

_TRIM, _MAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
_LOOK_EVERY = 0.5  # s
_SHARED = 200
"""Times a second that the system takes a processor away from this process, above which others want it too. Some 30 were
seen on two free cores, and 900 beside one process that never rests."""


@cache
def for_heavy_work() -> None:
    """Set this process up for heavy work, from now on: memory is kept, and threads that wait are considerate.

    Threads that wait for each other spin a moment before they sleep (GOMP_SPINCOUNT, which the command sets): to fall
    asleep and to wake takes as long as a small layer does. Beside another process that wants the same processors they
    would spin away the turns of those that they wait for, so then they sleep at once. (With fewer threads than
    processors they go on spinning; others find a free one.)
    """
    keep_pages()
    if sys.platform == "linux":
        stop = threading.Event()
        watcher = threading.Thread(target=watch, args=(stop, interruptions), name="limner-watch", daemon=True)
        watcher.start()

        @atexit.register
        def end() -> None:
            # A thread that is in torch while Python ends takes the process down.
            stop.set()
            watcher.join()


def watch(stop: threading.Event, look: Callable[[], int], every: float = _LOOK_EVERY) -> None:
    """Until it is told to stop, make threads that wait sleep at once for as long as others want the processors.

    look    says how often the system took a processor away so far
    every   s between looks

    While a process has more OpenMP threads than processors, libgomp lets them wait without spinning where
    OMP_WAIT_POLICY is PASSIVE, and with hardly any otherwise (its manual, GOMP_SPINCOUNT). So a thread that does
    nothing holds a team.
    """
    sleeper, done, before = None, threading.Event(), look()

    def hold() -> None:
        torch.ones(1 << 18).add_(1)  # large enough to be shared out
        done.wait()

    while not stop.wait(every):
        now = look()
        shared, before = now - before > _SHARED * every, now
        if shared and sleeper is None:
            done.clear()
            sleeper = threading.Thread(target=hold, name="limner-team", daemon=True)
            sleeper.start()
        elif sleeper is not None and not shared:
            done.set()
            sleeper.join()
            sleeper = None
    done.set()
    if sleeper is not None:
        sleeper.join()


def interruptions() -> int:
    """How often the system took a processor away from this process in favour of others, so far."""
    import resource  # There is none on Windows.

    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def keep_pages() -> bool:
    """Tell the C library to keep freed blocks for reuse, where it is glibc, so that not every step asks for them anew.

    By default it maps each block of some MB anew and returns it after use, and the system clears every page of it
    each time: about a tenth of a training step of small convolutions on a CPU, and a large part of the time that a
    feature network of 224 px takes.

    returns whether it could be told
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(_TRIM, 2**31 - 1) and library.mallopt(_MAP, 2**30))


@contextmanager
def tiny_is_zero() -> Iterator[None]:
    """In this context the processor takes numbers below float32's 1.2e-38 for 0.

    A weight without a gradient, such as one of a pixel that is always black, leaves moments behind that halve every
    few steps until they are that small, and processors compute with such numbers many times more slowly.
    A thread has its parent's setting, so it is best set before torch starts its own.
    """
    before = bool(torch.tensor(2e-38) * 0.1 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
