"""What context coding costs in packets and pipes: bitrates by packet length and restarts.

    python benchmarks/packets.py                 the bundled clips
    python benchmarks/packets.py SPEECH -n 3     all speech in a folder

The first table has kbit/s of packets: bits of the codes; the same in one piece, which no packet
ends; the bytes of the packets with and without their heads of 5 bytes. The second has the kbit/s of
pipes (`codec encode IN -`), and how fast their codes are read one block at a time and as `codec
decode -` does, times real time in CPU time, without the decoder.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch

from audiocodec import find_audio, load_audio, load_codec
from audiocodec.bundled import CLIPS
from audiocodec.runtime import RuntimeCodec
from audiocodec.tokens import (
    BlockReader,
    PacketDecoder,
    PacketEncoder,
    TokenHeader,
    TokenWriter,
    token_header,
)
from audiocodec.tokens.context import coding as context_coding
from audiocodec.tokens.packets import HEAD
from audiocodec.tokens.packing import Codes

LENGTHS, RESTARTS = (1, 2, 5, 10), (0.0, 0.2, 0.5, 1.0)
REPEATED_SECONDS = 60


def packet_rows(header: TokenHeader, codec: RuntimeCodec, clips: Sequence[Codes]) -> list[str]:
    """Rows of the first table, one of each length of packets and of the time between restarts."""
    context, rows = codec.context, []
    assert context is not None
    seconds = sum(clip.shape[2] for clip in clips) / header.frame_rate
    for frames in LENGTHS:
        for restart in RESTARTS:
            every = max(1, round(restart * header.frame_rate / frames))
            if restart and every * frames / header.frame_rate != restart:
                continue
            ideal = sent = packets = 0.0
            began = time.process_time()
            for codes in clips:
                encoder = PacketEncoder(header, context, every)
                decoder = PacketDecoder(header, context)
                for start in range(0, codes.shape[2], frames):
                    piece = codes[:, :, start : start + frames]
                    packet = encoder.encode(piece)
                    found = decoder.decode(packet)
                    assert found and np.array_equal(found.codes, piece)
                    sent, packets = sent + len(packet), packets + 1
            elapsed = time.process_time() - began
            for codes in clips:
                for start in range(0, codes.shape[2], every * frames):
                    ideal += context.bits(codes[:, :, start : start + every * frames]).sum()
            rates = ideal, 8 * (sent - HEAD.size * packets), 8 * sent
            texts = [f"{rate / seconds / 1000:.2f}" for rate in rates]
            when = f"{restart:g} s" if restart else "each packet"
            fixed = header.frame_rate / frames * -(-frames * header.frame_bits // 8) * 8 / 1000
            cells = [str(header.num_codebooks), f"{1000 * frames / header.frame_rate:.0f} ms", when]
            cells += [f"{fixed:.2f}", *texts, f"{1000 * elapsed / packets:.1f} ms"]
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def pipe_row(codec: RuntimeCodec, clips: Sequence[Codes], count: int, frames: int) -> str:
    """A row of the second table, for blocks of so many frames."""
    sizes, speeds = [], []
    codes = np.concatenate([clip[:, :count] for clip in clips], axis=2)
    codes = np.tile(codes, -(-round(REPEATED_SECONDS * codec.frame_rate) // codes.shape[2]))
    seconds = codes.shape[2] / codec.frame_rate
    for coding in ("fixed", "context"):
        header = token_header(codec, count, block_frames=frames, coding=coding)
        memory = io.BytesIO()
        with TokenWriter(memory, header, context=codec.context) as writer:
            writer.write(codes)
            writer.finish(header.num_samples(codes.shape[2]))
        sizes.append(8 * len(memory.getvalue()) / seconds / 1000)
    most = context_coding.ContextCoding.rows_at_once
    for rows in (1, most):
        context_coding.ContextCoding.rows_at_once = rows
        stream = BlockReader(io.BytesIO(memory.getvalue()), context=codec.context)
        began = time.process_time()
        for _ in stream.pieces():
            pass
        speeds.append(seconds / (time.process_time() - began))
    cells = [str(count), f"{frames / codec.frame_rate:g} s", *(f"{size:.2f}" for size in sizes)]
    cells += [f"{speed:.0f}x" for speed in speeds]
    return f"| {' | '.join(cells)} |"


@click.command(help=__doc__)
@click.argument("speech", type=click.Path(exists=True, path_type=Path), default=CLIPS)
@click.option("--model", default="speech_16khz", show_default=True)
@click.option("-n", "numbers", default="3,6,12", show_default=True)
def main(speech: Path, model: str, numbers: str) -> None:
    torch.set_num_threads(1)
    codec = load_codec(model)
    counts = [int(number) for number in numbers.split(",")]
    clips = []
    for path in find_audio(speech):
        audio, _ = load_audio(path, codec.sample_rate)
        clips.append(codec.encode(audio[:1], max(counts)).numpy())
    click.echo(
        "| codebooks | packet | restart | fixed coding | bits of codes | in packets | with heads "
        "| encode and decode a packet |\n| -- | -- | -- | -- | -- | -- | -- | -- |"
    )
    for count in counts:
        header = token_header(codec, count, coding="context")
        for row in packet_rows(header, codec, [clip[:, :count] for clip in clips]):
            click.echo(row)
    click.echo(
        "\n| codebooks | block | fixed coding | context coding | read one by one | together |\n"
        "| -- | -- | -- | -- | -- | -- |"
    )
    for count in counts:
        for frames in (10, 150):
            click.echo(pipe_row(codec, clips, count, frames))


if __name__ == "__main__":
    main()
