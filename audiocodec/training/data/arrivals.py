"""Audio that arrives in the folder of a run while it trains (``data.watch``)."""

import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np
from numpy.typing import NDArray

from audiocodec.audio import find_audio
from audiocodec.durations import show_duration
from audiocodec.errors import CodecError
from audiocodec.training.data.cache import AudioCache
from audiocodec.training.data.files import DataConfig, Split, data_root, split_files

LOOK_SECONDS = 10.0
"""From one look at the folder to the next. A file is taken when two looks find it the same."""

FIRST_FILES = 64
"""Files that are decoded before the first step; the others are while the run trains."""


class Arrivals:
    """Finds and decodes new files in the background.

    Args:
        config: ``root`` is the folder; files below ``validation`` are left alone.
        known: files that the run has already, trained on or held out.
        sample_rate: the codec's, in Hz.
        folder: for decoded audio.
        waiting: those of the known files that are yet to be decoded.
    """

    def __init__(
        self,
        config: DataConfig,
        known: Collection[Path],
        sample_rate: int,
        folder: Path,
        waiting: Sequence[Path] = (),
    ) -> None:
        self._config, self._sample_rate, self._folder = config, sample_rate, folder
        self._known = {os.path.realpath(file) for file in known}
        self._sizes: dict[Path, tuple[int, float]] = {}
        self._decoded: SimpleQueue[NDArray[np.int16]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._waiting = list(waiting)
        self._looked = time.monotonic() - (LOOK_SECONDS if waiting else 0)

    def take(self) -> list[NDArray[np.int16]]:
        """The audio ``[T]`` of files decoded since the last call. It does not wait for any."""
        is_idle = self._thread is None or not self._thread.is_alive()
        if is_idle and time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self._thread = threading.Thread(target=self.look, daemon=True)
            self._thread.start()
        taken = []
        while True:
            try:
                taken.append(self._decoded.get_nowait())
            except Empty:
                return taken

    def look(self) -> None:
        """Decode what is waiting, then the new files that have not changed since the look before.

        All cores do, beside the run.
        """
        try:
            while self._waiting:
                part, self._waiting = self._waiting[:FIRST_FILES], self._waiting[FIRST_FILES:]
                self._decode(part)
            sizes = {file: _state(file) for file in self._new_files()}
            ready = [file for file, size in sizes.items() if self._sizes.get(file) == size]
            self._sizes = sizes
            if ready:
                self._known |= {os.path.realpath(file) for file in ready}
                self._decode(ready)
        except (CodecError, OSError) as error:  # removed or damaged meanwhile: not this run's end
            print(f"skipped: {error}", file=sys.stderr)

    def _decode(self, files: list[Path]) -> None:
        cache = AudioCache(files, self._sample_rate, self._folder, in_background=True)
        if len(cache.samples):
            self._decoded.put(cache.samples)

    def _new_files(self) -> list[Path]:
        held_out = self._config.validation
        folder = Path(held_out).expanduser().resolve() if held_out else None
        return [
            file
            for file in find_audio(data_root(self._config))
            if os.path.realpath(file) not in self._known
            and not (folder and Path(os.path.realpath(file)).is_relative_to(folder))
        ]


def first_files(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """The files to begin with, evenly spaced in the list, and the others."""
    stride = max(1, len(files) // FIRST_FILES)
    first = files[::stride][:FIRST_FILES]
    return first, sorted(set(files) - set(first))


def wait_for_audio(
    config: DataConfig,
    held_out_before: Collection[Path],
    sleep: Callable[[float], object] = time.sleep,
) -> Split:
    """The files to begin with: those that are there, or the first that arrive.

    Raises:
        CodecError: none has arrived after ``config.watch`` seconds; or there is none, and
            ``config.watch`` is not set.
    """
    waited, before = 0.0, None
    while True:
        try:
            split = split_files(config, held_out_before)
        except CodecError as error:
            if config.watch is None:
                raise
            if waited >= config.watch:
                raise CodecError(
                    f"{error} (waited {show_duration(waited)}; wait longer with "
                    "--set data.watch=1h)"
                ) from None
        else:
            now = [_state(file) for file in split.training]
            if config.watch is None or now == before or waited == 0:
                return split
            before = now  # they may still be written
        sleep(1.0)
        waited += 1.0


def _state(file: Path) -> tuple[int, float]:
    status = file.stat()
    return status.st_size, status.st_mtime
