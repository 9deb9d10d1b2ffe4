"""The instruments find what was planted, as strong as it is, and nothing in clean audio."""

from __future__ import annotations

import math
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from audiocodec import CodecError
from audiocodec.evaluation import probes
from audiocodec.evaluation.artefacts import (
    Subject,
    clip_tables,
    level_table,
    noise_table,
    offset_table,
    silence_table,
)
from audiocodec.evaluation.metrics import METRICS, ScoreError, select_metrics, speaker, words
from audiocodec.evaluation.metrics.bands import band_error, band_level
from audiocodec.evaluation.metrics.lines import line_strengths, lines, long_term_powers
from audiocodec.evaluation.metrics.pitch import f0_error, gross_pitch_error, voicing_error
from audiocodec.evaluation.metrics.selection import check_installed
from audiocodec.evaluation.metrics.si_sdr import si_sdr
from audiocodec.evaluation.metrics.signal import Signal
from audiocodec.runtime import RuntimeCodec

RATE = 16_000
BANDS = ((0, 1000), (1000, 2000), (2000, 4000), (4000, 8000))
Audio = NDArray[np.float64]


@pytest.fixture(scope="module")
def voice(clip: Path) -> Audio:
    """Four seconds of speech with hiss of a recording at -70 dBFS."""
    audio, rate = sf.read(clip, frames=4 * RATE)
    assert rate == RATE
    return audio + 10**-3.5 * np.random.default_rng(0).standard_normal(len(audio))


