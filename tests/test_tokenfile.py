"""The .tok format: its bytes, its checks, and what is left of a damaged file."""

from __future__ import annotations

import itertools
import os
import resource
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiocodec.errors import CodecError
from audiocodec.tokens import TokenFile, TokenHeader, TokenWriter
from audiocodec.tokens.blocks import BLOCK_OVERHEAD

HEADER = TokenHeader(
    model="m",
    fingerprint="00112233445566ff",
    sample_rate=16000,
    hop_length=320,
    original_sample_rate=8000,
    channels=1,
    codebook_sizes=(4, 4, 1000),
    block_frames=2,
)

# Written by hand from the specification; the CRCs by zip's own function.
GOLDEN = [
    bytes.fromhex("89544f4b 01 2200 00112233445566ff 803e0000 4001 401f0000 0100 02"),
    bytes.fromhex("02 02 04000000 01 e8030000 01 6d"),
    # frames (1, 2, 3) and (3, 0, 999): 01 10 0000000011, 11 00 1111100111, then four zero bits
    bytes.fromhex("02 600f3e70"),
    # frame (0, 1, 512): 00 01 1000000000, then two zero bits
    bytes.fromhex("01 1800"),
    bytes.fromhex("00 e001000000000000"),
]
GOLDEN_CODES = np.array([[[1, 3, 0], [2, 0, 1], [3, 999, 512]]])
GOLDEN_SAMPLES = 480  # at 8 kHz; 960 at 16 kHz, three frames of 320


