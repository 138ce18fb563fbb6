"""How the processor and the C library are set while there is heavy work, on a CPU."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_TRIM, _MAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h


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
