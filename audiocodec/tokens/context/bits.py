"""The bits that the codes of a file take under a context model, stage by stage."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audiocodec.tokens.context.model import ContextModel
from audiocodec.tokens.packing import Codes
from audiocodec.tokens.reader import TokenFile

BLOCKS_AT_ONCE = 32


def bits_of_codes(codes: Codes, block_frames: int, context: ContextModel) -> NDArray[np.float64]:
    """Bits that each of ``codes [C, K, F]`` takes: minus the logarithm of its probability, base 2.

    Blocks restart the context, as they do in a token file.

    Raises:
        CodecError: codebooks that ``context`` does not predict.
    """
    whole = codes.shape[2] // block_frames * block_frames
    bits = np.zeros(codes.shape)
    if whole:
        blocks = np.split(codes[:, :, :whole], range(block_frames, whole, block_frames), axis=2)
        found = context.bits(np.concatenate(blocks))
        bits[:, :, :whole] = np.concatenate(np.split(found, len(blocks)), axis=2)
    if whole < codes.shape[2]:
        bits[:, :, whole:] = context.bits(codes[:, :, whole:])
    return bits


def bits_by_stage(tokens: TokenFile, context: ContextModel) -> list[float]:
    """Mean bits of a code of each codebook, as from :func:`bits_of_codes`.

    The file may have any coding.

    Raises:
        CodecError: a damaged block, or codebooks that ``context`` does not predict.
    """
    size = tokens.header.block_frames
    bits = np.zeros(tokens.header.num_codebooks)
    for start in range(0, tokens.num_frames, BLOCKS_AT_ONCE * size):
        codes = tokens.read(start, min(start + BLOCKS_AT_ONCE * size, tokens.num_frames))
        bits += bits_of_codes(codes, size, context).sum(axis=(0, 2))
    return (bits / max(1, tokens.num_frames * tokens.header.channels)).tolist()
