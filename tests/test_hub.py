"""from_pretrained, save_pretrained and push_to_hub, without a network."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from audiocodec import Codec, CodecError, RuntimeCodec, load_codec, save_codec
from audiocodec.bundled import MODELS
from audiocodec.checkpoint import fingerprint, load_trainable

BUNDLED = MODELS / "speech_16khz"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Any:
    """huggingface_hub, which may not use the network."""
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return hub


@pytest.fixture
def audio() -> torch.Tensor:
    return torch.randn(2, 1, 4000) / 10


def test_a_bundled_name_and_a_folder_need_no_hub(
    audio: torch.Tensor, trainable: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    codec = RuntimeCodec.from_pretrained("speech_16khz", dtype=torch.float64)
    assert torch.equal(
        codec.encode(audio), load_codec("speech_16khz", dtype=torch.float64).encode(audio)
    )
    save_codec(trainable, tmp_path / "mine")
    for model in (tmp_path / "mine", str(tmp_path / "mine")):
        loaded = Codec.from_pretrained(model)
        assert not loaded.training and loaded.name == "mine"
        assert torch.equal(loaded.encode(audio), trainable.eval().encode(audio))


def test_a_saved_runtime_codec_is_the_same_model(audio: torch.Tensor, tmp_path: Path) -> None:
    codec = RuntimeCodec.from_pretrained("speech_16khz")
    codec.save_pretrained(tmp_path / "copy")
    copy = load_codec(tmp_path / "copy")
    assert (copy.name, copy.fingerprint) == ("speech_16khz", codec.fingerprint)
    assert torch.equal(copy.encode(audio), codec.encode(audio))
    assert copy.default_coding() == codec.default_coding() == "context"
    assert (tmp_path / "copy" / "golden.tok").is_file()
    copy.save_pretrained(tmp_path / "copy")  # onto itself
    assert load_codec(tmp_path / "copy").fingerprint == codec.fingerprint


def test_a_saved_codec_keeps_its_fingerprint_until_it_is_trained(tmp_path: Path) -> None:
    codec = load_trainable("speech_16khz")
    codec.save_pretrained(tmp_path / "same")
    assert fingerprint(tmp_path / "same") == codec.fingerprint
    assert load_codec(tmp_path / "same").name == "speech_16khz"
    with torch.no_grad():
        next(codec.decoder.parameters()).add_(0.001)
    codec.save_pretrained(tmp_path / "other")
    assert fingerprint(tmp_path / "other") != codec.fingerprint
    for name, value in load_trainable(tmp_path / "other").state_dict().items():
        assert torch.equal(value, codec.state_dict()[name])


def test_what_cannot_be_saved_is_one_line(trainable: Codec, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="in memory"):
        RuntimeCodec(trainable).save_pretrained(tmp_path / "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(CodecError, match="is a file"):
        trainable.save_pretrained(tmp_path / "file")
    save_codec(trainable, tmp_path / "model")
    codec = load_codec(tmp_path / "model")
    with torch.no_grad():
        next(trainable.decoder.parameters()).add_(1)
    save_codec(trainable, tmp_path / "model")
    with pytest.raises(CodecError, match="has changed"):
        codec.save_pretrained(tmp_path / "b")


def test_a_repository_is_opened_from_the_cache(
    offline: Any, audio: torch.Tensor, tmp_path: Path
) -> None:
    """The layout in which huggingface_hub keeps what it has downloaded."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--someone--speech" / "snapshots" / commit
    snapshot.parent.mkdir(parents=True)
    shutil.copytree(BUNDLED, snapshot)
    (tmp_path / "models--someone--speech" / "refs").mkdir()
    (tmp_path / "models--someone--speech" / "refs" / "main").write_text(commit)
    codec = RuntimeCodec.from_pretrained("someone/speech", cache_dir=tmp_path)
    assert codec.name == "speech"
    assert torch.equal(codec.encode(audio), load_codec("speech_16khz").encode(audio))
    assert Codec.from_pretrained("someone/speech", cache_dir=tmp_path).name == "speech"
    with pytest.raises(CodecError, match=r"someone/other: neither a bundled model.*Hub") as caught:
        RuntimeCodec.from_pretrained("someone/other", cache_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_what_is_no_repository_does_not_reach_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for model in ("speech_99khz", "/no/such/model", "a/b/c", "/absent", Path("no/such")):
        with pytest.raises(CodecError, match="neither a bundled model"):
            RuntimeCodec.from_pretrained(model)
    with pytest.raises(CodecError, match=r"pip install 'audiocodec\[hub\]'"):
        RuntimeCodec.from_pretrained("someone/speech")


class FakeHub:
    """The calls of ``HfApi`` that publishing needs; what was uploaded is kept."""

    uploads: dict[str, dict[str, bytes]]

    def __init__(self, token: str | None = None) -> None:
        self.token = token

    def create_repo(self, repo_id: str, **options: Any) -> Any:
        if "/" not in repo_id:
            raise OSError("401\nnot logged in")
        return type("Url", (), {"repo_id": repo_id})

    def create_branch(self, **options: Any) -> None:
        pass

    def upload_folder(self, repo_id: str, folder_path: Path, **options: Any) -> str:
        FakeHub.uploads[repo_id] = {p.name: p.read_bytes() for p in folder_path.iterdir()}
        return f"https://hub/{repo_id}/commit/1"


def test_what_is_published_opens_again(
    offline: Any,
    audio: torch.Tensor,
    trainable: Codec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(offline, "HfApi", FakeHub)
    FakeHub.uploads = {}
    codec = RuntimeCodec.from_pretrained("speech_16khz")
    assert codec.push_to_hub("me/speech", token="x") == "https://hub/me/speech/commit/1"
    trainable.name = "tiny"
    trainable.push_to_hub("me/tiny", branch="next", private=True)
    pytest.importorskip("transformers")
    from audiocodec.transformers_adapter import AudioCodecModel

    model = AudioCodecModel.from_pretrained("speech_16khz", device_map={"": "cpu"}).double()
    model.push_to_hub("me/adapter")
    model.save_pretrained(tmp_path / "saved", push_to_hub=True, repo_id="me/saved")
    assert model.dtype == torch.float64
    assert FakeHub.uploads["me/adapter"] == FakeHub.uploads["me/speech"]
    assert FakeHub.uploads["me/saved"] == FakeHub.uploads["me/speech"]
    for repository, files in FakeHub.uploads.items():
        for name, content in files.items():
            (tmp_path / repository).mkdir(parents=True, exist_ok=True)
            (tmp_path / repository / name).write_bytes(content)
        card = files["README.md"].decode()
        assert card.startswith("---\nlibrary_name: audiocodec\n")
        assert json.loads(files["config.json"])["model_type"] == "audiocodec"
    assert b'RuntimeCodec.from_pretrained("OWNER/tiny")' in FakeHub.uploads["me/tiny"]["README.md"]
    same = load_codec(tmp_path / "me" / "speech")
    assert torch.equal(same.encode(audio), codec.encode(audio))
    assert load_codec(tmp_path / "me" / "tiny").name == "tiny"
    with pytest.raises(CodecError, match="hf auth login") as caught:
        codec.push_to_hub("speech")
    assert "\n" not in str(caught.value)


def test_a_configuration_of_another_kind_of_model_is_named(
    trainable: Codec, tmp_path: Path
) -> None:
    save_codec(trainable, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == "audiocodec"
    for extra in ({"architectures": ["AudioCodecModel"], "transformers_version": "5"}, {}):
        (tmp_path / "config.json").write_text(json.dumps({**config, **extra}))
        load_codec(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "encodec"}))
    with pytest.raises(CodecError, match="of type encodec, not audiocodec"):
        load_codec(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(CodecError, match="JSON object"):
        load_codec(tmp_path)
