"""Audio files: found, read at any rate in any blocks, and written completely or not at all."""

from __future__ import annotations

import os
import resource
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiocodec.audio import (
    AudioReader,
    AudioWriter,
    Resampler,
    audio_info,
    file_writer,
    find_audio,
    load_audio,
    save_audio,
)
from audiocodec.errors import CodecError


def noise(channels: int, samples: int) -> np.ndarray:
    """float32 [C, T], inside [-1, 1]."""
    random = np.random.default_rng(0)
    return random.uniform(-0.5, 0.5, (channels, samples)).astype(np.float32)


def write(path: Path, audio: np.ndarray, rate: int, **kind: str) -> Path:
    soundfile.write(path, audio.T, rate, **kind)
    return path


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3"])
def test_every_format_is_read(tmp_path: Path, suffix: str) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)
    kind = {"format": "OGG", "subtype": "OPUS"} if suffix == ".opus" else {}
    path = write(tmp_path / f"a{suffix}", np.stack([tone, -tone]), 48000, **kind)
    audio, rate = load_audio(path)
    assert (audio.shape, audio.dtype, rate) == ((2, 48000), torch.float32, 48000)
    assert audio[0, 4800:-4800].std() == pytest.approx(0.5 / 2**0.5, rel=0.05)
    info = audio_info(path)
    assert (info.sample_rate, info.channels, info.num_samples) == (48000, 2, 48000)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".WAV"])
def test_16_bit_audio_saved_again_is_the_same(tmp_path: Path, suffix: str) -> None:
    every_step = torch.arange(-32768, 32768, dtype=torch.float32).reshape(2, -1) / 32768
    save_audio(tmp_path / f"a{suffix}", every_step, 16000)
    audio, rate = load_audio(tmp_path / f"a{suffix}")
    assert rate == 16000
    assert torch.equal(audio, every_step)
    assert soundfile.info(tmp_path / f"a{suffix}").subtype == "PCM_16"


def test_louder_samples_are_clipped(tmp_path: Path) -> None:
    save_audio(tmp_path / "a.wav", torch.tensor([[-3.0, 3.0, 1.0]]), 8000)
    audio, _ = load_audio(tmp_path / "a.wav")
    assert audio.tolist() == [[-1.0, 32767 / 32768, 32767 / 32768]]


@pytest.mark.parametrize("rates", [(44100, 16000), (48000, 16000), (8000, 16000), (11025, 24000)])
@pytest.mark.parametrize("samples", [0, 1, 2, 3, 1000, 44117])
def test_a_resampled_signal_has_its_exact_length(rates: tuple[int, int], samples: int) -> None:
    source, target = rates
    resampler = Resampler(source, target, 1)
    pieces = [resampler.push(noise(1, samples)), resampler.flush()]
    assert sum(piece.shape[1] for piece in pieces) == -(-samples * target // source)


def test_resampling_keeps_a_tone_in_place(tmp_path: Path) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    audio, rate = load_audio(write(tmp_path / "a.wav", tone[None], 44100, subtype="FLOAT"), 16000)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert rate == 16000
    # The ends ring, because the tone begins and stops at once.
    assert np.abs(audio[0].numpy() - expected)[500:-500].max() < 1e-4


@pytest.mark.parametrize("rate", [16000, 44100, 8000])
@pytest.mark.parametrize("seconds", [1 / 16000, 0.02, 0.7, 1, 60])
def test_blocks_of_any_size_are_the_whole(tmp_path: Path, rate: int, seconds: float) -> None:
    samples = 2000 if seconds < 0.01 else 2 * rate + 17
    path = write(tmp_path / "a.wav", noise(2, samples), rate)
    whole, _ = load_audio(path, 16000)
    with AudioReader(path, 16000) as reader:
        blocks = list(reader.blocks(seconds))
        assert reader.samples_read == samples
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole.numpy())
    assert {block.shape[1] for block in blocks[:-1]} <= {round(seconds * 16000)}
    assert 0 < blocks[-1].shape[1] <= round(seconds * 16000)


def test_a_long_file_is_read_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with AudioWriter(path, 16000, 1) as writer:
        for _ in range(20):
            writer.write(noise(1, 16000 * 30))
    tracemalloc.start()
    with AudioReader(path, 24000) as reader:
        samples = sum(block.shape[1] for block in reader.blocks(seconds=4))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert samples == 24000 * 600
    assert peak < 4e6  # the file's samples are 58 MB as float32


@pytest.mark.parametrize("samples", [0, 1])
def test_nothing_and_one_sample_are_audio_too(tmp_path: Path, samples: int) -> None:
    path = tmp_path / "a.wav"
    save_audio(path, torch.zeros(3, samples), 44100)
    audio, _ = load_audio(path, 16000)
    assert audio.shape == (3, samples)


