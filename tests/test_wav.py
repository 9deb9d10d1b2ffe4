"""WAV of every kind: by path and through a pipe the same samples, or the same refusal."""

from __future__ import annotations

import io
import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audiocodec import CodecError, encode_file, load_audio, load_codec
from audiocodec.audio import AudioReader, audio_info
from audiocodec_cli.main import run

STEPS = np.random.default_rng(0).integers(-32768, 32768, (40, 1), dtype=np.int16)
W64 = {
    b"riff": b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00",
    b"wave": b"wave\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a",
}


class Pipe(io.RawIOBase):
    """Bytes that arrive a few at a time and cannot be gone back in."""

    def __init__(self, data: bytes, piece: int = 7) -> None:
        self._data, self._piece = io.BytesIO(data), piece

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._data.read(min(len(buffer), self._piece))
        buffer[: len(data)] = data
        return len(data)


def pipe(data: bytes, piece: int = 7) -> io.BufferedReader:
    return io.BufferedReader(Pipe(data, piece))


def outcome(source: Any) -> tuple[str, list[list[float]], bool]:
    """What reading gives: the refusal without the input's name, the samples, and if it was cut."""
    try:
        with AudioReader(source, allow_truncated=True) as reader:
            blocks = [block.T for block in reader.blocks(0.001)]
            samples = np.concatenate([np.zeros((0, reader.info.channels)), *blocks])
            return "", samples.tolist(), reader.truncated
    except CodecError as error:
        return str(error).partition(": ")[2], [], False


def same(data: bytes, path: Path) -> tuple[str, list[list[float]], bool]:
    """The outcome for a path, a pipe and a stream in memory, which are one."""
    path.write_bytes(data)
    by_path = outcome(path)
    assert outcome(pipe(data)) == by_path
    assert outcome(io.BytesIO(data)) == by_path
    return by_path


def chunk(name: bytes, data: bytes, order: str = "<", size: int | None = None) -> bytes:
    size = len(data) if size is None else size
    return name + struct.pack(order + "I", size) + data + bytes(len(data) % 2)


def wide(name: bytes, data: bytes, size: int | None = None) -> bytes:
    """A chunk of a W64."""
    size = len(data) + 24 if size is None else size
    guid = W64.get(name, name + W64[b"wave"][4:])
    return guid + struct.pack("<Q", size) + data + bytes(-len(data) % 8)


def fmt(order: str = "<", rate: int = 16000) -> bytes:
    return struct.pack(order + "HHIIHH", 1, 1, rate, 2 * rate, 2, 16)


def made(kind: str, size: int | None, before: bytes, after: bytes, samples: bytes) -> bytes:
    """A WAV of a kind with this size field (true if it is None)."""
    order = ">" if kind == "RIFX" else "<"
    if kind == "W64":
        chunks = wide(b"fmt ", fmt()) + (wide(b"junk", before) if before else b"")
        chunks += wide(b"data", samples, None if size is None else size)
        chunks += wide(b"list", after) if after else b""
        return W64[b"riff"] + struct.pack("<Q", 40 + len(chunks)) + W64[b"wave"] + chunks
    large = b""
    if kind in ("RF64", "BW64"):
        counted = len(samples) if size is None else size
        large = chunk(b"ds64", struct.pack("<QQQI", 0, counted, 0, 0))
        size = 0xFFFFFFFF
    chunks = large + (chunk(b"junk", before, order) if before else b"")
    chunks += chunk(b"fmt ", fmt(order), order) + chunk(b"data", samples, order, size)
    chunks += chunk(b"LIST", after, order) if after else b""
    length = 0xFFFFFFFF if large else 4 + len(chunks)
    return kind.encode() + struct.pack(order + "I", length) + b"WAVE" + chunks


KINDS = ("RIFF", "RIFX", "RF64", "BW64", "W64")


def as_bytes(kind: str) -> bytes:
    return STEPS.astype(">i2" if kind == "RIFX" else "<i2").tobytes()


