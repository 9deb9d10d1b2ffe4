"""WebDataset: tar files, in which members with the same name but for the suffix are one sample.

As in the library ``webdataset``, the key of a sample is the member's path up to the first dot of
its file name, and its members follow each other. Each audio member is an utterance. Its text is
that of the sample's ``.txt``; ``text``, ``speaker`` and ``split`` may also be keys of its
``.json``, and ``.cls`` names the speaker if nothing else does.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from audiocodec.audio.formats import READ_SUFFIXES
from audiocodec.corpus.sources.manifest import text_of
from audiocodec.corpus.sources.state import State, check_state, file_state
from audiocodec.corpus.utterance import UniqueIds, Utterance, check_id
from audiocodec.errors import CodecError
from audiocodec.progress import progress_bar

_METADATA = ("txt", "json", "cls")


class WebDatasetCorpus:
    """The audio members of tar files, in their order.

    Ids are the members' names without the audio suffix; of several tars, each begins with the
    name of its tar, because keys are often unique in a tar only.

    Raises:
        CodecError: a tar cannot be read or is cut short, has no audio, has metadata that is not
            text or JSON, or two audio members with one name.
    """

    def __init__(self, root: Path, files: Sequence[Path]) -> None:
        self._paths = [str(file) for file in files]
        self._states = [file_state(path) for path in self._paths]
        names = [os.path.splitext(os.path.relpath(file, root))[0] for file in files]
        several = len(files) > 1
        self._prefixes = [f"{name.replace(os.sep, '/')}/" if several else "" for name in names]
        self._tars, self._starts = array("I"), array("Q")
        digest = hashlib.blake2b(digest_size=16)
        ids = UniqueIds()
        with progress_bar(len(files), "tars", "planning") as bar:
            for number in range(len(files)):
                for start, utterances in self._samples(number, 0):
                    for item in utterances:
                        ids.add(item.id)
                        facts = [item.id, start, item.member, item.speaker, item.text, item.split]
                        digest.update(json.dumps(facts).encode() + b"\n")
                        self._tars.append(number)
                        self._starts.append(start)
                bar.update(1)
        if not self._starts:
            raise CodecError(
                f"{root}: no audio in these tars (looked for {' '.join(READ_SUFFIXES)})"
            )
        self.digest = digest.hexdigest()
        ids.check(self._id_and_place)

    def __len__(self) -> int:
        return len(self._starts)

    def utterances(self, start: int, stop: int) -> Iterator[Utterance]:
        stop = min(stop, len(self))
        at = start
        # Several audio members may be one sample, and a slice may begin between them.
        while 0 < at < stop and self._sample(at) == self._sample(at - 1):
            at -= 1
        while at < stop:
            for _, utterances in self._samples(self._tars[at], self._starts[at]):
                for item in utterances:
                    if start <= at < stop:
                        yield item
                    at += 1
                if at >= stop:
                    return

    def _sample(self, index: int) -> tuple[int, int]:
        return self._tars[index], self._starts[index]

    def _id_and_place(self, index: int) -> tuple[str, str]:
        (item,) = self.utterances(index, index + 1)
        return item.id, item.place

    def _samples(self, number: int, start: int) -> Iterator[tuple[int, list[Utterance]]]:
        """The samples of a tar from the byte ``start`` on: where each begins, and its audio."""
        path, prefix = self._paths[number], self._prefixes[number]
        check_state(path, self._states[number])
        with _opened(path) as file:
            group: list[_Member] = []
            for member in _members(file, path, start):
                if group and member.key != group[0].key:
                    yield group[0].start, _utterances(file, path, prefix, group)
                    group = []
                group.append(member)
            if group:
                yield group[0].start, _utterances(file, path, prefix, group)


class _Member(NamedTuple):
    """A file in a tar: its name, key and suffix; where its header and its data begin; bytes."""

    name: str
    key: str
    suffix: str
    start: int
    data: int
    size: int

    def read(self, file: BinaryIO) -> bytes:
        file.seek(self.data)
        return file.read(self.size)


def _members(file: BinaryIO, path: str, start: int) -> Iterator[_Member]:
    """The files in a tar from the header at byte ``start`` on. The caller may move ``file``."""
    file.seek(start)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while member := tar.next():
                tar.members = []  # type: ignore[attr-defined] # it would keep all of them
                folder, _, base = member.name.rpartition("/")
                meta = base.startswith("__") and base.endswith("__")
                if meta or base.startswith(".") or not member.isfile():
                    continue
                first, _, suffix = base.partition(".")
                key = f"{folder}/{first}" if folder else first
                place = (member.offset, member.offset_data, member.size)
                yield _Member(member.name, key, suffix.lower(), *place)
            file.seek(tar.offset)
            if file.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes damage for the end
                raise tarfile.ReadError(f"a damaged header at byte {tar.offset}")
    except (tarfile.TarError, EOFError) as error:
        raise CodecError(
            f"{path}: is not a whole, uncompressed tar file ({error}); copy or unpack it again"
        ) from None
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror or error})") from None


def _utterances(file: BinaryIO, path: str, prefix: str, group: list[_Member]) -> list[Utterance]:
    """The utterances of a sample."""
    audio = [item for item in group if f".{item.suffix.rpartition('.')[2]}" in READ_SUFFIXES]
    if not audio:
        return []
    facts: dict[str, Any] = {}
    found = []
    item = audio[0]
    try:
        for kind in _METADATA:
            for item in group:
                if item.suffix == kind:
                    _add_facts(facts, kind, item.read(file).decode("utf-8-sig"))
        speaker, text = text_of(facts, "speaker", "speaker_id"), text_of(facts, "text")
        split = text_of(facts, "split")
        for item in audio:
            id = check_id(prefix + os.path.splitext(item.name.removeprefix("./"))[0])
            span = item.data, item.size
            found.append(Utterance(id, path, item.name, 0, None, speaker, text, split, span))
    except ValueError as error:
        raise CodecError(
            f"{path}:{item.name}: {error}; correct it and pack the tar again"
        ) from None
    return found


def _add_facts(facts: dict[str, Any], kind: str, content: str) -> None:
    """Add what a metadata member says. What an earlier one said stays."""
    if kind == "txt":
        facts["text"] = content.strip()
    elif kind == "cls":
        if not {"speaker", "speaker_id"} & set(facts):
            facts["speaker"] = content.strip()
    else:
        try:
            said = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"is not JSON ({error})") from None
        if isinstance(said, dict):
            facts.update({key: said[key] for key in said if key not in facts})


def read_member(path: str, name: str, span: tuple[int, int] | None = None) -> bytes:
    """The bytes of a tar's member.

    Args:
        span: the first of them, and their number; without it the tar is searched for ``name``.

    Raises:
        CodecError: it is not there, or the tar cannot be read.
    """
    if span is None:
        place = _index(path, file_state(path)).get(name)
        if place is None:
            raise CodecError(f"{path}:{name}: this tar has no such member")
        span = place.data, place.size
    first, size = span
    with _opened(path) as file:
        file.seek(first)
        data = file.read(size)
    if len(data) < size:
        raise CodecError(f"{path}:{name}: the tar file is cut short; copy it again")
    return data


@lru_cache(maxsize=4)
def _index(path: str, state: State) -> dict[str, _Member]:
    """The members of a tar in this state, by name."""
    with _opened(path) as file:
        return {member.name: member for member in _members(file, path, 0)}


def _opened(path: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror or error})") from None
