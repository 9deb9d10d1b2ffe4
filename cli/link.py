"""What stands between the encoder and the decoder of a live stream: packets, some of them lost."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from audiocodec.runtime import RuntimeCodec
    from audiocodec.streaming import StreamDecoder
    from audiocodec.tokens import TokenHeader


class Link:
    """Codes through packets, of which some are lost, to a decoder.

    Args:
        restart_packets: as in :class:`~audiocodec.tokens.PacketEncoder`.
        loss: share of packets to lose, the same ones in each run.
    """

    def __init__(
        self, codec: RuntimeCodec, header: TokenHeader, restart_packets: int, loss: float
    ) -> None:
        from audiocodec.tokens import PacketDecoder, PacketEncoder

        self.sender = PacketEncoder(header, codec.context, restart_packets)
        self.receiver = PacketDecoder(header, codec.context)
        self.loss, self.draw = loss, random.Random(0)
        self.packets = self.num_bytes = self.lost = self.concealed = 0

    def pass_on(self, codes: Tensor, decoder: StreamDecoder) -> Tensor:
        """Codes ``[C, K, f]`` -> audio, of codes that arrived or in place of those lost."""
        if not codes.shape[2]:
            return decoder.push(codes)
        packet = self.sender.encode(codes)
        self.packets, self.num_bytes = self.packets + 1, self.num_bytes + len(packet)
        arrived = None
        if self.draw.random() < self.loss:
            self.lost += 1
        else:
            arrived = self.receiver.decode(packet)
        if arrived and arrived.codes is not None:
            return decoder.push(arrived.codes)
        self.concealed += 1
        return decoder.conceal(codes.shape[2])

    def summary(self, seconds: float) -> str:
        from audiocodec.tokens.packets import HEAD

        sizes = self.num_bytes - self.packets * HEAD.size, self.num_bytes
        rates = [8e-3 * size / max(seconds, 1e-9) for size in sizes]
        text = f"codes {rates[0]:.2f} kbit/s, with the heads of their packets {rates[1]:.2f}"
        if self.lost:
            text += f"; {self.lost} of {self.packets} packets lost, {self.concealed} concealed"
        return text
