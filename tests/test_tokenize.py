"""Corpora to shards of tokens: what is in them, that they are whole, and how a run goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from audiocodec import CodecError, TokenFile, load_audio, load_codec, save_audio
from audiocodec.corpus.opening import open_corpus
from audiocodec.runtime import RuntimeCodec
from audiocodec.tokenising.checking import check_shards
from audiocodec.tokenising.formats.registry import FORMATS
from audiocodec.tokenising.ledger import Ledger
from audiocodec.tokenising.ranks import Rank, find_rank
from audiocodec.tokenising.rewriting import TokenCorpus
from audiocodec.tokenising.run import rewrite, tokenize
from audiocodec.tokenising.settings import Settings
from audiocodec.tokenising.tokenised import Tokenised
from audiocodec_cli.main import run

SECONDS = [0.31, 1.2, 0.05, 0.9, 2.0, 0.7, 0.4]


@pytest.fixture(scope="module")
def corpus(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven utterances of two speakers, one with a dot in its name, as a manifest."""
    folder = tmp_path_factory.mktemp("corpus")
    audio, rate = load_audio(clip, 16000)
    lines = []
    for number, seconds in enumerate(SECONDS):
        name = f"{'ab'[number % 2]}/u.{number}.wav"
        (folder / name).parent.mkdir(exist_ok=True)
        save_audio(folder / name, audio[:1, 9000:][:, : round(seconds * rate)], rate)
        entry = {"path": name, "speaker": name[0], "text": f"Ünit\u2028{number}", "split": "train"}
        lines.append(json.dumps(entry))
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def exact(model: str) -> RuntimeCodec:
    return load_codec(model, dtype=torch.float64)


def made(corpus: Path, codec: RuntimeCodec, out: Path, **settings: object) -> Path:
    """``corpus`` tokenised into ``out`` in shards of three."""
    opened = open_corpus(corpus / "corpus.jsonl")
    values = {"shard_size": 3, **settings}
    rank, workers = values.pop("rank", Rank()), values.pop("workers", 1)
    tokenize(opened, Settings.of(codec, opened, **values), codec, out, rank, workers)  # type: ignore[arg-type]
    return out


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows_of(folder: Path) -> list[Tokenised]:
    tokens = TokenCorpus(folder)
    return [row for index in range(tokens.settings.num_shards) for row in tokens.rows(index)]


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_holds_the_codes_and_all_that_the_corpus_says(
    corpus: Path, exact: RuntimeCodec, tmp_path: Path, format: str
) -> None:
    folder = made(corpus, exact, tmp_path / "out", format=format, num_codebooks=2)
    rows = rows_of(folder)
    assert [row.id for row in rows] == [f"{'ab'[n % 2]}/u.{n}" for n in range(len(SECONDS))]
    for number, row in enumerate(rows):
        audio, _ = load_audio(corpus / f"{row.id}.wav")
        expected = exact.encode(audio.unsqueeze(1), 2)[0].numpy()
        np.testing.assert_array_equal(row.codes, expected)
        assert row.codes.dtype == np.uint16
        assert row.num_samples == audio.shape[1]
        assert (row.speaker, row.text, row.split) == (row.id[0], f"Ünit\u2028{number}", "train")
    assert not list(check_shards(folder))


@pytest.mark.parametrize("format", FORMATS)
def test_the_bytes_depend_on_neither_workers_nor_time(
    corpus: Path, exact: RuntimeCodec, tmp_path: Path, format: str
) -> None:
    one = made(corpus, exact, tmp_path / "one", format=format)
    three = made(corpus, exact, tmp_path / "three", format=format, workers=3)
    assert bytes_of(one) == bytes_of(three)


