"""Whole audio files as PyTorch tensors, and the audio files in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from audiocodec.audio.file_writer import AudioWriter
from audiocodec.audio.formats import READ_SUFFIXES
from audiocodec.audio.reader import AudioReader
from audiocodec.errors import CodecError
from audiocodec.paths import Report, find_inputs, stream_name


def find_audio(path: str | Path, report: Report | None = None) -> list[Path]:
    """The audio files in a folder and its subfolders, sorted; for a file, the file itself.

    Args:
        report: called for each subfolder that cannot be listed, with its path and an error line.
            Without it, such a folder is an error.

    Raises:
        CodecError: nothing at ``path``, a folder without audio files, or one that cannot be listed.
    """
    none = f"no audio in this folder (looked for {' '.join(READ_SUFFIXES)})"
    return find_inputs(path, READ_SUFFIXES, none, report)


def load_audio(
    source: str | Path | BinaryIO, sample_rate: int | None = None, allow_truncated: bool = False
) -> tuple[torch.Tensor, int]:
    """Read a whole audio file: float32 ``[C, T]`` and its sample rate.

    Samples of float files may lie beyond [-1, 1]; they are not changed. The codec is made for
    [-1, 1], and what it decodes is clipped to that range.

    Args:
        source: a path, or a binary stream such as ``io.BytesIO``, read from its current position.
        sample_rate: Hz to resample to; ``None`` keeps the file's.
        allow_truncated: return the audio up to the cut of a file that was cut short. By default
            such a file is an error, so that training and evaluation never lose audio silently.

    Raises:
        CodecError: missing, not audio, damaged, cut short, or with NaN or infinite samples.
    """
    with AudioReader(source, sample_rate, allow_truncated=allow_truncated) as reader:
        empty = np.zeros((reader.info.channels, 0), dtype=np.float32)
        audio = np.concatenate([empty, *reader.blocks(seconds=10)], axis=1)
        return torch.from_numpy(audio), reader.sample_rate


def save_audio(
    target: str | Path | BinaryIO, audio: torch.Tensor, sample_rate: int, format: str | None = None
) -> None:
    """Write ``audio [C, T]`` as 16-bit WAV or FLAC, clipped to [-1, 1].

    The file appears complete or not at all.

    Args:
        target: a path that ends with ``.wav`` or ``.flac``, or a binary stream, which stays open.
        sample_rate: Hz.
        format: ``"WAV"`` or ``"FLAC"``. By default the path's suffix decides; a stream gets a WAV.

    Raises:
        CodecError: the target is not writable, another format or shape, integers, or NaN samples.
    """
    name = Path(target) if isinstance(target, (str, Path)) else stream_name(target, "stdout")
    if audio.dim() != 2 or not len(audio):
        shape = list(audio.shape)
        raise CodecError(f"{name}: audio to save must be [channels, samples], not {shape}")
    if not audio.is_floating_point():
        raise CodecError(
            f"{name}: audio to save must be float in [-1, 1], not {audio.dtype}; divide int16 by "
            "32768"
        )
    samples = audio.detach().to("cpu", torch.float32).numpy()
    with AudioWriter(target, sample_rate, len(samples), samples.shape[1], format) as writer:
        writer.write(samples)
