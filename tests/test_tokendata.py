"""Token corpora as PyTorch datasets: every frame once, in an order that the seed decides."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_context_files import HEADER, draw_codes, written
from torch.utils.data import DataLoader

from audiocodec import CodecError, save_codes
from audiocodec.patterns import Vocabulary
from audiocodec.runtime import RuntimeCodec
from audiocodec.tokendata import Collator, Segment, TokenSegments, TokenStream, open_token_data
from audiocodec.tokenising.formats.registry import FORMATS
from audiocodec.tokenising.ledger import Ledger
from audiocodec.tokenising.settings import Settings
from audiocodec.tokenising.shard import write_shard
from audiocodec.tokenising.tokenised import Tokenised

ROOT = Path(__file__).resolve().parents[1]
FIXED = replace(HEADER, coding="fixed", context="")
LENGTHS = {"a/1": 23, "a/2": 8, "b/1": 10, "b/2": 0, "c": 37}
CODES = {
    id: draw_codes(frames, seed=number)[0] for number, (id, frames) in enumerate(LENGTHS.items())
}
VOCABULARY = Vocabulary.of(FIXED, "delay")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for id, codes in CODES.items():
        path = tmp_path / f"{id}.tok"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(written(FIXED, codes[None], None))
    return tmp_path


def place(segment: Segment) -> tuple[str, int, int]:
    return segment.id, segment.start, segment.codes.shape[1]


def test_segments_cover_every_frame_once(folder: Path) -> None:
    dataset = TokenSegments(folder, frames=10, num_codebooks=2)
    assert dataset.codebook_sizes == (4, 7) and len(dataset) == 9
    found = [dataset[number] for number in range(len(dataset))]
    assert [place(s) for s in found[:3]] == [("a/1", 0, 10), ("a/1", 10, 10), ("a/1", 20, 3)]
    for id, codes in CODES.items():
        pieces = [segment for segment in found if segment.id == id]
        if pieces:
            joined = torch.cat([segment.codes for segment in pieces], dim=1)
            np.testing.assert_array_equal(joined, codes[:2])
            assert [s.begins for s in pieces] == [True] + [False] * (len(pieces) - 1)
            assert [s.ends for s in pieces] == [False] * (len(pieces) - 1) + [True]


def test_short_segments_and_utterances_can_be_left_out(folder: Path) -> None:
    dataset = TokenSegments(folder, 10, least_frames=8, choose=lambda u: not u.id.startswith("c"))
    found = [place(dataset[number]) for number in range(len(dataset))]
    assert found == [("a/1", 0, 10), ("a/1", 10, 10), ("a/2", 0, 8), ("b/1", 0, 10)]
    whole = TokenSegments(folder)
    assert [whole[n].codes.shape[1] for n in range(len(whole))] == [23, 8, 10, 37]


def test_channels_are_utterances_of_their_own(tmp_path: Path) -> None:
    codes = draw_codes(5, channels=2)
    (tmp_path / "a.tok").write_bytes(written(replace(FIXED, channels=2), codes, None))
    dataset = TokenSegments(tmp_path / "a.tok")
    assert [dataset[n].id for n in range(2)] == ["a:0", "a:1"]
    np.testing.assert_array_equal(dataset[1].codes, codes[1])


def places(stream: TokenStream, workers: int = 0) -> list[tuple[str, int, int]]:
    loader: Any = DataLoader(stream, batch_size=None, num_workers=workers)
    return [place(segment) for segment in loader]


def test_a_stream_has_every_segment_once_in_an_order_of_its_seed(folder: Path) -> None:
    def stream(**changes: Any) -> TokenStream:
        return TokenStream(folder, frames=5, **{"seed": 1, "buffer": 4, **changes})

    dataset = TokenSegments(folder, frames=5)
    due = [place(dataset[number]) for number in range(len(dataset))]
    first = places(stream())
    assert sorted(first) == sorted(due) != first
    assert places(stream(buffer=0)) == due
    assert places(stream()) == first
    assert places(stream(seed=2)) != first
    later = stream()
    later.set_epoch(1)
    assert sorted(places(later)) == sorted(first) != places(later)


@pytest.mark.parametrize("buffer", [0, 3])
def test_ranks_and_workers_divide_the_shards(folder: Path, buffer: int) -> None:
    streams = [
        TokenStream(folder, frames=5, buffer=buffer, rank=rank, world_size=2) for rank in range(2)
    ]
    alone = [places(stream) for stream in streams]
    assert all(alone)
    whole = places(TokenStream(folder, frames=5))
    assert sorted(alone[0] + alone[1]) == sorted(whole)
    assert sorted(places(streams[0], workers=2)) == sorted(alone[0])


def test_ranks_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    there = places(TokenStream(folder, frames=5))
    assert there == places(TokenStream(folder, frames=5, rank=1, world_size=2))


def test_a_batch_has_tokens_masks_and_labels(folder: Path) -> None:
    dataset = TokenSegments(folder, frames=10)
    batch = Collator(VOCABULARY)([dataset[0], dataset[2], dataset[3]])
    ids, mask, labels = (batch[name] for name in ("input_ids", "attention_mask", "labels"))
    assert ids.shape == labels.shape == (3, 3, 13) and mask.shape == (3, 13)
    assert mask.sum(dim=1).tolist() == [13, 6, 12]  # with bos; with eos; with both
    bos, eos = VOCABULARY.special_id("bos"), VOCABULARY.special_id("eos")
    assert (ids[:, 0, 0] == bos).tolist() == [True, False, True]
    assert (ids == eos).any(dim=2).all(dim=1).tolist() == [False, True, True]
    assert ((labels == -100) == (ids == VOCABULARY.pad_id)).all()
    for row, number in zip(ids, (0, 2, 3), strict=True):
        np.testing.assert_array_equal(VOCABULARY.decode(row), dataset[number].codes)
    flat = Collator(Vocabulary.of(FIXED, "flat"), bos=False, length=64)([dataset[0]])
    assert flat["input_ids"].shape == (1, 64) and flat["attention_mask"].sum() == 30


def damaged(folder: Path) -> None:
    data = bytearray((folder / "c.tok").read_bytes())
    data[80] ^= 1
    (folder / "c.tok").write_bytes(data)


def of_another_model(folder: Path) -> None:
    other = replace(FIXED, fingerprint="b" * 16)
    (folder / "c.tok").write_bytes(written(other, CODES["c"][None], None))


def with_fewer_codebooks(folder: Path) -> None:
    fewer = replace(FIXED, codebook_sizes=(4, 7))
    (folder / "c.tok").write_bytes(written(fewer, CODES["c"][None, :2], None))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damaged, r"c\.tok: damaged at"),
        (of_another_model, r"c\.tok: has codes of model m \(bbbb.*encode all with one model"),
        (with_fewer_codebooks, "c has 2 codebooks, and 3 are asked for; take num_codebooks=2"),
    ],
)
def test_files_that_cannot_be_used_are_named(folder: Path, change: Any, message: str) -> None:
    change(folder)
    with pytest.raises(CodecError, match=message):
        TokenSegments(folder)
    with pytest.raises(CodecError, match=message):
        list(TokenStream(folder))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_codebooks": 4}, "holds 3 codebooks; 4 asked for"),
        ({"frames": 0}, "1 or more"),
        ({"frames": 5, "least_frames": 6}, "no segment of 5 frames has 6"),
        ({"rank": 2, "world_size": 2}, "rank 2 of 2: count ranks from 0"),
        ({"rank": 0, "world_size": 9}, "has 5 shards for 9 ranks"),
    ],
)
def test_wrong_settings_are_refused(folder: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(CodecError, match=message):
        TokenStream(folder, **settings)


def test_nothing_to_train_on_is_an_error(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(CodecError, match=r"has no segment of 50 frames"):
        TokenSegments(folder, least_frames=50)
    (tmp_path / "none").mkdir()
    with pytest.raises(CodecError, match=r"no \.tok files in this folder"):
        open_token_data(tmp_path / "none")


class TwoShards:
    """A source of one's own: any object with these members will do."""

    model, fingerprint, codebook_sizes, place = "m", "0" * 16, (1000, 1000), Path("memory")

    def __len__(self) -> int:
        return 2

    def read(self, shard: int) -> Iterator[Any]:
        from audiocodec.tokendata.sources import TokenFileUtterance

        for number in range(3):
            codes = np.full((2, 4), 10 * shard + number, np.uint16)
            yield TokenFileUtterance(f"{shard}-{number}", codes, text="hello")


