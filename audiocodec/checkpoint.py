"""A codec on disk: ``config.json`` and ``model.safetensors`` in a folder of the model's name.

Bundled models live in ``audiocodec/models``. A model's fingerprint, 16 hex digits, is a hash of
what it computes: its weights, and those settings that codes and audio depend on. How the files are
written does not matter. Codes can only be read with the model that made them, so token files carry
it. ``fingerprint.txt`` states it, so that a model that changed by a bit is recognised. A model is
called what ``name.txt`` says, or else as its folder is. Weights may be stored in 16 bits; they are
computed with in 32, or in 64 for exact codes.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from audiocodec.bundled import MODELS, bundled_models
from audiocodec.codec import Codec, CodecConfig
from audiocodec.errors import CodecError
from audiocodec.modules.conv import has_weight_norm, without_weight_norm
from audiocodec.paths import replacing, writing

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
FINGERPRINT_NAME = "fingerprint.txt"
NAME_NAME = "name.txt"


def load_codec(
    model: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> Codec:
    """A codec ready for use: folded for inference, in eval mode, without gradients.

    It is the same whatever the caller's default dtype and device, autocast or random seed, and
    draws no random numbers.

    Args:
        model: name of a bundled model, or a folder that :func:`save_codec` or a training run wrote.
        dtype: of weights and arithmetic. In ``torch.float64`` codes are exact: the same for any
            batch, padding, pieces and threads. In ``torch.float32`` a few in a thousand may differ
            (``codec verify`` measures how many); on a GPU more, unless
            ``torch.backends.cudnn.allow_tf32`` is off, as the command has it. No other will do.
            Settings that lower the precision of float32 in the whole process, such as
            ``torch.set_float32_matmul_precision("medium")``, change codes in float32 too.

    Raises:
        CodecError: no such model, a damaged file, weights of another architecture, a fingerprint
            that is not the stated one, another ``dtype``, or a ``device`` that is not there.
    """
    if dtype not in (torch.float32, torch.float64):
        raise CodecError(f"dtype: a codec computes in torch.float32 or torch.float64, not {dtype}")
    folder = find_model(model)
    device = _resolve_device(device)
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        torch.autocast(device.type, enabled=False),
    ):
        config = _read_config(folder)
        codec = Codec.without_weights(config)
        stored = read_weights(folder / WEIGHTS_NAME)
        tensors = {
            name: value.to(device, dtype, copy=True)  # safetensors gives the file itself, mapped
            for name, value in stored.items()
        }
        tensors = without_weight_norm(tensors)
        _check_architecture(codec, tensors, folder / WEIGHTS_NAME)
        codec.load_state_dict(tensors, assign=True)
        codec.name = stated_name(folder) or folder.name
        codec.fingerprint = _fingerprint(config, stored)
        stated = stated_fingerprint(folder)
        if stated and stated != codec.fingerprint:
            raise CodecError(
                f"{folder}: config or weights have changed since they were saved: their "
                f"fingerprint is {codec.fingerprint}, {FINGERPRINT_NAME} states {stated}; get the "
                "model again, or, if you changed it yourself, state it anew with codec verify "
                "--record"
            )
        return codec.fold().requires_grad_(False)


def read_codec(folder: Path) -> Codec:
    """The codec in ``folder`` as it is trained: weight norm and SimVQ's map not folded."""
    codec = Codec(_read_config(folder))
    load_weights(codec, folder / WEIGHTS_NAME)
    return codec


