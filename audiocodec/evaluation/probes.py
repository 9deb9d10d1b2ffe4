"""Probes of a codec: signals that reveal what scores of speech do not show.

Where a metric compares a reconstruction with its reference, a probe makes the signal itself: noise,
an offset, another level, silence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from audiocodec.errors import CodecError
from audiocodec.evaluation.alignment import align
from audiocodec.evaluation.metrics.signal import Signal
from audiocodec.runtime import RuntimeCodec

Audio = NDArray[np.float32]  # [T] in [-1, 1]
Noise = Literal["white", "pink", "hiss"]
NOISES: tuple[Noise, ...] = ("white", "pink", "hiss")
NOISE_SLOPES: dict[Noise, float] = {"white": 0.0, "pink": -3.0, "hiss": 6.0}
"""Change of the power density in dB per octave."""
LOWEST_NOISE = 20.0
"""Hz. Below, the power density of pink noise is constant."""
DB_PER_DOUBLING = 6.0
"""Of an amplitude, rounded, as slopes are given: 3 dB per octave is a power density of 1 / f."""
LEAST_AMPLITUDE = 1e-8
PHASES = 16  # steps of a frame in which the envelope is measured
WINDOW_FRAMES = 50  # frames in a window of the envelope's spectrum


def decibels(amplitude: float) -> float:
    """dB of full scale, at least -160."""
    return 20 * float(np.log10(max(amplitude, LEAST_AMPLITUDE)))


def rms(signal: Signal) -> float:
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))


def coded(codec: RuntimeCodec, signal: Signal, num_codebooks: int | None = None) -> Audio:
    """``signal [T]`` encoded and decoded."""
    audio = torch.from_numpy(np.asarray(signal, np.float32))[None, None]
    with torch.inference_mode():
        codes = codec.encode(audio.to(codec.device, codec.dtype), num_codebooks)
        decoded: Audio = codec.decode(codes, len(signal))[0, 0].float().cpu().numpy()
    return decoded


def at_level(signal: Signal, level: float) -> Audio:
    """``signal [T]`` scaled to an RMS of ``level`` dBFS and rounded to 16 bits."""
    scaled = signal * (10 ** (level / 20) / rms(signal))
    return (np.round(scaled.clip(-1, 1) * 32767) / 32767).astype(np.float32)


def noise(kind: Noise, level: float, seconds: float, sample_rate: int, seed: int = 0) -> Audio:
    """Steady Gaussian noise ``[T]`` at ``level`` dBFS, rounded to 16 bits.

    The power density is constant (white), falls by 3 dB per octave (pink, from 20 Hz), or rises
    by 6 dB per octave (hiss): :data:`NOISE_SLOPES`.

    Raises:
        CodecError: another ``kind``.
    """
    if kind not in NOISE_SLOPES:
        raise CodecError(f"noise {kind}: does not exist; choose from {', '.join(NOISES)}")
    size = round(seconds * sample_rate)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(size))
    frequency = np.fft.rfftfreq(size, 1 / sample_rate)
    spectrum *= np.maximum(frequency, LOWEST_NOISE) ** (NOISE_SLOPES[kind] / DB_PER_DOUBLING)
    return at_level(np.fft.irfft(spectrum, size), level)


def tone(frequency: float, level: float, seconds: float, sample_rate: int) -> Audio:
    """A sine ``[T]`` of ``frequency`` Hz at ``level`` dBFS (RMS), rounded to 16 bits."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return at_level(np.sin(2 * np.pi * frequency * time), level)