EXPECTED = (STEPS / 32768).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_path_and_pipe_give_the_same_samples(tmp_path: Path, kind: str) -> None:
    for before, after in itertools.product((b"", b"ab", b"odd"), (b"", b"INFO", b"INFOx")):
        data = made(kind, None, before, after, as_bytes(kind))
        assert same(data, tmp_path / "a.wav") == ("", EXPECTED, False)
        with_path = audio_info(tmp_path / "a.wav")
        assert (with_path.sample_rate, with_path.num_samples) == (16000, 40)


LIVE = {
    "RIFF": (0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0x80000024, 0xFFFFFFFF, 0xFFFFF000),
    "RIFX": (0, 0x7FFFFFFF, 0xFFFFFFFF),
    "RF64": (0, 2**63 - 1, 2**64 - 1),
    "BW64": (0, 2**64 - 1),
    "W64": (0, 24, 2**63 - 1, 2**64 - 1),
}


@pytest.mark.parametrize(
    ("kind", "size"), [(kind, size) for kind, sizes in LIVE.items() for size in sizes]
)
def test_a_size_that_a_stopped_recorder_left_is_not_believed(
    tmp_path: Path, kind: str, size: int
) -> None:
    data = made(kind, size, b"odd", b"", as_bytes(kind))
    assert same(data, tmp_path / "a.wav") == ("", EXPECTED, False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", [1, 2, 30, 80])
def test_a_wav_shorter_than_its_header_says_is_cut_short(
    tmp_path: Path, kind: str, missing: int
) -> None:
    data = made(kind, None, b"", b"", as_bytes(kind))
    data = data[: len(data) - missing]
    assert same(data, tmp_path / "a.wav") == ("", EXPECTED[: (80 - missing) // 2], True)
    with AudioReader(pipe(data), allow_truncated=True) as reader:
        list(reader.blocks(1))
        assert reader.missing_seconds == pytest.approx((missing + 1) // 2 / 16000, abs=1.01 / 16000)
    with pytest.raises(CodecError, match=r"a\.wav: cut short at 0\.00 s"):
        load_audio(tmp_path / "a.wav")
    assert load_audio(tmp_path / "a.wav", allow_truncated=True)[0].shape[1] < 40


def test_sizes_above_2_gib_are_exact(tmp_path: Path) -> None:
    """The samples end inside: with an exact size that is a cut."""
    for size in (2**31 + 2**20, 3 * 2**30):
        data = made("RIFF", size, b"", b"", as_bytes("RIFF"))
        assert same(data, tmp_path / "a.wav") == ("", EXPECTED, True)


def test_the_table_of_damage_has_one_outcome_by_path_and_pipe(tmp_path: Path) -> None:
    whole = made("RIFF", None, b"ab", b"INFO", as_bytes("RIFF"))
    for end in range(12, len(whole)):
        same(whole[:end], tmp_path / "a.wav")
    for at, value in itertools.product(range(12, 60), (0, 0x7F, 0xFF)):
        data = bytearray(whole)
        data[at] = value
        same(bytes(data), tmp_path / "a.wav")


def test_an_empty_wav_holds_no_samples(tmp_path: Path) -> None:
    assert same(made("RIFF", None, b"", b"", b""), tmp_path / "a.wav") == ("", [], False)
    assert same(made("RIFF", None, b"", b"INFO", b""), tmp_path / "a.wav") == ("", [], False)


def test_wavs_joined_end_to_end_are_all_read(tmp_path: Path) -> None:
    for after in (b"", b"INFOx"):
        one = made("RIFF", None, b"odd", after, as_bytes("RIFF"))
        other = made("RIFX", None, b"", b"", as_bytes("RIFX"))
        assert same(one + other + one, tmp_path / "a.wav") == ("", 3 * EXPECTED, False)
    other = one.replace(fmt(), fmt(rate=8000))
    refusal, _, _ = same(one + other, tmp_path / "a.wav")
    assert refusal.startswith("at 0.00 s another WAV follows with 1 channels at 8000 Hz")


def test_samples_that_the_header_does_not_count_are_not_passed_over(tmp_path: Path) -> None:
    loud = np.full(20000, -2, "<i2").tobytes()
    data = made("RIFF", None, b"", b"", as_bytes("RIFF"))
    refusal, _, _ = same(data + loud, tmp_path / "a.wav")
    assert "the WAV's header counts no more samples, but 1.2 s follow; repair it" in refusal
    assert same(data + bytes(40000), tmp_path / "a.wav") == ("", EXPECTED, False)


SUBTYPES = ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"]
SUBTYPES += ["ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"]
WRITTEN = [  # those that libsndfile writes
    (form, subtype)
    for form in ("WAV", "WAVEX", "RF64", "W64")
    for subtype in SUBTYPES
    if soundfile.check_format(form, subtype)
]


@pytest.mark.parametrize(("form", "subtype"), WRITTEN)
def test_the_samples_are_libsndfiles_bit_for_bit(tmp_path: Path, form: str, subtype: str) -> None:
    channels = 1 if subtype == "GSM610" else 2
    audio = np.random.default_rng(0).uniform(-1, 1, (5000, channels))
    path = tmp_path / "a.wav"
    soundfile.write(path, audio, 8000, subtype, format=form)
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    refusal, samples, cut = same(path.read_bytes(), path)
    assert (refusal, cut) == ("", False)
    np.testing.assert_array_equal(np.float32(samples), expected)


def test_a_compressed_wav_of_a_stopped_recorder_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-1, 1, 4000), 8000, "ALAW")
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    data = path.read_bytes()
    at = data.index(b"data") + 4
    for size in (0, 0xFFFFFFFF):
        live = data[:at] + struct.pack("<I", size) + data[at + 4 :]
        assert same(live, path) == ("", expected.tolist(), False)
    refusal, samples, cut = same(data[:-1000], path)
    assert (refusal, cut, len(samples)) == ("", True, 3000)


def test_a_stream_is_read_from_where_it_stands_and_stays_open() -> None:
    stream = io.BytesIO(b"before" + made("RIFF", None, b"", b"", as_bytes("RIFF")))
    stream.seek(6)
    assert load_audio(stream)[0].shape == (1, 40)
    assert not stream.closed
    with pytest.raises(CodecError, match=r"<BytesIO>: is empty .* seek\(0\) rewinds it"):
        load_audio(stream)


# The command.


def recorded(missing: int) -> bytes:
    samples = np.random.default_rng(0).integers(-9000, 9000, 16000, "<i2").tobytes()
    return made("RIFF", 32000, b"", b"", samples[: 32000 - missing])


@pytest.mark.parametrize("piped", [False, True])
def test_a_cut_wav_is_encoded_up_to_the_cut_with_a_warning(
    here: Path,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    piped: bool,
) -> None:
    Path("in.wav").write_bytes(recorded(missing=8000))
    if piped:
        monkeypatch.setattr("sys.stdin", Path("in.wav").open())  # noqa: SIM115
    name = "stdin" if piped else "in.wav"
    assert run(["encode", "-" if piped else "in.wav", "a.tok", "--model", model]) == 1
    _, err = capfd.readouterr()
    assert err == (
        f"warning: {name}: cut short, 0.25 s are missing; a.tok holds the 0.75 s up to the cut\n"
    )
    assert run(["decode", "a.tok", "a.wav", "--model", model]) == 0
    assert soundfile.info("a.wav").frames == 12000


def test_one_warning_is_printed_about_peaks_above_full_scale(
    here: Path, model: str, capfd: pytest.CaptureFixture[str]
) -> None:
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, 16000)
    soundfile.write("loud.wav", 8 * audio, 16000, "FLOAT")
    audio[:2] = -1, 32767 / 32768
    soundfile.write("full.wav", audio, 16000, "PCM_16")
    assert run(["encode", "loud.wav", "--model", model]) == 0
    _, err = capfd.readouterr()
    assert err.count("\n") == 1
    assert err.startswith("warning: loud.wav: peaks of 4.00; what is above 1.0 is clipped when")
    assert run(["encode", "full.wav", "--model", model]) == 0
    assert capfd.readouterr().err == ""
    codec = load_codec(model)
    assert encode_file("full.wav", "a.tok", codec).peak == 1
    assert encode_file("loud.wav", "a.tok", codec).peak == pytest.approx(4, abs=0.01)
