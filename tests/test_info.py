"""`codec info` describes one file in full and sums up many, in bounded memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audiocodec import Codec, CodecError, TokenFile, save_codec
from audiocodec.bundled import bundled_models
from audiocodec.tokens import TokenHeader, TokenWriter
from audiocodec.tokens.stats import TokenStats, count_codes, entropy
from audiocodec_cli.main import run

FINGERPRINT = "0123456789abcdef"


def write_tokens(
    path: str,
    num_frames: int,
    codebooks: tuple[int, ...] = (8, 8),
    channels: int = 1,
    fingerprint: str = FINGERPRINT,
) -> np.ndarray:
    """A token file of 50 frames a second with random codes, which are returned: ``[C, K, F]``."""
    header = TokenHeader("m", fingerprint, 16000, 320, 16000, channels, codebooks)
    codes = np.stack(
        [np.random.randint(0, size, (channels, num_frames)) for size in codebooks], axis=1
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with TokenWriter(path, header) as writer:
        writer.write(codes)
        writer.finish(num_frames * 320)
    return codes


def info_json(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> Any:
    """What `codec info --json` prints, which must be all that it prints on stdout."""
    capsys.readouterr()
    assert run(["info", "--json", *arguments]) == status
    return json.loads(capsys.readouterr().out)


def test_many_files_are_summed_up_by_model(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write_tokens("tokens/a.tok", 400)
    second = write_tokens("tokens/deep/b.tok", 50, (8, 8, 8), channels=2)
    write_tokens("tokens/other.tok", 100, fingerprint="f" * 16)
    facts = info_json(capsys, "tokens")
    assert [each["file"] for each in facts["files"]] == [
        "tokens/a.tok",
        "tokens/deep/b.tok",
        "tokens/other.tok",
    ]
    mine, other = facts["token_files"]
    assert (mine["fingerprint"], other["fingerprint"]) == (FINGERPRINT, "f" * 16)
    size = sum(Path(f"tokens/{name}").stat().st_size for name in ("a.tok", "deep/b.tok"))
    assert (mine["files"], mine["file_bytes"]) == (2, size)
    assert mine["seconds"] == pytest.approx(9)
    assert mine["hours"] == pytest.approx(9 / 3600)
    assert mine["file_bitrate"] == pytest.approx(8 * size / 9)
    assert mine["bitrate"] == pytest.approx((400 * 6 + 50 * 18) / 9)
    assert (mine["channels"], mine["num_codebooks"]) == ([1, 2], [2, 3])
    counts = np.bincount(np.concatenate([first[:, 1].ravel(), second[:, 1].ravel()]), minlength=8)
    assert mine["codebooks"][1]["entropy_bits"] == pytest.approx(entropy(counts))
    assert mine["codebooks"][2]["usage"] == np.mean(np.bincount(second[:, 2].ravel()) > 0)
    assert run(["info", "tokens"]) == 0
    out = capsys.readouterr().out
    assert f"m ({FINGERPRINT})\n  files     2, 0.0025 hours of audio (9.0 s), 1 to 2 chan" in out
    assert "2 to 3 codebooks" in out


def test_one_file_has_its_use_of_the_codebooks(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = write_tokens("a.tok", 300, (8, 1))
    first, second = info_json(capsys, "a.tok")["codebooks"]
    assert first["size"] == 8
    assert first["perplexity"] == pytest.approx(2 ** entropy(np.bincount(codes[0, 0])))
    assert second == {"size": 1, "usage": 1.0, "perplexity": 1.0, "entropy_bits": 0.0}
    assert run(["info", "a.tok"]) == 0
    assert "codebook  entries     used  perplexity    entropy" in capsys.readouterr().out


def test_bad_files_are_named_and_the_rest_is_reported(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tokens("good.tok", 50)
    write_tokens("cut.tok", 300)
    whole = Path("cut.tok").read_bytes()
    Path("cut.tok").write_bytes(whole[: len(whole) // 2])
    write_tokens("damaged.tok", 300)
    data = bytearray(Path("damaged.tok").read_bytes())
    data[len(data) // 2] ^= 1
    Path("damaged.tok").write_bytes(data)
    Path("text.tok").write_text("no tokens")
    paths = ["good.tok", "cut.tok", "damaged.tok", "text.tok", "none.tok"]
    facts = info_json(capsys, *paths, status=1)
    (models,) = facts["token_files"]
    assert (models["files"], models["truncated_files"]) == (2, 1)
    assert len(facts["failures"]) == 3
    assert run(["info", *paths]) == 1
    out, err = capsys.readouterr()
    assert "2, 1 cut short" in out
    assert err.splitlines()[0] == "warning: cut.tok: cut short; the rest of it is missing"
    assert [line.split(":")[:2] for line in err.splitlines()[1:]] == [
        ["error", " damaged.tok"],
        ["error", " text.tok"],
        ["error", " none.tok"],
    ]


def test_files_of_one_model_with_other_codebooks_are_not_added_up(here: Path) -> None:
    write_tokens("a.tok", 50, (8, 8))
    write_tokens("b.tok", 50, (8, 16))
    with TokenFile("a.tok") as a, TokenFile("b.tok") as b:
        stats = TokenStats.like(a)
        stats.add(a)
        with pytest.raises(CodecError, match=r"b\.tok: its codebooks have other sizes"):
            stats.add(b)
    assert stats.files == 1


def test_counts_stay_small_whatever_a_header_says(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tokens("a.tok", 50, (2**30, 8))
    assert info_json(capsys, "a.tok")["codebooks"] is None
    assert run(["info", "a.tok"]) == 0
    assert "codebooks too large to count" in capsys.readouterr().out


def test_codes_outside_their_codebook_are_not_counted() -> None:
    (counts,) = count_codes(np.array([[[0, 1, 7]]]), (3,))
    assert counts.tolist() == [1, 1, 0]


def test_audio_files_and_models_are_described_too(
    here: Path, model: str, trainable: Codec, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, rate, channels in (("a.wav", 16000, 1), ("b.flac", 16000, 1), ("c.wav", 8000, 2)):
        soundfile.write(name, np.zeros((rate, channels)), rate)
    one = info_json(capsys, "c.wav")
    assert (one["sample_rate"], one["channels"], one["seconds"]) == (8000, 2, 1.0)
    write_tokens("a.tok", 50)
    save_codec(trainable, "mine")
    facts = info_json(capsys, ".", "mine")
    assert [(each["sample_rate"], each["files"]) for each in facts["audio_files"]] == [
        (16000, 2),
        (8000, 1),
    ]
    assert [each["files"] for each in facts["token_files"]] == [1]
    assert [each["model"] for each in facts["models"]] == ["mine"]
    assert run(["info", ".", "mine"]) == 0
    assert "audio, 8000 Hz, 2 channels" in capsys.readouterr().out


def test_without_an_argument_the_bundled_models_are_listed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert [each["model"] for each in info_json(capsys)["models"]] == bundled_models()
    assert run(["info"]) == 0
    assert bundled_models()[0] in capsys.readouterr().out


def test_an_empty_path_and_an_empty_folder_are_mistakes(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["info", ""]) == 1
    assert capsys.readouterr().err.startswith("error: a path is empty")
    Path("empty").mkdir()
    assert run(["info", "empty"]) == 1
    assert capsys.readouterr().err.startswith("error: empty: no .tok files, audio files or model")


def test_the_folder_of_a_run_leads_to_its_model(
    here: Path, trainable: Codec, capsys: pytest.CaptureFixture[str]
) -> None:
    save_codec(trainable, "run/model")
    assert run(["info", "run"]) == 1
    assert capsys.readouterr().err == (
        "error: run: is the folder of a run; its model is run/model\n"
    )
