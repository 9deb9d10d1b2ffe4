"""Token files with context coding: the same codes, fewer bytes, nothing lost, nothing believed."""

from __future__ import annotations

import io
import itertools
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np
import pytest
from contexts import random_context
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocodec import CodecError
from audiocodec.tokens import BlockReader, TokenFile, TokenHeader, TokenWriter
from audiocodec.tokens.context import ContextModel
from audiocodec.tokens.context.ans import SymbolDecoder, encode_symbols
from audiocodec.tokens.context.coding import ContextCoding
from audiocodec.tokens.packing import Codes

SIZES = (4, 7, 1000)
CONTEXT = random_context(SIZES)
HEADER = TokenHeader(
    model="m",
    fingerprint="00112233445566ff",
    sample_rate=16000,
    hop_length=320,
    original_sample_rate=16000,
    channels=1,
    codebook_sizes=SIZES,
    block_frames=5,
    coding="context",
    context=CONTEXT.fingerprint,
)


def draw_codes(
    frames: int, sizes: tuple[int, ...] = SIZES, channels: int = 1, seed: int = 0
) -> Codes:
    limits = np.array(sizes)[None, :, None]
    return np.random.default_rng(seed).integers(0, limits, (channels, len(sizes), frames))


def written(header: TokenHeader, codes: Codes, context: object = CONTEXT) -> bytes:
    memory = io.BytesIO()
    with TokenWriter(memory, header, context=context) as writer:  # type: ignore[arg-type]
        writer.write(codes)
        writer.finish(header.num_samples(codes.shape[2]))
    return memory.getvalue()


CODES = draw_codes(12)
DATA = written(HEADER, CODES)
GOLDEN = bytes.fromhex(
    """
    89544f4b02370000112233445566ff803e00004001803e0000010005030104000000010700000001
    e8030000016d07636f6e74657874c1b541d279969c7f24bd5514050e02047057fe5d5a92223b02fa
    adc28959c21d050e8c2352990852001601d3eff230b474d6d24d02055e81e6caa1eb28d41b00000f
    00000000000047644110
    """
)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([1, 2, 3, 17, 64, 300]), min_size=1, max_size=5),
    channels=st.integers(1, 3),
    frames=st.integers(0, 23),
    block_frames=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_any_codes_come_back(
    sizes: list[int], channels: int, frames: int, block_frames: int, seed: int
) -> None:
    """Any shape, number of codebooks (of a model that has two more) and block length."""
    held = tuple(sizes)
    context = random_context((*held, 5, 9), seed)
    header = replace(
        HEADER,
        codebook_sizes=held,
        channels=channels,
        block_frames=block_frames,
        context=context.fingerprint,
    )
    codes = draw_codes(frames, held, channels, seed)
    data = written(header, codes, context)
    with TokenFile(io.BytesIO(data), context) as tokens:
        assert tokens.header == header
        np.testing.assert_array_equal(tokens.read(), codes)
        tokens.verify()
        assert 0 <= tokens.payload_bytes < tokens.num_bytes
    with BlockReader(io.BytesIO(data), context=context) as stream:
        pieces = [codes[:, :, :0], *stream.pieces()]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=2), codes)


def test_likely_codes_take_fewer_bytes() -> None:
    """The size is what the model says: the bits of all codes, and up to four bytes a block."""
    likely = np.zeros((1, 3, 200), np.int64)
    predictor = CONTEXT.predictor(1, 3)
    for frame in range(200):
        if frame % 100 == 0:
            predictor = CONTEXT.predictor(1, 3)
        for stage in range(3):
            likely[0, stage, frame] = predictor.frequencies(stage)[0].argmax()
            predictor.put(stage, likely[:, stage, frame])
    header = replace(HEADER, block_frames=100)
    _, frequencies = CONTEXT.intervals(likely.reshape(1, 3, 2, 100).swapaxes(0, 2)[:, :, 0])
    bits = (CONTEXT.precision - np.log2(frequencies)).sum()
    with TokenFile(io.BytesIO(written(header, likely)), CONTEXT) as tokens:
        assert bits / 8 <= tokens.payload_bytes <= bits / 8 + 2 * 4
    fixed = replace(header, coding="fixed", context="")
    assert len(written(header, likely)) < 0.8 * len(written(fixed, likely))


