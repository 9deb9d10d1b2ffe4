"""`codec info`: what a token file or a model holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .options import json_option, use_threads


@click.command()
@click.argument("what", metavar="FILE.tok|MODEL")
@json_option
def command(what: str, as_json: bool) -> None:
    """Say what a token file or a model holds.

    Of a token file every block is checked. One that is damaged is an error; one that was cut short
    is described up to the cut, with a warning and exit code 1. MODEL is a bundled model's name or
    a folder.
    """
    path = Path(what)
    tokens = path.is_file() or (path.suffix == ".tok" and not path.is_dir())
    facts = token_facts(path) if tokens else model_facts(what)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        for line in token_lines(facts) if tokens else model_lines(facts):
            click.echo(line)
    if facts.get("truncated"):
        click.echo(f"warning: {path}: cut short; the rest of it is missing", err=True)
        click.get_current_context().exit(1)


def token_facts(path: Path) -> dict[str, Any]:
    """A token file's header and sizes, once all of it was checked. CodecError if it is damaged."""
    from audiocodec.tokenfile import VERSION, TokenFile

    with TokenFile(path) as tokens:
        tokens.verify()
        header = tokens.header
        seconds = tokens.seconds
        return {
            "file": str(path),
            "format_version": VERSION,
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
            "bitrate": header.bitrate,
            "file_bitrate": tokens.num_bytes * 8 / seconds if seconds else None,
            "payload_bytes": tokens.payload_bytes,
            "file_bytes": tokens.num_bytes,
            "truncated": tokens.truncated,
        }


def token_lines(facts: dict[str, Any]) -> list[str]:
    whole = facts["file_bitrate"]
    each = f" ({facts['bitrate'] / facts['channels'] / 1000:g} each)"
    return [
        facts["file"],
        f"  model     {facts['model']} ({facts['fingerprint']})",
        f"  sound     {facts['seconds']:.3f} s, {facts['original_sample_rate']} Hz, "
        f"{facts['channels']} channel{'s' * (facts['channels'] > 1)}, "
        f"{facts['num_samples']} samples each",
        f"  codes     {facts['num_frames']} frames, {facts['frame_rate']:g} a second "
        f"({facts['sample_rate']} Hz / {facts['hop_length']}), "
        f"{facts['num_codebooks']} codebooks of {sizes(facts['codebook_sizes'])}",
        f"  bitrate   {facts['bitrate'] / 1000:g} kbit/s of codes"
        + (each if facts["channels"] > 1 else "")
        + (f", {whole / 1000:.3g} kbit/s the whole file" if whole else ""),
        f"  size      {facts['file_bytes']} bytes, {facts['payload_bytes']:.0f} of them codes",
        "  check     cut short; readable up to the cut"
        if facts["truncated"]
        else "  check     whole; every block is good",
    ]


def model_facts(model: str) -> dict[str, Any]:
    """A model's config and what follows from it."""
    from audiocodec.checkpoint import find_model, load_codec

    use_threads()
    codec = load_codec(model)
    return {
        "model": codec.name,
        "folder": str(find_model(model)),
        "fingerprint": codec.fingerprint,
        "sample_rate": codec.sample_rate,
        "hop_length": codec.hop_length,
        "frame_rate": codec.frame_rate,
        "lookahead": codec.lookahead,
        "num_codebooks": codec.num_codebooks,
        "codebook_sizes": list(codec.codebook_sizes),
        "bitrates": [codec.bitrate(n) for n in range(1, codec.num_codebooks + 1)],
        "parameters": {
            part: sum(value.numel() for value in getattr(codec, part).state_dict().values())
            for part in ("encoder", "quantizer", "decoder")
        },
        "config": codec.config.model_dump(mode="json"),
    }


def model_lines(facts: dict[str, Any]) -> list[str]:
    import yaml

    rates = " ".join(f"{rate / 1000:g}" for rate in facts["bitrates"])
    parts = facts["parameters"]
    each = ", ".join(f"{part} {count / 1e6:.2f}" for part, count in parts.items())
    look = 1000 * facts["lookahead"] / facts["frame_rate"]
    config = yaml.safe_dump(facts["config"], sort_keys=False, default_flow_style=None).splitlines()
    return [
        f"{facts['model']} ({facts['fingerprint']}) in {facts['folder']}",
        f"  sound       {facts['sample_rate']} Hz, {facts['frame_rate']:g} frames a second "
        f"(hop {facts['hop_length']}), the decoder looks {look:g} ms ahead",
        f"  codebooks   {facts['num_codebooks']} of {sizes(facts['codebook_sizes'])}",
        f"  bitrates    {rates} kbit/s a channel",
        f"  parameters  {sum(parts.values()) / 1e6:.2f} M as run ({each})",
        "  config",
        *(f"    {line}" for line in config),
    ]


def sizes(codebook_sizes: list[int]) -> str:
    """`1024` where all are equal, else `1024, 512, ...`."""
    distinct = codebook_sizes[:1] if len(set(codebook_sizes)) == 1 else codebook_sizes
    return ", ".join(map(str, distinct)) + " entries"
