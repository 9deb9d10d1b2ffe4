"""Resampling of a stream, in bounded memory and with the exact length (soxr, HQ quality).

The result does not depend on the sizes of the chunks.
"""

from __future__ import annotations

import numpy as np
import soxr

from audiocodec.audio.source import Samples


class Resampler:
    """Resamples a stream of chunks ``[C, n]`` from ``source_rate`` to ``target_rate`` (Hz).

    The results of :meth:`push` and :meth:`flush`, concatenated, have ``num_samples`` samples. If
    that is ``None`` at the end, they have ``ceil(pushed * target_rate / source_rate)``.

    Raises:
        ValueError: soxr cannot convert between these rates (or RuntimeError).
    """

    def __init__(
        self, source_rate: int, target_rate: int, channels: int, num_samples: int | None = None
    ) -> None:
        self.source_rate, self.target_rate, self.channels = source_rate, target_rate, channels
        self.num_samples = num_samples
        self._pushed = self._returned = 0
        self._soxr = None
        if source_rate != target_rate:
            self._soxr = soxr.ResampleStream(source_rate, target_rate, channels, "float32", "HQ")

    def push(self, audio: Samples) -> Samples:
        """The samples ``[C, m]``, ``m >= 0``, that are final after the chunk ``audio [C, n]``."""
        self._pushed += audio.shape[1]
        return self._limited(audio if self._soxr is None else self._convert(audio, last=False))

    def flush(self) -> Samples:
        """The remaining samples ``[C, m]``."""
        rest = np.zeros((self.channels, 0), dtype=np.float32)
        if self._soxr is not None:
            rest = self._convert(rest, last=True)
        if self.num_samples is None:
            self.num_samples = -(-self._pushed * self.target_rate // self.source_rate)
        missing = self.num_samples - self._returned - rest.shape[1]
        return self._limited(np.pad(rest, ((0, 0), (0, max(0, missing)))))

    def _convert(self, audio: Samples, last: bool) -> Samples:
        assert self._soxr is not None
        interleaved = np.ascontiguousarray(audio.T, dtype=np.float32)
        return np.ascontiguousarray(self._soxr.resample_chunk(interleaved, last=last).T)

    def _limited(self, audio: Samples) -> Samples:
        """``audio`` without what exceeds ``num_samples``."""
        if self.num_samples is not None:
            audio = audio[:, : self.num_samples - self._returned]
        self._returned += audio.shape[1]
        return audio
