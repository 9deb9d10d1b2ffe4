"""A batch of training audio, and the augmentations applied to it."""

from typing import NamedTuple

import torch
from torch import Tensor

from audiocodec.training.data.augmentations.augmentation import Augmentation, Draw, Segments
from audiocodec.training.data.augmentations.config import AugmentConfig
from audiocodec.training.processes import WHOLE, Share


class Batch(NamedTuple):
    """What the codec gets and what it should return. Both are ``[B, 1, T]`` in [-1, 1]."""

    audio: Tensor
    reference: Tensor
    """The same tensor as ``audio``, unless an augmentation is to be removed."""


def augmented(
    speech: Tensor,
    config: AugmentConfig,
    sample_rate: int,
    key: tuple[int, int],
    segments: Segments,
    share: Share = WHOLE,
) -> Batch:
    """Apply the augmentations of ``config`` to some items of ``speech [B, 1, T]``.

    Args:
        sample_rate: Hz.
        key: seed and number of the batch, on which alone all random numbers depend. Those of one
            augmentation do not depend on which others are on.
        segments: draws other segments of the training audio.
        share: the part of the batch that ``speech`` is.
    """
    audio = reference = speech
    for name, augmentation in config.in_use():
        draws = [Draw((*key, name), speech, sample_rate, segments, share) for _ in range(2)]
        one = audio is reference
        audio = _apply(augmentation, audio, draws[0])
        if name not in config.denoise:
            reference = audio if one else _apply(augmentation, reference, draws[1])
    if audio is speech:
        return Batch(speech, speech)
    one = audio is reference
    audio = audio.clamp(-1, 1)
    return Batch(audio, audio if one else reference.clamp(-1, 1))


def _apply(augmentation: Augmentation, audio: Tensor, draw: Draw) -> Tensor:
    """Augment the items that are drawn; ``audio`` itself if none is."""
    chosen = draw.chosen(augmentation.probability)
    if not chosen.any():
        return audio
    is_chosen = draw.tensor(chosen).view(-1, 1, 1) > 0
    return torch.where(is_chosen, augmentation(audio, draw), audio)
