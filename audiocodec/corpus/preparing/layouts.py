"""Speaker and text of an audio file, where well-known corpora keep them.

Each layout is one function, and one entry of :data:`LAYOUTS`: the path of an audio file -> text and
speaker, empty where the layout does not tell. The first one that tells decides.
"""

from __future__ import annotations

import csv
import dataclasses
import os
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from audiocodec.corpus.utterance import Utterance

_MICROPHONE = re.compile(r"_mic\d$")


class Known(NamedTuple):
    """What is known of an audio file."""

    text: str = ""
    speaker: str = ""


def sidecar(path: Path) -> Known:
    """``a.txt`` beside ``a.wav``; LibriTTS has ``a.normalized.txt``."""
    for suffix in (".txt", ".normalized.txt"):
        if text := _read(path.with_suffix(suffix)):
            return Known(" ".join(text.split()))
    return Known()


def librispeech(path: Path) -> Known:
    """LibriSpeech: ``19/198/19-198.trans.txt`` has a line ``19-198-0000 TEXT`` for each file."""
    speaker, _, rest = path.stem.partition("-")
    if not rest or path.parent.parent.name != speaker:
        return Known()
    name = f"{speaker}-{path.parent.name}.trans.txt"
    return Known(_table(str(path.parent / name), " ").get(path.stem, Known()).text, speaker)


def vctk(path: Path) -> Known:
    """VCTK: ``txt/p225/p225_001.txt`` beside ``wav48/p225/p225_001.wav``, or ``..._001_mic1``."""
    speaker, stem = path.parent.name, _MICROPHONE.sub("", path.stem)
    if not stem.startswith(f"{speaker}_"):
        return Known()
    text = _read(path.parent.parent.parent / "txt" / speaker / f"{stem}.txt")
    return Known(" ".join(text.split()), speaker)


def libritts(path: Path) -> Known:
    """LibriTTS: ``84/121123/84_121123_000007_000001.wav``; the text is in a sidecar."""
    speaker, chapter = path.parent.parent.name, path.parent.name
    return Known("", speaker if path.stem.startswith(f"{speaker}_{chapter}_") else "")


def metadata(path: Path) -> Known:
    """``metadata.csv`` in the folder or the one above: LJ Speech's (``LJ001-0001|text|text in
    words``), or one with a header and ``file_name``, as audio folders of Hugging Face have it."""
    for folder in (path.parent, path.parent.parent):
        table = _metadata(str(folder / "metadata.csv"))
        for name in (path.relative_to(folder).as_posix(), path.stem):
            if name in table:
                return table[name]
    return Known()


LAYOUTS: list[Callable[[Path], Known]] = [librispeech, vctk, libritts, metadata, sidecar]


def with_known(utterance: Utterance) -> Utterance:
    """The utterance with text and speaker of its file, where the corpus itself says nothing."""
    if utterance.member or (utterance.text and utterance.speaker):
        return utterance
    text, speaker = utterance.text, utterance.speaker
    part = utterance.offset or utterance.duration  # the file's text is not that of a part
    for layout in LAYOUTS:
        known = layout(Path(utterance.path))
        text = text or ("" if part else known.text)
        speaker = speaker or known.speaker
    return dataclasses.replace(utterance, text=text, speaker=speaker)


def _read(path: Path) -> str:
    """The text of a file; empty if there is none."""
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace").strip()
    except OSError:
        return ""


@lru_cache(maxsize=64)
def _table(path: str, separator: str) -> dict[str, Known]:
    """Name and text of each line of a file."""
    rows = (line.partition(separator) for line in _read(Path(path)).splitlines())
    return {name: Known(text.strip()) for name, _, text in rows}


@lru_cache(maxsize=8)
def _metadata(path: str) -> dict[str, Known]:
    """The rows of a ``metadata.csv`` by name."""
    lines = _read(Path(path)).splitlines()
    if not lines:
        return {}
    if "file_name" in lines[0].split(","):
        table = {}
        for row in csv.DictReader(lines):
            text = row.get("text") or row.get("transcription") or ""
            speaker = row.get("speaker_id") or row.get("speaker") or ""
            table[row["file_name"]] = Known(text.strip(), speaker.strip())
        return table
    rows = (line.split("|") for line in lines)
    return {os.path.splitext(row[0])[0]: Known(row[-1].strip()) for row in rows if len(row) > 1}
