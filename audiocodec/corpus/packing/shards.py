"""The layout of a packed corpus: shards of 16-bit samples, and what they were made of.

packed.json       sample rate, and what the shards depend on; written first
000000.npy ...    int16 ``[T]``: the utterances of a slice of the corpus, joined; written whole
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiocodec.errors import CodecError
from audiocodec.paths import replacing

INDEX_NAME = "packed.json"

MAX_OPEN_FILES = 128


@dataclass(frozen=True)
class PackedSettings:
    """What the shards of a packed corpus depend on.

    Args:
        sample_rate: Hz.
        corpus: the digest of the corpus.
        utterances: how many it has.
        shard_size: utterances in a shard.
    """

    sample_rate: int
    corpus: str
    utterances: int
    shard_size: int

    @property
    def num_shards(self) -> int:
        return -(-self.utterances // self.shard_size)

    def slice(self, shard: int) -> tuple[int, int]:
        """The first utterance of a shard, and the one after its last."""
        start = shard * self.shard_size
        return start, min(self.utterances, start + self.shard_size)

    def path(self, folder: Path, shard: int) -> Path:
        return folder / f"{shard:06}.npy"

    def write(self, folder: Path) -> None:
        with replacing(folder / INDEX_NAME) as path:
            path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> PackedSettings:
        """Read :data:`INDEX_NAME`.

        Raises:
            CodecError: it cannot be read, or is damaged.
        """
        path = folder / INDEX_NAME
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{field.name: values[field.name] for field in fields(cls)})
        except OSError as error:
            raise CodecError(f"{path}: cannot be read ({error.strerror or error})") from None
        except (ValueError, TypeError, KeyError):
            raise CodecError(f"{path}: is damaged; remove it and pack the corpus again") from None


def is_packed(folder: Path) -> bool:
    """Whether ``folder`` holds a packed corpus."""
    return (folder / INDEX_NAME).is_file()


def packed_shards(folder: Path) -> list[Path]:
    """The shards in ``folder``, in order.

    Raises:
        CodecError: some of them are missing, or there are none.
    """
    settings = PackedSettings.read(folder)
    paths = [settings.path(folder, shard) for shard in range(settings.num_shards)]
    missing = [path for path in paths if not path.is_file()]
    if missing or not paths:
        raise CodecError(
            f"{folder}: {len(missing)} of {len(paths)} shards are missing, e.g. "
            f"{missing[0].name if missing else 'all'}; run the codec pack that began it again"
        )
    return paths


def is_shard(path: Path) -> bool:
    """Whether a file has the suffix of a shard."""
    return path.suffix == ".npy"


def to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples in [-1, 1] as 16-bit numbers, clipped: 32767 is 1."""
    return (samples * 32767).round().clip(-32768, 32767).astype("<i2")


class PackedShard:
    """The samples of a shard, int16. Slices are read from the file when they are asked for, so
    that no corpus fills the memory.

    Raises:
        CodecError: the file is no such shard.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                np.lib.format.read_magic(file)
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                self._first = file.tell()
        except (OSError, ValueError) as error:
            raise CodecError(f"{path}: cannot be read ({error}); pack the corpus again") from None
        if dtype != np.dtype("<i2") or len(shape) != 1:
            raise CodecError(f"{path}: holds {dtype} {shape}, not 16-bit samples [T]")
        (self._length,) = shape
        if path.stat().st_size < self._first + 2 * self._length:
            raise CodecError(f"{path}: is cut short; remove it and pack the corpus again")

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice, /) -> NDArray[np.int16]:
        start, stop, _ = part.indices(self._length)
        try:
            file = _opened(str(self.path))
            file.seek(self._first + 2 * start)
            samples = np.frombuffer(file.read(2 * max(0, stop - start)), "<i2")
        except OSError as error:
            raise CodecError(f"{self.path}: cannot be read ({error.strerror or error})") from None
        if len(samples) < stop - start:
            raise CodecError(f"{self.path}: is cut short; remove it and pack the corpus again")
        return samples


@lru_cache(maxsize=MAX_OPEN_FILES)
def _opened(path: str) -> BinaryIO:
    return open(path, "rb", buffering=0)
