"""Weights in safetensors files."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from audiocodec.errors import CodecError
from audiocodec.paths import replacing, writing


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
    check_architecture(module, tensors, path, prefix)
    module.load_state_dict(tensors)


def save_weights(tensors: dict[str, torch.Tensor], path: Path, stale: Path | None = None) -> None:
    """Write tensors as one safetensors file, whole or not at all.

    ``stale`` is a file that the new weights invalidate: it is removed just before they appear.

    Raises:
        CodecError: the disk is full, or the place is not writable.
    """
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with replacing(path) as temporary, writing(path):
        # save_file would put another file in the place of the one that `replacing` holds locked.
        temporary.write_bytes(save(whole))
        if stale is not None:
            stale.unlink(missing_ok=True)


def check_architecture(
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
