"""How many codes of two tokenised corpora differ: batches against alone, float32 against float64.

codec tokenize TEST_CLEAN_52 alone --batch-seconds 0
codec tokenize TEST_CLEAN_52 batched --batch-seconds 16
python benchmarks/tokendiff.py alone batched
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import click
import numpy as np

from audiocodec.tokenising.rewriting import TokenCorpus


@click.command()
@click.argument("first", type=click.Path(exists=True, path_type=Path))
@click.argument("second", type=click.Path(exists=True, path_type=Path))
def main(first: Path, second: Path) -> None:
    a, b = TokenCorpus(first), TokenCorpus(second)
    rows_a, rows_b = (
        chain.from_iterable(corpus.rows(index) for index in range(corpus.settings.num_shards))
        for corpus in (a, b)
    )
    differing = np.zeros(a.settings.num_codebooks, np.int64)
    frames = unequal = utterances = 0
    for one, other in zip(rows_a, rows_b, strict=True):
        different = one.codes != other.codes
        differing += different.sum(axis=1)
        frames += one.codes.shape[1]
        unequal += bool(different.any())
        utterances += 1
    total = frames * len(differing)
    print(f"{differing.sum()} of {total} codes differ ({differing.sum() / max(1, total):.4%}),")
    print(f"in {unequal} of {utterances} utterances; by codebook: {differing.tolist()}")


if __name__ == "__main__":
    main()
