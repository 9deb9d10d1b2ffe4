"""The contract of a shard format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from audiocodec.tokenising.output import OutputFile
from audiocodec.tokenising.settings import Settings
from audiocodec.tokenising.tokenised import Tokenised


class ShardWriter(Protocol):
    """Takes the utterances of a shard in order."""

    def add(self, row: Tokenised) -> None: ...


class ShardFormat(Protocol):
    """How the utterances of a shard are written and read.

    Equal utterances and settings make equal bytes, in bounded memory.
    """

    extra: str
    """The extra that installs what the format needs; empty if the core will do."""
    package: str
    """The package that needs it."""
    companions: dict[str, str]
    """Name -> text of what else lies in the folder."""

    def writer(
        self, folder: Path, index: int, settings: Settings, made: list[OutputFile]
    ) -> AbstractContextManager[ShardWriter]:
        """Writes shard ``index``. When the context ends, its files are in ``folder``, on the disk
        under their names, and in ``made``; after an exception, no file is there in part.

        Raises:
            CodecError: a file cannot be written.
        """

    def read(self, folder: Path, index: int, settings: Settings) -> Iterator[Tokenised]:
        """The utterances of shard ``index`` in order.

        Raises:
            CodecError: a file is missing or damaged.
        """
