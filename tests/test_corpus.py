"""Corpora: the same utterances in the same order from every kind, and errors that name a line."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec.corpus import reading
from audiocodec.corpus.opening import open_corpus
from audiocodec.corpus.reading import read_audio
from audiocodec.corpus.sources.corpus import Corpus
from audiocodec.corpus.utterance import Utterance
from audiocodec.errors import CodecError

RATE = 16000


def samples(number: int, seconds: float = 0.5, channels: int = 1, rate: int = RATE) -> np.ndarray:
    """Audio ``[T, C]`` in 16 bits that depends on ``number``."""
    noise = np.random.default_rng(number).integers(-9000, 9000, (round(seconds * rate), channels))
    return noise.astype(np.float32) / 32768


def save(path: Path, number: int, seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    """Write such audio and return it as ``[T]``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = samples(number, seconds, rate=rate)
    soundfile.write(path, audio, rate)
    return audio[:, 0]


def manifest(path: Path, *entries: object) -> Path:
    """A manifest of ``entries``: values of JSON, or whole lines as text."""
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def everything(corpus: Corpus) -> list[Utterance]:
    return list(corpus.utterances(0, len(corpus)))


def test_a_folder_is_a_corpus_in_sorted_order(here: Path) -> None:
    for number, name in enumerate(["b/2.wav", "a/10.wav", "a/9.flac"]):
        save(here / "in" / name, number)
    corpus = open_corpus(Path("in"))
    assert [(item.id, item.path) for item in everything(corpus)] == [
        ("a/10", "in/a/10.wav"),
        ("a/9", "in/a/9.flac"),
        ("b/2", "in/b/2.wav"),
    ]
    assert [item.id for item in corpus.utterances(1, 2)] == ["a/9"]
    moved = (here / "in").rename(here / "moved")
    assert open_corpus(moved).digest == corpus.digest
    save(moved / "b" / "3.wav", 3)
    assert open_corpus(moved).digest != corpus.digest


def test_files_that_differ_in_the_suffix_only_are_named(here: Path) -> None:
    save(here / "in" / "a.wav", 0)
    save(here / "in" / "a.flac", 1)
    with pytest.raises(CodecError, match=r"^in/a\.wav: its id `a` is that of in/a\.flac too"):
        open_corpus(Path("in"))


def test_a_manifest_says_what_is_known_of_each_utterance(here: Path) -> None:
    path = manifest(
        here / "in.jsonl",
        {"path": "x/a.wav", "speaker": 7, "text": "Grüße", "split": "dev", "score": 1},
        "",
        {"audio_filepath": "x/a.wav", "offset": 1.5, "duration": 2, "speaker_id": "ann"},
        {"id": "own/name", "path": "/data/../b.wav", "duration": None},
        {"path": "../far/c.wav"},
        {"path": "shard.tar", "member": "k.flac"},
    )
    found = everything(open_corpus(path))
    assert found == [
        Utterance("x/a", str(here / "x/a.wav"), speaker="7", text="Grüße", split="dev"),
        Utterance("x/a-1.500", str(here / "x/a.wav"), "", 1.5, 2.0, speaker="ann"),
        Utterance("own/name", "/data/../b.wav"),
        Utterance("far/c", str(here / "../far/c.wav")),
        Utterance("shard/k", str(here / "shard.tar"), "k.flac"),
    ]


def test_any_slice_of_a_manifest_is_that_of_the_whole(here: Path) -> None:
    path = manifest(here / "in.jsonl", *({"path": f"{n}ä.wav"} for n in range(20)))
    corpus = pickle.loads(pickle.dumps(open_corpus(path)))
    whole = everything(corpus)
    assert len(whole) == len(corpus) == 20
    for start, stop in [(0, 3), (7, 8), (18, 20), (5, 5)]:
        assert list(corpus.utterances(start, stop)) == whole[start:stop]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{path: a.wav}", "is not JSON"),
        ('"a.wav"', "is not a JSON object"),
        ('{"text": "hello"}', "has no `path`"),
        ('{"path": 3.5}', "its `path` is not text"),
        ('{"path": "a.wav", "offset": -1}', "its `offset` is not a number of seconds from 0"),
        ('{"path": "a.wav", "duration": NaN}', "its `duration` is not a number"),
        ('{"path": "a.wav", "duration": "2"}', "its `duration` is not a number of seconds"),
        ('{"path": "a.tar", "span": [5]}', "its `span` is not two numbers of bytes: [5]"),
        ('{"path": "a.wav", "duration": 0}', "its `duration` is 0"),
        ('{"path": "a.wav", "id": "../../a"}', "its `id` `../../a` is no relative path"),
        ('{"path": "a.wav", "id": "a\\nb"}', "its `id` 'a\\\\nb' has a control character"),
        ('{"path": "first.wav"}', "its id `first` is that of in.jsonl:1 too"),
    ],
)
def test_a_manifest_with_an_error_is_refused_with_the_line(
    here: Path, line: str, reason: str
) -> None:
    manifest(here / "in.jsonl", {"path": "first.wav"}, "", line, {"path": "last.wav"})
    with pytest.raises(CodecError) as caught:
        open_corpus(Path("in.jsonl"))
    assert str(caught.value).startswith("in.jsonl:3: ")
    assert reason.replace("\\\\", "\\") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_manifest_that_changes_in_use_is_an_error(here: Path) -> None:
    path = manifest(here / "in.jsonl", {"path": "a.wav"})
    corpus = open_corpus(path)
    manifest(path, {"path": "b.wav"}, {"path": "c.wav"})
    assert open_corpus(path).digest != corpus.digest
    with pytest.raises(CodecError, match="has changed"):
        everything(corpus)


