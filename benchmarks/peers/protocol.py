"""How a peer talks: a line "step 5" comes in, it takes five steps, and a line of JSON with the times goes out.

A peer waits for its line without using the processor, so that several can take turns in one run. It imports nothing
but the standard library here, since each peer runs in an environment of its own.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping

Work = Callable[[], object]


def threads() -> int:
    """How many processors this process may use: the measuring command sets it before the libraries load."""
    return len(os.sched_getaffinity(0))


def serve(version: str, work: Mapping[str, Work]) -> None:
    """Say hello, and do what each line asks for until the input ends.

    version  what is measured, e.g. "PyTorch 2.13.0"
    work     by name: one step of it, which returns when it is done
    """
    # Libraries write to stdout what they like, so the answers go through a file of their own.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def tell(**values: object) -> None:
        out.write(json.dumps(values) + "\n")
        out.flush()

    tell(version=version, threads=threads())
    for line in sys.stdin:
        name, times = line.split()
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(int(times)):
            work[name]()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        tell(wall=wall, cpu=cpu, peak=peak)
