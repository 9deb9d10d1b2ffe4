"""Corpora to shards of tokens and back: work that may be stopped at any time and goes on."""
