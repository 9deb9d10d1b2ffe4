"""Progress bars on stderr: live in a terminal, a line about twice a minute in a log file.

Work that takes less than a second prints nothing in a terminal, and work that takes less than half
a minute prints nothing in a log.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm import tqdm

Progress = Callable[[float], object]
"""Called now and then with the work that was done since the last call, in the bar's unit."""

_hidden: ContextVar[bool] = ContextVar("hidden progress bars", default=False)


class _Log(tqdm):
    """A bar for stderr that is not a terminal: each display is a line of its own."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        if msg is None:  # an empty message would clear a terminal's line
            self.fp.write(f"{self}\n")
            self.fp.flush()
        return False


def progress_bar(
    total: float | None, unit: str, description: str = "", show: bool = True
) -> tqdm[None]:
    """A bar that counts to ``total``, or without end for ``None``: call its ``update(step)``.

    Args:
        unit: what is counted, in the plural, such as ``"files"``.
        description: what is done, before the bar.
        show: ``False`` for a bar that prints nothing.
    """
    terminal = sys.stderr.isatty()
    if total is None:
        form = "{desc}{n:.0f} {unit}, {elapsed}{postfix}"
    elif terminal:
        form = "{desc}{percentage:3.0f} %|{bar}| {n:.0f}/{total:.0f} {unit}, {elapsed}<{remaining}"
        form += "{postfix}"
    else:
        form = "{desc}{n:.0f} of {total:.0f} {unit}, {elapsed} elapsed, {remaining} left{postfix}"
    return (tqdm if terminal else _Log)(
        total=total,
        unit=unit,
        desc=f"{description}: " if description else None,
        bar_format=form,
        delay=1 if terminal else 30,
        mininterval=0.1 if terminal else 30,
        maxinterval=10 if terminal else 60,
        leave=False,
        dynamic_ncols=True,
        disable=not show or _hidden.get(),
        file=sys.stderr,
    )


def progress_hidden() -> bool:
    """Whether :func:`hidden_progress` is active, for output other than bars."""
    return _hidden.get()


@contextmanager
def hidden_progress() -> Iterator[None]:
    """Show no bar of :func:`progress_bar` inside the block (``codec --quiet``)."""
    token = _hidden.set(True)
    try:
        yield
    finally:
        _hidden.reset(token)
