"""Packets: a few frames of codes each, for networks and live streams. NumPy only.

Both ends know the stream's :class:`~audiocodec.tokens.TokenHeader`; its bytes may be sent first. A
packet has no length: the network knows it. Numbers are little-endian and unsigned:

    check    u16   CRC-16 (CCITT, polynomial 0x1021) of the header's bytes, then of all that follows
    number   u16   of the packet, from 0; after 65,535 comes 0
    frames   u8    1 to 127, plus 128 in a packet that can be decoded alone
    codes          with fixed coding packed as in a file, so that packets of equal frames have equal
                   lengths; with context coding in the fewest bytes that the context model allows

With fixed coding each packet can be decoded alone. With context coding it needs those before it, as
far back as the last that can. After a loss, codes come again from the next such packet on.
"""

from __future__ import annotations

import struct
from binascii import crc_hqx
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from audiocodec.errors import CodecError
from audiocodec.tokens.header import CONTEXT, FIXED, TokenHeader
from audiocodec.tokens.packing import Codes, check_codes, code_array, pack, unpack
from audiocodec.tokens.rates import frame_bits

if TYPE_CHECKING:
    from audiocodec.tokens.context import ContextModel

HEAD = struct.Struct("<HHB")
MOST_FRAMES = 127
ALONE = 128
NUMBERS = 2**16


class Received(NamedTuple):
    """What a packet brought.

    ``codes`` are int64 ``[C, K, frames]``, or ``None`` where packets that they depend on were lost.
    ``lost`` is how many packets between the last one and this one have not arrived.
    """

    codes: Codes | None
    frames: int
    lost: int


class PacketCoding(Protocol):
    """How codes of packets become bytes. It has a memory of the packets before."""

    def restart(self) -> None:
        """Forget them, so that the next packet can be decoded alone."""

    def encode(self, codes: Codes) -> bytes:
        """Codes ``[C, K, F]`` within their codebooks -> bytes."""

    def decode(self, data: bytes, frames: int) -> Codes:
        """The inverse: int64 ``[C, K, frames]``.

        Raises:
            CodecError: bytes that :meth:`encode` did not write.
        """


class PacketEncoder:
    """Codes in pieces -> packets.

    Args:
        header: of the stream; :func:`~audiocodec.tokens.token_header` makes one for a codec.
        context: the context model that ``header`` names; a bundled one is found without.
        restart_packets: every so many packets, one can be decoded alone. A few more bits then; with
            fixed coding all can.

    Raises:
        CodecError: no packets between restarts, or no context model where one is needed.
    """

    def __init__(
        self, header: TokenHeader, context: ContextModel | None = None, restart_packets: int = 25
    ) -> None:
        if restart_packets < 1:
            raise CodecError(f"restart_packets: 1 or more, not {restart_packets}")
        self.header, self.restart_packets = header, restart_packets
        self._coding = _coding(header, context)
        self._seed = crc_hqx(header.to_bytes(), 0)
        self._number = self._since = 0

    def restart(self) -> None:
        """The next packet can be decoded alone: for a receiver that has lost one and says so."""
        self._since = 0

    def encode(self, codes: Any) -> bytes:
        """The packet of codes ``[C, K, f]`` (``[K, f]`` of one channel), ``f`` from 1 to 127.

        Raises:
            CodecError: another shape than the header's, codes outside their codebooks, or more than
                fit in a packet; the stream is unchanged.
        """
        codes, header = code_array(codes), self.header
        check_codes(codes, header.codebook_sizes)
        frames = codes.shape[2]
        if len(codes) != header.channels or not 1 <= frames <= MOST_FRAMES:
            raise CodecError(
                f"a packet takes codes [{header.channels}, {header.num_codebooks}, 1 to "
                f"{MOST_FRAMES}], not {list(codes.shape)}"
            )
        alone = header.coding == FIXED or not self._since
        if alone:
            self._coding.restart()
        data = self._coding.encode(codes)
        rest = HEAD.pack(0, self._number, frames + ALONE * alone)[2:] + data
        self._number = (self._number + 1) % NUMBERS
        self._since = (self._since + 1) % self.restart_packets
        return struct.pack("<H", crc_hqx(rest, self._seed)) + rest


class PacketDecoder:
    """Packets -> codes. A receiver may begin with any packet.

    Args:
        header, context: as in :class:`PacketEncoder`.

    Raises:
        CodecError: no context model where one is needed.
    """

    def __init__(self, header: TokenHeader, context: ContextModel | None = None) -> None:
        self.header = header
        self._coding = _coding(header, context)
        self._seed = crc_hqx(header.to_bytes(), 0)
        self.reset()

    def reset(self) -> None:
        """The next packet may have any number: the sender has begun again."""
        self._due: int | None = None
        self._whole = False
        """Whether the codes of all packets since one that can be decoded alone are known."""

    def number(self, packet: bytes) -> int | None:
        """A packet's number; ``None`` if it is damaged or of another stream."""
        if len(packet) < HEAD.size:
            return None
        check, number, frames = HEAD.unpack_from(packet)
        whole = check == crc_hqx(packet[2:], self._seed) and frames % ALONE
        return number if whole else None

    def decode(self, packet: bytes) -> Received | None:
        """What a packet brings; ``None`` for one to pass over.

        That is one that is damaged, of another stream, late by up to half of all numbers, or there
        already. If it was damaged, the next one counts it as lost.
        """
        number = self.number(packet)
        if number is None:
            return None
        frames = packet[HEAD.size - 1]
        lost = 0 if self._due is None else (number - self._due) % NUMBERS
        if lost >= NUMBERS // 2:
            return None
        alone, frames = frames >= ALONE, frames % ALONE
        if alone:
            self._coding.restart()
        self._whole = alone or (self._whole and not lost)
        try:
            codes = self._coding.decode(packet[HEAD.size :], frames) if self._whole else None
        except CodecError:  # a check that is right by chance
            self._whole = False
            return None
        self._due = (number + 1) % NUMBERS
        return Received(codes, frames, lost)


class FixedPackets:
    """Codes of ceil(log2(size)) bits each."""

    def __init__(self, header: TokenHeader, context: ContextModel | None = None) -> None:
        self.channels, self.sizes = header.channels, header.codebook_sizes

    def restart(self) -> None:
        """There is nothing to forget."""

    def encode(self, codes: Codes) -> bytes:
        return pack(codes, self.sizes)

    def decode(self, data: bytes, frames: int) -> Codes:
        if len(data) != -(-frames * frame_bits(self.sizes, self.channels) // 8):
            raise CodecError("codes that no encoder wrote")
        codes = unpack(data, frames, self.channels, self.sizes)
        check_codes(codes, self.sizes)
        return codes


def _context(header: TokenHeader, context: ContextModel | None) -> PacketCoding:
    from audiocodec.tokens.context.packets import ContextPackets

    return ContextPackets(header, context)


PACKET_CODINGS: dict[str, Callable[[TokenHeader, ContextModel | None], PacketCoding]] = {
    FIXED: FixedPackets,
    CONTEXT: _context,
}
"""Every coding, by :attr:`TokenHeader.coding`: a function of the header and a context model."""


def _coding(header: TokenHeader, context: ContextModel | None) -> PacketCoding:
    if header.coding not in PACKET_CODINGS:
        raise CodecError(f"there are no packets with {header.coding} coding")
    return PACKET_CODINGS[header.coding](header, context)
