"""What `codec` has as a process: standard streams that print any name, and signals that end it."""

from __future__ import annotations

import io
import os
import signal
import sys
from types import FrameType


class Ended(KeyboardInterrupt):
    """SIGTERM or SIGHUP: a command clears up as after Ctrl-C."""


def end_on_signals() -> list[int]:
    """Let SIGTERM and SIGHUP raise :class:`Ended`; the list gets the number of the first one.

    A signal that is ignored stays so: `nohup codec ...` goes on when its terminal closes.
    """
    received: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        if not received:  # a second one does not stop the clearing up
            received.append(number)
            raise Ended

    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end)
    return received


def open_closed_streams() -> None:
    """Python has ``None`` for a standard stream that is closed (``2>&-``): use the null device.

    So no file that is opened later gets its number either. File names that are not UTF-8 are
    printed as they are.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - until the end
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")
