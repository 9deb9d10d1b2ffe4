"""Compare speed and memory with other codecs, in one run.

    pip install transformers snac && python benchmarks/peers.py [--seconds 10 --seconds 60]

Each codec runs in its own process, for its own peak memory. CPU time is measured with one thread,
wall-clock time with more. The weights of the other codecs are random, because speed does not depend
on them. A codec whose package or program is missing is skipped, with a message.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import click
import soundfile
import torch
from measuring import gemm_rate, in_blocks, out_blocks, speech
from torch import Tensor, nn

from audiocodec import load_codec
from audiocodec.extras import import_torchaudio

Peer = tuple[int | None, Callable[[], object], Callable[[object], object]]
"""The number of parameters, a function that encodes, and one that decodes its result."""


def ours(audio: Tensor) -> Peer:
    """In blocks, as files are coded."""
    codec = load_codec("speech_16khz")
    return (
        codec.num_parameters,
        lambda: in_blocks(codec, audio),
        lambda codes: out_blocks(codec, codes),
    )


def encodec(audio: Tensor) -> Peer:
    from transformers import EncodecConfig, EncodecModel

    model = EncodecModel(EncodecConfig()).eval()
    resampled = _resampled(audio, 24_000)
    return (
        parameters(model),
        lambda: model.encode(resampled, bandwidth=6.0),
        lambda out: model.decode(out.audio_codes, out.audio_scales),
    )


def mimi(audio: Tensor) -> Peer:
    from transformers import MimiConfig, MimiModel

    model = MimiModel(MimiConfig()).eval()
    resampled = _resampled(audio, 24_000)
    return (
        parameters(model),
        lambda: model.encode(resampled),
        lambda out: model.decode(out.audio_codes),
    )


def dac(audio: Tensor) -> Peer:
    from transformers import DacConfig, DacModel

    strides = [2, 4, 5, 8]
    config = DacConfig(
        downsampling_ratios=strides,
        upsampling_ratios=strides[::-1],
        hop_length=320,
        n_codebooks=12,
    )
    model = DacModel(config).eval()
    return (
        parameters(model),
        lambda: model.encode(audio),
        lambda out: model.decode(quantized_representation=out.quantized_representation),
    )


def snac(audio: Tensor) -> Peer:
    from snac import SNAC

    # The published 24 kHz model's config; the defaults are those of the one at 44.1 kHz.
    model = SNAC(
        sampling_rate=24_000,
        encoder_dim=48,
        encoder_rates=[2, 4, 8, 8],
        decoder_dim=1024,
        decoder_rates=[8, 8, 4, 2],
        attn_window_size=None,
        codebook_size=4096,
        codebook_dim=8,
        vq_strides=[4, 2, 1],
    ).eval()
    resampled = _resampled(audio, 24_000)
    return parameters(model), lambda: model.encode(resampled), lambda codes: model.decode(codes)


def opus(audio: Tensor) -> Peer:
    for program in ("opusenc", "opusdec"):
        if shutil.which(program) is None:
            raise ImportError(program)
    folder = Path(tempfile.mkdtemp())
    soundfile.write(folder / "in.wav", audio[0, 0].numpy(), 16_000)
    files = [str(folder / name) for name in ("in.wav", "a.opus", "out.wav")]

    def run(*words: str) -> None:
        subprocess.run(words, check=True, capture_output=True)

    return (
        None,
        lambda: run("opusenc", "--bitrate", "6", files[0], files[1]),
        lambda _: run("opusdec", files[1], files[2]),
    )


PEERS = {
    "audiocodec 16 kHz": ours,
    "EnCodec 24 kHz (transformers)": encodec,
    "Mimi 24 kHz (transformers)": mimi,
    "DAC 16 kHz (transformers)": dac,
    "SNAC 24 kHz": snac,
    "Opus 6 kbps (opusenc, opusdec)": opus,
}


def parameters(network: nn.Module) -> int:
    """The number of parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def _resampled(audio: Tensor, sample_rate: int) -> Tensor:
    """``audio`` at another sample rate, roughly: its content does not matter for speed."""
    length = audio.shape[-1] * sample_rate // 16_000
    return nn.functional.interpolate(audio, length, mode="linear")


def seconds_spent(threads: int) -> float:
    """CPU seconds of this process and its children; with several threads, wall-clock seconds."""
    if threads > 1:
        return time.perf_counter()
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def measure(name: str, seconds: float, threads: int, repeats: int) -> str:
    """Parameters in millions, seconds to encode and to decode, and peak MB, as a line of text.

    The seconds are those of the fastest run, after one to warm up. A program has neither parameters
    nor peak memory.
    """
    torch.set_num_threads(threads)
    if find_spec("torchaudio"):  # transformers imports it, beside any torch
        import_torchaudio()
    size, encode, decode = PEERS[name](speech(seconds, 16_000))
    times = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            start = seconds_spent(threads)
            codes = encode()
            middle = seconds_spent(threads)
            decode(codes)
            times.append((middle - start, seconds_spent(threads) - middle))
    there, back = (min(side) for side in zip(*times[1:], strict=True))
    if size is None:  # the memory of a program is not that of this process
        return f";{there};{back};"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{size / 1e6:.1f};{there};{back};{peak:.0f}"


def table(names: Sequence[str], seconds: float, threads: int, repeats: int) -> None:
    """Print one row for each codec, each measured in its own process."""
    kind = "CPU time" if threads == 1 else "wall-clock time"
    plural = "thread" if threads == 1 else "threads"
    print(f"\n{seconds:g} s of speech, {threads} {plural}, {kind}, times faster than real time:\n")
    print("| codec | M parameters | encode | decode | both, ours is 1 | peak MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    base = 0.0
    for name in names:
        words = [sys.executable, __file__, "--one", name, "--seconds", str(seconds)]
        words += ["--threads", str(threads), "--repeats", str(repeats)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["stopped"])[-1]
            print(f"| {name} | skipped: {reason} | | | | |", flush=True)
            continue
        size, *times, peak = done.stdout.strip().splitlines()[-1].split(";")
        there, back = map(float, times)
        base = base or there + back
        print(
            f"| {name} | {size} | {seconds / there:.1f}x | {seconds / back:.1f}x | "
            f"{(there + back) / base:.1f} | {peak} |",
            flush=True,
        )


@click.command()
@click.option("--seconds", multiple=True, type=float, default=(10.0,), show_default=True)
@click.option("--threads", multiple=True, type=int, default=(1, 2), show_default=True)
@click.option("--repeats", default=1, show_default=True)
@click.option("--only", multiple=True, type=click.Choice(list(PEERS)))
@click.option("--one", type=click.Choice(list(PEERS)), hidden=True)
def main(
    seconds: tuple[float, ...],
    threads: tuple[int, ...],
    repeats: int,
    only: tuple[str, ...],
    one: str | None,
) -> None:
    """Compare the codecs that are installed here."""
    if one:
        print(measure(one, seconds[0], threads[0], repeats))
        return
    print(f"{time.strftime('%Y-%m-%d')}, a matrix product at {gemm_rate() / 1e9:.0f} GFLOP/s")
    for length in seconds:
        for count in threads:
            table(only or list(PEERS), length, count, repeats)


if __name__ == "__main__":
    main()
