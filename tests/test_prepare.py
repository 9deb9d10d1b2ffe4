"""`codec prepare`: what a corpus holds, in a manifest that is a corpus again."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from audiocodec.corpus.opening import open_corpus
from audiocodec.corpus.preparing.layouts import with_known
from audiocodec.corpus.preparing.scan import scan
from audiocodec.corpus.reading import read_audio
from audiocodec.corpus.utterance import Utterance
from audiocodec_cli.main import codec, run

RATE = 16000


def write(path: Path, number: int, seconds: float = 0.5, rate: int = RATE) -> bytes:
    """Write an audio file that depends on ``number``, and return its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(number)
    soundfile.write(path, generator.uniform(-0.3, 0.3, round(seconds * rate)), rate)
    return path.read_bytes()


def codec_prepare(*words: str) -> Result:
    return CliRunner().invoke(codec, ["prepare", *words])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_manifest_describes_a_folder(here: Path) -> None:
    data = write(here / "in" / "b" / "1.wav", 1, seconds=0.7, rate=22050)
    write(here / "in" / "a.flac", 2)
    (here / "in" / "a.txt").write_text("Grüße\n an alle", encoding="utf-8")
    result = codec_prepare("in", "out.jsonl", "--stats", "stats.json")
    assert result.exit_code == 0, result.output
    first, second = lines(here / "out.jsonl")
    assert (first["id"], first["text"], first["path"]) == ("a", "Grüße an alle", "in/a.flac")
    assert second == {
        "id": "b/1",
        "path": "in/b/1.wav",
        "duration": 0.7,
        "sample_rate": 22050,
        "channels": 1,
        "silence": 0.0,
        "clipped": 0,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    stats = json.loads((here / "stats.json").read_text())
    assert stats["utterances"] == 2
    assert stats["hours"] == pytest.approx(1.2 / 3600)
    assert stats["sample_rates"]["22050"]["utterances"] == 1
    assert (stats["with_text"], stats["without_speaker"]) == (1, 2)
    assert "2 (0.00 h)" in result.output


def test_the_manifest_is_the_same_corpus_at_any_place_and_number_of_jobs(here: Path) -> None:
    for number in range(20):
        # 3 of 7 of a second has no finite decimal fraction.
        write(here / "in" / f"{number}.wav", number, seconds=3 / 7, rate=11025 + number)
    (here / "elsewhere").mkdir()
    for target, jobs in [("a.jsonl", 1), ("b.jsonl", 4), ("elsewhere/c.jsonl", 2)]:
        assert codec_prepare("in", target, "--jobs", str(jobs)).exit_code == 0
    assert (here / "a.jsonl").read_bytes() == (here / "b.jsonl").read_bytes()
    for manifest in ("a.jsonl", "elsewhere/c.jsonl"):
        originals, described = open_corpus(Path("in")), open_corpus(Path(manifest))
        for original, item in zip(
            originals.utterances(0, 20), described.utterances(0, 20), strict=True
        ):
            assert item.id == original.id
            np.testing.assert_array_equal(read_audio(item, RATE), read_audio(original, RATE))
    assert codec_prepare("a.jsonl", "again.jsonl").exit_code == 0
    assert (here / "again.jsonl").read_bytes() == (here / "a.jsonl").read_bytes()


def test_an_unreadable_file_is_named_and_the_others_are_described(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(here / "in" / "a.wav", 1)
    data = write(here / "in" / "b.wav", 2)
    (here / "in" / "b.wav").write_bytes(data[: len(data) // 2])
    (here / "in" / "c.flac").write_bytes(b"nothing")
    assert run(["prepare", "in", "out.jsonl", "--stats", "stats.json"]) == 1
    errors = capfd.readouterr().err.splitlines()
    assert [line.split(":")[1].strip() for line in errors] == ["in/b.wav", "in/c.flac"]
    assert "cut short" in errors[0]
    assert [entry["id"] for entry in lines(here / "out.jsonl")] == ["a"]
    stats = json.loads((here / "stats.json").read_text())
    assert [entry["id"] for entry in stats["unreadable"]] == ["b", "c"]
    (here / "in" / "a.wav").unlink()
    assert run(["prepare", "in", "none.jsonl"]) == 1
    assert capfd.readouterr().err.startswith("error: in: nothing in it can be read; in/b.wav: ")
    assert sorted(path.name for path in here.iterdir()) == ["in", "out.jsonl", "stats.json"]


def test_an_existing_manifest_is_kept(here: Path) -> None:
    write(here / "in" / "a.wav", 1)
    (here / "out.jsonl").write_text("mine")
    assert "out.jsonl: is there already" in str(codec_prepare("in", "out.jsonl").exception)
    assert (here / "out.jsonl").read_text() == "mine"
    assert codec_prepare("in", "out.jsonl", "--overwrite").exit_code == 0
    assert "name it out.csv.jsonl" in str(codec_prepare("in", "out.csv").exception)


def test_equal_files_are_duplicates_and_equal_parts_of_one_file_too(here: Path) -> None:
    data = write(here / "a.wav", 1, seconds=1)
    (here / "b.wav").write_bytes(data)
    entries = [
        {"path": "a.wav"},
        {"path": "b.wav"},
        {"path": "a.wav", "duration": 0.5, "id": "x"},
        {"path": "b.wav", "offset": 0.5, "id": "y"},
        {"path": "b.wav", "duration": 0.5, "id": "z"},
    ]
    (here / "in.jsonl").write_text("\n".join(map(json.dumps, entries)))
    assert codec_prepare("in.jsonl", "out.jsonl", "--stats", "stats.json").exit_code == 0
    stats = json.loads((here / "stats.json").read_text())
    assert stats["duplicates"] == [{"id": "b", "of": "a"}, {"id": "z", "of": "x"}]
    assert [entry["duration"] for entry in lines(here / "out.jsonl")] == [1, 1, 0.5, 0.5, 0.5]


def test_text_that_is_not_whole_stays_json(here: Path) -> None:
    write(here / "a.wav", 1)
    (here / "in.jsonl").write_text('{"path": "a.wav", "text": "x\\ud800y"}')
    assert codec_prepare("in.jsonl", "out.jsonl").exit_code == 0
    assert lines(here / "out.jsonl")[0]["text"] == "x\ud800y"


def test_members_of_a_tar_keep_their_places(here: Path) -> None:
    data = write(here / "a.wav", 1)
    with tarfile.open("in.tar", "w") as tar:
        for name, content in {"x.wav": data, "x.txt": b"Text"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    assert codec_prepare("in.tar", "out.jsonl").exit_code == 0
    (entry,) = lines(here / "out.jsonl")
    assert (entry["path"], entry["member"], entry["text"]) == ("in.tar", "x.wav", "Text")
    first, size = entry["span"]
    assert Path("in.tar").read_bytes()[first : first + size].startswith(b"RIFF")
    assert entry["sha256"] == hashlib.sha256(data).hexdigest()
    (item,) = open_corpus(here / "out.jsonl").utterances(0, 1)
    assert item.span == (first, size)
    assert read_audio(item, RATE).shape == (8000,)


def test_silence_and_clipping_are_measured(here: Path) -> None:
    tone = np.sin(np.arange(RATE) / 10)
    for name, audio, silence, clipped in [
        ("tone", 0.9 * tone, 0.0, 0),
        ("half", np.concatenate([tone * 1e-3, tone * 0.5]), 0.5, 0),
        ("loud", np.clip(2 * tone, -1, 1), 0.0, None),
        ("peaks", np.where(np.arange(RATE) % 100 < 2, 1.0, 0.1), 0.0, 0),
        ("runs", np.where(np.arange(RATE) % 100 < 4, -1.0, 0.1), 0.0, 640),
    ]:
        soundfile.write(f"{name}.wav", audio, RATE)
        found = scan(Utterance(name, f"{name}.wav"))
        assert found.silence == pytest.approx(silence, abs=0.02), name
        assert found.clipped == clipped or (clipped is None and found.clipped > RATE / 3), name
        assert found.num_samples == len(audio)


@pytest.mark.parametrize(
    ("audio", "files", "text", "speaker"),
    [
        (
            "19/198/19-198-0001.flac",
            {"19/198/19-198.trans.txt": "19-198-0001 AB C\n"},
            "AB C",
            "19",
        ),
        ("wav48/p225/p225_001_mic2.flac", {"txt/p225/p225_001.txt": "Please\n"}, "Please", "p225"),
        ("wavs/LJ001-0001.wav", {"metadata.csv": "LJ001-0001|In 1|In one\n"}, "In one", ""),
        ("84/121/84_121_7_1.wav", {"84/121/84_121_7_1.normalized.txt": "Go."}, "Go.", "84"),
        (
            "train/a/1.wav",
            {"train/metadata.csv": 'file_name,text,speaker_id\na/1.wav,"Yes, no",7\n'},
            "Yes, no",
            "7",
        ),
        ("a/1.wav", {"a/2.txt": "of another"}, "", ""),
    ],
)
def test_text_and_speaker_are_found_where_corpora_keep_them(
    here: Path, audio: str, files: dict[str, str], text: str, speaker: str
) -> None:
    for name, content in files.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(content, encoding="utf-8")
    found = with_known(Utterance("x", str(here / audio)))
    assert (found.text, found.speaker) == (text, speaker)
    known = Utterance("x", str(here / audio), text="mine", speaker="me")
    assert with_known(known) == known
    assert with_known(Utterance("x", str(here / audio), duration=1.0)).text == ""