def test_files_are_found_in_order_in_all_folders(tmp_path: Path) -> None:
    for name in ("b.WAV", "a/c.flac", "a/B.mp3", "a/d/e.Ogg", "a/f.m4a", "z.opus"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("._b.wav", "notes.txt", "a/f.mid"):
        (tmp_path / name).touch()
    (tmp_path / ".trash").mkdir()
    (tmp_path / ".trash" / "g.wav").touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    found = [str(path.relative_to(tmp_path)) for path in find_audio(tmp_path)]
    assert found == ["a/B.mp3", "a/c.flac", "a/d/e.Ogg", "a/f.m4a", "b.WAV", "z.opus"]
    assert find_audio(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]


def test_a_folder_without_audio_and_a_missing_one_are_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(CodecError, match=f"{tmp_path}: no audio"):
        find_audio(tmp_path)
    with pytest.raises(CodecError, match="none: no such file or folder"):
        find_audio(tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.wav", b"", "is empty"),
        ("a.wav", b"hello, world\n" * 9, "not an audio file"),
        ("a.raw", b"\0\0\0\0", "not an audio file"),
        ("a.flac", b"RIFF\0\0", "not an audio file"),
    ],
)
def test_what_is_not_sound_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CodecError, match=f"{tmp_path / name}: {message}"):
        load_audio(tmp_path / name)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=r"none\.wav: no such file"):
        load_audio(tmp_path / "none.wav")
    with pytest.raises(CodecError, match="is a folder"):
        audio_info(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    audio = noise(2, 16000 * 3)
    audio[1, 40000] = value
    path = write(tmp_path / "a.wav", audio, 16000, subtype="FLOAT")
    with pytest.raises(CodecError, match=r"a\.wav: a NaN or infinite sample at 2\.0 s"):
        load_audio(path)
    with pytest.raises(CodecError, match="NaN"):
        save_audio(tmp_path / "b.wav", torch.from_numpy(audio), 16000)
    assert list(tmp_path.iterdir()) == [path]


def test_a_cut_flac_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", noise(1, 48000), 16000)
    path.write_bytes(path.read_bytes()[:50000])
    with pytest.raises(CodecError, match=r"a\.flac: damaged or cut short at"):
        load_audio(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.mp3", "cannot write `.mp3` audio; name it .wav or .flac"),
        ("a", "cannot write `` audio"),
        ("folder.wav", "is a folder"),
        ("none/a.wav", "there is no folder .*none; make it first"),
    ],
)
def test_a_target_that_cannot_be_written_is_an_error(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(CodecError, match=message):
        save_audio(tmp_path / name, torch.zeros(1, 10), 16000)


def test_a_flac_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=r"cannot hold 0 samples; write a \.wav"):
        save_audio(tmp_path / "a.flac", torch.zeros(1, 0), 16000)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_on_the_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")

    def attempt() -> None:
        with AudioWriter(path, 16000, 1) as writer:
            writer.write(noise(1, 1000))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_full_disk_leaves_no_file(tmp_path: Path, suffix: str) -> None:
    """A limit on the size of files stands for the full disk: the kernel refuses the same write."""
    target = tmp_path / f"a{suffix}"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50000, limits[1]))
    try:
        with pytest.raises(CodecError, match="cannot be written to its end"):
            save_audio(target, torch.from_numpy(noise(1, 100000)), 16000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_a_wav_beyond_its_limit_becomes_rf64_or_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_writer, "WAV_LIMIT", 1000)
    path = tmp_path / "a.wav"
    save_audio(path, torch.zeros(2, 400), 16000)
    assert soundfile.info(path).format == "RF64"
    assert load_audio(path)[0].shape == (2, 400)

    def attempt() -> None:
        with AudioWriter(path, 16000, 2) as writer:
            writer.write(noise(2, 400))

    with pytest.raises(CodecError, match=r"longer than the 4 GiB of a WAV; write a \.flac"):
        attempt()


def test_the_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    save_audio(tmp_path / "a.wav", torch.zeros(1, 10), 16000)
    assert (tmp_path / "a.wav").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_whole_numbers_are_not_saved_as_clipped_noise(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="divide int16 by 32768"):
        save_audio(tmp_path / "x.wav", torch.ones(1, 100, dtype=torch.int16), 16000)
    assert not list(tmp_path.iterdir())


def test_a_named_pipe_is_an_error_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(CodecError, match=r"pipe\.wav: is a pipe or a device"):
        audio_info(tmp_path / "pipe.wav")


def test_names_that_are_not_utf_8_are_names(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    path = folder / os.fsdecode(b"\xe9.wav")
    save_audio(path, torch.zeros(1, 100), 16000)
    assert load_audio(find_audio(folder)[0])[0].shape == (1, 100)


def test_a_sample_rate_that_no_file_can_hold_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="cannot be written as WAV with 1 channels at 4000000000"):
        save_audio(tmp_path / "x.wav", torch.zeros(1, 10), 4_000_000_000)
    assert not list(tmp_path.iterdir())
