"""Context coding of whole files: bitrates of real bytes, the default coding, bits of codes."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from audiocodec import (
    CodecError,
    TokenFile,
    decode_file,
    encode_file,
    evaluate,
    load_audio,
    load_codec,
)
from audiocodec.bitrates import encode_to_bitrate
from audiocodec.bundled import CLIPS, GOLDEN_CLIP
from audiocodec.runtime import RuntimeCodec
from audiocodec.tokens.context.bits import bits_by_stage


@pytest.fixture(scope="module")
def bundled() -> RuntimeCodec:
    return load_codec("speech_16khz")


@pytest.mark.parametrize("bits_per_second", [1000, 2500])
def test_the_most_codebooks_are_used_that_fit(
    bundled: RuntimeCodec, tmp_path: Path, bits_per_second: float
) -> None:
    target = tmp_path / "a.tok"
    result = encode_to_bitrate(GOLDEN_CLIP, target, bundled, bits_per_second)
    with TokenFile(target) as tokens:
        assert tokens.header.coding == "context"
        assert 8 * target.stat().st_size / tokens.seconds <= bits_per_second
    one_more = encode_file(GOLDEN_CLIP, tmp_path / "b.tok", bundled, result.num_codebooks + 1)
    assert one_more.bitrate > bits_per_second


def test_fixed_coding_has_the_bitrate_of_its_codes(bundled: RuntimeCodec, tmp_path: Path) -> None:
    result = encode_to_bitrate(GOLDEN_CLIP, tmp_path / "a.tok", bundled, 2500, coding="fixed")
    assert (result.num_codebooks, result.bitrate) == (5, 2500)


def test_a_bitrate_below_one_codebook_is_refused(bundled: RuntimeCodec, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="one codebook takes"):
        encode_to_bitrate(GOLDEN_CLIP, tmp_path / "a.tok", bundled, 200)
    assert not list(tmp_path.iterdir())


def test_files_have_context_coding_by_default_and_the_same_codes(
    bundled: RuntimeCodec, tmp_path: Path
) -> None:
    coded = encode_file(GOLDEN_CLIP, tmp_path / "a.tok", bundled, 6)
    fixed = encode_file(GOLDEN_CLIP, tmp_path / "b.tok", bundled, 6, coding="fixed")
    assert coded.file_bytes < 0.85 * fixed.file_bytes
    with TokenFile(tmp_path / "a.tok") as one, TokenFile(tmp_path / "b.tok") as other:
        np.testing.assert_array_equal(one.read(), other.read())
        assert one.context is not None and other.context is None
        bits = bits_by_stage(one, one.context)
        assert bits == bits_by_stage(other, one.context)
        due = sum(bits) * one.num_frames / 8
        assert due <= one.payload_bytes <= due + 4 * one.num_blocks
    for name in ("a", "b"):
        decode_file(tmp_path / f"{name}.tok", tmp_path / f"{name}.wav", bundled)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_a_stream_has_fixed_coding_unless_the_other_is_asked_for(bundled: RuntimeCodec) -> None:
    """Blocks of 0.2 s gain from context coding too, although each starts the context anew."""
    sizes, found = [], []
    for coding in (None, "context"):
        memory = io.BytesIO()
        encode_file(GOLDEN_CLIP, memory, bundled, 6, coding=coding)
        with TokenFile(memory) as tokens:
            assert tokens.header.coding == (coding or "fixed")
            assert tokens.header.block_frames == 10
            found.append(tokens.read())
        sizes.append(len(memory.getvalue()))
    np.testing.assert_array_equal(*found)
    assert sizes[1] < 0.85 * sizes[0]


READER = """
import hashlib, sys
import numpy as np
from audiocodec.tokens import BlockReader, TokenFile
file = TokenFile(sys.argv[1])
ways = [
    file.read(),
    np.concatenate([file.read(n, min(n + 150, file.num_frames)) for n in
                    range(0, file.num_frames, 150)], axis=2),
    np.concatenate([*BlockReader(open(sys.argv[1], "rb")).pieces()], axis=2),
]
print(*(hashlib.sha256(codes.tobytes()).hexdigest() for codes in ways), "torch" in sys.modules)
"""


@pytest.mark.parametrize(("threads", "kernels"), [(1, ""), (2, "Prescott")])
def test_a_reader_without_torch_finds_the_codes_that_torch_made(
    bundled: RuntimeCodec, tmp_path: Path, threads: int, kernels: str
) -> None:
    """In another process, by other routines of OpenBLAS on other threads, in blocks side by side,
    alone and through a stream."""
    encode_file(GOLDEN_CLIP, tmp_path / "a.tok", bundled, 4)
    audio, _ = load_audio(GOLDEN_CLIP, bundled.sample_rate)
    codes = bundled.encode(audio[:, None], 4).numpy()
    with TokenFile(tmp_path / "a.tok") as tokens:
        assert tokens.header.coding == "context"
    settings = {"OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    if kernels:  # those of a processor without AVX, where NumPy comes with OpenBLAS
        settings["OPENBLAS_CORETYPE"] = kernels
    command = [sys.executable, "-c", READER, str(tmp_path / "a.tok")]
    result = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | settings, check=False
    )
    expected = hashlib.sha256(codes.tobytes()).hexdigest()
    assert result.stdout.split() == [expected, expected, expected, "False"], result.stderr


def test_an_evaluation_reports_the_bytes_of_its_coding(bundled: RuntimeCodec) -> None:
    clip = sorted(CLIPS.glob("*.flac"))[0]
    rates = [
        evaluate(bundled, clip, [3], coding=coding).rows[0].payload_kbps
        for coding in ("context", "fixed")
    ]
    assert rates[0] is not None and rates[1] is not None
    assert rates[0] < 0.8 * rates[1] and rates[1] == pytest.approx(1.5, rel=0.01)
