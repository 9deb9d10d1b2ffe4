"""Shapes of networks to compare. Imported by `ablation.py`."""

from __future__ import annotations

from typing import Any

from audiocodec import CodecError
from audiocodec.modules.shape import SEANetConfig
from audiocodec.training import Recipe

WINDOW = 48
"""Frames of attention: as many as a segment of the recipe has."""
VARIANTS: dict[str, dict[str, Any]] = {
    "same": {},
    "decoder": {"decoder_residual_units": (1, 3, 3, 10)},
    "middle": {"decoder_residual_units": (1, 6, 6, 6)},
    "fast": {"decoder_residual_units": (4, 4, 3, 6)},
    "attention": {"attention": {"decoder_blocks": 2, "window": WINDOW}},
    "attention-both": {"attention": {"encoder_blocks": 2, "decoder_blocks": 2, "window": WINDOW}},
    "decoder-attention": {
        "decoder_residual_units": (1, 3, 3, 10),
        "attention": {"decoder_blocks": 2, "window": WINDOW},
    },
    "wide": {"decoder_channels": (48, 80, 128, 384), "decoder_residual_units": (2, 3, 3, 6)},
    "wide-attention": {
        "decoder_channels": (44, 80, 128, 384),
        "decoder_residual_units": (2, 3, 3, 6),
        "attention": {"decoder_blocks": 2, "window": WINDOW},
    },
    "snake": {"snake_levels": (0, 1, 2, 3)},
    "snake-slow": {"snake_levels": (2, 3)},
    "latents": {"latent_dim": 256},
}
"""Name -> settings of codec.seanet."""

DEFAULTS = {
    "new": tuple(VARIANTS),
    "grown": (
        "same",
        "decoder",
        "middle",
        "fast",
        "attention-both",
        "decoder-attention",
        "wide",
        "wide-attention",
    ),
    "added": ("decoder", "middle", "fast", "attention", "decoder-attention"),
}
"""The variants that can be compared, by what learns; a trained model cannot change activations or
latents."""


def shaped(recipe: Recipe, variant: str) -> Recipe:
    """The recipe with the variant's shape.

    Raises:
        CodecError: no variant of that name, or settings that are refused.
    """
    if variant not in VARIANTS:
        raise CodecError(f"--variant {variant}: use one of {', '.join(VARIANTS)}")
    values = recipe.codec.seanet.model_dump() | VARIANTS[variant]
    seanet = SEANetConfig.from_mapping(values, source=variant)
    codec = recipe.codec.model_copy(update={"seanet": seanet})
    return recipe.model_copy(update={"name": variant, "codec": codec})
