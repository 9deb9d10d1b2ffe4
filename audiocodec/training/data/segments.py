"""Batches: random segments of the training audio, with random gain, polarity and augmentations.

A batch depends on (seed, number, step) alone, so that a resumed run trains on the same batches as
one that was never stopped; unless audio arrives while it trains.
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from audiocodec.training.data.augmentations.batch import Batch, augmented
from audiocodec.training.data.files import DataConfig
from audiocodec.training.data.source import SegmentSource
from audiocodec.training.processes import WHOLE, Share


class SegmentSampler:
    """Random segments with random gain and polarity, and the augmentations of ``data.augment``.

    Args:
        batch_size: items of a whole batch.
        share: the part of each batch that :meth:`batch` returns. All parts together are the whole
            batch, item by item.
    """

    def __init__(
        self,
        source: SegmentSource,
        config: DataConfig,
        sample_rate: int,
        batch_size: int,
        seed: int,
        share: Share = WHOLE,
    ) -> None:
        self.source = source
        self.config = config
        self.sample_rate = sample_rate
        self.batch_size = batch_size
        self.seed = seed
        self._share = share

    def batch(self, number: int, step: int | None = None) -> Batch:
        """This process's share of batch ``number``, ``[B, 1, T]``; the same at every call.

        Args:
            step: of the run, by default ``number``: how far audio that is decoded while the run
                trains has come.
        """
        step = number if step is None else step
        segments = self.source.draw((self.seed, number), self.batch_size, self._share, step)
        random = np.random.default_rng((self.seed, number))
        low, high = self.config.gain_db
        gains = 10 ** (random.uniform(low, high, self.batch_size) / 20)
        gains *= random.choice([-1.0, 1.0], self.batch_size) / 32768
        own = torch.from_numpy(gains[self._share.rows(self.batch_size)]).float().view(-1, 1, 1)
        scale = own.to(segments.device, non_blocking=True)
        speech = (segments.unsqueeze(1) * scale).clamp(-1, 1)
        key, others = (self.seed, number), partial(self._others, step=step)
        augment = self.config.augment
        return augmented(speech, augment, self.sample_rate, key, others, self._share)

    def _others(
        self, random: np.random.Generator, count: int, share: Share, step: int = 0
    ) -> Tensor:
        """A share of ``count`` other segments that are not silent, ``[N, T]`` in [-1, 1]."""
        key = (int(random.integers(2**62)),)
        return self.source.draw(key, count, share, step) / 32768
