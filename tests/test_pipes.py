"""Pipes: the bytes of files, but at once, and with nothing that needs a look back."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import Codec, CodecError, decode_file, encode_file, load_codec, save_codec
from audiocodec.audio import SAMPLE_FORMATS, AudioReader, PipeWriter, RawFormat
from audiocodec.runtime import RuntimeCodec
from audiocodec.tokens import BlockReader, TokenFile
from audiocodec_cli.main import run

PATIENCE = 300  # seconds for a process to start, on a machine that is busy with other things


@pytest.fixture(scope="module")
def exact(model: str) -> Codec:
    return load_codec(model, dtype=torch.float64)


def waveform(samples: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(samples).uniform(-0.5, 0.5, (samples, channels))


def wav(samples: int, channels: int = 1, rate: int = 16000, **options: Any) -> bytes:
    file = io.BytesIO()
    options = {"subtype": "PCM_16", "format": "WAV", **options}
    soundfile.write(file, waveform(samples, channels), rate, **options)
    return file.getvalue()


def read(reader: AudioReader) -> np.ndarray:
    return np.concatenate([np.zeros((reader.info.channels, 0)), *reader.blocks(0.1)], axis=1)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("form", ["WAV", "WAVEX"])
def test_a_wav_from_a_pipe_is_the_wav_of_a_file(here: Path, subtype: str, form: str) -> None:
    data = wav(3000, 2, 22050, subtype=subtype, format=form)
    Path("in.wav").write_bytes(data)
    with AudioReader(io.BytesIO(data)) as piped, AudioReader("in.wav") as filed:
        assert piped.info.channels == 2
        np.testing.assert_array_equal(read(piped), read(filed))
        assert piped.samples_read == filed.samples_read == 3000


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_live_wav_lasts_until_the_pipe_ends(size: int) -> None:
    data = bytearray(wav(3000))
    data[40:44] = size.to_bytes(4, "little")
    with AudioReader(io.BytesIO(bytes(data))) as reader:
        assert read(reader).shape == (1, 3000)


def test_what_follows_the_samples_of_a_wav_is_no_sound() -> None:
    data = wav(3000) + b"LIST\x04\0\0\0INFO"
    before = data[:12] + b"junk\x03\0\0\0abc\0" + data[12:]
    for given in (data, before):
        with AudioReader(io.BytesIO(given)) as reader:
            assert read(reader).shape == (1, 3000)


@pytest.mark.parametrize("name", SAMPLE_FORMATS)
def test_raw_samples_are_what_they_are_said_to_be(name: str) -> None:
    steps = np.array([-128, -1, 0, 1, 64, 127])
    data = {
        "u8": (steps + 128).astype("u1"),
        "s16le": (steps * 2**8).astype("<i2"),
        "s24le": (steps * 2**24).astype("<i4").view("u1").reshape(-1, 4)[:, 1:],
        "s32le": (steps * 2**24).astype("<i4"),
        "f32le": (steps / 128).astype("<f4"),
        "f64le": (steps / 128).astype("<f8"),
    }[name].tobytes()
    # A byte too many: a stream that ended inside a sample.
    with AudioReader(io.BytesIO(data + b"\1"), raw=RawFormat(8000, 2, name)) as reader:
        np.testing.assert_array_equal(read(reader).T.flatten() * 128, steps)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "<BytesIO>: is empty"),
        (b"fLaC" + bytes(40), "<BytesIO>: not an audio file that can be read; convert it to WAV"),
        (wav(100)[:30], "header is damaged or cut short"),
    ],
)
def test_what_is_no_wav_is_told_with_the_mend(data: bytes, words: str) -> None:
    with pytest.raises(CodecError, match=words):
        AudioReader(io.BytesIO(data))


def test_bad_samples_and_formats_are_errors() -> None:
    data = np.array([0, np.nan], dtype="<f4").tobytes()
    with pytest.raises(CodecError, match="<BytesIO>: a NaN"):
        read(AudioReader(io.BytesIO(data), raw=RawFormat(16000, 1, "f32le")))
    with pytest.raises(CodecError, match="one of u8, s16le"):
        RawFormat(16000, 1, "s17")
    with pytest.raises(CodecError, match="1 or more"):
        RawFormat(0)


@pytest.mark.parametrize("known", [True, False])
def test_a_written_wav_is_read_by_others(known: bool) -> None:
    file = io.BytesIO()
    audio = waveform(1000, 2).T.astype(np.float32)
    with PipeWriter(file, 22050, 2, 1000 if known else None) as writer:
        writer.write(audio[:, :300])
        writer.write(audio[:, 300:])
    found, rate = soundfile.read(io.BytesIO(file.getvalue()))
    assert rate == 22050
    assert np.abs(found.T - audio).max() <= 0.51 / 32768
    with AudioReader(io.BytesIO(file.getvalue())) as reader:
        np.testing.assert_array_equal(read(reader), found.T.astype(np.float32))


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("samples", [0, 1, 319, 320, 321, 20011])
def test_there_and_back_through_pipes_is_the_same_as_through_files(
    here: Path, exact: Codec, rate: int, samples: int
) -> None:
    data = wav(samples, 2, rate)
    Path("in.wav").write_bytes(data)
    encode_file("in.wav", "in.tok", exact)
    decode_file("in.tok", "out.wav", exact)

    encode_file(io.BytesIO(data), "piped.tok", exact)
    assert Path("piped.tok").read_bytes() == Path("in.tok").read_bytes()

    tokens, result = io.BytesIO(), io.BytesIO()
    encoded = encode_file(io.BytesIO(data), tokens, exact)
    assert (encoded.num_samples, encoded.file_bytes) == (samples, len(tokens.getvalue()))
    Path("short.tok").write_bytes(tokens.getvalue())
    with TokenFile("short.tok") as short, TokenFile("in.tok") as whole:
        assert short.header.block_frames == 10
        np.testing.assert_array_equal(short.read(), whole.read())
    back = decode_file(io.BytesIO(tokens.getvalue()), result, exact)
    assert not back.truncated
    assert (back.num_samples, back.file_bytes) == (samples, encoded.file_bytes)
    found, _ = soundfile.read(io.BytesIO(result.getvalue()), dtype="int16", always_2d=True)
    expected, _ = soundfile.read("out.wav", dtype="int16", always_2d=True)
    np.testing.assert_allclose(found, expected, atol=1)

    bare = io.BytesIO()
    decode_file("in.tok", bare, exact, raw=True)
    assert bare.getvalue() == expected.tobytes()


@pytest.mark.parametrize("lookahead", [0, 2])
def test_any_look_ahead_gives_the_exact_length_through_pipes(
    tmp_path: Path, codec: RuntimeCodec, lookahead: int
) -> None:
    seanet = codec.config.seanet.model_copy(update={"lookahead": lookahead})
    save_codec(Codec(codec.config.model_copy(update={"seanet": seanet})), tmp_path / "other")
    other = load_codec(tmp_path / "other", dtype=torch.float64)
    for samples in (0, 1, 320, 641, 3201):
        tokens, result = io.BytesIO(), io.BytesIO()
        encode_file(io.BytesIO(wav(samples)), tokens, other)
        decode_file(io.BytesIO(tokens.getvalue()), result, other, raw=True)
        found = np.frombuffer(result.getvalue(), "<i2") / 2.0**15
        audio = torch.from_numpy(soundfile.read(io.BytesIO(wav(samples)))[0])[None, None]
        expected = other.decode(other.encode(audio), samples).clip(-1, 1)
        np.testing.assert_allclose(found, expected.flatten(), atol=1.01 / 2**15)


class Endless(io.RawIOBase):
    """Silence, so many bytes of it, none of them kept; and a place where bytes vanish."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), self.left)
        self.left -= size
        buffer[:size] = bytes(size)
        return size

    def write(self, data: Any) -> int:
        return len(data)


