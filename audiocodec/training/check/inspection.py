"""The audio of a run before it starts: length, unreadable files, silence, and a sample."""

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from torch import Tensor

from audiocodec.cores import available_cores
from audiocodec.errors import CodecError
from audiocodec.training.data.cache import check_unreadable
from audiocodec.training.data.clips import Recording, blocks_of, seconds_of
from audiocodec.training.data.corpora.ondisk import count_speakers
from audiocodec.training.data.files import Split, evenly_spaced
from audiocodec.training.data.source import level_db
from audiocodec.training.data.utterances import CorpusSplit
from audiocodec.training.recipe import Recipe

MAX_HEADERS = 20_000
"""Files or utterances, evenly spaced, whose headers are read."""

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

    split: Split | CorpusSplit
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


def inspect_audio(split: Split | CorpusSplit, recipe: Recipe) -> AudioReport:
    """Read the headers of the training files and decode some of them.

    Raises:
        CodecError: too many of them cannot be read, or all that were decoded are near-silent.
    """
    report = AudioReport(split)
    if recipe.data.corpora and isinstance(split, Split):
        report.speakers = count_speakers(split.training, recipe.data.corpora)

    began, sampled, failed = time.monotonic(), 0.0, 0
    rate, segment = recipe.codec.sample_rate, recipe.data.segment_seconds
    readable = _read_headers(report, rate)
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


def _read_headers(report: AudioReport, sample_rate: int) -> list[Recording]:
    """The recordings whose headers can be read; the report gets the hours of all of them."""
    recordings = report.split.evenly_spaced(MAX_HEADERS)

    def read(recording: Recording) -> float | str:
        try:
            return seconds_of(recording, sample_rate)
        except CodecError as error:
            return str(error)

    with ThreadPoolExecutor(available_cores()) as pool:
        lengths = list(zip(recordings, pool.map(read, recordings), strict=True))
    report.unreadable = [reason for _, reason in lengths if isinstance(reason, str)]
    check_unreadable(report.unreadable, len(recordings))
    readable = [(x, seconds) for x, seconds in lengths if not isinstance(seconds, str)]
    total = sum(seconds for _, seconds in readable)
    report.hours = total / 3600 * report.split.num_recordings / max(1, len(recordings))
    return [recording for recording, _ in readable]


def _first_segments(recording: Recording, sample_rate: int, segment_seconds: float) -> list[Tensor]:
    """The beginning of a recording in segments ``[T]``, mono."""
    most = max(1, math.ceil(DECODED_SECONDS_PER_FILE / segment_seconds))
    return list(islice(blocks_of(recording, sample_rate, segment_seconds), most))
