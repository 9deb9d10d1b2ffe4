"""A folder of audio files. The id of a file is its path in the folder, without suffix."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from audiocodec.corpus.sources.corpus import digest_of
from audiocodec.corpus.utterance import UniqueIds, Utterance, check_id, id_of_path
from audiocodec.errors import CodecError


class FolderCorpus:
    """Audio files in a folder.

    Args:
        files: the files, all below ``folder``, in order.

    Raises:
        CodecError: two files have the same name but for the suffix.
    """

    def __init__(self, folder: Path, files: Sequence[Path]) -> None:
        self.folder = str(folder)
        self._names = [os.path.relpath(file, folder) for file in files]
        self.digest = digest_of(self._names)
        ids = UniqueIds()
        for name in self._names:
            try:
                ids.add(check_id(id_of_path(name)))
            except ValueError as error:
                raise CodecError(f"{self._path(name)}: the name {error}; rename it") from None
        ids.check(lambda at: (id_of_path(self._names[at]), self._path(self._names[at])))

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def __len__(self) -> int:
        return len(self._names)

    def utterances(self, start: int, stop: int) -> Iterator[Utterance]:
        for name in islice(self._names, start, stop):
            yield Utterance(id_of_path(name), self._path(name))
