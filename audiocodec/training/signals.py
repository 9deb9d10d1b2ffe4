"""SIGINT, SIGTERM and SIGHUP as requests to stop after the current step."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """A list to which these signals append their numbers, so that the current step is finished.

    A signal that the process ignores (SIGHUP under nohup) stays ignored.
    """
    received: list[int] = []

    def append(number: int, _: FrameType | None) -> None:
        received.append(number)

    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    previous = {
        number: signal.signal(number, append)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
