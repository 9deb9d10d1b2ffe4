"""Context coding: the codes of a block in as few bits as a context model needs for them.

A block's codes are preceded by their length in bytes: a number in groups of seven bits, lowest
first, whose highest bit says that another group follows (LEB128).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np

from audiocodec.bundled import MODELS
from audiocodec.errors import CodecError
from audiocodec.tokens.context.ans import Ints, SymbolDecoder, encode_symbols
from audiocodec.tokens.context.model import CONTEXT_NAME, ContextModel
from audiocodec.tokens.header import CONTEXT_CHANNELS, TokenHeader
from audiocodec.tokens.packing import Codes, check_codes

MOST_BYTES = 4
"""Of the number that says how long a block is."""
MOST_ROWS = 256
"""Blocks times channels that are decoded side by side."""


class ContextCoding:
    """Codes ``[C, K, F]`` of blocks, whose channels are rows of their own for the context model.

    Symbols are ordered by frame, then codebook, then channel.

    Args:
        header: with the fingerprint of the context model.
        context: that model; by default a bundled one. It is needed for the codes alone.
    """

    rows_at_once = 32
    """Blocks that are decoded side by side: their matrix products are one."""
    constant_length = False

    def __init__(self, header: TokenHeader, context: ContextModel | None = None) -> None:
        self.header = header
        self.channels, self.sizes = header.channels, header.codebook_sizes
        if self.channels > CONTEXT_CHANNELS:
            raise CodecError(
                f"{self.channels} channels; context coding takes up to {CONTEXT_CHANNELS}: "
                "use --coding fixed"
            )
        self._context = context

    @property
    def context(self) -> ContextModel:
        """The context model that the header names.

        Raises:
            CodecError: it is not at hand, or predicts other codebooks.
        """
        due = self.header.context
        context = self._context
        if context is None or context.fingerprint != due:
            context = bundled_context(due)
        if context is None:
            raise CodecError(
                f"coded with context model {due} of model {self.header.model}, which is not at "
                "hand; name the folder of that model with --model, in Python with context="
            )
        if context.codebook_sizes[: len(self.sizes)] != self.sizes:
            raise CodecError(
                f"context model {due} is not one for codebooks of {self.sizes} entries"
            )
        return context

    def pack(self, codes: Codes) -> bytes:
        check_codes(codes, self.sizes)
        context = self.context
        starts, frequencies = context.intervals(codes)
        order = (2, 1, 0)
        data = encode_symbols(
            starts.transpose(order).ravel(), frequencies.transpose(order).ravel(), context.precision
        )
        return _length(len(data)) + data

    def unpack(self, blocks: Sequence[tuple[bytes, int]]) -> list[Codes]:
        at_once = MOST_ROWS // self.channels
        found: list[Codes] = []
        for first in range(0, len(blocks), at_once):
            decoded = self._decode(blocks[first : first + at_once])
            if not all(decoder.empty for decoder, _, _ in decoded):
                raise CodecError("codes that no encoder wrote")
            found += [codes for _, codes, _ in decoded]
        if not blocks:
            _ = self.context  # raises, where no block could be decoded
        return found

    def salvage(self, data: bytes, frames: int) -> Codes:
        """The whole frames of a block whose end is missing."""
        ((decoder, codes, whole),) = self._decode([(data, frames)])
        start, length = _read_length(data)
        stated = bool(start) and data[start - 1] < 0x80
        if stated and len(data) == start + length and decoder.empty:
            return codes  # only its CRC is missing
        return codes[:, :, :whole]

    def read_length(self, read: Callable[[int], bytes], frames: int) -> tuple[bytes, int]:
        head = b""
        while not head or head[-1] & 0x80:
            byte = read(1)
            head += byte
            if not byte or len(head) > MOST_BYTES:
                break
        _, size = _read_length(head)
        # No symbol takes more than `precision` bits.
        most = 2 * frames * self.channels * len(self.sizes) + 16
        if size > most:
            raise CodecError("the length of a block is damaged")
        return head, size

    def _decode(
        self, blocks: Sequence[tuple[bytes, int]]
    ) -> list[tuple[SymbolDecoder, Codes, int]]:
        """Of each block the decoder, codes ``[C, K, F]``, and the frames that its bytes hold."""
        context, channels, stages = self.context, self.channels, len(self.sizes)
        decoders = []
        for data, _ in blocks:
            start, length = _read_length(data)
            decoders.append(SymbolDecoder(data[start:], context.precision, length))
        lengths = np.array([frames for _, frames in blocks], np.int64)
        codes = np.zeros((len(blocks), channels, stages, lengths.max(initial=0)), np.int64)
        whole = [0] * len(blocks)
        predictor = context.predictor(len(blocks) * channels, stages)
        for frame in range(codes.shape[3]):
            active = np.flatnonzero(frame < lengths)
            for stage in range(stages):
                frequencies = predictor.frequencies(stage)
                ends = np.cumsum(frequencies, axis=1)
                for channel in range(channels):
                    rows = active * channels + channel
                    codes[active, channel, stage, frame] = next_symbols(
                        [decoders[number] for number in active], ends[rows], frequencies[rows]
                    )
                predictor.put(stage, codes[:, :, stage, frame].ravel())
            for number in active:
                if decoders[number].within:
                    whole[number] = frame + 1
        return [
            (decoder, found[:, :, :frames], reached)
            for decoder, found, frames, reached in zip(decoders, codes, lengths, whole, strict=True)
        ]


class Decoder(Protocol):
    """Takes symbols from bytes, as :class:`SymbolDecoder` does."""

    def peek(self) -> int: ...
    def take(self, peeked: int, start: int, frequency: int) -> None: ...


def next_symbols(decoders: Sequence[Decoder], ends: Ints, frequencies: Ints) -> Ints:
    """The next symbol of each decoder: int64 ``[R]``.

    Args:
        ends: sums of the frequencies of all symbols up to each one, ``[R, size]``.
        frequencies: ``[R, size]``.
    """
    peeked = np.array([decoder.peek() for decoder in decoders], np.int64)
    found: Ints = (ends <= peeked[:, None]).sum(axis=1)
    rows = np.arange(len(found))
    sizes = frequencies[rows, found]
    starts = ends[rows, found] - sizes
    for decoder, *interval in zip(
        decoders, peeked.tolist(), starts.tolist(), sizes.tolist(), strict=True
    ):
        decoder.take(*interval)
    return found


def _length(size: int) -> bytes:
    groups = [size & 0x7F]
    while size := size >> 7:
        groups[-1] |= 0x80
        groups.append(size & 0x7F)
    return bytes(groups)


def _read_length(data: bytes) -> tuple[int, int]:
    """How many bytes the length at the beginning of a block's codes takes, and the length."""
    head = next((place for place, byte in enumerate(data, 1) if not byte & 0x80), len(data))
    return head, sum((byte & 0x7F) << 7 * place for place, byte in enumerate(data[:head]))


@lru_cache(maxsize=4)
def bundled_context(fingerprint: str) -> ContextModel | None:
    """The context model of that fingerprint among those of the bundled models."""
    for path in sorted(MODELS.glob(f"*/{CONTEXT_NAME}")):
        context = ContextModel.load(path)
        if context.fingerprint == fingerprint:
            return context
    return None