def clicks(peak: float, seconds: float, sample_rate: int) -> Audio:
    """Four impulses of one sample in a second, ``peak`` high, in silence: ``[T]``."""
    signal = np.zeros(round(seconds * sample_rate), np.float32)
    signal[sample_rate // 8 :: sample_rate // 4] = peak
    return signal


def level_change(
    reconstruction: Signal, reference: Signal, sample_rate: int, low: float, high: float
) -> float:
    """Level of ``reconstruction [T]`` minus that of ``reference [T]`` in dB, of a band in Hz."""
    frequency = np.fft.rfftfreq(len(reference), 1 / sample_rate)
    inside = (frequency >= low) & (frequency < high)
    first, second = (
        float(np.linalg.norm(np.fft.rfft(signal)[inside])) for signal in (reconstruction, reference)
    )
    return decibels(first) - decibels(second)


@dataclass(frozen=True)
class Modulation:
    """How the envelope of a signal follows the codec's frames.

    Attributes:
        depth: largest to smallest mean power over the phase of a frame, in dB; 0 for steady noise.
        line: how far the envelope's spectrum at the frame rate stands above its neighbours, in dB;
            about 0 for steady noise.
    """

    depth: float
    line: float


def modulation(signal: Signal, hop_length: int) -> Modulation:
    """Modulation of ``signal [T]`` at the rate of frames of ``hop_length`` samples.

    The envelope is the power in 16 steps of each frame. Its spectrum is over Hann windows of 50
    frames, and a line's neighbours are its bins 5 to 24 fiftieths of the frame rate away, of which
    the median is taken. The line depends on the length of the windows, the depth does not.

    Raises:
        CodecError: the signal is shorter than 50 frames.
    """
    frames = len(signal) // hop_length
    if frames < WINDOW_FRAMES:
        raise CodecError(f"modulation: needs {WINDOW_FRAMES} frames of audio, not {frames}")
    power = np.square(np.asarray(signal[: frames * hop_length], np.float64))
    edges = np.arange(PHASES) * hop_length // PHASES
    envelope = np.add.reduceat(power.reshape(frames, hop_length), edges, axis=1)
    envelope /= np.diff([*edges, hop_length])
    mean = envelope.mean(axis=0) + LEAST_AMPLITUDE**2
    window = np.hanning(WINDOW_FRAMES * PHASES + 1)[:-1]
    density = np.full(len(window) // 2 + 1, LEAST_AMPLITUDE**4)
    for start in range(0, frames - WINDOW_FRAMES + 1, WINDOW_FRAMES // 2):
        part = envelope[start : start + WINDOW_FRAMES].ravel()
        density += np.abs(np.fft.rfft((part - part.mean()) * window)) ** 2
    shifts = np.r_[-24:-4, 5:25]
    near = np.median(density[WINDOW_FRAMES + shifts])
    return Modulation(
        depth=float(10 * np.log10(mean.max() / mean.min())),
        line=float(10 * np.log10(density[WINDOW_FRAMES] / near)),
    )


def noise_modulation(
    codec: RuntimeCodec,
    kind: Noise,
    level: float,
    num_codebooks: int | None = None,
    *,
    seconds: float = 10.0,
    seed: int = 0,
) -> Modulation:
    """Modulation of decoded steady noise. The first second is left out.

    Args:
        kind, level, seconds, seed: as for :func:`noise`.
    """
    decoded = coded(codec, noise(kind, level, seconds, codec.sample_rate, seed), num_codebooks)
    start = round(codec.frame_rate) * codec.hop_length
    return modulation(decoded[start:], codec.hop_length)


def offset_scores(
    codec: RuntimeCodec,
    signal: Signal,
    score: Callable[[Signal, Signal, int], float],
    offsets: Sequence[float] = (0.0, 0.01, 0.03, 0.1),
    num_codebooks: int | None = None,
) -> dict[float, float]:
    """Scores of ``signal [T]`` coded with an offset, against the signal without it.

    Args:
        score: a metric, such as :func:`~audiocodec.evaluation.metrics.pesq.pesq_wb`.
        offsets: added to the samples before encoding.
    """
    scores = {}
    for offset in offsets:
        decoded = coded(codec, np.asarray(signal, np.float32) + np.float32(offset), num_codebooks)
        pair = align(decoded, signal, codec.sample_rate)[:2]
        scores[offset] = score(*pair, codec.sample_rate)
    return scores


def level_rates(codec: RuntimeCodec) -> list[int]:
    """The rates of the decoder's levels in Hz, from the frame rate on: where lines may appear.

    Rates above an eighth of the sample rate have too few multiples and are left out.
    """
    rate = codec.frame_rate
    rates = [rate]
    for stride in reversed(codec.config.seanet.strides):
        rate *= stride
        rates.append(rate)
    return [round(rate) for rate in rates if rate <= codec.sample_rate / 8]
