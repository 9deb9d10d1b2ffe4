"""A budget of time: the whole schedule of a run is laid over it, and again at every step.

The position in the schedule follows the clock. Each training step advances it by what is left of
the schedule, divided by the number of steps for which there is time: the time that is left, less
what the last validation and the last checkpoint take, over the recent time of a step. So phases
are shares of the time, whatever a step takes in them, and the schedule ends with the budget.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch

from audiocodec.durations import show_duration
from audiocodec.errors import CodecError
from audiocodec.training.pace import Pace
from audiocodec.training.recipe import Recipe

TIMED = ("validation", "checkpoint", "initialisation", "scores")
"""What is measured beside steps: seconds of one validation, one checkpoint, one frame, one clip."""

Clock = Callable[[], float]

FIRST_STEPS, FIRST_SHARE = 3, 0.1
"""The step time is measured in so many first steps, or in fewer if they take this share of the
budget. The schedule stands at its beginning meanwhile."""

RECENT_STEPS = 20
"""The time of a step is a mean over the last ones, without the slowest."""

RESERVE = 1.5
"""Times the measured validation and checkpoint: kept for the end of the run."""

LEAST_STEPS, LEAST_SHARE = 10, 0.1
"""A budget must have time for so many steps after the first ones, and a resumed run for as many if
this share of its schedule is to come."""

INTERRUPTION_SHARE = 0.02
"""Largest share of the time for validations, and for checkpoints. Between them is more time."""

INITIALISATION_SHARE = 0.1
"""Share of the budget for all initialisations of the codebooks: they use fewer frames if needed."""

SCORES_SHARE = 0.03
"""Largest share of the budget for the table of scores at the end: it has fewer clips if needed."""

STEPS_PER_READING = 8
"""On a GPU: training steps that are started before the clock is read, but at the end each."""


class BudgetPace(Pace):
    """The schedule follows the clock, and ends when the budget does.

    Args:
        steps: length of the schedule. With a budget it is only what shares are measured by.
        seconds: the budget.
        initialisations: how often the recipe initialises the codebooks.
        began: the clock's time when this process began with the run.
        clock: seconds.
        wait: on a GPU, waits until all training steps are done.
    """

    unit = "s"

    def __init__(
        self,
        steps: int,
        seconds: float,
        initialisations: int,
        began: float | None = None,
        clock: Clock = time.monotonic,
        wait: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(steps)
        self.seconds = seconds
        self._clock, self._wait = clock, wait
        self._began = clock() if began is None else began
        self._spent_before = 0.0
        self._initialisation_seconds = INITIALISATION_SHARE * seconds / max(1, initialisations)
        self._checked = False
        self._step_times: deque[float] = deque(maxlen=RECENT_STEPS)
        self._unread = 0  # steps since the clock was read
        self._mark: float | None = None  # when that was
        self._interrupted = 0.0  # seconds since then of validations, checkpoints, initialisations
        self._costs: dict[str, float] = {}  # of what is in TIMED
        self._finished: dict[str, float] = {}  # the clock when the last of each was finished
        self._scored_clips = 0
        self._waiting: set[str] = set()  # validations and checkpoints that were put off

    @property
    def spent(self) -> float:
        """Seconds in which processes worked on this run, their start-up included."""
        return self._spent_before + self._clock() - self._began

    @property
    def length(self) -> float:
        return self.seconds

    @property
    def done(self) -> float:
        return self.spent

    @property
    def _reserve(self) -> float:
        """Seconds for the last validation, the last checkpoint and the table of scores."""
        costs = [self._costs.get(what, 0.0) for what in ("validation", "checkpoint")]
        scores = self._scored_clips * self._costs.get("scores", 0.0)
        return RESERVE * (sum(costs) + scores)

    @property
    def _left(self) -> float:
        """Seconds for training steps."""
        return self.seconds - self.spent - self._reserve

    @property
    def _step_seconds(self) -> float:
        times = sorted(self._step_times)
        return sum(times[:-1]) / (len(times) - 1) if len(times) > 1 else sum(times)

    @property
    def _is_measured(self) -> bool:
        """Whether the first steps are done, so that the schedule can be laid out."""
        enough = len(self._step_times) >= FIRST_STEPS or "checkpoint" in self._costs
        return enough or (len(self._step_times) > 0 and self.spent > FIRST_SHARE * self.seconds)

    def begin_step(self) -> None:
        self.advance = 0.0
        if self._is_measured:
            steps = max(1.0, self._left / max(self._step_seconds, 1e-9))
            self.advance = (self.steps - self.position) / steps
        if self._mark is None:
            self._mark, self._interrupted = self._clock(), 0.0
        self._unread += 1

    def end_step(self) -> None:
        self._read_clock()
        is_last = self._checked and self._left < self._step_seconds
        self.place(self.steps if is_last else self.position + self.advance, self.advance)

    def _read_clock(self) -> None:
        """Measure the steps since the last reading, and what the loop does between them.

        On a GPU this waits until they are done.
        """
        if self._wait is not None:
            near_end = self._left < 2 * STEPS_PER_READING * self._step_seconds
            if self._is_measured and not near_end and self._unread < STEPS_PER_READING:
                return
            self._wait()
        assert self._mark is not None
        now = self._clock()
        self._step_times.append(max(0.0, now - self._mark - self._interrupted) / self._unread)
        self._mark, self._interrupted, self._unread = now, 0.0, 0

    def is_due(self, what: str, every: int) -> bool:
        if super().is_due(what, every):
            self._waiting.add(what)
        if what not in self._costs:
            return self._is_measured  # the first one, which measures what it takes
        cost, since = self._costs[what], self._clock() - self._finished.get(what, self._began)
        if what not in self._waiting or since * INTERRUPTION_SHARE < cost or self._left < 2 * cost:
            return False
        self._waiting.discard(what)
        return True

    def initialisation_frames(self, wanted: int, least: int) -> int:
        if "initialisation" not in self._costs:
            return min(wanted, least)
        frames = int(self._initialisation_seconds / max(self._costs["initialisation"], 1e-12))
        return min(wanted, max(frames, least)) if 3 * frames >= least else 0

    def has_timed(self, what: str) -> bool:
        return what in self._costs

    def scored_clips(self, wanted: int) -> int:
        if "scores" in self._costs:
            most = SCORES_SHARE * self.seconds / max(self._costs["scores"], 1e-9)
            self._scored_clips = min(wanted, int(most))
        return self._scored_clips

    @contextmanager
    def timing(self, what: str, amount: float = 1.0, is_whole: bool = True) -> Iterator[None]:
        if self._wait is not None:
            self._wait()
        began = self._clock()
        yield
        if self._wait is not None:
            self._wait()
        self._finished[what] = self._clock()
        if is_whole:
            self._costs[what] = (self._finished[what] - began) / amount
        self._interrupted += self._finished[what] - began

    def check(self, resume: str) -> None:
        if self.ended or self._checked:
            return
        budget, spent = show_duration(self.seconds), show_duration(self.spent)
        needed = self.spent + self._reserve + 10 * LEAST_STEPS * self._step_seconds
        more = f"{resume} --budget {show_duration(10 * (needed // 10 + 1))}"
        if self._spent_before >= self.seconds:
            before = show_duration(self._spent_before)
            raise CodecError(
                f"schedule.budget: the run has spent {before} and its budget is {budget}; give it "
                f"more in all: {more}"
            )
        self._checked = {"validation", "checkpoint"} <= self._costs.keys()
        is_short = self._left < LEAST_STEPS * self._step_seconds
        if self._checked and is_short and self.position < (1 - LEAST_SHARE) * self.steps:
            raise CodecError(
                f"schedule.budget: {budget} is too short: the start and the first steps took "
                f"{spent}, a step takes {self._step_seconds:.2g} s, and the last validation and "
                f"checkpoint need {self._reserve:.2g} s; continue with more: {more}"
            )

    def numbers(self) -> dict[str, float]:
        return {"budget/position": self.position / self.steps, "budget/seconds": self.spent}

    def state(self) -> dict[str, float]:
        times = {"spent": self.spent, "step": self._step_seconds}
        return {**super().state(), **times, **self._costs}

    def load_state(self, state: Mapping[str, float]) -> None:
        super().load_state(state)
        self._spent_before = state.get("spent", 0.0)
        if step := state.get("step", 0.0):
            self._step_times.append(step)
        self._costs = {what: state[what] for what in TIMED if what in state}


def pace_of(
    recipe: Recipe,
    device: torch.device | str = "cpu",
    began: float | None = None,
    clock: Clock = time.monotonic,
) -> Pace:
    """The pace that the recipe asks for.

    Args:
        device: where the steps are computed.
        began: when this process began, by that clock; a budget counts from then on.
        clock: seconds.
    """
    schedule = recipe.schedule
    if schedule.budget is None:
        return Pace(schedule.steps)
    on_gpu = torch.device(device).type == "cuda"
    initialisations = len(schedule.initialisation_steps)
    wait = torch.cuda.synchronize if on_gpu else None
    return BudgetPace(schedule.steps, schedule.budget, initialisations, began, clock, wait)
