"""Shards as tar files for ``webdataset``: an ``.npy`` and a ``.json`` for each utterance.

The key is the id, with ``%`` and the dots of its last part as ``%25`` and ``%2E``, because
WebDataset takes what follows the first dot for the kind of a member. ``npy`` holds the codes
``[K, F]``, and ``json`` id, num_samples, sample_rate, speaker, text, split and fingerprint.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from audiocodec.errors import CodecError
from audiocodec.tokenising.formats.describing import described, from_description, npy_bytes
from audiocodec.tokenising.formats.shardfile import ShardFile
from audiocodec.tokenising.output import HashingFile
from audiocodec.tokenising.settings import Settings
from audiocodec.tokenising.tokenised import Tokenised


class WebDataset(ShardFile):
    """``shard-00000.tar`` and so on."""

    suffix = ".tar"

    def open_writer(self, file: HashingFile, settings: Settings) -> _Writer:
        return _Writer(file, settings)

    def read(self, folder: Path, index: int, settings: Settings) -> Iterator[Tokenised]:
        path = folder / self.name(index, settings)
        try:
            with tarfile.open(path, "r:") as tar:
                while member := tar.next():
                    # Each utterance is two members: codes, then their description.
                    codes = np.load(io.BytesIO(_bytes(tar, member)), allow_pickle=False)
                    description = tar.next()
                    if description is None:
                        raise ValueError(f"{member.name} has no description")
                    yield from_description(json.loads(_bytes(tar, description)), codes)
        except (OSError, tarfile.TarError, ValueError, KeyError) as error:
            raise CodecError(f"{path}: cannot be read ({error}); codec verify checks it") from None


class _Writer:
    """A tar whose bytes depend on nothing but its members."""

    def __init__(self, file: HashingFile, settings: Settings) -> None:
        self._settings = settings
        # tarfile only writes and tells; the type asks for more.
        stream: Any = file
        self._tar = tarfile.TarFile(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, row: Tokenised) -> None:
        key = key_of(row.id)
        facts = json.dumps(described(row, self._settings), ensure_ascii=False)
        self._put(f"{key}.npy", npy_bytes(row.codes))
        self._put(f"{key}.json", facts.encode())

    def close(self) -> None:
        self._tar.close()

    def _put(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)  # time, owner and group are 0, without names
        member.size, member.mode = len(data), 0o644
        self._tar.addfile(member, io.BytesIO(data))


def key_of(id: str) -> str:
    """The key of an utterance in a tar."""
    folder, slash, name = id.replace("%", "%25").rpartition("/")
    return folder + slash + name.replace(".", "%2E")


def _bytes(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    if file is None:
        raise ValueError(f"{member.name} is no file")
    return file.read()
