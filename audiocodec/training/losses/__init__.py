"""The codec's losses: each is one function in one file here, and one line in ``registry.py``."""
