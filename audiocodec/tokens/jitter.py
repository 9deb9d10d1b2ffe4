"""A jitter buffer: packets as a network brings them -> codes in order, at the sender's pace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from audiocodec.errors import CodecError
from audiocodec.tokens.header import TokenHeader
from audiocodec.tokens.packets import ALONE, HEAD, NUMBERS, PacketDecoder
from audiocodec.tokens.packing import Codes

if TYPE_CHECKING:
    from audiocodec.tokens.context import ContextModel

PAUSE = 10
"""So many packets lost in a row, and none held, are a pause."""


class Turn(NamedTuple):
    """A packet whose time has come.

    ``number`` is the sender's, counted on after 65,535. ``codes`` are int64 ``[C, K, frames]``, or
    ``None`` for frames to conceal: the packet is lost, or others that it depends on are.
    """

    number: int
    codes: Codes | None
    frames: int


@dataclass
class Counts:
    """What became of packets so far.

    Attributes:
        arrived: whole packets of this stream.
        damaged: others.
        lost: packets whose turn came before they did, or that never came.
        late: packets that arrived after their turn.
        duplicate: packets that had arrived before.
        undecoded: packets that arrived in time, after others that they depend on were lost.
    """

    arrived: int = 0
    damaged: int = 0
    lost: int = 0
    late: int = 0
    duplicate: int = 0
    undecoded: int = 0


class JitterBuffer:
    """Packets that arrive late, out of order, twice or never -> each one's turn, in order.

    There is no clock and no thread: call :meth:`push` for each packet that arrives, and :meth:`pop`
    once in the time that a packet lasts. The first packet's turn is the pop that follows ``delay``
    others; each further packet's is as many pops later as it was sent later. So a packet is in time
    if it travels up to ``delay`` packets longer than the first one.

    After :data:`PAUSE` lost packets in a row the sender has paused, or the network takes longer by
    more than the delay. Then turns end, and begin again with the next packet as with the first.

    Args:
        header, context: as in :class:`~audiocodec.tokens.PacketEncoder`.
        delay: packets, 0 or more.

    Attributes:
        counts: the :class:`Counts`.
        frames: in the last packet that arrived, or 1: so many last until the next pop.

    Raises:
        CodecError: a negative delay, or no context model where one is needed.
    """

    def __init__(
        self, header: TokenHeader, context: ContextModel | None = None, delay: int = 3
    ) -> None:
        if delay < 0:
            raise CodecError(f"delay: 0 packets or more, not {delay}")
        self.delay, self.counts, self.frames = delay, Counts(), 1
        self._decoder = PacketDecoder(header, context)
        self.reset()

    def reset(self) -> None:
        """The next packet is the first one: the sender has begun again. Counts go on."""
        self._decoder.reset()
        self._held: dict[int, bytes] = {}
        self._next = 0
        self._wait: int | None = None
        """Pops until the turn of ``_next``; ``None`` before any packet and in a pause."""
        self._end: int | None = None
        """The number after the last turn, or ``None`` before the first."""
        self._first = 0
        """The number of the first turn."""
        self._lost: set[int] = set()
        """Numbers whose turn has come without them, as far back as numbers can be told."""
        self._run = 0

    def __len__(self) -> int:
        """Packets that wait for their turn.

        If there are ever more, the sender's clock is faster: pop once more to catch up.
        """
        return len(self._held)

    def push(self, packet: bytes) -> None:
        """Take a packet that has arrived. Damaged ones, and those of other streams, are counted."""
        short = self._decoder.number(packet)
        if short is None:
            self.counts.damaged += 1
            return
        self.counts.arrived += 1
        self.frames = packet[HEAD.size - 1] % ALONE
        number = short
        if self._wait is not None or self._end is not None:
            number = self._next + (short - self._next + NUMBERS // 2) % NUMBERS - NUMBERS // 2
        if number in self._held:
            self.counts.duplicate += 1
        elif self._end is not None and number < self._end:
            self._too_late(number)
        elif self._wait is None:
            self._next, self._wait = number, self.delay
            self._held[number] = packet
        elif number >= self._next:
            self._held[number] = packet
        elif self._next - number <= self._wait:  # turns have not begun: one sent before the first
            self._next, self._wait = number, self._wait - (self._next - number)
            self._held[number] = packet
        else:
            self.counts.late += 1

    def _too_late(self, number: int) -> None:
        """Count a packet before the last turn."""
        if number in self._lost or number < self._first:
            self._lost.discard(number)
            self.counts.late += 1
        else:
            self.counts.duplicate += 1

    def pop(self) -> Turn | None:
        """The packet whose turn it is.

        ``None`` if none is: before the first one's, and in a pause. Where a pause ends, numbers may
        jump; those between are counted as lost.
        """
        if self._wait is None:
            return None
        if self._wait:
            self._wait -= 1
            return None
        number = self._next
        if self._end is None:
            self._first = self._end = number
        skipped = number - self._end
        self.counts.lost += skipped
        self._lost.update(range(number - skipped, number))
        self._next = self._end = number + 1
        self._forget(skipped + 1)
        packet = self._held.pop(number, None)
        found = None if packet is None else self._decoder.decode(packet)
        if found is None:
            self.counts.lost += 1
            self._lost.add(number)
            self._run += 1
            if self._run >= PAUSE and not self._held:
                self._run, self._wait = 0, None
                self._decoder.reset()
            return Turn(number, None, self.frames)
        self._run = 0
        self.counts.undecoded += found.codes is None
        return Turn(number, found.codes, found.frames)

    def _forget(self, count: int) -> None:
        """Numbers so old that they would be taken for new ones."""
        oldest = self._next - NUMBERS // 2
        self._lost.difference_update(range(oldest - count, oldest))
