"""Public corpora by name: used from the disk, or downloaded and checked."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import CodecError
from audiocodec.extras import import_torchaudio
from audiocodec.training.data.corpora import download, ondisk
from audiocodec.training.data.corpora.ondisk import corpora_files, count_speakers, missing_corpora
from audiocodec.training.data.corpora.table import CORPORA
from audiocodec.training.data.files import DataConfig, split_files

DEV = "librispeech/dev-clean"

LAYOUTS = {
    DEV: (
        "LibriSpeech/dev-clean/84/121123/84-121123-0000.flac",
        "LibriSpeech/dev-clean/84/121123/84-121123-0001.flac",
        "LibriSpeech/dev-clean/174/50561/174-50561-0000.flac",
    ),
    "libritts/dev-clean": (
        "LibriTTS/dev-clean/84/121123/84_121123_000007_000001.wav",
        "LibriTTS/dev-clean/251/136532/251_136532_000001_000000.wav",
    ),
    "vctk": (
        "VCTK-Corpus-0.92/wav48_silence_trimmed/p225/p225_001_mic1.flac",
        "VCTK-Corpus-0.92/wav48_silence_trimmed/p225/p225_001_mic2.flac",
        "VCTK-Corpus-0.92/wav48_silence_trimmed/s5/s5_001_mic1.flac",
        "VCTK-Corpus-0.92/wav48_silence_trimmed/s5/s5_001_mic2.flac",
    ),
    "ljspeech": ("LJSpeech-1.1/wavs/LJ001-0001.wav", "LJSpeech-1.1/wavs/LJ002-0001.wav"),
}
"""Corpora as the real ones are laid out."""

USED = {DEV: 3, "libritts/dev-clean": 2, "vctk": 2, "ljspeech": 2}
SPEAKERS = {DEV: 2, "libritts/dev-clean": 2, "vctk": 2, "ljspeech": 1}


def lay_out(root: Path, name: str = DEV) -> Path:
    """A corpus of a few utterances below `root`; returns the folder of its audio."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(160)
    for file in LAYOUTS[name]:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / file, noise, 16000)
    return root / CORPORA[name].folder / CORPORA[name].audio


def pack(source: Path, name: str) -> Path:
    """The archive of a corpus as the real one is packed."""
    lay_out(source, name)
    corpus = CORPORA[name]
    archive = source / corpus.archive
    if archive.suffix == ".zip":
        shutil.make_archive(str(archive.with_suffix("")), "zip", source / corpus.folder)
    else:
        with tarfile.open(archive, f"w:{archive.suffix[1:]}") as tar:
            tar.add(source / corpus.folder, corpus.folder)
    return archive


