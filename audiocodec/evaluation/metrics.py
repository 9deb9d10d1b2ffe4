"""How near a reconstruction is to its reference.

Every score takes ``(reconstruction, reference, sample_rate)``, one-dimensional float arrays ``[T]``
of equal length in [-1, 1] and Hz, and gives one float. Signals that have no such score (silence,
too short, not finite) raise :class:`ScoreError`: a score is never guessed.
"""

import math
import warnings

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from audiocodec.errors import CodecError
from audiocodec.extras import import_extra
from audiocodec.spectral import mel_from_magnitude, stft_magnitude

Signal = NDArray[np.floating]

SPEECH_RATE = 16_000  # Hz: PESQ-WB and STOI are computed here whatever the codec's rate is
PESQ_PIECE = 20  # s, see `pesq_wb`
SI_SDR_LIMIT = 100.0  # dB: a perfect copy must not make a mean infinite


class ScoreError(CodecError):
    """This pair of signals has no such score; the message says why."""


def check_installed(purpose: str) -> None:
    """Raise :class:`CodecError` unless the packages that compute the scores are installed.

    Args:
        purpose: what needs them, the subject of the error message, e.g. ``"codec evaluate"``.
    """
    for module in ("pesq", "pystoi", "librosa", "joblib"):
        import_extra(module, "eval", purpose)


def align(
    reconstruction: Signal, reference: Signal, sample_rate: int, max_seconds: float = 0.05
) -> tuple[Signal, Signal, int]:
    """Undo a delay of at most ``max_seconds``: both signals cut to what they share, and the lag.

    The lag, in samples, is where the cross-correlation peaks; positive when the reconstruction is
    late. It stays 0 unless the peak's normalised correlation beats that at 0 by .02, so that a
    codec without delay is not shifted by the pitch period of a poor reconstruction.
    """
    size = min(len(reconstruction), len(reference))
    late, early = reconstruction[:size], reference[:size]
    energy = math.sqrt(float(np.dot(late, late)) * float(np.dot(early, early)))
    reach = min(int(max_seconds * sample_rate), size - 1)
    if reach < 1 or energy == 0 or not math.isfinite(energy):
        return late, early, 0
    padded = 1 << (size + reach).bit_length()
    spectrum = np.fft.rfft(late, padded) * np.conj(np.fft.rfft(early, padded))
    correlation = np.fft.irfft(spectrum, padded) / energy
    lags = np.arange(-reach, reach + 1)
    best = int(lags[np.argmax(correlation[lags])])  # a negative index is a negative lag
    if correlation[best] < correlation[0] + 0.02:
        best = 0
    late, early = reconstruction[max(best, 0) :], reference[max(-best, 0) :]
    shared = min(len(late), len(early))
    return late[:shared], early[:shared], best


def pesq_wb(reconstruction: Signal, reference: Signal, sample_rate: int) -> float:
    """PESQ wideband, MOS-LQO (ITU-T P.862.2), about 1 to 4.64, at 16 kHz.

    The ITU's program holds at most 50 utterances and overruns its memory beyond them, so a signal
    longer than 20 s is scored in equal pieces (an utterance and its pause last .4 s or more) and
    the mean is taken over those that hold speech.

    Raises:
        ScoreError: under a quarter of a second, no speech, a silent reconstruction, not finite.
    """
    pesq = import_extra("pesq", "eval", "PESQ")
    reconstruction, reference = _at_speech_rate(reconstruction, reference, sample_rate)
    pieces = max(1, math.ceil(len(reference) / (PESQ_PIECE * SPEECH_RATE)))
    scores = []
    for late, early in zip(
        np.array_split(reconstruction, pieces), np.array_split(reference, pieces), strict=True
    ):
        if not late.any() and early.any():  # PESQ would divide by zero
            raise ScoreError("the reconstruction is silent")
        try:
            scores.append(float(pesq.pesq(SPEECH_RATE, early, late, "wb")))
        except pesq.NoUtterancesError:
            continue
        except (pesq.BufferTooShortError, ValueError) as error:
            raise ScoreError("PESQ needs at least 0.25 s of audio") from error
    if not scores:
        raise ScoreError("PESQ finds no speech")
    return float(np.mean(scores))


def stoi(reconstruction: Signal, reference: Signal, sample_rate: int) -> float:
    """Short-time objective intelligibility (Taal et al. 2011, not extended), about 0 to 1.

    Raises:
        ScoreError: less than .4 s of speech is left without the pauses, or not finite.
    """
    pystoi = import_extra("pystoi", "eval", "STOI")
    reconstruction, reference = _at_speech_rate(reconstruction, reference, sample_rate)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(pystoi.stoi(reference, reconstruction, SPEECH_RATE, extended=False))
        except (RuntimeWarning, ValueError, IndexError) as error:
            raise ScoreError("STOI needs at least 0.4 s of speech") from error


def si_sdr(reconstruction: Signal, reference: Signal) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, means removed).

    Held within -100 ... 100 dB.

    Raises:
        ScoreError: the reference is silent or empty, or a signal is not finite.
    """
    _check(reconstruction, reference)
    late = np.asarray(reconstruction, np.float64) - np.mean(reconstruction)
    early = np.asarray(reference, np.float64) - np.mean(reference)
    target = early * (np.dot(late, early) / np.dot(early, early))
    signal, noise = float(np.dot(target, target)), float(np.dot(late - target, late - target))
    if signal == 0:
        return -SI_SDR_LIMIT
    if noise == 0:
        return SI_SDR_LIMIT
    return float(np.clip(10 * math.log10(signal / noise), -SI_SDR_LIMIT, SI_SDR_LIMIT))


def log_mel_distance(reconstruction: Signal, reference: Signal, sample_rate: int) -> float:
    """Mean absolute difference of two log-mel spectrograms in dB: 80 bands, 64 ms, every 16 ms.

    Levels more than 80 dB under the reference's loudest point count as that floor, so the score
    does not depend on the level that both signals are played at.

    Raises:
        ScoreError: the reference is silent or empty, or a signal is not finite.
    """
    _check(reconstruction, reference)
    window_length = 2 ** round(math.log2(0.064 * sample_rate))
    pair = torch.from_numpy(np.stack([reconstruction, reference]).astype(np.float64))
    magnitude = stft_magnitude(pair, window_length, window_length // 4)
    mel = mel_from_magnitude(magnitude, sample_rate, bands=80)
    late, early = mel.clamp_min(1e-4 * float(mel[1].max()))
    return float((20 * (late / early).log10()).abs().mean())


def _check(reconstruction: Signal, reference: Signal) -> None:
    if len(reconstruction) != len(reference):
        raise ScoreError(
            f"the reconstruction has {len(reconstruction)} samples, the reference {len(reference)}"
        )
    if not np.isfinite(reconstruction).all() or not np.isfinite(reference).all():
        raise ScoreError("a signal holds NaN or infinite samples")
    if len(reference) == 0 or np.ptp(reference) == 0:
        raise ScoreError("the reference is silent")


def _at_speech_rate(
    reconstruction: Signal, reference: Signal, sample_rate: int
) -> tuple[Signal, Signal]:
    _check(reconstruction, reference)
    pair = (np.asarray(signal, np.float64) for signal in (reconstruction, reference))
    if sample_rate == SPEECH_RATE:
        late, early = pair
    else:
        late, early = (soxr.resample(signal, sample_rate, SPEECH_RATE, "HQ") for signal in pair)
    if len(early) == 0:
        raise ScoreError("too short to score")
    return late, early
