"""Ctrl-C and SIGTERM: finish the step, save, leave. A second one leaves at once."""

import os
import signal
import threading
from types import FrameType
from typing import Any, Self

from limner.core.errors import LimnerError


class Interrupted(LimnerError):
    """The work was interrupted and what was done is saved. exit_code is 130 for Ctrl-C, 143 for SIGTERM."""

    def __init__(self, message: str, hint: str, number: int) -> None:
        super().__init__(message, hint)
        self.exit_code = 128 + number


class Interrupt:
    """A context in which signals raise a flag instead of an exception.

    number  the signal that came, or 0

    Outside the main thread (a notebook's worker) Python has no signals, and the flag stays 0.
    """

    _watched = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._flag) for number in self._watched}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _flag(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            os._exit(128 + number)
        self.number = number
