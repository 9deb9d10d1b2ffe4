"""The audio of a run before it starts: length, unreadable files, silence, and a sample."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from audiocodec.audio import AudioReader, audio_info
from audiocodec.cores import available_cores
from audiocodec.errors import CodecError
from audiocodec.training.data.cache import check_unreadable
from audiocodec.training.data.corpora.ondisk import count_speakers
from audiocodec.training.data.files import Split
from audiocodec.training.data.source import level_db
from audiocodec.training.recipe import Recipe

MAX_HEADERS = 20_000
"""Files, evenly spaced, whose headers are read."""

MAX_DECODED = 100
"""Files, evenly spaced, that are decoded."""

MAX_DECODING_SECONDS = 10.0
"""Time after which no more files are decoded."""

DECODED_SECONDS_PER_FILE = 30.0
"""Audio that is decoded of one file."""

SAMPLE_SECONDS = 60.0
"""Audio that the steps are timed on."""


@dataclass
class AudioReport:
    """What the training files contain."""

    split: Split
    hours: float = 0.0
    """Hours of audio."""
    decoded: int = 0
    """Number of files decoded."""
    near_silent: int = 0
    """How many of them have no segment above ``data.silence_threshold_db``."""
    unreadable: list[str] = field(default_factory=list)
    """Why a file cannot be read, a line for each."""
    speakers: int | None = None
    """Number of speakers, if the files are those of ``data.corpora``."""
    sample: list[Tensor] = field(default_factory=list)
    """Some audio that is not silent: ``[T]`` each, at the codec's sample rate."""


def inspect_audio(split: Split, recipe: Recipe) -> AudioReport:
    """Read the headers of the training files and decode some of them.

    Raises:
        CodecError: too many of them cannot be read, or all that were decoded are near-silent.
    """
    report = AudioReport(split)
    if recipe.data.corpora:
        report.speakers = count_speakers(split.training, recipe.data.corpora)
    readable = _read_headers(report)

    began, sampled, failed = time.monotonic(), 0.0, 0
    rate, segment = recipe.codec.sample_rate, recipe.data.segment_seconds
    for file in evenly_spaced(readable, MAX_DECODED):
        if time.monotonic() - began > MAX_DECODING_SECONDS and sampled > segment:
            break
        try:
            segments = _first_segments(file, rate, segment)
        except CodecError as error:
            report.unreadable.append(str(error))
            failed += 1
            continue
        report.decoded += 1
        audible = any(
            level_db(audio.numpy(), 1.0) > recipe.data.silence_threshold_db for audio in segments
        )
        report.near_silent += not audible
        if audible and sampled < SAMPLE_SECONDS + segment:
            report.sample += segments
            sampled += sum(len(audio) for audio in segments) / rate
    check_unreadable(report.unreadable[-failed:] if failed else [], failed + report.decoded)
    if report.decoded and report.near_silent == report.decoded:
        raise CodecError(
            f"data.silence_threshold_db: none of the {report.decoded} files that were decoded is "
            f"anywhere above {recipe.data.silence_threshold_db:g} dB of full scale; use other "
            "recordings, or lower data.silence_threshold_db"
        )
    return report


def _read_headers(report: AudioReport) -> list[Path]:
    """The files whose headers can be read; the report gets the hours of all files."""
    files = evenly_spaced(report.split.training, MAX_HEADERS)
    with ThreadPoolExecutor(available_cores()) as pool:
        lengths = dict(zip(files, pool.map(_seconds, files), strict=True))
    report.unreadable = [reason for reason in lengths.values() if isinstance(reason, str)]
    check_unreadable(report.unreadable, len(files))
    readable = {file: s for file, s in lengths.items() if not isinstance(s, str)}
    report.hours = sum(readable.values()) / 3600 * len(report.split.training) / len(files)
    return list(readable)


def evenly_spaced(files: Sequence[Path], most: int) -> list[Path]:
    """At most ``most`` of the files, evenly spaced."""
    if len(files) <= most:
        return list(files)
    return [files[round(i * (len(files) - 1) / (most - 1))] for i in range(most)]


def _seconds(file: Path) -> float | str:
    """A file's length by its header, or why it cannot be read."""
    try:
        return audio_info(file).seconds
    except CodecError as error:
        return str(error)


def _first_segments(file: Path, sample_rate: int, segment_seconds: float) -> list[Tensor]:
    """The beginning of a file in segments ``[T]``, mono."""
    segments: list[Tensor] = []
    with AudioReader(file, sample_rate) as reader:
        for block in reader.blocks(segment_seconds):
            segments.append(torch.from_numpy(block).mean(dim=0))
            if len(segments) * segment_seconds >= DECODED_SECONDS_PER_FILE:
                break
    return segments
