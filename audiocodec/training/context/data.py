"""Codes to train a context model on: read from token files, or encoded from audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audiocodec.audio import find_audio
from audiocodec.errors import CodecError
from audiocodec.files import encode_file
from audiocodec.paths import find_files
from audiocodec.progress import progress_bar
from audiocodec.runtime import RuntimeCodec
from audiocodec.tokens import SUFFIX, TokenFile
from audiocodec.tokens.header import FIXED

Rows = npt.NDArray[np.int64]
HELD_OUT = 50
"""One file in so many is held out, unless a folder is given."""


@dataclass
class Recording:
    """The codes of one channel of a file, ``[K, F]``."""

    path: Path
    codes: npt.NDArray[np.int32]


def read_recordings(folder: str | Path, codec: RuntimeCodec, cache: Path) -> list[Recording]:
    """The codes in a folder: of its token files, or else of its audio.

    Args:
        folder: with token files that ``codec`` wrote with all of its codebooks, or with audio.
        cache: where the tokens of audio are kept.

    Raises:
        CodecError: nothing there, or tokens of another model or with fewer codebooks.
    """
    folder = Path(folder)
    if not folder.exists():
        raise CodecError(f"{folder}: no such file or folder")
    files = [folder] if folder.is_file() else find_files(folder, {SUFFIX})
    files = [file for file in files if file.suffix.lower() == SUFFIX]
    if not files:
        try:
            audio = find_audio(folder)
        except CodecError:
            raise CodecError(f"{folder}: neither {SUFFIX} files nor audio in this folder") from None
        files = _encoded(audio, folder, codec, cache)
    recordings = []
    for file in files:
        recordings += [Recording(file, codes) for codes in _read(file, codec)]
    if not any(recording.codes.shape[1] for recording in recordings):
        raise CodecError(f"{folder}: its files are empty")
    return recordings


def split_recordings(recordings: Sequence[Recording]) -> tuple[list[Recording], list[Recording]]:
    """Recordings to train on and recordings held out: every 50th file, at least one of several.

    Raises:
        CodecError: a single file, of which nothing can be held out.
    """
    files = list(dict.fromkeys(recording.path for recording in recordings))
    if len(files) < 2:
        raise CodecError(
            f"{files[0]}: a single file; give two at least, one to hold out, or --held-out"
        )
    held = set(files[:: min(HELD_OUT, len(files))])
    return (
        [recording for recording in recordings if recording.path not in held],
        [recording for recording in recordings if recording.path in held],
    )


class Sampler:
    """Batches of segments drawn at random places of recordings, each frame equally likely.

    Args:
        frames: of a segment. A shorter recording is used from its start, and repeated.
    """

    def __init__(self, recordings: Sequence[Recording], frames: int) -> None:
        self.frames = frames
        self._codes = np.concatenate([recording.codes for recording in recordings], axis=1)
        lengths = np.array([recording.codes.shape[1] for recording in recordings])
        self._ends = np.cumsum(lengths)
        self._starts = self._ends - lengths

    @property
    def num_frames(self) -> int:
        return int(self._ends[-1])

    def batch(self, rows: int, draw: np.random.Generator) -> Tensor:
        """int64 ``[rows, K, frames]``."""
        frame = draw.integers(0, self.num_frames, rows)
        number = np.searchsorted(self._ends, frame, side="right")
        start, end = self._starts[number], self._ends[number]
        first = np.maximum(np.minimum(frame, end - self.frames), start)
        offsets = np.arange(self.frames) % (end - first)[:, None]
        codes = self._codes[:, first[:, None] + offsets]
        return torch.from_numpy(codes.swapaxes(0, 1).astype(np.int64))


def blocks(recordings: Sequence[Recording], frames: int) -> Rows:
    """Whole blocks of ``frames`` frames from the starts of recordings: ``[R, K, frames]``.

    Recordings that are shorter than a block are left out, unless all are: then one frame count, the
    least, holds for all.
    """
    longest = max(recording.codes.shape[1] for recording in recordings)
    frames = min(frames, longest)
    rows = [
        recording.codes[:, start : start + frames]
        for recording in recordings
        for start in range(0, recording.codes.shape[1] - frames + 1, frames)
    ]
    return np.stack(rows).astype(np.int64)


def _encoded(audio: Sequence[Path], root: Path, codec: RuntimeCodec, cache: Path) -> list[Path]:
    """Token files of audio files, made where they are not in the cache yet."""
    folder = cache / codec.fingerprint
    targets = []
    with progress_bar(len(audio), "files", "encoding") as bar:
        for file in audio:
            name = file.relative_to(root) if file.is_relative_to(root) else Path(file.name)
            target = folder / name.with_name(name.name + SUFFIX)
            if not target.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                encode_file(file, target, codec, coding=FIXED)
            targets.append(target)
            bar.update()
    return targets


def _read(path: Path, codec: RuntimeCodec) -> list[npt.NDArray[np.int32]]:
    with TokenFile(path) as tokens:
        header = tokens.header
        if header.fingerprint != codec.fingerprint:
            raise CodecError(
                f"{path}: codes of the model {header.model} {header.fingerprint}, not of "
                f"{codec.name} {codec.fingerprint}; encode the audio again"
            )
        if header.num_codebooks < len(codec.codebook_sizes):
            raise CodecError(
                f"{path}: {header.num_codebooks} codebooks of {len(codec.codebook_sizes)}; encode "
                "the audio again, with all"
            )
        return list(tokens.read().astype(np.int32))
