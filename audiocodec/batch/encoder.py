"""Short audio files side by side: those of like length are padded into one batch and coded at once.

A short file alone leaves most of a GPU idle. On a CPU little is gained (docs/performance.md), so
the command does without there. Long files are longer than a batch; they go on block by block.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch

from audiocodec.audio import AudioReader, Samples, audio_info
from audiocodec.batch.jobs import BatchingPolicy, Job, attempt
from audiocodec.codec import Codec
from audiocodec.errors import CodecError
from audiocodec.files import (
    BLOCK_SECONDS,
    FileResult,
    Progress,
    check_distinct,
    encode_file,
    encoded,
    token_header,
)
from audiocodec.tokens.file import TokenWriter
from audiocodec.tokens.packing import Codes

BATCH_SECONDS = {"cpu": 16.0, "cuda": 160.0}
"""Of audio in a batch, padding and all channels counted. On a CPU more leaves the cache."""
LEAST_SECONDS = 0.1
"""That a file counts as, so that a batch does not hold any number of empty ones."""
HEADER_TOLERANCE = 1.25
"""Times what was planned that a batch may hold: headers, an MP3's above all, may only estimate."""


@dataclass(frozen=True)
class _Loaded:
    """A whole file: ``audio [C, T]`` at the model's rate, and the seconds that reading it took."""

    job: Job
    reader: AudioReader
    audio: Samples
    elapsed: float


class BatchEncoder:
    """Encodes several files at once, each to what :func:`encode_file` makes of it.

    In float64 their codes are the same; in float32 rounding may turn a near tie.

    Args:
        num_codebooks, beam: as in :func:`encode_file`.
        batch_seconds: audio in a batch; by default :data:`BATCH_SECONDS` of the codec's device.
    """

    def __init__(
        self,
        codec: Codec,
        num_codebooks: int | None = None,
        beam: int = 1,
        batch_seconds: float | None = None,
    ) -> None:
        self.codec, self.num_codebooks, self.beam = codec, num_codebooks, beam
        self.device = codec.device
        self.batch_seconds = batch_seconds or BATCH_SECONDS.get(
            self.device.type, BATCH_SECONDS["cuda"]
        )
        # A GPU has one batch at a time, while other threads read and write those before and after.
        self._turn = nullcontext() if self.device.type == "cpu" else threading.Lock()

    def batching_policy(self, progress: Progress) -> BatchingPolicy[FileResult]:
        """For :func:`~audiocodec.batch.jobs.run_jobs`; ``progress`` as in :meth:`encode`."""
        return BatchingPolicy(
            self.measure, self.batch_seconds, lambda jobs: self.encode(jobs, progress)
        )

    def measure(self, job: Job) -> tuple[int, float]:
        """Channels and seconds of an audio file, by its header."""
        info = audio_info(job.source)
        return info.channels, max(info.seconds, LEAST_SECONDS)

    def encode(self, jobs: Sequence[Job], progress: Progress) -> list[FileResult | Exception]:
        """What became of each file: its result, or the error that it failed with.

        A batch that does not fit, or that the codec refuses, is halved; one file goes block by
        block, as it would have alone.

        Args:
            progress: called now and then with the seconds of audio that were read since.
        """
        if len(jobs) == 1:
            return [attempt(lambda job: self._encode_alone(job, progress), jobs[0])]
        files = [attempt(lambda job: self._read(job, progress), job) for job in jobs]
        whole = [loaded for loaded in files if isinstance(loaded, _Loaded)]
        started = time.perf_counter()
        codes = self._codes([loaded.audio for loaded in whole])
        share = (time.perf_counter() - started) / max(1, len(whole))
        if codes is None:
            del files, whole
            torch.cuda.empty_cache()
            half = len(jobs) // 2
            return self.encode(jobs[:half], progress) + self.encode(jobs[half:], progress)

        def write(loaded: _Loaded) -> FileResult:
            progress(0.0)
            return self._write(loaded, next(made), share)

        made = iter(codes)
        return [
            attempt(write, loaded) if isinstance(loaded, _Loaded) else loaded for loaded in files
        ]

    def _encode_alone(self, job: Job, progress: Progress) -> FileResult:
        return encode_file(
            job.source, job.target, self.codec, self.num_codebooks, progress, self.beam
        )

    def _read(self, job: Job, progress: Progress) -> _Loaded:
        """The file's audio; of one that no batch can hold, too much of it."""
        started = time.perf_counter()
        check_distinct(job.source, job.target)
        with AudioReader(job.source, self.codec.sample_rate, allow_truncated=True) as reader:
            blocks = [np.zeros((reader.info.channels, 0), dtype=np.float32)]
            left = self._most_samples
            for block in reader.blocks(BLOCK_SECONDS):
                blocks.append(block)
                progress(block.shape[1] / self.codec.sample_rate)
                left -= block.shape[1]
                if left < 0:
                    break
        audio = np.concatenate(blocks, axis=1)
        return _Loaded(job, reader, audio, time.perf_counter() - started)

    def _codes(self, files: Sequence[Samples]) -> list[Codes] | None:
        """``[C, T]`` each -> its codes ``[C, K, F]``; nothing if they do not go into one batch."""
        lengths = [loaded.shape[1] for loaded in files for _ in loaded]
        longest = max(lengths, default=0)
        if len(lengths) * longest > self._most_samples:
            return None
        batch = torch.zeros(len(lengths), 1, longest, dtype=torch.float32, device="cpu")
        rows = iter(batch)
        for channel in (channel for loaded in files for channel in loaded):
            next(rows)[0, : len(channel)] = torch.from_numpy(channel)
        try:
            with self._turn:
                codes = self.codec.encode(
                    batch.to(self.device), self.num_codebooks, self.beam, lengths
                ).cpu()
        except (torch.OutOfMemoryError, CodecError):
            return None
        hop = self.codec.hop_length
        ends = np.cumsum([len(loaded) for loaded in files])
        return [
            codes[end - len(loaded) : end, :, : -(-loaded.shape[1] // hop)].numpy()
            for loaded, end in zip(files, ends, strict=True)
        ]

    @property
    def _most_samples(self) -> float:
        return HEADER_TOLERANCE * self.batch_seconds * self.codec.sample_rate

    def _write(self, loaded: _Loaded, codes: Codes, share: float) -> FileResult:
        """The token file of ``codes [C, K, F]``, which took ``share`` seconds of a batch."""
        started = time.perf_counter()
        reader = loaded.reader
        header = token_header(
            self.codec, self.num_codebooks, reader.info.sample_rate, reader.info.channels
        )
        with TokenWriter(loaded.job.target, header) as writer:
            writer.write(codes)
            writer.finish(reader.samples_read)
        elapsed = loaded.elapsed + share + time.perf_counter() - started
        return encoded(reader, writer, elapsed)
