"""Batches of short files: the same bytes as one by one, and a bad file fails alone."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import Codec, CodecError, encode_file, load_codec
from audiocodec.audio import find_audio
from audiocodec.batch import encoder as filebatches
from audiocodec.batch.encoder import BatchEncoder
from audiocodec.batch.existing import check_encoded, cut_codebooks
from audiocodec.batch.grouping import group_by_length
from audiocodec.batch.plan import Job, Plan, plan_jobs
from audiocodec.batch.report import Batch
from audiocodec.batch.run import run_jobs
from audiocodec.results import FileResult
from audiocodec.runtime import RuntimeCodec
from audiocodec.threads import Stop
from audiocodec_cli.main import run

LENGTHS = [0, 1, 319, 320, 321, 4800, 5000, 5300, 5600, 16000, 16001, 17000, 40000, 200_000]


@pytest.fixture(scope="module")
def exact(model: str) -> Codec:
    return load_codec(model, dtype=torch.float64)


@pytest.fixture
def plan(here: Path) -> Plan:
    """Recordings of mixed lengths, rates and channels in ``in``, to be encoded into ``out``."""
    noise = np.random.default_rng(0)
    Path("in").mkdir()
    for number, samples in enumerate(LENGTHS):
        audio = noise.uniform(-0.5, 0.5, (samples, 1 + number % 3))
        rate = (16000, 16000, 24000)[number % 3]
        soundfile.write(f"in/{number:02}.{'flac' if number == 6 else 'wav'}", audio, rate)
    return new_plan()


def new_plan() -> Plan:
    return plan_jobs(["in"], "out", find_audio, lambda path: "", lambda path: f"{path.stem}.tok")


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of each batch that any codec is given from now on."""
    seen: list[int] = []
    encode = RuntimeCodec.encode

    def watched(self: RuntimeCodec, audio: torch.Tensor, *rest: object) -> torch.Tensor:
        seen.append(len(audio))
        return encode(self, audio, *rest)

    monkeypatch.setattr(RuntimeCodec, "encode", watched)
    return seen


def encode_all(
    plan: Plan,
    codec: RuntimeCodec,
    encoder: BatchEncoder | None = None,
    workers: int = 1,
    overwrite: bool = False,
) -> Batch[FileResult]:
    encoder = encoder or BatchEncoder(codec)
    return run_jobs(
        plan,
        lambda job: encode_file(job.source, job.target, codec),
        overwrite,
        check_done=lambda job: check_encoded(job.target, codec, codec.num_codebooks),
        workers=workers,
        batching=encoder.batching_policy(lambda seconds: None),
    )


def alone(codec: RuntimeCodec) -> dict[str, bytes]:
    """The token file of each recording, encoded one by one; none for those that fail."""
    Path("alone").mkdir()
    for source in find_audio("in"):
        try:
            encode_file(source, f"alone/{source.stem}.tok", codec)
        except Exception:
            continue
    return contents("alone")


