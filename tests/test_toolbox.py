"""Token files cut, joined, exported and imported: the same codes, exact lengths, and no torch."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_context_files import CONTEXT, HEADER, draw_codes, written

from audiocodec import CodecError, TokenFile, TokenHeader, TokenWriter
from audiocodec.codefiles.conversion import export_codes, import_codes
from audiocodec.codefiles.registry import FORMATS
from audiocodec.joining import join_files
from audiocodec.tokens.packing import Codes
from audiocodec.trimming import find_part, trim_file
from audiocodec_cli.main import run

FIXED = replace(HEADER, coding="fixed", context="", channels=2)
CODES = draw_codes(23, channels=2)  # 0.46 s at 50 frames per second


def header_of(coding: str) -> TokenHeader:
    return replace(HEADER, channels=2) if coding == "context" else FIXED


def save(path: Path, coding: str = "fixed", codes: Codes = CODES, samples: int = 0) -> Path:
    """A token file; by default its last frame is full."""
    header = replace(header_of(coding), channels=codes.shape[0])
    with TokenWriter(path, header, context=CONTEXT) as writer:
        writer.write(codes)
        writer.finish(samples or header.num_samples(codes.shape[2]))
    return path


def load(path: Path) -> tuple[Codes, int]:
    with TokenFile(path, CONTEXT) as tokens:
        assert not tokens.truncated
        tokens.verify()
        return tokens.read(), tokens.num_samples


# --- trim


@pytest.mark.parametrize("coding", ["fixed", "context"])
@pytest.mark.parametrize(
    ("start", "end", "frames"),
    [
        (0.0, None, (0, 23)),
        (0.06, 0.14, (3, 7)),  # 0.14 * 50 is 7.000000000000001
        (0.07, 0.15, (3, 8)),  # down and up
        (0.3, 9.0, (15, 23)),
        (0.449, 0.45, (22, 23)),
    ],
)
def test_a_part_has_the_frames_that_were_asked_for(
    tmp_path: Path, coding: str, start: float, end: float | None, frames: tuple[int, int]
) -> None:
    source = save(tmp_path / "a.tok", coding, samples=7200)  # the last frame has half its samples
    result = trim_file(source, tmp_path / "b.tok", start, end, CONTEXT)
    codes, num_samples = load(tmp_path / "b.tok")
    np.testing.assert_array_equal(codes, CODES[:, :, slice(*frames)])
    assert num_samples == min(7200, frames[1] * 320) - frames[0] * 320 == result.num_samples
    assert result.start == frames[0] / 50 and result.seconds == num_samples / 16000
    with TokenFile(tmp_path / "b.tok", CONTEXT) as tokens:
        assert tokens.header == header_of(coding)


@settings(max_examples=150, deadline=None)
@given(
    rate=st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000]),
    samples=st.integers(1, 50000),
    places=st.tuples(st.floats(0, 7), st.floats(0, 7)),
)
def test_the_lengths_of_parts_are_right_at_any_rate(
    rate: int, samples: int, places: tuple[float, float]
) -> None:
    """All that was asked for is there, less than a frame more at each end, and whole frames."""
    header = replace(FIXED, original_sample_rate=rate, channels=1, block_frames=200)
    start, end = sorted(places)
    data = written(header, draw_codes(header.num_frames(samples)), None)
    tokens = TokenFile(io.BytesIO(data))
    tokens.num_samples = samples
    if not start < min(tokens.seconds, end):
        return
    part = find_part(tokens, start, end)
    assert header.num_frames(part.num_samples) == part.stop - part.start
    begin, stop = part.start / 50, part.start / 50 + part.num_samples / rate
    assert begin <= start < begin + 0.02 + 1e-9
    assert min(end, tokens.seconds) - 1 / rate <= stop <= min(end + 0.02, tokens.seconds) + 1 / rate


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (0.46, None, r"holds 0\.46 s; a start of 0\.46 s is not in it"),
        (-1.0, None, "a start of -1 s is not in it"),
        (float("nan"), None, "is not in it"),
        (0.2, 0.2, r"an end of 0\.2 s is not behind the start, 0\.2 s"),
        (0.2, float("nan"), "is not behind"),
    ],
)
def test_a_part_that_is_not_there_is_named(
    tmp_path: Path, start: float, end: float | None, message: str
) -> None:
    with pytest.raises(CodecError, match=message):
        trim_file(save(tmp_path / "a.tok"), tmp_path / "b.tok", start, end)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tok"]


def test_a_part_before_the_cut_of_a_file_is_whole(tmp_path: Path) -> None:
    data = save(tmp_path / "a.tok").read_bytes()
    (tmp_path / "a.tok").write_bytes(data[:-30])
    assert not trim_file(tmp_path / "a.tok", tmp_path / "b.tok", 0, 0.1).truncated
    assert trim_file(tmp_path / "a.tok", tmp_path / "c.tok", 0.1).truncated


def test_trim_takes_folders(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "in").mkdir()
    save(here / "in" / "a.tok")
    save(here / "in" / "b.tok", codes=CODES[:, :, :2])
    assert run(["trim", "in", "out", "--start", "0.1", "--end", "0.2", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [file["start"] for file in report["files"]] == [0.1]
    assert "b.tok: holds 0.04 s" in report["failures"][0]
    assert load(here / "out" / "a.tok")[0].shape == (2, 3, 5)
    assert run(["trim", "in", "out", "--end", "0.02"]) == 1
    assert "is there already, with other contents" in capsys.readouterr().err


# --- cat


@pytest.mark.parametrize("coding", ["fixed", "context"])
def test_parts_joined_are_the_whole(tmp_path: Path, coding: str) -> None:
    """Cut anywhere and joined, a file has its bytes again."""
    whole = save(tmp_path / "a.tok", coding, samples=7200)
    parts = []
    for number, (start, end) in enumerate([(0, 0.06), (0.06, 0.24), (0.24, None)]):
        parts.append(tmp_path / f"{number}.tok")
        trim_file(whole, parts[-1], start, end, CONTEXT)
    joined = join_files(parts, tmp_path / "b.tok", CONTEXT)
    assert (tmp_path / "b.tok").read_bytes() == whole.read_bytes()
    assert [part.start for part in joined.parts] == [0, 0.06, 0.24] and joined.added == 0


def test_the_last_frame_of_a_part_is_kept_whole(tmp_path: Path) -> None:
    sources = [save(tmp_path / f"{n}.tok", samples=22 * 320 + 100) for n in range(3)]
    joined = join_files(sources, tmp_path / "all.tok")
    codes, num_samples = load(tmp_path / "all.tok")
    np.testing.assert_array_equal(codes, np.concatenate([CODES] * 3, axis=2))
    assert num_samples == 2 * 23 * 320 + 22 * 320 + 100
    assert joined.added == pytest.approx(2 * 220 / 16000)


OTHERS = {
    "codes of model m \\(aa": {"fingerprint": "a" * 16},
    "2 codebooks": {"codebook_sizes": (4, 7)},
    "1 channels": {"channels": 1},
    "audio at 8000 Hz": {"original_sample_rate": 8000},
}


@pytest.mark.parametrize("what", OTHERS)
def test_files_that_do_not_belong_together_are_not_joined(tmp_path: Path, what: str) -> None:
    header = replace(FIXED, **OTHERS[what])  # type: ignore[arg-type]
    save(tmp_path / "a.tok")
    codes = CODES[: header.channels, : header.num_codebooks]
    (tmp_path / "b.tok").write_bytes(written(header, codes, None))
    with pytest.raises(CodecError, match=rf"b\.tok: has {what}.*, and .*a\.tok has .*; "):
        join_files([tmp_path / "a.tok", tmp_path / "b.tok"], tmp_path / "c.tok")
    assert not (tmp_path / "c.tok").exists()


def test_cat_takes_folders_and_warns_of_cuts(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "in").mkdir()
    save(here / "in" / "b.tok")
    data = save(here / "in" / "a.tok").read_bytes()
    assert run(["cat", "in", "-o", "in/all.tok"]) == 0
    assert load(here / "in" / "all.tok")[0].shape == (2, 3, 46)
    assert run(["cat", "in", "-o", "in/all.tok"]) == 1
    assert "is there already" in capsys.readouterr().err
    (here / "in" / "a.tok").write_bytes(data[:-14])
    assert run(["cat", "in", "-o", "in/all.tok", "--overwrite"]) == 1
    assert "warning: in/a.tok: cut short" in capsys.readouterr().err
    assert load(here / "in" / "all.tok")[0].shape == (2, 3, 46)
    assert run(["cat", "in/b.tok", "in/a.tok", "-o", "in/b.tok", "--overwrite"]) == 1
    assert "is the input itself" in capsys.readouterr().err


# --- export-codes, import-codes


@pytest.mark.parametrize("coding", ["fixed", "context"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_exported_codes_become_the_same_file(tmp_path: Path, suffix: str, coding: str) -> None:
    for name, codes in (("a", CODES), ("none", CODES[:, :, :0])):
        source = save(tmp_path / f"{name}.tok", coding, codes, samples=7111 * bool(codes.size))
        middle, last = tmp_path / f"{name}{suffix}", tmp_path / f"{name}.again.tok"
        export_codes(source, middle, context=CONTEXT)
        import_codes(middle, last, context=CONTEXT)
        assert last.read_bytes() == source.read_bytes()


def test_other_programs_read_what_was_exported(tmp_path: Path) -> None:
    import pyarrow.parquet

    source = save(tmp_path / "a.tok")
    for suffix in FORMATS:
        export_codes(source, tmp_path / f"a{suffix}", num_codebooks=2)
    found = {
        ".npy": np.load(tmp_path / "a.npy"),
        ".npz": np.load(tmp_path / "a.npz")["codes"],
        ".json": json.loads((tmp_path / "a.json").read_text())["codes"],
        ".parquet": pyarrow.parquet.read_table(tmp_path / "a.parquet").to_pylist()[0]["codes"],
    }
    assert set(found) == set(FORMATS)
    for codes in found.values():
        np.testing.assert_array_equal(codes, CODES[:, :2])
    assert found[".npy"].dtype == found[".npz"].dtype == np.uint16
    facts = json.loads((tmp_path / "a.npy.json").read_text())
    assert facts["fingerprint"] == FIXED.fingerprint and facts["codebook_sizes"] == [4, 7]


def test_codes_that_were_changed_have_the_length_of_their_frames(tmp_path: Path) -> None:
    source = save(tmp_path / "a.tok", samples=7111)
    export_codes(source, tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", CODES[:, :2, ::2])
    import_codes(tmp_path / "a.npy", tmp_path / "b.tok")
    codes, num_samples = load(tmp_path / "b.tok")
    np.testing.assert_array_equal(codes, CODES[:, :2, ::2])
    assert num_samples == 12 * 320


def test_a_bare_array_takes_its_facts_from_a_token_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", CODES[0].astype(np.int32))
    with pytest.raises(CodecError, match=r"says nothing of model .* --like FILE\.tok"):
        import_codes(tmp_path / "a.npy", tmp_path / "b.tok")
    import_codes(tmp_path / "a.npy", tmp_path / "b.tok", like=save(tmp_path / "like.tok"))
    np.testing.assert_array_equal(load(tmp_path / "b.tok")[0], CODES[:1])


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "cannot be read as|cannot be"), (b"{}", "has no codes|cannot be read as")],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, suffix: str, data: bytes, message: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(data)
    with pytest.raises(CodecError, match=rf"a{suffix}: .*({message})") as caught:
        import_codes(tmp_path / f"a{suffix}", tmp_path / "b.tok")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "b.tok").exists()


def test_wrong_codes_and_facts_are_refused(tmp_path: Path) -> None:
    export_codes(save(tmp_path / "a.tok"), tmp_path / "a.json")
    good = json.loads((tmp_path / "a.json").read_text())
    for change, message in (
        ({"codes": (CODES + 1).tolist()}, "outside their codebooks"),
        ({"codes": (CODES / 2).tolist()}, "must be integers"),
        ({"codes": [[1, 2], [3]]}, "cannot be read as"),
        ({"codebook_sizes": [4, 7]}, "codes of 3 codebooks, and facts of 2"),
        ({"fingerprint": "?"}, "fingerprint"),
        ({"num_samples": "many"}, "num_samples"),
        ({"rate": 1}, "unknown key `rate`"),
    ):
        (tmp_path / "a.json").write_text(json.dumps({**good, **change}))
        with pytest.raises(CodecError, match=message):
            import_codes(tmp_path / "a.json", tmp_path / "b.tok")
    assert not (tmp_path / "b.tok").exists()


def test_folders_are_exported_and_imported(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "in" / "sub").mkdir(parents=True)
    source = save(here / "in" / "sub" / "a.tok")
    assert run(["export-codes", "in", "arrays", "--format", "npy"]) == 0
    assert run(["import-codes", "arrays", "again"]) == 0  # not the .npy.json
    assert (here / "again" / "sub" / "a.tok").read_bytes() == source.read_bytes()
    assert run(["export-codes", "in", "arrays", "--format", "npy"]) == 0
    assert "1 there already" in capsys.readouterr().out
    save(here / "in" / "sub" / "a.tok")
    assert run(["export-codes", "in", "arrays", "--format", "npy"]) == 1
    assert run(["export-codes", "in/sub/a.tok", "a.csv"]) == 1
    assert "cannot write `.csv` files; name it a.npy or a.npz or" in capsys.readouterr().err


def test_the_tools_need_no_torch(here: Path) -> None:
    save(here / "a.tok")
    program = """
import sys
from audiocodec_cli.main import run
for command in (
    "trim a.tok b.tok --start 0.1",
    "cat a.tok b.tok -o c.tok",
    "transcode c.tok d.tok -n 1",
    "export-codes a.tok a.npz",
    "import-codes a.npz e.tok",
):
    assert run(command.split()) == 0, command
sys.exit("torch" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
