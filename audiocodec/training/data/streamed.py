"""Segments of a corpus that is decoded while the run trains, without a copy on disk or in memory.

Sixteen utterances that follow each other in the corpus are a slice. In each epoch the slices are
shuffled and dealt to some lanes. A lane decodes its slices in that order, and segments are drawn
from a window of a few of them, which moves on as batches are drawn. Every item of a batch belongs
to a lane. So each of several processes decodes the lanes of its items only, and a batch is the same
for any number of processes.

How far a lane has come follows from the step of the run alone. So a resumed run decodes the windows
of its step again, and goes on with the same batches.
"""

import sys
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiocodec.cores import available_cores
from audiocodec.corpus.packing.shards import to_int16
from audiocodec.corpus.reading import read_piece
from audiocodec.corpus.sources.corpus import Corpus
from audiocodec.corpus.utterance import Utterance
from audiocodec.errors import CodecError
from audiocodec.training.data.cache import MAX_UNREADABLE
from audiocodec.training.data.files import DataConfig
from audiocodec.training.data.source import Pieces, SegmentSource, random_of
from audiocodec.training.processes import Share

SLICE = 16
"""Utterances that follow each other in the corpus and are decoded one after the other."""

WINDOW = 3
"""Slices of a lane from which segments are drawn."""

AHEAD = 1
"""Slices of a lane that are decoded before they are needed."""

PIECE_SECONDS = 20.0
"""The most of an utterance that is decoded, at a random place in it."""

MAX_THREADS = 4

HELD_OUT_SPLITS = ("dev", "eval", "test", "valid", "validation")
"""``split`` of utterances that are not trained on."""


class StreamedAudio(SegmentSource):
    """Segments of a corpus that is decoded while the run trains.

    Args:
        held_out: ids of utterances that are not trained on, beside those of
            :data:`HELD_OUT_SPLITS`.
        sample_rate: Hz.
        batch_size: items of a whole batch, of all processes.
        seed: of the shuffling.
    """

    def __init__(
        self,
        corpus: Corpus,
        held_out: Collection[str],
        config: DataConfig,
        sample_rate: int,
        batch_size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.length = round(config.segment_seconds * sample_rate)
        self._corpus, self._held_out = corpus, frozenset(held_out)
        self._config, self._sample_rate, self._seed = config, sample_rate, seed
        self._batch_size, self._device = batch_size, device
        self._num_slices = -(-len(corpus) // SLICE)
        self._num_lanes = min(config.lanes, batch_size, self._num_slices)
        self._lanes: dict[int, _Lane] = {}
        self._read = _Count()
        self._is_checked = False
        threads = min(MAX_THREADS, available_cores())
        self._pool = ThreadPoolExecutor(threads, "decoding")
        self._order = lru_cache(maxsize=4)(self._shuffled)

    def draw(self, key: Sequence[int], count: int, share: Share, step: int) -> Tensor:
        segments = []
        for item in range(count)[share.rows(count)]:
            window = self._window(item * self._num_lanes // count, step)
            random = random_of(key, item)
            segments.append(window.draw(random, self._config.silence_threshold_db)[1])
        self._read.check()
        drawn = torch.from_numpy(np.stack(segments))
        return drawn.to(self._device, non_blocking=True).float()

    def close(self) -> None:
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()

    def _window(self, lane: int, step: int) -> Pieces:
        """The decoded slices of a lane at a step of the run."""
        if lane not in self._lanes:
            decode = partial(self._decode_at, lane)
            self._lanes[lane] = _Lane(self.length, lambda at: self._pool.submit(decode, at))
        unit = self._num_lanes * self._config.segments_per_utterance * SLICE
        drawn = step * self._batch_size + lane * unit // self._num_lanes  # not all at one step
        window = self._lanes[lane].window(drawn // unit)
        if not self._is_checked:
            window.check(self._config, self._sample_rate)
            self._is_checked = True
        if not window.num_starts:
            raise CodecError(
                f"data.root: {WINDOW * SLICE} utterances that follow each other have less audio "
                f"than one segment of {self._config.segment_seconds:g} s; shorten "
                "data.segment_seconds, or pack the corpus (codec pack)"
            )
        return window

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        """The slices in the order of an epoch."""
        return np.random.default_rng((self._seed, epoch)).permutation(self._num_slices)

    def _decode_at(self, lane: int, position: int) -> NDArray[np.int16]:
        """The audio ``[T]`` of a lane's slice at a position, which counts over all epochs."""
        epoch, place = divmod(position, self._num_slices // self._num_lanes)
        number = int(self._order(epoch)[place * self._num_lanes + lane])
        start = number * SLICE
        random = np.random.default_rng((self._seed, epoch, number))
        decoded = [np.zeros(0, np.int16)]
        for utterance in self._corpus.utterances(start, min(start + SLICE, len(self._corpus))):
            where = random.random()
            if utterance.id not in self._held_out and not is_held_out(utterance):
                decoded += self._decode(utterance, where)
        return np.concatenate(decoded)

    def _decode(self, utterance: Utterance, place: float) -> list[NDArray[np.int16]]:
        try:
            samples = read_piece(utterance, self._sample_rate, PIECE_SECONDS, place)
        except CodecError as error:
            self._read.add(str(error))
            return []
        self._read.add()
        return [to_int16(samples)]


def is_held_out(utterance: Utterance) -> bool:
    """Whether the corpus itself says that an utterance is not for training."""
    return utterance.split.lower() in HELD_OUT_SPLITS


class _Lane:
    """Slices in their order, decoded ahead.

    Args:
        length: of a segment, in samples.
        decode: begins to decode the slice at a position.
    """

    def __init__(self, length: int, decode: Callable[[int], Future[NDArray[np.int16]]]) -> None:
        self._length, self._decode = length, decode
        self._slices: dict[int, Future[NDArray[np.int16]]] = {}
        self._at = -1
        self._window = Pieces(length)

    def window(self, at: int) -> Pieces:
        """The slices from position ``at`` on."""
        if at == self._at:
            return self._window
        wanted = range(at, at + WINDOW + AHEAD)
        for position, decoded in self._slices.items():
            if position not in wanted:
                decoded.cancel()
        self._slices = {n: self._slices.get(n) or self._decode(n) for n in wanted}
        slices = [self._slices[n].result() for n in wanted[:WINDOW]]
        self._at, self._window = at, Pieces(self._length, slices)
        return self._window

    def close(self) -> None:
        for decoded in self._slices.values():
            decoded.cancel()


class _Count:
    """Counts utterances that were read and those that could not be, which are named."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all = self._failed = 0
        self._reasons: set[str] = set()

    def add(self, reason: str = "") -> None:
        with self._lock:
            self._all += 1
            self._failed += bool(reason)
            if not reason or reason in self._reasons:
                return
            self._reasons.add(reason)
        print(f"skipped: {reason}", file=sys.stderr)

    def check(self) -> None:
        """Raise :class:`CodecError` if too many cannot be read."""
        if len(self._reasons) > 1 and self._failed > MAX_UNREADABLE * self._all:
            raise CodecError(
                f"{min(self._reasons)}; so are {self._failed - 1} more of {self._all} utterances; "
                "find them with codec prepare, and leave them out"
            )
