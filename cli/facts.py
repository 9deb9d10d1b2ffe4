"""Descriptions of token files and audio files: facts for JSON, and lines of text."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiocodec.tokens import TokenFile
    from audiocodec.tokens.stats import TokenStats

Facts = dict[str, Any]


@dataclass
class Report:
    """The output of `codec info`: facts or lines for stdout, and messages for stderr."""

    facts: Facts
    lines: list[str]
    messages: list[str] = field(default_factory=list)


def token_facts(tokens: TokenFile) -> Facts:
    """A token file's header and sizes."""
    from audiocodec.tokens.header import FIXED, VERSION
    from audiocodec.tokens.rates import mean_bitrate

    header, seconds = tokens.header, tokens.seconds
    return {
        "file": str(tokens.path),
        "format_version": 1 if header.coding == FIXED else VERSION,
        "coding": header.coding,
        "context": header.context,
        "model": header.model,
        "fingerprint": header.fingerprint,
        "seconds": seconds,
        "original_sample_rate": header.original_sample_rate,
        "channels": header.channels,
        "num_samples": tokens.num_samples,
        "sample_rate": header.sample_rate,
        "hop_length": header.hop_length,
        "frame_rate": header.frame_rate,
        "num_frames": tokens.num_frames,
        "block_frames": header.block_frames,
        "num_codebooks": header.num_codebooks,
        "codebook_sizes": list(header.codebook_sizes),
        "bitrate": header.bitrate
        if header.coding == FIXED
        else mean_bitrate(tokens.payload_bytes, seconds),
        "file_bitrate": mean_bitrate(tokens.num_bytes, seconds),
        "payload_bytes": tokens.payload_bytes,
        "file_bytes": tokens.num_bytes,
        "truncated": tokens.truncated,
    }


def token_lines(facts: Facts) -> list[str]:
    """A token file's description."""
    whole = facts["file_bitrate"]
    codes = facts["bitrate"] or 0.0
    each = f" ({codes / facts['channels'] / 1000:.4g} each)"
    coding = facts["coding"] + (f" ({facts['context']})" if facts["context"] else "")
    return [
        facts["file"],
        f"  model     {facts['model']} ({facts['fingerprint']})",
        f"  audio     {facts['seconds']:.3f} s, {facts['original_sample_rate']} Hz, "
        f"{channels(facts['channels'])}, {facts['num_samples']} samples each",
        f"  codes     {facts['num_frames']} frames, {facts['frame_rate']:g} a second "
        f"({facts['sample_rate']} Hz / {facts['hop_length']}), "
        f"{facts['num_codebooks']} codebooks of {sizes(facts['codebook_sizes'])}",
        f"  coding    {coding}",
        f"  bitrate   {codes / 1000:.4g} kbit/s of codes"
        + (each if facts["channels"] > 1 else "")
        + (f", {whole / 1000:.3g} kbit/s the whole file" if whole else ""),
        f"  size      {facts['file_bytes']} bytes, {facts['payload_bytes']:.0f} of them codes",
        "  check     cut short; readable up to the cut"
        if facts["truncated"]
        else "  check     whole; every block is good",
    ]


def codebook_lines(codebooks: list[Facts] | None) -> list[str]:
    """A table with a line for each codebook."""
    if codebooks is None:
        return ["  codebooks too large to count their use"]
    coded = any("coded_bits" in each for each in codebooks)
    return [
        "  codebook  entries     used  perplexity    entropy" + "      coded" * coded,
        *(
            f"  {number:8d}  {each['size']:7d}  {100 * each['usage']:5.1f} %  "
            f"{each['perplexity']:10.1f}  {each['entropy_bits']:5.2f} bits"
            + (f"  {each['coded_bits']:4.2f} bits" if coded else "")
            for number, each in enumerate(codebooks, 1)
        ),
    ]


