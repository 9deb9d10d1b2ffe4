"""Training on corpora that are decoded while it runs, and on packed ones."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import CodecError
from audiocodec.corpus.opening import open_corpus
from audiocodec.corpus.packing.run import begin_packing, pack
from audiocodec.corpus.packing.shards import INDEX_NAME, PackedShard, packed_shards
from audiocodec.corpus.reading import read_audio, read_piece
from audiocodec.corpus.utterance import Utterance
from audiocodec.training import Recipe, Trainer
from audiocodec.training.check.report import check
from audiocodec.training.data.files import DataConfig
from audiocodec.training.data.streamed import SLICE, WINDOW, StreamedAudio
from audiocodec.training.data.utterances import split_utterances
from audiocodec.training.processes import WHOLE, Share
from audiocodec.training.runfolder import release
from audiocodec_cli.main import run

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "recipes" / "tiny.yaml"
RATE = 16000
COUNT = 192


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar of 192 utterances of .05 s, each of its own constant value."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "shards").mkdir()
    with tarfile.open(folder / "shards" / "0.tar", "w") as tar:
        for number in range(COUNT):
            path = folder / f"{number:03}.wav"
            soundfile.write(path, np.full(800, (number + 1) / 1000), RATE)
            tar.add(path, path.name)
    return folder


def settings(root: Path, **changes: object) -> DataConfig:
    values = {"root": str(root), "segment_seconds": 0.02, "gain_db": [0, 0]}
    return DataConfig.from_mapping({**values, **changes})


def streamed(root: Path, batch: int = 4, seed: int = 0, **changes: object) -> StreamedAudio:
    config = settings(root, silence_threshold_db=-120, **changes)
    corpus = open_corpus(root)
    return StreamedAudio(corpus, ["007"], config, RATE, batch, seed, torch.device("cpu"))


def utterances_of(segments: torch.Tensor) -> torch.Tensor:
    """The numbers of the utterances that the middle samples of segments are from."""
    return (segments[:, segments.shape[1] // 2] / 32767 * 1000).round().int() - 1


def tiny(root: Path, *overrides: str) -> Recipe:
    places = [f"data.root={root}", "data.segment_seconds=0.32", "discriminators=null"]
    quick = ["schedule.initialisation_steps=[2]", "schedule.steps=8", "schedule.log_every=1"]
    return Recipe.from_yaml(TINY, [*places, *quick, "losses.adversarial=0", *overrides])


# A stream.


def test_a_batch_of_a_stream_depends_on_seed_number_and_step_alone(corpus: Path) -> None:
    """Not on the batches that were drawn before it: so a resumed run goes on exactly."""
    root = corpus / "shards"
    changes = {"segments_per_utterance": 1}
    going, later = streamed(root, **changes), streamed(root, **changes)
    drawn = [going.draw((0, step), 4, WHOLE, step) for step in range(120)]
    for step in (119, 60, 0):
        assert torch.equal(later.draw((0, step), 4, WHOLE, step), drawn[step])
    assert not torch.equal(streamed(root, seed=1).draw((0, 0), 4, WHOLE, 0), drawn[0])
    going.close()
    assert torch.equal(going.draw((0, 60), 4, WHOLE, 60), drawn[60])


def test_an_epoch_has_every_utterance_but_those_held_out(corpus: Path) -> None:
    stream = streamed(corpus / "shards", segments_per_utterance=4)
    steps = 4 * COUNT // 4 * 2
    seen = torch.cat([utterances_of(stream.draw((0, n), 4, WHOLE, n)) for n in range(steps)])
    counts = torch.bincount(seen, minlength=COUNT)
    assert counts[7] == 0
    assert (counts[:7] > 0).all() and (counts[8:] > 0).all()
    first = seen[:40].float()
    assert first.diff().abs().mean() > 20  # shuffled


def test_shares_of_a_streamed_batch_are_the_batch_and_each_decodes_its_own(corpus: Path) -> None:
    root = corpus / "shards"
    whole = streamed(root, batch=8).draw((3, 5), 8, WHOLE, 40)
    parts = []
    for index in range(2):
        stream = streamed(root, batch=8)
        parts.append(stream.draw((3, 5), 8, Share(index, 2), 40))
        assert len(stream._lanes) == 4
    assert torch.equal(torch.cat(parts), whole)


def test_a_stream_holds_a_window_of_its_corpus(corpus: Path) -> None:
    stream = streamed(corpus / "shards", segments_per_utterance=1)
    for step in range(100):
        stream.draw((0, step), 4, WHOLE, step)
    held = [len(lane._slices) for lane in stream._lanes.values()]
    assert len(held) == 4 and max(held) <= WINDOW + 1
    window = stream._lanes[0]._window
    assert window.num_samples <= WINDOW * SLICE * 800


def test_long_recordings_give_a_piece(tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(5 * RATE)
    soundfile.write(tmp_path / "a.wav", noise, RATE)
    whole = Utterance("a", str(tmp_path / "a.wav"))
    audio = read_audio(whole, RATE)
    np.testing.assert_array_equal(read_piece(whole, RATE, 9.0, 0.5), audio)
    np.testing.assert_array_equal(read_piece(whole, RATE, 1.0, 0.5), audio[2 * RATE : 3 * RATE])
    np.testing.assert_array_equal(read_piece(whole, RATE, 1.0, 1.0), audio[-RATE:])
    part = Utterance("a", str(tmp_path / "a.wav"), offset=1.0, duration=3.0)
    np.testing.assert_array_equal(read_piece(part, RATE, 1.0, 1.0), audio[3 * RATE : 4 * RATE])


def test_unreadable_utterances_are_skipped_and_too_many_of_them_an_error(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [corpus / f"{number:03}.wav" for number in range(100)]
    (tmp_path / "broken.wav").write_bytes(b"RIFF not audio")
    few = tmp_path / "few.txt"
    few.write_text("\n".join(map(str, [*names, tmp_path / "broken.wav"])))
    stream = streamed(few, segments_per_utterance=1)
    for step in range(60):
        stream.draw((0, step), 4, WHOLE, step)
    assert capsys.readouterr().err.count("skipped: ") == 1
    many = tmp_path / "many.txt"
    many.write_text("\n".join(map(str, [*names[:40], *(tmp_path / f"{n}.wav" for n in range(9))])))
    with pytest.raises(CodecError, match=r"no such file; so are .* more of .* codec prepare"):
        streamed(many).draw((0, 0), 4, WHOLE, 0)


def test_utterances_of_other_splits_and_silent_corpora_are_not_trained_on(
    corpus: Path, tmp_path: Path
) -> None:
    lines = [
        {"path": str(corpus / f"{number:03}.wav"), "split": "dev" if number % 2 else "train"}
        for number in range(32)
    ]
    manifest = tmp_path / "corpus.jsonl"
    manifest.write_text("\n".join(map(json.dumps, lines)))
    stream = streamed(manifest)
    seen = torch.cat([utterances_of(stream.draw((0, n), 4, WHOLE, n)) for n in range(30)])
    assert (seen % 2 == 0).all()
    silent = StreamedAudio(
        open_corpus(manifest),
        [],
        settings(manifest, silence_threshold_db=0),
        RATE,
        4,
        0,
        torch.device("cpu"),
    )
    with pytest.raises(CodecError, match=r"no segment .* above 0 dB"):
        silent.draw((0, 0), 4, WHOLE, 0)


# Packed shards.


def packed(source: Path, folder: Path, workers: int = 2, size: int = 30) -> Path:
    opened = open_corpus(source)
    begun = begin_packing(opened, folder, RATE, size)
    pack(opened, begun, folder, range(begun.num_shards), workers)
    return folder


def test_packed_shards_hold_the_corpus_in_order_whatever_makes_them(
    corpus: Path, tmp_path: Path
) -> None:
    source = corpus / "shards"
    folder = packed(source, tmp_path / "one", workers=1)
    shards = [PackedShard(path) for path in packed_shards(folder)]
    samples = np.concatenate([shard[:] for shard in shards])
    expected = np.repeat(np.round(np.arange(1, COUNT + 1) / 1000 * 32767), 800)
    assert len(shards) == 7
    np.testing.assert_allclose(samples, expected, atol=1)
    np.testing.assert_array_equal(shards[0][790:810], samples[790:810])
    np.testing.assert_array_equal(np.load(shards[1].path), shards[1][:])  # a usual .npy file
    opened = open_corpus(source)
    other = tmp_path / "two"
    begun = begin_packing(opened, other, RATE, 30)
    assert pack(opened, begun, other, [2, 3], 2) == 2
    with pytest.raises(CodecError, match=r"5 of 7 shards are missing.*codec pack"):
        packed_shards(other)
    assert pack(opened, begun, other, range(7), 2) == 5
    for path in packed_shards(folder):
        assert path.read_bytes() == (other / path.name).read_bytes()


def test_a_packed_folder_is_begun_once_with_one_corpus(corpus: Path, tmp_path: Path) -> None:
    folder = packed(corpus / "shards", tmp_path / "packed")
    opened = open_corpus(corpus / "shards")
    with pytest.raises(CodecError, match="--sample-rate 16000 --shard-size 30"):
        begin_packing(opened, folder, 24000, 30)
    with pytest.raises(CodecError, match="another corpus"):
        begin_packing(open_corpus(corpus / "000.wav"), folder, RATE, 30)
    with pytest.raises(CodecError, match="other files"):
        begin_packing(opened, corpus, RATE, 30)
    with packed_shards(folder)[0].open("r+b") as file:
        file.truncate(300)
    with pytest.raises(CodecError, match="cut short"):
        PackedShard(packed_shards(folder)[0])
    (folder / INDEX_NAME).write_text("{")
    with pytest.raises(CodecError, match="damaged"):
        packed_shards(folder)


def test_the_command_packs_names_what_it_skips_and_goes_on(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        os.link(corpus / f"00{number}.wav", tmp_path / "in" / f"{number}.wav")
    (tmp_path / "in" / "broken.wav").write_bytes(b"RIFF not audio")
    command = ["pack", str(tmp_path / "in"), str(tmp_path / "out"), "--shard-size", "2"]
    assert run([*command, "--shard", "0/2"]) == 0
    assert run(command) == 1
    said = capsys.readouterr()
    assert said.err.count("broken.wav") == 1
    assert [len(PackedShard(path)) for path in packed_shards(tmp_path / "out")] == [1600, 800]
    assert run(command) == 0
    assert run([*command, "--sample-rate", "24000"]) == 1
    assert "--sample-rate 16000" in capsys.readouterr().err


# Runs.


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty utterances of noise of .4 s, as files, as a folder of tars, and packed."""
    folder = tmp_path_factory.mktemp("speech")
    random = np.random.default_rng(0)
    (folder / "files").mkdir()
    (folder / "tars").mkdir()
    with tarfile.open(folder / "tars" / "0.tar", "w") as tar:
        for number in range(60):
            path = folder / "files" / f"{number:02}.wav"
            soundfile.write(path, 0.1 * random.standard_normal(6400), RATE)
            tar.add(path, path.name)
    packed(folder / "files", folder / "packed", size=10)
    return folder


