"""A sound file to a token file and back, block by block, so that hours fit into bounded memory.

Any sample rate and any number of channels: each channel is resampled to the model's rate and coded
side by side with the others. Decoding gives the original rate, channels and exact length again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from audiocodec.audio import AudioReader, AudioWriter, Resampler, Samples
from audiocodec.codec import Codec
from audiocodec.errors import CodecError
from audiocodec.paths import find_files
from audiocodec.streaming import StreamDecoder, StreamEncoder
from audiocodec.tokenfile import SUFFIX, TokenFile, TokenHeader, TokenWriter

BLOCK_SECONDS = 4.0

Progress = Callable[[float], object]


@dataclass(frozen=True)
class FileResult:
    """What became of one file. Rates in bits per second, of all channels together.

    ``bitrate`` is what the codes in use take, ``file_bytes`` the whole token file's size and
    ``elapsed`` the seconds of work. ``truncated``: the token file was cut short, and what was
    decoded ends at the cut.
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


def encode_file(
    source: str | Path,
    target: str | Path,
    codec: Codec,
    num_codebooks: int | None = None,
    progress: Progress | None = None,
    beam: int = 1,
) -> FileResult:
    """Encode a sound file to a ``.tok`` file, which appears whole or not at all.

    Args:
        num_codebooks: how many to use; ``None`` for all.
        progress: called after each block with the seconds of sound that it held.
        beam: sums of entries that the search keeps, as in :meth:`Codec.encode`. The file is as
            long as with 1 and decodes alike.

    Raises:
        CodecError: a bad source (missing, not audio, NaN), a target that cannot be written, more
            codebooks than there are, no beam, or a codec that was never saved and has no
            fingerprint.
    """
    started = time.perf_counter()
    source, target = _distinct(source, target)
    with AudioReader(source, codec.sample_rate) as reader:
        header = token_header(codec, num_codebooks, reader.info.sample_rate, reader.info.channels)
        encoder = StreamEncoder(codec, header.num_codebooks, header.channels, beam)
        with TokenWriter(target, header) as writer:
            for block in reader.blocks(_block_frames(codec) * codec.hop_length / codec.sample_rate):
                codes = encoder.push(torch.from_numpy(block).unsqueeze(1))
                writer.write(codes.cpu().numpy())
                if progress:
                    progress(block.shape[1] / codec.sample_rate)
            writer.write(encoder.flush().cpu().numpy())
            writer.finish(reader.samples_read)
    return FileResult(
        source=source,
        target=target,
        seconds=reader.samples_read / reader.info.sample_rate,
        num_samples=reader.samples_read,
        sample_rate=reader.info.sample_rate,
        channels=header.channels,
        num_codebooks=header.num_codebooks,
        bitrate=header.bitrate,
        file_bytes=target.stat().st_size,
        elapsed=time.perf_counter() - started,
    )


def decode_file(
    source: str | Path,
    target: str | Path,
    codec: Codec,
    num_codebooks: int | None = None,
    progress: Progress | None = None,
) -> FileResult:
    """Decode a ``.tok`` file to a 16-bit ``.wav`` or ``.flac``, whole or not at all.

    A file that was cut short is decoded up to the cut; the result says so in ``truncated``.

    Args:
        num_codebooks: how many of the file's codebooks to use; ``None`` for all.
        progress: called after each block with the seconds of sound that it held.

    Raises:
        CodecError: a bad source (missing, not a token file, damaged, newer, of another model), a
            target that cannot be written, or more codebooks than the file has.
    """
    started = time.perf_counter()
    source, target = _distinct(source, target)
    with TokenFile(source) as tokens:
        header = tokens.header
        check_model(tokens, codec)
        tokens.read(0, 0, num_codebooks)
        with AudioWriter(
            target, header.original_sample_rate, header.channels, tokens.num_samples
        ) as writer:
            for block in _decoded(tokens, codec, num_codebooks):
                writer.write(block)
                if progress:
                    progress(block.shape[1] / header.original_sample_rate)
        used = header.num_codebooks if num_codebooks is None else num_codebooks
        return FileResult(
            source=source,
            target=target,
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


def token_header(
    codec: Codec, num_codebooks: int | None, original_sample_rate: int, channels: int
) -> TokenHeader:
    """The header of a token file that holds ``codec``'s codes.

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
    )


def find_tokens(path: str | Path) -> list[Path]:
    """The ``.tok`` files in a folder and its subfolders, sorted; of a file, the file itself.

    Raises:
        CodecError: nothing at ``path``, or a folder without token files.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise CodecError(f"{path}: no such file or folder")
    found = find_files(path, {SUFFIX})
    if not found:
        raise CodecError(f"{path}: no {SUFFIX} files in this folder")
    return found


def check_done(target: str | Path, codec: Codec, num_codebooks: int) -> None:
    """Raise :class:`CodecError` unless ``target`` is what ``codec`` would write, as far as a look
    at its header and its length can say."""
    with TokenFile(target) as tokens:
        header = tokens.header
        if header.fingerprint != codec.fingerprint:
            what = f"of model {header.model} ({header.fingerprint})"
        elif header.num_codebooks != num_codebooks:
            what = f"with {header.num_codebooks} codebooks"
        elif tokens.truncated:
            what = "cut short"
        else:
            return
    raise CodecError(f"{target}: is there already, {what}; --overwrite replaces it")


def check_model(tokens: TokenFile, codec: Codec) -> None:
    """Raise :class:`CodecError` unless ``codec`` is the model that made these tokens."""
    header = tokens.header
    if header.fingerprint != codec.fingerprint:
        raise CodecError(
            f"{tokens.path}: made by model {header.model} ({header.fingerprint}), not by "
            f"{codec.name} ({codec.fingerprint or 'never saved'}); "
            "name the model that made it with --model"
        )


def _decoded(tokens: TokenFile, codec: Codec, num_codebooks: int | None) -> Iterator[Samples]:
    """The sound ``[C, n]`` at the original rate, block by block, ``num_samples`` in all."""
    header = tokens.header
    device = next(codec.parameters()).device
    decoder = StreamDecoder(codec, batch_size=header.channels)
    resampler = Resampler(
        codec.sample_rate, header.original_sample_rate, header.channels, tokens.num_samples
    )
    # The last frame was padded: what lies beyond the signal is not played into the resampler.
    missing = tokens.num_frames * codec.hop_length
    if not tokens.truncated:
        missing = header.codec_samples(tokens.num_samples)

    def played(audio: torch.Tensor) -> Samples:
        nonlocal missing
        samples: Samples = audio[:, 0, :missing].float().cpu().numpy()
        missing -= samples.shape[1]
        return resampler.push(samples)

    step = _block_frames(codec)
    for start in range(0, tokens.num_frames, step):
        codes = tokens.read(start, min(start + step, tokens.num_frames), num_codebooks)
        yield played(decoder.push(torch.from_numpy(codes).to(device)))
    yield played(decoder.flush())
    yield resampler.flush()


def _block_frames(codec: Codec) -> int:
    return max(1, round(BLOCK_SECONDS * codec.frame_rate))


def _distinct(source: str | Path, target: str | Path) -> tuple[Path, Path]:
    source, target = Path(source), Path(target)
    if os.path.realpath(source) == os.path.realpath(target):
        raise CodecError(f"{target}: is the input itself; name another output")
    return source, target
