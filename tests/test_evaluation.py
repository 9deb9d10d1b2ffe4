"""An evaluation measures bytes and scores, and lists the files without a score."""

from __future__ import annotations

import csv
import json
import pkgutil
from pathlib import Path

import numpy as np
import pytest
import torch

from audiocodec import CodecError, evaluate, save_audio
from audiocodec.evaluation import (
    METRICS,
    Evaluation,
    Mean,
    Metric,
    ScoreError,
    default_num_codebooks,
    score_files,
    score_pair,
)
from audiocodec.evaluation.metrics.signal import Signal
from audiocodec.runtime import RuntimeCodec


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, speech: torch.Tensor) -> Path:
    """Speech, speech in stereo at 24 kHz, silence, an empty file, and a file that is not audio."""
    folder = tmp_path_factory.mktemp("audio")
    save_audio(folder / "a.wav", speech[0, :, :32_000], 16_000)
    save_audio(folder / "b.flac", speech[0, :, 32_000:56_000].repeat(2, 1), 24_000)
    save_audio(folder / "empty.wav", torch.zeros(1, 0), 16_000)
    save_audio(folder / "silence.wav", torch.zeros(1, 16_000), 16_000)
    (folder / "text.wav").write_text("no audio")
    return folder


@pytest.fixture(scope="module")
def evaluation(codec: RuntimeCodec, folder: Path) -> Evaluation:
    return evaluate(codec, folder, (1, codec.num_codebooks), jobs=1)


def test_every_file_has_a_row_for_each_number_of_codebooks(
    evaluation: Evaluation, codec: RuntimeCodec
) -> None:
    rows = [(Path(row.file).name, row.num_codebooks) for row in evaluation.rows]
    counts = (1, codec.num_codebooks)
    assert rows == [(n, k) for n in ("a.wav", "b.flac", "empty.wav", "silence.wav") for k in counts]


def test_speech_is_scored_and_other_files_have_a_reason(
    evaluation: Evaluation,
) -> None:
    scored = {Path(row.file).name for row in evaluation.rows if "pesq_wb" in row.scores}
    assert scored == {"a.wav", "b.flac"}
    failures = "\n".join(evaluation.failures)
    assert "silence.wav: no PESQ-WB with 1, " in failures
    assert "empty.wav: no STOI" in failures
    assert "text.wav: not an audio file" in failures
    assert "a.wav: no" not in failures
    assert f"failed: {len(evaluation.failures)}" in evaluation.table()


def test_bitrate_is_that_of_the_bytes_in_the_file(
    evaluation: Evaluation, codec: RuntimeCodec
) -> None:
    for row in evaluation.rows:
        if row.seconds:
            # Whole frames: at most one more than the signal needs.
            stated = codec.bitrate(row.num_codebooks) / 1000
            frame = stated / codec.frame_rate / row.seconds
            assert row.payload_kbps is not None
            assert row.file_kbps is not None
            assert stated - 1e-9 <= row.payload_kbps <= stated + frame
            assert row.payload_kbps < row.file_kbps
        else:
            assert row.payload_kbps is row.file_kbps is row.encode_factor is None


def test_a_file_at_another_rate_in_stereo_counts_per_channel(evaluation: Evaluation) -> None:
    row = next(row for row in evaluation.rows if row.file.endswith("b.flac"))
    assert row.channels == 2
    assert row.seconds == 1.0
    assert row.encode_factor is not None
    assert row.encode_factor > 0


def test_codes_are_counted_over_the_whole_set(evaluation: Evaluation, codec: RuntimeCodec) -> None:
    assert [len(counts) for counts in evaluation.code_counts] == list(codec.codebook_sizes)
    seconds = 2 + 2 * 1 + 1
    frames = sum(evaluation.code_counts[0])
    assert frames == pytest.approx(seconds * codec.frame_rate, abs=4)
    for usage, perplexity, size in zip(
        evaluation.usage, evaluation.perplexity, codec.codebook_sizes, strict=True
    ):
        assert 0 < usage <= 1
        assert 1 <= perplexity <= usage * size * (1 + 1e-9)


