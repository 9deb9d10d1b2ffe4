"""What the audio of an utterance is like: length, silence, clipping, checksum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audiocodec.audio.source import Samples
from audiocodec.corpus.audiofiles import checksum
from audiocodec.corpus.reading import audio_of
from audiocodec.corpus.utterance import Utterance

SILENCE_DB = -50.0
"""A frame with a lower level, in dB of full scale, is silent."""

FRAME_SECONDS = 0.02

FULL_SCALE = 0.9999
"""Samples from here on are at full scale. The largest of 16 bits is 0.99997."""

CLIPPED_SAMPLES = 3
"""So many samples at full scale in a row are clipped."""


@dataclass(frozen=True)
class Scan:
    """What an utterance was found to be.

    Args:
        num_samples: per channel, at ``sample_rate`` (Hz).
        silence: the share of time in frames of 20 ms below -50 dB of full scale, over all channels.
        clipped: the number of samples that are three or more in a row at full scale.
        sha256: of its audio file.
    """

    num_samples: int
    sample_rate: int
    channels: int
    silence: float
    clipped: int
    sha256: str

    @property
    def duration(self) -> float:
        """Seconds. Times the sample rate and rounded it is ``num_samples`` again."""
        return self.num_samples / self.sample_rate


def scan(utterance: Utterance) -> Scan:
    """Read the audio of an utterance.

    Raises:
        CodecError: it cannot be read, has no samples, or ends before the utterance does.
    """
    digest = checksum(utterance)
    num_samples = silent = clipped = 0
    with audio_of(utterance) as file:
        rate, channels = file.sample_rate, file.channels
        for block in file.cut(utterance):
            num_samples += block.shape[1]
            silent += _silent(block, max(1, round(FRAME_SECONDS * rate)))
            clipped += _clipped(block)
    return Scan(num_samples, rate, channels, silent / num_samples, clipped, digest)


def _silent(block: Samples, frame: int) -> int:
    """Samples of a block ``[C, n]`` in silent frames of ``frame`` samples."""
    starts = np.arange(0, block.shape[1], frame)
    sizes = np.diff(starts, append=block.shape[1])
    power = np.add.reduceat(np.square(block, dtype=np.float64).mean(axis=0), starts) / sizes
    return int(sizes[power < 10 ** (SILENCE_DB / 10)].sum())


def _clipped(block: Samples) -> int:
    """Clipped samples of a block ``[C, n]``, of all channels."""
    count = 0
    for sign in (1, -1):
        full = np.pad(sign * block >= FULL_SCALE, ((0, 0), (1, 1)))
        if full.any():
            change = np.diff(full.astype(np.int8).reshape(-1))
            lengths = np.flatnonzero(change < 0) - np.flatnonzero(change > 0)
            count += int(lengths[lengths >= CLIPPED_SAMPLES].sum())
    return count
