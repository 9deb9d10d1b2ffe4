"""Binary streams that audio comes from: files, memory and pipes, which cannot seek."""

from __future__ import annotations

import io
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from audiocodec.audio.id3 import after_id3
from audiocodec.errors import CodecError

HEAD_BYTES = 12
SPOOL_BYTES = 2**20
"""A pipe's data beyond this size goes from memory to a temporary file."""


def file_end(file: BinaryIO) -> int:
    """The position after a seekable file's last byte."""
    return file.seek(0, io.SEEK_END)


class AudioInput:
    """An input whose format is not known yet.

    ``head`` has the first 12 bytes of the audio, after any ID3 tags. ``start`` is their position in
    :meth:`seekable_file`, and ``has_id3`` says whether tags were skipped. A format is opened with
    the input's position after ``head``.

    Data that was read from a pipe is kept until :meth:`forward` is called, because a format that
    needs random access needs all of it.

    Args:
        stream: binary stream; its current position is the start of the audio file.
        name: the input's name for messages.
        stack: closes the temporary file, if one was needed.

    Raises:
        CodecError: the input is empty.
    """

    def __init__(self, stream: BinaryIO, name: Path, stack: ExitStack) -> None:
        self.name = name
        self._stream = stream
        self._kept: Any = None
        self.start = 0
        if stream.seekable():
            self.start = stream.tell()
        else:
            self._kept = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115
            stack.enter_context(self._kept)
        self.head = self.read(HEAD_BYTES)
        if not self.head:
            hint = "" if self.start == 0 else "; the stream stands at its end, seek(0) rewinds it"
            raise CodecError(f"{name}: is empty (0 bytes), not an audio file{hint}")
        self.has_id3 = self.head[:3] == b"ID3"
        if self.has_id3:
            file = self.seekable_file()
            self.start = after_id3(file, self.start)
            file.seek(self.start)
            self.head = self.read(HEAD_BYTES)

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer only at the end."""
        data = b""
        while len(data) < size and (more := self._stream.read(size - len(data))):
            data += more
        if self._kept is not None:
            self._kept.write(data)
        return data

    def rewind(self) -> None:
        """Go back to the position after ``head``, where a pipe that was not copied already is."""
        if self._kept is None:
            self._stream.seek(self.start + len(self.head))

    def forward(self) -> BinaryIO:
        """The stream from the current position on. Afterwards nothing else can be called."""
        if self._kept is not None:
            self._kept.close()
        return self._stream

    def seekable_file(self) -> BinaryIO:
        """A file with all of the input, at the current position. A pipe is read to its end.

        Raises:
            CodecError: the temporary file for a pipe cannot be written.
        """
        if self._kept is not None:
            position = self._kept.tell()
            try:
                shutil.copyfileobj(self._stream, self._kept)
            except OSError as error:
                raise CodecError(
                    f"{self.name}: needs a temporary file, which cannot be written "
                    f"({error.strerror or error}); convert it to WAV, or set TMPDIR"
                ) from None
            self._kept.seek(position)
            self._stream, self._kept = self._kept, None
        return self._stream

    def remaining_bytes(self) -> int | None:
        """Bytes from the current position to the end; ``None`` for a pipe."""
        if self._kept is not None:
            return None
        position = self._stream.tell()
        end = file_end(self._stream)
        self._stream.seek(position)
        return end - position
