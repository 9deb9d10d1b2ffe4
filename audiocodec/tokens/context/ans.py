"""Entropy coding with integer frequencies: asymmetric numeral systems (Duda 2013, arXiv 1311.2540).

A number ``x`` holds all symbols. To add one whose frequency is ``f`` of ``2**precision``, with
``start`` the sum of those of all lower symbols (rANS):

    x <- (x // f) * 2**precision + start + x % f

which adds ``precision - log2(f)`` bits. ``x`` starts at 0. When it would reach 48 bits, its lowest
16 are moved to a list of words, so that it stays above 32 bits. Symbols are added last to first,
and are so taken first to last. The bytes are those of ``x`` and of the words, the newest first,
highest byte first, without zero bytes at the beginning. Python's integers are exact everywhere.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
WORD_BITS = 16
LOW = 2**32
"""The number is at least this much while there are words."""
HEAD_BYTES = 6
"""Of the number, which is below ``LOW * 2**WORD_BITS``."""


def encode_symbols(starts: Ints, frequencies: Ints, precision: int) -> bytes:
    """Symbols that are the intervals ``[N]`` of ``2**precision`` -> bytes, first to last.

    ``precision`` is at most 32.
    """
    x, words = 0, []
    room = 32 + WORD_BITS - precision
    for start, frequency in zip(starts[::-1].tolist(), frequencies[::-1].tolist(), strict=True):
        if x >> room >= frequency:
            words.append(x & 0xFFFF)
            x >>= WORD_BITS
        quotient, rest = divmod(x, frequency)
        x = (quotient << precision) + start + rest
    data = x.to_bytes(HEAD_BYTES, "big") + np.array(words[::-1], ">u2").tobytes()
    return data.lstrip(b"\0")


class SymbolDecoder:
    """Takes symbols from the bytes of :func:`encode_symbols`, first to last.

    Args:
        data: any bytes. Those that no encoder wrote give other symbols, never an error.
        length: of all bytes, where ``data`` is only the beginning of them.
    """

    def __init__(self, data: bytes, precision: int, length: int | None = None) -> None:
        data = bytes((len(data) if length is None else length) % 2) + data
        self._words = np.frombuffer(data[: len(data) // 2 * 2], ">u2").tolist()[::-1]
        self._precision, self._mask = precision, 2**precision - 1
        self._x = 0
        self._short = False
        while self._x < LOW and not self._short:
            self._fill()

    def _fill(self) -> None:
        if self._words:
            self._x = self._x << WORD_BITS | self._words.pop()
        else:
            self._short = True

    @property
    def empty(self) -> bool:
        """Whether all of the bytes were used."""
        return not (self._x or self._words)

    @property
    def within(self) -> bool:
        """Whether the symbols so far needed only bytes that are there."""
        return not self._short

    def peek(self) -> int:
        """A number below ``2**precision`` that lies in the interval of the next symbol."""
        return self._x & self._mask

    def take(self, peeked: int, start: int, frequency: int) -> None:
        """Remove the next symbol, whose interval the number of :meth:`peek` showed."""
        self._x = frequency * (self._x >> self._precision) + peeked - start
        if self._x < LOW:
            self._fill()
