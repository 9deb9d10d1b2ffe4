"""Metrics agree with theory, ignore level and delay, and refuse signals without a score."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from audiocodec.evaluation.alignment import align
from audiocodec.evaluation.metrics import ScoreError
from audiocodec.evaluation.metrics.log_mel import log_mel_distance
from audiocodec.evaluation.metrics.pesq import pesq_wb
from audiocodec.evaluation.metrics.si_sdr import si_sdr
from audiocodec.evaluation.metrics.stoi import stoi
from audiocodec.tokens import stats as tokenstats

RATE = 16_000
Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


@pytest.fixture(scope="module")
def pair(clip: object) -> Pair:
    """Reconstruction and reference: speech with white noise at -20 dB, and the speech."""
    reference, rate = sf.read(clip)
    assert rate == RATE
    noise = np.random.default_rng(0).standard_normal(len(reference))
    noise *= np.linalg.norm(reference) / np.linalg.norm(noise) / 10
    return reference + noise, reference


def test_a_perfect_copy_has_the_best_scores(pair: Pair) -> None:
    _, speech = pair
    assert pesq_wb(speech, speech, RATE) == pytest.approx(4.64, abs=0.01)
    assert stoi(speech, speech, RATE) == pytest.approx(1)
    assert si_sdr(speech, speech, RATE) == 100
    assert log_mel_distance(speech, speech, RATE) == 0


def test_si_sdr_of_noise_20_db_down_is_20_db(pair: Pair) -> None:
    # The noise is uncorrelated with the speech up to 1 / sqrt(T), about 0.02 dB.
    assert si_sdr(*pair, RATE) == pytest.approx(20, abs=0.1)


def test_more_noise_scores_worse(pair: Pair) -> None:
    noisy, speech = pair
    noisier = speech + 4 * (noisy - speech)
    assert pesq_wb(noisier, speech, RATE) < pesq_wb(noisy, speech, RATE)
    assert stoi(noisier, speech, RATE) < stoi(noisy, speech, RATE)
    assert si_sdr(noisier, speech, RATE) == pytest.approx(20 - 20 * math.log10(4), abs=0.1)
    near = log_mel_distance(noisy, speech, RATE)
    assert log_mel_distance(noisier, speech, RATE) > near


@pytest.mark.parametrize("level", [-30.0, 10.0])
def test_the_level_of_both_does_not_matter(pair: Pair, level: float) -> None:
    gain = 10 ** (level / 20)
    loud = tuple(gain * signal for signal in pair)
    for score in (pesq_wb, stoi, log_mel_distance):
        # PESQ rounds to its own float32 arithmetic.
        assert score(*loud, RATE) == pytest.approx(score(*pair, RATE), abs=2e-3)


@pytest.mark.parametrize("lag", [0, 1, 137, 800, -1, -800])
def test_a_delay_of_up_to_50_ms_is_found_and_removed(pair: Pair, lag: int) -> None:
    noisy, speech = pair
    shifted = np.concatenate([np.zeros(max(lag, 0)), noisy[max(-lag, 0) :]])[: len(speech)]
    reconstruction, reference, found = align(shifted, speech, RATE)
    assert found == lag
    assert len(reconstruction) == len(reference) == len(speech) - abs(lag)
    assert si_sdr(reconstruction, reference, RATE) == pytest.approx(20, abs=0.2)


def test_a_poor_reconstruction_is_not_shifted_by_its_pitch() -> None:
    noise = np.random.default_rng(0).standard_normal((2, 3 * RATE))
    assert align(noise[0], noise[1], RATE)[2] == 0


def test_a_signal_10_db_lower_has_a_log_mel_distance_of_10_db(pair: Pair) -> None:
    _, speech = pair
    loud = speech + 0.1 * np.random.default_rng(0).standard_normal(len(speech))
    assert log_mel_distance(loud * 10**-0.5, loud, RATE) == pytest.approx(10, abs=0.01)


def test_other_rates_are_scored_at_16_khz(pair: Pair) -> None:
    import soxr

    there = [soxr.resample(signal, RATE, 24_000) for signal in pair]
    assert pesq_wb(*there, 24_000) == pytest.approx(pesq_wb(*pair, RATE), abs=0.05)
    assert stoi(*there, 24_000) == pytest.approx(stoi(*pair, RATE), abs=0.01)


def test_a_long_signal_of_many_utterances_is_scored_and_does_not_crash() -> None:
    # 142 bursts in 60 s: the ITU's program, called once on all, overruns its 50 utterances.
    time = np.arange(60 * RATE) / RATE
    noise = np.random.default_rng(0).standard_normal(len(time))
    bursts = np.sin(2764 * time) * (time % 0.42 < 0.21) * 0.3 + 1e-6 * noise
    assert 1 < pesq_wb(bursts + 0.01 * noise, bursts, RATE) < 4.6


def test_signals_without_a_score_raise_an_error_with_the_reason(pair: Pair) -> None:
    noisy, speech = pair
    silence = np.zeros(RATE)
    hiss = 1e-4 * np.random.default_rng(0).standard_normal(RATE // 5)
    with pytest.raises(ScoreError, match="reference is silent"):
        pesq_wb(noisy[:RATE], silence, RATE)
    with pytest.raises(ScoreError, match="reconstruction is silent"):
        pesq_wb(np.zeros_like(speech), speech, RATE)
    with pytest.raises(ScoreError, match=r"0\.25 s"):
        pesq_wb(hiss, hiss, RATE)
    with pytest.raises(ScoreError, match=r"0\.4 s"):
        stoi(hiss, hiss, RATE)
    with pytest.raises(ScoreError, match="NaN"):
        si_sdr(np.full(RATE, np.nan), speech[:RATE], RATE)
    with pytest.raises(ScoreError, match="10 samples"):
        log_mel_distance(noisy[:10], speech[:20], RATE)
    for empty in (np.zeros(0), np.zeros(1)):
        for score in (pesq_wb, stoi, log_mel_distance):
            with pytest.raises(ScoreError):
                score(empty, empty, RATE)


def test_usage_and_perplexity_of_known_counts() -> None:
    even = np.array([5, 5, 5, 5])
    assert tokenstats.usage(even) == 1
    assert tokenstats.perplexity(even) == pytest.approx(4)
    one = np.array([0, 9, 0, 0])
    assert tokenstats.usage(one) == 0.25
    assert tokenstats.perplexity(one) == pytest.approx(1)
    assert tokenstats.perplexity(np.zeros(4, dtype=np.int64)) == 0


def test_codes_are_counted_for_each_stage() -> None:
    codes = np.array([[[0, 1, 1], [2, 2, 2]], [[1, 0, 1], [0, 0, 2]]])  # [B=2, K=2, F=3]
    first, second = tokenstats.count_codes(codes, (2, 4))
    assert first.tolist() == [2, 4]
    assert second.tolist() == [2, 0, 4, 0]