@pytest.fixture(autouse=True)
def a_large_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The archives of the tests are small, but the sizes of the table are the real ones."""
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=1e12))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Path]]:
    """The archives on a local HTTP server, their SHA-256 known; torchaudio is hidden."""
    folder, archives = tmp_path / "server", {}
    monkeypatch.setattr(download.importlib.util, "find_spec", lambda name: None)
    handler = partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        Thread(target=http.serve_forever, args=[0.01], daemon=True).start()
        for number, name in enumerate(LAYOUTS):
            archives[name] = archive = pack(folder / str(number), name)
            sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
            url = f"http://127.0.0.1:{http.server_port}/{number}/{archive.name}"
            here = replace(CORPORA[name], url=url, checksum=sha256)
            monkeypatch.setitem(CORPORA, name, here)
        yield archives
        http.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_corpus_on_the_disk_is_used_in_whichever_folder_of_it_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lay_out(tmp_path, name)
    for other in LAYOUTS:
        if other != name:
            lay_out(tmp_path, other)
    monkeypatch.setattr(ondisk, "download_corpus", lambda *_: pytest.fail("a download"))
    files = corpora_files(tmp_path, [name], download=True)
    assert len(files) == USED[name]
    assert {file.name for file in files} <= {Path(file).name for file in LAYOUTS[name]}
    top = tmp_path / Path(CORPORA[name].folder).parts[0]
    for root in (top, folder):
        assert corpora_files(root, [name]) == files
    assert count_speakers(files, list(LAYOUTS)) == SPEAKERS[name]
    renamed = top.rename(tmp_path / "speech")
    assert len(corpora_files(renamed, [name])) == len(files)
    assert missing_corpora(tmp_path, [name, *LAYOUTS]) == [name]


def test_corpora_keep_the_order_in_which_they_are_named(tmp_path: Path) -> None:
    for name in LAYOUTS:
        lay_out(tmp_path, name)
    files = corpora_files(tmp_path, ["vctk", "ljspeech", "vctk", DEV])
    assert [file.relative_to(tmp_path).parts[0] for file in files] == [
        *["VCTK-Corpus-0.92"] * 2, *["LJSpeech-1.1"] * 2, *["LibriSpeech"] * 3
    ]  # fmt: skip


def test_a_corpus_is_not_taken_for_another_with_subsets_of_the_same_names(tmp_path: Path) -> None:
    lay_out(tmp_path)
    assert missing_corpora(tmp_path / "LibriSpeech", [DEV, "libritts/dev-clean"]) == [
        "libritts/dev-clean"
    ]


def test_downloads_are_whole_and_leave_nothing_else(
    tmp_path: Path, server: dict[str, Path]
) -> None:
    root = tmp_path / "data"
    data = DataConfig(root=str(root), corpora=tuple(LAYOUTS), download=True)
    split = split_files(data)
    expected = {file for files in LAYOUTS.values() for file in files if "mic2" not in file}
    made = {file.relative_to(root).as_posix() for file in (*split.training, *split.held_out)}
    assert made == expected
    tops = {Path(file).parts[0] for file in expected}
    assert {path.name for path in root.iterdir()} == tops
    for archive in server.values():
        archive.unlink()
    assert split_files(data) == split


def test_a_damaged_download_is_refused_by_its_checksum(
    tmp_path: Path, server: dict[str, Path]
) -> None:
    for name, archive in server.items():
        archive.write_bytes(archive.read_bytes()[:-7])
        with pytest.raises(CodecError, match=r"could not be downloaded.*SHA256 hash") as caught:
            corpora_files(tmp_path / "data", [name], download=True)
        assert CORPORA[name].title in str(caught.value)
        assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize("name", [DEV, "vctk"])
def test_an_interrupted_extraction_is_repeated(
    name: str, tmp_path: Path, server: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack = shutil.unpack_archive

    def half(archive: str, folder: Path, **options: Any) -> None:
        unpack(archive, folder, **options)
        next(folder.rglob("*.flac")).unlink()
        raise OSError(28, "No space left on device")

    root = tmp_path / "data"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "unpack_archive", half)
        with pytest.raises(CodecError, match="No space left"):
            corpora_files(root, [name], download=True)
    assert not (root / CORPORA[name].folder).exists()
    server[name].unlink()  # the archive that had arrived is enough
    assert len(corpora_files(root, [name], download=True)) == USED[name]


def test_no_network_is_one_line_that_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download.importlib.util, "find_spec", lambda name: None)
    nobody = replace(CORPORA[DEV], url="http://127.0.0.1:9/dev-clean.tar.gz")
    monkeypatch.setitem(CORPORA, DEV, nobody)
    with pytest.raises(CodecError, match=r"could not be downloaded.*openslr\.org/12") as caught:
        corpora_files(tmp_path, [DEV], download=True)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_impossible_requests_name_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CodecError, match=r"named 'libri'; there are librispeech/train-clean-100, "):
        DataConfig.from_mapping({"corpora": ["libri"]})
    with pytest.raises(CodecError, match="leave it or `corpora` out"):
        DataConfig.from_mapping({"corpora": ["vctk"], "watch": "5m"})
    with pytest.raises(CodecError, match=r"LJSpeech-1.1/wavs: not there; set data\.download=true"):
        corpora_files(tmp_path, ["ljspeech"])
    monkeypatch.setitem(CORPORA, DEV, replace(CORPORA[DEV], gigabytes=1e9))
    with pytest.raises(CodecError, match="GB are free; choose another folder"):
        corpora_files(tmp_path, [DEV], download=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "LJSpeech-1.1").mkdir()
    with pytest.raises(CodecError, match=r"LJSpeech-1.1: is there, but has no wavs/"):
        corpora_files(tmp_path, ["ljspeech"], download=True)
    for file in lay_out(tmp_path, "vctk").rglob("*_mic1.flac"):
        file.unlink()
    with pytest.raises(CodecError, match=r"no audio but \*_mic2\.\*, which is not trained on"):
        corpora_files(tmp_path, ["vctk"])


def test_recipes_of_earlier_runs_are_read() -> None:
    """Their key was `librispeech`, and `recipe.yaml` has it even where it was not set."""
    assert DataConfig.from_mapping({"librispeech": ["dev-clean"]}).corpora == (DEV,)
    assert DataConfig.from_mapping({"librispeech": [], "corpora": ["vctk"]}).corpora == ("vctk",)
    with pytest.raises(CodecError, match="both are given; add librispeech/dev-clean to `corpora`"):
        DataConfig.from_mapping({"librispeech": ["dev-clean"], "corpora": ["vctk"]})
    with pytest.raises(CodecError, match="is now `corpora`"):
        DataConfig.from_mapping({"librispeech": "dev-clean"})


def test_the_documentation_lists_every_corpus_with_its_size() -> None:
    page = (Path(__file__).parents[1] / "docs" / "corpora.md").read_text(encoding="utf-8")
    for name, corpus in CORPORA.items():
        sizes = f"{corpus.hours:.1f} | {corpus.gigabytes:.1f} | {corpus.unpacked:.1f}"
        assert f"| `{name}` | {sizes} | `{corpus.folder}` | {corpus.licence} |" in page
        assert corpus.page in page


TORCHAUDIO = {
    "__init__.py": "from . import _extension, datasets",
    "_extension.py": "raise OSError('libc10_cuda.so: cannot open shared object file')",
    "datasets.py": """