def load_trainable(model: str | Path) -> Codec:
    """The codec of ``model`` as it is trained, with gradients: for training, and for ``tools/``.

    Args:
        model: name of a bundled model, or a folder that :func:`save_codec` or a training run wrote.

    Raises:
        CodecError: no such model, a damaged file, or weights of another architecture.
    """
    return read_codec(find_model(model))


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file by name.

    Raises:
        CodecError: missing or damaged.
    """
    if not path.is_file():
        raise CodecError(f"{path}: no such file")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CodecError(f"{path}: damaged or not a safetensors file ({error})") from None


def load_weights(module: torch.nn.Module, path: Path, prefix: str = "") -> None:
    """Read a safetensors file into ``module``: those tensors whose names begin with ``prefix``.

    Raises:
        CodecError: missing, damaged, or of another architecture (the first difference is named).
    """
    tensors = {
        name.removeprefix(prefix): value
        for name, value in read_weights(path).items()
        if name.startswith(prefix)
    }
    _check_architecture(module, tensors, path, prefix)
    module.load_state_dict(tensors)


def save_codec(codec: Codec, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a codec (not folded) as a model folder; each file appears whole or not at all.

    The fingerprint is stated last; a folder whose writing was interrupted states none.

    ``dtype`` is the precision that network weights are stored in; the quantiser stays in float32.

    Raises:
        CodecError: a folded codec, as :func:`load_codec` gives it, or a place that is not writable.
    """
    if not has_weight_norm(codec):
        raise CodecError(
            f"{folder}: a codec in use is folded and cannot be saved as a model; copy the folder "
            "that it came from, or take the codec from audiocodec.checkpoint.read_codec"
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(codec.config.model_dump(mode="json"), indent=2) + "\n"
    tensors = {
        name: value.detach().cpu().to(torch.float32 if name.startswith("quantizer.") else dtype)
        for name, value in codec.state_dict().items()
    }
    target = folder / CONFIG_NAME
    with replacing(target) as path, writing(target):
        path.write_text(text, encoding="utf-8")
        save_weights(tensors, folder / WEIGHTS_NAME, folder / FINGERPRINT_NAME)
    if codec.name != Codec.name:
        with replacing(folder / NAME_NAME) as path:
            path.write_text(codec.name + "\n", encoding="utf-8")
    state_fingerprint(folder)


def save_weights(tensors: dict[str, torch.Tensor], path: Path, stale: Path | None = None) -> None:
    """Write tensors as one safetensors file, whole or not at all.

    ``stale`` is a file that the new weights make untrue: it is removed just before they appear.

    Raises:
        CodecError: the disk is full, or the place is not writable.
    """
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with replacing(path) as temporary, writing(path):
        # save_file would put another file in the place of the one that `replacing` holds locked.
        temporary.write_bytes(save(whole))
        if stale is not None:
            stale.unlink(missing_ok=True)


def find_model(model: str | Path) -> Path:
    """The folder of a bundled model's name or of a path.

    Raises:
        CodecError: neither; the message lists the bundled names.
    """
    for folder in (MODELS / model, Path(model)):
        if (folder / CONFIG_NAME).is_file() and (folder / WEIGHTS_NAME).is_file():
            return folder.resolve()
    names = ", ".join(bundled_models()) or "none"
    raise CodecError(
        f"model {model}: neither a bundled model ({names}) nor a folder with {CONFIG_NAME} and "
        f"{WEIGHTS_NAME}"
    )


def fingerprint(folder: Path) -> str:
    """16 hex digits that change with any bit of what a model computes."""
    return _fingerprint(_read_config(folder), read_weights(folder / WEIGHTS_NAME))


def _fingerprint(config: CodecConfig, tensors: Mapping[str, torch.Tensor]) -> str:
    """The same, from the weights as they are stored."""
    digest = hashlib.sha256(json.dumps(config.computation(), sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name].cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def stated_fingerprint(folder: Path) -> str:
    """What ``fingerprint.txt`` says; nothing where there is none."""
    file = folder / FINGERPRINT_NAME
    return _read_bytes(file).decode(errors="replace").strip() if file.is_file() else ""


def stated_name(folder: Path) -> str:
    """What ``name.txt`` calls the model; nothing where there is none."""
    file = folder / NAME_NAME
    return _read_bytes(file).decode(errors="replace").strip() if file.is_file() else ""


def state_fingerprint(folder: Path) -> None:
    """Write ``fingerprint.txt`` for config and weights as they are now."""
    with replacing(folder / FINGERPRINT_NAME) as path:
        path.write_text(fingerprint(folder) + "\n", encoding="utf-8")


def _resolve_device(device: str | torch.device) -> torch.device:
    try:
        resolved = torch.device(device)
    except RuntimeError:
        raise CodecError(
            f"device {device}: PyTorch knows none of that name; take cpu or cuda"
        ) from None
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise CodecError(f"device {device}: this machine has no usable CUDA GPU; take cpu")
    return resolved


def _read_config(folder: Path) -> CodecConfig:
    text = _read_bytes(folder / CONFIG_NAME)
    try:
        values = json.loads(text)
    except ValueError:
        raise CodecError(f"{folder / CONFIG_NAME}: not valid JSON") from None
    return CodecConfig.from_mapping(values, source=str(folder / CONFIG_NAME))


def _check_architecture(
    module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], path: Path, prefix: str = ""
) -> None:
    """Raise :class:`CodecError` unless ``module`` has tensors of these names and shapes."""
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise CodecError(
                f"{path}: weights of another architecture: `{prefix}{name}` is "
                f"{found.get(name, 'absent')} in the file and {expected.get(name, 'absent')} here"
            )


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror})") from None