def token_sum_facts(stats: TokenStats) -> Facts:
    """Token files of one model, summed up."""
    return {
        "model": stats.model,
        "fingerprint": stats.fingerprint,
        "files": stats.files,
        "truncated_files": stats.truncated,
        "seconds": stats.seconds,
        "hours": stats.seconds / 3600,
        "sample_rate": stats.sample_rate,
        "hop_length": stats.hop_length,
        "frame_rate": stats.frame_rate,
        "num_frames": stats.num_frames,
        "channels": list(stats.channels),
        "num_codebooks": list(stats.num_codebooks),
        "bitrate": stats.bitrate,
        "file_bitrate": stats.file_bitrate,
        "payload_bytes": stats.payload_bytes,
        "file_bytes": stats.file_bytes,
        "codebooks": stats.codebooks(),
    }


def token_sum_lines(facts: Facts) -> list[str]:
    """The description of several token files of one model."""
    codes, whole = facts["bitrate"], facts["file_bitrate"]
    least, most = facts["num_codebooks"]
    used = f"{least}" if least == most else f"{least} to {most}"
    cut = f", {facts['truncated_files']} cut short" if facts["truncated_files"] else ""
    return [
        f"{facts['model']} ({facts['fingerprint']})",
        f"  files     {facts['files']}{cut}, {hours(facts['seconds'])}, "
        f"{channels(*facts['channels'])}",
        f"  codes     {facts['num_frames']} frames, {facts['frame_rate']:g} a second; "
        f"{used} codebooks",
        f"  bitrate   {codes / 1000:.4g} kbit/s of codes, {whole / 1000:.4g} kbit/s the whole files"
        if codes
        else "  bitrate   undefined for 0 s of audio",
        f"  size      {facts['file_bytes']} bytes, {facts['payload_bytes']:.0f} of them codes",
        *codebook_lines(facts["codebooks"]),
    ]


def audio_sum_lines(facts: Facts) -> list[str]:
    """The description of several audio files."""
    rate = facts["file_bitrate"]
    return [
        f"audio, {facts['sample_rate']} Hz, {channels(facts['channels'])}",
        f"  files     {facts['files']}, {hours(facts['seconds'])}",
        f"  size      {facts['file_bytes']} bytes"
        + (f", {rate / 1000:.4g} kbit/s" if rate else ""),
    ]


def audio_facts(path: Path) -> Facts:
    """An audio file's sample rate, channels, length and size.

    Raises:
        CodecError: not an audio file.
    """
    from audiocodec.audio import audio_info
    from audiocodec.tokens.rates import mean_bitrate

    info = audio_info(path)
    size = path.stat().st_size
    return {
        "file": str(path),
        "sample_rate": info.sample_rate,
        "channels": info.channels,
        "num_samples": info.num_samples,
        "seconds": info.seconds,
        "file_bytes": size,
        "file_bitrate": mean_bitrate(size, info.seconds),
    }


def audio_file_lines(facts: Facts) -> list[str]:
    """An audio file's description."""
    rate = facts["file_bitrate"]
    return [
        facts["file"],
        f"  audio     {facts['seconds']:.3f} s, {facts['sample_rate']} Hz, "
        f"{channels(facts['channels'])}, {facts['num_samples']} samples each",
        f"  size      {facts['file_bytes']} bytes"
        + (f", {rate / 1000:.4g} kbit/s" if rate else ""),
    ]


def sizes(codebook_sizes: list[int]) -> str:
    """`1024 entries` where all are equal, else `1024, 512, ... entries`."""
    distinct = codebook_sizes[:1] if len(set(codebook_sizes)) == 1 else codebook_sizes
    return ", ".join(map(str, distinct)) + " entries"


def channels(least: int, most: int = 0) -> str:
    """`1 channel`, `2 channels`, `1 to 2 channels`."""
    if most > least:
        return f"{least} to {most} channels"
    return f"{least} channel" + "s" * (least != 1)


def hours(seconds: float) -> str:
    return f"{seconds / 3600:.4g} hours of audio ({seconds:.1f} s)"
