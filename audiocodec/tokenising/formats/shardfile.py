"""Shard formats of one file a shard."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Protocol

from audiocodec.tokenising.formats.format import ShardWriter
from audiocodec.tokenising.output import HashingFile, OutputFile, new_file
from audiocodec.tokenising.settings import Settings


class FileWriter(ShardWriter, Protocol):
    """Writes the utterances of a shard into its file."""

    def close(self) -> None: ...


class ShardFile(ABC):
    """A shard format of one file a shard; a subclass says what is in it, and reads it."""

    extra = package = ""
    companions: ClassVar[dict[str, str]] = {}
    suffix: str

    @abstractmethod
    def open_writer(self, file: HashingFile, settings: Settings) -> FileWriter:
        """What writes into the new file ``file``; it is closed before the file."""

    @contextmanager
    def writer(
        self, folder: Path, index: int, settings: Settings, made: list[OutputFile]
    ) -> Iterator[FileWriter]:
        with new_file(folder, self.name(index, settings), made) as file:
            writer = self.open_writer(file, settings)
            yield writer
            writer.close()

    def name(self, index: int, settings: Settings) -> str:
        """The name of a shard's file."""
        return settings.shard_name(index) + self.suffix
