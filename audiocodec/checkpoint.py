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
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from audiocodec.bundled import MODELS, bundled_models
from audiocodec.codec import Codec, CodecConfig
from audiocodec.engines import ENGINES
from audiocodec.errors import CodecError
from audiocodec.modules.conv import without_weight_norm
from audiocodec.paths import replacing, writing
from audiocodec.runtime import Engine, RuntimeCodec
from audiocodec.tokens.context import CONTEXT_NAME
from audiocodec.weights import check_architecture, read_weights, save_weights

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
FINGERPRINT_NAME = "fingerprint.txt"
NAME_NAME = "name.txt"
MODEL_TYPE = "audiocodec"
"""What ``config.json`` states as ``model_type``, by which Transformers recognises the model."""
TRANSFORMERS_KEYS = {"architectures", "dtype", "torch_dtype", "return_dict", "transformers_version"}
"""Further keys that Transformers may write into ``config.json``."""
FULL_PRECISION = "quantizer.", "encoder.highpass."
"""Beginnings of the names of tensors that are stored in float32 always."""


def load_codec(
    model: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    engine: str | Callable[[Codec], Engine] = "torch",
) -> RuntimeCodec:
    """A codec ready for use.

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
        engine: computes the encoder and decoder: a name in :data:`audiocodec.engines.ENGINES`
            (``"torch"``, ``"onnx"``), or a class or function that makes an
            :class:`~audiocodec.runtime.Engine` of a codec.

    Raises:
        CodecError: no such model, a damaged file, weights of another architecture, a fingerprint
            that is not the stated one, another ``dtype``, a ``device`` that is not there, or an
            engine that does not exist or cannot compute this.
    """
    if dtype not in (torch.float32, torch.float64):
        raise CodecError(f"dtype: a codec computes in torch.float32 or torch.float64, not {dtype}")
    make_engine = _resolve_engine(engine)
    folder = find_model(model)
    device = _resolve_device(device)
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        torch.autocast(device.type, enabled=False),
    ):
        config = read_config(folder)
        codec = Codec.without_weights(config)
        stored = read_weights(folder / WEIGHTS_NAME)
        tensors = {
            name: value.to(device, dtype, copy=True)  # safetensors gives the file itself, mapped
            for name, value in stored.items()
        }
        tensors = without_weight_norm(tensors)
        check_architecture(codec, tensors, folder / WEIGHTS_NAME)
        codec.load_state_dict(tensors, assign=True)
        codec.name = stated_name(folder) or folder.name
        codec.fingerprint = _fingerprint(config, stored)
        stated = stated_fingerprint(folder)
        if stated and stated != codec.fingerprint:
            raise CodecError(
                f"{folder}: config or weights have changed since they were saved: their "
                f"fingerprint is {codec.fingerprint}, {FINGERPRINT_NAME} has {stated}; get the "
                "model again, or, if you changed it yourself, record it with codec verify --record"
            )
        codec.eval().requires_grad_(False)
        context = folder / CONTEXT_NAME
        context_file = context if context.is_file() else None
        return RuntimeCodec(codec, make_engine(codec), context_file, folder)


def load_trainable(model: str | Path, device: str | torch.device = "cpu") -> Codec:
    """A codec to train further, or to train something else through: gradients pass all of it.

    Args:
        model: as in :func:`load_codec`.

    Raises:
        CodecError: no such model, a damaged file, weights of another architecture, or a ``device``
            that is not there.
    """
    folder = find_model(model)
    device = _resolve_device(device)
    config = read_config(folder)
    stored = read_weights(folder / WEIGHTS_NAME)
    codec = Codec(config)
    check_architecture(codec, stored, folder / WEIGHTS_NAME)
    codec.load_state_dict(stored)
    codec.name = stated_name(folder) or folder.name
    codec.fingerprint = _fingerprint(config, stored)
    return codec.to(device)


