"""Entropy coding with integer frequencies: asymmetric numeral systems (Duda 2013, arXiv 1311.2540).

The coder is `constriction`'s ``AnsCoder`` (Bamler 2022, arXiv 2201.01741), a stack of bits, used
with uniform distributions only, so that no probability is ever a floating-point number. To push a
symbol whose frequency is ``f`` of ``2**precision``, with ``start`` the sum of those of all lower
symbols: pop a number ``r`` below ``f``, then push ``start + r`` below ``2**precision``. To pop it,
do the reverse. It takes ``precision - log2(f)`` bits.

Symbols are pushed last to first, and so are popped first to last. The bytes are those of the words
of the stack from its top, highest byte first; zero bytes at the beginning are left out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from constriction import stream

from audiocodec.errors import CodecError

Uniform, AnsCoder = stream.model.Uniform, stream.stack.AnsCoder
Ints = npt.NDArray[np.int64]
WORD = np.dtype(">u4")
HEAD_WORDS = 2
"""Words that hold the coder's state. With more than these left, nothing was read past the end."""


def encode_symbols(starts: Ints, frequencies: Ints, precision: int) -> bytes:
    """Symbols that are the intervals ``[N]`` of ``2**precision`` -> bytes, first to last."""
    coder, whole = AnsCoder(), Uniform(2**precision)
    for start, frequency in zip(starts[::-1].tolist(), frequencies[::-1].tolist(), strict=True):
        part = coder.decode(_uniform(frequency)) if frequency > 1 else 0
        coder.encode_reverse(start + part, whole)
    words: npt.NDArray[np.uint32] = coder.get_compressed()
    return words[::-1].astype(WORD).tobytes().lstrip(b"\0")


class SymbolDecoder:
    """Takes symbols from the bytes of :func:`encode_symbols`, first to last.

    Args:
        data: any bytes. Those that no encoder wrote give other symbols, never an error.
        length: of all bytes, where ``data`` is only the beginning of them.

    Raises:
        CodecError: bytes that begin with a word of zeros.
    """

    def __init__(self, data: bytes, precision: int, length: int | None = None) -> None:
        data = bytes(-(len(data) if length is None else length) % WORD.itemsize) + data
        words = np.frombuffer(data[: len(data) // WORD.itemsize * WORD.itemsize], WORD)
        if len(words) and not words[0]:
            raise CodecError("codes that no encoder wrote")
        self._coder = AnsCoder(words[::-1].astype(np.uint32))
        self._whole = Uniform(2**precision)

    @property
    def empty(self) -> bool:
        """Whether all of the bytes were read, and no more."""
        return bool(self._coder.is_empty())

    @property
    def within(self) -> bool:
        """Whether the symbols so far needed only bytes that are there."""
        return int(self._coder.num_words()) > HEAD_WORDS

    def peek(self) -> int:
        """A number below ``2**precision`` that lies in the interval of the next symbol."""
        return int(self._coder.decode(self._whole))

    def take(self, peeked: int, start: int, frequency: int) -> None:
        """Remove the next symbol, whose interval the number of :meth:`peek` showed."""
        if frequency > 1:
            self._coder.encode_reverse(peeked - start, _uniform(frequency))


@lru_cache(maxsize=2**16)
def _uniform(size: int) -> Any:
    return Uniform(size)
