"""Memory: keep what was given back, so that every step does not ask the system for the same pages again."""

import ctypes
import sys

_TRIM, _MAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h


def keep_pages() -> bool:
    """Tell the C library to keep freed blocks for reuse, where it is glibc.

    By default it maps each block of some MB anew and returns it after use, and the system clears every page of it
    each time: about a tenth of a training step of small convolutions on a CPU.

    returns whether it could be told
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(_TRIM, 2**31 - 1) and library.mallopt(_MAP, 2**30))
