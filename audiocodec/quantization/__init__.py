"""Codebooks, and the residual stack that is made of them."""