def test_memory_does_not_grow_with_the_length(model: str) -> None:
    codec = load_codec(model)
    raw = RawFormat(16000)

    def peak(seconds: int) -> int:
        source = io.BufferedReader(Endless(2 * 16000 * seconds))
        tracemalloc.start()
        result = encode_file(source, Endless(0), codec, raw=raw)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert result.seconds == seconds
        return most

    peak(4)
    assert peak(60) < peak(6) + 100_000  # the audio of 54 s is 3.5 MB


def test_the_option_knows_every_raw_format() -> None:
    from audiocodec_cli.encode import command

    (option,) = [option for option in command.params if option.name == "raw_format"]
    assert list(option.type.choices) == list(SAMPLE_FORMATS)


def small_file(here: Path, exact: Codec) -> bytes:
    target = io.BytesIO()
    encode_file(io.BytesIO(wav(30 * 320 + 5)), target, exact)
    return target.getvalue()


def test_a_pipe_cut_anywhere_is_read_up_to_the_cut(here: Path, exact: Codec) -> None:
    data = small_file(here, exact)
    with BlockReader(io.BytesIO(data)) as tokens:
        whole = np.concatenate(list(tokens.pieces()), axis=2)
        assert (whole.shape[2], tokens.num_samples, tokens.truncated) == (31, 9605, False)
    for end in range(len(data)):
        if end < start_of(exact):
            with pytest.raises(CodecError, match=r"cut short|empty|not a \.tok"):
                BlockReader(io.BytesIO(data[:end]))
            continue
        tokens = BlockReader(io.BytesIO(data[:end]))
        found = np.concatenate([whole[:, :, :0], *tokens.pieces()], axis=2)
        assert tokens.truncated
        assert tokens.num_frames == found.shape[2]
        assert tokens.num_samples == found.shape[2] * 320
        np.testing.assert_array_equal(found, whole[:, :, : found.shape[2]])


