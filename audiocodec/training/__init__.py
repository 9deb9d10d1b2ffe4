"""Training: recipes, data, losses, discriminators and the one loop. Nothing below imports it."""

from audiocodec.training.recipe import Recipe
from audiocodec.training.trainer import Trainer

__all__ = ["Recipe", "Trainer"]
