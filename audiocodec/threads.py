"""Work on several threads that can be interrupted.

Threads, not processes: nearly all of the work releases Python's global lock, one model serves all,
no process has to start, and none can be left behind.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

NOTICE_SECONDS = 1.0
"""From one look to the next while jobs are waited for. A Ctrl-C that comes at the moment when a
wait begins does not end it; it is noticed at the next look."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Stopped(BaseException):
    """Raised by :meth:`Stop.check` in a job that is to be given up."""


class Stop:
    """Asks jobs on other threads to give up; each calls :meth:`check` now and then."""

    def __init__(self) -> None:
        self._requested = threading.Event()

    def request(self) -> None:
        self._requested.set()

    def check(self) -> None:
        """Raise :class:`Stopped` after :meth:`request`, so that the job removes its open files."""
        if self._requested.is_set():
            raise Stopped


def on_threads(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    stop: Stop,
    collect: Callable[[Result], object],
) -> None:
    """Call ``work`` for each item on ``workers`` threads, and ``collect`` for each result as soon
    as it is there, on this thread. With one worker all of it is done on this thread.

    When an exception or Ctrl-C ends this early, ``stop`` is requested and all threads are joined.
    """
    if workers == 1:
        for item in items:
            stop.check()
            collect(work(item))
        return
    remaining = iter(items)
    with _pool(work, workers, stop) as submit:
        # A future takes 2 kB, so there are few at a time, however many items there are.
        pending = set(submit(islice(remaining, 2 * workers)))
        while pending:
            done, pending = wait(pending, NOTICE_SECONDS, return_when=FIRST_COMPLETED)
            pending |= set(submit(islice(remaining, len(done))))
            for future in done:
                collect(future.result())


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int, stop: Stop, ahead: int
) -> Generator[Result, None, None]:
    """``work`` of each item on ``workers`` threads; the results in the order of the items.

    Close the iterator if it is not read to its end: that requests ``stop`` and joins all threads,
    as an exception and Ctrl-C do.

    Args:
        ahead: the most items that are begun or done before their result is asked for.
    """
    if workers == 1 and ahead == 1:
        for item in items:
            stop.check()
            yield work(item)
        return
    remaining = iter(items)
    with _pool(work, workers, stop) as submit:
        pending = deque(submit(islice(remaining, ahead)))
        while pending:
            future = pending.popleft()
            while not wait([future], NOTICE_SECONDS).done:
                pass
            result = future.result()
            pending.extend(submit(islice(remaining, 1)))
            yield result


@contextmanager
def _pool(
    work: Callable[[Item], Result], workers: int, stop: Stop
) -> Iterator[Callable[[Iterable[Item]], list[Future[Result]]]]:
    """A function that gives items to ``workers`` threads. At the end all threads are joined.

    When an exception or Ctrl-C ends the block, ``stop`` is requested first.
    """
    begin = threading.Event()

    def run(item: Item) -> Result:
        begin.wait()
        stop.check()
        return work(item)

    with ThreadPoolExecutor(workers) as pool:

        def submit(items: Iterable[Item]) -> list[Future[Result]]:
            futures = [pool.submit(run, item) for item in items]
            # No item begins before the pool knows all of its threads: it would not join a thread
            # that Ctrl-C interrupts it in starting.
            begin.set()
            return futures

        try:
            yield submit
        except BaseException:
            stop.request()
            raise
        finally:
            begin.set()
