"""Entropy coding of few symbols in the fewest whole bytes: arithmetic coding, exact.

All symbols together are an interval of [0, 1) (Rissanen 1976), each a part of that of the symbols
before it. The bytes are those of the number in it that needs the fewest, as a binary fraction.
Python's integers hold interval and number exactly. Time grows with the square of the number of
symbols: this is for packets. A packet takes 0.3 bytes more than the bits of its codes, with
:mod:`~audiocodec.tokens.context.ans` 1.3.
"""

from __future__ import annotations

from audiocodec.tokens.context.layer import Ints


def encode_interval(starts: Ints, frequencies: Ints, precision: int) -> bytes:
    """Symbols that are the intervals ``[N]`` of ``2**precision`` -> bytes."""
    low, width = 0, 1
    for start, frequency in zip(starts.tolist(), frequencies.tolist(), strict=True):
        low, width = (low << precision) + start * width, frequency * width
    if not low:
        return b""
    last = low + width - 1
    zeros = ((low - 1) ^ last).bit_length() - 1  # at the end of the roundest number within
    bits = precision * len(starts)
    number = last >> zeros << zeros + -bits % 8
    return number.to_bytes(-(-bits // 8), "big").rstrip(b"\0")


class IntervalDecoder:
    """Takes the ``count`` symbols of :func:`encode_interval`, first to last; one or more.

    Args:
        data: any bytes. Those that no encoder wrote give other symbols, never an error.
    """

    def __init__(self, data: bytes, count: int, precision: int) -> None:
        bits = max(8 * len(data), precision * count)
        self._precision = precision
        self._rest = int.from_bytes(data, "big") << bits - 8 * len(data)
        self._unit = 1 << bits - precision

    def peek(self) -> int:
        """A number below ``2**precision`` that lies in the interval of the next symbol."""
        return self._rest // self._unit

    def take(self, peeked: int, start: int, frequency: int) -> None:
        """Remove the next symbol, whose interval the number of :meth:`peek` showed."""
        self._rest -= start * self._unit
        self._unit = frequency * self._unit >> self._precision
