"""Token files rewritten: the same codes in another coding or fewer, and whole or not at all."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from contexts import random_context
from test_context_files import CONTEXT, HEADER, draw_codes, written

from audiocodec import Codec, CodecError, encode_file, load_codec, save_codec
from audiocodec.batch.existing import check_encoded, cut_codebooks
from audiocodec.tokens import TokenFile
from audiocodec.transcoding import transcode_file
from audiocodec_cli.main import run

FIXED = replace(HEADER, coding="fixed", context="")
CODES = draw_codes(23, channels=2)


def stereo(coding: str) -> bytes:
    return written(replace(HEADER if coding == "context" else FIXED, channels=2), CODES)


@pytest.mark.parametrize("coding", ["fixed", "context"])
def test_there_and_back_gives_the_same_bytes(tmp_path: Path, coding: str) -> None:
    other = {"fixed": "context", "context": "fixed"}[coding]
    first, middle, last = (tmp_path / name for name in ("a.tok", "b.tok", "c.tok"))
    first.write_bytes(stereo(coding))
    transcode_file(first, middle, coding=other, context=CONTEXT)
    assert middle.read_bytes() == stereo(other)
    transcode_file(middle, last, coding=coding, context=CONTEXT)
    assert last.read_bytes() == first.read_bytes()


@pytest.mark.parametrize("coding", ["fixed", "context"])
def test_fewer_codebooks_are_the_first_ones(tmp_path: Path, coding: str) -> None:
    """With context coding the rest is coded again, since the context has fewer stages."""
    (tmp_path / "a.tok").write_bytes(stereo(coding))
    transcode_file(tmp_path / "a.tok", tmp_path / "b.tok", 2, context=CONTEXT)
    with TokenFile(tmp_path / "b.tok", CONTEXT) as tokens:
        assert tokens.header.num_codebooks == 2 and tokens.header.coding == coding
        assert tokens.num_samples == CODES.shape[2] * 320
        np.testing.assert_array_equal(tokens.read(), CODES[:, :2])


def test_a_cut_file_becomes_a_whole_one_up_to_the_cut(tmp_path: Path) -> None:
    data = stereo("context")
    (tmp_path / "a.tok").write_bytes(data[: len(data) // 2])
    assert transcode_file(
        tmp_path / "a.tok", tmp_path / "b.tok", coding="fixed", context=CONTEXT
    ).truncated
    with TokenFile(tmp_path / "b.tok") as tokens:
        found = tokens.read()
        assert not tokens.truncated and 5 <= found.shape[2] < CODES.shape[2]
    np.testing.assert_array_equal(found, CODES[:, :, : found.shape[2]])


@pytest.mark.parametrize(("count", "coding"), [(4, "fixed"), (None, "context")])
def test_what_cannot_be_written_leaves_no_file(
    tmp_path: Path, count: int | None, coding: str
) -> None:
    """More codebooks than there are, and context coding without a context model."""
    (tmp_path / "a.tok").write_bytes(stereo("fixed"))
    with pytest.raises(CodecError, match=r"holds 3 codebooks|needs the context model"):
        transcode_file(tmp_path / "a.tok", tmp_path / "b.tok", count, coding)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tok"]


def test_the_command_names_outputs_that_are_there_and_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole folders: what is there as it is to be is skipped, and the rest is not replaced."""
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a.tok", "b.tok"):
        (source / name).write_bytes(stereo("fixed"))
    assert run(["transcode", str(source), str(target), "-n", "2"]) == 0
    assert run(["transcode", str(source), str(target), "-n", "2"]) == 0
    before = (target / "a.tok").read_bytes()
    capsys.readouterr()
    assert run(["transcode", str(source), str(target), "-n", "1"]) == 1
    assert "2 files are there already, with other contents" in capsys.readouterr().err
    assert (target / "a.tok").read_bytes() == before
    assert run(["transcode", str(source), str(target), "-n", "1", "--overwrite"]) == 0
    with TokenFile(target / "a.tok") as tokens:
        np.testing.assert_array_equal(tokens.read(), CODES[:, :1])


