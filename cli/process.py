"""The process of `codec`: standard streams that print any name, and signals that end it."""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
from types import FrameType

PRINTABLE = "audiocodec-printable"
"""The name of the error handler that the standard streams have."""


class Ended(KeyboardInterrupt):
    """SIGTERM or SIGHUP: a command clears up as after Ctrl-C."""


def end_on_signals() -> list[int]:
    """Let SIGTERM and SIGHUP raise :class:`Ended`; the list gets the number of the first one.

    A signal that is ignored stays ignored: `nohup codec ...` continues when its terminal closes.
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
    """Make all text printable on the standard streams, of any encoding.

    Python has ``None`` for a stream that is closed (``2>&-``). The null device takes its place, so
    that no file that is opened later gets its number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - until the end
    codecs.register_error(PRINTABLE, _printable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=PRINTABLE)


def _printable(error: UnicodeError) -> tuple[bytes, int]:
    """The replacement for characters that a stream's encoding lacks, such as Japanese in cp1252.

    Bytes of a file name that are not UTF-8 are printed as they are, other characters as an escape.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return b"".join(
        bytes([ord(letter) - 0xDC00])
        if "\udc80" <= letter <= "\udcff"
        else letter.encode("ascii", "backslashreplace")
        for letter in lacking
    ), error.end
