"""Training: recipes, data, losses, discriminators, the step and the loop around it."""

from audiocodec.training.recipe import Recipe
from audiocodec.training.trainer import Trainer

__all__ = ["Recipe", "Trainer"]
