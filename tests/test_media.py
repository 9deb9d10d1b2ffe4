"""AAC, MP4, Matroska and others through PyAV: exact lengths, bounded memory, one line of error."""

from __future__ import annotations

import io
import sys
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from audiocodec import CodecError, find_audio, load_audio
from audiocodec.audio import AudioReader, audio_info
from audiocodec_cli.main import run

av = pytest.importorskip("av")


def tone(samples: int, channels: int, rate: int) -> np.ndarray:
    time = np.arange(samples) / rate
    return np.float32([0.4 * np.sin(2 * np.pi * (440 + 110 * c) * time) for c in range(channels)])


def made(
    container: str, codec: str, samples: int, channels: int = 2, rate: int = 48000, video: int = 0
) -> bytes:
    """A media file of a tone, with so many frames of video before the audio stream."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        if video:
            picture = out.add_stream("mpeg4", rate=10)
            picture.width = picture.height = 32
            picture.pix_fmt = "yuv420p"
        if codec:
            layout = "mono" if channels == 1 else "stereo"
            stream = out.add_stream(codec, rate=rate, layout=layout)
        for _ in range(video):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 32), np.uint8), format="yuv420p")
            out.mux(picture.encode(frame))
        if video:
            out.mux(picture.encode(None))
        if codec:
            audio = tone(samples, channels, rate)
            form = "s16" if codec in ("pcm_s16le", "flac") else "fltp"
            if form == "s16":
                audio = (audio.T.reshape(1, -1) * 32768).round().astype(np.int16)
            step = 960 * (channels if form == "s16" else 1)
            for start in range(0, audio.shape[1], step):
                piece = np.ascontiguousarray(audio[:, start : start + step])
                frame = av.AudioFrame.from_ndarray(piece, format=form, layout=layout)
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = start // (channels if form == "s16" else 1)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    return file.getvalue()


KINDS = [("mp4", "aac", ".m4a"), ("mp4", "opus", ".mp4"), ("webm", "opus", ".webm")]
KINDS += [("matroska", "pcm_s16le", ".mka"), ("matroska", "flac", ".mka")]


@pytest.mark.parametrize(("container", "codec", "suffix"), KINDS)
@pytest.mark.parametrize("samples", [48000, 100_001])
def test_media_files_have_their_exact_length(
    tmp_path: Path, container: str, codec: str, suffix: str, samples: int
) -> None:
    name = {"opus": "libopus"}.get(codec, codec)
    data = made(container, name, samples)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    audio, rate = load_audio(path)
    assert rate == 48000
    assert audio.shape == (2, samples)
    middle = slice(4800, 43200)
    expected = torch.from_numpy(tone(samples, 2, 48000))
    assert (audio - expected)[:, middle].std() < 0.03
    assert torch.equal(load_audio(io.BytesIO(data))[0], audio)
    assert audio_info(path).num_samples == pytest.approx(samples, abs=4800)
    with AudioReader(path, 16000) as reader:
        sizes = [block.shape[1] for block in reader.blocks(0.3)]
    assert set(sizes[:-1]) == {4800}
    assert sum(sizes) == -(-samples // 3)
    assert find_audio(tmp_path) == [path]


@pytest.mark.parametrize("container", ["webm", "mp4"])
def test_opus_made_from_16_khz_has_its_exact_length_and_place(container: str) -> None:
    audio, rate = load_audio(io.BytesIO(made(container, "libopus", 32000, 1, 16000)))
    assert (audio.shape, rate) == ((1, 96000), 48000)
    expected = torch.from_numpy(tone(96000, 1, 48000))
    assert (audio - expected)[:, 4800:43200].std() < 0.01


@pytest.mark.parametrize("kind", [("mp4", "aac"), ("matroska", "pcm_s16le"), ("adts", "aac")])
def test_media_files_joined_end_to_end_are_all_read(kind: tuple[str, str]) -> None:
    one, two = made(*kind, 20000), made(*kind, 30000)
    expected = torch.cat([load_audio(io.BytesIO(data))[0] for data in (one, two)], dim=1)
    found, _ = load_audio(io.BytesIO(one + two))
    assert found.shape == expected.shape
    if kind[0] != "adts":  # one stream there
        assert torch.equal(found, expected)


def test_of_a_video_the_first_audio_stream_is_read() -> None:
    audio, rate = load_audio(io.BytesIO(made("mp4", "aac", 32000, 1, 32000, video=15)))
    assert (audio.shape, rate) == ((1, 32000), 32000)


def test_a_video_without_audio_is_an_error() -> None:
    with pytest.raises(CodecError, match="<BytesIO>: holds no audio"):
        load_audio(io.BytesIO(made("mp4", "", 0, video=5)))


def test_media_files_that_were_cut_are_reported() -> None:
    data = made("matroska", "pcm_s16le", 96000)
    cut = data[: len(data) // 2]
    with pytest.raises(CodecError, match=r"cut short at (0\.9|1\.0)\d s, (0\.9|1\.0)\d s are miss"):
        load_audio(io.BytesIO(cut))
    assert 40000 < load_audio(io.BytesIO(cut), allow_truncated=True)[0].shape[1] < 50000
    data = made("mp4", "aac", 96000)
    with pytest.raises(CodecError, match="not an audio file that can be read"):
        load_audio(io.BytesIO(data[: len(data) // 2]))  # its index was at the end


def test_a_playlist_is_not_opened(tmp_path: Path) -> None:
    """FFmpeg would follow what it names."""
    for content in ("#EXTM3U\n#EXTINF:1,\nsecret.ts\n", "ffconcat version 1.0\nfile secret.wav\n"):
        (tmp_path / "a.m4a").write_text(content)
        with pytest.raises(CodecError, match="not an audio file"):
            load_audio(tmp_path / "a.m4a")


def test_memory_does_not_grow_with_the_length() -> None:
    def peak(seconds: int) -> int:
        file = io.BytesIO(made("matroska", "pcm_s16le", 16000 * seconds, 1, 16000))
        tracemalloc.start()
        with AudioReader(file) as reader:
            assert sum(block.shape[1] for block in reader.blocks(1)) == 16000 * seconds
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(2)
    assert peak(40) < peak(5) + 200_000  # 35 s are 2.2 MB


def test_without_pyav_one_line_says_what_to_install(
    here: Path, model: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("a.m4a").write_bytes(made("mp4", "aac", 4800))
    assert run(["encode", "a.m4a", "--model", model]) == 0
    Path("a.tok").unlink()
    capfd.readouterr()
    monkeypatch.setitem(sys.modules, "av", None)
    assert run(["encode", "a.m4a", "--model", model]) == 1
    assert capfd.readouterr().err == (
        "error: a.m4a: audio of this kind needs the package av, which is not installed: "
        "pip install 'audiocodec[av]'\n"
    )