def test_a_flip_of_any_byte_of_a_pipe_is_found(here: Path, exact: Codec) -> None:
    data = small_file(here, exact)
    for at in range(len(data)):
        bad = bytearray(data)
        bad[at] ^= 0x10
        try:
            tokens = BlockReader(io.BytesIO(bytes(bad)))
            for _ in tokens.pieces():
                pass
            assert tokens.truncated, f"byte {at}"
        except CodecError as error:
            assert str(error).startswith("stdin: ")  # noqa: PT017


def test_more_codebooks_than_a_pipe_brings_are_refused(here: Path, exact: Codec) -> None:
    target = io.BytesIO()
    encode_file(io.BytesIO(wav(1000)), target, exact, num_codebooks=2)
    with pytest.raises(CodecError, match="stdin: holds 2 codebooks; 3 asked for"):
        decode_file(io.BytesIO(target.getvalue()), io.BytesIO(), exact, 3)


# The command.


def given(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Let the next command's stdin be this file."""
    monkeypatch.setattr(sys, "stdin", Path(path).open())  # noqa: SIM115


def test_files_and_pipes_mix(
    here: Path,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    Path("in.wav").write_bytes(wav(22057, 2, 22050))
    own = ["--model", model, "--exact"]
    assert run(["encode", "in.wav", "in.tok", *own]) == 0
    given(monkeypatch, "in.wav")
    assert run(["encode", "-", "piped.tok", *own]) == 0
    out, err = capfdbinary.readouterr()
    assert b"stdin -> piped.tok: 1.00 s" in out
    assert Path("piped.tok").read_bytes() == Path("in.tok").read_bytes()

    assert run(["encode", "in.wav", "-", *own]) == 0
    out, err = capfdbinary.readouterr()
    assert b"in.wav -> stdout: 1.00 s" in err
    Path("short.tok").write_bytes(out)
    with TokenFile("short.tok") as short, TokenFile("in.tok") as whole:
        np.testing.assert_array_equal(short.read(), whole.read())

    own = own[:2]
    assert run(["decode", "in.tok", "-", "--json", *own]) == 0
    out, err = capfdbinary.readouterr()
    assert b'"target": "stdout"' in err
    given(monkeypatch, "short.tok")
    assert run(["decode", "-", "out.wav", *own]) == 0
    for file in (io.BytesIO(out), "out.wav"):
        info = soundfile.info(file)
        assert (info.samplerate, info.channels, info.frames) == (22050, 2, 22057)

    capfdbinary.readouterr()
    Path("cut.tok").write_bytes(Path("short.tok").read_bytes()[:-40])
    given(monkeypatch, "cut.tok")
    assert run(["decode", "-", "--raw", *own]) == 1
    out, err = capfdbinary.readouterr()
    assert b"warning: stdin: cut short; stdout holds the 0.9" in err
    assert 0.9 < len(out) / 4 / 22050 < 1


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["encode", "a.wav", "b.wav", "-"], 1, "`-` stands for one pipe"),
        (["encode", "-", "a", "b"], 1, "`-` stands for one pipe"),
        (["encode", "in.wav", "out.tok", "--raw", "8000"], 2, "--raw describes stdin"),
        (["decode", "in.tok", "out.wav", "--raw"], 2, "--raw is for stdout"),
        (["encode", "-", "in.wav"], 1, "in.wav: not a .tok file"),
        (["encode", "-", "new.tok", "--raw", "8000", "--raw-format", "s17"], 2, "s17"),
        (["encode", "-", "new.tok"], 1, "or name --raw RATE"),
        (["decode", "-", "new.wav"], 1, "stdin: not a .tok file"),
    ],
)
def test_a_mistake_with_pipes_is_one_line(
    here: Path,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    words: str,
) -> None:
    Path("in.wav").write_bytes(b"no audio at all")
    given(monkeypatch, "in.wav")
    assert run([*arguments, "--model", model]) == status
    out, err = capfd.readouterr()
    assert words in err
    assert out == ""
    assert [path.name for path in here.iterdir()] == ["in.wav"]


