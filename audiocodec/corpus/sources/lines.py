"""What manifests and lists share: a file with an utterance a line, of any length.

Of a million lines no objects are kept, only where each line begins.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from audiocodec.corpus.sources.state import check_state, file_state
from audiocodec.corpus.utterance import UniqueIds, Utterance
from audiocodec.errors import CodecError
from audiocodec.progress import progress_bar


class LinesCorpus(ABC):
    """The utterances of a text file, in its order. Blank lines are skipped.

    Raises:
        CodecError: the file cannot be read, has no lines, or a line, which is named, is not an
            utterance's or has the id of another.
    """

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.folder = os.path.dirname(self.path)
        self._starts = array("Q")
        digest = hashlib.blake2b(digest_size=16)
        ids = UniqueIds()
        self._state = file_state(self.path)
        megabytes = self._state[0] / 1e6
        with self._open() as file, progress_bar(megabytes, "MB", "planning") as bar:
            position = 0
            for number, line in enumerate(file, 1):
                if number % 10_000 == 0:
                    bar.update(position / 1e6 - bar.n)
                if not line.isspace():
                    ids.add(self._utterance(line, number).id)
                    digest.update(line.rstrip(b"\r\n") + b"\n")
                    self._starts.append(position)
                position += len(line)
        if not self._starts:
            raise CodecError(f"{self.path}: has no lines; write one for each utterance")
        self.digest = digest.hexdigest()
        ids.check(self._id_and_place)

    @abstractmethod
    def parse(self, line: bytes) -> Utterance:
        """The utterance of a line, which may end with line breaks.

        Raises:
            ValueError: it is not one; the message goes on after the line's number.
        """

    def __len__(self) -> int:
        return len(self._starts)

    def utterances(self, start: int, stop: int) -> Iterator[Utterance]:
        check_state(self.path, self._state)
        with self._open() as file:
            for position in self._starts[start:stop]:
                file.seek(position)
                yield self._utterance(file.readline(), 0)

    def _open(self) -> BinaryIO:
        try:
            return open(self.path, "rb")
        except OSError as error:
            raise CodecError(f"{self.path}: cannot be read ({error.strerror or error})") from None

    def _id_and_place(self, index: int) -> tuple[str, str]:
        with self._open() as file:
            number = file.read(self._starts[index]).count(b"\n") + 1
            return self._utterance(file.readline(), number).id, f"{self.path}:{number}"

    def _utterance(self, line: bytes, number: int) -> Utterance:
        """The utterance of a line. ``number`` counts the file's lines from 1."""
        try:
            return self.parse(line)
        except ValueError as error:
            raise CodecError(f"{self.path}:{number}: {error}") from None
