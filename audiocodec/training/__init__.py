"""Training: recipes, speech, losses, judges and the one loop. Nothing below imports this."""

from audiocodec.training.recipe import Recipe
from audiocodec.training.trainer import Trainer

__all__ = ["Recipe", "Trainer"]
