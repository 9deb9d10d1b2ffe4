"""Segments of audio that is decoded already, read at random positions."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from audiocodec.training.data.arrivals import Arrivals
from audiocodec.training.data.files import DataConfig
from audiocodec.training.data.source import Piece, Pieces, SegmentSource, random_of
from audiocodec.training.processes import Share

GPU_RESIDENT_BYTES = 16 * 2**30
"""Audio up to this size is copied to the GPU as a whole, so that no step waits for it."""


class DecodedAudio(SegmentSource):
    """Segments of 16-bit samples in memory, in mapped files or in packed shards.

    Args:
        pieces: the samples, mono at ``sample_rate`` (Hz).
        arrivals: more of them, taken in while the run trains.

    Attributes:
        pieces: all of them so far.

    Raises:
        CodecError: less audio than one segment, or only silence.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        config: DataConfig,
        sample_rate: int,
        device: torch.device,
        arrivals: Arrivals | None = None,
    ) -> None:
        self.length = round(config.segment_seconds * sample_rate)
        self._threshold_db = config.silence_threshold_db
        self._device = device
        self._arrivals = arrivals
        self.pieces = Pieces(self.length)
        self._resident = torch.zeros(0, dtype=torch.int16) if device.type == "cuda" else None
        for piece in pieces:
            self.add(piece)
        self.pieces.check(config, sample_rate)

    def draw(self, key: Sequence[int], count: int, share: Share, step: int) -> Tensor:
        for samples in self._arrivals.take() if self._arrivals is not None else ():
            self.add(samples)
        items = range(count)[share.rows(count)]
        drawn = [self.pieces.draw(random_of(key, item), self._threshold_db) for item in items]
        if self._resident is None:
            segments = torch.from_numpy(np.stack([segment for _, segment in drawn]))
            return segments.to(self._device, non_blocking=True).float()
        starts = torch.tensor([self.pieces.first_sample(number) for number, _ in drawn])
        offsets = torch.arange(self.length, device=self._device)
        firsts = starts.to(self._device, non_blocking=True)
        return self._resident[firsts.unsqueeze(1) + offsets].float()

    def add(self, piece: Piece) -> None:
        """Draw segments from ``piece`` too, if it is as long as one."""
        if not self.pieces.add(piece) or self._resident is None:
            return
        if 2 * self.pieces.num_samples <= GPU_RESIDENT_BYTES:
            added = torch.from_numpy(np.array(piece[:])).to(self._device)
            self._resident = torch.cat([self._resident.to(self._device), added])
        else:
            self._resident = None
