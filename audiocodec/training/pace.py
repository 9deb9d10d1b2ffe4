"""How far the schedule of a run is: one schedule step per training step.

The position in the schedule is a number from 0 to ``schedule.steps``, in steps of the recipe.
Learning rates, losses, phases, initialisations, validations and checkpoints depend on it.
"""

import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext


class Pace:
    """The schedule advances by one step in each training step. A budget has a pace of its own.

    Args:
        steps: length of the schedule.

    Attributes:
        position: of the next training step.
        advance: how far the last training step moved the position, or the present one will.
        ended: whether the last step of the run is done.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.place(0.0, 1.0)

    unit = "step"
    """What the progress bar counts."""

    @property
    def length(self) -> float:
        """The whole run, in that unit."""
        return float(self.steps)

    @property
    def done(self) -> float:
        """What is done of it."""
        return self.position

    @property
    def last(self) -> float:
        """Position of the last training step."""
        return self.position - self.advance

    def place(self, position: float, advance: float) -> None:
        """Go to a position in the schedule."""
        self.position, self.advance = position, advance
        self.ended = position >= self.steps

    def begin_step(self) -> None:
        """Before a training step: decide how far it advances."""
        self.advance = 1.0

    def end_step(self) -> None:
        """After a training step: the position of the next one."""
        self.place(self.position + self.advance, self.advance)

    def reaches(self, steps: Iterable[int]) -> bool:
        """Whether the next training step is the first one at or after one of these steps."""
        return any(self.last < step <= self.position for step in steps)

    def is_due(self, what: str, every: int) -> bool:
        """Whether ``what``, which takes place every so many steps, follows the last step."""
        return math.floor(self.position / every) > math.floor(self.last / every)

    def initialisation_frames(self, wanted: int, least: int) -> int:
        """Frames for which there is time in an initialisation; 0 if it has to be left out."""
        return wanted

    def timing(
        self, what: str, amount: float = 1.0, is_whole: bool = True
    ) -> AbstractContextManager[None]:
        """A block that does ``amount`` units of something whose time has to be known.

        Args:
            is_whole: whether nothing of it goes on in the background afterwards.
        """
        return nullcontext()

    def has_timed(self, what: str) -> bool:
        """Whether the time that something takes is known, or need not be."""
        return True

    def scored_clips(self, wanted: int) -> int:
        """Clips for which there is time in the table of scores at the end; 0: no table."""
        return 0

    def numbers(self) -> dict[str, float]:
        """What the log says about the pace."""
        return {}

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"position": self.position, "advance": self.advance}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Continue in a new process from what :meth:`state` returned."""
        self.roll_back(state)

    def roll_back(self, state: Mapping[str, float]) -> None:
        """Go back to an earlier position. Time that is spent stays spent."""
        self.place(state.get("position", 0.0), state.get("advance", 1.0))

    def check(self, resume: str) -> None:
        """Raise :class:`CodecError` if there is no time for a whole run.

        Args:
            resume: the command that continues the run.
        """
