"""LibriSpeech by name: used as it is when on the disk, fetched and checked when asked for."""

from __future__ import annotations

import hashlib
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import CodecError
from audiocodec.training import corpora
from audiocodec.training.corpora import LIBRISPEECH_SUBSETS, import_torchaudio, librispeech

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
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of dev-clean, served by a file:// address with its SHA-256 known to torchaudio."""
    source = tmp_path / "server"
    lay_out(source)
    archive = source / "dev-clean.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source / "LibriSpeech", "LibriSpeech")
    import_torchaudio()
    module = sys.modules["torchaudio.datasets.librispeech"]
    fetch = module.download_url_to_file
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    url = "http://www.openslr.org/resources/12/dev-clean.tar.gz"
    monkeypatch.setitem(module._CHECKSUMS, url, digest)
    monkeypatch.setattr(
        module,
        "download_url_to_file",
        lambda url, path, **kw: fetch(archive.as_uri(), path, progress=False, **kw),
    )
    return archive


def test_a_downloaded_folder_is_used_as_it_is_without_torchaudio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lay_out(tmp_path)
    monkeypatch.setattr(corpora, "import_torchaudio", lambda: pytest.fail("torchaudio imported"))
    files = librispeech(tmp_path, ["dev-clean"], download=True)
    assert files == sorted(folder / f"{utterance}.flac" for utterance in UTTERANCES)


def test_the_folder_librispeech_itself_may_be_named_and_subsets_keep_their_order(
    tmp_path: Path,
) -> None:
    lay_out(tmp_path, "dev-clean")
    lay_out(tmp_path, "test-clean")
    files = librispeech(tmp_path / "LibriSpeech", ["test-clean", "dev-clean", "test-clean"])
    assert [f.parts[-4] for f in files] == ["test-clean"] * 3 + ["dev-clean"] * 3


def test_a_download_ends_whole_and_leaves_nothing_else(tmp_path: Path, server: Path) -> None:
    root = tmp_path / "data"
    files = librispeech(root, ["dev-clean"], download=True)
    assert len(files) == 3
    assert all(f.is_file() for f in files)
    assert [p.name for p in root.iterdir()] == ["LibriSpeech"]
    server.unlink()
    assert librispeech(root, ["dev-clean"], download=True) == files


def test_a_damaged_download_is_refused_by_its_checksum(tmp_path: Path, server: Path) -> None:
    server.write_bytes(server.read_bytes()[:-7])
    with pytest.raises(CodecError, match=r"dev-clean could not be downloaded.*invalid hash"):
        librispeech(tmp_path / "data", ["dev-clean"], download=True)
    assert list((tmp_path / "data").iterdir()) == []


def test_an_extraction_cut_short_is_done_again(
    tmp_path: Path, server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["torchaudio.datasets.librispeech"]
    extract = module._extract_tar

    def half(path: str) -> None:
        extract(path)
        victim = Path(path).parent / "LibriSpeech" / "dev-clean" / f"{UTTERANCES[2]}.flac"
        victim.unlink()
        raise OSError(28, "No space left on device")

    root = tmp_path / "data"
    with monkeypatch.context() as patch:
        patch.setattr(module, "_extract_tar", half)
        with pytest.raises(CodecError, match="No space left"):
            librispeech(root, ["dev-clean"], download=True)
    assert not (root / "LibriSpeech").exists()
    server.unlink()  # the archive that had arrived is enough
    assert len(librispeech(root, ["dev-clean"], download=True)) == 3


def test_no_network_is_one_line_that_names_the_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from urllib.error import URLError

    def unreachable(*args: object, **kwargs: object) -> None:
        raise URLError(OSError(-2, "Name or service not known"))

    import_torchaudio()
    module = sys.modules["torchaudio.datasets.librispeech"]
    monkeypatch.setattr(module, "download_url_to_file", unreachable)
    with pytest.raises(CodecError, match=r"Name or service not known.*openslr\.org/12") as caught:
        librispeech(tmp_path, ["test-other"], download=True)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_requests_that_cannot_be_met_say_what_can(
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


def test_torchaudio_works_without_its_compiled_extension() -> None:
    torchaudio = import_torchaudio()
    assert corpora.import_torchaudio() is torchaudio
    tone = torch.sin(2 * torch.pi * 440 / 48000 * torch.arange(48000)).unsqueeze(0)
    third = torchaudio.functional.resample(tone, 48000, 16000)
    expected = torch.sin(2 * torch.pi * 440 / 16000 * torch.arange(16000)).unsqueeze(0)
    assert third.shape == (1, 16000)
    assert (third - expected)[:, 200:-200].abs().max() < 1e-3
    banks = torchaudio.functional.melscale_fbanks(
        201, 0.0, 8000.0, n_mels=40, sample_rate=16000, norm="slaney", mel_scale="slaney"
    )
    assert banks.shape == (201, 40)
    assert torch.isfinite(banks).all()


def test_torchaudio_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(CodecError, match="pip install torchaudio"):
        import_torchaudio()
