"""`codec stream`: microphone to loudspeaker through the codec, or file to file in live pieces."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .convert import PIPE, cut_short, open_pipe
from .options import (
    device_option,
    engine_option,
    model_option,
    num_codebooks_option,
    open_codec,
    overwrite_option,
    quiet,
    raw_input_options,
    remark,
    resolve_device,
    threads_option,
    use_threads,
)

if TYPE_CHECKING:
    from audiocodec.audio import AudioReader, RawFormat, Samples
    from audiocodec.codec import Codec

PIECE_SECONDS = 0.02
METER_SECONDS = 0.1
FILES_INSTEAD = "or use --input FILE and --output FILE"


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

    Audio passes in chunks of 20 ms from the microphone through encoder and decoder to the
    loudspeaker (wear headphones), with a level meter and the speed on stderr. Ctrl-C ends it. Needs
    the extra `live` (pip install 'audiocodec[live]'), unless both --input and --output are given.

    The output has the model's sample rate. A WAV to stdout has no length in its header, as it is
    written while the input is still open.

    \b
    codec stream -n 3
    codec stream --engine onnx
    codec stream --input in.wav --output out.wav
    ffmpeg -i in.mp4 -f wav - | codec stream --input - --output - | aplay
    codec stream --input - --raw 8000 --output call.wav < samples.s16
    """
    if raw and source != PIPE:
        raise click.UsageError("--raw describes stdin: give --input -")
    from audiocodec.audio import RawFormat
    from audiocodec.errors import CodecError
    from audiocodec.files import check_distinct

    samples = RawFormat(raw, raw_channels, raw_format) if raw else None
    if target and target != PIPE and Path(target).is_file() and not overwrite:
        raise CodecError(f"{target}: is there already; --overwrite replaces it")
    if source and target and PIPE not in (source, target):
        check_distinct(source, target)
    use_threads(threads)
    codec = open_codec(model, resolve_device(device, engine), engine)
    with ExitStack() as stack:
        reader = open_reader(codec, source, samples, stack)
        channels = reader.info.channels if reader else 1
        pieces = reader.blocks(PIECE_SECONDS) if reader else open_microphone(codec, stack)
        play = open_output(codec, target, channels, stack)
        meter = Meter(codec.sample_rate)
        try:
            run(codec, num_codebooks, channels, pieces, play, meter)
        finally:
            meter.close()
    remark(meter.summary())
    if reader and reader.truncated:
        click.echo(cut_short(reader.path, reader.missing_seconds), err=True)
        click.get_current_context().exit(1)


def run(
    codec: Codec,
    num_codebooks: int | None,
    channels: int,
    pieces: Iterator[Samples],
    play: Callable[[Samples], object],
    meter: Meter,
) -> None:
    """Push pieces ``[C, n]`` through, play what comes out, as many samples as went in."""
    import torch

    from audiocodec.streaming import StreamDecoder, StreamEncoder

    encoder = StreamEncoder(codec, num_codebooks, channels)
    decoder = StreamDecoder(codec, channels)
    meter.latency = encoder.latency + decoder.latency
    try:
        for piece in pieces:
            began = time.perf_counter()
            codes = encoder.push(torch.from_numpy(piece).unsqueeze(1))
            decoded = decoder.push(codes)[:, 0].float().cpu().numpy()
            meter.see(piece, decoded.shape[1], time.perf_counter() - began)
            play(decoded)
    except KeyboardInterrupt:
        pass  # how a live stream ends
    rest = torch.cat([decoder.push(encoder.flush()), decoder.flush()], dim=-1)
    play(rest[:, 0, : meter.given - meter.played].float().cpu().numpy())