from pathlib import Path

class LIBRISPEECH:
    folder = "LibriSpeech"
    def __init__(self, root, download, url="wavs"):
        from torchaudio._extension import _IS_TORCHAUDIO_EXT_AVAILABLE
        assert download and not _IS_TORCHAUDIO_EXT_AVAILABLE
        Path(root, self.folder, url).mkdir(parents=True)
        Path(root, self.folder, url, "a.wav").write_bytes(b"audio")

class LJSPEECH(LIBRISPEECH):
    folder = "LJSpeech-1.1"
""",
}


@pytest.fixture
def torchaudio_that_cannot_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that fails as torchaudio's wheel does beside a torch of another build."""
    folder = tmp_path / "site" / "torchaudio"
    folder.mkdir(parents=True)
    for name, text in TORCHAUDIO.items():
        (folder / name).write_text(text)
    forget_torchaudio()
    monkeypatch.syspath_prepend(folder.parent)
    yield
    forget_torchaudio()


def forget_torchaudio() -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "torchaudio"]:
        del sys.modules[name]


@pytest.mark.usefixtures("torchaudio_that_cannot_load")
def test_torchaudio_downloads_where_it_is_installed_without_its_extension(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_fetch_with_pooch", lambda *_: pytest.fail("pooch was used"))
    assert corpora_files(tmp_path / "data", [DEV, "ljspeech"], download=True) == [
        tmp_path / "data" / "LibriSpeech" / "dev-clean" / "a.wav",
        tmp_path / "data" / "LJSpeech-1.1" / "wavs" / "a.wav",
    ]
    unknown = replace(CORPORA["vctk"], torchaudio="", url="http://127.0.0.1:9/vctk.zip")
    monkeypatch.setitem(CORPORA, "vctk", unknown)
    with pytest.raises(pytest.fail.Exception, match="pooch was used"):
        corpora_files(tmp_path / "data", ["vctk"], download=True)
    assert import_torchaudio() is import_torchaudio()


def test_the_real_torchaudio_works_without_its_extension() -> None:
    if importlib.util.find_spec("torchaudio") is None:
        pytest.skip("torchaudio is not installed (extra `corpora`)")
    torchaudio = import_torchaudio()
    tone = torch.sin(2 * torch.pi * 440 / 48000 * torch.arange(48000)).unsqueeze(0)
    third = torchaudio.functional.resample(tone, 48000, 16000)
    expected = torch.sin(2 * torch.pi * 440 / 16000 * torch.arange(16000)).unsqueeze(0)
    assert third.shape == (1, 16000)
    assert (third - expected)[:, 200:-200].abs().max() < 1e-3
    datasets = torchaudio.datasets
    known: dict[str, str] = {**datasets.librispeech._CHECKSUMS, **datasets.libritts._CHECKSUMS}
    known = {f"https://{url.partition('//www.')[2]}": digest for url, digest in known.items()}
    known |= datasets.vctk._CHECKSUMS
    release = datasets.ljspeech._RELEASE_CONFIGS["release1"]
    known[release["url"]] = release["checksum"]
    for corpus in CORPORA.values():
        assert known[corpus.url.replace("//www.", "//")] == corpus.checksum
        assert hasattr(datasets, corpus.torchaudio)


def test_torchaudio_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_torchaudio()
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(CodecError, match=r"pip install 'audiocodec\[corpora\]'"):
        import_torchaudio()
