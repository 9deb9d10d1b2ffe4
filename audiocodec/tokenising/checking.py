"""Are the shards of a tokenised corpus what its ledger says, to the last bit?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from audiocodec.errors import CodecError
from audiocodec.tokenising.formats.registry import shard_format
from audiocodec.tokenising.ledger import ERRORS, FOLDER, Ledger, ShardRecord
from audiocodec.tokenising.output import sha256_of


def check_shards(folder: Path, progress: Callable[[int], object] | None = None) -> Iterator[str]:
    """A line for each shard that is not finished and each file that is missing, altered or unknown.

    Args:
        progress: called with the number of shards since the last call.

    Raises:
        CodecError: no tokenised corpus, its settings are damaged, or its format needs a package.
    """
    ledger = Ledger(folder)
    settings = ledger.settings()
    known = {ERRORS, *shard_format(settings.format).companions}
    for index in range(settings.num_shards):
        try:
            record = ledger.record(index)
        except CodecError as error:
            yield str(error)
        else:
            if record is None:
                yield f"{folder}: {settings.shard_name(index)} is not finished; run the codec " + (
                    "tokenize that began it"
                )
            else:
                known |= {file.name for file in record.files}
                yield from _problems(folder, record)
        if progress:
            progress(1)
    for name in _files(folder):
        if name not in known:
            yield f"{folder / name}: is not in the ledger; remove it"


def _problems(folder: Path, record: ShardRecord) -> Iterator[str]:
    remedy = "remove it, and run the codec tokenize that made it"
    for file in record.files:
        path = folder / file.name
        try:
            if not path.is_file():
                yield f"{path}: is missing; run the codec tokenize that made it"
            elif (size := path.stat().st_size) != file.num_bytes:
                yield f"{path}: has {size} bytes instead of {file.num_bytes}; {remedy}"
            elif sha256_of(path) != file.sha256:
                yield f"{path}: was altered, its checksum is another one; {remedy}"
        except CodecError as error:
            yield str(error)


def _files(folder: Path) -> Iterator[str]:
    """The files of a corpus, relative to its folder, without those of the ledger."""
    for root, folders, names in os.walk(folder):
        top = Path(root) == folder
        folders[:] = sorted(name for name in folders if not (top and name == FOLDER))
        for name in sorted(names):
            yield os.path.relpath(os.path.join(root, name), folder).replace(os.sep, "/")
