"""Encoding short audio files of similar length in one padded batch.

A short file alone leaves most of a GPU idle. On a CPU a batch gains little (docs/performance.md),
so the command does not use batches there. A file longer than a batch is encoded block by block.
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
from audiocodec.batch.grouping import BatchingPolicy
from audiocodec.batch.plan import Job
from audiocodec.batch.run import attempt
from audiocodec.errors import CodecError
from audiocodec.files import BLOCK_SECONDS, encode_file
from audiocodec.paths import check_distinct
from audiocodec.progress import Progress
from audiocodec.results import FileResult, encoded
from audiocodec.runtime import RuntimeCodec
from audiocodec.tokens import TokenWriter, token_header
from audiocodec.tokens.packing import Codes

BATCH_SECONDS = {"cpu": 16.0, "cuda": 160.0}
"""Seconds of audio in a batch, with padding and all channels. On a CPU more exceeds the cache."""
MIN_SECONDS = 0.1
"""Every file counts as at least this long, so that a batch of empty files is limited too."""
HEADER_TOLERANCE = 1.25
"""A batch may exceed its planned size by this factor: a header, of an MP3 above all, may only
estimate a file's length."""


@dataclass(frozen=True)
class _Loaded:
    """A file in memory: ``audio [C, T]`` at the model's rate; ``elapsed`` seconds to read it."""

    job: Job
    reader: AudioReader
    audio: Samples
    elapsed: float


class BatchEncoder:
    """Encodes several files at once, with the same results as :func:`encode_file`.

    In float64 the codes are identical. In float32, rounding may decide a near tie differently.

    Args:
        num_codebooks, beam, coding: as in :func:`encode_file`.
        batch_seconds: seconds of audio in a batch; by default :data:`BATCH_SECONDS` of the codec's
            device.
    """

    def __init__(
        self,
        codec: RuntimeCodec,
        num_codebooks: int | None = None,
        beam: int = 1,
        coding: str | None = None,
        batch_seconds: float | None = None,
    ) -> None:
        self.codec, self.num_codebooks, self.beam, self.coding = codec, num_codebooks, beam, coding
        self.device = codec.device
        self.batch_seconds = batch_seconds or BATCH_SECONDS.get(
            self.device.type, BATCH_SECONDS["cuda"]
        )
        # A GPU computes one batch at a time, while other threads read the next and write the last.
        self._turn = nullcontext() if self.device.type == "cpu" else threading.Lock()

    def batching_policy(self, progress: Progress) -> BatchingPolicy[FileResult]:
        """For :func:`~audiocodec.batch.run.run_jobs`; ``progress`` as in :meth:`encode`."""
        return BatchingPolicy(
            self.measure, self.batch_seconds, lambda jobs: self.encode(jobs, progress)
        )

    def measure(self, job: Job) -> tuple[int, float]:
        """Channels and seconds of an audio file according to its header."""
        info = audio_info(job.source)
        return info.channels, max(info.seconds, MIN_SECONDS)

    def encode(self, jobs: Sequence[Job], progress: Progress) -> list[FileResult | Exception]:
        """The result, or the exception, of each file.

        A batch that does not fit into memory, or that the codec refuses, is halved. A single file
        is encoded block by block.

        Args:
            progress: called now and then with the seconds of audio read since the last call.
        """
        if len(jobs) == 1:
            return [attempt(lambda job: self._encode_alone(job, progress), jobs[0])]
        files = [attempt(lambda job: self._read(job, progress), job) for job in jobs]
        readable = [loaded for loaded in files if isinstance(loaded, _Loaded)]
        started = time.perf_counter()
        codes = self._codes([loaded.audio for loaded in readable])
        share = (time.perf_counter() - started) / max(1, len(readable))
        if codes is None:
            del files, readable
            torch.cuda.empty_cache()
            half = len(jobs) // 2
            return self.encode(jobs[:half], progress) + self.encode(jobs[half:], progress)

        def write(loaded: _Loaded) -> FileResult:
            progress(0.0)
            return self._write(loaded, next(remaining), share)

        remaining = iter(codes)
        return [
            attempt(write, loaded) if isinstance(loaded, _Loaded) else loaded for loaded in files
        ]

    def _encode_alone(self, job: Job, progress: Progress) -> FileResult:
        return encode_file(
            job.source,
            job.target,
            self.codec,
            self.num_codebooks,
            progress,
            self.beam,
            None,
            self.coding,
        )

    def _read(self, job: Job, progress: Progress) -> _Loaded:
        """The file's audio. Reading ends when there is more of it than a batch can hold."""
        started = time.perf_counter()
        check_distinct(job.source, job.target)
        with AudioReader(job.source, self.codec.sample_rate, allow_truncated=True) as reader:
            blocks = [np.zeros((reader.info.channels, 0), dtype=np.float32)]
            num_samples = 0
            for block in reader.blocks(BLOCK_SECONDS):
                blocks.append(block)
                progress(block.shape[1] / self.codec.sample_rate)
                num_samples += block.shape[1]
                if num_samples > self._max_samples:
                    break
        audio = np.concatenate(blocks, axis=1)
        return _Loaded(job, reader, audio, time.perf_counter() - started)

    def _codes(self, files: Sequence[Samples]) -> list[Codes] | None:
        """Files ``[C, T]`` -> codes ``[C, K, F]`` of each; ``None`` if they exceed one batch."""
        lengths = [loaded.shape[1] for loaded in files for _ in loaded]
        longest = max(lengths, default=0)
        if len(lengths) * longest > self._max_samples:
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
    def _max_samples(self) -> float:
        return HEADER_TOLERANCE * self.batch_seconds * self.codec.sample_rate

    def _write(self, loaded: _Loaded, codes: Codes, share: float) -> FileResult:
        """Write ``codes [C, K, F]``; computing them took ``share`` seconds."""
        started = time.perf_counter()
        reader = loaded.reader
        header = token_header(
            self.codec,
            self.num_codebooks,
            reader.info.sample_rate,
            reader.info.channels,
            coding=self.coding or self.codec.default_coding(reader.info.channels),
        )
        context = self.codec.context
        with TokenWriter(loaded.job.target, header, context=context) as writer:
            writer.write(codes)
            writer.finish(reader.samples_read)
        elapsed = loaded.elapsed + share + time.perf_counter() - started
        return encoded(reader, writer, elapsed)
