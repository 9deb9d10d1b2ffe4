"""Parquet files with the bytes of audio files, as Hugging Face ``datasets`` writes them.

The column ``audio`` is a struct of ``bytes`` and ``path``, or the bytes alone. Other columns are
optional: ``id``, ``text``, ``speaker_id`` (or ``speaker``) and ``split``. pyarrow reads them; the
extra ``parquet`` installs it.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from audiocodec.corpus.sources.state import State, check_state, file_state
from audiocodec.corpus.utterance import UniqueIds, Utterance, check_id, id_of_path
from audiocodec.errors import CodecError
from audiocodec.extras import import_extra

_BATCH_ROWS = 1024


class ParquetCorpus:
    """The rows of Parquet files, in their order.

    Ids are those of the column ``id``; without it, the names in ``audio.path`` if they are there
    and differ; else the file's name and the row's number.

    Raises:
        CodecError: pyarrow is not installed, a file cannot be read or has no audio, or two rows
            have one id.
    """

    def __init__(self, root: Path, files: Sequence[Path]) -> None:
        self._paths = [str(file) for file in files]
        names = [os.path.splitext(os.path.relpath(file, root))[0] for file in files]
        self._names = [name.replace(os.sep, "/") for name in names]
        self._states = [file_state(path) for path in self._paths]
        facts = [_facts(path, state) for path, state in self._files()]
        self._firsts = array("Q", accumulate((fact.rows for fact in facts), initial=0))
        if not len(self):
            raise CodecError(f"{root}: has no rows")
        if all("id" in fact.columns for fact in facts):
            self._naming = "id"
            self.digest = self._scan()
            return
        try:
            self._naming = "path"
            self.digest = self._scan()
        except CodecError:
            self._naming = "row"
            self.digest = self._scan()

    def _scan(self) -> str:
        """Check all rows, and return their digest."""
        digest = hashlib.blake2b(digest_size=16)
        ids = UniqueIds()
        for path, state in self._files():
            digest.update(json.dumps(_facts(path, state).sizes).encode() + b"\n")
        for item in self.utterances(0, len(self)):
            ids.add(item.id)
            facts = [item.id, item.speaker, item.text, item.split]
            digest.update(json.dumps(facts).encode() + b"\n")
        ids.check(self._id_and_place)
        return digest.hexdigest()

    def _files(self) -> Iterator[tuple[str, State]]:
        return zip(self._paths, self._states, strict=True)

    def _id_and_place(self, index: int) -> tuple[str, str]:
        (item,) = self.utterances(index, index + 1)
        return item.id, item.place

    def __len__(self) -> int:
        return self._firsts[-1]

    def utterances(self, start: int, stop: int) -> Iterator[Utterance]:
        stop = min(stop, len(self))
        while start < stop:
            number = bisect_right(self._firsts, start) - 1
            first = self._firsts[number]
            end = min(stop, self._firsts[number + 1])
            yield from self._rows(number, start - first, end - first)
            start = end

    def _rows(self, number: int, start: int, stop: int) -> Iterator[Utterance]:
        """The rows ``start`` to ``stop - 1`` of a file."""
        path, state = self._paths[number], self._states[number]
        check_state(path, state)
        facts = _facts(path, state)
        groups = range(facts.group_of(start), facts.group_of(stop - 1) + 1)
        columns = [
            name
            for name in ("id", "text", "speaker_id", "speaker", "split", "audio.path")
            if name in facts.columns
        ]
        row = facts.starts[groups[0]]
        with _file(path) as file:
            if not columns:
                for at in range(start, stop):
                    yield self._utterance(number, at, {})
                return
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=list(groups), columns=columns):
                for entry in batch.to_pylist():
                    if start <= row < stop:
                        yield self._utterance(number, row, entry)
                    row += 1

    def _utterance(self, number: int, row: int, entry: dict[str, Any]) -> Utterance:
        path = self._paths[number]
        if self._naming == "id":
            id = _text(entry, "id")
        elif self._naming == "path":
            id = id_of_path((entry.get("audio") or {}).get("path") or "")
        else:
            id = f"{self._names[number]}/{row}"
        try:
            check_id(id)
        except ValueError as error:
            raise CodecError(f"{path}: the id of row {row} {error}; correct it") from None
        return Utterance(
            id,
            path,
            str(row),
            speaker=_text(entry, "speaker_id", "speaker"),
            text=_text(entry, "text"),
            split=_text(entry, "split"),
        )


def _text(entry: dict[str, Any], *keys: str) -> str:
    return next((str(entry[key]) for key in keys if entry.get(key) is not None), "")


class _Facts(NamedTuple):
    """What the footer of a file says.

    Args:
        columns: the names of its columns, and ``audio.path`` if there is that.
        audio: the column of bytes.
        starts: the first row of each row group, and the number of rows.
        sizes: bytes of each row group.
    """

    columns: frozenset[str]
    audio: str
    starts: list[int]
    sizes: list[int]

    @property
    def rows(self) -> int:
        return self.starts[-1]

    def group_of(self, row: int) -> int:
        """The row group of a row."""
        return bisect_right(self.starts, row) - 1


def _file(path: str) -> Any:
    """``path`` as a ``pyarrow.parquet.ParquetFile``."""
    parquet = import_extra("pyarrow.parquet", "parquet", f"{path}: Parquet")
    try:
        return parquet.ParquetFile(path)
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:  # pyarrow.lib.ArrowInvalid
        raise CodecError(f"{path}: is no whole Parquet file ({error}); copy it again") from None


@lru_cache(maxsize=1024)
def _facts(path: str, state: State) -> _Facts:
    """The facts of a file in this state."""
    types = import_extra("pyarrow", "parquet", "Parquet").types
    with _file(path) as file:
        schema, metadata = file.schema_arrow, file.metadata
        groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
        columns, audio = set(schema.names), ""
        if "audio" in columns:
            kind = schema.field("audio").type
            if types.is_binary(kind) or types.is_large_binary(kind):
                audio = "audio"
            elif types.is_struct(kind):
                fields = {field.name for field in kind}
                audio = "audio.bytes" if "bytes" in fields else ""
                columns |= {"audio.path"} & {f"audio.{name}" for name in fields}
    if not audio:
        raise CodecError(
            f"{path}: has no column `audio` with the bytes of audio files (its columns: "
            f"{', '.join(schema.names)})"
        )
    starts = list(accumulate((group.num_rows for group in groups), initial=0))
    return _Facts(frozenset(columns), audio, starts, [group.total_byte_size for group in groups])


_lock = threading.Lock()


def read_row(path: str, row: str) -> bytes:
    """The bytes of the audio file in a row.

    A whole row group is read and kept, until rows of two others are read.

    Raises:
        CodecError: the row is not there or has no bytes, or the file cannot be read.
    """
    state = file_state(path)
    facts = _facts(path, state)
    if not (row.isdecimal() and int(row) < facts.rows):
        raise CodecError(f"{path}: has no row {row}")
    group = facts.group_of(int(row))
    with _lock:
        column = _group(path, state, group)
    data: bytes | None = column[int(row) - facts.starts[group]].as_py()
    if data is None:
        raise CodecError(f"{path}: row {row} has no audio bytes; write them into the file")
    return data


@lru_cache(maxsize=2)
def _group(path: str, state: State, group: int) -> Any:
    """The bytes of a row group of a file in this state."""
    pyarrow = import_extra("pyarrow", "parquet", "Parquet")
    facts = _facts(path, state)
    with _file(path) as file:
        try:
            column = file.read_row_group(group, columns=[facts.audio]).column("audio")
        except (OSError, pyarrow.ArrowException) as error:
            raise CodecError(f"{path}: is damaged ({error}); copy it again") from None
    if facts.audio == "audio.bytes":
        column = pyarrow.compute.struct_field(column, "bytes")
    return column
