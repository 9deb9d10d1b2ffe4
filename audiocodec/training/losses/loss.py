"""A loss: a function, its default weight, and when it is computed."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from audiocodec.training.losses.inputs import LOSS_INPUTS, LossInputs


@dataclass(frozen=True)
class Loss:
    """One term of the codec's loss.

    The function's parameters say what it needs: each is the name of an attribute of
    :class:`LossInputs`. When it is computed follows from them. A loss of ``quantized`` is computed
    once the codebooks are initialised. The weight of a loss of ``real_maps`` or ``fake_maps`` is 0
    before ``discriminators.start_step`` and rises over ``discriminators.ramp_steps`` from there.
    A parameter ``network`` is the frozen network that ``load_network`` returns.

    Raises:
        TypeError: a parameter is not the name of an input.
    """

    function: Callable[..., Tensor]
    """Returns a scalar."""
    weight: float
    """The default of ``losses.NAME`` in a recipe."""
    description: str
    """For the documentation of recipes."""
    if_zero: bool = False
    """Compute and log the loss even if its weight in the recipe is 0."""
    requires: str | None = None
    """Name of another loss; this one is computed only in the steps that compute the other."""
    min_hop_length: int = 1
    """The fewest samples in a frame for which the loss is defined."""
    load_network: Callable[[str | None, int], nn.Module] | None = None
    """Loads the frozen network that the function takes, if the loss's weight in the recipe is not
    0: of the folder ``losses.models.NAME`` of the recipe, if any, and the codec's sample rate."""

    def __post_init__(self) -> None:
        for name in self.needs:
            if name not in LOSS_INPUTS:
                raise TypeError(
                    f"{self.function.__name__}: a loss has no input `{name}`; "
                    f"it can have {', '.join(LOSS_INPUTS)}"
                )

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the inputs that the function takes."""
        names = tuple(inspect.signature(self.function).parameters)
        return tuple(name for name in names if name != "network" or self.load_network is None)

    @property
    def needs_quantizer(self) -> bool:
        """Whether the loss is defined only while the codec quantises."""
        return "quantized" in self.needs

    @property
    def needs_discriminators(self) -> bool:
        """Whether the loss is defined only while discriminators are in use."""
        return bool({"real_maps", "fake_maps"} & set(self.needs))

    def compute(self, inputs: LossInputs, network: nn.Module | None = None) -> Tensor:
        """The loss of one batch, a scalar; ``network`` is what :attr:`load_network` returned."""
        values = {name: getattr(inputs, name) for name in self.needs}
        if self.load_network is not None:
            values["network"] = network
        return self.function(**values)
