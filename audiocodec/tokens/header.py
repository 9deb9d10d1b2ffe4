"""The header of a `.tok` file: its fields and its bytes. The package's docstring has the format."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from audiocodec.errors import CodecError
from audiocodec.tokens import rates

SUFFIX = ".tok"
MAGIC = b"\x89TOK"
VERSION = 2
"""The newest that is read. Files with fixed coding are written as version 1."""
START = struct.Struct("<4sBH")
FIELDS = struct.Struct("<8sIHIHB")
RUN = struct.Struct("<BI")
CRC = struct.Struct("<I")
FIXED, CONTEXT = "fixed", "context"
NO_CONTEXT = "0" * 16
CONTEXT_CHANNELS = 64
"""The most with context coding. A few bytes hold any number of likely codes, so this limits it."""
BLOCK_SECONDS = 3
"""Length of a block where no ``block_frames`` is given."""


@dataclass(frozen=True)
class TokenHeader:
    """The description of the codes in a token file.

    :func:`~audiocodec.tokens.model.token_header` makes one for a codec.

    Attributes:
        model: name of the model that made the codes.
        fingerprint: of that model, 16 hex digits.
        sample_rate: of the model, in Hz.
        hop_length: samples per frame.
        original_sample_rate: of the recording, in Hz. Decoding restores it.
        channels: of the recording.
        codebook_sizes: entries of each codebook in the file, in order.
        block_frames: frames per block; 0 becomes three seconds, at most 255 frames.
        coding: how codes become bytes: the name of an entry of
            :data:`~audiocodec.tokens.coding.CODINGS`.
        context: fingerprint of the context model, 16 hex digits, with ``context`` coding; else
            empty.

    Raises:
        CodecError: a value that the format cannot hold.
    """

    model: str
    fingerprint: str
    sample_rate: int
    hop_length: int
    original_sample_rate: int
    channels: int
    codebook_sizes: tuple[int, ...]
    block_frames: int = 0
    coding: str = FIXED
    context: str = ""

    def __post_init__(self) -> None:
        if not self.block_frames and self.hop_length:
            frames = round(BLOCK_SECONDS * self.frame_rate)
            object.__setattr__(self, "block_frames", min(max(frames, 1), 255))
        for name, value, highest in (
            ("sample_rate", self.sample_rate, 2**32 - 1),
            ("hop_length", self.hop_length, 2**16 - 1),
            ("original_sample_rate", self.original_sample_rate, 2**32 - 1),
            ("channels", self.channels, 2**16 - 1),
            ("block_frames", self.block_frames, 255),
            ("num_codebooks", self.num_codebooks, 255),
            ("codebook_sizes", min(self.codebook_sizes, default=0), 2**31),
            ("codebook_sizes", max(self.codebook_sizes, default=0), 2**31),
            ("bytes of the model's name", len(self.model.encode()), 255),
            ("bytes of the coding's name", len(self.coding.encode()), 255),
        ):
            if not 1 <= value <= highest:
                raise CodecError(f"a {SUFFIX} file holds {name} of 1 to {highest}, not {value}")
        if not _is_fingerprint(self.fingerprint):
            raise CodecError(
                f"a {SUFFIX} file needs its model's fingerprint, 16 hex digits, not "
                f"`{self.fingerprint}`; save the model and load it to give it one"
            )
        if self.context and not _is_fingerprint(self.context):
            raise CodecError(f"`{self.context}` is no fingerprint of a context model")

    @property
    def num_codebooks(self) -> int:
        return len(self.codebook_sizes)

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return rates.frame_rate(self.sample_rate, self.hop_length)

    @property
    def frame_bits(self) -> int:
        """Bits of one frame of all channels."""
        return rates.frame_bits(self.codebook_sizes, self.channels)

    @property
    def bitrate(self) -> float:
        """Bits per second of the codes of all channels."""
        return rates.bitrate(self.sample_rate, self.hop_length, self.codebook_sizes, self.channels)

    def num_frames(self, num_samples: int) -> int:
        """Frames of audio of ``num_samples`` samples at the original rate."""
        return -(-self.codec_samples(num_samples) // self.hop_length)

    def num_samples(self, num_frames: int) -> int:
        """The most samples at the original rate that ``num_frames`` frames hold."""
        return num_frames * self.hop_length * self.original_sample_rate // self.sample_rate

    def fit_samples(self, num_samples: int, num_frames: int) -> int:
        """The number of samples nearest to ``num_samples`` whose frames are ``num_frames``."""
        least = self.num_samples(num_frames - 1) + 1 if num_frames else 0
        return min(max(num_samples, least), self.num_samples(num_frames))

    def codec_samples(self, num_samples: int) -> int:
        """Samples at the model's rate of audio of ``num_samples`` samples at the original rate."""
        return -(-num_samples * self.sample_rate // self.original_sample_rate)

    def to_bytes(self) -> bytes:
        """The header as it is written in the file."""
        runs = [(len(list(same)), size) for size, same in itertools.groupby(self.codebook_sizes)]
        name = self.model.encode()
        fields = FIELDS.pack(
            bytes.fromhex(self.fingerprint),
            self.sample_rate,
            self.hop_length,
            self.original_sample_rate,
            self.channels,
            self.block_frames,
        )
        fields += bytes([len(runs)]) + b"".join(RUN.pack(*run) for run in runs)
        fields += bytes([len(name)]) + name
        version = 1
        if self.coding != FIXED:
            version, coding = 2, self.coding.encode()
            fields += bytes([len(coding)]) + coding + bytes.fromhex(self.context or NO_CONTEXT)
        head = START.pack(MAGIC, version, len(fields)) + fields
        return head + CRC.pack(zlib.crc32(head))

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "header") -> TokenHeader:
        """The header that :meth:`to_bytes` made; bytes that follow it are passed over.

        Raises:
            CodecError: other bytes. The message calls them ``name``.
        """
        return read_header(io.BytesIO(data).read, Path(name))