def block_bytes(header: TokenHeader, frames: int) -> int:
    """Bytes of a block of fixed coding."""
    return -(-frames * header.frame_bits // 8) + BLOCK_OVERHEAD


def crc(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")


def golden_file() -> bytes:
    start, fields, first, second, trailer = GOLDEN
    return b"".join(
        [
            start + fields + crc(start + fields),
            first + crc(b"\0\0\0\0" + first),
            second + crc(b"\1\0\0\0" + second),
            trailer + crc(trailer),
        ]
    )


def random_codes(header: TokenHeader, frames: int, seed: int = 0) -> np.ndarray:
    """int64 [C, K, F]"""
    random = np.random.default_rng(seed)
    sizes = np.array(header.codebook_sizes)[None, :, None]
    return random.integers(0, sizes, (header.channels, header.num_codebooks, frames))


def write(path: Path, header: TokenHeader, codes: np.ndarray, num_samples: int) -> Path:
    with TokenWriter(path, header) as writer:
        writer.write(codes)
        writer.finish(num_samples)
    return path


def samples_of(header: TokenHeader, frames: int) -> int:
    return frames * header.hop_length * header.original_sample_rate // header.sample_rate


def outcome(path: Path) -> tuple[str, np.ndarray | None]:
    """`whole`, `cut` or `refused`, and the codes of the first two."""
    try:
        with TokenFile(path) as tokens:
            return ("cut" if tokens.truncated else "whole"), tokens.read()
    except CodecError as error:
        message = str(error)
    assert str(path) in message
    assert "\n" not in message
    return "refused", None


def test_the_bytes_are_those_of_the_specification(tmp_path: Path) -> None:
    path = write(tmp_path / "golden.tok", HEADER, GOLDEN_CODES, GOLDEN_SAMPLES)
    assert path.read_bytes() == golden_file()


def test_the_golden_bytes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "golden.tok"
    path.write_bytes(golden_file())
    with TokenFile(path) as tokens:
        assert tokens.header == HEADER
        assert (tokens.num_frames, tokens.num_samples, tokens.truncated) == (3, 480, False)
        np.testing.assert_array_equal(tokens.read(), GOLDEN_CODES)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(
        st.sampled_from([1, 2, 3, 64, 1000, 1024, 65536, 262144]), min_size=1, max_size=9
    ),
    channels=st.integers(1, 3),
    block_frames=st.integers(0, 7),
    pieces=st.lists(st.integers(0, 9), max_size=5),
    rates=st.sampled_from([(16000, 320, 16000), (16000, 320, 44100), (44100, 441, 8000)]),
    missing=st.integers(0, 40),
)
def test_what_is_written_in_any_pieces_is_read(
    tmp_path: Path,
    sizes: list[int],
    channels: int,
    block_frames: int,
    pieces: list[int],
    rates: tuple[int, int, int],
    missing: int,
) -> None:
    rate, hop, original = rates
    header = TokenHeader(
        "模型", "0123456789abcdef", rate, hop, original, channels, tuple(sizes), block_frames
    )
    codes = random_codes(header, sum(pieces))
    num_samples = max(0, samples_of(header, sum(pieces)) - (missing if sum(pieces) else 0))
    edges = list(itertools.accumulate(pieces, initial=0))
    path = tmp_path / "any.tok"
    with TokenWriter(path, header) as writer:
        for start, stop in itertools.pairwise(edges):
            writer.write(codes[:, :, start:stop])
        writer.finish(num_samples)
    with TokenFile(path) as tokens:
        assert tokens.header == header
        assert tokens.num_samples == num_samples
        np.testing.assert_array_equal(tokens.read(), codes)


def test_any_frames_and_fewer_codebooks_can_be_read(tmp_path: Path) -> None:
    codes = random_codes(HEADER, 11)
    path = write(tmp_path / "a.tok", HEADER, codes, samples_of(HEADER, 11))
    with TokenFile(path) as tokens:
        for start, stop in itertools.combinations_with_replacement(range(12), 2):
            for k in (1, 2, 3):
                np.testing.assert_array_equal(tokens.read(start, stop, k), codes[:, :k, start:stop])
        for bad in ((-1, 2), (3, 2), (0, 12)):
            with pytest.raises(CodecError, match="holds frames 0 to 11"):
                tokens.read(*bad)
        for k in (0, 4):
            with pytest.raises(CodecError, match="holds 3 codebooks"):
                tokens.read(num_codebooks=k)


@pytest.mark.parametrize("seconds", [10, 10.02, 12.02, 60])
@pytest.mark.parametrize("num_codebooks", [3, 6, 12])
@pytest.mark.parametrize("channels", [1, 2])
def test_all_but_the_codes_takes_less_than_5_percent(
    tmp_path: Path, seconds: float, num_codebooks: int, channels: int
) -> None:
    header = TokenHeader(
        "speech_16khz", "0123456789abcdef", 16000, 320, 44100, channels, (1024,) * num_codebooks
    )
    codes = random_codes(header, round(50 * seconds))
    path = write(tmp_path / "a.tok", header, codes, round(44100 * seconds))
    bitrate = 500 * num_codebooks * channels
    assert header.bitrate == bitrate
    assert path.stat().st_size * 8 / seconds < 1.05 * bitrate


def test_a_flip_of_any_byte_is_found(tmp_path: Path) -> None:
    whole = golden_file()
    path = tmp_path / "flipped.tok"
    for place in range(len(whole)):
        for flip in (0x01, 0x40, 0x80, 0xFF):
            damaged = bytearray(whole)
            damaged[place] ^= flip
            path.write_bytes(damaged)
            kind, codes = outcome(path)
            assert kind != "whole", f"byte {place} ^ {flip:#x} was not found"
            if codes is not None:
                # Only the trailer may be hurt without the codes being so, and then that is said.
                assert place >= len(whole) - 13
                np.testing.assert_array_equal(codes, GOLDEN_CODES)


def test_a_file_cut_anywhere_is_read_up_to_the_cut(tmp_path: Path) -> None:
    header = replace(HEADER, block_frames=4)
    codes = random_codes(header, 11)
    whole = write(tmp_path / "whole.tok", header, codes, samples_of(header, 11)).read_bytes()
    blocks_at = len(header.to_bytes())
    for size in range(len(whole)):
        path = tmp_path / "cut.tok"
        path.write_bytes(whole[:size])
        kind, found = outcome(path)
        assert kind == ("refused" if size < blocks_at else "cut"), size
        if found is not None:
            np.testing.assert_array_equal(found, codes[:, :, : found.shape[2]])
            # 14 bits a frame, and up to 13 bytes that could be a trailer
            assert found.shape[2] >= min(11, (size - blocks_at - 13) * 8 // 14 - 3)


def test_a_cut_file_says_how_much_there_is(tmp_path: Path) -> None:
    codes = random_codes(HEADER, 100)
    path = write(tmp_path / "a.tok", HEADER, codes, samples_of(HEADER, 100))
    path.write_bytes(path.read_bytes()[:-13])
    with TokenFile(path) as tokens:
        assert tokens.truncated
        assert (tokens.num_frames, tokens.num_samples) == (100, 16000)
        tokens.verify()


@pytest.mark.parametrize("change", ["swapped", "lost", "doubled", "extra"])
def test_whole_blocks_out_of_place_are_found(tmp_path: Path, change: str) -> None:
    path = write(tmp_path / "a.tok", HEADER, random_codes(HEADER, 8), samples_of(HEADER, 8))
    data, start, size = path.read_bytes(), len(HEADER.to_bytes()), block_bytes(HEADER, 2)
    head, blocks = data[:start], [data[start + i * size : start + (i + 1) * size] for i in range(4)]
    trailer = data[-13:]
    one, two, three, four = blocks
    changed = {
        "swapped": [one, three, two, four],
        "lost": [one, two, four],
        "doubled": [one, two, two, three, four],
        "extra": [*blocks, b"\0"],
    }[change]
    path.write_bytes(head + b"".join(changed) + trailer)
    assert outcome(path)[0] == "refused"


def test_verify_names_the_time_of_the_damage(tmp_path: Path) -> None:
    header = replace(HEADER, block_frames=50)
    path = write(tmp_path / "a.tok", header, random_codes(header, 200), samples_of(header, 200))
    data = bytearray(path.read_bytes())
    data[len(header.to_bytes()) + 2 * block_bytes(header, 50) + 20] ^= 1
    path.write_bytes(data)
    with TokenFile(path) as tokens:
        tokens.read(0, 100)
        with pytest.raises(CodecError, match=r"damaged at 2\.0 s \(block 2\)"):
            tokens.verify()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"RIFF1234WAVE", "not a .tok file"),
        (b"\x89PNG\r\n", "not a .tok file"),
        (b"\x89TOK\x03\x00\x00rest", "version 3, newer than the 2"),
        (b"\x89TOK\x00\x00\x00" + crc(b"\x89TOK\x00\x00\x00"), "header is damaged"),
        (b"\x89TOK\x01\x00\x00" + crc(b"\x89TOK\x01\x00\x00"), "header is damaged"),
        (b"\x89TOK\x01\xff\xff", "cut short inside its header"),
    ],
)
def test_what_is_no_readable_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.tok"
    path.write_bytes(content)
    with pytest.raises(CodecError, match=message):
        TokenFile(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=r"none\.tok: no such file"):
        TokenFile(tmp_path / "none.tok")
    with pytest.raises(CodecError, match="is a folder"):
        TokenFile(tmp_path)


