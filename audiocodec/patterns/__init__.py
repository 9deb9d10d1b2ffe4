"""Codes as sequences for language models: interleaving patterns and vocabularies. No torch.

    from audiocodec.patterns import Vocabulary

    vocabulary = Vocabulary.of(codec, pattern="delay", num_codebooks=4)
    tokens = vocabulary.encode(codes)      # int64 [4, F + 3], NumPy or torch as codes [4, F]
    codes = vocabulary.decode(tokens)      # the same codes; of a sequence that was cut, fewer

A pattern (:data:`PATTERNS`) is the order of codes in a sequence. A :class:`Vocabulary` gives every
code an id, adds special tokens, and is saved beside a model as a JSON file.
"""

from audiocodec.patterns.pattern import Pattern
from audiocodec.patterns.registry import PATTERNS, find_pattern
from audiocodec.patterns.vocabulary import SPECIAL_TOKENS, Vocabulary

__all__ = ["PATTERNS", "SPECIAL_TOKENS", "Pattern", "Vocabulary", "find_pattern"]