def test_exact_codes_are_those_of_encode_exact_and_of_any_batch(
    corpus: Path, exact: RuntimeCodec, model: str, tmp_path: Path
) -> None:
    command = ["tokenize", str(corpus / "corpus.jsonl"), str(tmp_path / "out"), "--exact"]
    assert run([*command, "--model", model, "--format", "npy", "-n", "2"]) == 0
    encode = ["encode", str(corpus), str(tmp_path / "tok"), "--exact", "--model", model, "-n", "2"]
    assert run(encode) == 0
    batched = made(
        corpus, exact, tmp_path / "batched", num_codebooks=2, batch_seconds=1.5, workers=2
    )
    for row in rows_of(batched):
        codes = np.load(tmp_path / "out" / f"{row.id}.npy")
        with TokenFile(tmp_path / "tok" / f"{row.id}.tok") as tokens:
            np.testing.assert_array_equal(codes, tokens.read()[0])
        np.testing.assert_array_equal(codes, row.codes)


def test_float32_codes_alone_are_those_of_encode(corpus: Path, model: str, tmp_path: Path) -> None:
    source = corpus / "a" / "u.4.wav"
    assert run(["encode", str(source), str(tmp_path / "a.tok"), "--model", model]) == 0
    folder = made(corpus, load_codec(model), tmp_path / "out")
    with TokenFile(tmp_path / "a.tok") as tokens:
        np.testing.assert_array_equal(rows_of(folder)[4].codes, tokens.read()[0])


def test_parquet_opens_in_datasets_and_pyarrow(
    corpus: Path, exact: RuntimeCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    folder = made(corpus, exact, tmp_path / "out")
    rows = rows_of(folder)
    for source in (["parquet", f"{folder}/*.parquet"], [str(folder), None]):
        opened = datasets.load_dataset(
            source[0], data_files=source[1], split="train", cache_dir=str(tmp_path / "hf")
        )
        for row, found in zip(rows, opened.with_format("numpy"), strict=True):
            np.testing.assert_array_equal(found["codes"], row.codes)
            assert found["sample_rate"] == 16000
            assert found["fingerprint"] == exact.fingerprint
    metadata = parquet.read_schema(folder / "shard-00000.parquet").metadata
    assert json.loads(metadata[b"audiocodec"])["model"] == exact.name
    table = parquet.read_table(folder / "shard-00000.parquet")
    assert table["codes"].type.value_type.value_type == "uint16"


def test_tars_open_in_webdataset(corpus: Path, exact: RuntimeCodec, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    folder = made(corpus, exact, tmp_path / "out", format="webdataset")
    shards = str(folder / "shard-{00000..00002}.tar")
    found = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
    for row, sample in zip(rows_of(folder), found, strict=True):
        assert sample["__key__"] == row.id.replace(".", "%2E")
        assert sample["json"]["id"] == row.id
        np.testing.assert_array_equal(sample["npy"], row.codes)
    with tarfile.open(folder / "shard-00000.tar") as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname) for m in tar} == {(0, 0, 0, "")}


@pytest.mark.parametrize("format", FORMATS)
def test_unfinished_shards_are_made_and_finished_ones_are_kept(
    corpus: Path, exact: RuntimeCodec, tmp_path: Path, format: str
) -> None:
    whole = bytes_of(made(corpus, exact, tmp_path / "whole", format=format))
    folder = made(corpus, exact, tmp_path / "out", format=format)
    kept = Ledger(folder).record(0)
    assert kept
    first = folder / kept.files[0].name
    before = first.stat().st_mtime_ns
    (folder / "ledger" / "shard-00001.json").unlink()
    lost = Ledger(folder).record(2)
    assert lost
    (folder / lost.files[-1].name).unlink()
    made(corpus, exact, folder, format=format)
    assert bytes_of(folder) == whole
    assert first.stat().st_mtime_ns == before


def test_ranks_together_make_what_one_run_makes(
    corpus: Path, exact: RuntimeCodec, tmp_path: Path
) -> None:
    whole = bytes_of(made(corpus, exact, tmp_path / "whole"))
    for index in (1, 0):
        made(corpus, exact, tmp_path / "out", rank=Rank(index, 2))
    assert bytes_of(tmp_path / "out") == whole
    parts = [list(Rank(index, 4).shards(10)) for index in range(4)]
    assert [shard for part in parts for shard in part] == list(range(10))


