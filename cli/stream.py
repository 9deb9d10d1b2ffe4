"""`codec stream`: microphone to loudspeaker, or file to file, in chunks of 20 ms."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .devices import open_loudspeaker, open_microphone
from .link import Link
from .meter import Meter
from .options import (
    coding_option,
    device_option,
    engine_option,
    model_option,
    num_codebooks_option,
    open_codec,
    overwrite_option,
    raw_input_options,
    remark,
    resolve_device,
    threads_option,
    use_threads,
)
from .pipes import PIPE, open_pipe
from .report import cut_short

if TYPE_CHECKING:
    from audiocodec.audio import AudioReader, RawFormat, Samples
    from audiocodec.runtime import RuntimeCodec
    from audiocodec.tokens import TokenHeader

CHUNK_SECONDS = 0.02


@click.command()
@click.option(
    "--input",
    "source",
    metavar="FILE|-",
    type=click.Path(),
    help="Audio file to encode instead of the microphone; - is a WAV from stdin.",
)
@click.option(
    "--output",
    "target",
    metavar="FILE|-",
    type=click.Path(),
    help=".wav or .flac to write instead of the loudspeaker; - is a WAV to stdout.",
)
@num_codebooks_option
@coding_option
@click.option(
    "--restart",
    type=click.FloatRange(min=0, min_open=True),
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="With --coding context: time from one packet that can be decoded alone to the next; so "
    "long, at most, codes are unknown after a loss.",
)
@click.option(
    "--loss",
    type=click.FloatRange(0, 100),
    default=0.0,
    show_default=True,
    metavar="PERCENT",
    help="Lose so many packets, at random, as a network would; what they held is concealed.",
)
@model_option
@device_option
@engine_option
@threads_option()
@overwrite_option
@raw_input_options
def command(
    source: str | None,
    target: str | None,
    num_codebooks: int | None,
    coding: str | None,
    restart: float,
    loss: float,
    model: str,
    device: str,
    engine: str,
    threads: int | None,
    overwrite: bool,
    raw: int | None,
    raw_channels: int,
    raw_format: str,
) -> None:
    """Run live audio through the codec.

    Audio goes in chunks of 20 ms from the microphone through encoder and decoder to the loudspeaker
    (wear headphones). stderr shows a level meter and the speed. Ctrl-C ends it. This needs the
    extra `live` (pip install 'audiocodec[live]'), unless both --input and --output are given.

    Between encoder and decoder, codes are packets of 20 ms, as on a network. By default they have
    fixed coding: a constant bitrate, and a lost packet takes no other with it. With --coding
    context they take fewer bits; after a loss the codes of the packets up to the next restart are
    lost too. At the end stderr has the bitrates.

    The output has the model's sample rate. A WAV to stdout has no length in its header, because it
    is written while the input is still open.

    \b
    codec stream -n 3
    codec stream --engine onnx
    codec stream --input in.wav --output out.wav
    codec stream --input in.wav --output out.wav --coding context --restart 0.2 --loss 3
    ffmpeg -i in.mp4 -f wav - | codec stream --input - --output - | aplay
    codec stream --input - --raw 8000 --output call.wav < samples.s16
    """
    if raw and source != PIPE:
        raise click.UsageError("--raw describes stdin: give --input -")
    from audiocodec.audio import RawFormat
    from audiocodec.tokens import token_header

    samples = RawFormat(raw, raw_channels, raw_format) if raw else None
    check_paths(source, target, overwrite)
    use_threads(threads)
    codec = open_codec(model, resolve_device(device, engine), engine)
    with ExitStack() as stack:
        reader = open_reader(codec, source, samples, stack)
        if reader:
            channels, chunks = reader.info.channels, reader.blocks(CHUNK_SECONDS)
        else:
            size = round(CHUNK_SECONDS * codec.sample_rate)
            channels, chunks = 1, open_microphone(codec.sample_rate, size, stack)
        play = open_output(codec, target, channels, stack)
        meter = Meter(codec.sample_rate)
        stack.callback(meter.close)
        header = token_header(codec, num_codebooks, channels=channels, coding=coding or "fixed")
        link = Link(codec, header, max(1, round(restart / CHUNK_SECONDS)), loss / 100)
        run(codec, header, chunks, play, meter, link)
    remark(meter.summary())
    remark(link.summary(meter.samples_in / codec.sample_rate))
    if reader and reader.truncated:
        click.echo(cut_short(reader.path, reader.missing_seconds), err=True)
        click.get_current_context().exit(1)


def run(
    codec: RuntimeCodec,
    header: TokenHeader,
    chunks: Iterator[Samples],
    play: Callable[[Samples], object],
    meter: Meter,
    link: Link,
) -> None:
    """Encode and decode chunks ``[C, n]``, and play as many samples as there were."""
    import torch

    from audiocodec.streaming import StreamDecoder, StreamEncoder

    encoder = StreamEncoder(codec, header.num_codebooks, header.channels)
    decoder = StreamDecoder(codec, header.channels)
    meter.latency = encoder.latency + decoder.latency
    try:
        for chunk in chunks:
            started = time.perf_counter()
            codes = encoder.push(torch.from_numpy(chunk).unsqueeze(1))
            decoded = link.pass_on(codes, decoder)[:, 0].float().cpu().numpy()
            meter.add(chunk, decoded.shape[1], time.perf_counter() - started)
            play(decoded)
    except KeyboardInterrupt:
        pass  # the usual end of a live stream
    rest = torch.cat([link.pass_on(encoder.flush(), decoder), decoder.flush()], dim=-1)
    play(rest[:, 0, : meter.samples_in - meter.samples_out].float().cpu().numpy())


def check_paths(source: str | None, target: str | None, overwrite: bool) -> None:
    """CodecError if an existing target would be replaced, or an input by its own result."""
    from audiocodec.errors import CodecError
    from audiocodec.paths import check_distinct

    if target and target != PIPE and Path(target).is_file() and not overwrite:
        raise CodecError(f"{target}: is there already; --overwrite replaces it")
    if source and target and PIPE not in (source, target):
        check_distinct(source, target)


def open_reader(
    codec: RuntimeCodec, source: str | None, raw: RawFormat | None, stack: ExitStack
) -> AudioReader | None:
    """A file or stdin at the codec's rate; ``None`` for the microphone."""
    from audiocodec.audio import AudioReader

    if not source:
        return None
    file = open_pipe("rb") if source == PIPE else source
    return stack.enter_context(AudioReader(file, codec.sample_rate, raw, allow_truncated=True))


def open_output(
    codec: RuntimeCodec, target: str | None, channels: int, stack: ExitStack
) -> Callable[[Samples], object]:
    """A function that writes or plays audio ``[C, n]`` at the codec's rate."""
    from audiocodec.audio import open_writer

    if not target:
        return open_loudspeaker(codec.sample_rate, channels, stack)
    file = open_pipe("wb") if target == PIPE else target
    return stack.enter_context(open_writer(file, codec.sample_rate, channels)).write
