"""Spectral lines at multiples of a rate: hum and whistles that a decoder adds.

A decoder works at several rates: that of its frames, and those of the levels above it. Where its
upsampling is imperfect, lines appear at the multiples of a rate, whatever the signal is. They are
perceived as hum or whistles. Long-term spectra resolve them, those of short windows do not.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from audiocodec.evaluation.metrics.registry import ScoreError
from audiocodec.evaluation.metrics.signal import SPEECH_RATE, Signal, resample_pair
from audiocodec.evaluation.metrics.voicing import HOP, Where, frames_of

FRAME_RATE = 50.0  # Hz, the smallest rate; windows are as long as 8 of its frames
BINS = 8  # from one multiple of the smallest rate to the next
FLOOR = 1e-14  # power of a bin relative to that of the window
SILENCE = 5e-7  # power of a window at -90 dBFS; quieter ones count as that
LOW = 1000.0  # Hz; below, harmonics of the voice are stronger than lines
FEWEST = 3  # windows of a spectrum

Power = NDArray[np.float64]


def lines(
    reconstruction: Signal,
    reference: Signal,
    sample_rate: int,
    *,
    spacing: float,
    where: Where,
    largest: bool = False,
) -> float:
    """How far lines at multiples of ``spacing`` stand out in the reconstruction, in dB.

    The strength of a line is that of :func:`line_strengths`, minus that in the reference. The
    result is the mean over the multiples from 1 kHz on, or the largest. It is 0 without an
    artefact; the largest of many lines is some decibels above 0 by chance.

    Args:
        reconstruction, reference: ``[T]`` in [-1, 1].
        sample_rate: Hz; the spectra are computed at 16 kHz.
        spacing: Hz, a multiple of 50.
        where: the reference's voiced frames, its pauses, or all frames; without voiced frames, as
            in noise, all frames count as pauses.
        largest: the largest strength instead of the mean.

    Raises:
        ScoreError: there is less than a quarter of a second of such frames, or samples are not
            finite.
    """
    pair = resample_pair(reconstruction, reference, sample_rate)
    power, original = long_term_powers([pair], where)
    strengths = line_strengths(power, spacing) - line_strengths(original, spacing)
    return float(strengths.max() if largest else strengths.mean())


def long_term_powers(pairs: Iterable[tuple[Signal, Signal]], where: Where) -> tuple[Power, Power]:
    """Mean power spectra ``[N]`` of reconstructions and references over windows of one kind.

    Windows are Hann, 160 ms long, every 40 ms. Three quarters of a window are voiced, or all of
    it is a pause. Windows of all pairs are averaged, each relative to its reference's power, so
    that loud ones do not outweigh the others.

    Args:
        pairs: reconstruction and reference ``[T]`` at 16 kHz.

    Raises:
        ScoreError: there are fewer than three such windows.
    """
    length = round(BINS * SPEECH_RATE / FRAME_RATE)
    window = np.hanning(length + 1)[:-1]
    total = np.zeros((2, length // 2 + 1))
    count = 0
    for reconstruction, reference in pairs:
        frames = frames_of(reference, where)
        for start in range(0, len(reference) - length + 1, length // 4):
            inside = frames[start // HOP : (start + length) // HOP]
            if inside.mean() < (0.75 if where == "voiced" else 1.0):
                continue
            both = np.stack([reconstruction[start:][:length], reference[start:][:length]])
            power = np.abs(np.fft.rfft(both * window)) ** 2 / length
            total += power / max(power[1].sum(), SILENCE)
            count += 1
    if count < FEWEST:
        raise ScoreError("too short" if where == "all" else f"too few frames ({where})")
    total /= count
    return total[0], total[1]


def line_strengths(power: Power, spacing: float, low: float = LOW) -> Power:
    """How far each multiple of ``spacing`` stands above its neighbours, in dB: ``[lines]``.

    The neighbours are the bins 12 to 25 Hz away, of which the median is taken: half the smallest
    rate, so no other line is among them.

    Args:
        power: a spectrum of :func:`long_term_powers`, ``[N]``, in bins of 6.25 Hz.
        spacing: Hz, a multiple of 50.
        low: Hz, of the first multiple.
    """
    step = round(spacing * BINS / FRAME_RATE)
    if step < BINS or step % BINS:
        raise ScoreError(f"lines {spacing:g} Hz apart: is not a multiple of {FRAME_RATE:g} Hz")
    at = np.arange(step, len(power) - BINS // 2, step)
    at = at[at * FRAME_RATE / BINS >= low]
    near = np.stack([power[at + shift] for shift in (-4, -3, -2, 2, 3, 4)])
    strengths: Power = 10 * np.log10((power[at] + FLOOR) / (np.median(near, axis=0) + FLOOR))
    return strengths
