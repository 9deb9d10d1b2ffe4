"""Corpora packed for training: decoded once, as shards of 16-bit samples."""