def held_codebooks(header: TokenHeader, num_codebooks: int | None, path: Path) -> int:
    """``num_codebooks``, or for ``None`` all that the file called ``path`` holds.

    Raises:
        CodecError: more than it holds, or less than 1.
    """
    if num_codebooks is None:
        return header.num_codebooks
    if not 1 <= num_codebooks <= header.num_codebooks:
        raise CodecError(
            f"{path}: holds {header.num_codebooks} codebooks; {num_codebooks} asked for"
        )
    return num_codebooks


def read_header(read: Callable[[int], bytes], path: Path) -> TokenHeader:
    """The header at the beginning of a file.

    Args:
        read: returns the next n bytes of the file, fewer at its end.
        path: the file's name, for messages.

    Raises:
        CodecError: empty, not a token file, of a newer version, cut short or damaged.
    """
    start = read(START.size)
    if not start:
        raise CodecError(f"{path}: is empty (0 bytes), not a {SUFFIX} file")
    if not start.startswith(MAGIC):
        raise CodecError(f"{path}: not a {SUFFIX} file")
    cut = CodecError(f"{path}: cut short inside its header; nothing can be read")
    if len(start) < START.size:
        raise cut
    _, version, length = START.unpack(start)
    if version > VERSION:
        raise CodecError(
            f"{path}: has format version {version}, newer than the {VERSION} that this program "
            "reads; update audiocodec"
        )
    fields, crc = read(length), read(CRC.size)
    if len(fields) < length or len(crc) < CRC.size:
        raise cut
    damaged = CodecError(f"{path}: its header is damaged; get the file again")
    if zlib.crc32(start + fields) != CRC.unpack(crc)[0] or version < 1:
        raise damaged
    try:
        return _read_fields(fields, version)
    except (struct.error, IndexError, UnicodeDecodeError, CodecError):
        raise damaged from None


def _read_fields(fields: bytes, version: int) -> TokenHeader:
    """The header with these fields: all bytes but magic, version, length and CRC."""
    fingerprint, sample_rate, hop_length, original_sample_rate, channels, block_frames = (
        FIELDS.unpack_from(fields)
    )
    at = FIELDS.size
    sizes: list[int] = []
    runs, at = fields[at], at + 1
    for _ in range(runs):
        count, size = RUN.unpack_from(fields, at)
        sizes += [size] * count
        at += RUN.size
    name, at = fields[at + 1 : at + 1 + fields[at]].decode(), at + 1 + fields[at]
    coding, context = FIXED, NO_CONTEXT
    if version > 1:
        coding, at = fields[at + 1 : at + 1 + fields[at]].decode(), at + 1 + fields[at]
        context = struct.unpack_from("<8s", fields, at)[0].hex()
    return TokenHeader(
        model=name,
        fingerprint=fingerprint.hex(),
        sample_rate=sample_rate,
        hop_length=hop_length,
        original_sample_rate=original_sample_rate,
        channels=channels,
        codebook_sizes=tuple(sizes),
        block_frames=block_frames,
        coding=coding,
        context="" if context == NO_CONTEXT else context,
    )


def _is_fingerprint(text: str) -> bool:
    return len(text) == 16 and not set(text) - set("0123456789abcdef")