def test_the_rank_is_the_options_or_the_launchers() -> None:
    torchrun = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    slurm = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}
    assert find_rank(None, {}) == Rank()
    assert find_rank(None, torchrun) == Rank(3, 8, "RANK", 1, 2)
    assert find_rank(None, slurm) == Rank(0, 2, "SLURM_PROCID")
    assert find_rank("1/3", slurm) == Rank(1, 3, "--shard")
    for wrong in ("2/2", "1", "a/b", "0/0"):
        with pytest.raises(CodecError, match="is no part of a whole; the parts of four are 0/4"):
            find_rank(wrong, {})


def test_unreadable_utterances_are_named_and_the_others_are_done(
    corpus: Path,
    exact: RuntimeCodec,
    model: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "speech"
    folder.mkdir()
    (folder / "good.wav").write_bytes((corpus / "a" / "u.0.wav").read_bytes())
    (folder / "empty.wav").write_bytes(b"")
    (folder / "noise.flac").write_bytes(bytes(range(256)) * 8)
    (folder / "zgone.wav").symlink_to(folder / "nowhere.wav")
    command = ["tokenize", str(folder), str(tmp_path / "out"), "--model", model]
    assert run(command) == 1
    assert "3 utterances could not be tokenised; " in capsys.readouterr().err
    errors = (tmp_path / "out" / "errors.jsonl").read_text()
    lines = [json.loads(line) for line in errors.splitlines()]
    assert [line["id"] for line in lines] == ["empty", "noise", "zgone"]
    assert all(line["place"] in line["reason"] for line in lines)
    assert [row.id for row in rows_of(tmp_path / "out")] == ["good"]
    assert run(command) == 1  # nothing is done again, and the errors are still said
    assert (tmp_path / "out" / "errors.jsonl").read_text() == errors
    (folder / "empty.wav").write_bytes((folder / "good.wav").read_bytes())
    assert run([*command, "--retry"]) == 1
    assert [row.id for row in rows_of(tmp_path / "out")] == ["empty", "good"]


def test_other_settings_and_another_corpus_are_refused_in_one_line(
    corpus: Path, exact: RuntimeCodec, tmp_path: Path
) -> None:
    folder = made(corpus, exact, tmp_path / "out")
    with pytest.raises(CodecError, match="was begun with 4 codebooks and not 2; repeat"):
        made(corpus, exact, folder, num_codebooks=2)
    with pytest.raises(CodecError, match="was begun with format parquet and not npy; repeat"):
        made(corpus, exact, folder, format="npy")
    other = open_corpus(corpus)
    with pytest.raises(CodecError, match="begun with another corpus, or the same before it"):
        tokenize(other, Settings.of(exact, other, shard_size=3), exact, folder)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(CodecError, match=r"holds mine\.txt, which is not of a tokenised corpus"):
        made(corpus, exact, tmp_path / "full")


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks")
def test_a_second_run_on_the_same_folder_is_refused(
    corpus: Path, model: str, exact: RuntimeCodec, tmp_path: Path
) -> None:
    folder = made(corpus, exact, tmp_path / "out", rank=Rank(0, 3))
    args = ["tokenize", str(corpus / "corpus.jsonl"), str(folder), "--model", model, "--exact"]
    program = f"from audiocodec_cli.main import run; raise SystemExit(run({args!r} + [*{{}}]))"

    def second(*more: str) -> subprocess.CompletedProcess[str]:
        script = program.replace("{}", repr(["--shard-size", "3", *more]))
        return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    with Ledger(folder).locked(0, 1):
        refused = second()
        assert refused.returncode == 1
        assert refused.stderr == (
            f"error: {folder}: another run is at work on it; wait for its end, or give each run "
            "its part with --shard i/n\n"
        )
        assert second("--shard", "1/3").returncode == 0
    assert second().returncode == 0


def test_a_full_disk_is_one_line_and_leaves_no_part(
    corpus: Path, model: str, exact: RuntimeCodec, tmp_path: Path
) -> None:
    """A limit of the size of files stands in for the disk."""
    resource = pytest.importorskip("resource")
    made(corpus, exact, tmp_path / "whole")
    limit = (tmp_path / "whole" / "shard-00000.parquet").stat().st_size - 100
    args = ["tokenize", str(corpus / "corpus.jsonl"), str(tmp_path / "out"), "--model", model]
    program = f"""
import resource, signal
from audiocodec_cli.main import run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {resource.RLIM_INFINITY}))
raise SystemExit(run({[*args, "--exact", "--shard-size", "3"]!r}))
"""
    full = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    shard = tmp_path / "out" / "shard-00000.parquet"
    assert full.stderr == f"error: {shard}: cannot be written (File too large)\n"
    assert full.returncode == 1
    assert not list((tmp_path / "out").glob("*.part")) + list((tmp_path / "out").glob(".codec*"))
    made(corpus, exact, tmp_path / "out")
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")


@pytest.mark.parametrize("format", FORMATS)
def test_fewer_codebooks_without_audio_are_what_audio_would_give(
    corpus: Path, exact: RuntimeCodec, tmp_path: Path, format: str
) -> None:
    made(corpus, exact, tmp_path / "full", format=format)
    tokens = TokenCorpus(tmp_path / "full")
    rewrite(tokens, tokens.settings.cut(2, "webdataset"), tmp_path / "cut")
    made(corpus, exact, tmp_path / "audio", num_codebooks=2, format="webdataset")
    assert bytes_of(tmp_path / "cut") == bytes_of(tmp_path / "audio")


def test_a_cut_that_a_beam_chose_for_more_codebooks_says_so(
    corpus: Path, exact: RuntimeCodec, tmp_path: Path
) -> None:
    tokens = TokenCorpus(made(corpus, exact, tmp_path / "full", beam=2))
    assert tokens.settings.cut(2, "npy").cut_from == 4
    assert tokens.settings.cut(4, "npy").cut_from == 0
    with pytest.raises(CodecError, match="holds 4 codebooks; 5 asked for"):
        tokens.settings.cut(5, "npy")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("format", FORMATS)
def test_verify_names_what_is_altered_missing_unfinished_or_unknown(
    corpus: Path,
    exact: RuntimeCodec,
    tmp_path: Path,
    format: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = made(corpus, exact, tmp_path / "out", format=format)
    assert run(["verify", str(folder)]) == 0
    assert "3 shards, 7 utterances: all as the ledger says" in capsys.readouterr().out
    records = list(Ledger(folder).records(Ledger(folder).settings()))
    altered, missing = folder / records[0].files[0].name, folder / records[1].files[0].name
    flip(altered)
    missing.unlink()
    (folder / "ledger" / "shard-00002.json").unlink()
    assert run(["verify", str(folder)]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert (
        f"error: {altered}: was altered, its checksum is another one; remove it, and run the"
        in (errors[0])
    )
    assert f"error: {missing}: is missing" in errors[1]
    assert f"error: {folder}: shard-00002 is not finished" in errors[2]
    assert all("is not in the ledger" in line for line in errors[3:])
    altered.unlink()
    made(corpus, exact, folder, format=format)
    assert run(["verify", str(folder)]) == 0


def test_info_sums_up_a_tokenised_corpus(
    corpus: Path, exact: RuntimeCodec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made(corpus, exact, tmp_path / "out", format="tok")
    assert run(["info", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["utterances"] == len(SECONDS)
    assert facts["shards"] == 3
    assert facts["hours"] == pytest.approx(sum(SECONDS) / 3600, rel=1e-3)
    codes = np.concatenate([row.codes[1] for row in rows_of(folder)])
    usage = len(np.unique(codes)) / exact.codebook_sizes[1]
    assert facts["codebooks"][1]["usage"] == pytest.approx(usage)
    assert run(["info", str(folder)]) == 0
    assert "7 utterances" in capsys.readouterr().out


def test_detokenize_gives_what_decode_gives(
    corpus: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made(corpus, load_codec(model), tmp_path / "out", format="tok")
    out = tmp_path / "wavs"
    assert run(["detokenize", str(folder), str(out), "--model", model, "--jobs", "2"]) == 0
    for row in rows_of(folder):
        source, target = folder / f"{row.id}.tok", tmp_path / "one.wav"
        assert run(["decode", str(source), str(target), "--model", model, "--overwrite"]) == 0
        assert (out / f"{row.id}.wav").read_bytes() == target.read_bytes()
    capsys.readouterr()
    assert run(["detokenize", str(folder), str(out), "--model", model]) == 0
    assert "0 files made, 7 were there already" in capsys.readouterr().out


def test_an_id_of_others_shards_leads_nowhere_else() -> None:
    for id in ("../x", "/etc/x", "a/../../x", ""):
        with pytest.raises(CodecError, match="the id of an utterance"):
            Tokenised(id, np.zeros((1, 0), np.uint16), 0).file_name(".wav")
    assert Tokenised("a/b.c", np.zeros((1, 0), np.uint16), 0).file_name(".wav") == "a/b.c.wav"


KILLED_RUNS = """
import json, os, signal, sys

# Imported once, with all that a run imports: each run is a fork of this process.
import audiocodec.checkpoint, audiocodec.corpus.opening, audiocodec.tokenising.rewriting
import audiocodec.tokenising.run, audiocodec.corpus.sources.manifest, audiocodec.audio.media
import audiocodec.tokenising.output as output
import pyarrow.parquet, soundfile, soxr
from audiocodec_cli.main import run

write = output.HashingFile.write


def killed_at(limit):
    written = 0

    def killed(self, data):
        nonlocal written
        written += 1
        if written > limit:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(self, data)

    return killed


for args, limit in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        sys.stdout = sys.stderr
        output.HashingFile.write = killed_at(limit)
        os._exit(run(args))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_killed_at_any_moment_and_started_again_the_bytes_are_the_same(
    corpus: Path, model: str, exact: RuntimeCodec, tmp_path: Path
) -> None:
    """The process is killed while its first and its third shard is written."""
    moments = (1, 9, 10**9)
    runs = []
    for format in ("parquet", "npy"):
        args = ["tokenize", str(corpus / "corpus.jsonl"), str(tmp_path / format), "--exact"]
        args += ["--model", model, "--shard-size", "3", "--format", format]
        runs += [(args, moment) for moment in moments]
    ended = subprocess.run(
        [sys.executable, "-c", KILLED_RUNS, json.dumps(runs)], capture_output=True, text=True
    )
    assert ended.stdout.split() == 2 * ["-9", "-9", "0"], ended.stderr
    for format in ("parquet", "npy"):
        whole = bytes_of(made(corpus, exact, tmp_path / f"{format}-whole", format=format))
        assert bytes_of(tmp_path / format) == whole


def test_a_shard_needs_nothing_of_the_process(
    corpus: Path, exact: RuntimeCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ray calls it: the corpus is pickled, and other processes make shards in any order."""
    import pickle

    from audiocodec.tokenising.shard import make_shard

    opened = open_corpus(corpus / "corpus.jsonl")
    settings = Settings.of(exact, opened, shard_size=3)
    whole = bytes_of(made(corpus, exact, tmp_path / "whole"))
    Ledger(tmp_path / "out").begin(settings)
    elsewhere = pickle.loads(pickle.dumps(opened))
    monkeypatch.setenv("RANK", "5")
    for index in (2, 0, 1):
        record = make_shard(elsewhere, index, settings, exact, tmp_path / "out")
        assert Ledger(tmp_path / "out").record(index) == record
    shards = bytes_of(tmp_path / "out")
    assert shards == {name: data for name, data in whole.items() if name in shards}
    assert len(shards) == 7  # three shards, their records and the settings