def test_bytes_do_not_go_to_a_terminal(
    here: Path, model: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("in.wav").write_bytes(wav(1000))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert run(["encode", "in.wav", "-", "--model", model]) == 1
    assert "stdout: is a terminal; redirect it" in capfd.readouterr().err


def start(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "audiocodec_cli", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)


def soon(stream: BinaryIO | None, size: int) -> bytes:
    """``size`` bytes that arrive while the input is open, or an error after much patience."""
    assert stream is not None
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.append(stream.read(size)), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert found and len(found[0]) == size, "nothing came while the input was open"
    return found[0]


def test_codes_and_audio_come_out_while_the_input_is_open(model: str, exact: Codec) -> None:
    pcm = (waveform(48000)[:, 0] * 2**15).astype("<i2")
    encoder = start("encode", "-", "-", "--raw", "16000", "--exact", "--model", model)
    decoder = start("decode", "-", "-", "--raw", "--model", model)
    assert encoder.stdin and decoder.stdin
    # A second of audio, five blocks of tokens, and all their audio but the lookahead.
    encoder.stdin.write(pcm[:16000].tobytes())
    encoder.stdin.flush()
    header = start_of(exact)
    block = 1 + 10 * exact.num_codebooks * 6 // 8 + 4
    tokens = soon(encoder.stdout, header + 5 * block)
    decoder.stdin.write(tokens)
    decoder.stdin.flush()
    first = soon(decoder.stdout, 2 * 49 * 320)
    assert encoder.poll() is decoder.poll() is None
    rest, _ = encoder.communicate(pcm[16000:].tobytes(), timeout=PATIENCE)
    more, _ = decoder.communicate(rest, timeout=PATIENCE)
    assert encoder.returncode == decoder.returncode == 0
    with BlockReader(io.BytesIO(tokens + rest)) as piped:
        codes = torch.from_numpy(np.concatenate(list(piped.pieces()), axis=2))
    audio = torch.from_numpy(pcm / 2.0**15)[None, None]
    assert torch.equal(codes, exact.encode(audio))
    found = np.frombuffer(first + more, "<i2") / 2.0**15
    expected = exact.decode(codes, 48000)[0, 0].clip(-1, 1).numpy()
    assert found.shape == (48000,)
    assert np.abs(found - expected).max() <= 1.01 / 2**15


def start_of(codec: RuntimeCodec) -> int:
    from audiocodec.tokens import token_header

    return len(token_header(codec, None, 16000, 1).to_bytes())


def test_a_reader_that_goes_away_is_no_error(here: Path, model: str) -> None:
    Path("in.wav").write_bytes(wav(16000 * 20))
    assert run(["encode", "in.wav", "in.tok", "--model", model]) == 0
    process = start("decode", "in.tok", "-", "--model", model, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    assert process.stdout.read(4) == b"RIFF"
    process.stdout.close()
    assert process.wait(PATIENCE) != 0
    assert process.stderr.read() == b""


def test_a_full_disk_behind_a_pipe_is_named() -> None:
    full_disk = pytest.raises(CodecError, match=r"full: cannot be written \(No space left")
    with open("/dev/full", "wb", buffering=0) as full, full_disk:
        PipeWriter(full, 16000, 1)
