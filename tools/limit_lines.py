"""Teach the decoder of a trained model to leave out the lines that it adds at a level's rate.

    python tools/limit_lines.py speech_16khz FOLDER --out runs/limited/model

The decoder adds lines at multiples of the rates of its levels. A filter that turns them down to
what is beside them would need the future. So the decoder learns to make what it made before,
filtered, with the energy it had before around each time and frequency. Steady noise gets the energy
of the original, and an envelope that does not follow the frames. Encoder and codebooks are not
touched, so tokens stay (docs/log.md, 2026-11-28).
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import click
import torch
from latents import audible_blocks
from torch import Tensor
from torch.nn import functional as F

from audiocodec import Codec, CodecError, save_codec
from audiocodec.checkpoint import load_trainable
from audiocodec.codec import decode_whole
from audiocodec.evaluation import probes
from audiocodec.evaluation.probes import PHASES
from audiocodec.spectral import hann
from audiocodec.training.optim import WeightAverage

Pair = tuple[Tensor, Tensor]
"""Quantised latents ``[1, D, F]`` and the audio ``[1, 1, T]`` to make of them."""

GAIN_DB = (-19.0, 6.0)
NOISE_SHARE = 0.2
"""Share of blocks that are steady noise instead of speech."""
NOISE_DB = (-60.0, -20.0)
NOISE_ABOVE = 150.0
"""Hz. Noise has no harmonics: its lines at the frame rate are turned down from here on."""
MOST_ENERGY_DB = 6.0
MOST_GAIN_DB = 12.0
"""Of one band of steady noise at one phase of the frames."""
BATCH, EMA_DECAY = 4, 0.99
WINDOWS = (8, 1)
"""In frames, of the spectra that are compared: lines, and when they are."""
LOW_BAND, LOW_WEIGHT = 4, 4.0
"""The lowest quarter of the bins, where most of speech is and no lines are, weighs four times."""
NEIGHBOURHOOD = 33
"""Bins over which the power is averaged that an error is relative to."""


@click.command()
@click.argument("model")
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Model to write.")
@click.option("--level", default=1, show_default=True, help="0: lines at the frame rate; 1: next.")
@click.option("--above", default=1900.0, show_default=True, help="Lines to remove lie above; Hz.")
@click.option("--minutes", default=10.0, show_default=True, help="Speech to use.")
@click.option("--steps", default=600, show_default=True)
@click.option("--rate", default=2e-5, show_default=True, help="The learning rate, at first.")
@click.option("--every", default=100, show_default=True, help="Steps from one save to the next.")
def main(
    model: str,
    folder: Path,
    out: Path,
    level: int,
    above: float,
    minutes: float,
    steps: int,
    rate: float,
    every: int,
) -> None:
    """Train the decoder of MODEL to leave out its lines, on the speech in FOLDER."""
    torch.manual_seed(0)
    codec = load_trainable(model).eval()
    period = codec.config.seanet.periods[level]
    pairs = examples(codec, folder, minutes, period, above)
    codec.requires_grad_(False)
    trained = [
        parameter
        for name, parameter in codec.decoder.named_parameters()
        if name != "last.conv.bias"  # frozen in training as well: an inaudible offset
    ]
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(trained, rate, betas=(0.8, 0.99))
    average = WeightAverage(codec, EMA_DECAY, codec.name)
    draw, mean = random.Random(0), 0.0
    for step in range(1, steps + 1):
        chosen = draw.sample(pairs, min(BATCH, len(pairs)))
        latents, target = (torch.cat(tensors) for tensors in zip(*chosen, strict=True))
        loss = distance(decode_whole(codec.decoder, latents, codec), target, codec.hop_length)
        optimizer.zero_grad()
        loss.backward()
        progress = max(0.0, (step - 20) / max(1, steps - 20))
        for group in optimizer.param_groups:
            group["lr"] = rate * min(step / 20, 0.5 * (1.02 + math.cos(math.pi * progress)))
        optimizer.step()
        average.update()
        mean += (loss.item() - mean) / min(step, 20)
        if step % every == 0 or step == steps:
            save_codec(average.codec, out)
            click.echo(f"step {step}: distance {mean:.4f}")


@torch.no_grad()
def examples(codec: Codec, folder: Path, minutes: float, period: int, above: float) -> list[Pair]:
    """Blocks of speech and noise at several bitrates, and what to make of them."""
    draw, pairs = random.Random(0), []
    frames = int(minutes * 60 * codec.frame_rate)
    for audio, audible in audible_blocks(folder, codec.sample_rate, codec.hop_length, frames):
        if audible.float().mean() < 0.5 or len(audible) < codec.frame_rate:
            continue
        speech = audio * 10 ** (draw.uniform(*GAIN_DB) / 20)
        steady = draw.random() < NOISE_SHARE
        if steady:
            kind, level = draw.choice(probes.NOISES), draw.uniform(*NOISE_DB)
            seconds, seed = audio.shape[-1] / codec.sample_rate, draw.randrange(2**31)
            samples = probes.noise(kind, level, seconds, codec.sample_rate, seed)
            speech = torch.from_numpy(samples)[None, None]
        count = draw.choice([n for n in (1, 2, 3, 3, 4, 6, 9, 12, 12) if n <= codec.num_codebooks])
        quantized = codec.quantizer.decode(codec.encode(speech.clamp(-1, 1), count))
        made = decode_whole(codec.decoder, quantized, codec)
        hop, rate = codec.hop_length, codec.sample_rate
        target = limited(made, period, hop, above, rate)
        if steady:
            target = steadied(limited(target, hop, hop, NOISE_ABOVE, rate), hop)
            target = with_energy_of(speech, target, hop, windows=len(audible) * 4)
        else:
            target = with_energy_of(made, target, hop)
        pairs.append((quantized, target))
    lengths = [target.shape[-1] for _, target in pairs]
    return [pair for pair in pairs if pair[1].shape[-1] == max(lengths)]


def limited(audio: Tensor, period: int, hop_length: int, above: float, sample_rate: int) -> Tensor:
    """``[B, 1, T]`` with no line at multiples of ``1 / period`` stronger than what is beside it.

    Lines above ``above`` Hz are turned down to the mean power of the four points that are half and
    one and a half times the frame rate away, in windows of eight frames. There is no delay.
    """
    window = WINDOWS[0] * hop_length
    shape = hann(window, audio.dtype, audio.device)
    spectrum = torch.stft(audio[:, 0], window, window // 4, window=shape, return_complex=True)
    power = F.pad(spectrum.abs().square(), (0, 0, 1, 1))
    power = power[:, :-2] + power[:, 1:-1] + power[:, 2:]  # a line is three bins wide
    half = WINDOWS[0] // 2
    spacing = window // period
    lines = torch.arange(spacing, window // 2 - 3 * half, spacing)
    lines = lines[lines * sample_rate / window > above]
    beside = torch.stack([power[:, lines + half * n] for n in (-3, -1, 1, 3)]).mean(dim=0)
    gain = ((beside + 1e-9) / (power[:, lines] + 1e-9)).sqrt().clamp(0.05, 1.0)
    gains = torch.ones_like(power)
    for shift in (-1, 0, 1):
        gains[:, lines + shift] = gain
    for shift in (-2, 2):
        gains[:, lines + shift] = gain.sqrt()
    return torch.istft(
        spectrum * gains, window, window // 4, window=shape, length=audio.shape[-1]
    ).unsqueeze(1)


def with_energy_of(reference: Tensor, audio: Tensor, hop_length: int, windows: int = 5) -> Tensor:
    """``audio [1, 1, T]`` with the energy of ``reference`` in each neighbourhood, phases kept.

    Spectra are those of windows of a frame, a quarter of that apart. A neighbourhood is 9 bins and
    ``windows`` windows. Power changes by at most :data:`MOST_ENERGY_DB`.
    """
    shape = hann(hop_length, audio.dtype, audio.device)
    spectra = [
        torch.stft(x[:, 0], hop_length, hop_length // 4, window=shape, return_complex=True)
        for x in (audio, reference)
    ]
    windows = min(windows, spectra[0].shape[-1]) // 2 * 2 + 1
    size, pad = (9, windows), (4, windows // 2)
    found, due = (
        F.avg_pool2d(x.abs().square(), size, 1, pad, count_include_pad=False) for x in spectra
    )
    most = 10 ** (MOST_ENERGY_DB / 20)
    gain = ((due + 1e-6) / (found + 1e-6)).sqrt().clamp(1 / most, most)
    return torch.istft(
        spectra[0] * gain, hop_length, hop_length // 4, window=shape, length=audio.shape[-1]
    ).unsqueeze(1)


def steadied(audio: Tensor, hop_length: int) -> Tensor:
    """Steady noise ``[1, 1, T]`` whose power in each band does not follow the frames.

    The power of each band is averaged over all frames at each of 16 phases of a frame, and scaled
    to its mean over the phases, by at most :data:`MOST_GAIN_DB`.
    """
    window, hop = hop_length // 4, hop_length // PHASES
    shape = hann(window, audio.dtype, audio.device)
    spectrum = torch.stft(audio[:, 0], window, hop, window=shape, return_complex=True)
    whole = spectrum.shape[-1] // PHASES * PHASES
    power = spectrum[..., :whole].abs().square().unflatten(-1, (-1, PHASES)).mean(dim=(0, 2))
    power = F.avg_pool1d(power.T, 3, 1, 1, count_include_pad=False).T  # over three bands
    gain = ((power.mean(dim=1, keepdim=True) + 1e-12) / (power + 1e-12)).sqrt()
    most = 10 ** (MOST_GAIN_DB / 20)
    gains = gain.clamp(1 / most, most).repeat(1, spectrum.shape[-1] // PHASES + 1)
    spectrum = spectrum * gains[:, : spectrum.shape[-1]]
    return torch.istft(spectrum, window, hop, window=shape, length=audio.shape[-1]).unsqueeze(1)


def distance(audio: Tensor, target: Tensor, hop_length: int) -> Tensor:
    """Power of the difference of two spectra relative to the target's around each bin.

    It is a mean of ``log(1 + power)`` in which the lowest quarter of the bins weighs more. Both are
    ``[B, 1, T]``. Phases count, and weak bands count as much as strong ones.
    """
    terms = []
    for frames in WINDOWS:
        window = frames * hop_length
        shape = hann(window, audio.dtype, audio.device)
        one, other = (
            torch.fft.rfft(x[:, 0].unfold(-1, window, window // 4) * shape) for x in (audio, target)
        )
        around = F.avg_pool1d(
            other.abs().square().flatten(0, 1),
            NEIGHBOURHOOD,
            1,
            NEIGHBOURHOOD // 2,
            count_include_pad=False,
        ).unflatten(0, other.shape[:2])
        error = ((one - other).abs().square() / (around + 1e-5)).log1p()
        low = error.shape[-1] // LOW_BAND
        terms.append((error[..., :low].sum(-1) * LOW_WEIGHT + error[..., low:].sum(-1)).mean())
        terms[-1] = terms[-1] / (LOW_WEIGHT * low + error.shape[-1] - low)
    return torch.stack(terms).sum()


if __name__ == "__main__":
    try:
        main()
    except CodecError as error:
        raise SystemExit(f"error: {error}") from None
