"""A run with a budget of time: the clock is the tests' own, so nothing depends on the machine."""

from __future__ import annotations

import copy
import json
import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from audiocodec import Codec, CodecError, load_codec
from audiocodec.durations import parse_duration, show_duration
from audiocodec.training import Recipe, Trainer
from audiocodec.training.budget import RESERVE, BudgetPace, pace_of
from audiocodec.training.optim import WeightAverage
from audiocodec.training.pace import Pace
from audiocodec.training.schedule import learning_rates
from audiocodec_cli.main import run

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "recipes" / "tiny.yaml"


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def tiny(*overrides: str) -> Recipe:
    return Recipe.from_yaml(TINY, ["discriminators.start_step=20", *overrides])


def timed_trainer(
    recipe: Recipe,
    folder: Path,
    clock: Clock,
    step_seconds: Callable[[float], float] = lambda share: 1.0,
    resume: bool = False,
    checkpoint_seconds: float = 2.0,
) -> Trainer:
    """A trainer for which a step takes ``step_seconds`` of its share of the schedule, a validation
    3 s, a checkpoint 2 s, and an initialisation 1 ms a frame."""
    budget = recipe.schedule.budget
    assert budget is not None
    schedule = recipe.schedule
    pace = BudgetPace(schedule.steps, budget, len(schedule.initialisation_steps), clock=clock)
    trainer = Trainer(recipe, folder, resume=resume, pace=pace)
    numbers = {"validation/mel_4": 0.1}

    def slow(seconds: Callable[[], float], function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            clock.now += seconds()
            return function(*arguments)

        return call

    training: Any = trainer.training_step
    training.update = slow(lambda: step_seconds(pace.position / schedule.steps), training.update)
    validation: Any = trainer.validation
    validation.audio = torch.zeros(2, 1, 400)  # too short for scores, which take their time
    validation.run = slow(lambda: 3.0, lambda codec: (numbers, {"a": torch.rand(4000)}, None))
    checkpoints: Any = trainer.checkpoints
    checkpoints.save = slow(lambda: checkpoint_seconds, checkpoints.save)
    return trainer


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").open()]


# The pace by itself.


def walk(pace: BudgetPace, clock: Clock, seconds: Callable[[float], float]) -> list[float]:
    """The positions of all steps of a run; a step takes ``seconds`` of its position."""
    positions = []
    while not pace.ended:
        pace.check("codec train --resume run")
        positions.append(pace.position)
        pace.begin_step()
        clock.now += seconds(pace.position)
        pace.end_step()
        interrupt(pace, clock, 0.0, 0.0)
    return positions


def interrupt(pace: BudgetPace, clock: Clock, validation: float, checkpoint: float) -> list[str]:
    """Validation and checkpoint, if they are due, in so many seconds."""
    due = []
    for what, seconds in (("validation", validation), ("checkpoint", checkpoint)):
        if pace.is_due(what, 100):
            due.append(what)
            with pace.timing(what):
                clock.now += seconds
    return due


def test_a_schedule_of_any_length_ends_with_the_budget() -> None:
    for steps in (10, 1000, 10**6):
        clock = Clock()
        pace = BudgetPace(steps, 200.0, 0, clock=clock)
        positions = walk(pace, clock, lambda _: 1.0)
        assert 199 <= clock.now - 100 <= 200
        assert positions == sorted(positions)
        assert positions[:4] == [0] * 3 + [0]  # measuring, and the beginning of the schedule
        assert positions[-1] > 0.98 * steps and pace.position == steps


def test_phases_are_shares_of_the_time_even_if_their_steps_are_slower() -> None:
    clock = Clock()
    pace = BudgetPace(1000, 1000.0, 0, clock=clock)
    at: dict[int, float] = {}

    def seconds(position: float) -> float:
        at.setdefault(int(position // 250), clock.now - 100)
        return 4.0 if position >= 500 else 1.0  # as steps with discriminators are

    positions = walk(pace, clock, seconds)
    assert 995 <= clock.now - 100 <= 1000
    assert at[1] == pytest.approx(250, abs=10)
    assert at[2] == pytest.approx(500, abs=10)
    assert at[3] == pytest.approx(750, abs=25)  # a few steps until the new step time is known
    assert len(positions) == pytest.approx(500 + 125, abs=15)


def test_a_machine_that_becomes_busy_or_sleeps_still_ends_in_time() -> None:
    clock = Clock()
    pace = BudgetPace(1000, 600.0, 0, clock=clock)

    def seconds(position: float) -> float:
        if position > 300 and not slept:
            slept.append(1)
            return 150.0  # a laptop that was closed
        return 2.5 if position > 600 else 1.0

    slept: list[int] = []
    positions = walk(pace, clock, seconds)
    assert 590 <= clock.now - 100 <= 600
    assert positions[-1] > 980


def test_time_for_the_last_validation_and_checkpoint_is_measured_and_kept() -> None:
    clock = Clock()
    pace = BudgetPace(1000, 300.0, 0, clock=clock)
    seen = []
    while not pace.ended:
        pace.check("codec train --resume run")
        pace.begin_step()
        clock.now += 1.0
        pace.end_step()
        seen += [(what, pace.spent) for what in interrupt(pace, clock, 12.0, 8.0)]
    assert seen[:2] == [("validation", 23), ("checkpoint", 23)]
    assert clock.now - 100 == pytest.approx(300 - RESERVE * 20, abs=1)
    assert len(seen) == 2  # more of them would take more than their share of the time


def test_on_a_gpu_the_clock_is_read_every_few_steps_and_at_the_end_of_each() -> None:
    clock, waits = Clock(), []

    def wait() -> None:
        clock.now += queued[0]
        queued[0] = 0.0
        waits.append(clock.now - 100)

    queued = [0.0]
    pace = BudgetPace(1000, 100.0, 0, clock=clock, wait=wait)
    while not pace.ended:
        pace.check("codec train --resume run")
        pace.begin_step()
        queued[0] += 0.1  # started, not done
        pace.end_step()
        interrupt(pace, clock, 0.0, 0.0)
    assert clock.now - 100 == pytest.approx(100, abs=0.2)
    assert 120 < len(waits) < 200  # of 1000 steps


def test_fewer_frames_are_used_where_an_initialisation_takes_too_long() -> None:
    clock = Clock()
    pace = BudgetPace(1000, 100.0, 2, clock=clock)  # 5 s for each
    assert pace.initialisation_frames(10_000, 256) == 256  # measures what a frame takes
    with pace.timing("initialisation", 256):
        clock.now += 0.256
    assert pace.initialisation_frames(10_000, 256) == pytest.approx(5000, abs=1)
    assert pace.initialisation_frames(3000, 256) == 3000
    with pace.timing("initialisation", 256):
        clock.now += 256
    assert pace.initialisation_frames(10_000, 256) == 0


def test_without_a_budget_the_position_is_the_step() -> None:
    assert type(pace_of(tiny())) is Pace
    pace = Pace(7)
    due = []
    for step in range(7):
        assert pace.position == step and not pace.ended
        assert pace.reaches([0, 5]) == (step in (0, 5))
        pace.begin_step()
        pace.end_step()
        due.append(pace.is_due("validation", 3))
    assert pace.ended and due == [False, False, True] * 2 + [False]
    assert pace.initialisation_frames(1000, 10) == 1000


def test_learning_rates_at_positions_between_steps_lie_between_theirs() -> None:
    recipe = tiny("optimizer.warmup_steps=10")
    for step in (0, 3, 9, 10, 20, 38):
        low, high = sorted(learning_rates(recipe, step + i)[0] for i in (0, 1))
        assert low <= learning_rates(recipe, step + 0.5)[0] <= high
    assert max(learning_rates(recipe, i / 10)[0] for i in range(400)) == 1e-3


def test_an_average_over_half_steps_equals_one_over_whole_steps(trainable: Codec) -> None:
    codec = copy.deepcopy(trainable)
    whole, halves = (WeightAverage(codec, 0.9, "x") for _ in range(2))
    with torch.no_grad():
        for parameter in codec.parameters():
            parameter.add_(1.0)
    whole.update()
    halves.update(0.5)
    halves.update(0.5)
    for a, b in zip(whole.codec.parameters(), halves.codec.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


# Runs.


def test_a_run_ends_whole_and_annealed_at_the_deadline(tmp_path: Path) -> None:
    clock = Clock()
    recipe = tiny("schedule.budget=2m", "schedule.decoder_only_step=30", "schedule.log_every=1")
    trainer = timed_trainer(recipe, tmp_path, clock, lambda share: 2.0 if share >= 0.5 else 1.0)
    assert trainer.train() and not trainer.problem
    assert 114 <= clock.now - 100 <= 120
    lines = log(tmp_path)
    steps = [line for line in lines if "learning_rate" in line]
    assert steps[-1]["learning_rate"] < 4e-5  # 2e-5 is the recipe's last
    began = {
        name: next(line["budget/seconds"] for line in steps if name in line)
        for name in ("loss/quantizer", "loss/adversarial")
    }
    # Steps 5 and 20 of 40: of the time from the fourth step to the reserve at the end.
    first, whole = 3 + 5, 120 - RESERVE * 5 - (3 + 5)
    assert began["loss/quantizer"] == pytest.approx(first + whole * 5 / 40, abs=4)
    assert began["loss/adversarial"] == pytest.approx(first + whole * 20 / 40, abs=4)
    assert not trainer.training_step.codec.encoder.training  # the decoder's finish
    assert lines[-1]["step"] == trainer.step and "validation/mel_4" in lines[-1]
    assert load_codec(tmp_path / "model").num_codebooks == 4
    assert trainer.checkpoints.saved_step == trainer.step
    assert Trainer(recipe, tmp_path, resume=True).train()  # it has ended: nothing is done


def test_a_killed_run_continues_within_what_is_left(tmp_path: Path) -> None:
    clock = Clock()
    recipe = tiny("schedule.budget=100s", "schedule.checkpoint_every=1")
    first = timed_trainer(recipe, tmp_path, clock, checkpoint_seconds=0.1)
    save = first.checkpoints.save

    def killed(*arguments: Any) -> None:
        save(*arguments)
        if first.step > 20:
            raise KeyboardInterrupt

    first.checkpoints.save = killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        first.train()
    spent = clock.now - 100
    assert 20 < spent < 40
    clock.now += 10_000  # nobody trains meanwhile: that does not count
    began = clock.now
    second = timed_trainer(recipe, tmp_path, clock, resume=True)
    clock.now += 7  # the start of a process does
    assert second.step == first.step and second.pace.position == first.pace.position > 0
    assert second.train()
    assert 90 <= spent + clock.now - began <= 100
    assert second.training_step.optimizer.param_groups[0]["lr"] < 4e-5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_a_whole_checkpoint(tmp_path: Path, number: int) -> None:
    clock = Clock()
    recipe = tiny("schedule.budget=100s")
    trainer = timed_trainer(recipe, tmp_path, clock)
    update: Any = trainer.training_step.update

    def stop(*arguments: Any) -> Any:
        if trainer.step == 9:
            signal.raise_signal(number)
        return update(*arguments)

    trainer.training_step.update = stop  # type: ignore[method-assign]
    assert not trainer.train()
    resumed = timed_trainer(recipe, tmp_path, clock, resume=True)
    assert resumed.step == 10
    assert 0 < resumed.pace.position == trainer.pace.position < 40
    pace = resumed.pace
    assert isinstance(pace, BudgetPace) and 10 < pace.spent < 20


def test_a_resumed_run_can_have_another_budget(tmp_path: Path) -> None:
    clock = Clock()
    recipe = tiny("schedule.budget=100s")
    timed_trainer(recipe, tmp_path, clock, lambda _: 10.0).train(time_limit=0)
    began = clock.now
    longer = timed_trainer(tiny("schedule.budget=200s"), tmp_path, clock, resume=True)
    assert longer.train()
    assert clock.now - began == pytest.approx(188, abs=10)

    timed_trainer(recipe, tmp_path / "b", clock, lambda _: 60.0).train(time_limit=0)
    less = timed_trainer(tiny("schedule.budget=30s"), tmp_path / "b", clock, resume=True)
    with pytest.raises(CodecError, match=r"has spent 1m.*budget is 30s.*--budget") as caught:
        less.train()
    assert "\n" not in str(caught.value)


def test_a_run_in_steps_can_be_finished_within_a_budget(tmp_path: Path) -> None:
    Trainer(tiny(), tmp_path).train(time_limit=0)
    clock = Clock()
    trainer = timed_trainer(tiny("schedule.budget=1m"), tmp_path, clock, resume=True)
    assert trainer.pace.position == 1
    assert trainer.train() and clock.now - 100 == pytest.approx(57, abs=3)


def test_a_run_with_a_budget_can_be_finished_in_steps(tmp_path: Path) -> None:
    clock = Clock()
    recipe = tiny("schedule.budget=100s", "schedule.initialisation_frames=200")
    trainer = timed_trainer(recipe, tmp_path, clock)
    for _ in range(20):
        trainer.train_step()
    trainer.save()
    position = trainer.pace.position
    steps = Trainer(tiny(), tmp_path, resume=True)
    assert steps.pace.position == position > 1
    assert steps.train() and steps.step == 20 + math.ceil(40 - position)


def test_a_budget_that_is_too_short_is_one_line_and_a_whole_checkpoint(tmp_path: Path) -> None:
    clock = Clock()
    recipe = tiny("schedule.budget=12s")
    trainer = timed_trainer(recipe, tmp_path, clock)
    with pytest.raises(CodecError, match="12s is too short") as caught:
        trainer.train()
    message = str(caught.value)
    assert "\n" not in message and f"codec train --resume {tmp_path} --budget 2m" in message
    longer = timed_trainer(tiny("schedule.budget=40s"), tmp_path, clock, resume=True)
    assert longer.step == trainer.step and longer.train()


def test_codebooks_are_not_initialised_again_if_that_takes_the_time_of_training(
    tmp_path: Path,
) -> None:
    clock = Clock()
    recipe = tiny(
        "schedule.budget=100s", "schedule.initialisation_steps=[5,15]", "discriminators=null"
    )
    trainer = timed_trainer(recipe, tmp_path, clock)
    batch = trainer.sampler.batch

    def slow(number: int, step: int) -> Any:
        clock.now += 8.0 if number > 2**39 else 0.0
        return batch(number, step)

    trainer.sampler.batch = slow  # type: ignore[method-assign]
    assert trainer.train()
    notes = " ".join(line.get("note", "") for line in log(tmp_path))
    assert "frames, not 400: the budget is short" in notes
    assert "not initialised again" in notes
    assert clock.now - 100 <= 101


# Words.


def test_durations() -> None:
    for text, seconds in (("90", 90), ("90s", 90), ("25m", 1500), ("1.5h", 5400)):
        assert parse_duration(text) == seconds
    assert [show_duration(x) for x in (45, 125, 1500, 5400, 7200)] == [
        "45s",
        "2m05s",
        "25m",
        "1h30m",
        "2h",
    ]
    for seconds in (7, 60, 61, 3599, 3600, 5400):
        shown = show_duration(seconds)
        assert shown  # a message says it


@pytest.mark.parametrize("value", ["soon", "0s", "-5m", "25 minutes"])
def test_a_budget_that_is_no_duration_is_refused_in_one_line(value: str) -> None:
    with pytest.raises(CodecError, match=r"schedule\.budget") as caught:
        tiny(f"schedule.budget={value}")
    assert "\n" not in str(caught.value)


def test_the_command_takes_a_budget(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "tiny", "--budget", "1h", "--time-limit", "0s", "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert "stopped after 1 steps, " in told and " of 1h; continue with" in told
    assert "schedule.budget" not in told
    assert Recipe.from_yaml(here / "runs/tiny/recipe.yaml").schedule.budget == 3600
    words = ["train", "--resume", "runs/tiny", "--time-limit", "0s", "--device", "cpu", "--json"]
    assert run(words) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert (result["steps"], result["budget_seconds"], result["finished"]) == (None, 3600, False)
    assert result["budget_spent"] > 0
    assert run(["train", "tiny", "--budget", "1h", "--check", "--json", "--device", "cpu"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["hours"] == 1 and made["steps"] == round(3600 / made["seconds_per_step"])
