"""A tokenised corpus with fewer codebooks or in another format. Audio is not touched."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from audiocodec.errors import CodecError
from audiocodec.tokenising.formats.registry import shard_format
from audiocodec.tokenising.ledger import Ledger, ShardRecord
from audiocodec.tokenising.settings import Settings
from audiocodec.tokenising.shard import Progress, write_shard
from audiocodec.tokenising.tokenised import Row, Tokenised


class TokenCorpus:
    """A tokenised corpus that is read, shard by shard.

    Raises:
        CodecError: ``folder`` holds none, or its format needs a package that is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.ledger = folder, Ledger(folder)
        self.settings = self.ledger.settings()
        self._format = shard_format(self.settings.format)

    def rows(self, index: int) -> Generator[Tokenised, None, None]:
        """The utterances of a shard in order.

        Raises:
            CodecError: the shard is not finished, or a file of it is missing or damaged.
        """
        self.record(index)
        yield from self._format.read(self.folder, index, self.settings)

    def record(self, index: int) -> ShardRecord:
        """The record of a shard.

        Raises:
            CodecError: it is not finished.
        """
        record = self.ledger.record(index)
        if record is None:
            name = self.settings.shard_name(index)
            raise CodecError(
                f"{self.folder}: {name} is not finished; run the codec tokenize that began it"
            )
        return record


def rewrite_shard(
    source: TokenCorpus,
    index: int,
    settings: Settings,
    folder: Path,
    progress: Progress | None = None,
) -> ShardRecord:
    """Write one shard of ``source`` with the codebooks and in the format of ``settings``.

    The bytes are those that tokenising the audio with these settings would make.

    Raises:
        CodecError: a shard of ``source`` that is not finished or cannot be read, or one that cannot
            be written.
    """

    def rows() -> Generator[Row, None, None]:
        for row in source.rows(index):
            codes = row.codes[: settings.num_codebooks].astype(settings.dtype)
            texts = (row.speaker, row.text, row.split)
            yield Tokenised(row.id, codes, row.num_samples, *texts)
        yield from source.record(index).errors

    return write_shard(rows(), index, settings, folder, progress)