def weights(trainer: Trainer) -> list[torch.Tensor]:
    return list(trainer.training_step.codec.state_dict().values())


ROOTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "tars": ("tars", ()),
    "files": ("files", ("data.stream=true",)),
    "packed": ("packed", ()),
}


@pytest.mark.parametrize("kind", ["tars", "files", "packed"])
def test_a_resumed_run_equals_one_that_never_stopped(
    speech: Path, tmp_path: Path, kind: str
) -> None:
    name, overrides = ROOTS[kind]
    recipe = tiny(speech / name, "data.segments_per_utterance=1", *overrides)
    whole = Trainer(recipe, tmp_path / "whole")
    assert whole.train()
    stopped = Trainer(recipe, tmp_path / "stopped")
    for _ in range(5):
        stopped.train_step()
    stopped.save()
    files: dict[str, Any] = json.loads((tmp_path / "stopped" / "files.json").read_text())
    release(stopped.folder)
    resumed = Trainer(recipe, tmp_path / "stopped", resume=True)
    assert resumed.step == 5
    assert resumed.train()
    for one, other in zip(weights(whole), weights(resumed), strict=True):
        assert torch.equal(one, other)
    assert files == json.loads((tmp_path / "stopped" / "files.json").read_text())
    assert files["held_out"]
    assert not list((tmp_path / "whole").glob("cache/*"))  # nothing is decoded into a file


