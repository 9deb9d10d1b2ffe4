"""Corpora: what is in them, where it lies, and how it is read."""
