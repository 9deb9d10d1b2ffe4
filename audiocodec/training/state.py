"""The state of a training step: weights, averaged weights, optimisers. A checkpoint holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiocodec.training.step import TrainingStep


def state_of(training: TrainingStep) -> dict[str, Any]:
    """The state, by names that do not depend on how many processes train."""
    state = {
        "skipped": training.skips.read()[0],
        "codec": training.codec.state_dict(),
        "ema": training.average.codec.state_dict(),
        "optimizer": training.optimizer.state_dict(),
    }
    if training.discriminators is not None:
        state["discriminators"] = training.discriminators.state_dict()
        state["discriminator_optimizer"] = training.discriminator_optimizer.state_dict()
    return state


def load_state(training: TrainingStep, state: dict[str, Any]) -> None:
    """Load what :func:`state_of` returned. A state without discriminators leaves them."""
    training.codec.load_state_dict(state["codec"])
    training.average.codec.load_state_dict(state["ema"])
    training.optimizer.load_state_dict(state["optimizer"])
    optimizers = [training.optimizer]
    if training.discriminators is not None:
        optimizers.append(training.discriminator_optimizer)
        if "discriminators" in state:
            training.discriminators.load_state_dict(state["discriminators"])
            training.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["capturable"] = training.device.type == "cuda"
    training.skips.reset(state["skipped"])