def test_several_processes_give_the_same_scores_as_one(
    codec: RuntimeCodec, folder: Path, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audiocodec.evaluation.scoring.PAIRS_PER_WORKER", 1)
    several = evaluate(codec, [folder / "a.wav", folder / "silence.wav"], (1,), jobs=2)
    alone = [
        row
        for row in evaluation.rows
        if row.num_codebooks == 1 and Path(row.file).name in ("a.wav", "silence.wav")
    ]
    assert [row.scores for row in several.rows] == [row.scores for row in alone]
    assert [row.reasons for row in several.rows] == [row.reasons for row in alone]


def test_the_csv_holds_every_file(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.write_csv(tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(evaluation.rows) + 1
    assert {Path(row["file"]).name for row in rows} == {
        "a.wav",
        "b.flac",
        "empty.wav",
        "silence.wav",
        "text.wav",
    }
    first, silent = rows[0], next(row for row in rows if row["file"].endswith("silence.wav"))
    assert float(first["pesq_wb"]) == pytest.approx(evaluation.rows[0].scores["pesq_wb"], rel=1e-5)
    assert silent["pesq_wb"] == ""
    assert "silent" in silent["failed"]


def test_the_result_is_plain_json(evaluation: Evaluation, codec: RuntimeCodec) -> None:
    result = json.loads(json.dumps(evaluation.as_dict()))
    assert result["files"] == 4
    assert [each["num_codebooks"] for each in result["results"]] == [1, codec.num_codebooks]
    assert result["results"][0]["pesq_wb"]["count"] == 2
    assert len(result["codebooks"]) == codec.num_codebooks


def test_the_95_percent_interval_is_students_t() -> None:
    # Two values a distance d apart: standard error d / 2, and t(0.975, 1) = 12.706.
    mean = Mean.of([1.0, 3.0])
    assert mean is not None
    assert (mean.mean, mean.count) == (2.0, 2)
    assert mean.ci95 == pytest.approx(12.706, abs=1e-3)
    assert Mean.of([]) is None
    assert Mean.of([5.0]) == Mean(5.0, None, 1)


def test_the_delay_is_removed_for_all_metrics_but_raw_si_sdr(speech: torch.Tensor) -> None:
    reference = speech[0].numpy()
    delayed = np.pad(reference, ((0, 0), (100, 0)))[:, : reference.shape[1]]
    lag, scores, reasons = score_pair(delayed, reference, 16_000)
    assert (lag, reasons) == (100, {})
    assert scores["pesq_wb"] > 4.6
    assert scores["si_sdr"] == 100
    assert scores["si_sdr_raw"] < 10


def test_a_channel_without_a_score_leaves_the_file_without_it(speech: torch.Tensor) -> None:
    stereo = speech[0, :, :32_000].repeat(2, 1).numpy()
    stereo[1] = 0
    _, scores, reasons = score_pair(stereo, stereo, 16_000)
    assert "pesq_wb" not in scores
    assert reasons["pesq_wb"] == "the reference is silent"


def test_bad_requests_are_refused(codec: RuntimeCodec, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="codebooks"):
        evaluate(codec, folder, (codec.num_codebooks + 1,), jobs=1)
    with pytest.raises(CodecError, match="no such file"):
        evaluate(codec, tmp_path / "nowhere", jobs=1)
    with pytest.raises(CodecError, match="no audio"):
        evaluate(codec, tmp_path, jobs=1)
    with pytest.raises(CodecError, match=r"no file could be read.*text\.wav"):
        evaluate(codec, folder / "text.wav", jobs=1)
    with pytest.raises(CodecError, match="no files"):
        evaluate(codec, [], jobs=1)


def test_the_default_numbers_of_codebooks_go_from_one_to_all(codec: RuntimeCodec) -> None:
    counts = default_num_codebooks(codec)
    assert counts[0] == 1
    assert counts[-1] == codec.num_codebooks
    assert list(counts) == sorted(set(counts))


def test_distill_mos_is_computed_by_name_or_the_error_names_its_package(
    codec: RuntimeCodec, folder: Path
) -> None:
    try:
        scored = evaluate(codec, folder / "a.wav", (1,), jobs=1, metrics=("distill_mos",))
    except CodecError as error:
        assert "pip install 'audiocodec[mos]'" in str(error)  # noqa: PT017
    else:
        assert 1 <= scored.rows[0].scores["distill_mos"] <= 5
        assert "DistillMOS" in scored.table()


def test_a_metric_is_one_function_and_one_registration(
    codec: RuntimeCodec, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the rows, the table, the CSV and the JSON, and it runs in other processes."""

    def peak_error(reconstruction: Signal, reference: Signal, sample_rate: int) -> float:
        return float(np.abs(reconstruction - reference).max())

    monkeypatch.setitem(METRICS, "peak_error", Metric(peak_error, title="peak", format=".3f"))
    monkeypatch.setattr("audiocodec.evaluation.scoring.PAIRS_PER_WORKER", 1)
    result = evaluate(codec, [folder / "a.wav", folder / "b.flac"], (1,), jobs=2)
    scores = [row.scores["peak_error"] for row in result.rows]
    assert all(score > 0 for score in scores)
    head, line = result.table().splitlines()[2:4]
    assert head.split()[-3:] == ["peak", "encode", "decode"]
    assert f"{np.mean(scores):.3f} ±" in line
    assert result.as_dict()["results"][0]["peak_error"]["mean"] == pytest.approx(np.mean(scores))
    result.write_csv(tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="") as file:
        cells = [float(row["peak_error"]) for row in csv.DictReader(file)]
    assert cells == pytest.approx(scores, rel=1e-5)


def test_a_metric_without_a_score_gives_the_reason(
    codec: RuntimeCodec, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_score(reconstruction: Signal, reference: Signal, sample_rate: int) -> float:
        raise ScoreError("always")

    monkeypatch.setitem(METRICS, "no_score", Metric(no_score, title="none", optional=True))
    assert "no_score" not in evaluate(codec, folder / "a.wav", (1,), jobs=1).metrics
    result = evaluate(codec, folder / "a.wav", (1,), jobs=1, metrics=["no_score"])
    assert result.failures == [f"{folder / 'a.wav'}: no none with 1 codebooks: always"]


def test_every_metric_of_the_package_can_be_imported_and_has_a_format() -> None:
    for metric in METRICS.values():
        assert isinstance(metric.function, str)
        assert callable(pkgutil.resolve_name(metric.function))
        assert format(1.5, metric.format)


def test_metrics_that_do_not_exist_or_lack_their_package_are_one_line(
    codec: RuntimeCodec, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CodecError, match="metric loudness: does not exist; choose from pesq_wb, "):
        evaluate(codec, folder, metrics=["loudness"])
    settings = {"title": "Naturalness", "optional": True, "package": "absent_package"}
    monkeypatch.setitem(METRICS, "mine", Metric("absent_package:f", **settings))
    monkeypatch.setitem(METRICS, "ours", Metric("absent_package:f", extra="mos", **settings))
    message = "^Naturalness needs the package absent_package, which is not installed: pip install "
    with pytest.raises(CodecError, match=message + "absent_package$"):
        evaluate(codec, folder, metrics=["mine"])
    with pytest.raises(CodecError, match=message + r"'audiocodec\[mos\]'$"):
        score_files(folder, folder, metrics=["ours"])