def test_a_log_reports_the_time_of_the_data_beside_that_of_the_step(
    speech: Path, tmp_path: Path
) -> None:
    Trainer(tiny(speech / "tars"), tmp_path / "run").train()
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()]
    timed = [line for line in lines if "seconds/data" in line]
    assert len(timed) == 8 and all(0 < x["seconds/data"] < x["seconds/step"] for x in timed)


def test_held_out_utterances_stay_held_out_when_the_corpus_grows(
    speech: Path, tmp_path: Path
) -> None:
    def manifest(numbers: range) -> Path:
        lines = [json.dumps({"path": str(speech / "files" / f"{n:02}.wav")}) for n in numbers]
        (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
        return tmp_path / "corpus.jsonl"

    config = settings(manifest(range(5, 58)))
    first = split_utterances(config)
    before = {id: [place, 0] for id, place in first.held_out.items()}
    assert len(before) == 2
    assert split_utterances(config, before).held_out == first.held_out
    manifest(range(60))
    grown = split_utterances(config, before)
    assert grown.held_out == {id: place + 5 for id, place in first.held_out.items()}
    assert [item.id for item in grown.validation if isinstance(item, Utterance)] == [*before]


def refused(root: Path, *overrides: str) -> Callable[[Path], Trainer]:
    return lambda folder: Trainer(tiny(root, *overrides), folder)


def test_what_cannot_be_trained_on_is_one_line(speech: Path, tmp_path: Path) -> None:
    cases = {
        r"packed at 16000 Hz, .* 24000 Hz; .*--sample-rate 24000": refused(
            speech / "packed", "codec.sample_rate=24000"
        ),
        r"data\.watch=null": refused(speech / "packed", "data.watch=1m"),
        r"pack the corpus with --sample-rate 24000": refused(
            speech / "files", "codec.sample_rate=24000", f"data.validation={speech / 'packed'}"
        ),
        r"not for a corpus": refused(speech / "tars", "data.watch=1m"),
        r"too few utterances": refused(one_line(speech, tmp_path)),
    }
    for number, (words, begin) in enumerate(cases.items()):
        with pytest.raises(CodecError, match=words):
            begin(tmp_path / str(number))
    with pytest.raises(CodecError, match="stream"):
        tiny(speech / "files", "data.stream=true", "data.watch=1m")


def one_line(speech: Path, folder: Path) -> Path:
    manifest = folder / "one.jsonl"
    manifest.write_text(json.dumps({"path": str(speech / "files" / "00.wav")}))
    return manifest


@pytest.mark.parametrize("kind", ["tars", "packed"])
def test_a_check_reads_any_kind_and_counts_no_cache(
    speech: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, overrides = ROOTS[kind]
    recipe = tiny(speech / name, *overrides)
    found = check(recipe, tmp_path / "run", "cpu")
    held_out = 1 if kind == "packed" else 2
    assert found["held_out"] == held_out
    assert found["files"] == (5 if kind == "packed" else 58)
    assert found["hours_of_audio"] == pytest.approx((50 if kind == "packed" else 58) * 0.4 / 3600)
    assert found["disk_bytes"]["cache"] == 0
    assert found["problem"] is None
