"""Context coding of packets: the context goes on from one to the next."""

from __future__ import annotations

import numpy as np

from audiocodec.errors import CodecError
from audiocodec.tokens.context.arithmetic import IntervalDecoder, encode_interval
from audiocodec.tokens.context.coding import ContextCoding, next_symbols
from audiocodec.tokens.context.model import ContextModel
from audiocodec.tokens.header import TokenHeader
from audiocodec.tokens.packing import Codes

MOST_CODES = 4096
"""In a packet; the time to code it grows with their square."""


class ContextPackets:
    """One direction of a stream of packets; see :class:`~audiocodec.tokens.packets.PacketCoding`.

    Args:
        header: with the fingerprint of the context model.
        context: that model; by default a bundled one.

    Raises:
        CodecError: the context model is not at hand, or the stream has more channels than fit.
    """

    def __init__(self, header: TokenHeader, context: ContextModel | None = None) -> None:
        self.context = ContextCoding(header, context).context
        self.channels, self.stages = header.channels, header.num_codebooks
        self.restart()

    def restart(self) -> None:
        self._predictor = self.context.predictor(self.channels, self.stages)

    def encode(self, codes: Codes) -> bytes:
        self._count(codes.shape[2])
        starts, sizes = [], []
        for frame in range(codes.shape[2]):
            for stage in range(self.stages):
                chosen = codes[:, stage, frame]
                frequencies = self._predictor.frequencies(stage)
                found = np.take_along_axis(frequencies, chosen[:, None], 1)[:, 0]
                ends = np.take_along_axis(np.cumsum(frequencies, axis=1), chosen[:, None], 1)[:, 0]
                starts.append(ends - found)
                sizes.append(found)
                self._predictor.put(stage, chosen)
        precision = self.context.precision
        return encode_interval(np.concatenate(starts), np.concatenate(sizes), precision)

    def decode(self, data: bytes, frames: int) -> Codes:
        count, precision = self._count(frames), self.context.precision
        if 8 * len(data) > precision * count:
            raise CodecError("codes that no encoder wrote")
        decoder = IntervalDecoder(data, count, precision)
        codes = np.zeros((self.channels, self.stages, frames), np.int64)
        for frame in range(frames):
            for stage in range(self.stages):
                frequencies = self._predictor.frequencies(stage)
                ends = np.cumsum(frequencies, axis=1)
                for row in range(self.channels):
                    codes[row, stage, frame] = next_symbols(
                        [decoder], ends[row : row + 1], frequencies[row : row + 1]
                    )[0]
                self._predictor.put(stage, codes[:, stage, frame])
        return codes

    def _count(self, frames: int) -> int:
        """Codes in a packet of so many frames."""
        count = frames * self.channels * self.stages
        if count > MOST_CODES:
            raise CodecError(
                f"a packet of {count} codes; with context coding {MOST_CODES} fit: send fewer "
                "frames at a time"
            )
        return count
