"""An audio file to a token file and back, block by block, so that hours fit into bounded memory.

Any sample rate and any number of channels: each channel is resampled to the model's rate and coded
side by side with the others. Decoding gives the original rate, channels and exact length again.

Pipes are files that cannot seek: what arrives is coded and passed on at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from audiocodec.audio import (
    AudioReader,
    AudioWriter,
    PipeWriter,
    RawFormat,
    Resampler,
    Samples,
    stream_name,
)
from audiocodec.codec import Codec
from audiocodec.errors import CodecError
from audiocodec.paths import Report, find_inputs
from audiocodec.streaming import StreamDecoder, StreamEncoder
from audiocodec.tokens.file import SUFFIX, TokenFile, TokenHeader, TokenWriter, held_codebooks
from audiocodec.tokens.packing import code_array
from audiocodec.tokens.pipe import TokenPipe

BLOCK_SECONDS = 4.0
PIPE_SECONDS = 0.2
"""Of a block that goes into a pipe: the delay that a block adds; each costs 5 bytes."""

Progress = Callable[[float], object]


@dataclass(frozen=True)
class FileResult:
    """What became of one file. Rates in bits per second, of all channels together.

    ``bitrate`` is what the codes in use take, ``file_bytes`` the whole token file's size and
    ``elapsed`` the seconds of work, in a batch a share of it. ``truncated``: the source was cut
    short, and the result ends at the cut; ``missing_seconds`` is what is missing beyond it, 0 where
    nobody knows. ``peak`` is the largest absolute sample that was encoded: above 1, what is louder
    is clipped when the tokens are decoded. ``reused``: the codes are those of the token file that
    was there.
    """

    source: Path
    target: Path
    seconds: float
    num_samples: int
    sample_rate: int
    channels: int
    num_codebooks: int
    bitrate: float
    file_bytes: int
    elapsed: float
    truncated: bool = False
    reused: bool = False
    missing_seconds: float = 0.0
    peak: float = 0.0


def encode_file(
    source: str | Path | BinaryIO,
    target: str | Path | BinaryIO,
    codec: Codec,
    num_codebooks: int | None = None,
    progress: Progress | None = None,
    beam: int = 1,
    raw: RawFormat | None = None,
) -> FileResult:
    """Encode an audio file to a ``.tok`` file, which appears whole or not at all.

    An audio file that was cut short is encoded up to the cut; the result says so in ``truncated``.

    Args:
        source: a path; or a binary stream, as in :class:`~audiocodec.audio.AudioReader`.
        target: a path; or an unbuffered binary stream, which gets the same bytes in short blocks of
            :data:`PIPE_SECONDS`, each as soon as its audio has come.
        num_codebooks: how many to use; ``None`` for all.
        progress: called after each block with the seconds of audio that it held.
        beam: sums of entries that the search keeps, as in :meth:`Codec.encode`. The file is as
            long as with 1 and decodes alike.
        raw: what a source stream brings if it is samples without a header.

    Raises:
        CodecError: a bad source (missing, not audio, NaN), a target that cannot be written, more
            codebooks than there are, no beam, or a codec that was never saved and has no
            fingerprint.
    """
    started = time.perf_counter()
    check_distinct(source, target)
    pipe = None if isinstance(target, (str, Path)) else target
    frames = _block_frames(codec, PIPE_SECONDS if pipe else BLOCK_SECONDS)
    with AudioReader(source, codec.sample_rate, raw, allow_truncated=True) as reader:
        header = token_header(
            codec,
            num_codebooks,
            reader.info.sample_rate,
            reader.info.channels,
            block_frames=min(frames, 255) if pipe else 0,
        )
        encoder = StreamEncoder(codec, header.num_codebooks, header.channels, beam)
        with TokenWriter(_target_name(target), header, pipe) as writer:
            for block in reader.blocks(frames * codec.hop_length / codec.sample_rate):
                codes = encoder.push(torch.from_numpy(block).unsqueeze(1))
                writer.write(codes.cpu().numpy())
                if progress:
                    progress(block.shape[1] / codec.sample_rate)
            writer.write(encoder.flush().cpu().numpy())
            writer.finish(reader.samples_read)
    return encoded(reader, writer, time.perf_counter() - started)


def decode_file(
    source: str | Path | BinaryIO,
    target: str | Path | BinaryIO,
    codec: Codec,
    num_codebooks: int | None = None,
    progress: Progress | None = None,
    raw: bool = False,
) -> FileResult:
    """Decode a ``.tok`` file to a 16-bit ``.wav`` or ``.flac``, whole or not at all.

    A file that was cut short is decoded up to the cut; the result says so in ``truncated``.

    Args:
        source: a path; or a binary stream, buffered for reading, that brings a ``.tok`` file.
        target: a path; or an unbuffered binary stream, which gets a WAV as the audio is ready.
        num_codebooks: how many of the file's codebooks to use; ``None`` for all.
        progress: called after each block with the seconds of audio that it held.
        raw: give a target stream 16-bit samples without the WAV's header.

    Raises:
        CodecError: a bad source (missing, not a token file, damaged, newer, of another model), a
            target that cannot be written, or more codebooks than the file has.
    """
    started = time.perf_counter()
    check_distinct(source, target)
    with TokenFile(source) if isinstance(source, (str, Path)) else TokenPipe(source) as tokens:
        header = tokens.header
        check_model(tokens, codec)
        used = held_codebooks(header, num_codebooks, tokens.path)
        known = tokens.num_samples if isinstance(tokens, TokenFile) else None
        with _writer(target, header, known, raw) as writer:
            for block in _decoded(tokens, codec, num_codebooks):
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
            bitrate=codec.bitrate(used) * header.channels,
            file_bytes=tokens.num_bytes,
            elapsed=time.perf_counter() - started,
            truncated=tokens.truncated,
        )


def encoded(reader: AudioReader, writer: TokenWriter, elapsed: float) -> FileResult:
    """The result of an audio file that was read to its end and of its token file, now whole."""
    return FileResult(
        source=reader.path,
        target=writer.path,
        seconds=reader.samples_read / reader.info.sample_rate,
        num_samples=reader.samples_read,
        sample_rate=reader.info.sample_rate,
        channels=writer.header.channels,
        num_codebooks=writer.header.num_codebooks,
        bitrate=writer.header.bitrate,
        file_bytes=writer.num_bytes,
        elapsed=elapsed,
        truncated=reader.truncated,
        missing_seconds=reader.missing_seconds,
        peak=reader.peak,
    )


def token_header(
    codec: Codec,
    num_codebooks: int | None,
    original_sample_rate: int,
    channels: int,
    block_frames: int = 0,
) -> TokenHeader:
    """The header of a token file that holds ``codec``'s codes; ``block_frames`` as it has it.

    Raises:
        CodecError: more codebooks than there are, or a codec without a fingerprint.
    """
    num_codebooks = codec.resolve_num_codebooks(num_codebooks)
    return TokenHeader(
        model=codec.name,
        fingerprint=codec.fingerprint,
        sample_rate=codec.sample_rate,
        hop_length=codec.hop_length,
        original_sample_rate=original_sample_rate,
        channels=channels,
        codebook_sizes=codec.codebook_sizes[:num_codebooks],
        block_frames=block_frames,
    )


def save_codes(
    target: str | Path | BinaryIO,
    codes: Any,
    codec: Codec,
    num_samples: int | None = None,
    sample_rate: int | None = None,
) -> None:
    """Write codes that there are already as a ``.tok`` file; ``TokenFile(target).read()`` is them.

    Args:
        target: a path, where the file appears whole or not at all, or a binary stream.
        codes: ``[C, K, F]`` or ``[K, F]``, a tensor or NumPy array of ``codec``'s codes. Channels
            are those of one recording; of a batch, write an item at a time.
        num_samples: of each channel, at ``sample_rate``; by default all that ``F`` frames hold.
        sample_rate: of the recording, in Hz, which decoding restores; by default the codec's.

    Raises:
        CodecError: codes of another shape or type or outside their codebooks, a number of samples
            that has another number of frames, a codec that was never saved, or a place that cannot
            be written.
    """
    array = code_array(codes)
    channels, num_codebooks, frames = array.shape
    header = token_header(codec, num_codebooks, sample_rate or codec.sample_rate, channels)
    if num_samples is None:
        num_samples = frames * codec.hop_length * header.original_sample_rate // codec.sample_rate
    with TokenWriter(target, header) as writer:
        writer.write(array)
        writer.finish(num_samples)


def find_tokens(path: str | Path, report: Report | None = None) -> list[Path]:
    """The ``.tok`` files in a folder and its subfolders, sorted; of a file, the file itself.

    Args:
        report: as in :func:`~audiocodec.audio.find_audio`.

    Raises:
        CodecError: nothing at ``path``, a folder without token files, or one that cannot be listed.
    """
    return find_inputs(path, {SUFFIX}, f"no {SUFFIX} files in this folder", report)


def check_model(tokens: TokenFile | TokenPipe, codec: Codec) -> None:
    """Raise :class:`CodecError` unless ``codec`` is the model that made these tokens."""
    header = tokens.header
    if header.fingerprint != codec.fingerprint:
        raise CodecError(
            f"{tokens.path}: made by model {header.model} ({header.fingerprint}), not by "
            f"{codec.name} ({codec.fingerprint or 'never saved'}); "
            "name the model that made it with --model"
        )


def check_distinct(source: str | Path | BinaryIO, target: str | Path | BinaryIO) -> None:
    """Raise :class:`CodecError` if a file was to be replaced by its own result."""
    paths = [os.path.realpath(p) for p in (source, target) if isinstance(p, (str, Path))]
    if len(paths) > len(set(paths)):
        raise CodecError(f"{target}: is the input itself; name another output")


def _decoded(
    tokens: TokenFile | TokenPipe, codec: Codec, num_codebooks: int | None
) -> Iterator[Samples]:
    """The audio ``[C, n]`` at the original rate, block by block, ``num_samples`` in all."""
    header = tokens.header
    decoder = StreamDecoder(codec, batch_size=header.channels)
    resampler = Resampler(codec.sample_rate, header.original_sample_rate, header.channels)
    waiting = np.zeros((header.channels, 0), dtype=np.float32)
    frames = played = 0

    def play(audio: torch.Tensor, limit: int) -> Samples:
        """Into the resampler goes what is decoded, up to sample ``limit`` of the signal."""
        nonlocal waiting, played
        waiting = np.concatenate([waiting, audio[:, 0].float().cpu().numpy()], axis=1)
        count = min(waiting.shape[1], limit - played)
        piece, waiting = waiting[:, :count], waiting[:, count:]
        played += count
        return resampler.push(piece)

    if isinstance(tokens, TokenPipe):
        pieces = tokens.pieces(num_codebooks)
    else:
        pieces = tokens.pieces(num_codebooks, _block_frames(codec, BLOCK_SECONDS))
    for codes in pieces:
        frames += codes.shape[2]
        # The last frame was padded, and which one is the last, a pipe tells at its end.
        yield play(
            decoder.push(torch.from_numpy(codes).to(codec.device)), (frames - 1) * codec.hop_length
        )
    # Beyond the signal nothing is played into the resampler.
    end = frames * codec.hop_length
    if not tokens.truncated:
        end = header.codec_samples(tokens.num_samples)
    yield play(decoder.flush(), end)
    resampler.num_samples = tokens.num_samples
    yield resampler.flush()


def _writer(
    target: str | Path | BinaryIO, header: TokenHeader, num_samples: int | None, raw: bool
) -> AudioWriter | PipeWriter:
    sample_rate, channels = header.original_sample_rate, header.channels
    if isinstance(target, (str, Path)):
        return AudioWriter(target, sample_rate, channels, num_samples)
    return PipeWriter(target, sample_rate, channels, num_samples, raw)


def _block_frames(codec: Codec, seconds: float) -> int:
    return max(1, round(seconds * codec.frame_rate))


def _target_name(target: str | Path | BinaryIO) -> Path:
    return Path(target) if isinstance(target, (str, Path)) else stream_name(target, "stdout")