@dataclass
class Meter:
    """Level and speed of what passes, in a line on stderr if that is a terminal.

    ``given`` and ``played`` are samples per channel; ``latency`` and times are seconds.
    """

    sample_rate: int
    latency: float = 0.0
    given: int = 0
    played: int = 0
    pieces: int = 0
    busy: float = 0.0
    slowest: float = 0.0
    shown: float = field(default_factory=time.perf_counter)

    def see(self, piece: Samples, played: int, spent: float) -> None:
        self.given += piece.shape[1]
        self.played += played
        self.pieces += 1
        self.busy += spent
        self.slowest = max(self.slowest, spent)
        now = time.perf_counter()
        if sys.stderr.isatty() and not quiet() and now - self.shown >= METER_SECONDS:
            self.shown = now
            level = decibels(float((piece**2).mean()) if piece.size else 0.0)
            bar = "#" * max(0, round((level + 60) / 3))
            click.echo(
                f"\r[{bar:20}] {level:4.0f} dB, {self.speed:5.1f}x real time ", err=True, nl=False
            )

    def close(self) -> None:
        if sys.stderr.isatty() and not quiet():
            click.echo("", err=True)

    @property
    def speed(self) -> float:
        """Seconds of audio in a second of computing: below 1 it cannot keep up."""
        return self.given / self.sample_rate / max(self.busy, 1e-9)

    def summary(self) -> str:
        return (
            f"{self.given / self.sample_rate:.2f} s in {self.pieces} pieces, {self.speed:.1f}x "
            f"real time, the slowest piece {1000 * self.slowest:.1f} ms; "
            f"latency {1000 * self.latency:.0f} ms beside the sound card's"
        )


def decibels(power: float) -> float:
    """Of full scale, from -60."""
    return max(-60.0, 10 * math.log10(max(power, 1e-9)))


def open_reader(
    codec: Codec, source: str | None, raw: RawFormat | None, stack: ExitStack
) -> AudioReader | None:
    """A file or stdin at the codec's rate; ``None`` for the microphone."""
    from audiocodec.audio import AudioReader

    if not source:
        return None
    place = open_pipe("rb") if source == PIPE else source
    return stack.enter_context(AudioReader(place, codec.sample_rate, raw, allow_truncated=True))


def open_microphone(codec: Codec, stack: ExitStack) -> Iterator[Samples]:
    """Pieces ``[1, n]`` at the codec's rate, without end."""
    microphone = stack.enter_context(sound_card("InputStream", "microphone", codec, 1))

    def live() -> Iterator[Samples]:
        while True:
            piece, _ = microphone.read(round(PIECE_SECONDS * codec.sample_rate))
            yield piece.T.copy()

    return live()


def open_output(
    codec: Codec, target: str | None, channels: int, stack: ExitStack
) -> Callable[[Samples], object]:
    """What takes audio ``[C, n]`` at the codec's rate: a file, stdout or the loudspeaker."""
    if target == PIPE:
        from audiocodec.audio import PipeWriter

        piped = PipeWriter(open_pipe("wb"), codec.sample_rate, channels)
        return stack.enter_context(piped).write
    if target:
        from audiocodec.audio import AudioWriter

        return stack.enter_context(AudioWriter(target, codec.sample_rate, channels)).write
    speaker = stack.enter_context(sound_card("OutputStream", "loudspeaker", codec, channels))
    return lambda audio: speaker.write(audio.T.copy())


def sound_card(kind: str, name: str, codec: Codec, channels: int) -> Any:
    """A started sounddevice stream. CodecError where the package or the device is missing."""
    from audiocodec.errors import CodecError

    try:
        import sounddevice
    except ImportError:
        raise CodecError(
            f"the {name} needs the package sounddevice: pip install 'audiocodec[live]', "
            + FILES_INSTEAD
        ) from None
    except OSError as error:
        raise CodecError(
            f"the {name} needs PortAudio ({error}): apt install libportaudio2, {FILES_INSTEAD}"
        ) from None
    try:
        return getattr(sounddevice, kind)(
            samplerate=codec.sample_rate, channels=channels, dtype="float32"
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CodecError(
            f"no {name} can be opened ({reason}): plug one in, {FILES_INSTEAD}"
        ) from None
