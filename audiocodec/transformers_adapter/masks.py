"""Padding masks: which samples of a batch are audio."""

from __future__ import annotations

import torch
from torch import Tensor

from audiocodec.errors import CodecError


def lengths_of(padding_mask: Tensor, samples: int) -> Tensor:
    """Mask ``[B, T]`` or ``[B, 1, T]`` -> samples of each item, ``[B]``."""
    mask = padding_mask.reshape(len(padding_mask), -1, padding_mask.shape[-1]).bool()
    lengths = mask[:, 0].sum(dim=-1)
    if mask.shape[1:] != (1, samples):
        raise CodecError(
            f"padding_mask is [B, {samples}] or [B, 1, {samples}], like the audio, not "
            f"{list(padding_mask.shape)}"
        )
    if not torch.equal(mask[:, 0], torch.arange(samples, device=mask.device) < lengths[:, None]):
        raise CodecError("padding_mask: items are padded on the right; set padding_side='right'")
    return lengths
