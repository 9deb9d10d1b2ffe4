"""A file for each utterance, at the path that its id is, and a list of each shard's files.

``shard-00000.jsonl`` has a line for each utterance of the shard: ``file``, and the facts about it.
It is written last.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from audiocodec.errors import CodecError
from audiocodec.tokenising.formats.describing import described, from_description
from audiocodec.tokenising.output import OutputFile, new_file, write_text
from audiocodec.tokenising.settings import Settings
from audiocodec.tokenising.tokenised import Codes, Tokenised


class FilePerUtterance(ABC):
    """A shard format of small files; a subclass says what is in one."""

    extra = package = ""
    companions: ClassVar[dict[str, str]] = {}
    suffix: str

    @abstractmethod
    def to_bytes(self, row: Tokenised, settings: Settings) -> bytes:
        """The file of an utterance."""

    @abstractmethod
    def load(self, path: Path) -> Codes:
        """The codes in a file.

        Raises:
            CodecError, OSError, ValueError: missing or damaged.
        """

    @contextmanager
    def writer(
        self, folder: Path, index: int, settings: Settings, made: list[OutputFile]
    ) -> Iterator[_Writer]:
        writer = _Writer(self, folder, settings, made)
        yield writer
        lines = [json.dumps(facts, ensure_ascii=False) + "\n" for facts in writer.facts]
        made.append(write_text(folder, _name(index, settings), "".join(lines)))

    def read(self, folder: Path, index: int, settings: Settings) -> Iterator[Tokenised]:
        path = folder / _name(index, settings)
        try:
            for line in path.read_bytes().splitlines():  # text may hold other line ends
                facts = json.loads(line)
                path = folder / facts["file"]
                yield from_description(facts, self.load(path))
        except (OSError, ValueError, KeyError) as error:
            raise CodecError(f"{path}: cannot be read ({error}); codec verify checks it") from None


class _Writer:
    def __init__(
        self, format: FilePerUtterance, folder: Path, settings: Settings, made: list[OutputFile]
    ) -> None:
        self._format, self._folder, self._settings, self._made = format, folder, settings, made
        self.facts: list[dict[str, Any]] = []

    def add(self, row: Tokenised) -> None:
        name = row.file_name(self._format.suffix)
        with new_file(self._folder, name, self._made) as file:
            file.write(self._format.to_bytes(row, self._settings))
        self.facts.append({"file": name, **described(row, self._settings)})


def _name(index: int, settings: Settings) -> str:
    return f"{settings.shard_name(index)}.jsonl"
