"""Audio: find files, read, resample, write.

What can be read is in :mod:`audiocodec.audio.sources`. Written are 16-bit WAV and FLAC. Arrays are
float32 ``[C, T]``: channels, samples in [-1, 1].

A file is read and resampled as a stream, so its length does not matter for memory. soxr gives the
same samples for any size of piece, and each signal gets its exact length: ``n`` samples at rate
``a`` are ``ceil(n * b / a)`` samples at rate ``b``.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
import torch

from audiocodec.audio.sources import open_source
from audiocodec.audio.wav import RawFormat
from audiocodec.errors import CodecError, DamagedError, RestError
from audiocodec.paths import Report, check_file, find_inputs, replacing, writing

Samples = npt.NDArray[np.float32]

READ_SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".opus", ".mp3", ".oga", ".aif", ".aiff", ".w64"),
    *(".m4a", ".mp4", ".aac", ".webm", ".mka", ".wma", ".amr"),  # with the extra `av`
)
WRITE_FORMATS = {".wav": "WAV", ".flac": "FLAC"}
WAV_LIMIT = 2**32 - 2**16  # bytes of samples; a WAV's sizes are 32-bit numbers
FLAC_CHANNELS = 8
_READ_SECONDS = 1.0


@dataclass(frozen=True)
class AudioInfo:
    """What an audio file says of itself before it is decoded.

    ``num_samples`` is per channel: 0 where nobody knows it yet, as of a pipe.
    """

    sample_rate: int
    channels: int
    num_samples: int

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate


def find_audio(path: str | Path, report: Report | None = None) -> list[Path]:
    """The audio files in a folder and its subfolders, sorted; for a file, the file itself.

    Args:
        report: called with each folder in it that cannot be listed and the line that says why;
            without it that is an error.

    Raises:
        CodecError: nothing at ``path``, a folder without audio files, or one that cannot be listed.
    """
    none = f"no audio in this folder (looked for {' '.join(READ_SUFFIXES)})"
    return find_inputs(path, READ_SUFFIXES, none, report)


def audio_info(source: str | Path | BinaryIO) -> AudioInfo:
    """Sample rate (Hz), channels and samples per channel, without decoding.

    Raises:
        CodecError: missing, or not audio.
    """
    with AudioReader(source) as reader:
        return reader.info


def load_audio(
    source: str | Path | BinaryIO, sample_rate: int | None = None, allow_truncated: bool = False
) -> tuple[torch.Tensor, int]:
    """A whole audio file: float32 ``[C, T]`` and its rate, resampled if ``sample_rate`` is given.

    Samples of float files may lie beyond [-1, 1]. They are given as they are; the codec is made for
    [-1, 1], and what it decodes is clipped there.

    Args:
        source: a path, or a binary stream such as ``io.BytesIO``, read from where it stands.
        allow_truncated: of a file that was cut short, give what there is. By default it is an
            error, so that training and evaluation never lose audio silently.

    Raises:
        CodecError: missing, not audio, damaged, cut short, or with NaN or infinite samples.
    """
    with AudioReader(source, sample_rate, allow_truncated=allow_truncated) as reader:
        empty = np.zeros((reader.info.channels, 0), dtype=np.float32)
        audio = np.concatenate([empty, *reader.blocks(seconds=10)], axis=1)
        return torch.from_numpy(audio), reader.sample_rate


def save_audio(
    target: str | Path | BinaryIO, audio: torch.Tensor, sample_rate: int, format: str | None = None
) -> None:
    """Write ``audio [C, T]`` as 16-bit WAV or FLAC, clipped to [-1, 1], whole or not.

    Args:
        target: a path that ends with ``.wav`` or ``.flac``; or a binary stream, left open.
        format: ``"WAV"`` or ``"FLAC"``, whatever the path's suffix; a stream gets a WAV by default.

    Raises:
        CodecError: the place is not writable, another format, whole numbers, or NaN samples.
    """
    name = Path(target) if isinstance(target, (str, Path)) else stream_name(target, "stdout")
    if audio.dim() != 2 or not len(audio):
        shape = list(audio.shape)
        raise CodecError(f"{name}: audio to save must be [channels, samples], not {shape}")
    if not audio.is_floating_point():
        raise CodecError(
            f"{name}: audio to save must be float in [-1, 1], not {audio.dtype}; divide int16 by "
            "32768"
        )
    samples = audio.detach().to("cpu", torch.float32).numpy()
    with AudioWriter(target, sample_rate, len(samples), samples.shape[1], format) as writer:
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
    """Audio read in blocks, in bounded memory, from a file or a stream.

    ``with AudioReader(path, 16000) as reader: for block in reader.blocks(seconds=5): ...``

    ``info`` describes the input, ``sample_rate`` is that of the blocks, and ``samples_read`` counts
    samples per channel at the input's own rate: after the last block, its exact length. ``peak`` is
    the largest absolute sample so far; what is above 1 (in float files, say) is not changed here.

    Args:
        source: a path; or a binary stream, read from where it stands and left open. A WAV, or
            ``raw``, gives each block as soon as its samples have arrived. A stream of another kind
            that cannot seek goes into a temporary file first.
        raw: what a stream brings if it is samples without a header.
        allow_truncated: read what was cut short up to the cut, instead of raising there. After the
            last block ``truncated`` and ``missing_seconds`` (0 where nobody knows) say so.

    Raises:
        CodecError: missing, not audio, damaged, cut short, or with NaN or infinite samples.
    """

    def __init__(
        self,
        source: str | Path | BinaryIO,
        sample_rate: int | None = None,
        raw: RawFormat | None = None,
        allow_truncated: bool = False,
    ) -> None:
        self._allow_truncated = allow_truncated
        with ExitStack() as stack:
            if isinstance(source, (str, Path)):
                self.path = Path(source)
                source = stack.enter_context(_open(self.path))
            else:
                self.path = stream_name(source, "stdin")
            with self._read_errors():
                self._source = open_source(source, self.path, stack, raw)
            self._stack = stack.pop_all()
        self.info = AudioInfo(
            self._source.sample_rate, self._source.channels, self._source.num_samples
        )
        self.sample_rate = sample_rate or self.info.sample_rate
        self.samples_read = 0
        self.peak = 0.0
        self.truncated = False
        self.missing_seconds = 0.0

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

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
        """The input's samples as they are, about a second at a time."""
        size = max(1, round(_READ_SECONDS * self.info.sample_rate))
        while True:
            with self._read_errors():
                piece = self._source.read(size)
            if not len(piece):
                break
            yield self._checked(piece)
        if self._source.truncated:
            self.truncated = True
            self.missing_seconds = self._source.missing / self.info.sample_rate
            if not self._allow_truncated:
                missing = f", {self.missing_seconds:.2f} s are missing"
                raise CodecError(
                    f"{self.path}: cut short at {self._seconds:.2f} s"
                    f"{missing if self.missing_seconds else ''}; replace it, or convert what is "
                    "left of it to WAV"
                )

    @property
    def _seconds(self) -> float:
        """The place in the input where reading is."""
        return self.samples_read / self.info.sample_rate

    @contextmanager
    def _read_errors(self) -> Iterator[None]:
        try:
            yield
        except DamagedError as error:
            raise CodecError(
                f"{self.path}: damaged or cut short at {self._seconds:.1f} s ({error})"
            ) from None
        except RestError as error:
            what, remedy = error.args
            raise CodecError(f"{self.path}: at {self._seconds:.2f} s {what}; {remedy}") from None
        except OSError as error:
            raise CodecError(f"{self.path}: cannot be read ({error.strerror or error})") from None

    def _checked(self, piece: Samples) -> Samples:
        """The next ``[n, C]`` of the input, counted and turned to ``[C, n]``."""
        peak = max(float(piece.max()), -float(piece.min()))  # NaN if there is one
        if not math.isfinite(peak):
            raise CodecError(
                f"{self.path}: a NaN or infinite sample at {self._seconds:.1f} s; repair the file "
                "or cut it out"
            )
        self.peak = max(self.peak, peak)
        self.samples_read += len(piece)
        return np.ascontiguousarray(piece.T)


