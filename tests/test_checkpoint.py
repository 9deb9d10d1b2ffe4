"""Models on disk: what was saved comes back, damage and strangers are named."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import tensors
from safetensors.torch import load_file, save_file

from audiocodec import Codec, CodecConfig, CodecError, load_codec, save_codec
from audiocodec.checkpoint import fingerprint, load_trainable
from audiocodec.runtime import RuntimeCodec


def test_saved_and_loaded_is_the_same_codec(
    trainable: Codec, codec: RuntimeCodec, tmp_path: Path
) -> None:
    save_codec(trainable, tmp_path / "mine")
    loaded = load_codec(tmp_path / "mine")
    audio = 0.1 * torch.randn(1, 1, 4000)
    assert torch.equal(loaded.encode(audio), codec.encode(audio))
    assert torch.equal(loaded.decode(loaded.encode(audio)), codec.decode(codec.encode(audio)))
    assert loaded.name == "mine"
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {
        "config.json",
        "fingerprint.txt",
        "model.safetensors",
    }


def test_loaded_in_float64_for_exact_work(trainable: Codec, tmp_path: Path) -> None:
    save_codec(trainable, tmp_path)
    loaded = load_codec(tmp_path, dtype=torch.float64)
    assert loaded.decode(loaded.encode(torch.randn(1, 1, 999).double())).dtype == torch.float64


def test_half_the_bytes_for_nearly_the_same_codec(
    trainable: Codec, codec: RuntimeCodec, tmp_path: Path
) -> None:
    save_codec(trainable, tmp_path, dtype=torch.float16)
    small = load_codec(tmp_path)
    for name, value in trainable.state_dict().items():
        if name.startswith("quantizer."):
            continue
        assert value.abs().max() < 65504
    audio = 0.1 * torch.randn(1, 1, 32000)
    assert (small.encode(audio) == codec.encode(audio)).float().mean() > 0.9


def test_the_fingerprint_changes_with_any_bit(trainable: Codec, tmp_path: Path) -> None:
    save_codec(trainable, tmp_path)
    before = fingerprint(tmp_path)
    assert len(before) == 16 and int(before, 16) >= 0
    weights = tmp_path / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    changed = fingerprint(tmp_path)
    assert changed != before
    with pytest.raises(CodecError, match=rf"have changed .*{changed}.*{before}.*--record"):
        load_codec(tmp_path)


def test_the_fingerprint_is_of_what_a_model_computes_not_of_the_bytes_of_its_files(
    trainable: Codec, tmp_path: Path
) -> None:
    save_codec(trainable, tmp_path)
    before = fingerprint(tmp_path)
    place = tmp_path / "config.json"
    config = json.loads(place.read_text())
    place.write_text(json.dumps(config))  # on one line
    weights = load_file(tmp_path / "model.safetensors")
    save_file(weights, tmp_path / "model.safetensors", {"note": "the same tensors"})
    assert fingerprint(tmp_path) == before
    config["quantizer"]["codebook"]["commitment_weight"] = 0.5  # training alone depends on it
    place.write_text(json.dumps(config))
    assert fingerprint(tmp_path) == before
    config["seanet"]["lookahead"] = 0
    place.write_text(json.dumps(config))
    assert fingerprint(tmp_path) != before


def test_saving_again_states_the_new_fingerprint(trainable: Codec, tmp_path: Path) -> None:
    save_codec(trainable, tmp_path)
    save_codec(trainable, tmp_path, dtype=torch.float16)
    assert load_codec(tmp_path).fingerprint == fingerprint(tmp_path)
    (tmp_path / "fingerprint.txt").unlink()  # as models saved before version 0.2 are
    assert load_codec(tmp_path).fingerprint == fingerprint(tmp_path)


def test_no_such_model_lists_those_there_are() -> None:
    with pytest.raises(CodecError, match="speech_16khz"):
        load_codec("speech_99khz")


def test_weights_of_another_architecture_name_the_difference(
    trainable: Codec, tmp_path: Path
) -> None:
    save_codec(trainable, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantizer"]["num_codebooks"] = 7
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CodecError, match=r"another architecture: `quantizer\.stages\.4"):
        load_codec(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", b"{", "not valid JSON"),
        ("config.json", b'{"sample_rat": 1}', "did you mean `sample_rate`"),
        ("model.safetensors", b"\x00" * 10, "damaged"),
    ],
)
def test_damage_is_named(
    trainable: Codec, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    save_codec(trainable, tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CodecError, match=words) as caught:
        load_codec(tmp_path)
    assert name in str(caught.value)


def test_a_codec_is_saved_whole_or_not_at_all(trainable: Codec, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(CodecError, match="is a folder"):
        save_codec(trainable, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_bundled_model_is_of_its_recipe_and_defaults_are_those_of_older_models() -> None:
    from audiocodec.training import Recipe

    file = Path(__file__).resolve().parents[1] / "recipes" / "speech_16khz.yaml"
    recipe = Recipe.from_yaml(file).codec
    assert recipe == load_codec("speech_16khz").config
    # No default: a model folder that was written before there were `dims` means one `dim` for all.
    # The number of codebooks is in every model folder.
    quantizer = recipe.quantizer.model_copy(update={"dims": (), "num_codebooks": 12})
    # Likewise of the high-pass.
    older = {"quantizer": quantizer, "highpass_hz": 0.0}
    assert recipe.model_copy(update=older) == CodecConfig()


def test_a_loaded_codec_passes_to_another_process(trainable: Codec, tmp_path: Path) -> None:
    save_codec(trainable, tmp_path)
    loaded = load_codec(tmp_path)
    copy = pickle.loads(pickle.dumps(loaded))
    audio = 0.1 * torch.randn(1, 1, 1000)
    assert torch.equal(copy.encode(audio), loaded.encode(audio))
    assert (copy.name, copy.fingerprint) == (loaded.name, loaded.fingerprint)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8])
def test_a_precision_without_exact_searches_is_refused(
    trainable: Codec, tmp_path: Path, dtype: torch.dtype
) -> None:
    save_codec(trainable, tmp_path)
    with pytest.raises(CodecError, match=r"float32 or torch\.float64"):
        load_codec(tmp_path, dtype=dtype)


@pytest.mark.parametrize(
    ("device", "words"),
    [("gpu", "device gpu: unknown to PyTorch"), ("cuda", "device cuda: .* no usable CUDA GPU")],
)
def test_a_device_that_is_not_there_is_told_in_a_line(
    trainable: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, words: str
) -> None:
    save_codec(trainable, tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(CodecError, match=words):
        load_codec(tmp_path, device)


def test_loading_draws_nothing_and_imports_no_compiler() -> None:
    """What initialises random weights takes PyTorch a second of imports on the meta device."""
    program = """