def test_header_bytes_of_a_later_minor_change_are_passed_over(tmp_path: Path) -> None:
    start, fields, *_ = GOLDEN
    whole = golden_file()
    longer = start[:5] + (len(start) - 7 + len(fields) + 3).to_bytes(2, "little") + start[7:]
    longer += fields + b"new"
    path = tmp_path / "later.tok"
    path.write_bytes(longer + crc(longer) + whole[len(start + fields) + 4 :])
    kind, codes = outcome(path)
    assert kind == "whole"
    np.testing.assert_array_equal(codes, GOLDEN_CODES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fingerprint": ""}, "fingerprint"),
        ({"fingerprint": "0123456789ABCDEF"}, "fingerprint"),
        ({"codebook_sizes": ()}, "num_codebooks"),
        ({"codebook_sizes": (4, 0)}, "codebook_sizes"),
        ({"channels": 0}, "channels"),
        ({"hop_length": 2**16}, "hop_length"),
        ({"model": "m" * 256}, "model's name"),
        ({"block_frames": 256}, "block_frames"),
    ],
)
def test_a_header_that_the_format_cannot_hold_is_refused(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(CodecError, match=message):
        replace(HEADER, **change)


@pytest.mark.parametrize(
    ("codes", "num_samples", "message"),
    [
        (np.zeros((1, 2, 3), dtype=int), 480, r"takes codes \[1, 3, frames\]"),
        (np.full((1, 3, 3), 4), 480, "outside their codebooks"),
        (np.full((1, 3, 3), -1), 480, "outside their codebooks"),
        (np.zeros((1, 3, 3), dtype=int), 481, "481 samples are 4 frames"),
        (np.zeros((1, 3, 3), dtype=int), None, "finish"),
    ],
)
def test_what_does_not_fit_leaves_no_file(
    tmp_path: Path, codes: np.ndarray, num_samples: int | None, message: str
) -> None:
    def attempt() -> None:
        with TokenWriter(tmp_path / "a.tok", HEADER) as writer:
            writer.write(codes)
            if num_samples is not None:
                writer.finish(num_samples)

    with pytest.raises(CodecError, match=message):
        attempt()
    assert list(tmp_path.iterdir()) == []


def test_a_failure_on_the_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tok"
    path.write_bytes(b"old")

    def attempt() -> None:
        with TokenWriter(path, HEADER) as writer:
            writer.write(GOLDEN_CODES)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_no_file(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: the kernel refuses the same write."""
    header = replace(HEADER, block_frames=0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(CodecError, match=r"a\.tok: cannot be written \(File too large\)"):
            write(tmp_path / "a.tok", header, random_codes(header, 6000), samples_of(header, 6000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_a_named_pipe_is_an_error_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tok")
    with pytest.raises(CodecError, match=r"pipe\.tok: is a pipe or a device"):
        TokenFile(tmp_path / "pipe.tok")
