"""The bits that the codes of a file take under a context model, stage by stage."""

from __future__ import annotations

import numpy as np

from audiocodec.tokens.context.model import ContextModel
from audiocodec.tokens.reader import TokenFile

BLOCKS_AT_ONCE = 32


def bits_by_stage(tokens: TokenFile, context: ContextModel) -> list[float]:
    """Mean bits of a code of each codebook: minus the logarithm of its probability, base 2.

    Blocks restart the context, as they do in the file. The file may have any coding.

    Raises:
        CodecError: a damaged block, or codebooks that ``context`` does not predict.
    """
    size = tokens.header.block_frames
    bits = np.zeros(tokens.header.num_codebooks)
    for start in range(0, tokens.num_frames, BLOCKS_AT_ONCE * size):
        codes = tokens.read(start, min(start + BLOCKS_AT_ONCE * size, tokens.num_frames))
        whole = codes.shape[2] // size * size
        rows = np.concatenate([*np.split(codes[:, :, :whole], range(size, whole, size), axis=2)])
        for part in (rows, codes[:, :, whole:]):
            if part.size:
                bits += context.bits(part).sum(axis=(0, 2))
    return (bits / max(1, tokens.num_frames * tokens.header.channels)).tolist()
