"""Hinge losses of codec and discriminators, and feature matching."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from audiocodec import ranks
from audiocodec.training.discriminators import FeatureMaps
from audiocodec.training.losses.loss import Loss


def discriminator_loss(real_maps: FeatureMaps, fake_maps: FeatureMaps) -> Tensor:
    """Hinge loss of the discriminators, a mean over them: real above 1, fake below -1."""
    terms = [
        F.relu(1 - real[-1].float()).mean() + F.relu(1 + fake[-1].float()).mean()
        for real, fake in zip(real_maps, fake_maps, strict=True)
    ]
    return torch.stack(terms).mean()


def adversarial_loss(fake_maps: FeatureMaps) -> Tensor:
    """Hinge loss of the codec: the negative mean of the logits of its reconstructions."""
    return torch.stack([-fake[-1].float().mean() for fake in fake_maps]).mean()


def feature_matching_loss(
    real_maps: FeatureMaps,
    fake_maps: FeatureMaps,
    batch_mean: Callable[[Tensor], Tensor] = ranks.mean,
) -> Tensor:
    """L1 between the discriminators' inner layers, each divided by the real layer's mean, that of
    the whole batch."""
    pairs = [
        (fake.float(), real.detach().float())
        for real_layers, fake_layers in zip(real_maps, fake_maps, strict=True)
        for real, fake in zip(real_layers[:-1], fake_layers[:-1], strict=True)
    ]
    usual = batch_mean(torch.stack([real.abs().mean() for _, real in pairs]))
    distances = torch.stack([F.l1_loss(fake, real) for fake, real in pairs])
    return (distances / (usual + 1e-5)).mean()


ADVERSARIAL = Loss(adversarial_loss, weight=1.0, description="hinge loss of the discriminators")
FEATURE_MATCHING = Loss(
    feature_matching_loss,
    weight=2.0,
    description="L1 between inner layers of the discriminators",
    if_zero=True,
    requires="adversarial",
)
