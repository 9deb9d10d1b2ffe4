"""Utterances to codes, in order, in bounded memory.

Each utterance is encoded alone, block by block, as ``codec encode`` does it, several at a time on
threads that also read the audio. Or short utterances of similar length are encoded in padded
batches (for a GPU), while other threads read those that come next. Which utterances share a batch
depends on their order and lengths alone, so codes do not depend on time or on the number of
threads; unless a batch has to be halved because memory runs out.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from audiocodec.audio.source import Samples
from audiocodec.batch.grouping import group_by_length
from audiocodec.corpus.reading import audio_blocks, resized
from audiocodec.corpus.utterance import Utterance
from audiocodec.errors import CodecError
from audiocodec.files import BLOCK_SECONDS
from audiocodec.runtime import RuntimeCodec
from audiocodec.streaming import StreamEncoder
from audiocodec.threads import Stop, in_order
from audiocodec.tokenising.settings import Settings
from audiocodec.tokenising.tokenised import Codes, Row, Tokenised, Unreadable

Result = TypeVar("Result")

AHEAD = 16
"""Utterances for each thread that may be done before one of them, a long one, is."""
WINDOW = 4
"""Batches whose utterances are sorted by length together."""
BATCH_SECONDS = {"cuda": 160.0}
"""The default of ``batch_seconds`` by kind of device; 0 on others, where batches gain little."""


@dataclass(frozen=True)
class _Loaded:
    """An utterance with its audio ``[T]``; ``None`` if it is longer than a batch."""

    utterance: Utterance
    audio: Samples | None


class UtteranceEncoder:
    """Encodes utterances with a codec. It keeps no state between calls.

    Args:
        settings: those of the tokenised corpus: codebooks, beam, batches.
        workers: threads that encode. PyTorch's own threads should be one each.
        stop: ends the work at the next block.
    """

    def __init__(
        self, codec: RuntimeCodec, settings: Settings, workers: int = 1, stop: Stop | None = None
    ) -> None:
        self.codec, self.settings, self.workers = codec, settings, workers
        self.stop = stop or Stop()
        self._limit = settings.batch_seconds * codec.sample_rate

    def rows(self, utterances: Iterable[Utterance]) -> Generator[Row, None, None]:
        """Codes, or a reason, for each utterance in order. Close the iterator to end it early."""
        if self.settings.batch_seconds:
            return self._in_batches(utterances)
        ahead = AHEAD * self.workers if self.workers > 1 else 1
        return in_order(self._alone, utterances, self.workers, self.stop, ahead)

    def _alone(self, utterance: Utterance) -> Row:
        return _attempt(utterance, lambda: self._streamed(utterance, self._blocks(utterance)))

    def _blocks(self, utterance: Utterance) -> Iterator[Samples]:
        """The utterance's audio in blocks ``[n]`` of :data:`BLOCK_SECONDS`, the last one shorter.

        They are those of :func:`~audiocodec.files.encode_file`, so that in float32 too the codes
        are the same.
        """
        frames = max(1, round(BLOCK_SECONDS * self.codec.frame_rate))
        blocks = self._checked(audio_blocks(utterance, self.codec.sample_rate))
        return resized(blocks, frames * self.codec.hop_length)

    def _checked(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        """The same blocks, until the work is to stop."""
        for block in blocks:
            self.stop.check()
            yield block

    def _streamed(self, utterance: Utterance, blocks: Iterable[Samples]) -> Tokenised:
        settings = self.settings
        encoder = StreamEncoder(self.codec, settings.num_codebooks, 1, settings.beam)
        parts: list[Codes] = []
        num_samples = 0
        for block in blocks:
            self.stop.check()
            parts.append(self._narrow(encoder.push(block[None, None])[0]))
            num_samples += len(block)
        parts.append(self._narrow(encoder.flush()[0]))
        return _tokenised(utterance, np.concatenate(parts, axis=1), num_samples)

    def _in_batches(self, utterances: Iterable[Utterance]) -> Generator[Row, None, None]:
        readers = max(2, self.workers)
        loaded = in_order(self._load, utterances, readers, self.stop, AHEAD * 2)
        for window in self._windows(loaded):
            rows: dict[int, Row] = {
                place: item for place, item in enumerate(window) if isinstance(item, Unreadable)
            }
            short, long = {}, []
            for place, item in enumerate(window):
                if isinstance(item, _Loaded):
                    if item.audio is None:
                        long.append([place])
                    else:
                        short[place] = (1, float(max(1, len(item.audio))))
            groups = long + group_by_length(short, self._limit)

            def encode(group: list[int], window: list[_Loaded | Unreadable] = window) -> list[Row]:
                return self._batch([item for p in group if isinstance(item := window[p], _Loaded)])

            workers = 1 if self.codec.device.type == "cuda" else self.workers
            made = in_order(encode, groups, workers, self.stop, ahead=workers)
            for group, found in zip(groups, made, strict=True):
                rows |= zip(group, found, strict=True)
            for place in range(len(window)):
                yield rows[place]

    def _windows(
        self, loaded: Iterable[_Loaded | Unreadable]
    ) -> Iterator[list[_Loaded | Unreadable]]:
        """Lists of utterances that are batched together, in order."""
        window: list[_Loaded | Unreadable] = []
        held = 0.0
        for item in loaded:
            window.append(item)
            if isinstance(item, _Loaded):
                held += self._limit if item.audio is None else len(item.audio)
            if held >= WINDOW * self._limit:
                yield window
                window, held = [], 0.0
        if window:
            yield window

    def _load(self, utterance: Utterance) -> _Loaded | Unreadable:
        def read() -> _Loaded:
            parts: list[Samples] = []
            held = 0
            for block in audio_blocks(utterance, self.codec.sample_rate):
                self.stop.check()
                parts.append(block)
                held += len(block)
                if held > self._limit:
                    return _Loaded(utterance, None)
            return _Loaded(utterance, np.concatenate([np.zeros(0, np.float32), *parts]))

        return _attempt(utterance, read)

    def _batch(self, items: Sequence[_Loaded]) -> list[Row]:
        """Codes of utterances that fit into one batch; one that does not work is halved."""
        if len(items) == 1:
            (item,) = items
            if item.audio is None:
                return [self._alone(item.utterance)]
            audio, lengths = item.audio, [len(item.audio)]
            return [_attempt(item.utterance, lambda: self._padded([item], [audio], lengths)[0])]
        audios = [item.audio for item in items if item.audio is not None]
        try:
            return list(self._padded(items, audios, [len(audio) for audio in audios]))
        except (torch.OutOfMemoryError, CodecError):
            pass
        if self.codec.device.type == "cuda":
            torch.cuda.empty_cache()
        half = len(items) // 2
        return self._batch(items[:half]) + self._batch(items[half:])

    def _padded(
        self, items: Sequence[_Loaded], audios: Sequence[Samples], lengths: Sequence[int]
    ) -> list[Tokenised]:
        batch = np.zeros((len(audios), 1, max(lengths)), np.float32)
        for line, audio in zip(batch, audios, strict=True):
            line[0, : len(audio)] = audio
        settings, hop = self.settings, self.codec.hop_length
        found = self.codec.encode(batch, settings.num_codebooks, settings.beam, list(lengths))
        codes = self._narrow(found)
        return [
            _tokenised(item.utterance, line[:, : -(-length // hop)].copy(), length)
            for item, line, length in zip(items, codes, lengths, strict=True)
        ]

    def _narrow(self, codes: torch.Tensor) -> Codes:
        return codes.cpu().numpy().astype(self.settings.dtype)


def _tokenised(utterance: Utterance, codes: Codes, num_samples: int) -> Tokenised:
    texts = (utterance.speaker, utterance.text, utterance.split)
    # A half of a surrogate pair, which JSON can hold, is no text.
    clean = (text.encode("utf-8", "replace").decode() for text in texts)
    return Tokenised(utterance.id, codes, num_samples, *clean)


def _attempt(utterance: Utterance, work: Callable[[], Result]) -> Result | Unreadable:
    """The result, or the reason why there is none."""
    try:
        return work()
    except (MemoryError, torch.OutOfMemoryError):
        raise CodecError(
            f"{utterance.place}: out of memory; use shorter batches or fewer jobs"
        ) from None
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        if not isinstance(error, CodecError):
            reason = f"{utterance.place}: {type(error).__name__}: {reason}"
        return Unreadable(utterance.id, utterance.place, reason)