def test_a_source_may_have_many_utterances_in_a_shard() -> None:
    dataset = TokenSegments(TwoShards())
    assert [dataset[n].id for n in (0, 3)] == ["0-0", "1-0"] and dataset[5].text == "hello"
    assert dataset[5].codes.unique().tolist() == [12]
    assert len(places(TokenStream(TwoShards(), frames=2))) == 12


def test_the_python_of_the_page_runs(
    tmp_path: Path, codec: RuntimeCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/language_models.md, with a small codec in place of the bundled one."""
    monkeypatch.chdir(tmp_path)
    Path("tokens").mkdir()
    monkeypatch.setattr(codec, "fingerprint", "0" * 16, raising=False)
    codes = draw_codes(300, codec.codebook_sizes)
    save_codes("tokens/a.tok", codes, codec)
    monkeypatch.setattr("audiocodec.load_codec", lambda name: codec)
    page = (ROOT / "docs" / "language_models.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {"codes": codes[0, :4]}
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page, re.DOTALL), 1):
        exec(compile(block, f"language_models.md, block {number}", "exec"), names)
    assert names["batch"]["input_ids"].shape[1] == 4
    np.testing.assert_array_equal(names["codes"], codes[0, :4, :97])
    assert len(list(names["stream"])) == 2


def tokenised(folder: Path, format: str) -> Path:
    """The utterances of :data:`CODES` in three shards, as ``codec tokenize`` writes them."""
    settings = Settings(
        format=format,
        shard_size=2,
        corpus="0",
        utterances=len(CODES),
        model="m",
        fingerprint=FIXED.fingerprint,
        sample_rate=16000,
        hop_length=320,
        codebook_sizes=FIXED.codebook_sizes,
        arithmetic="float64",
    )
    Ledger(folder).begin(settings)

    def rows(start: int, stop: int) -> Generator[Tokenised, None, None]:
        for id, codes in list(CODES.items())[start:stop]:
            codes = codes.astype(settings.dtype)
            yield Tokenised(id, codes, 320 * codes.shape[1], text=f"text of {id}")

    for index in range(settings.num_shards):
        write_shard(rows(*settings.slice(index)), index, settings, folder)
    return folder


@pytest.mark.parametrize("format", FORMATS)
def test_the_shards_of_codec_tokenize_are_a_source(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, format: str
) -> None:
    shards = tokenised(tmp_path_factory.mktemp("out"), format)
    found, due = TokenSegments(shards, frames=10), TokenSegments(folder, frames=10)
    assert [place(found[n]) for n in range(len(found))] == [place(due[n]) for n in range(len(due))]
    for number in range(len(due)):
        assert torch.equal(found[number].codes, due[number].codes)
    assert found[0].text == "text of a/1"
    VOCABULARY.check(found.data)
    streams = [places(TokenStream(shards, 10, rank=rank, world_size=3)) for rank in range(3)]
    assert sorted(place for stream in streams for place in stream) == sorted(
        place(due[n]) for n in range(len(due))
    )


def test_a_shard_that_is_not_finished_is_named(tmp_path: Path) -> None:
    shards = tokenised(tmp_path / "out", "npy")
    (shards / "ledger" / "shard-00001.json").unlink()
    with pytest.raises(CodecError, match="shard-00001 is not finished"):
        TokenSegments(shards)
