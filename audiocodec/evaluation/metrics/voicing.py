"""Which frames of speech are voiced and which are pauses, for the metrics that look at one kind."""

import hashlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audiocodec.evaluation.metrics.signal import SPEECH_RATE, Signal
from audiocodec.extras import import_extra

HOP = 160  # samples at 16 kHz: frames are 10 ms apart, and frame i is centred on sample 160 i
LOWEST, HIGHEST = 60.0, 500.0  # Hz
LEAST_VOICED = 0.05
PAUSE_BELOW = 25.0  # dB below the median level of the voiced frames

Where = Literal["voiced", "pauses", "all"]

MOST_TRACKS = 256
_TRACKS: dict[bytes, NDArray[np.float64]] = {}  # by the signal's hash: metrics share tracks


def pitch_track(signal: Signal) -> NDArray[np.float64]:
    """F0 in Hz of each frame of ``signal [T]`` at 16 kHz, NaN where it is unvoiced: ``[F]``.

    Probabilistic YIN (Mauch and Dixon 2014) from 60 to 500 Hz. ``F = 1 + T // 160``.
    """
    samples = np.ascontiguousarray(signal, np.float64)
    key = hashlib.sha256(samples.tobytes()).digest()
    if key not in _TRACKS:
        while len(_TRACKS) >= MOST_TRACKS:
            _TRACKS.pop(next(iter(_TRACKS)))
        _TRACKS[key] = _track(samples)
    return _TRACKS[key]


def _track(signal: Signal) -> NDArray[np.float64]:
    if not signal.any():
        return np.full(1 + len(signal) // HOP, np.nan)
    librosa = import_extra("librosa", "eval", "F0")
    f0, voiced, _ = librosa.pyin(
        signal,
        fmin=LOWEST,
        fmax=HIGHEST,
        sr=SPEECH_RATE,
        frame_length=1024,
        hop_length=HOP,
    )
    track: NDArray[np.float64] = np.where(voiced, f0, np.nan)
    return track


def frames_of(reference: Signal, where: Where) -> NDArray[np.bool_]:
    """The voiced frames of ``reference [T]`` at 16 kHz, its pauses, or all frames: ``[F]``.

    Pauses are unvoiced frames whose level (40 ms) is 25 dB below the median of the voiced ones.
    If fewer than 5 % of the frames have an F0, as in noise by chance, none is voiced, and every
    frame counts as a pause.
    """
    if where == "all":
        return np.ones(1 + len(reference) // HOP, np.bool_)
    voiced = np.isfinite(pitch_track(reference))
    if voiced.mean() < LEAST_VOICED:
        return np.full(len(voiced), where == "pauses")
    if where == "voiced":
        return voiced
    energy = np.concatenate([[0], np.cumsum(np.square(reference, dtype=np.float64))])
    centres = HOP * np.arange(len(voiced))
    first, last = (np.clip(centres + shift, 0, len(reference)) for shift in (-2 * HOP, 2 * HOP))
    power = (energy[last] - energy[first]) / np.maximum(last - first, 1)
    quiet = power < np.median(power[voiced]) * 10 ** (-PAUSE_BELOW / 10)
    pauses: NDArray[np.bool_] = quiet & ~voiced
    return pauses
