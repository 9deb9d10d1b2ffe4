"""Token files written as the codes come, to a path or a stream."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from audiocodec.errors import CodecError
from audiocodec.paths import replacing, stream_name, writing
from audiocodec.tokens.blocks import write_block, write_trailer
from audiocodec.tokens.coding import coding_of
from audiocodec.tokens.header import FIXED, TokenHeader
from audiocodec.tokens.model import Model, token_header
from audiocodec.tokens.packing import Codes, code_array

if TYPE_CHECKING:
    from audiocodec.tokens.context import ContextModel


class TokenWriter:
    """Writes a token file. At a path, the file appears whole at the end, or not at all.

    ``with TokenWriter(path, header) as writer: writer.write(codes); writer.finish(num_samples)``

    Attributes:
        path: the file's name, for messages.
        num_frames: frames that :meth:`write` was given.
        num_bytes: bytes that were written; the file's size at the end.

    Args:
        target: a path; or a binary stream, such as ``io.BytesIO()`` or an unbuffered pipe. A stream
            gets each block as soon as it is full, and stays open.
        header: describes the codes.
        name: of a stream without a name, for messages.
        context: the context model that ``header`` names; a bundled one is found without.

    Raises:
        CodecError: not writable, disk full, codes that do not fit the header, no ``finish``.
        BrokenPipeError: the other end of the stream was closed.
    """

    def __init__(
        self,
        target: str | Path | BinaryIO,
        header: TokenHeader,
        name: str = "stream",
        context: ContextModel | None = None,
    ) -> None:
        if isinstance(target, (str, Path)):
            self.path, self._stream = Path(target), None
        else:
            self.path, self._stream = stream_name(target, name), target
        self.header = header
        self.num_frames = self.num_bytes = 0
        try:
            self._coding = coding_of(header, context)
        except CodecError as error:
            raise CodecError(f"{self.path}: {error}") from None
        self._waiting = np.zeros((header.channels, header.num_codebooks, 0), dtype=np.int64)
        self._numbers = itertools.count()
        self._finished = False
        self._context: AbstractContextManager[TokenWriter]

    def __enter__(self) -> TokenWriter:
        self._context = self._writing()
        return self._context.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return self._context.__exit__(kind, exception, traceback)

    @contextmanager
    def _writing(self) -> Iterator[TokenWriter]:
        with self._opened() as self._file:
            self._put(self.header.to_bytes())
            yield self
            if not self._finished:
                raise CodecError(f"{self.path}: finish(num_samples) was not called")

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO | FileIO]:
        if self._stream is not None:
            yield self._stream
            return
        # Without a buffer, because whole blocks are written, and so that the write fails, and not
        # the closing, when the disk is full.
        with replacing(self.path) as temporary, temporary.open("wb", buffering=0) as file:
            yield file

    def write(self, codes: Any) -> None:
        """Append codes ``[C, K, f]``, ``f >= 0``, or ``[K, f]`` of one channel.

        Args:
            codes: a NumPy array or tensor of integers.

        Raises:
            CodecError: another shape than the header's, or codes outside their codebooks.
        """
        header = self.header
        codes = code_array(codes)
        if codes.shape[:2] != self._waiting.shape[:2]:
            raise CodecError(
                f"{self.path}: takes codes [{header.channels}, {header.num_codebooks}, frames], "
                f"not {list(codes.shape)}"
            )
        self.num_frames += codes.shape[2]
        joined = np.concatenate([self._waiting, codes], axis=2)
        whole = joined.shape[2] - joined.shape[2] % header.block_frames
        for start in range(0, whole, header.block_frames):
            self._put_block(joined[:, :, start : start + header.block_frames])
        self._waiting = joined[:, :, whole:]

    def finish(self, num_samples: int) -> None:
        """Write the rest of the codes and the trailer.

        Args:
            num_samples: of each channel, at the original rate.

        Raises:
            CodecError: ``num_samples`` has another number of frames than were written.
        """
        if self.num_frames != self.header.num_frames(num_samples):
            raise CodecError(
                f"{self.path}: {num_samples} samples are {self.header.num_frames(num_samples)} "
                f"frames, but {self.num_frames} were written"
            )
        if self._waiting.shape[2]:
            self._put_block(self._waiting)
        self._put(write_trailer(num_samples))
        self._finished = True

    def _put_block(self, codes: Codes) -> None:
        self._put(write_block(self._coding, next(self._numbers), codes))

    def _put(self, data: bytes) -> None:
        self.num_bytes += len(data)
        with writing(self.path):
            while data:
                data = data[self._file.write(data) :]


def save_codes(
    target: str | Path | BinaryIO,
    codes: Any,
    codec: Model,
    num_samples: int | None = None,
    sample_rate: int | None = None,
    coding: str = FIXED,
) -> None:
    """Write codes as a ``.tok`` file; ``TokenFile(target).read()`` returns them.

    Args:
        target: a path, where the file appears whole or not at all; or a binary stream.
        codes: ``[C, K, F]`` or ``[K, F]``, a tensor or NumPy array of ``codec``'s codes. Channels
            are those of one recording; write the items of a batch one by one.
        num_samples: of each channel, at ``sample_rate``; by default all that ``F`` frames hold.
        sample_rate: of the recording, in Hz, which decoding restores; by default the codec's.
        coding: ``fixed``, or ``context`` for fewer bytes, with the codec's context model.

    Raises:
        CodecError: codes of another shape or type or outside their codebooks, a number of samples
            that has another number of frames, a codec that was never saved, or a target that cannot
            be written.
    """
    array = code_array(codes)
    channels, num_codebooks, frames = array.shape
    header = token_header(codec, num_codebooks, sample_rate, channels, coding=coding)
    with TokenWriter(target, header, context=codec.context) as writer:
        writer.write(array)
        writer.finish(header.num_samples(frames) if num_samples is None else num_samples)
