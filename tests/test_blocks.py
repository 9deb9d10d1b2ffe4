"""A file, a buffer in memory and a pipe are read by one reader, with the same results."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from audiocodec import CodecError
from audiocodec.runtime import RuntimeCodec
from audiocodec.tokens import (
    BlockReader,
    TokenFile,
    TokenHeader,
    TokenSource,
    TokenWriter,
    coding,
    open_tokens,
    token_header,
)
from audiocodec.tokens.blocks import TRAILER
from audiocodec.tokens.context import ContextModel
from audiocodec.tokens.packing import Codes

HEADER = TokenHeader("m", "00112233445566ff", 16000, 320, 8000, 1, (4, 4, 1000), block_frames=5)
FRAMES = 11
CODES = np.random.default_rng(0).integers(0, [[[4], [4], [1000]]], (1, 3, FRAMES))


def written(header: TokenHeader = HEADER, codes: Codes = CODES, missing: int = 5) -> bytes:
    """A token file whose last frame lacks ``missing`` samples."""
    memory = io.BytesIO()
    with TokenWriter(memory, header) as writer:
        writer.write(codes)
        writer.finish(header.num_samples(codes.shape[2]) - missing)
    return memory.getvalue()


Opener = Callable[[bytes, Path], AbstractContextManager[TokenSource]]


def from_path(data: bytes, folder: Path) -> AbstractContextManager[TokenSource]:
    (folder / "a.tok").write_bytes(data)
    return open_tokens(folder / "a.tok")


def from_memory(data: bytes, folder: Path) -> AbstractContextManager[TokenSource]:
    return TokenFile(io.BytesIO(data))


def in_order(data: bytes, folder: Path) -> AbstractContextManager[TokenSource]:
    return open_tokens(io.BytesIO(data))


@contextmanager
def from_pipe(data: bytes, folder: Path) -> Iterator[TokenSource]:
    """Through a pipe of the operating system, whose buffer holds all of ``data``."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source:
        with os.fdopen(writing, "wb") as target:
            target.write(data)
        yield open_tokens(source)


SOURCES: list[Opener] = [from_path, from_memory, in_order, from_pipe]


class Once(io.RawIOBase):
    """A stream that cannot seek and returns one byte at a time, as a slow pipe may."""

    def __init__(self, data: bytes) -> None:
        self._left = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer: Any) -> int:
        return self._left.readinto(memoryview(buffer)[:1])


@dataclass
class Outcome:
    """What a source reports of its tokens."""

    codes: list[list[int]]
    num_frames: int = 0
    num_samples: int = 0
    truncated: bool = False
    error: str = ""


def outcome(opener: Opener, data: bytes, folder: Path) -> Outcome:
    """The codes read in order until the end or an error."""
    found = Outcome([])
    try:
        with opener(data, folder) as tokens:
            # A file gives pieces of one block too, so that as much is read before an error.
            pieces = tokens.pieces(frames=5) if isinstance(tokens, TokenFile) else tokens.pieces()
            for codes in pieces:
                found.codes += codes[0].T.tolist()
            found.num_frames, found.num_samples = tokens.num_frames, tokens.num_samples
            found.truncated = tokens.truncated
    except CodecError as error:
        name, _, found.error = str(error).partition(": ")
        assert name in ("stdin", "<BytesIO>", str(folder / "a.tok"))
    return found


@pytest.mark.parametrize("opener", SOURCES)
@pytest.mark.parametrize("frames", [0, 1, 5, 10, 11])
def test_every_source_reads_what_was_written(tmp_path: Path, opener: Opener, frames: int) -> None:
    codes = CODES[:, :, :frames]
    data = written(codes=codes, missing=5 if frames else 0)
    with opener(data, tmp_path) as tokens:
        assert tokens.header == HEADER
        pieces = list(tokens.pieces(2))
        assert (tokens.num_frames, tokens.truncated) == (frames, False)
        assert tokens.total_samples == tokens.num_samples == max(0, 160 * frames - 5)
        assert tokens.seconds == tokens.num_samples / 8000
        assert tokens.num_bytes == len(data)
    np.testing.assert_array_equal(np.concatenate([codes[:, :2, :0], *pieces], 2), codes[:, :2])


def test_every_source_ends_at_the_same_frame_wherever_the_file_is_cut(tmp_path: Path) -> None:
    data = written()
    header_bytes = len(HEADER.to_bytes())
    frames = []
    for size in range(len(data)):
        first, *others = (outcome(opener, data[:size], tmp_path) for opener in SOURCES)
        assert others == [first] * 3, f"cut at byte {size}"
        if size < header_bytes:
            assert "empty" in first.error or "cut short" in first.error or "not a" in first.error
            continue
        assert (first.error, first.truncated) == ("", True)
        assert first.codes == CODES[0].T.tolist()[: first.num_frames]
        assert first.num_samples == 160 * first.num_frames
        frames.append(first.num_frames)
    # Blocks of 14 bytes with frames of 14 bits: each whole frame is read, unless what is left of
    # the block is as long as a trailer.
    assert frames[:14] == [0, 0, 0, 1, 1, 2, 2, 3, 4, 4, 5, 5, 5, 0]
    assert frames[14] == 5
    assert frames[-TRAILER.size :] == [FRAMES] * TRAILER.size