def test_golden_bytes() -> None:
    """What was written once is read for ever."""
    assert DATA == GOLDEN, "the format, the arithmetic or the entropy coder has changed"
    with TokenFile(io.BytesIO(GOLDEN), CONTEXT) as tokens:
        np.testing.assert_array_equal(tokens.read(), CODES)


def test_every_flipped_bit_is_found_or_harmless() -> None:
    for place in range(8 * len(DATA)):
        changed = bytearray(DATA)
        changed[place // 8] ^= 1 << place % 8
        try:
            with TokenFile(io.BytesIO(bytes(changed)), CONTEXT) as tokens:
                tokens.verify()
                found, truncated = tokens.read(), tokens.truncated
        except CodecError:
            continue
        # A damaged trailer: the rest is read as of a file that was cut short.
        assert truncated
        np.testing.assert_array_equal(found, CODES[:, :, : found.shape[2]])


@pytest.mark.parametrize("coding", ["fixed", "context"])
def test_every_flipped_bit_of_a_stream_is_found_or_harmless(coding: str) -> None:
    """Codes that come out before the damage is met are right, however many blocks have arrived."""
    fixed = replace(HEADER, coding="fixed", context="")
    data = DATA if coding == "context" else written(fixed, CODES)
    for place in range(8 * len(data)):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        found, stream = [CODES[:, :, :0]], None
        try:
            stream = BlockReader(io.BytesIO(bytes(changed)), context=CONTEXT)
            found.extend(stream.pieces())
        except CodecError:
            pass
        else:
            assert stream.truncated
        codes = np.concatenate(found, axis=2)
        np.testing.assert_array_equal(codes, CODES[:, :, : codes.shape[2]])


def test_a_cut_file_is_read_up_to_the_cut() -> None:
    start = len(HEADER.to_bytes())
    frames = []
    for end in range(start, len(DATA)):
        with TokenFile(io.BytesIO(DATA[:end]), CONTEXT) as tokens:
            found = tokens.read()
            assert tokens.truncated
        np.testing.assert_array_equal(found, CODES[:, :, : found.shape[2]])
        with BlockReader(io.BytesIO(DATA[:end]), context=CONTEXT) as stream:
            pieces = [CODES[:, :, :0], *stream.pieces()]
        np.testing.assert_array_equal(np.concatenate(pieces, axis=2), found)
        frames.append(found.shape[2])
    # Bytes of a block that are as many as a trailer are taken for a damaged one.
    assert sum(after < before for before, after in itertools.pairwise(frames)) <= 3
    assert frames[0] == 0 and frames[-1] == CODES.shape[2] and len(set(frames)) > 8
    for end in range(start):
        with pytest.raises(CodecError):
            TokenFile(io.BytesIO(DATA[:end]), CONTEXT)


def watch_unpack(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of blocks that are decoded together."""
    seen: list[int] = []
    unpack = ContextCoding.unpack

    def watched(self: ContextCoding, blocks: Sequence[tuple[bytes, int]]) -> list[Codes]:
        seen.append(len(blocks))
        return unpack(self, blocks)

    monkeypatch.setattr(ContextCoding, "unpack", watched)
    return seen


def test_a_pipe_decodes_together_what_has_arrived_and_waits_for_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = watch_unpack(monkeypatch)
    codes = draw_codes(65)
    reading, writing = os.pipe()
    source, target = os.fdopen(reading, "rb"), os.fdopen(writing, "wb", buffering=0)
    with source, target, TokenWriter(target, HEADER, context=CONTEXT) as writer:
        pieces = BlockReader(source, context=CONTEXT).pieces()
        for start, stop in ((0, 5), (5, 10), (10, 25), (25, 30)):
            writer.write(codes[:, :, start:stop])
            found = np.concatenate([next(pieces) for _ in range(start, stop, 5)], axis=2)
            np.testing.assert_array_equal(found, codes[:, :, start:stop])
        assert seen == [1, 1, 3, 1]
        writer.write(codes[:, :, 30:])
        writer.finish(65 * 320)
        np.testing.assert_array_equal(np.concatenate([*pieces], axis=2), codes[:, :, 30:])
    assert seen == [1, 1, 3, 1, 7]


@pytest.mark.parametrize("opened", [io.BytesIO, lambda data: io.BufferedReader(io.BytesIO(data))])
def test_blocks_before_a_damaged_one_come_out_of_a_stream(
    monkeypatch: pytest.MonkeyPatch, opened: Callable[[bytes], BinaryIO]
) -> None:
    seen = watch_unpack(monkeypatch)
    codes = draw_codes(60)
    data = written(HEADER, codes)
    place = len(written(HEADER, codes[:, :, :50])) - 13 + 3  # in the eleventh block
    pieces = BlockReader(opened(data[:place] + b"x" + data[place + 1 :]), context=CONTEXT).pieces()
    found = [next(pieces) for _ in range(10)]
    np.testing.assert_array_equal(np.concatenate(found, axis=2), codes[:, :, :50])
    with pytest.raises(CodecError, match=r"block 10\)"):
        next(pieces)
    assert seen == [1, 2, 4, 3]


def test_a_long_block_that_is_cut_keeps_its_first_frames() -> None:
    codes = draw_codes(200)
    data = written(replace(HEADER, block_frames=250), codes)
    with TokenFile(io.BytesIO(data[: len(data) // 2]), CONTEXT) as tokens:
        found = tokens.read()
    assert 70 < found.shape[2] < 110
    np.testing.assert_array_equal(found, codes[:, :, : found.shape[2]])


def test_reading_some_frames_reads_their_block_alone() -> None:
    class Counting(io.BytesIO):
        places: ClassVar[set[int]] = set()

        def read(self, size: int | None = -1, /) -> bytes:
            start = self.tell()
            data = super().read(size)
            self.places.update(range(start, start + len(data)))
            return data

    codes = draw_codes(400)
    data = written(replace(HEADER, block_frames=100), codes)
    stream = Counting(data)
    with TokenFile(stream, CONTEXT) as tokens:
        Counting.places = set()
        np.testing.assert_array_equal(tokens.read(50, 100), codes[:, :, 50:100])
        first = len(Counting.places)
        Counting.places = set()
        np.testing.assert_array_equal(tokens.read(350, 360), codes[:, :, 350:360])
        last = len(Counting.places)
    assert first < len(data) / 3 and last < len(data) / 3


def damaged_block(payload: bytes, header: TokenHeader = HEADER) -> bytes:
    """A file of one block of 5 frames with this payload and right CRCs."""
    block = bytes([5]) + payload
    trailer = b"\0" + struct.pack("<Q", 5 * 320)
    crcs = [struct.pack("<I", zlib.crc32(part)) for part in (b"\0\0\0\0" + block, trailer)]
    return header.to_bytes() + block + crcs[0] + trailer + crcs[1]


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=40))
def test_hostile_bytes_with_a_right_crc_give_codes_or_an_error(data: bytes) -> None:
    for payload in (data, bytes([len(data)]) + data):
        try:
            with TokenFile(io.BytesIO(damaged_block(payload)), CONTEXT) as tokens:
                found = tokens.read()
        except CodecError:
            continue
        assert found.shape[:2] == (1, 3) and (found < np.array(SIZES)[:, None]).all()


def test_a_block_that_lost_its_crc_alone_keeps_all_frames() -> None:
    data = written(HEADER, CODES[:, :, :5])
    with TokenFile(io.BytesIO(data[:-17]), CONTEXT) as tokens:  # trailer 13, CRC 4
        np.testing.assert_array_equal(tokens.read(), CODES[:, :, :5])


def test_opening_a_cut_file_decodes_only_the_block_with_the_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded: list[int] = []
    decode = ContextCoding._decode

    def count(self: ContextCoding, blocks: Sequence[tuple[bytes, int]]) -> object:
        decoded.append(len(blocks))
        return decode(self, blocks)

    monkeypatch.setattr(ContextCoding, "_decode", count)
    data = written(HEADER, draw_codes(45))
    with TokenFile(io.BytesIO(data[:-20]), CONTEXT) as tokens:
        assert sum(decoded) == 1 and 40 <= tokens.num_frames <= 45


def test_rows_that_are_decoded_side_by_side_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    predictor = ContextModel.predictor

    def count(self: ContextModel, number: int, num_codebooks: int) -> object:
        rows.append(number)
        return predictor(self, number, num_codebooks)

    header, codes = replace(HEADER, channels=60, block_frames=1), draw_codes(9, channels=60)
    data = written(header, codes)
    monkeypatch.setattr(ContextModel, "predictor", count)
    with TokenFile(io.BytesIO(data), CONTEXT) as tokens:
        np.testing.assert_array_equal(tokens.read(), codes)
    assert rows == [240, 240, 60]
    many = replace(HEADER, channels=65)
    with pytest.raises(
        CodecError, match="65 channels; context coding takes up to 64: use --coding fixed"
    ):
        TokenFile(io.BytesIO(many.to_bytes()), CONTEXT)


def test_255_codebooks() -> None:
    sizes = (3,) * 255
    context = random_context(sizes)
    codes = draw_codes(4, sizes)
    header = replace(HEADER, codebook_sizes=sizes, context=context.fingerprint)
    with TokenFile(io.BytesIO(written(header, codes, context)), context) as tokens:
        np.testing.assert_array_equal(tokens.read(), codes)


def test_a_length_that_no_block_has_is_refused_before_it_is_read() -> None:
    with (
        TokenFile(io.BytesIO(damaged_block(b"\xff\xff\xff\x7f" + b"x" * 30)), CONTEXT) as tokens,
        pytest.raises(CodecError, match="damaged at"),
    ):
        tokens.read()


def test_the_context_model_must_be_the_one_that_coded() -> None:
    other = random_context(SIZES, seed=1)
    for context in (None, other):
        with TokenFile(io.BytesIO(DATA), context) as tokens:
            assert tokens.num_frames == 12  # what the header says needs no context model
            with pytest.raises(CodecError, match=f"context model {CONTEXT.fingerprint} of model m"):
                tokens.read()
    with pytest.raises(CodecError, match="is not one for codebooks"):
        written(replace(HEADER, codebook_sizes=(4, 7, 900)), draw_codes(3, (4, 7, 900)))


def test_an_unknown_coding_is_named() -> None:
    header = replace(HEADER, coding="magic", context="")
    with pytest.raises(CodecError, match="coding `magic`, which this program does not know"):
        TokenFile(io.BytesIO(header.to_bytes()))


def test_codes_outside_their_codebooks_are_refused() -> None:
    with pytest.raises(CodecError, match="outside their codebooks"):
        written(HEADER, np.full((1, 3, 2), 5))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**20), count=st.integers(0, 200))
def test_symbols_take_the_bits_that_their_frequencies_say(seed: int, count: int) -> None:
    draw = np.random.default_rng(seed)
    frequencies = np.minimum(draw.geometric(0.001, count), 2**16)
    starts = draw.integers(0, 2**16 - frequencies + 1)
    data = encode_symbols(starts, frequencies, 16)
    bits = (16 - np.log2(frequencies)).sum()
    assert bits / 8 - 0.1 * count <= len(data) <= 1.001 * bits / 8 + 4
    decoder = SymbolDecoder(data, 16)
    for start, frequency in zip(starts.tolist(), frequencies.tolist(), strict=True):
        peeked = decoder.peek()
        assert start <= peeked < start + frequency
        decoder.take(peeked, start, frequency)
    assert decoder.empty


def test_reading_context_coded_files_imports_no_torch(tmp_path: Path) -> None:
    (tmp_path / "a.tok").write_bytes(DATA)
    CONTEXT.save(tmp_path / "context.safetensors")
    script = (
        "import sys; from audiocodec.tokens import TokenFile; "
        "from audiocodec.tokens.context import ContextModel; "
        f"context = ContextModel.load({str(tmp_path)!r}); "
        f"tokens = TokenFile({str(tmp_path / 'a.tok')!r}, context); "
        "print(tokens.read().sum(), 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.split() == [str(CODES.sum()), "False"], result.stderr