import sys
import torch
from safetensors.torch import load_file, save_file
from audiocodec import Codec, CodecConfig

imported = set(sys.modules)
for codebook in (
    {"kind": "vq"},
    {"kind": "ema_vq"},
    {"kind": "fsq"},
    {"kind": "simvq", "reset_threshold": 0.1, "learn": "codebook_and_transform"},
    {"kind": "simvq", "transform": "diagonal", "distribution": "uniform"},
    {"kind": "simvq", "transform": "orthogonal"},
):
    config = CodecConfig.from_mapping({"quantizer": {"codebook": codebook}})
    before = torch.get_rng_state()
    codec = Codec.without_weights(config)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(tensor.is_meta for tensor in codec.state_dict().values())
# PyTorch 2.9 imports sympy for the first operation on the meta device, whatever it is.
recent = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 13)
heavy = {"torch._dynamo", "sympy"} if recent else {"torch._dynamo"}
assert not heavy & (set(sys.modules) - imported)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "codebook",
    [
        {"kind": "vq", "size": 64, "dim": 4},
        {"kind": "ema_vq", "size": 64, "dim": 4},
        {"kind": "fsq", "levels": [4, 4, 4]},
        {"kind": "simvq", "size": 64, "dim": 4, "reset_threshold": 0.1},
        {"kind": "simvq", "size": 64, "dim": 4, "transform": "orthogonal"},
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loaded_for_use_is_what_was_trained_folded_bit_for_bit(
    trainable: Codec, tmp_path: Path, codebook: dict[str, object], dtype: torch.dtype
) -> None:
    values = trainable.config.model_dump()
    values["quantizer"] = {"num_codebooks": 3, "codebook": codebook}
    made = Codec(CodecConfig.from_mapping(values))
    save_codec(made, tmp_path, dtype=torch.float16)
    loaded = load_codec(tmp_path, dtype=dtype)
    expected = RuntimeCodec(load_trainable(tmp_path).to(dtype))
    assert loaded.dtype == dtype
    for found, wanted in ((loaded.engine, expected.engine), (loaded.tables, expected.tables)):
        for (name, value), (_, other) in zip(tensors(found), tensors(wanted), strict=True):
            assert value.dtype in (dtype, torch.long)
            assert torch.equal(value, other), name
            assert not value.requires_grad


def test_a_loaded_codec_does_not_change_with_its_file(
    trainable: Codec, codec: RuntimeCodec, tmp_path: Path
) -> None:
    """safetensors maps the file into memory; what is written into it must not reach the codec."""
    save_codec(trainable, tmp_path)
    loaded = load_codec(tmp_path)
    audio = torch.randn(1, 1, 4000)
    before = loaded.encode(0.1 * audio)
    file = tmp_path / "model.safetensors"
    with file.open("r+b") as weights:
        weights.seek(file.stat().st_size // 2)
        weights.write(bytes(file.stat().st_size // 2))
    assert torch.equal(loaded.encode(0.1 * audio), before)