def test_a_damaged_source_leaves_no_file(tmp_path: Path) -> None:
    data = bytearray(stereo("context"))
    data[len(data) // 2] ^= 1
    (tmp_path / "a.tok").write_bytes(data)
    with pytest.raises(CodecError, match="damaged at"):
        transcode_file(tmp_path / "a.tok", tmp_path / "b.tok", coding="fixed", context=CONTEXT)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tok"]


def test_a_file_without_frames(tmp_path: Path) -> None:
    (tmp_path / "a.tok").write_bytes(written(FIXED, draw_codes(0)))
    transcode_file(tmp_path / "a.tok", tmp_path / "b.tok", coding="context", context=CONTEXT)
    with TokenFile(io.BytesIO((tmp_path / "b.tok").read_bytes()), CONTEXT) as tokens:
        assert tokens.read().shape == (1, 3, 0) and not tokens.truncated


def test_codes_of_another_model_are_not_coded_with_its_context_model(
    tmp_path: Path, trainable: Codec, capsys: pytest.CaptureFixture[str]
) -> None:
    """Codebooks of the same sizes, and other codes. Those that it has coded, it codes again."""
    folders = [tmp_path / name for name in ("one", "two")]
    for folder, scale in zip(folders, (1.0, 1.01), strict=True):
        codec = Codec(trainable.config)
        codec.load_state_dict({n: scale * x for n, x in trainable.state_dict().items()})
        save_codec(codec, folder)
        random_context(codec.codebook_sizes).save(folder / "context.safetensors")
    one, two = (load_codec(folder) for folder in folders)
    soundfile.write(tmp_path / "in.wav", np.random.uniform(-0.5, 0.5, 9000), 16000)
    encode_file(tmp_path / "in.wav", tmp_path / "a.tok", one, coding="fixed")
    paths = [str(tmp_path / name) for name in ("a.tok", "b.tok", "c.tok")]
    words = ["transcode", *paths[:2], "--coding", "context", "--model"]
    assert run([*words, str(folders[1])]) == 1
    message = f"a.tok: codes of model one ({one.fingerprint}), and the context model is one of "
    err = capsys.readouterr().err
    assert message + f"{two.fingerprint}; name the model that made the codes with --model" in err
    assert not (tmp_path / "b.tok").exists() and err.count("\n") == 1
    assert run([*words, str(folders[0])]) == 0
    assert run(["transcode", *paths[1:], "-n", "2", "--model", str(folders[1])]) == 0
    with TokenFile(paths[2], one.context) as tokens:
        assert tokens.header.coding == "context" and tokens.header.num_codebooks == 2


def test_without_a_coding_asked_for_all_take_the_codecs(
    tmp_path: Path, trainable: Codec, capsys: pytest.CaptureFixture[str]
) -> None:
    """Context coding up to 64 channels, fixed coding beyond; what is there is as it is to be."""
    save_codec(trainable, tmp_path / "m")
    random_context(trainable.codebook_sizes).save(tmp_path / "m" / "context.safetensors")
    codec = load_codec(tmp_path / "m")
    for channels, coding in ((1, "context"), (65, "fixed")):
        source, target = tmp_path / f"{channels}.wav", tmp_path / f"{channels}.tok"
        soundfile.write(source, np.random.uniform(-0.5, 0.5, (700, channels)), 16000)
        encode_file(source, target, codec)
        with TokenFile(target, codec.context) as tokens:
            assert tokens.header.coding == coding
        check_encoded(target, codec, None, source)
        whole = target.read_bytes()
        encode_file(source, target, codec, 2)
        fewer = target.read_bytes()
        target.write_bytes(whole)
        result = cut_codebooks(target, source, codec, 2)
        assert result and result.reused and target.read_bytes() == fewer
    words = ["encode", "65.wav", "b.tok", "--coding", "context", "--model", "m"]
    words = [str(tmp_path / word) if "." in word or word == "m" else word for word in words]
    assert run(words) == 1
    err = capsys.readouterr().err
    assert "b.tok: 65 channels; context coding takes up to 64: use --coding fixed\n" in err
    assert err.count("\n") == 1 and not (tmp_path / "b.tok").exists()
