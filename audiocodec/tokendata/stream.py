"""Segments read shard by shard: a corpus of any size, divided among ranks and workers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from audiocodec.errors import CodecError
from audiocodec.tokendata.segments import Choice, Cut, Segment, opened
from audiocodec.tokendata.sources import TokenData


class TokenStream(IterableDataset[Segment]):
    """Each segment of a corpus once in an epoch, in memory for a few of them.

    The shards are put in an order that depends on ``seed`` and epoch, and dealt to the ranks and
    then to the workers of each rank's ``DataLoader``. A worker passes its segments through a
    shuffle buffer. So what a worker yields depends on ``seed``, epoch, and the numbers of ranks and
    workers alone. Ranks get nearly, not exactly, as many segments: end an epoch after a fixed
    number of steps where ranks wait for each other.

    Attributes:
        data, codebook_sizes: as in :class:`~audiocodec.tokendata.segments.TokenSegments`.

    Args:
        source: a path as in :func:`~audiocodec.tokendata.sources.open_token_data`, or what that
            returned.
        frames, least_frames, choose: as in :class:`~audiocodec.tokendata.segments.Cut`.
        num_codebooks: the first ones; ``None`` for all.
        seed: of the order.
        buffer: segments in the shuffle buffer of each worker. 0: in the order of the corpus, and
            shards are not shuffled either.
        rank, world_size: this rank of so many; by default those of ``torch.distributed``, or of the
            variables ``RANK`` and ``WORLD_SIZE``, or 0 of 1.

    Raises:
        CodecError: nothing that can be read, more codebooks than there are, fewer shards than
            ranks, or no such rank.
    """

    def __init__(
        self,
        source: str | Path | TokenData,
        frames: int | None = None,
        least_frames: int = 1,
        num_codebooks: int | None = None,
        choose: Choice | None = None,
        seed: int = 0,
        buffer: int = 1000,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        self.data = opened(source)
        self._cut = Cut.of(self.data, frames, least_frames, num_codebooks, choose)
        self.codebook_sizes = self.data.codebook_sizes[:num_codebooks]
        self._seed, self._buffer, self._epoch = seed, buffer, 0
        found = _rank()
        self._rank = found[0] if rank is None else rank
        self._world_size = found[1] if world_size is None else world_size
        if not 0 <= self._rank < self._world_size:
            raise CodecError(f"rank {self._rank} of {self._world_size}: count ranks from 0")
        if len(self.data) < self._world_size:
            raise CodecError(
                f"{self.data.place}: has {len(self.data)} shards for {self._world_size} ranks; "
                "make smaller shards"
            )

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass. Workers that persist keep that of their start."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Segment]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        shards = np.arange(len(self.data))
        if self._buffer:
            np.random.default_rng([self._seed, self._epoch]).shuffle(shards)
        mine = shards[self._rank :: self._world_size][number::workers]
        if not self._buffer:
            yield from self._segments(mine.tolist())
            return
        generator = np.random.default_rng([self._seed, self._epoch, self._rank, number])
        waiting: list[Segment] = []
        for segment in self._segments(mine.tolist()):
            if len(waiting) < self._buffer:
                waiting.append(segment)
                continue
            place = int(generator.integers(len(waiting)))
            yield waiting[place]
            waiting[place] = segment
        for place in generator.permutation(len(waiting)):
            yield waiting[place]

    def _segments(self, shards: list[int]) -> Iterator[Segment]:
        for shard in shards:
            for utterance in self._cut.utterances(self.data, shard):
                for start, stop in self._cut.places(utterance.codes.shape[1]):
                    yield self._cut.segment(utterance, start, stop)


def _rank() -> tuple[int, int]:
    """This process's rank, and how many there are."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    if {"RANK", "WORLD_SIZE"} <= set(os.environ):
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return 0, 1
