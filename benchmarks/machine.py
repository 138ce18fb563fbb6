"""Where a benchmark ran: the processor as its flags say, and how busy it was."""

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """The processor as its flags say, and what else decides speed."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")]
    flags = {word for line in info.splitlines() if line.startswith("flags") for word in line.split()}
    wide = [flag for flag in ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return {
        "cpu": (names or [platform.processor()])[0], "flags": " ".join(wide), "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}", "python": platform.python_version(),
    }  # fmt: skip


def busyness() -> tuple[float, float]:
    """Seconds of processor time that the machine gave to others than this process and its peers, and the clock."""
    words = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _, _, irq, soft, steal = map(int, words[:8])
    own = sum(os.times()[:4])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK") - own, time.monotonic()


def where(*more: str, when: str = "before") -> str:
    """One line: the day, the processor, its system and versions, what is added, and the load average now.

    when   what moment this is
    """
    m = machine()
    return ", ".join([
        time.strftime("%Y-%m-%d"), f"{m['cpu']} ({m['flags']})", f"{m['cores']} cores", m["system"],
        f"Python {m['python']}", f"torch {version('torch')}", *more, f"load average {os.getloadavg()[0]:.2f} {when}",
    ])  # fmt: skip


def after() -> str:
    """The load average when all is done."""
    return f"load average {os.getloadavg()[0]:.2f} after"
