"""An audio file to a token file and back, block by block, in bounded memory.

Any sample rate and any number of channels: each channel is resampled to the model's rate and
encoded by itself. Decoding restores the original rate, channels and exact length.

Sources and targets are paths or binary streams. A stream does not have to seek: each block is
coded and passed on as soon as it has arrived.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from audiocodec.audio import AudioReader, RawFormat, Resampler, Samples, open_writer
from audiocodec.errors import CodecError
from audiocodec.paths import check_distinct
from audiocodec.progress import Progress
from audiocodec.results import FileResult, bitrate_in_use, encoded
from audiocodec.runtime import RuntimeCodec
from audiocodec.streaming import StreamDecoder, StreamEncoder
from audiocodec.tokens import TokenSource, TokenWriter, open_tokens, token_header
from audiocodec.tokens.header import FIXED, held_codebooks

BLOCK_SECONDS = 4.0
"""Length of the pieces that are encoded at once into a file."""
STREAM_SECONDS = 0.2
"""Length of the blocks that go into a stream, and so their delay. Each block costs 5 bytes."""

Place = str | Path | BinaryIO


def encode_file(
    source: Place,
    target: Place,
    codec: RuntimeCodec,
    num_codebooks: int | None = None,
    progress: Progress | None = None,
    beam: int = 1,
    raw: RawFormat | None = None,
    coding: str | None = None,
) -> FileResult:
    """Encode an audio file to a ``.tok`` file, which appears whole or not at all.

    An audio file that was cut short is encoded up to the cut; the result has ``truncated`` set.

    Args:
        source: a path; or a binary stream, as in :class:`~audiocodec.audio.AudioReader`.
        target: a path; or an unbuffered binary stream, which gets short blocks of
            :data:`STREAM_SECONDS`, each as soon as its audio has arrived.
        num_codebooks: codebooks to use; ``None`` for all.
        progress: called after each block with its seconds of audio.
        beam: beam width of the search, as in :meth:`RuntimeCodec.encode`. It changes neither the
            file's size nor how it is decoded.
        raw: the format of a source stream of samples without a header.
        coding: ``fixed``, or ``context``, which takes about a quarter less for the same codes and
            needs the codec's context model and takes up to 64 channels; by default ``context``
            where it can be, and ``fixed`` for a target stream, whose rate is then constant.

    Raises:
        CodecError: a bad source (missing, not audio, NaN), a target that cannot be written, more
            codebooks than the codec has, a beam width below 1, or a codec that was never saved and
            has no fingerprint.
    """
    started = time.perf_counter()
    check_distinct(source, target)
    if _path(target) is None:
        coding = coding or FIXED
    seconds, block_frames = _block_length(target, codec)
    with AudioReader(source, codec.sample_rate, raw, allow_truncated=True) as reader:
        header = token_header(
            codec,
            num_codebooks,
            reader.info.sample_rate,
            reader.info.channels,
            block_frames,
            coding=coding or codec.default_coding(reader.info.channels),
        )
        encoder = StreamEncoder(codec, header.num_codebooks, header.channels, beam)
        with TokenWriter(target, header, name="stdout", context=codec.context) as writer:
            for block in reader.blocks(seconds):
                codes = encoder.push(torch.from_numpy(block).unsqueeze(1))
                writer.write(codes)
                if progress:
                    progress(block.shape[1] / codec.sample_rate)
            writer.write(encoder.flush())
            writer.finish(reader.samples_read)
    return encoded(reader, writer, time.perf_counter() - started)


def decode_file(
    source: Place,
    target: Place,
    codec: RuntimeCodec,
    num_codebooks: int | None = None,
    progress: Progress | None = None,
    raw: bool = False,
) -> FileResult:
    """Decode a ``.tok`` file to a 16-bit ``.wav`` or ``.flac``, which appears whole or not at all.

    A file that was cut short is decoded up to the cut; the result has ``truncated`` set.

    Args:
        source: a path; or a binary stream, which is read from its current position.
        target: a path; or an unbuffered binary stream, which gets a WAV block by block.
        num_codebooks: how many of the file's codebooks to use; ``None`` for all.
        progress: called after each block with its seconds of audio.
        raw: write 16-bit samples without a WAV header into a target stream.

    Raises:
        CodecError: a bad source (missing, not a token file, damaged, newer, of another model), a
            target that cannot be written, or more codebooks than the file has.
    """
    started = time.perf_counter()
    check_distinct(source, target)
    with open_tokens(source, codec.context) as tokens:
        header = tokens.header
        check_model(tokens, codec)
        used = held_codebooks(header, num_codebooks, tokens.path)
        with open_writer(
            target, header.original_sample_rate, header.channels, tokens.total_samples, raw
        ) as writer:
            for block in _decoded(tokens, codec, used):
                writer.write(block)
                if progress:
                    progress(block.shape[1] / header.original_sample_rate)
        return FileResult(
            source=tokens.path,
            target=writer.path,
            seconds=tokens.seconds,
            num_samples=tokens.num_samples,
            sample_rate=header.original_sample_rate,
            channels=header.channels,
            num_codebooks=used,
            bitrate=bitrate_in_use(tokens, used),
            file_bytes=tokens.num_bytes,
            elapsed=time.perf_counter() - started,
            truncated=tokens.truncated,
        )


def check_model(tokens: TokenSource, codec: RuntimeCodec) -> None:
    """Raise :class:`CodecError` unless ``codec`` is the model that made these tokens."""
    header = tokens.header
    if header.fingerprint != codec.fingerprint:
        raise CodecError(
            f"{tokens.path}: made by model {header.model} ({header.fingerprint}), not by "
            f"{codec.name} ({codec.fingerprint or 'never saved'}); "
            "name the model that made it with --model"
        )


def _decoded(tokens: TokenSource, codec: RuntimeCodec, num_codebooks: int) -> Iterator[Samples]:
    """The audio ``[C, n]`` at the original rate, block by block, ``num_samples`` in all."""
    header = tokens.header
    decoder = StreamDecoder(codec, batch_size=header.channels)
    resampler = Resampler(codec.sample_rate, header.original_sample_rate, header.channels)
    waiting = np.zeros((header.channels, 0), dtype=np.float32)
    frames = resampled = 0

    def resample(audio: torch.Tensor, end: int) -> Samples:
        """Append decoded audio ``[C, 1, n]`` and resample all up to sample ``end`` of the file."""
        nonlocal waiting, resampled
        waiting = np.concatenate([waiting, audio[:, 0].float().cpu().numpy()], axis=1)
        count = min(waiting.shape[1], end - resampled)
        block, waiting = waiting[:, :count], waiting[:, count:]
        resampled += count
        return resampler.push(block)

    for codes in tokens.pieces(num_codebooks):
        frames += codes.shape[2]
        # The last frame contains padding, and a stream does not say in advance which one that is.
        audio = decoder.push(torch.from_numpy(codes).to(codec.device))
        yield resample(audio, (frames - 1) * codec.hop_length)
    end = frames * codec.hop_length
    if not tokens.truncated:
        end = header.codec_samples(tokens.num_samples)
    yield resample(decoder.flush(), end)
    resampler.num_samples = tokens.num_samples
    yield resampler.flush()


def _path(place: Place) -> Path | None:
    """The path that ``place`` is; ``None`` for a stream."""
    return Path(place) if isinstance(place, (str, Path)) else None


def _block_length(target: Place, codec: RuntimeCodec) -> tuple[float, int]:
    """Seconds of audio to encode at once, and ``block_frames`` of the token file."""
    live = _path(target) is None
    frames = max(1, round((STREAM_SECONDS if live else BLOCK_SECONDS) * codec.frame_rate))
    return frames * codec.hop_length / codec.sample_rate, min(frames, 255) if live else 0
