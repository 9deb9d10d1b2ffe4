"""Reading audio in blocks at any sample rate, in bounded memory, from files and pipes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from audiocodec.audio.formats import open_source
from audiocodec.audio.raw import RawFormat
from audiocodec.audio.resampling import Resampler
from audiocodec.audio.source import ContinuationError, DamagedError, Samples
from audiocodec.errors import CodecError
from audiocodec.paths import check_file, stream_name

_READ_SECONDS = 1.0


@dataclass(frozen=True)
class AudioInfo:
    """What an audio file's header says: sample rate in Hz, channels, samples per channel.

    ``num_samples`` may be an estimate, and is 0 if it is unknown, as for a pipe.
    """

    sample_rate: int
    channels: int
    num_samples: int

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate


def audio_info(source: str | Path | BinaryIO) -> AudioInfo:
    """Sample rate (Hz), channels and samples per channel, without decoding.

    Raises:
        CodecError: missing, or not audio.
    """
    with AudioReader(source) as reader:
        return reader.info


class AudioReader:
    """Reads audio block by block, in bounded memory, from a file or a stream.

    ``with AudioReader(path, 16000) as reader: for block in reader.blocks(seconds=5): ...``

    ``info`` describes the input, ``sample_rate`` is that of the blocks. ``samples_read`` counts
    samples per channel at the input's own rate; after the last block it is the exact length.
    ``peak`` is the largest absolute sample so far. Values above 1 (in float files, say) are not
    changed.

    Args:
        source: a path; or a binary stream, read from its current position and left open. A WAV, or
            ``raw``, gives each block as soon as its samples have arrived. A pipe with another
            format is first copied into a temporary file.
        sample_rate: Hz to resample to; ``None`` keeps the input's.
        raw: format of a stream of samples without a header.
        allow_truncated: read an input that was cut short up to the cut, instead of raising there.
            After the last block ``truncated`` says so, and ``missing_seconds`` how much is missing
            (0 if unknown).

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
        self.samples_read = 0
        self.peak = 0.0
        self.truncated = False
        self.missing_seconds = 0.0
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

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def blocks(self, seconds: float) -> Iterator[Samples]:
        """Blocks ``[C, n]`` of ``round(seconds * sample_rate)`` samples, the last one shorter."""
        size = max(1, round(seconds * self.sample_rate))
        pending: list[Samples] = []
        held = 0
        for chunk in self._resampled():
            pending.append(chunk)
            held += chunk.shape[1]
            if held >= size:
                joined = np.concatenate(pending, axis=1)
                whole = held - held % size
                for start in range(0, whole, size):
                    yield joined[:, start : start + size]
                pending, held = [joined[:, whole:]], held - whole
        if held:
            yield np.concatenate(pending, axis=1)

    def _resampled(self) -> Iterator[Samples]:
        """Chunks ``[C, n]`` at ``sample_rate``."""
        try:
            resampler = Resampler(self.info.sample_rate, self.sample_rate, self.info.channels)
        except (ValueError, RuntimeError) as error:
            raise CodecError(
                f"{self.path}: {self.info.sample_rate} Hz cannot be resampled to "
                f"{self.sample_rate} Hz ({error})"
            ) from None
        for chunk in self._chunks():
            yield resampler.push(chunk)
        yield resampler.flush()

    def _chunks(self) -> Iterator[Samples]:
        """Chunks ``[C, n]`` at the input's own rate, of about a second."""
        size = max(1, round(_READ_SECONDS * self.info.sample_rate))
        while True:
            with self._read_errors():
                chunk = self._source.read(size)
            if not len(chunk):
                break
            yield self._checked(chunk)
        if self._source.truncated:
            self.truncated = True
            self.missing_seconds = self._source.missing_samples / self.info.sample_rate
            if not self._allow_truncated:
                missing = f", {self.missing_seconds:.2f} s are missing"
                raise CodecError(
                    f"{self.path}: cut short at {self._seconds:.2f} s"
                    f"{missing if self.missing_seconds else ''}; replace it, or convert what is "
                    "left of it to WAV"
                )

    @property
    def _seconds(self) -> float:
        """The position in the input, in seconds."""
        return self.samples_read / self.info.sample_rate if self.samples_read else 0.0

    @contextmanager
    def _read_errors(self) -> Iterator[None]:
        """Turn errors of a source into a :class:`CodecError` with file and position."""
        try:
            yield
        except DamagedError as error:
            raise CodecError(
                f"{self.path}: damaged or cut short at {self._seconds:.1f} s ({error})"
            ) from None
        except ContinuationError as error:
            raise CodecError(
                f"{self.path}: at {self._seconds:.2f} s {error.what}; {error.remedy}"
            ) from None
        except OSError as error:
            raise CodecError(f"{self.path}: cannot be read ({error.strerror or error})") from None

    def _checked(self, chunk: Samples) -> Samples:
        """The next ``[n, C]`` of the input, checked, counted and transposed to ``[C, n]``."""
        peak = max(float(chunk.max()), -float(chunk.min()))  # NaN if there is one
        if not math.isfinite(peak):
            raise CodecError(
                f"{self.path}: a NaN or infinite sample at {self._seconds:.1f} s; repair the file "
                "or cut it out"
            )
        self.peak = max(self.peak, peak)
        self.samples_read += len(chunk)
        return np.ascontiguousarray(chunk.T)


def _open(path: Path) -> BinaryIO:
    try:
        check_file(path, "audio")
        return path.open("rb")
    except FileNotFoundError:
        raise CodecError(f"{path}: no such file") from None
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror or error})") from None
