"""The family of codebooks: a new kind is one class in a file of its own and one line here."""

from collections.abc import Mapping
from typing import Any

from audiocodec.errors import CodecError
from audiocodec.quantization.codebook import Codebook, CodebookConfig
from audiocodec.quantization.ema_vq import EMAVQCodebook
from audiocodec.quantization.fsq import FSQCodebook
from audiocodec.quantization.simvq import SimVQCodebook
from audiocodec.quantization.vq import VQCodebook

CODEBOOKS: dict[str, type[Codebook]] = {
    "vq": VQCodebook,
    "ema_vq": EMAVQCodebook,
    "simvq": SimVQCodebook,
    "fsq": FSQCodebook,
}


def codebook_config(values: Mapping[str, Any] | CodebookConfig) -> CodebookConfig:
    """The settings of one kind of codebook, checked by the class that ``kind`` names.

    Raises:
        CodecError: an unknown kind, or a key or value that this kind does not take.
    """
    if isinstance(values, CodebookConfig):
        return values
    kind = values.get("kind")
    if kind not in CODEBOOKS:
        raise CodecError(f"codebook: `kind` is one of {', '.join(CODEBOOKS)}, not {kind!r}")
    return CODEBOOKS[kind].Config.from_mapping(values, source=f"codebook of kind {kind}")


def build_codebook(config: CodebookConfig) -> Codebook:
    """A codebook of the kind that ``config`` is for."""
    return CODEBOOKS[config.kind](config)
