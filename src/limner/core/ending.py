"""The signals by which others end a program."""

import signal

HANGUP: int | None = getattr(signal, "SIGHUP", None)
"""Of a terminal that was closed; there is none on Windows."""


def endings() -> list[int]:
    """SIGTERM, and that of a closed terminal, unless `nohup` has it ignored."""
    if HANGUP is None or signal.getsignal(HANGUP) is signal.SIG_IGN:
        return [signal.SIGTERM]
    return [signal.SIGTERM, HANGUP]
