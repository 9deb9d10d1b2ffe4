"""Segments to a batch of token sequences, with masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from audiocodec.patterns import Vocabulary
from audiocodec.tokendata.segments import Segment

IGNORED = -100
"""The label that PyTorch's cross-entropy leaves out."""


@dataclass(frozen=True)
class Collator:
    """``collate_fn`` of a ``DataLoader``: segments -> tensors with the names that Transformers has.

    ``B`` segments become

    - ``input_ids``: int64 ``[B, L]``, or ``[B, K, L]`` where the pattern has a row for each
      codebook; ``pad`` behind the end of the shorter ones and where the pattern has no code;
    - ``attention_mask``: int64 ``[B, L]``, 1 for the steps of a sequence and 0 behind its end;
    - ``labels``: ``input_ids``, with -100 where they are ``pad``. They are not shifted.

    Args:
        vocabulary: of the codes; :meth:`Vocabulary.check` says whether they are.
        bos, eos: put these tokens where a segment is the beginning or the end of its utterance.
        length: the least length of a batch, in steps, where batches of one shape are wanted.

    Raises:
        CodecError: codes that are not of the vocabulary, or a special token that it does not have.
    """

    vocabulary: Vocabulary
    bos: bool = True
    eos: bool = True
    length: int = 0

    def __call__(self, segments: Sequence[Segment]) -> dict[str, Tensor]:
        sequences = [
            self.vocabulary.encode(
                segment.codes, self.bos and segment.begins, self.eos and segment.ends
            )
            for segment in segments
        ]
        steps = torch.tensor([sequence.shape[-1] for sequence in sequences])
        longest = max(int(steps.max()), self.length)
        shape = (len(sequences), *sequences[0].shape[:-1], longest)
        ids = sequences[0].new_full(shape, self.vocabulary.pad_id)
        for row, sequence in zip(ids, sequences, strict=True):
            row[..., : sequence.shape[-1]] = sequence
        mask = (torch.arange(longest) < steps[:, None]).long()
        labels = ids.masked_fill(ids == self.vocabulary.pad_id, IGNORED)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}