@pytest.mark.parametrize("flip", [0x01, 0x10, 0x80, 0xFF])
def test_every_source_finds_damage_in_any_byte(tmp_path: Path, flip: int) -> None:
    data = written()
    codes = CODES[0].T.tolist()
    trailer_at = len(data) - TRAILER.size
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= flip
        path, memory, stream, pipe = (outcome(each, bytes(damaged), tmp_path) for each in SOURCES)
        assert (path, stream) == (memory, pipe), f"byte {place}"
        for found in (path, stream):
            assert found.error or found.truncated, f"byte {place}"
        assert path.codes == codes[: len(path.codes)], f"byte {place}"
        if place < trailer_at:
            assert path.error, f"byte {place}"
        else:  # a file can still be read; its exact length is lost
            assert (path.codes, path.num_samples, path.error) == (codes, 160 * FRAMES, "")
        if stream.error.startswith("damaged") and path.error:
            assert stream == path, f"byte {place}"


def test_a_damaged_block_of_a_cut_file_ends_what_can_be_read(tmp_path: Path) -> None:
    data = bytearray(written()[:-1])
    data[len(HEADER.to_bytes()) + 14 + 3] ^= 1
    found = outcome(from_path, bytes(data), tmp_path)
    assert (found.codes, found.truncated) == (CODES[0].T.tolist()[:5], True)
    found = outcome(in_order, bytes(data), tmp_path)
    assert found.error == "damaged at 0.1 s (block 1); get the file again"
    assert found.codes == CODES[0].T.tolist()[:5]


def test_a_stream_is_read_from_its_position_and_not_beyond_its_trailer() -> None:
    data = written()
    stream = io.BytesIO(b"before" + data + data + b"after")
    stream.seek(6)
    for end in (6 + len(data), 6 + 2 * len(data)):
        with open_tokens(stream) as tokens:
            assert np.concatenate(list(tokens.pieces()), 2).tolist() == CODES.tolist()
            assert tokens.num_samples == 160 * FRAMES - 5
        assert stream.tell() == end


def test_a_slow_pipe_without_a_buffer_is_read() -> None:
    stream: Any = Once(written())
    with BlockReader(stream) as tokens:
        assert np.concatenate(list(tokens.pieces()), 2).tolist() == CODES.tolist()
        assert not tokens.truncated


def test_a_block_comes_out_before_the_next_one_goes_in() -> None:
    reading, writing = os.pipe()
    source, target = os.fdopen(reading, "rb"), os.fdopen(writing, "wb", buffering=0)
    with source, target, TokenWriter(target, HEADER) as writer:
        tokens = BlockReader(source)
        pieces = tokens.pieces()
        for start in (0, 5):
            writer.write(CODES[:, :, start : start + 5])
            assert next(pieces).tolist() == CODES[:, :, start : start + 5].tolist()
            assert (tokens.num_frames, tokens.total_samples) == (start + 5, None)
        writer.finish(10 * 160)
        assert list(pieces) == []
        assert tokens.total_samples == 10 * 160


def test_a_file_read_in_any_order_holds_one_block_in_memory(tmp_path: Path) -> None:
    class Counting(io.BytesIO):
        most = 0

        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None and size >= 0
            self.most = max(self.most, size)
            return super().read(size)

    stream = Counting(written())
    with TokenFile(stream) as tokens:
        assert tokens.read(9, 10).tolist() == CODES[:, :, 9:10].tolist()
        assert tokens.read(0, 1).tolist() == CODES[:, :, :1].tolist()
        tokens.verify()
    assert stream.most < len(HEADER.to_bytes())


def test_a_header_of_a_codec_states_the_bitrate_of_the_codec(codec: RuntimeCodec) -> None:
    with pytest.raises(CodecError, match="needs its model's fingerprint"):
        token_header(codec)
    header = token_header(codec, 2, fingerprint="0" * 16)
    assert header.bitrate == codec.bitrate(2)
    assert header.frame_rate == codec.frame_rate
    assert header.original_sample_rate == codec.sample_rate
    stereo = token_header(codec, None, 44100, channels=2, fingerprint="0" * 16)
    assert stereo.bitrate == 2 * codec.bitrate()
    assert stereo.num_samples(stereo.num_frames(44100)) >= 44100


class BytesCoding:
    """A toy: each code is one byte, after the length of the block in two bytes."""

    rows_at_once, constant_length, context = 2, False, None

    def __init__(self, header: TokenHeader, context: ContextModel | None = None) -> None:
        self.shape = header.channels, header.num_codebooks

    def pack(self, codes: Codes) -> bytes:
        data = codes.astype(np.uint8).tobytes()
        return len(data).to_bytes(2, "little") + data

    def unpack(self, blocks: Sequence[tuple[bytes, int]]) -> list[Codes]:
        return [
            np.frombuffer(data[2:], np.uint8).reshape(*self.shape, frames).astype(np.int64)
            for data, frames in blocks
        ]

    def read_length(self, read: Callable[[int], bytes], frames: int) -> tuple[bytes, int]:
        start = read(2)
        return start, int.from_bytes(start, "little")

    def salvage(self, data: bytes, frames: int) -> Codes:
        return np.zeros((*self.shape, 0), np.int64)


def test_a_coding_is_one_class_and_one_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(coding.CODINGS, "bytes", BytesCoding)
    codes = CODES % 4
    data = written(replace(HEADER, coding="bytes"), codes)
    stream: BinaryIO = io.BytesIO(data)
    assert np.concatenate(list(BlockReader(stream).pieces()), 2).tolist() == codes.tolist()
    with TokenFile(io.BytesIO(data)) as tokens:
        assert tokens.read(5, 9).tolist() == codes[:, :, 5:9].tolist()
    with TokenFile(io.BytesIO(data[:-20])) as tokens:
        assert (tokens.truncated, tokens.read().tolist()) == (True, codes[:, :, :10].tolist())


def test_blocks_of_any_length_hold_the_same_codes() -> None:
    for block_frames in (1, 3, 11, 255):
        data = written(replace(HEADER, block_frames=block_frames))
        with TokenFile(io.BytesIO(data)) as tokens:
            assert tokens.read().tolist() == CODES.tolist()
