"""An utterance: a piece of audio in a corpus, and what is known of it."""

from __future__ import annotations

import os
import posixpath
import re
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from audiocodec.errors import CodecError

_UNFIT = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")
"""Control characters, and what stands for bytes that are not UTF-8."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """Where an utterance lies, and what the corpus says of it.

    Args:
        id: unique in a corpus, and the path of its file in outputs of one file an utterance:
            relative, with ``/``, without suffix and without ``..``.
        path: the audio file, or the tar or Parquet file that holds it.
        member: the name of a tar's member, or the number of a Parquet file's row; else empty.
        offset: seconds to skip.
        duration: seconds to read; ``None`` reads to the end.
        span: of a tar's member, the first byte and the number of bytes, if they are known.
    """

    id: str
    path: str
    member: str = ""
    offset: float = 0.0
    duration: float | None = None
    speaker: str = ""
    text: str = ""
    split: str = ""
    span: tuple[int, int] | None = field(default=None, compare=False)

    @property
    def place(self) -> str:
        """Path and member, for messages."""
        return f"{self.path}:{self.member}" if self.member else self.path


def id_of_path(path: str) -> str:
    """The id of a file that has no other: its path, without suffix, leading ``/`` and ``..``."""
    name = posixpath.splitext(posixpath.normpath(path.replace(os.sep, "/")))[0]
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))


def check_id(id: str) -> str:
    """``id`` itself, if an output file may be named so.

    Raises:
        ValueError: it may not; the message is the end of a sentence about it.
    """
    if not id:
        raise ValueError("is empty")
    if _UNFIT.search(id):
        raise ValueError(f"{id!r} has a control character or is not text in UTF-8")
    if id.startswith("/") or "\\" in id or {"", ".", ".."} & set(id.split("/")):
        raise ValueError(f"`{id}` is no relative path; an output would lie elsewhere")
    return id


class UniqueIds:
    """Finds ids that occur twice, in 8 bytes an id."""

    def __init__(self) -> None:
        self._hashes = array("q")

    def add(self, id: str) -> None:
        self._hashes.append(hash(id))

    def check(self, where: Callable[[int], tuple[str, str]]) -> None:
        """Check all ids that were added.

        Args:
            where: the number of an id, from 0 -> the id itself and its place, for the message.

        Raises:
            CodecError: an id occurs twice.
        """
        hashes = np.frombuffer(self._hashes, np.int64)
        ordered = np.sort(hashes)
        seen: dict[str, str] = {}
        for number in np.flatnonzero(np.isin(hashes, ordered[1:][ordered[1:] == ordered[:-1]])):
            id, place = where(int(number))
            if id in seen:
                raise CodecError(
                    f"{place}: its id `{id}` is that of {seen[id]} too; leave one of them out, or "
                    "write a manifest with an `id` for each"
                )
            seen[id] = place
