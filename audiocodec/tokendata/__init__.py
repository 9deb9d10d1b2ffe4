"""Codes as PyTorch datasets, for language models: segments of one length, in batches with masks.

    from audiocodec.tokendata import Collator, TokenSegments

    dataset = TokenSegments("tokens/", frames=250, num_codebooks=4)
    loader = DataLoader(dataset, batch_size=16, shuffle=True, collate_fn=Collator(vocabulary))

:class:`TokenSegments` has all codes in memory and any segment at once. :class:`TokenStream` reads
shard by shard, shuffled with a seed and divided among ranks and workers.
"""

from audiocodec.tokendata.collation import Collator
from audiocodec.tokendata.segments import Segment, TokenSegments
from audiocodec.tokendata.sources import open_token_data
from audiocodec.tokendata.stream import TokenStream

__all__ = ["Collator", "Segment", "TokenSegments", "TokenStream", "open_token_data"]