def save_codec(
    codec: Codec, folder: str | Path, dtype: torch.dtype = torch.float32, name: str | None = None
) -> None:
    """Write a codec as a model folder; each file appears whole or not at all.

    The fingerprint is stated last; a folder whose writing was interrupted states none.

    ``dtype`` is the precision that network weights are stored in; the quantiser stays in float32.
    ``name`` is the model's, by default the codec's.

    Raises:
        CodecError: the place is not writable.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"model_type": MODEL_TYPE, **codec.config.model_dump(mode="json")}
    text = json.dumps(settings, indent=2) + "\n"
    tensors = {
        name: value.detach().cpu().to(torch.float32 if name.startswith(FULL_PRECISION) else dtype)
        for name, value in codec.state_dict().items()
    }
    target = folder / CONFIG_NAME
    with replacing(target) as path, writing(target):
        path.write_text(text, encoding="utf-8")
        save_weights(tensors, folder / WEIGHTS_NAME, folder / FINGERPRINT_NAME)
    name = codec.name if name is None else name
    if name != Codec.name:
        with replacing(folder / NAME_NAME) as path:
            path.write_text(name + "\n", encoding="utf-8")
    state_fingerprint(folder)


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
    return _fingerprint(read_config(folder), read_weights(folder / WEIGHTS_NAME))


def _fingerprint(config: CodecConfig, tensors: Mapping[str, torch.Tensor]) -> str:
    """The same, from the weights as they are stored."""
    digest = hashlib.sha256(json.dumps(config.computation(), sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name].cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def stated_fingerprint(folder: Path) -> str:
    """The content of ``fingerprint.txt``, empty without the file."""
    file = folder / FINGERPRINT_NAME
    return _read_bytes(file).decode(errors="replace").strip() if file.is_file() else ""


def stated_name(folder: Path) -> str:
    """The content of ``name.txt``, empty without the file."""
    file = folder / NAME_NAME
    return _read_bytes(file).decode(errors="replace").strip() if file.is_file() else ""


def state_fingerprint(folder: Path) -> None:
    """Write ``fingerprint.txt`` for config and weights as they are now."""
    with replacing(folder / FINGERPRINT_NAME) as path:
        path.write_text(fingerprint(folder) + "\n", encoding="utf-8")


def _resolve_engine(engine: str | Callable[[Codec], Engine]) -> Callable[[Codec], Engine]:
    if not isinstance(engine, str):
        return engine
    if engine not in ENGINES:
        raise CodecError(f"engine {engine}: does not exist; use one of {', '.join(ENGINES)}")
    return ENGINES[engine]


def _resolve_device(device: str | torch.device) -> torch.device:
    try:
        resolved = torch.device(device)
    except RuntimeError:
        raise CodecError(f"device {device}: unknown to PyTorch; use cpu or cuda") from None
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise CodecError(f"device {device}: this machine has no usable CUDA GPU; use cpu")
    return resolved


def read_config(folder: Path) -> CodecConfig:
    """The configuration of the model in ``folder``.

    Raises:
        CodecError: it cannot be read, or a key or value is refused.
    """
    text = _read_bytes(folder / CONFIG_NAME)
    try:
        values = json.loads(text)
    except ValueError:
        raise CodecError(f"{folder / CONFIG_NAME}: not valid JSON") from None
    return codec_config(values, source=str(folder / CONFIG_NAME))


def codec_config(values: object, source: str) -> CodecConfig:
    """The configuration that a ``config.json`` holds, beside what Transformers keeps there.

    Raises:
        CodecError: of another kind of model, or a key or value that is refused.
    """
    if not isinstance(values, dict):
        raise CodecError(f"{source}: a configuration is a JSON object, not {values!r:.40}")
    kind = values.get("model_type", MODEL_TYPE)
    if kind != MODEL_TYPE:
        raise CodecError(f"{source}: a model of type {kind}, not {MODEL_TYPE}")
    ours = {k: v for k, v in values.items() if k not in {*TRANSFORMERS_KEYS, "model_type"}}
    return CodecConfig.from_mapping(ours, source=source)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror})") from None
