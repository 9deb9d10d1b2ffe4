"""Codebooks, the residual stack that is made of them, and both as layers of other networks:

    from audiocodec.quantization import ResidualSimVQ

The public names are below; each is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audiocodec.quantization.residual_layers import (
        ResidualEMAVQ,
        ResidualFSQ,
        ResidualSimVQ,
        ResidualVQ,
    )
    from audiocodec.quantization.single_layers import EMAVQ, FSQ, VQ, SimVQ

# public name -> the module that it lives in
_HOME = {
    "EMAVQ": "single_layers",
    "FSQ": "single_layers",
    "VQ": "single_layers",
    "ResidualEMAVQ": "residual_layers",
    "ResidualFSQ": "residual_layers",
    "ResidualSimVQ": "residual_layers",
    "ResidualVQ": "residual_layers",
    "SimVQ": "single_layers",
}

__all__ = [
    "EMAVQ",
    "FSQ",
    "VQ",
    "ResidualEMAVQ",
    "ResidualFSQ",
    "ResidualSimVQ",
    "ResidualVQ",
    "SimVQ",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'audiocodec.quantization' has no attribute '{name}'")
    return getattr(importlib.import_module(f"audiocodec.quantization.{_HOME[name]}"), name)
