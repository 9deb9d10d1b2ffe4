"""A JSONL manifest: a JSON object a line, such as ``codec prepare`` writes.

Keys: ``path`` (or NeMo's ``audio_filepath``), relative to the manifest's folder; and optionally
``id``, ``member`` (of a tar), ``offset`` and ``duration`` in seconds, ``speaker`` (or
``speaker_id``), ``text`` and ``split``. Others are ignored.

Of a million lines no objects are kept, only where each line begins.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from audiocodec.corpus.utterance import UniqueIds, Utterance, check_id, id_of_path
from audiocodec.errors import CodecError


class ManifestCorpus:
    """The utterances of a JSONL manifest, in its order.

    Raises:
        CodecError: the manifest cannot be read, or a line, which is named, is not an utterance's or
            has the id of another.
    """

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._folder = os.path.dirname(self.path)
        self._starts = array("Q")
        digest = hashlib.blake2b(digest_size=16)
        ids = UniqueIds()
        with self._open() as file:
            self._state = _state(file)
            position = 0
            for number, line in enumerate(file, 1):
                if not line.isspace():
                    ids.add(self._parse(line, number).id)
                    digest.update(line.rstrip(b"\r\n") + b"\n")
                    self._starts.append(position)
                position += len(line)
        if not self._starts:
            raise CodecError(f"{self.path}: is empty; write a JSON object a line, with a `path`")
        self.digest = digest.hexdigest()
        ids.check(self._id_and_place)

    def __len__(self) -> int:
        return len(self._starts)

    def utterances(self, start: int, stop: int) -> Iterator[Utterance]:
        with self._open() as file:
            if _state(file) != self._state:
                raise CodecError(
                    f"{self.path}: has changed since it was opened; start again, and leave it as "
                    "it is until the end"
                )
            for position in self._starts[start:stop]:
                file.seek(position)
                yield self._parse(file.readline(), 0)

    def _open(self) -> BinaryIO:
        try:
            return open(self.path, "rb")
        except OSError as error:
            raise CodecError(f"{self.path}: cannot be read ({error.strerror or error})") from None

    def _id_and_place(self, index: int) -> tuple[str, str]:
        with self._open() as file:
            before = file.read(self._starts[index])
            number = before.count(b"\n") + 1
            return self._parse(file.readline(), number).id, f"{self.path}:{number}"

    def _parse(self, line: bytes, number: int) -> Utterance:
        """The utterance of a line. ``number`` counts the file's lines from 1."""
        try:
            return self._utterance(json.loads(line))
        except (ValueError, RecursionError) as error:
            reason = str(error)
            if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError, RecursionError)):
                reason = f"is not JSON in UTF-8 ({reason}); write a JSON object a line"
            raise CodecError(f"{self.path}:{number}: {reason}") from None

    def _utterance(self, entry: Any) -> Utterance:
        """The utterance of a JSON value.

        Raises:
            ValueError: it is not one.
        """
        if not isinstance(entry, dict):
            raise ValueError("is not a JSON object")
        path = _text(entry, "path", "audio_filepath")
        if not path:
            raise ValueError("has no `path`; name the audio file")
        if "\0" in path:
            raise ValueError("its `path` has a NUL character")
        member = _text(entry, "member")
        offset = _seconds(entry, "offset") or 0.0
        duration = _seconds(entry, "duration")
        if duration == 0:
            raise ValueError("its `duration` is 0; leave it out to read to the end")
        id = _text(entry, "id")
        if not id:
            id = id_of_path(f"{os.path.splitext(path)[0]}/{member}" if member else path)
            id += f"-{offset:.3f}" if offset else ""
        try:
            check_id(id)
        except ValueError as error:
            raise ValueError(f"its `id` {error}") from None
        return Utterance(
            id,
            os.path.join(self._folder, path),
            member,
            offset,
            duration,
            _text(entry, "speaker", "speaker_id"),
            _text(entry, "text"),
            _text(entry, "split"),
        )


def _text(entry: dict[str, Any], *keys: str) -> str:
    """The text of the first key that is there; a number, such as a speaker's, is written out."""
    for key in keys:
        value = entry.get(key)
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is not None:
            raise ValueError(f"its `{key}` is not text: {json.dumps(value)[:40]}")
    return ""


def _seconds(entry: dict[str, Any], key: str) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"its `{key}` is not a number of seconds: {json.dumps(value)[:40]}")
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"its `{key}` is not a number of seconds from 0: {value}")
    return float(value)


def _state(file: BinaryIO) -> tuple[int, int]:
    """What changes when a file is written."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns
