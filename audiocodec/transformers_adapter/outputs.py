"""What encoding and decoding return, in the forms of Transformers. Shapes as in
:mod:`audiocodec.codec`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from audiocodec.extras import import_transformers

ModelOutput: Any = import_transformers("audiocodec.transformers_adapter").utils.ModelOutput


@dataclass
class AudioCodecEncoderOutput(ModelOutput):  # type: ignore[misc]
    """Codes int64 ``[B, K, F]``. The rest is what EnCodec and DAC return beside them."""

    audio_codes: Tensor | None = None
    audio_scales: list[None] | None = None
    """A list with nothing: the codec does not scale its input."""
    last_frame_pad_length: int | None = None
    quantized_representation: Tensor | None = None
    """``[B, D, F]``: latents of the codes, which ``decode`` takes too."""


@dataclass
class AudioCodecDecoderOutput(ModelOutput):  # type: ignore[misc]
    """Audio ``[B, 1, T]``."""

    audio_values: Tensor | None = None


@dataclass
class AudioCodecOutput(ModelOutput):  # type: ignore[misc]
    """Codes int64 ``[B, K, F]`` and audio ``[B, 1, T]``."""

    audio_codes: Tensor | None = None
    audio_values: Tensor | None = None