def contents(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.mark.parametrize("workers", [1, 3])
def test_in_float64_each_file_is_byte_for_byte_what_it_is_alone(
    plan: Plan, exact: Codec, batches: list[int], workers: int
) -> None:
    done = encode_all(plan, exact, workers=workers)
    assert len(batches) >= 3
    assert max(batches) > 3
    assert [result.source for result in done.results] == find_audio("in")
    assert contents("out") == alone(exact)
    for result, samples in zip(done.results, LENGTHS, strict=True):
        assert result.num_samples == samples
        assert result.file_bytes == result.target.stat().st_size
        assert result.elapsed > 0


def test_a_gpu_has_one_batch_at_a_time(
    plan: Plan, exact: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, at_work, most = RuntimeCodec.encode, [0], [0]

    def counted(self: RuntimeCodec, audio: torch.Tensor, *rest: object) -> torch.Tensor:
        at_work[0] += 1
        most[0] = max(most[0], at_work[0])
        try:
            time.sleep(0.01)
            return encode(self, audio, *rest)
        finally:
            at_work[0] -= 1

    monkeypatch.setattr(RuntimeCodec, "encode", counted)
    encoder = BatchEncoder(exact, batch_seconds=1.0)
    monkeypatch.setattr(encoder, "_turn", threading.Lock())  # as for a device that is no CPU
    assert len(encode_all(plan, exact, encoder, workers=3).results) == len(LENGTHS)
    assert most == [1]


def test_beam_and_codebooks_are_those_of_a_file_alone(plan: Plan, exact: Codec) -> None:
    job = plan.jobs[9]
    two = [job, Job(plan.jobs[10].source, Path("b.tok"))]
    Path("out").mkdir()
    BatchEncoder(exact, num_codebooks=2, beam=3).encode(two, lambda seconds: None)
    encode_file(job.source, "a.tok", exact, num_codebooks=2, beam=3)
    assert job.target.read_bytes() == Path("a.tok").read_bytes()


def test_batches_hold_like_lengths_and_no_more_than_they_may() -> None:
    noise = np.random.default_rng(0)
    sizes = {
        place: (int(noise.integers(1, 4)), round(float(noise.exponential(4)), 1) + 0.1)
        for place in range(300)
    }
    made = group_by_length(sizes, 16.0)
    assert made == group_by_length(dict(reversed(sizes.items())), 16.0)
    assert sorted(place for batch in made for place in batch) == list(range(300))
    assert len(made) < 200
    for batch in made:
        lengths = [sizes[place][1] for place in batch]
        assert len(batch) == 1 or sum(sizes[p][0] for p in batch) * max(lengths) <= 16
        assert min(lengths) >= 0.8 * max(lengths)


def test_one_that_fails_fails_alone(plan: Plan, exact: Codec) -> None:
    soundfile.write("in/x1.wav", [0.0, np.nan] * 2500, 16000, subtype="FLOAT")
    Path("in/x2.wav").write_text("no audio")
    flac = Path("in/06.flac").read_bytes()
    Path("in/x3.flac").write_bytes(flac[: len(flac) // 2])
    Path("in/09.flac").write_bytes(flac)
    done = encode_all(new_plan(), exact)
    assert len(done.results) == 14
    for line, start in zip(
        done.failures,
        (
            "in/09.wav: would become out/09.tok, as in/09.flac does",
            "in/x1.wav: a NaN or infinite sample at 0.0 s",
            "in/x2.wav: not an audio file",
            "in/x3.flac: damaged or cut short at",
        ),
        strict=True,
    ):
        assert line.startswith(start)
    Path("in/09.wav").unlink()
    assert contents("out") == alone(exact)


def test_audio_too_loud_to_compute_fails_alone(here: Path, model: str) -> None:
    codec = load_codec(model)
    Path("in").mkdir()
    for number in range(5):
        audio = np.random.default_rng(number).uniform(-0.5, 0.5, 5000)
        audio[-1] = 3e38 if number == 2 else 0
        soundfile.write(f"in/{number}.wav", audio, 16000, subtype="FLOAT")
    with pytest.raises(CodecError) as caught:
        encode_file("in/2.wav", "2.tok", codec)
    done = encode_all(new_plan(), codec)
    assert done.failures == [str(caught.value)]
    assert sorted(contents("out")) == ["0.tok", "1.tok", "3.tok", "4.tok"]


def test_what_is_there_is_passed_over_unless_it_is_something_else(
    plan: Plan, exact: Codec, batches: list[int]
) -> None:
    Path("out").mkdir()
    encode_file("in/07.wav", "out/07.tok", exact)
    encode_file("in/08.wav", "out/08.tok", exact, num_codebooks=1)
    before = Path("out/08.tok").read_bytes()
    expected = ["out/08.tok: is there already, with 1 codebooks; --overwrite replaces it"]
    done = encode_all(plan, exact)
    assert len(done.results) == 12
    assert [job.target for job in done.skipped] == [Path("out/07.tok")]
    assert done.failures == expected
    assert Path("out/08.tok").read_bytes() == before
    batches.clear()
    assert encode_all(plan, exact).failures == expected
    assert not batches
    assert not encode_all(plan, exact, overwrite=True).failures
    assert batches
    assert contents("out") == alone(exact)


def test_what_is_cut_from_the_file_that_is_there_leaves_its_batch(
    plan: Plan, exact: Codec, batches: list[int]
) -> None:
    encode_all(plan, exact)
    batches.clear()
    os.utime("in/07.wav")  # newer than its tokens: to be encoded again
    done = run_jobs(
        plan,
        lambda job: encode_file(job.source, job.target, exact, 2),
        overwrite=True,
        batching=BatchEncoder(exact, 2).batching_policy(lambda seconds: None),
        reuse=lambda job: cut_codebooks(job.target, job.source, exact, 2),
    )
    assert not done.failures
    assert [result.source.name for result in done.results if not result.reused] == ["07.wav"]
    assert not batches  # one file is no batch
    cut = contents("out")
    for job in plan.jobs:
        encode_file(job.source, job.target, exact, 2)
    assert contents("out") == cut


def test_on_a_cpu_the_command_uses_no_batches(plan: Plan, batches: list[int], model: str) -> None:
    assert run(["encode", "in", "out", "--model", model]) == 0
    assert not batches
    assert contents("out") == alone(load_codec(model))


@pytest.mark.parametrize("fitting", [1, 2])
def test_a_batch_too_large_for_the_device_is_halved(
    plan: Plan, exact: Codec, monkeypatch: pytest.MonkeyPatch, fitting: int
) -> None:
    sizes: list[int] = []
    encode = RuntimeCodec.encode

    def small_device(self: RuntimeCodec, audio: torch.Tensor, *rest: object) -> torch.Tensor:
        sizes.append(len(audio))
        if len(audio) > fitting:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(self, audio, *rest)

    monkeypatch.setattr(RuntimeCodec, "encode", small_device)
    done = encode_all(plan, exact)
    assert max(sizes) > 4
    assert len(done.results) == len(LENGTHS)
    assert contents("out") == alone(exact)


def test_a_header_that_tells_too_little_costs_no_memory(
    plan: Plan, exact: Codec, batches: list[int]
) -> None:
    encoder = BatchEncoder(exact, batch_seconds=1.0)
    encoder.measure = lambda job: (1, 0.01)  # type: ignore[method-assign]
    done = encode_all(plan, exact, encoder)
    assert len(done.results) == len(LENGTHS)
    assert max(batches) < len(LENGTHS)
    assert contents("out") == alone(exact)


def test_long_files_go_block_by_block(
    plan: Plan, exact: Codec, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    blockwise: list[Path] = []

    def watched(source: Path, *rest: object) -> None:
        blockwise.append(source)

    monkeypatch.setattr(filebatches, "encode_file", watched)
    encoder = BatchEncoder(exact, batch_seconds=0.5)
    sizes = {n: encoder.measure(job) for n, job in enumerate(plan.jobs)}
    for batch in group_by_length(sizes, 0.5):
        if any(LENGTHS[n] >= 16000 for n in batch):
            assert len(batch) == 1
    encoder.encode(plan.jobs[-2:], lambda seconds: None)  # though nobody plans that
    assert blockwise == [job.source for job in plan.jobs[-2:]]
    assert not batches


@pytest.mark.parametrize("workers", [1, 3])
def test_an_interruption_leaves_whole_files_only(
    plan: Plan, exact: Codec, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    expected = alone(exact)
    stop = Stop()
    written: list[Path] = []
    write = filebatches.TokenWriter.write

    def interrupted(self: filebatches.TokenWriter, codes: np.ndarray) -> None:
        write(self, codes)
        written.append(self.path)
        if len(written) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(filebatches.TokenWriter, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_jobs(
            plan,
            lambda job: encode_file(job.source, job.target, exact),
            workers=workers,
            stop=stop,
            batching=BatchEncoder(exact).batching_policy(lambda seconds: stop.check()),
        )
    made = contents("out")
    assert made.items() <= expected.items()
    assert len(made) < len(expected)


def test_float32_codes_of_speech_are_those_of_the_files_alone(
    here: Path, clip: Path, say: Callable[[str], None]
) -> None:
    codec = load_codec("speech_16khz")
    audio, rate = soundfile.read(clip, always_2d=True)
    Path("in").mkdir()
    for number in range(6):
        cut = audio[number * 4000 : number * 4000 + 20000 + 500 * number, :1]
        soundfile.write(f"in/{number}.wav", cut, rate)
    encode_all(new_plan(), codec)
    expected = alone(codec)
    equal = sum(contents("out")[name] == data for name, data in expected.items())
    say(f"float32: {equal} of {len(expected)} files of a batch are what they are alone")
    assert equal >= len(expected) - 1  # rounding may turn a near tie


def test_cut_and_clipped_files_are_reported_from_a_batch_too(here: Path, exact: Codec) -> None:
    Path("in").mkdir()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 8000))
    soundfile.write("in/0.wav", noise[0], 16000)
    soundfile.write("in/1.wav", noise[1], 16000)
    soundfile.write("in/2.wav", 6 * noise[2], 16000, subtype="FLOAT")
    Path("in/1.wav").write_bytes(Path("in/1.wav").read_bytes()[:-3200])
    whole, cut, loud = encode_all(new_plan(), exact).results
    assert (whole.truncated, cut.truncated, loud.truncated) == (False, True, False)
    assert (cut.num_samples, cut.missing_seconds) == (6400, 0.1)
    assert whole.peak <= 0.5
    assert loud.peak == pytest.approx(3, abs=0.01)
    assert contents("out") == alone(exact)
