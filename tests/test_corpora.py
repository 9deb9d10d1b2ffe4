"""LibriSpeech by name: used from the disk, or downloaded and checked."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import tarfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import CodecError
from audiocodec.training.data import corpora
from audiocodec.training.data.corpora import LIBRISPEECH_SUBSETS, import_torchaudio, librispeech

UTTERANCES = ("84/121123/84-121123-0000", "84/121123/84-121123-0001", "174/50561/174-50561-0000")


def lay_out(root: Path, subset: str = "dev-clean") -> Path:
    """A LibriSpeech of three utterances below `root`, as the real one is laid out."""
    folder = root / "LibriSpeech" / subset
    noise = 0.1 * np.random.default_rng(0).standard_normal(1600)
    for utterance in UTTERANCES:
        path = folder / f"{utterance}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, noise, 16000)
        speaker, chapter, _ = path.stem.split("-")
        with (path.parent / f"{speaker}-{chapter}.trans.txt").open("a") as transcript:
            transcript.write(f"{path.stem} NOISE\n")
    return folder


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An archive of dev-clean on a local HTTP server, its SHA-256 known; torchaudio is hidden."""
    source = tmp_path / "server"
    lay_out(source)
    archive = source / "dev-clean.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source / "LibriSpeech", "LibriSpeech")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setitem(corpora.LIBRISPEECH_SHA256, "dev-clean", digest)
    monkeypatch.setattr(corpora.importlib.util, "find_spec", lambda name: None)
    handler = partial(QuietHandler, directory=str(source))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        Thread(target=http.serve_forever, daemon=True).start()
        monkeypatch.setattr(corpora, "OPENSLR", f"http://127.0.0.1:{http.server_port}/")
        yield archive
        http.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


def test_a_downloaded_folder_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = lay_out(tmp_path)
    monkeypatch.setattr(corpora, "_download_librispeech", lambda *_: pytest.fail("a download"))
    files = librispeech(tmp_path, ["dev-clean"], download=True)
    assert files == sorted(folder / f"{utterance}.flac" for utterance in UTTERANCES)


def test_the_folder_librispeech_itself_may_be_named_and_subsets_keep_their_order(
    tmp_path: Path,
) -> None:
    lay_out(tmp_path, "dev-clean")
    lay_out(tmp_path, "test-clean")
    files = librispeech(tmp_path / "LibriSpeech", ["test-clean", "dev-clean", "test-clean"])
    assert [f.parts[-4] for f in files] == ["test-clean"] * 3 + ["dev-clean"] * 3


def test_a_download_is_whole_and_leaves_nothing_else(tmp_path: Path, server: Path) -> None:
    root = tmp_path / "data"
    files = librispeech(root, ["dev-clean"], download=True)
    assert len(files) == 3
    assert all(f.is_file() for f in files)
    assert [p.name for p in root.iterdir()] == ["LibriSpeech"]
    server.unlink()
    assert librispeech(root, ["dev-clean"], download=True) == files


def test_a_damaged_download_is_refused_by_its_checksum(tmp_path: Path, server: Path) -> None:
    server.write_bytes(server.read_bytes()[:-7])
    with pytest.raises(CodecError, match=r"dev-clean could not be downloaded.*SHA256 hash"):
        librispeech(tmp_path / "data", ["dev-clean"], download=True)
    assert list((tmp_path / "data").iterdir()) == []


def test_an_interrupted_extraction_is_repeated(
    tmp_path: Path, server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract = tarfile.TarFile.extractall

    def half(tar: tarfile.TarFile, path: Path, **options: Any) -> None:
        extract(tar, path, **options)
        (path / "LibriSpeech" / "dev-clean" / f"{UTTERANCES[2]}.flac").unlink()
        raise OSError(28, "No space left on device")

    root = tmp_path / "data"
    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "extractall", half)
        with pytest.raises(CodecError, match="No space left"):
            librispeech(root, ["dev-clean"], download=True)
    assert not (root / "LibriSpeech").exists()
    server.unlink()  # the archive that had arrived is enough
    assert len(librispeech(root, ["dev-clean"], download=True)) == 3


def test_no_network_is_one_line_that_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(corpora, "OPENSLR", "http://127.0.0.1:9/")  # nobody listens there
    with pytest.raises(CodecError, match=r"could not be downloaded.*openslr\.org/12") as caught:
        librispeech(tmp_path, ["test-other"], download=True)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_impossible_requests_list_the_possible_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CodecError, match=r"no subset 'train-clean'; it has train-clean-100, "):
        librispeech(tmp_path, ["train-clean"])
    with pytest.raises(CodecError, match="name some of train-clean-100"):
        librispeech(tmp_path, [])
    with pytest.raises(CodecError, match=r"dev-other: not there; set data\.download=true"):
        librispeech(tmp_path, ["dev-other"], download=False)
    monkeypatch.setitem(LIBRISPEECH_SUBSETS, "dev-other", 1e9)
    with pytest.raises(CodecError, match="GB are free; choose another folder"):
        librispeech(tmp_path, ["dev-other"], download=True)
    assert list(tmp_path.iterdir()) == []


TORCHAUDIO = {
    "__init__.py": "from . import _extension, datasets",
    "_extension.py": "raise OSError('libc10_cuda.so: cannot open shared object file')",
    "datasets.py": """
from pathlib import Path

class LIBRISPEECH:
    def __init__(self, root, url, download):
        from torchaudio._extension import _IS_TORCHAUDIO_EXT_AVAILABLE
        assert download and not _IS_TORCHAUDIO_EXT_AVAILABLE
        Path(root, "LibriSpeech", url).mkdir(parents=True)
        Path(root, "LibriSpeech", url, "a.wav").write_bytes(b"audio")
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
    monkeypatch.setattr(corpora, "_fetch_with_pooch", lambda *_: pytest.fail("pooch was used"))
    assert librispeech(tmp_path / "data", ["dev-clean"], download=True) == [
        tmp_path / "data" / "LibriSpeech" / "dev-clean" / "a.wav"
    ]
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
    known = torchaudio.datasets.librispeech._CHECKSUMS
    for subset, digest in corpora.LIBRISPEECH_SHA256.items():
        assert known[f"http://www.openslr.org/resources/12/{subset}.tar.gz"] == digest


def test_torchaudio_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_torchaudio()
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(CodecError, match=r"pip install 'audiocodec\[corpora\]'"):
        import_torchaudio()