def buzz(f0: float | Audio, seconds: float = 1.0) -> Audio:
    """A voiced sound: 20 harmonics of ``f0`` in Hz, which may be a track ``[T]``."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(f0, round(seconds * RATE))) / RATE
    return 0.05 * np.sum([np.sin(k * phase) / k for k in range(1, 21)], axis=0)


def white(seconds: float = 10.0, level: float = -30.0, seed: int = 0) -> Audio:
    samples = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return 10 ** (level / 20) * samples


def comb(size: int, spacing: float, level: float, low: float = 1000.0) -> Audio:
    """Sines at the multiples of ``spacing`` from ``low`` on, each of ``level`` dBFS."""
    time = np.arange(size) / RATE
    multiples = np.arange(math.ceil(low / spacing), 7900 // spacing + 1) * spacing
    sines = [np.sin(2 * np.pi * f * time + f) for f in multiples]
    return math.sqrt(2) * 10 ** (level / 20) * np.sum(sines, axis=0)


def test_f0_half_a_semitone_too_high_is_50_cents_off() -> None:
    low, high = buzz(150.0), buzz(150.0 * 2 ** (50 / 1200))
    assert f0_error(high, low, RATE) == pytest.approx(50, abs=6)  # pYIN's grid is 10 cents
    assert f0_error(low, low, RATE) == 0
    assert gross_pitch_error(high, low, RATE) == 0


def test_an_octave_in_a_quarter_of_the_time_is_a_gross_error_of_25_percent() -> None:
    reference = buzz(140.0, 2)
    jumps = buzz(np.where(np.arange(2 * RATE) < RATE // 2, 280.0, 140.0), 2)
    assert gross_pitch_error(jumps, reference, RATE) == pytest.approx(25, abs=3)
    assert f0_error(jumps, reference, RATE) < 12


def test_a_buzz_that_turns_into_noise_half_way_has_half_its_frames_voiced_wrongly() -> None:
    reference, half = buzz(140.0, 2), buzz(140.0, 2)
    half[RATE:] = white(1)
    assert voicing_error(half, reference, RATE) == pytest.approx(50, abs=4)
    with pytest.raises(ScoreError, match="voiced"):
        f0_error(white(1), reference[:RATE], RATE)


def test_a_band_6_db_too_low_shows_in_that_band_alone(voice: Audio) -> None:
    spectrum = np.fft.rfft(voice)
    frequency = np.fft.rfftfreq(len(voice), 1 / RATE)
    spectrum[(frequency >= 2000) & (frequency < 4000)] *= 10 ** (-6 / 20)
    dull = np.fft.irfft(spectrum, len(voice))
    for low, high in BANDS:
        level = band_level(dull, voice, RATE, low=low, high=high)
        error = band_error(dull, voice, RATE, low=low, high=high)
        expected = 6 if low == 2000 else 0
        assert level == pytest.approx(-expected, abs=0.2)
        assert error == pytest.approx(expected, abs=0.4)
    with pytest.raises(ScoreError, match="no voiced frame"):
        band_error(white(1), white(1), RATE, low=0, high=1000)


@pytest.mark.parametrize("spacing", [50, 400, 2000])
def test_a_comb_planted_in_noise_is_found_as_strong_as_it_is(spacing: int) -> None:
    noise = white()
    # Power of a line to that of the noise in a bin: a Hann window of 2,560 samples sums up
    # 2,560 / 1.5 samples' worth of a line.
    level = -60.0
    expected = 10 * math.log10(1 + 10 ** ((level + 30) / 10) * 2560 / 2 / 1.5)
    planted = noise + comb(len(noise), spacing, level)
    strengths = {
        other: lines(planted, noise, RATE, spacing=other, where="pauses")
        for other in (50, 400, 2000)
    }
    assert strengths[spacing] == pytest.approx(expected, abs=0.7)
    assert lines(noise, noise, RATE, spacing=spacing, where="pauses") == 0
    assert max(strengths.values()) == max(strengths[rate] for rate in strengths if rate >= spacing)


def test_clean_noise_has_no_lines() -> None:
    noise = [(white(5, seed=seed), white(5, seed=seed)) for seed in (1, 2)]
    power, _ = long_term_powers(noise, "pauses")
    for spacing in (50, 400, 2000):
        strengths = line_strengths(power, spacing, low=spacing)
        assert abs(strengths.mean()) < 0.5
        assert strengths.max() < 2.5


def test_one_line_in_eight_is_seen_in_speech(voice: Audio) -> None:
    """The median over all multiples of 50 Hz, an earlier measure, is blind to a comb of 400 Hz."""
    whistling = voice + comb(len(voice), 400, -66)
    for where in ("voiced", "pauses"):
        found = lines(whistling, voice, RATE, spacing=400, where=where)
        assert found > 4
    assert lines(whistling, voice, RATE, spacing=400, where="voiced", largest=True) > 8
    assert lines(voice, voice, RATE, spacing=400, where="voiced") == 0
    power, _ = long_term_powers([(whistling, voice)], "voiced")
    assert np.median(line_strengths(power, 50)) < 1
    with pytest.raises(ScoreError, match="multiple of 50"):
        line_strengths(power, 30)


@pytest.mark.parametrize("depth", [0.1, 0.5])
def test_the_depth_of_a_planted_modulation_is_measured(depth: float) -> None:
    noise = white(20)
    carrier = np.cos(2 * np.pi * 50 * np.arange(len(noise)) / RATE)
    found = probes.modulation(noise * (1 + depth * carrier), 320)
    assert found.depth == pytest.approx(20 * math.log10((1 + depth) / (1 - depth)), abs=0.4)
    assert found.line > 12
    steady = probes.modulation(noise, 320)
    assert steady.depth < 0.4
    assert steady.line < 4
    with pytest.raises(CodecError, match="50 frames"):
        probes.modulation(noise[:1000], 320)


def test_noise_has_its_level_and_its_slope() -> None:
    for kind, slope in (("white", 0), ("pink", -3), ("hiss", 6)):
        signal = probes.noise(kind, -30, 10, RATE)
        assert probes.decibels(probes.rms(signal)) == pytest.approx(-30, abs=0.05)
        power = np.abs(np.fft.rfft(signal)) ** 2
        octaves = [power[10 * f : 20 * f].mean() for f in (1000, 2000)]
        assert 10 * math.log10(octaves[1] / octaves[0]) == pytest.approx(slope, abs=0.3)
    with pytest.raises(CodecError, match="brown"):
        probes.noise("brown", -30, 1, RATE)  # type: ignore[arg-type]


class Identity:
    """A codec whose codes are the audio itself, shifted by ``offset`` and modulated."""

    sample_rate, hop_length, frame_rate = RATE, 320, 50.0

    def __init__(self, offset_gain: float = 0.0, depth: float = 0.0) -> None:
        import torch

        self.offset_gain, self.depth = offset_gain, depth
        self.device, self.dtype = torch.device("cpu"), torch.float32

    def encode(self, audio: object, num_codebooks: int | None = None) -> object:
        return audio

    def decode(self, codes: object, num_samples: int) -> object:
        import torch

        wave = torch.cos(2 * math.pi * 50 / RATE * torch.arange(num_samples))
        mean = codes.mean()  # type: ignore[attr-defined]
        return codes * (1 + self.depth * wave) - mean + self.offset_gain * mean * wave  # type: ignore[operator]


def test_probes_measure_what_a_codec_does_to_noise_and_offsets(voice: Audio) -> None:
    humming = probes.noise_modulation(Identity(depth=0.3), "white", -40)  # type: ignore[arg-type]
    assert humming.depth == pytest.approx(20 * math.log10(1.3 / 0.7), abs=0.6)
    signal = voice - voice.mean()
    robust = probes.offset_scores(Identity(), signal, si_sdr)  # type: ignore[arg-type]
    assert list(robust) == [0, 0.01, 0.03, 0.1]
    assert min(robust.values()) > 60
    fragile = probes.offset_scores(Identity(offset_gain=1.0), signal, si_sdr)  # type: ignore[arg-type]
    power = np.mean(signal**2)
    for offset in (0.01, 0.03, 0.1):
        expected = 10 * math.log10(power / (offset**2 / 2))
        assert fragile[offset] == pytest.approx(expected, abs=0.3)


def test_the_rates_of_the_levels_follow_from_the_strides(codec: RuntimeCodec) -> None:
    rates = probes.level_rates(codec)
    assert rates[0] == round(codec.frame_rate)
    assert all(rate % rates[0] == 0 for rate in rates)


def test_word_errors_are_counted_as_edits() -> None:
    truth = "He said: the cat's on the mat."
    assert words.word_error_rate("he said the cat\u2019s on the mat", truth) == 0
    assert words.word_error_rate("he said a cat's on mat", truth) == pytest.approx(200 / 7)
    assert words.word_error_rate("", truth) == 100
    assert words.edit_distance("kitten", "sitting") == 3
    with pytest.raises(ScoreError, match="no words"):
        words.word_error_rate("something", "...")


class StubModel:
    """Interface of ``faster_whisper.WhisperModel``: a loud clip says more."""

    def __init__(self, folder: str, **_: object) -> None:
        assert Path(folder).is_dir()

    def transcribe(self, audio: Signal, **settings: object) -> tuple[object, object]:
        text = " One two three four" if np.abs(audio).max() > 0.5 else " one, two!"
        return iter([SimpleNamespace(text=text)]), SimpleNamespace(language="en")


def test_word_errors_need_a_model_and_compare_transcripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", SimpleNamespace(WhisperModel=StubModel))
    monkeypatch.delenv("AUDIOCODEC_WHISPER", raising=False)
    metric, loud, soft = METRICS["word_errors"], np.sin(np.arange(999.0)), np.zeros(999) + 0.1
    with pytest.raises(CodecError, match="set the variable AUDIOCODEC_WHISPER"):
        metric(soft, loud, RATE)
    monkeypatch.setenv("AUDIOCODEC_WHISPER", str(tmp_path / "gone"))
    with pytest.raises(CodecError, match="is no folder"):
        metric(soft, loud, RATE)
    monkeypatch.setenv("AUDIOCODEC_WHISPER", str(tmp_path))
    with pytest.raises(CodecError, match=r"has no model\.bin"):
        metric(soft, loud, RATE)
    for name in words.FILES:
        (tmp_path / name).touch()
    try:
        assert metric(soft, loud, RATE) == 50
    finally:
        words._load_model.cache_clear()
        words._transcribe.cache_clear()


class StubEncoder:
    """Interface of resemblyzer: an embedding of two numbers, the shares of low and high pitch."""

    def __init__(self, device: str, verbose: bool) -> None:
        assert device == "cpu"

    def embed_utterance(self, audio: Signal) -> NDArray[np.float32]:
        crossings = np.mean(np.diff(np.signbit(audio)))
        angle = float(crossings) * 20
        return np.array([math.cos(angle), math.sin(angle)], np.float32)


def test_speaker_similarity_is_the_cosine_of_the_embeddings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stub = SimpleNamespace(VoiceEncoder=StubEncoder, preprocess_wav=lambda audio: audio)
    monkeypatch.setitem(sys.modules, "resemblyzer", stub)
    speaker.load_encoder.cache_clear()
    time = np.arange(RATE) / RATE
    low, high = (0.1 * np.sin(2 * np.pi * f * time) for f in (100, 400))
    try:
        assert speaker.speaker_similarity(low, low, RATE) == pytest.approx(1)
        expected = math.cos(20 * 2 * 300 / RATE)
        assert speaker.speaker_similarity(high, low, RATE) == pytest.approx(expected, abs=0.01)
        with pytest.raises(ScoreError, match="silent"):
            speaker.speaker_similarity(np.zeros(RATE), low, RATE)
        with pytest.raises(ScoreError, match=r"0\.5 s"):
            speaker.speaker_similarity(low[:999], low[:999], RATE)
    finally:
        speaker.load_encoder.cache_clear()


def test_one_speaker_is_nearer_to_himself_than_to_another(voice: Audio) -> None:
    if find_spec("resemblyzer") is None:
        pytest.skip("the extra `speaker` is not installed")
    other, _ = sf.read(Path(__file__).parents[1] / "audiocodec/clips/male.flac")
    same = speaker.speaker_similarity(voice[: 2 * RATE], voice[2 * RATE :], RATE)
    size = 4 * RATE
    assert speaker.speaker_similarity(other[:size], voice[:size], RATE) < same - 0.1


@pytest.mark.parametrize("name", ["dnsmos_overall", "visqol"])
def test_clean_speech_has_a_higher_predicted_opinion_than_noisy_speech(
    name: str, voice: Audio
) -> None:
    metric = METRICS[name]
    if find_spec(metric.package) is None:
        pytest.skip(f"the extra `{metric.extra}` is not installed")
    clean = np.tile(voice, 3)[: round(9.1 * RATE)]
    clean = clean if name.startswith("dnsmos") else voice[: 2 * RATE]
    noisy = clean + white(len(clean) / RATE, -35.0)
    assert metric(noisy, clean, RATE) + 0.5 < metric(clean, clean, RATE) <= 5
    with pytest.raises(ScoreError, match="at least"):
        metric(clean[:999], clean[:999], RATE)
    with pytest.raises(ScoreError):
        metric(np.zeros(2 * RATE), clean[: 2 * RATE], RATE)


def test_a_group_of_metrics_is_requested_by_its_name(voice: Audio) -> None:
    assert {"error_2_4k", "level_4_8k"} < set(select_metrics(["bands"]))
    assert "lines_400_voiced" not in select_metrics(["bands"])
    assert len(select_metrics(["lines"])) == len(select_metrics()) + 9
    with pytest.raises(CodecError, match=r"choose from .*bands, lines"):
        select_metrics(["band"])
    for metric in select_metrics(["pitch", "bands", "lines"]).values():
        if metric.group:
            assert metric(voice, voice, RATE) == 0


def test_a_missing_model_is_reported_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from audiocodec.evaluation.metrics import selection

    monkeypatch.setattr(selection, "require_extra", lambda *_: None)
    monkeypatch.delenv("AUDIOCODEC_WHISPER", raising=False)
    check_installed("codec evaluate", ["bands"])
    with pytest.raises(CodecError, match="AUDIOCODEC_WHISPER"):
        check_installed("codec evaluate", ["word_errors"])


def test_a_wide_table_is_divided_and_each_part_names_its_rows() -> None:
    from audiocodec.evaluation.tables import WIDEST, columns

    cells = [[f"{row}{number}".rjust(9) for number in range(40)] for row in "ab"]
    lines = columns(cells, keep=1)
    assert max(map(len, lines)) <= WIDEST
    parts = "\n".join(lines).split("\n\n")
    assert len(parts) > 2
    for part in parts:
        assert [line.split()[0] for line in part.splitlines()] == ["a0", "b0"]
    listed = " ".join(lines).split()
    assert {f"b{number}" for number in range(40)} <= set(listed)
    assert listed.count("b1") == 1


def test_tables_of_artefacts_find_what_was_planted(voice: Audio) -> None:
    """A codec that halves what is above 1.5 kHz, cuts peaks, adds an offset and delays nothing."""

    def dull(signal: NDArray[np.float32]) -> NDArray[np.float32]:
        spectrum = np.fft.rfft(signal)
        spectrum[np.fft.rfftfreq(len(signal), 1 / RATE) > 1500] /= 2
        return (np.fft.irfft(spectrum, len(signal)).clip(-0.2, 0.2) + 1e-3).astype(np.float32)

    subjects = [Subject("same", lambda signal: signal), Subject("dull", dull)]
    (same, changed) = silence_table(subjects, RATE).rows
    assert same == ["same", "-160", "1.00", *["+0.0"] * 6]
    assert changed[1:3] == ["-60", "0.40"]
    assert changed[3:] == ["+0.0"] * 4 + ["-6.0"] * 2
    clip = voice[: 2 * RATE].astype(np.float32)
    levels, _ = clip_tables(subjects, {"voice": [clip]}, RATE, [400])
    assert levels.rows[0][3] == "+0.0 to +0.0"
    assert float(levels.rows[1][2]) == pytest.approx(-60, abs=4)
    (first, second) = offset_table(subjects, [clip], RATE).rows
    assert first[1] == "4.64"
    assert float(second[1]) < 4.6
    assert level_table(subjects[:1], [clip], RATE).rows[0][2] == "4.64"
    noises = noise_table(subjects[1:], RATE, 320, [400], clips=1)
    assert [row[0] for row in noises.rows] == ["white (1)", "pink (1)", "hiss (1)"]
    assert float(noises.rows[0][-1]) == pytest.approx(-6, abs=0.3)
    assert noises.markdown().splitlines()[4].startswith("| white (1) | -30 | dull | ")
