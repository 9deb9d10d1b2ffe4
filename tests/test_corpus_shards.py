"""Corpora in tars and Parquet files, as the libraries `webdataset` and `datasets` write them."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audiocodec.corpus.opening import open_corpus
from audiocodec.corpus.reading import read_audio
from audiocodec.corpus.sources.corpus import Corpus
from audiocodec.corpus.utterance import Utterance
from audiocodec.errors import CodecError

RATE = 16000


def audio(number: int) -> np.ndarray:
    """Audio ``[T]`` in 16 bits that depends on ``number``."""
    noise = np.random.default_rng(number).integers(-9000, 9000, 800 + number)
    return noise.astype(np.float32) / 32768


def flac(number: int) -> bytes:
    """The same as a FLAC file."""
    file = io.BytesIO()
    soundfile.write(file, audio(number), RATE, format="FLAC")
    return file.getvalue()


def everything(corpus: Corpus) -> list[Utterance]:
    return list(corpus.utterances(0, len(corpus)))


def check_slices(corpus: Corpus) -> list[Utterance]:
    """Every slice of a corpus that was sent to another process is that of the whole."""
    whole = everything(corpus)
    again = pickle.loads(pickle.dumps(corpus))
    for start in range(len(whole) + 1):
        for stop in range(start, len(whole) + 1):
            assert list(again.utterances(start, stop)) == whole[start:stop]
    return whole


def pack(path: Path, members: dict[str, bytes], format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def test_tars_of_the_webdataset_library_are_a_corpus(here: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    (here / "in").mkdir()
    for shard in range(2):
        with webdataset.TarWriter(f"in/{shard:02d}.tar") as tar:
            for number in range(3):
                at = 3 * shard + number
                facts = {"speaker_id": at, "split": "dev", "text": "not this"}
                sample = {"__key__": f"a/{number}", "flac": flac(at), "txt": f"Text {at}"}
                tar.write(sample | ({"json": facts} if number else {"cls": at}))
    corpus = open_corpus(Path("in"))
    found = check_slices(corpus)
    assert [item.id for item in found] == [
        f"{shard}/a/{number}" for shard in ("00", "01") for number in range(3)
    ]
    assert [item.text for item in found] == [f"Text {number}" for number in range(6)]
    assert [item.speaker for item in found] == [str(number) for number in range(6)]
    assert [item.split for item in found] == ["", "dev", "dev", "", "dev", "dev"]
    for number, item in enumerate(found):
        np.testing.assert_array_equal(read_audio(item, RATE), audio(number))
    moved = (here / "in").rename(here / "moved")
    assert open_corpus(moved).digest == corpus.digest
    alone = everything(open_corpus(moved / "00.tar"))
    assert [item.id for item in alone] == ["a/0", "a/1", "a/2"]
    manifest = here / "in.jsonl"
    manifest.write_text(json.dumps({"path": "moved/01.tar", "member": "a/2.flac"}))
    (item,) = everything(open_corpus(manifest))
    np.testing.assert_array_equal(read_audio(item, RATE), audio(5))


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_sample_may_have_several_audio_members_and_long_names(here: Path, format: int) -> None:
    name = "ä" * 120
    members = {
        f"./{name}.mic1.flac": flac(0),
        f"./{name}.mic2.FLAC": flac(1),
        f"./{name}.txt": "Grüße\n".encode(),
        "./._b.flac": b"of macOS",
        "b.flac": flac(2),
        "notes.txt": b"no audio",
        "c.flac": flac(3),
    }
    found = check_slices(open_corpus(pack(here / "in.tar", members, format)))
    assert [item.id for item in found] == [f"{name}.mic1", f"{name}.mic2", "b", "c"]
    assert [item.text for item in found] == ["Grüße", "Grüße", "", ""]
    for number, item in enumerate(found):
        np.testing.assert_array_equal(read_audio(item, RATE), audio(number))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.flac": b"", "b.txt": b"", "c/a.flac": b"", "./a.flac": b""}, "is that of in.tar:a.fl"),
        ({"a.flac": b"", "a.json": b"{"}, "in.tar:a.json: is not JSON"),
        ({"a.flac": b"", "a.json": b'{"text": [1]}'}, "in.tar:a.json: its `text` is not text"),
        ({"a.flac": b"", "a.txt": b"\xff"}, "in.tar:a.txt: "),
        ({"../a.flac": b""}, "in.tar:../a.flac: `../a` is no relative path"),
        ({"a.txt": b""}, "no audio in these tars"),
    ],
)
def test_a_tar_with_an_error_is_refused_with_the_member(
    here: Path, members: dict[str, bytes], message: str
) -> None:
    pack(here / "in.tar", members)
    with pytest.raises(CodecError) as caught:
        open_corpus(Path("in.tar"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tar_that_is_cut_short_or_damaged_is_refused(here: Path) -> None:
    whole = pack(here / "in.tar", {f"{n}.flac": flac(n) for n in range(3)}).read_bytes()
    with tarfile.open("in.tar") as tar:
        starts = [member.offset for member in tar]
    damaged = bytearray(whole)
    damaged[starts[1] + 3] ^= 1
    for data in (whole[: starts[2] + 600], bytes(damaged), whole[: starts[1] + 100], b"no tar"):
        Path("in.tar").write_bytes(data)
        with pytest.raises(CodecError, match=r"^in\.tar: is not a whole, uncompressed tar file"):
            open_corpus(Path("in.tar"))


def write_parquet(path: Path, rows: list[dict[str, Any]], decoded: bool = True) -> Path:
    """Rows as the library `datasets` writes them, two in a row group."""
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_list(rows)
    if decoded:
        data = data.cast_column("audio", datasets.Audio(decode=False))
    path.parent.mkdir(exist_ok=True)
    data.to_parquet(str(path), batch_size=2)
    return path


def row(number: int, name: str | None = None, **facts: object) -> dict[str, Any]:
    return {"audio": {"bytes": flac(number), "path": name}, **facts}


def test_parquet_files_of_the_datasets_library_are_a_corpus(here: Path) -> None:
    rows = [row(n, f"{n}.flac", text=f"Text {n}", speaker_id=n, id=f"s-{n}") for n in range(5)]
    write_parquet(here / "in" / "train-00000-of-00002.parquet", rows[:3])
    write_parquet(here / "in" / "train-00001-of-00002.parquet", rows[3:])
    corpus = open_corpus(Path("in"))
    found = check_slices(corpus)
    assert [item.id for item in found] == [f"s-{n}" for n in range(5)]
    assert [item.text for item in found] == [f"Text {n}" for n in range(5)]
    assert [item.speaker for item in found] == [str(n) for n in range(5)]
    for number in (4, 0, 2, 3, 1):
        np.testing.assert_array_equal(read_audio(found[number], RATE), audio(number))
    digest = corpus.digest
    moved = (here / "in").rename(here / "moved")
    assert open_corpus(moved).digest == digest
    rows[4]["text"] = "another"
    write_parquet(moved / "train-00001-of-00002.parquet", rows[3:])
    assert open_corpus(moved).digest != digest


def test_rows_without_ids_are_named_by_their_files_or_numbers(here: Path) -> None:
    path = write_parquet(
        here / "in" / "x.parquet", [row(n, f"/home/me/{n}.flac") for n in range(3)]
    )
    found = check_slices(open_corpus(path))
    assert [item.id for item in found] == [f"home/me/{n}" for n in range(3)]
    for names in (["a.wav", "b.wav", "a.wav"], ["a.wav", None, "b.wav"]):
        write_parquet(path, [row(n, name) for n, name in enumerate(names)])
        assert [item.id for item in check_slices(open_corpus(path))] == ["x/0", "x/1", "x/2"]
    write_parquet(path, [{"audio": flac(0)}], decoded=False)
    (item,) = everything(open_corpus(path))
    np.testing.assert_array_equal(read_audio(item, RATE), audio(0))


def test_a_parquet_file_with_an_error_is_refused(here: Path) -> None:
    path = write_parquet(Path("in.parquet"), [row(0, id="a"), row(1, id="b"), row(2, id="a")])
    with pytest.raises(CodecError, match=r"its id `a` is that of in\.parquet:0 too"):
        open_corpus(path)
    write_parquet(path, [{"sound": 1, "text": "a"}], decoded=False)
    with pytest.raises(CodecError, match=r"no column `audio` .* \(its columns: sound, text\)"):
        open_corpus(path)
    os.truncate(path, 100)
    with pytest.raises(CodecError, match=r"^in\.parquet: is no whole Parquet file"):
        open_corpus(path)


def test_a_row_without_bytes_is_an_error_of_that_row(here: Path) -> None:
    broken = {"audio": {"bytes": None, "path": "b.wav"}}
    found = everything(open_corpus(write_parquet(here / "in.parquet", [row(0, "a.wav"), broken])))
    np.testing.assert_array_equal(read_audio(found[0], RATE), audio(0))
    with pytest.raises(CodecError, match="row 1 has no audio bytes"):
        read_audio(found[1], RATE)
