"""Compressed files are read to their end, whatever their headers say, or the loss is an error."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audiocodec import CodecError, encode_file, load_audio, load_codec
from audiocodec.audio import AudioReader, audio_info
from audiocodec_cli.main import run

FORMATS = {
    "flac": {"format": "FLAC"},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3", "bitrate_mode": "VARIABLE"},
}
OTHERS = {
    "aiff": {"format": "AIFF"},
    "au": {"format": "AU"},
    "caf": {"format": "CAF"},
}
RATE = 16000


def noise(seconds: float, channels: int = 1) -> np.ndarray:
    """Loud at first and then quiet, so that a bitrate taken at the start misleads."""
    samples = round(seconds * RATE)
    audio = np.random.default_rng(samples).uniform(-0.3, 0.3, (samples, channels))
    return audio * np.where(np.arange(samples) < RATE / 2, 1, 0.001)[:, None]


def encoded(kind: str, seconds: float, channels: int = 1, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, noise(seconds, channels), rate, **(FORMATS | OTHERS)[kind])
    return file.getvalue()


def samples(data: bytes, **options: Any) -> np.ndarray:
    return load_audio(io.BytesIO(data), **options)[0].numpy()


def without_header(mp3: bytes) -> bytes:
    """The frames of an MP3 behind the one that holds the Xing header."""
    return mp3[mp3.index(mp3[:2], 40) :]


def without_last_page(ogg: bytes) -> bytes:
    return ogg[: ogg.rindex(b"OggS")]


def with_total(flac: bytes, total: int) -> bytes:
    """The FLAC with another number of samples in its STREAMINFO."""
    (field,) = struct.unpack(">Q", flac[18:26])
    return flac[:18] + struct.pack(">Q", field >> 36 << 36 | total) + flac[26:]


@pytest.mark.parametrize("kind", FORMATS)
def test_an_ordinary_file_is_what_libsndfile_reads(kind: str) -> None:
    data = encoded(kind, 4, 2)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    found = samples(data)
    if kind == "mp3":  # there soundfile's seeks cost the last bits
        np.testing.assert_allclose(found.T, expected, atol=1e-5)
    else:
        np.testing.assert_array_equal(found.T, expected)
    assert audio_info(io.BytesIO(data)).num_samples == len(expected) == 4 * RATE


def test_an_mp3_without_a_xing_header_is_read_whole(capfd: pytest.CaptureFixture[str]) -> None:
    data = encoded("mp3", 5)
    whole, bare = samples(data), samples(without_header(data))
    assert whole.shape[1] == 5 * RATE
    assert bare.shape[1] % 576 == 0
    # Without the header nobody knows what the encoder put before and after: 1105 samples before.
    np.testing.assert_array_equal(bare[:, 1105 : 1105 + 5 * RATE], whole)
    info = audio_info(io.BytesIO(without_header(data)))
    assert info.num_samples == bare.shape[1]
    assert soundfile.info(io.BytesIO(without_header(data))).frames < 0.8 * 5 * RATE
    assert capfd.readouterr().err == ""


def test_tags_and_junk_around_and_between_mp3_frames_are_no_audio(
    capfd: pytest.CaptureFixture[str],
) -> None:
    one, two = encoded("mp3", 1), encoded("mp3", 2)
    id3 = b"ID3\4\0\0\0\0\2\0" + b"\xff\xfb\x90\x64" * 64
    ape = b"APETAGEX" + struct.pack("<IIII", 2000, 40, 1, 0x80000000) + bytes(8) + b"\xff\xf3" * 20
    expected = np.concatenate([samples(one), samples(two)], axis=1)
    found = samples(id3 + one + ape + b"junk\xff" + id3 + two + b"TAG" + bytes(125))
    np.testing.assert_array_equal(found, expected)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", [*FORMATS, *OTHERS])
def test_files_joined_end_to_end_are_all_read(kind: str) -> None:
    parts = [encoded(kind, seconds) for seconds in (1, 2.5, 0.7)]
    expected = np.concatenate([samples(part) for part in parts], axis=1)
    joined = b"".join(parts)
    np.testing.assert_array_equal(samples(joined), expected)
    assert audio_info(io.BytesIO(joined)).num_samples == expected.shape[1]


@pytest.mark.parametrize("kind", [*FORMATS, *OTHERS])
def test_a_joined_part_of_another_format_is_an_error_with_its_position(kind: str) -> None:
    joined = encoded(kind, 1.5) + encoded(kind, 1, channels=2, rate=24000)
    with pytest.raises(
        CodecError, match=r"at 1\.50 s another part follows with 2 channels at 24000 Hz; encode"
    ):
        samples(joined)


@pytest.mark.parametrize("total", [0, 1000, 2 * RATE])
def test_a_flac_is_read_whole_whatever_length_it_states(total: int) -> None:
    data = encoded("flac", 2)
    np.testing.assert_array_equal(samples(with_total(data, total)), samples(data))
    tagged = data + b"TAG" + bytes(125)
    np.testing.assert_array_equal(samples(tagged), samples(data))


def test_a_flac_of_one_metadata_block_is_read() -> None:
    """A STREAMINFO that is the last block has another first byte."""
    data = encoded("flac", 2)
    at, last = 4, False
    while not last:
        last = bool(data[at] & 0x80)
        at += 4 + int.from_bytes(data[at + 1 : at + 4], "big")
    bare = data[:4] + b"\x80" + data[5:42] + data[at:]
    np.testing.assert_array_equal(samples(bare), samples(data))
    np.testing.assert_array_equal(samples(bare + bare)[:, 2 * RATE :], samples(data))


def test_a_flac_shorter_than_it_states_is_refused() -> None:
    with pytest.raises(CodecError, match=r"damaged or cut short at 2\.0 s \(the file ends early\)"):
        samples(with_total(encoded("flac", 2), 3 * RATE))


@pytest.mark.parametrize("kind", ["ogg", "opus", "mp3"])
def test_a_file_without_its_end_is_cut_short(here: Path, model: str, kind: str) -> None:
    whole = encoded(kind, 6)
    cuts = [whole[: len(whole) * 2 // 3]]
    cuts += [whole[: len(whole) // 2] + whole] if kind != "mp3" else []
    cuts += [without_last_page(whole)] if kind != "mp3" else [whole[:-1]]
    codec = load_codec(model)
    for cut in cuts:
        with pytest.raises(CodecError, match=r"<BytesIO>: cut short at .* s"):
            samples(cut)
        found = samples(cut, allow_truncated=True)
        assert found.shape[1] > 0
        assert encode_file(io.BytesIO(cut), "a.tok", codec).truncated
    Path(f"in.{kind}").write_bytes(cuts[0])
    assert run(["encode", f"in.{kind}", "--model", model]) == 1
    part = samples(cuts[0], allow_truncated=True)
    if kind != "mp3":  # an MP3 frame needs the one after it
        np.testing.assert_array_equal(part, samples(whole)[:, : part.shape[1]])
    else:
        with AudioReader(io.BytesIO(cuts[0]), allow_truncated=True) as reader:
            list(reader.blocks(1))
        missing = reader.missing_seconds * RATE
        assert part.shape[1] + round(missing) == 6 * RATE


def test_a_failing_disk_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 50000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    data = encoded("opus", 1) + bytes(60000)
    with pytest.raises(CodecError, match=r"cannot be read \(Input/output error\)"):
        load_audio(Failing(data))
    assert capfd.readouterr().err == ""