def stream_name(stream: BinaryIO, standard: str) -> Path:
    """What messages call a stream: its name, or ``standard`` for one that has a number."""
    name = getattr(stream, "name", f"<{type(stream).__name__}>")
    return Path(standard) if isinstance(name, int) else Path(os.fsdecode(name))


class AudioWriter:
    """A 16-bit audio file written piece by piece; it appears whole at the end, or not at all.

    ``with AudioWriter(path, 16000, channels=2) as writer: writer.write(block)``

    A path's suffix says the format, ``.wav`` or ``.flac``, unless ``format`` (``"WAV"`` or
    ``"FLAC"``) does. A binary stream that can seek gets a WAV unless ``format`` says otherwise, and
    is left open. With ``num_samples`` (per channel) known from the start, a WAV that passes 4 GiB
    becomes RF64, WAV's own large form.

    Raises:
        CodecError: another format, not writable, disk full, NaN samples.
    """

    def __init__(
        self,
        target: str | Path | BinaryIO,
        sample_rate: int,
        channels: int,
        num_samples: int | None = None,
        format: str | None = None,
    ) -> None:
        self.sample_rate, self.channels = sample_rate, channels
        self.samples_written = 0
        self._stream = None if isinstance(target, (str, Path)) else target
        if isinstance(target, (str, Path)):
            self.path = Path(target)
            if self.path.is_dir():
                raise CodecError(f"{target}: is a folder; name a file in it")
            suffix = self.path.suffix.lower()
            if format is None and suffix not in WRITE_FORMATS:
                raise CodecError(
                    f"{target}: cannot write `{suffix}` audio; name it {' or '.join(WRITE_FORMATS)}"
                )
            self._format = format or WRITE_FORMATS[suffix]
        else:
            self.path = stream_name(target, "stdout")
            self._format = format or "WAV"
        self._format = self._format.upper()
        if self._format not in WRITE_FORMATS.values():
            formats = " or ".join(WRITE_FORMATS.values())
            raise CodecError(f"{self.path}: cannot write `{format}` audio; the format is {formats}")
        if self._format == "WAV" and (num_samples or 0) * channels * 2 > WAV_LIMIT:
            self._format = "RF64"
        self._context: AbstractContextManager[AudioWriter]

    def __enter__(self) -> AudioWriter:
        self._context = self._writing() if self._stream is None else self._streaming(self._stream)
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
            with self._filling(_c_name(temporary)):
                yield self
            if soundfile.info(_c_name(temporary)).frames != self.samples_written:
                raise CodecError(f"{self.path}: not written whole; is the disk full?")

    @contextmanager
    def _streaming(self, stream: BinaryIO) -> Iterator[AudioWriter]:
        """The file is made in memory: libsndfile goes back in it, and may not into the stream."""
        memory = io.BytesIO()
        with self._filling(memory):
            yield self
        data = memory.getvalue()
        with writing(self.path):
            while data:
                data = data[stream.write(data) :]

    @contextmanager
    def _filling(self, place: str | bytes | io.BytesIO) -> Iterator[None]:
        """``_file`` open for writing at ``place``, then closed."""
        remedy = ""
        if self._format == "FLAC":
            remedy = f"; FLAC holds {FLAC_CHANNELS} channels at most, write a .wav"
        shape = f"{self.channels} channels at {self.sample_rate} Hz"
        with self._sound_errors(
            f"as {self._format} with {shape}", remedy if self.channels > FLAC_CHANNELS else ""
        ):
            self._file = soundfile.SoundFile(
                place, "w", self.sample_rate, self.channels, "PCM_16", format=self._format
            )
        try:
            yield
        finally:
            with self._sound_errors("to its end; is the disk full?"):
                self._file.close()
        if self._format == "FLAC" and not self.samples_written:
            raise CodecError(f"{self.path}: FLAC cannot hold 0 samples; write a .wav")

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
    def _sound_errors(self, what: str, remedy: str = "") -> Iterator[None]:
        try:
            yield
        except (soundfile.LibsndfileError, OSError, AssertionError, OverflowError) as error:
            # soundfile asserts that all samples went out; on a full disk they did not. Its own
            # words name the temporary file, libsndfile's do not.
            reason = getattr(error, "error_string", None) or getattr(error, "strerror", None)
            if reason is None:
                reason = str(error)
            reason = f" ({reason.strip().rstrip('.')})" if reason.strip() else ""
            raise CodecError(f"{self.path}: cannot be written {what}{reason}{remedy}") from None


def _c_name(path: Path) -> str | bytes:
    """What libsndfile opens: bytes, as a name need not be UTF-8; on Windows names are no bytes."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def _open(path: Path) -> BinaryIO:
    try:
        check_file(path, "audio")
        return path.open("rb")
    except FileNotFoundError:
        raise CodecError(f"{path}: no such file") from None
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror or error})") from None
