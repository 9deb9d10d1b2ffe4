"""Context model: how likely each code is, given the codes before it; exact integer arithmetic.

A recurrent memory of the frames before, and for each stage a small network that also sees the
stages before it in the frame, give integer frequencies of the next code. An entropy coder turns
them into bits. NumPy only.

Coder and decoder must compute the same frequencies on every machine (Balle et al. 2018, "Integer
networks for data compression with latent-variable models"). So everything is an integer, held in
float32: weights of 8 bits, activations of at most 9 bits, scales that are powers of two. Every sum
stays below 2^24, so each product and partial sum is exact in float32, in whatever order a matrix
library adds. :meth:`ContextModel.load` proves the bound from the weights themselves.
"""

from audiocodec.tokens.context.model import CONTEXT_NAME, ContextModel
from audiocodec.tokens.context.predictor import Predictor

__all__ = ["CONTEXT_NAME", "ContextModel", "Predictor"]
