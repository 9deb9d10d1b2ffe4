"""The ledger of a tokenised corpus: its settings, and a record for each finished shard.

::

    OUT/shard-00000.parquet ...      the shards
    OUT/errors.jsonl                 utterances without codes, and why; no file if there are none
    OUT/ledger/settings.json         what the shards depend on
    OUT/ledger/shard-00000.json      counts, errors, and size and SHA-256 of the shard's files
    OUT/ledger/lock                  locked by the runs that are at work

A record is written when its shard is on the disk under its name, so a shard without a record is
made again. Nothing here holds a time or a machine's name: equal runs make equal bytes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audiocodec.errors import CodecError
from audiocodec.paths import writing
from audiocodec.temporary import sweep
from audiocodec.tokenising.output import OutputFile, make_folder, write_text
from audiocodec.tokenising.settings import Settings
from audiocodec.tokenising.tokenised import Unreadable

if sys.platform != "win32":
    import fcntl

FOLDER = "ledger"
SETTINGS = f"{FOLDER}/settings.json"
LOCK = f"{FOLDER}/lock"
ERRORS = "errors.jsonl"


@dataclass(frozen=True)
class ShardRecord:
    """A finished shard.

    Attributes:
        utterances: with codes.
        num_samples, num_frames: of all of them.
        files: the shard, or all files of the shard where an utterance has one of its own.
        errors: the utterances of the slice without codes.
    """

    index: int
    utterances: int
    num_samples: int
    num_frames: int
    files: tuple[OutputFile, ...]
    errors: tuple[Unreadable, ...] = ()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ShardRecord:
        files = tuple(OutputFile(**file) for file in values["files"])
        errors = tuple(Unreadable(**error) for error in values["errors"])
        return cls(**values | {"files": files, "errors": errors})


class Ledger:
    """The ledger in the folder of a tokenised corpus."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def exists(self) -> bool:
        return (self.folder / SETTINGS).is_file()

    def settings(self) -> Settings:
        """The settings of the corpus.

        Raises:
            CodecError: no tokenised corpus, or a damaged ledger.
        """
        if not self.exists():
            raise CodecError(f"{self.folder}: is no tokenised corpus (it has no {SETTINGS})")
        try:
            return Settings.from_dict(self._load(SETTINGS))
        except (TypeError, KeyError):
            raise CodecError(
                f"{self.folder / SETTINGS}: is damaged or of another version; tokenise anew into "
                "another folder"
            ) from None

    def begin(self, settings: Settings) -> None:
        """Make the folder of a new corpus, or check that the one that is there goes on.

        Raises:
            CodecError: the folder holds something else, or shards of other settings.
        """
        if self.exists():
            if difference := self.settings().difference(settings):
                raise CodecError(
                    f"{self.folder}: was begun with {difference}; repeat the command that began "
                    "it, or name another folder"
                )
        else:
            make_folder(self.folder)
            sweep(self.folder)
            with writing(self.folder):
                held = sorted(os.listdir(self.folder))
            if set(held) - {FOLDER}:
                raise CodecError(
                    f"{self.folder}: holds {held[0]}, which is not of a tokenised corpus; name a "
                    "new folder"
                )
            write_text(self.folder, SETTINGS, _text(settings.as_dict()))
        sweep(self.folder)
        sweep(self.folder / FOLDER)

    def record(self, index: int) -> ShardRecord | None:
        """The record of a shard; ``None`` if it is not finished.

        Raises:
            CodecError: it is damaged.
        """
        name = _record_name(index)
        if not (self.folder / name).is_file():
            return None
        try:
            return ShardRecord.from_dict(self._load(name))
        except (TypeError, KeyError):
            raise _damaged(self.folder / name) from None

    def records(self, settings: Settings) -> Iterator[ShardRecord]:
        """The records of all finished shards, in order."""
        for index in range(settings.num_shards):
            if record := self.record(index):
                yield record

    def write(self, record: ShardRecord) -> None:
        write_text(self.folder, _record_name(record.index), _text(asdict(record)))

    def is_done(self, index: int) -> bool:
        """Whether a shard is finished and its files are there, as long as they were."""
        record = self.record(index)
        return record is not None and all(
            (path := self.folder / file.name).is_file() and path.stat().st_size == file.num_bytes
            for file in record.files
        )

    def write_errors(self, settings: Settings) -> tuple[int, int]:
        """Write ``errors.jsonl`` from the records; the number of finished shards, and of errors.

        Several runs may do so at the same time; the last one knows all of the records. A process
        does it when it holds no lock of :meth:`locked` any more: one ends with the other.
        """
        with self.locked(settings.num_shards, settings.num_shards + 1, wait=True):
            finished, lines = 0, []
            for record in self.records(settings):
                finished += 1
                for error in record.errors:
                    facts = {"shard": record.index, **asdict(error)}
                    lines.append(json.dumps(facts, ensure_ascii=False) + "\n")
            if lines:
                write_text(self.folder, ERRORS, "".join(lines))
            else:
                (self.folder / ERRORS).unlink(missing_ok=True)
        return finished, len(lines)

    @contextmanager
    def locked(self, start: int, stop: int, wait: bool = False) -> Iterator[None]:
        """Lock the shards from ``start`` to ``stop - 1``; no other process has them meanwhile.

        A lock is one byte of a file for each shard, and ends with its process, however that ends.
        On a file system without locks there is none.

        Raises:
            CodecError: another process has one of them, unless this is to wait for it.
        """
        if sys.platform == "win32" or stop <= start:
            yield
            return
        path = self.folder / LOCK
        with writing(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            flags = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
            try:
                fcntl.lockf(descriptor, flags, stop - start, start)
            except (BlockingIOError, PermissionError):
                raise CodecError(
                    f"{self.folder}: another run is at work on it; wait for its end, or give each "
                    "run its part with --shard i/n"
                ) from None
            except OSError:  # no locks on this file system
                pass
            yield
        finally:
            os.close(descriptor)

    def _load(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise CodecError(f"{path}: cannot be read ({error.strerror or error})") from None
        except ValueError:
            raise _damaged(path) from None
        if not isinstance(values, dict):
            raise _damaged(path)
        return values


def _record_name(index: int) -> str:
    return f"{FOLDER}/shard-{index:05d}.json"


def _damaged(path: Path) -> CodecError:
    return CodecError(f"{path}: is damaged; remove it, and run the codec tokenize that made it")


def _text(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"
