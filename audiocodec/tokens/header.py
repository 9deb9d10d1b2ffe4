"""The header of a `.tok` file: what it says, and its bytes. `tokenfile.py` tells the format."""

from __future__ import annotations

import itertools
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from audiocodec.errors import CodecError
from audiocodec.tokens.packing import bits_per_code

SUFFIX = ".tok"
MAGIC = b"\x89TOK"
VERSION = 1
START = struct.Struct("<4sBH")
FIELDS = struct.Struct("<8sIHIHB")
RUN = struct.Struct("<BI")
CRC = struct.Struct("<I")
BLOCK_SECONDS = 3


@dataclass(frozen=True)
class TokenHeader:
    """What a token file says of its codes. ``codebook_sizes`` are those in the file, in order.

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
    """0 stands for three seconds, at most 255 frames."""

    def __post_init__(self) -> None:
        if not self.block_frames and self.hop_length:
            frames = round(BLOCK_SECONDS * self.sample_rate / self.hop_length)
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
        ):
            if not 1 <= value <= highest:
                raise CodecError(f"a {SUFFIX} file holds {name} of 1 to {highest}, not {value}")
        if len(self.fingerprint) != 16 or set(self.fingerprint) - set("0123456789abcdef"):
            raise CodecError(
                f"a {SUFFIX} file needs its model's fingerprint, 16 hex digits, not "
                f"`{self.fingerprint}`; save the model and load it to give it one"
            )

    @property
    def num_codebooks(self) -> int:
        return len(self.codebook_sizes)

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_length

    @property
    def frame_bits(self) -> int:
        """Bits that one frame of all channels takes."""
        return self.channels * sum(bits_per_code(self.codebook_sizes))

    @property
    def bitrate(self) -> float:
        """Bits per second that the codes of all channels take."""
        return self.frame_bits * self.frame_rate

    def num_frames(self, num_samples: int) -> int:
        """Frames of audio of ``num_samples`` samples at the original rate."""
        return -(-self.codec_samples(num_samples) // self.hop_length)

    def codec_samples(self, num_samples: int) -> int:
        """Samples of the same audio at the model's rate."""
        return -(-num_samples * self.sample_rate // self.original_sample_rate)

    def block_bytes(self, frames: int) -> int:
        """Bytes of a block: frame count, codes and CRC."""
        return 1 + -(-frames * self.frame_bits // 8) + CRC.size

    def to_bytes(self) -> bytes:
        """The header as it stands in the file."""
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
        head = START.pack(MAGIC, VERSION, len(fields)) + fields
        return head + CRC.pack(zlib.crc32(head))


def read_header(file: BinaryIO, path: Path) -> TokenHeader:
    """The header that ``file``, called ``path``, begins with.

    Raises:
        CodecError: empty, not a token file, of a newer version, cut short or damaged.
    """
    start = file.read(START.size)
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
    fields, crc = file.read(length), file.read(CRC.size)
    if len(fields) < length or len(crc) < CRC.size:
        raise cut
    damaged = CodecError(f"{path}: its header is damaged; get the file again")
    if zlib.crc32(start + fields) != CRC.unpack(crc)[0] or version < 1:
        raise damaged
    try:
        return read_fields(fields)
    except (struct.error, IndexError, UnicodeDecodeError, CodecError):
        raise damaged from None


def read_fields(fields: bytes) -> TokenHeader:
    """The header whose fields (all but magic, version, length and CRC) are these bytes."""
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
    name = fields[at + 1 : at + 1 + fields[at]].decode()
    return TokenHeader(
        model=name,
        fingerprint=fingerprint.hex(),
        sample_rate=sample_rate,
        hop_length=hop_length,
        original_sample_rate=original_sample_rate,
        channels=channels,
        codebook_sizes=tuple(sizes),
        block_frames=block_frames,
    )
