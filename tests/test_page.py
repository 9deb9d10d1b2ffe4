"""`codec evaluate --report` writes one page that needs no other file and no network."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import Codec, load_codec, save_audio, save_codec
from audiocodec.evaluation import METRICS, Comparison, Evaluation, Row, compare
from audiocodec.evaluation.examples import find_examples
from audiocodec.evaluation.page import write_page
from audiocodec_cli.main import run


class Page(HTMLParser):
    """The addresses, the text and the open tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for name, v in attrs if name in ("src", "href", "srcset")]

    def handle_data(self, data: str) -> None:
        self.text += data

    def data(self, kind: str) -> list[bytes]:
        start = f"data:{kind};base64,"
        found = [each for each in self.addresses if each.startswith(start)]
        return [base64.b64decode(each.removeprefix(start)) for each in found]


@pytest.fixture
def recordings(here: Path, speech: torch.Tensor) -> Path:
    folder = Path("in <b>&amp; $x$")
    folder.mkdir()
    for number in range(3):
        audio = speech[0, :, 16_000 * (number + 1) : 16_000 * (number + 2)]
        save_audio(folder / f"{number}.wav", audio, 16_000)
    save_audio(folder / "silence.wav", torch.zeros(1, 16_000), 16_000)
    return folder


def test_the_page_holds_all_that_it_shows(recordings: Path, model: str) -> None:
    arguments = ["evaluate", str(recordings), "--model", model, "-n", "1,2", "--jobs", "1"]
    Path("peers.csv").write_text(
        "system,kbps,pesq_wb,stoi,encode,decode,source\n"
        "Peer,6,3.21,,0.1,0.2,their clips\nPeer,1,,0.8,,,a table\n"
    )
    assert run([*arguments, "--report", "report.html", "--published", "peers.csv"]) == 0
    text = Path("report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert all(address.startswith("data:") for address in page.addresses)
    assert "http:" not in text
    assert "https:" not in text
    assert "script" not in page.tags
    assert "b" not in page.tags  # a file's name is text
    assert str(recordings / "0.wav") in page.text
    assert "codec evaluate 'in <b>&amp; $x$' --model" in page.text
    assert "--report report.html" in page.text
    assert "silence.wav: no PESQ-WB" in page.text
    for heading in ("Summary", "Quality against bitrate", "Worst files", "Best files", "Codebooks"):
        assert heading in page.text
    assert f"torch {torch.__version__}" in page.text
    pictures = page.data("image/svg+xml")
    assert len(pictures) == 5
    assert all(b"<svg" in picture for picture in pictures)
    assert all(word in page.text for word in ("Peer", "3.21", "their clips"))
    assert b">Peer<" in pictures[0]
    assert b"Peer, 6.0 kbps" in pictures[1]
    Path("peers.csv").unlink()
    # Three files have a score: one is among the worst, one among the best.
    players = page.data("audio/ogg")
    assert len(players) == 4
    for player in players:
        audio, rate = soundfile.read(io.BytesIO(player))
        assert (rate, len(audio)) == (16_000, pytest.approx(16_000, abs=960))
    assert len(page.data("image/webp")) == 2
    assert [path.name for path in Path().iterdir() if path.is_file()] == ["report.html"]


def test_models_stand_side_by_side_at_the_higher_sample_rate(
    recordings: Path, model: str, trainable: Codec
) -> None:
    settings = trainable.config.model_dump(mode="json") | {"sample_rate": 8000}
    save_codec(Codec(type(trainable.config).from_mapping(settings)), Path("low"))
    codecs = [load_codec("low"), load_codec(model)]
    comparison = compare(codecs, [recordings / "0.wav"], [1, 2], jobs=1)
    examples = find_examples(codecs, comparison.evaluations)
    assert examples is not None
    ((example,), best) = examples.worst, examples.best
    assert best == []
    assert example.sample_rate == 16_000
    lengths = [len(signal) for signal in example.signals.values()]
    assert lengths == [16_000] * 3
    write_page("page.html", comparison, examples, ["codec"])
    page = Page(Path("page.html").read_text(encoding="utf-8"))
    assert len(page.data("audio/ogg")) == 3
    assert "The models have different sample rates" in page.text


def test_worst_and_best_follow_the_direction_of_the_score(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = Evaluation("m", "", 16_000, "cpu", (1,), ("log_mel_distance",), [np.ones(2, np.int64)])
    for number in range(12):
        row = Row(f"{number}.wav", 1.0, 1, num_codebooks=1)
        row.scores["log_mel_distance"] = float(number)
        result.rows.append(row)

    class Rate:
        sample_rate = 16_000

    monkeypatch.setattr("audiocodec.evaluation.examples._signals", lambda *arguments: {})
    examples = find_examples([Rate()], [result])  # type: ignore[list-item]
    assert examples is not None
    assert [each.score for each in examples.worst] == [11, 10, 9, 8, 7]
    assert [each.score for each in examples.best] == [0, 1, 2, 3, 4]
    assert METRICS["log_mel_distance"].better == "lower"


def test_names_that_are_not_utf8_and_no_scores_at_all_still_make_a_page(here: Path) -> None:
    result = Evaluation("m\udcff", "", 16_000, "cpu", (1,), ("stoi",), [np.ones(2, np.int64)])
    result.rows.append(Row("caf\udce9.wav", 0.0, 1, num_codebooks=1, reasons={"stoi": "silence"}))
    assert find_examples([], [result]) is None
    write_page("page.html", Comparison([result]))
    assert "caf?.wav: no STOI" in Path("page.html").read_text(encoding="utf-8")


def test_the_bits_of_each_stage_are_those_of_the_context_model(clip: Path) -> None:
    codec = load_codec("speech_16khz")
    (found,) = compare([codec], clip, [2], jobs=1, stage_bits=True).evaluations
    bits = found.bits_by_stage()
    assert bits is not None
    kbps = found.rows[0].payload_kbps
    assert sum(bits) * codec.frame_rate / 1000 == pytest.approx(kbps, rel=0.02)


def test_a_page_that_cannot_be_written_is_refused_before_anything_is_computed(
    recordings: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(recordings), "--model", model, "--report", "none/report.html"]
    assert run(words) == 1
    assert "error: --report none/report.html: is a folder, or" in capsys.readouterr().err
    assert not re.findall("report", str(list(Path().iterdir())))
