"""Training audio, decoded once into a file of int16 samples that is memory-mapped."""

import hashlib
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiocodec.audio import AudioReader
from audiocodec.cores import available_cores
from audiocodec.corpus.packing.shards import to_int16
from audiocodec.errors import CodecError
from audiocodec.paths import replacing, writing
from audiocodec.progress import progress_bar

MAX_PENDING = 64
"""Decoded files that wait in memory until they can be written."""

MAX_UNREADABLE = 0.05
"""Share of the files that may be unreadable. They are skipped and named."""


class AudioCache:
    """The audio of some files, mono at one sample rate, concatenated in one memory-mapped file.

    The name of that file is a hash of the names, sizes and times of the files, so that they are
    decoded again only if they have changed. Files that cannot be read are left out; ``skipped``
    says why.

    Args:
        in_background: show no progress, and leave out any number of files.

    Raises:
        CodecError: more than :data:`MAX_UNREADABLE` of the files cannot be read, or the cache
            cannot be written.
    """

    def __init__(
        self, files: Sequence[Path], sample_rate: int, folder: Path, in_background: bool = False
    ) -> None:
        self.path = cache_path(files, sample_rate, folder)
        self.skipped: list[str] = []
        if not self.path.is_file():
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as path:
                self.skipped = _decode_all(files, sample_rate, path, self.path, in_background)
        self.samples: NDArray[np.int16] = np.zeros(0, np.int16)
        if self.path.stat().st_size:  # an empty file cannot be mapped
            self.samples = np.memmap(self.path, dtype=np.int16, mode="r")

    @property
    def num_samples(self) -> int:
        """Samples of all files together."""
        return len(self.samples)


def cache_path(files: Sequence[Path], sample_rate: int, folder: Path) -> Path:
    """The file that holds, or will hold, the decoded audio of ``files``.

    Raises:
        CodecError: a file is missing.
    """
    entries = []
    for file in files:
        try:
            status = file.stat()
        except OSError as error:
            raise CodecError(f"{file}: cannot be read ({error.strerror})") from None
        entries.append((str(file.resolve()), status.st_size, status.st_mtime))
    key = hashlib.sha256(json.dumps([sample_rate, entries]).encode()).hexdigest()[:16]
    return folder / f"{key}.int16"


def check_unreadable(unreadable: Sequence[str], count: int) -> None:
    """Raise :class:`CodecError` if too many of ``count`` files are unreadable.

    Args:
        unreadable: why a file cannot be read, a line for each.
    """
    if len(unreadable) <= MAX_UNREADABLE * count:
        return
    more = f"; so are {len(unreadable) - 1} more of {count} files" if len(unreadable) > 1 else ""
    raise CodecError(f"{unreadable[0]}{more}; remove such files from data.root")


def _decode_all(
    files: Sequence[Path], sample_rate: int, temporary: Path, target: Path, in_background: bool
) -> list[str]:
    """Decode ``files`` in their order; returns a reason for each one that is left out.

    Threads do it: decoding releases Python's global lock.
    """

    def decode(file: Path) -> bytes | str:
        try:
            with AudioReader(file, sample_rate) as reader:
                blocks = [block.mean(axis=0) for block in reader.blocks(30.0)]
        except CodecError as error:
            return str(error)
        except OSError as error:
            return f"{file}: cannot be read ({error.strerror or error})"
        mono = np.concatenate([np.zeros(0, np.float32), *blocks])
        return to_int16(mono).tobytes()

    unreadable: list[str] = []
    with (
        writing(target),
        temporary.open("wb") as out,
        ThreadPoolExecutor(available_cores()) as pool,
        progress_bar(len(files), "files", "decoding", show=not in_background) as bar,
    ):
        for start in range(0, len(files), MAX_PENDING):
            for decoded in pool.map(decode, files[start : start + MAX_PENDING]):
                if isinstance(decoded, str):
                    unreadable.append(decoded)
                else:
                    out.write(decoded)
                bar.update()
            if not in_background:
                check_unreadable(unreadable, len(files))
    for reason in unreadable:
        print(f"skipped: {reason}", file=sys.stderr)
    return unreadable
