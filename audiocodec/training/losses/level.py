"""Distance between levels: spectral distances alone favour reconstructions that are too quiet."""

import torch
from torch import Tensor

from audiocodec.training.losses.loss import Loss


def level_loss(reconstruction: Tensor, reference: Tensor) -> Tensor:
    """Difference of the root-mean-squares of each clip, in units of 20 dB; a mean over the batch.

    Both are ``[B, 1, T]``. A distance between spectra or samples is smallest for a reconstruction
    that is too quiet where it is wrong; this loss corrects that. Clips below -80 dBFS are taken to
    be at -80 dBFS.
    """
    both = torch.stack([reconstruction, reference]).float()
    level = 0.5 * (both.square().mean(dim=(2, 3)) + 1e-8).log10()
    return (level[0] - level[1]).abs().mean()


LEVEL = Loss(level_loss, weight=0.0, description="level of each clip, in units of 20 dB")
