"""A trained codec grown to a larger shape that decodes to almost the same audio at first.

What is added is silent: new residual units start nearly so, new blocks of attention exactly (their
last weights are zero), and what the old channels of a widened level read of the new ones is zero
(after Chen et al. 2016, "Net2Net", arXiv 1511.05641). So a trained model can be made larger at any
time, and trained on from where it was.
"""

import torch
from torch import Tensor, nn

from audiocodec.codec import Codec
from audiocodec.errors import CodecError
from audiocodec.modules.conv import CausalConvTranspose1d, without_weight_norm
from audiocodec.modules.shape import SEANetConfig
from audiocodec.modules.units import ResidualUnit

ADDED_GAIN = 0.02
"""The output of an added unit, relative to that of a unit with fresh weights."""

GROWING = ("channels", "residual_units", "decoder_channels", "decoder_residual_units", "attention")
"""The settings that may differ."""


@torch.no_grad()
def grown(codec: Codec, shape: SEANetConfig, seed: int = 0) -> Codec:
    """A larger codec of that shape with the weights of ``codec``; the quantiser is the same.

    Raises:
        CodecError: the shape is smaller somewhere, or differs in what cannot grow.
    """
    check_growth(codec.config.seanet, shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        larger = Codec(codec.config.model_copy(update={"seanet": shape}))
    larger.name = codec.name
    known, fresh = codec.state_dict(), larger.state_dict()
    old = without_weight_norm(known)
    for name, part in larger.named_modules():
        if isinstance(part, ResidualUnit) and f"{name}.pointwise.conv.weight" not in old:
            part.pointwise.conv.weight = ADDED_GAIN * part.pointwise.conv.weight
    for name, part in larger.named_modules():
        same = [key for key in known if key.startswith(f"{name}.") and key in fresh]
        if not isinstance(part, nn.Conv1d) or not same:
            continue
        if old[f"{name}.weight"].shape == part.weight.shape:
            continue
        layer = larger.get_submodule(name.rpartition(".")[0])
        phases = layer.stride if isinstance(layer, CausalConvTranspose1d) else 1
        part.weight = widened(old[f"{name}.weight"], part.weight, phases)
        bias = part.get_parameter("bias")
        bias.copy_(widened(old[f"{name}.bias"], torch.zeros_like(bias), phases))
        for key in same:
            del known[key]
    for name, value in known.items():  # all else is kept bit for bit; Snake may be wider
        fresh[name][tuple(slice(size) for size in value.shape)] = value
    return larger


def widened(old: Tensor, fresh: Tensor, phases: int) -> Tensor:
    """Weights or biases ``[out * phases, ...]``: the old ones, and fresh ones of new outputs.

    Old outputs do not depend on new inputs.
    """
    result = fresh.unflatten(0, (-1, phases)).clone()
    known = old.unflatten(0, (-1, phases))
    result[: len(known)] = 0
    result[tuple(slice(size) for size in known.shape)] = known
    return result.flatten(0, 1)


def check_growth(before: SEANetConfig, after: SEANetConfig) -> None:
    """Raise :class:`CodecError` unless ``after`` is ``before`` made larger."""
    for key in SEANetConfig.model_fields:
        if key not in GROWING and getattr(before, key) != getattr(after, key):
            raise CodecError(f"`{key}` differs, and only {', '.join(GROWING)} can grow")
    pairs = [(before, after, ""), (before.of_decoder(), after.of_decoder(), "decoder_")]
    for small, large, prefix in pairs:
        for key in ("channels", "residual_units"):
            old, new = getattr(small, key), getattr(large, key)
            if any(b < a for a, b in zip(old, new, strict=True)):
                raise CodecError(f"`{prefix}{key}` is {new}, the model has {old}: none may be less")
    old, new = before.attention, after.attention
    if old.blocks and (
        old.encoder_blocks > new.encoder_blocks
        or old.decoder_blocks > new.decoder_blocks
        or old.heads != new.heads
    ):
        raise CodecError("`attention`: blocks may be added, none taken away, and heads stay")
