"""Ctrl-C, SIGTERM and a closed terminal: finish the step, save, leave. A second one leaves at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

from torch.nn.modules.module import register_module_forward_pre_hook

from limner.core.ending import HANGUP, endings
from limner.core.errors import LimnerError


class Interrupted(LimnerError):
    """The work was interrupted and what was done is saved. exit_code is 128 and the signal: 130 for Ctrl-C."""

    def __init__(self, message: str, hint: str, number: int) -> None:
        super().__init__(message, hint)
        self.exit_code = 128 + number


class Left(Exception):
    """Work beside training was left in the middle, because a signal came."""


class Interrupt:
    """A context in which signals raise a flag instead of an exception.

    number  the signal that came, or 0

    Outside the main thread (a notebook's worker) Python has no signals, and the flag stays 0.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._flag) for number in (signal.SIGINT, *endings())}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """In this context every network that is called looks at the flag first, so that long sampling ends soon.

        raises Left   where the flag is up
        """

        here = threading.get_ident()

        def look(*_: object) -> None:
            if self.number and threading.get_ident() == here:
                raise Left

        look()
        hook = register_module_forward_pre_hook(look)
        try:
            yield
        finally:
            hook.remove()

    def _flag(self, number: int, frame: FrameType | None) -> None:
        # A terminal that closes may say so more than once, and nobody is impatient then.
        if self.number and number != HANGUP:
            os._exit(128 + number)
        self.number = self.number or number
