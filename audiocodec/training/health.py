"""Whether a finished model is usable, and which codebooks have collapsed."""

from collections.abc import Mapping, Sequence

from audiocodec.training.recipe import Recipe

MIN_USAGE = 0.1
"""Share of its entries below which a codebook in use has collapsed."""

MIN_DISTANCE = 0.1
"""The least mel distance of silence with which a model is compared: clips may be silent."""


def collapsed_stages(usage: Sequence[float]) -> list[int]:
    """The stages that are in use and whose usage is below :data:`MIN_USAGE`."""
    return [stage for stage, share in enumerate(usage) if 0 < share < MIN_USAGE]


class Health:
    """What a run shows of its model's health, from step to step."""

    def __init__(self) -> None:
        self._collapsed: list[int] = []  # number of collapsed codebooks at each measurement

    def add_usage(self, usage: Sequence[float]) -> None:
        """Record the usage of all codebooks."""
        self._collapsed.append(len(collapsed_stages(usage)))

    def problem(
        self,
        recipe: Recipe,
        step: int,
        validation: Mapping[str, float],
        silence: float,
        skipped: int,
    ) -> str:
        """Why a model with codebooks is not usable after ``step`` steps; empty if it is.

        Poor quality after a short run is no problem. A model that has learnt nothing is one.

        Args:
            validation: the numbers of the last validation.
            silence: the mel distance of silence from the validation clips.
            skipped: the number of skipped steps.
        """
        stages = recipe.codec.quantizer.num_codebooks
        low = self._collapsed[-1] if self._collapsed else 0
        distance = validation[f"validation/mel_{stages}"]
        if not distance < max(silence, MIN_DISTANCE):
            found = (
                f"its reconstructions are no closer to the speech than silence is (mel distance "
                f"{distance:.2f}, silence {silence:.2f})"
            )
        elif low and sum(map(bool, self._collapsed)) > len(self._collapsed) / 2:
            found = (
                f"{low} of {stages} codebooks have collapsed: less than {MIN_USAGE:.0%} of "
                "their entries are used"
            )
        elif skipped > step / 2:
            found = f"{skipped} of {step} steps were skipped: they were not finite"
        else:
            return ""
        settings = recipe.optimizer
        return (
            f"{found}; lower optimizer.learning_rate ({settings.learning_rate:g}) or "
            f"optimizer.quantizer_learning_rate ({settings.quantizer_learning_rate:g}) and train "
            "again"
        )
