"""How the codebooks of a run are used: numbers for its log, and warnings."""

from audiocodec.training.health import Health
from audiocodec.training.monitor import Monitor
from audiocodec.training.pace import Pace
from audiocodec.training.step import TrainingStep


def codebook_numbers(
    training: TrainingStep, pace: Pace, monitor: Monitor, health: Health, step: int
) -> dict[str, float]:
    """Usage, perplexity and input energy of each codebook since the last call, by name.

    Once the codebooks are settled, the monitor warns of collapsed ones and ``health`` counts them.
    """
    schedule = training.recipe.schedule
    initialisations = schedule.initialisation_steps
    if initialisations and pace.last < min(initialisations):
        return {}
    training.processes.add_up(training.usage.counts)
    enough = training.usage.enough
    usage, perplexity = training.usage.read()
    since = schedule.log_every * max(1.0, pace.advance)
    settled = not initialisations or pace.position >= max(initialisations) + since
    if enough and settled:
        monitor.watch(step, usage)
        health.add_usage(usage)
    energy = training.residual_energy
    energy = None if energy is None else training.processes.mean(energy)
    by_stage = {
        "usage": usage,
        "perplexity": perplexity,
        "input_energy": [] if energy is None else energy.tolist(),
    }
    return {
        f"{name}/{stage}": value
        for name, values in by_stage.items()
        for stage, value in enumerate(values)
    }
