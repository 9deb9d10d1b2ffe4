"""Sound files: find, read, resample, write. The only module that knows them.

Reads what libsndfile reads: WAV, FLAC, Ogg Vorbis, Opus and MP3 among others. Writes 16-bit WAV
and FLAC. Arrays are float32 ``[C, T]``: channels, samples in [-1, 1].

A file is read and resampled as a stream, so its length does not matter for memory. soxr gives the
same samples for any size of piece, and each signal gets its exact length: ``n`` samples at rate
``a`` are ``ceil(n * b / a)`` samples at rate ``b``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
import torch

from audiocodec.errors import CodecError
from audiocodec.paths import Report, check_file, find_inputs, replacing

Samples = npt.NDArray[np.float32]

READ_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
WRITE_FORMATS = {".wav": "WAV", ".flac": "FLAC"}
WAV_LIMIT = 2**32 - 2**16  # bytes of samples; a WAV's sizes are 32-bit numbers
_READ_SECONDS = 1.0


@dataclass(frozen=True)
class AudioInfo:
    """What a sound file's header says. ``num_samples`` is per channel; an MP3's is an estimate."""

    sample_rate: int
    channels: int
    num_samples: int

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate


def find_audio(path: str | Path, report: Report | None = None) -> list[Path]:
    """The sound files in a folder and its subfolders, sorted; of a file, the file itself.

    Args:
        report: called with each folder in it that cannot be listed and the line that says why;
            without it that is an error.

    Raises:
        CodecError: nothing at ``path``, a folder without sound files, or one that cannot be listed.
    """
    none = f"no audio in this folder (looked for {' '.join(READ_SUFFIXES)})"
    return find_inputs(path, READ_SUFFIXES, none, report)


def audio_info(path: str | Path) -> AudioInfo:
    """Sample rate (Hz), channels and samples per channel, from the header alone.

    Raises:
        CodecError: missing, or not a sound file.
    """
    with AudioReader(path) as reader:
        return reader.info


def load_audio(path: str | Path, sample_rate: int | None = None) -> tuple[torch.Tensor, int]:
    """A whole sound file: float32 ``[C, T]`` and its rate, resampled if ``sample_rate`` is given.

    Raises:
        CodecError: missing, not a sound file, damaged, or with NaN or infinite samples.
    """
    with AudioReader(path, sample_rate) as reader:
        empty = np.zeros((reader.info.channels, 0), dtype=np.float32)
        audio = np.concatenate([empty, *reader.blocks(seconds=10)], axis=1)
        return torch.from_numpy(audio), reader.sample_rate


def save_audio(path: str | Path, audio: torch.Tensor, sample_rate: int) -> None:
    """Write ``audio [C, T]`` as 16-bit ``.wav`` or ``.flac``, clipped to [-1, 1], whole or not.

    Raises:
        CodecError: the place is not writable, another suffix, whole numbers, or NaN samples.
    """
    if audio.dim() != 2 or not len(audio):
        shape = list(audio.shape)
        raise CodecError(f"{path}: audio to save must be [channels, samples], not {shape}")
    if not audio.is_floating_point():
        raise CodecError(
            f"{path}: audio to save must be float in [-1, 1], not {audio.dtype}; divide int16 by "
            "32768"
        )
    samples = audio.detach().to("cpu", torch.float32).numpy()
    with AudioWriter(path, sample_rate, len(samples), samples.shape[1]) as writer:
        writer.write(samples)


class Resampler:
    """A stream of ``[C, n]`` pieces from one sample rate to another.

    What the pushes and the flush return, joined, has ``num_samples`` samples; when that is not
    known before the end, ``ceil(pushed * target_rate / source_rate)``.
    """

    def __init__(
        self, source_rate: int, target_rate: int, channels: int, num_samples: int | None = None
    ) -> None:
        self.source_rate, self.target_rate, self.channels = source_rate, target_rate, channels
        self.num_samples = num_samples
        self._pushed = self._given = 0
        self._soxr = None
        if source_rate != target_rate:
            self._soxr = soxr.ResampleStream(source_rate, target_rate, channels, "float32", "HQ")

    def push(self, audio: Samples) -> Samples:
        """What is certain after these samples: ``[C, m]``, ``m >= 0``."""
        self._pushed += audio.shape[1]
        return self._give(audio if self._soxr is None else self._run(audio, last=False))

    def flush(self) -> Samples:
        """The rest: ``[C, m]``."""
        rest = np.zeros((self.channels, 0), dtype=np.float32)
        if self._soxr is not None:
            rest = self._run(rest, last=True)
        if self.num_samples is None:
            self.num_samples = -(-self._pushed * self.target_rate // self.source_rate)
        missing = self.num_samples - self._given - rest.shape[1]
        return self._give(np.pad(rest, ((0, 0), (0, max(0, missing)))))

    def _run(self, audio: Samples, last: bool) -> Samples:
        assert self._soxr is not None
        interleaved = np.ascontiguousarray(audio.T, dtype=np.float32)
        return np.ascontiguousarray(self._soxr.resample_chunk(interleaved, last=last).T)

    def _give(self, audio: Samples) -> Samples:
        if self.num_samples is not None:
            audio = audio[:, : self.num_samples - self._given]
        self._given += audio.shape[1]
        return audio


def pcm_16(audio: Samples) -> npt.NDArray[np.int16]:
    """Samples ``[C, n]`` in [-1, 1] as 16-bit steps ``[n, C]``; louder ones are clipped.

    A 16-bit file that is read (1/32768 a step) and written again stays bit for bit the same.
    """
    steps = np.clip(np.rint(audio * 32768.0), -32768, 32767).astype(np.int16)
    return np.ascontiguousarray(steps.T)


class AudioReader:
    """A sound file read in blocks, in bounded memory.

    ``with AudioReader(path, 16000) as reader: for block in reader.blocks(seconds=5): ...``

    ``info`` describes the file, ``sample_rate`` is that of the blocks, and ``samples_read`` counts
    samples per channel at the file's own rate: after the last block, its exact length.

    Raises:
        CodecError: missing, not a sound file, damaged, or with NaN or infinite samples.
    """

    def __init__(self, path: str | Path, sample_rate: int | None = None) -> None:
        self.path = Path(path)
        self._file = _open(self.path)
        self.info = AudioInfo(self._file.samplerate, self._file.channels, self._file.frames)
        self.sample_rate = sample_rate or self.info.sample_rate
        self.samples_read = 0

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def blocks(self, seconds: float) -> Iterator[Samples]:
        """Blocks ``[C, n]`` of ``round(seconds * sample_rate)`` samples, the last one shorter."""
        size = max(1, round(seconds * self.sample_rate))
        waiting: list[Samples] = []
        held = 0
        for piece in self._resampled():
            waiting.append(piece)
            held += piece.shape[1]
            if held >= size:
                joined = np.concatenate(waiting, axis=1)
                whole = held - held % size
                for start in range(0, whole, size):
                    yield joined[:, start : start + size]
                waiting, held = [joined[:, whole:]], held - whole
        if held:
            yield np.concatenate(waiting, axis=1)

    def _resampled(self) -> Iterator[Samples]:
        try:
            resampler = Resampler(self.info.sample_rate, self.sample_rate, self.info.channels)
        except (ValueError, RuntimeError) as error:
            raise CodecError(
                f"{self.path}: {self.info.sample_rate} Hz cannot be resampled to "
                f"{self.sample_rate} Hz ({error})"
            ) from None
        for piece in self._pieces():
            yield resampler.push(piece)
        yield resampler.flush()

    def _pieces(self) -> Iterator[Samples]:
        """The file's samples as they are, about a second at a time."""
        size = max(1, round(_READ_SECONDS * self.info.sample_rate))
        while True:
            at = f"at {self.samples_read / self.info.sample_rate:.1f} s"
            try:
                piece = self._file.read(size, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise CodecError(f"{self.path}: damaged or cut short {at} ({error})") from None
            if not len(piece):
                return
            yield self._checked(piece)

    def _checked(self, piece: Samples) -> Samples:
        """The next ``[n, C]`` of the file, counted and turned to ``[C, n]``."""
        if not np.isfinite(piece).all():
            at = f"at {self.samples_read / self.info.sample_rate:.1f} s"
            raise CodecError(
                f"{self.path}: a NaN or infinite sample {at}; repair the file or cut it out"
            )
        self.samples_read += len(piece)
        return np.ascontiguousarray(piece.T)


class AudioWriter:
    """A 16-bit sound file written piece by piece; it appears whole at the end, or not at all.

    ``with AudioWriter(path, 16000, channels=2) as writer: writer.write(block)``

    The suffix says the format, ``.wav`` or ``.flac``. With ``num_samples`` (per channel) known from
    the start, a WAV that passes 4 GiB becomes RF64, WAV's own large form.

    Raises:
        CodecError: another suffix, not writable, disk full, NaN samples.
    """

    def __init__(
        self, path: str | Path, sample_rate: int, channels: int, num_samples: int | None = None
    ) -> None:
        self.path, self.sample_rate, self.channels = Path(path), sample_rate, channels
        self.samples_written = 0
        if self.path.is_dir():
            raise CodecError(f"{path}: is a folder; name a file in it")
        suffix = self.path.suffix.lower()
        if suffix not in WRITE_FORMATS:
            raise CodecError(
                f"{path}: cannot write `{suffix}` audio; name it {' or '.join(WRITE_FORMATS)}"
            )
        self._format = WRITE_FORMATS[suffix]
        if self._format == "WAV" and (num_samples or 0) * channels * 2 > WAV_LIMIT:
            self._format = "RF64"
        self._context: AbstractContextManager[AudioWriter]

    def __enter__(self) -> AudioWriter:
        self._context = self._writing()
        return self._context.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return self._context.__exit__(kind, exception, traceback)

    @contextmanager
    def _writing(self) -> Iterator[AudioWriter]:
        with replacing(self.path) as temporary:
            shape = f"{self.channels} channels at {self.sample_rate} Hz"
            with self._sound_errors(f"as {self._format} with {shape}"):
                self._file = soundfile.SoundFile(
                    _c_name(temporary),
                    "w",
                    self.sample_rate,
                    self.channels,
                    "PCM_16",
                    format=self._format,
                )
            try:
                yield self
            finally:
                with self._sound_errors("to its end; is the disk full?"):
                    self._file.close()
            if self._format == "FLAC" and not self.samples_written:
                raise CodecError(f"{self.path}: FLAC cannot hold 0 samples; write a .wav")
            if soundfile.info(_c_name(temporary)).frames != self.samples_written:
                raise CodecError(f"{self.path}: not written whole; is the disk full?")

    def write(self, audio: Samples) -> None:
        """Append float ``[C, n]`` in [-1, 1]; louder samples are clipped."""
        if not np.isfinite(audio).all():
            raise CodecError(f"{self.path}: a NaN or infinite sample was to be written")
        self.samples_written += audio.shape[1]
        if self._format == "WAV" and self.samples_written * self.channels * 2 > WAV_LIMIT:
            raise CodecError(f"{self.path}: longer than the 4 GiB of a WAV; write a .flac")
        with self._sound_errors("to its end; is the disk full?"):
            self._file.write(pcm_16(audio))

    @contextmanager
    def _sound_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except (soundfile.LibsndfileError, OSError, AssertionError, OverflowError) as error:
            # soundfile asserts that all samples went out; on a full disk they did not.
            reason = f" ({error})" if str(error).strip() else ""
            raise CodecError(f"{self.path}: cannot be written {what}{reason}") from None


def _c_name(path: Path) -> str | bytes:
    """What libsndfile opens: bytes, as a name need not be UTF-8; on Windows names are no bytes."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def _open(path: Path) -> soundfile.SoundFile:
    try:
        check_file(path, "sound")
        with path.open("rb") as file:
            if not file.read(1):
                raise CodecError(f"{path}: is empty (0 bytes), not a sound file")
        return soundfile.SoundFile(_c_name(path))
    except FileNotFoundError:
        raise CodecError(f"{path}: no such file") from None
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (soundfile.LibsndfileError, TypeError, ValueError):
        raise CodecError(
            f"{path}: not a sound file that can be read; convert it to WAV or FLAC"
        ) from None