@pytest.mark.parametrize(
    "name", ["none", "notes.pdf", "empty.jsonl", "empty.tar", "empty.parquet", "empty"]
)
def test_what_is_no_corpus_is_said_in_one_line(here: Path, name: str) -> None:
    (here / "notes.pdf").write_bytes(b"%PDF")
    for suffix in ("jsonl", "tar", "parquet"):
        (here / f"empty.{suffix}").touch()
    (here / "empty").mkdir()
    with pytest.raises(CodecError) as caught:
        open_corpus(Path(name))
    assert str(caught.value).startswith(f"{name}: ")


def test_a_list_names_an_audio_file_a_line(here: Path) -> None:
    save(here / "a b.wav", 0)
    (here / "in.txt").write_bytes(b"\xef\xbb\xbfa b.wav\r\n\n../far/c.flac\n/data/d.mp3")
    corpus = open_corpus(Path("in.txt"))
    assert everything(corpus) == [
        Utterance("a b", "a b.wav"),
        Utterance("far/c", "../far/c.flac"),
        Utterance("data/d", "/data/d.mp3"),
    ]
    (here / "in.txt").write_text("a.wav\nb.wav\na.flac\n")
    with pytest.raises(CodecError, match=r"^in\.txt:3: its id `a` is that of in\.txt:1 too"):
        open_corpus(Path("in.txt"))


def test_a_folder_with_two_kinds_of_corpora_is_refused(here: Path) -> None:
    save(here / "in" / "a.wav", 0)
    (here / "in" / "b.tar").touch()
    with pytest.raises(CodecError, match=r"^in: holds 1 audio files and 1 WebDataset tars; "):
        open_corpus(Path("in"))


def test_the_audio_of_an_utterance_is_what_the_file_holds(here: Path) -> None:
    audio = save(here / "a.wav", 1, seconds=2.5)
    np.testing.assert_array_equal(read_audio(Utterance("a", "a.wav"), RATE), audio)
    part = read_audio(Utterance("a", "a.wav", offset=0.75, duration=1.5), RATE)
    np.testing.assert_array_equal(part, audio[12000:36000])
    rest = read_audio(Utterance("a", "a.wav", offset=2.25), RATE)
    np.testing.assert_array_equal(rest, audio[36000:])
    rounded = read_audio(Utterance("a", "a.wav", duration=2.55), RATE)
    np.testing.assert_array_equal(rounded, audio)


def test_parts_in_ascending_order_are_decoded_in_one_pass(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = save(here / "a.wav", 1, seconds=30, rate=22050)
    save(here / "b.wav", 2, seconds=3, rate=22050)
    parts = [Utterance("a", "a.wav", offset=n * 0.7, duration=0.7) for n in range(40)]
    alone = []
    for item in parts:  # another file in between, so that each is read from the beginning
        alone.append(read_audio(item, RATE))
        read_audio(Utterance("b", "b.wav"), RATE)
    opened = []
    original = reading.open_audio
    monkeypatch.setattr(reading, "open_audio", lambda item: opened.append(1) or original(item))
    for item, expected in zip(parts, alone, strict=True):
        np.testing.assert_array_equal(read_audio(item, RATE), expected)
    assert len(opened) == 1
    rest = read_audio(Utterance("a", "a.wav", offset=29.5), 22050)
    np.testing.assert_array_equal(rest, audio[round(29.5 * 22050) :])
    np.testing.assert_array_equal(read_audio(parts[3], RATE), alone[3])  # back again
    save(here / "a.wav", 5, seconds=31, rate=22050)  # replaced meanwhile
    assert not np.array_equal(read_audio(parts[4], RATE), alone[4])


def test_channels_are_averaged_and_the_rate_is_changed(here: Path) -> None:
    audio = samples(1, seconds=1, channels=2, rate=24000)
    soundfile.write("a.wav", audio, 24000)
    found = read_audio(Utterance("a", "a.wav"), 24000)
    np.testing.assert_allclose(found, audio.mean(axis=1), atol=1e-7)
    assert read_audio(Utterance("a", "a.wav", duration=0.5), RATE).shape == (8000,)


def test_an_utterance_that_cannot_be_read_says_why(here: Path) -> None:
    save(here / "a.wav", 1, seconds=1)
    soundfile.write("empty.wav", np.zeros(0), RATE)
    for utterance, reason in [
        (Utterance("b", "b.wav"), "no such file"),
        (Utterance("a", "a.wav", offset=1.0), "ends at 1.00 s, before"),
        (Utterance("a", "a.wav", offset=0.5, duration=1.0), "ends at 1.00 s, before"),
        (Utterance("a", "a.wav", offset=3.0), "ends at 1.00 s, before"),
        (Utterance("a", "a.wav", offset=0.5, duration=1e-6), "has no samples"),
        (Utterance("e", "empty.wav"), "has no samples"),
    ]:
        with pytest.raises(CodecError, match=reason) as caught:
            read_audio(utterance, RATE)
        assert str(caught.value).startswith(utterance.path)


def test_planning_needs_no_torch() -> None:
    code = "import sys, audiocodec.corpus.opening; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
