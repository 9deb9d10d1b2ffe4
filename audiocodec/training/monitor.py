"""The log of a run: numbers, notes, audio and pictures, as JSONL and for TensorBoard."""

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from audiocodec.errors import CodecError
from audiocodec.extras import import_extra
from audiocodec.paths import replacing, writing
from audiocodec.pictures import Coding, draw_coding, draw_spectrograms
from audiocodec.progress import progress_hidden
from audiocodec.training.health import collapsed_stages
from audiocodec.training.pace import Pace
from audiocodec.training.processes import Processes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES_EVERY = 60.0
"""Seconds between pictures, at least: drawing takes about one, and a validation of a tiny codec
less."""


class Monitor:
    """Writes the log of a run into its folder.

    If a log cannot be written, for example because the disk is full, one warning appears on stderr
    and training continues.

    Args:
        folder: the run's folder.
        step: steps done so far; log lines of later steps are dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.log_path = folder / "log.jsonl"
        self._board_path = folder / "tensorboard"
        self._warned: set[Path] = set()
        self._log: Any = None
        self._board: Any = None
        self._next_pictures = 0.0
        self._thread_hook = threading.excepthook
        threading.excepthook = self._thread_failed
        import_extra("tensorboard", "train", "training")
        tensorboard = import_extra("torch.utils.tensorboard", "train", "training")

        def open_log() -> None:
            _drop_after(self.log_path, step)
            self._log = self.log_path.open("a", encoding="utf-8")

        def open_board() -> None:
            self._board = tensorboard.SummaryWriter(self._board_path, purge_step=step + 1)

        self._try(self.log_path, open_log)
        self._try(self._board_path, open_board)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Write one line of the log, and one point of every curve."""
        self._write({"step": step, **{name: float(f"{v:.6g}") for name, v in values.items()}})
        for name, value in values.items():
            self._show("add_scalar", name, value, step)

    def note(self, step: int, text: str) -> None:
        """Write a line of text, for example about a skipped step."""
        self._write({"step": step, "note": text})
        self._show("add_text", "notes", text, step)

    def watch(self, step: int, usage: Sequence[float]) -> None:
        """Warn, in the log and on stderr, of codebooks that have collapsed."""
        low = [f"{stage}: {usage[stage]:.0%}" for stage in collapsed_stages(usage)]
        if low:
            text = f"step {step}: codebooks collapse, usage of stage {', '.join(low)}"
            self.note(step, text)
            tqdm.write(f"warning: {text}", file=sys.stderr)

    def audio(
        self,
        step: int,
        clips: Mapping[str, Tensor],
        sample_rate: int,
        coding: Coding | None = None,
    ) -> None:
        """Write clips ``[T]``; at most once a minute their spectrograms, and ``coding`` as drawn.

        The picture of ``coding`` is that of ``codec plot``.
        """
        for name, audio in clips.items():
            self._show("add_audio", name, audio.clamp(-1, 1).unsqueeze(0), step, sample_rate)
        if self._board is not None and time.monotonic() >= self._next_pictures:
            self._pictures(step, clips, sample_rate, coding)
            self._next_pictures = time.monotonic() + PICTURES_EVERY

    def _pictures(
        self, step: int, clips: Mapping[str, Tensor], sample_rate: int, coding: Coding | None
    ) -> None:
        signals = {name: audio.numpy() for name, audio in clips.items()}
        self._picture("spectrograms", draw_spectrograms(signals, sample_rate), step)
        if coding is not None:
            self._picture("coding", draw_coding(coding), step)

    def _picture(self, name: str, figure: "Figure", step: int) -> None:
        canvas: Any = figure.canvas
        canvas.draw()
        picture = np.asarray(canvas.buffer_rgba())[..., :3]
        self._show("add_image", name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is buffered, and close the files."""
        if self._log is not None:
            self._try(self.log_path, self._log.close)
        if self._board is not None:
            self._try(self._board_path, self._board.close)
        threading.excepthook = self._thread_hook

    def _write(self, entry: Mapping[str, Any]) -> None:
        def write() -> None:
            self._log.write(json.dumps(entry) + "\n")
            self._log.flush()

        if self._log is not None:
            self._try(self.log_path, write)

    def _show(self, kind: str, *arguments: Any, **options: Any) -> None:
        def show() -> None:
            getattr(self._board, kind)(*arguments, **options)

        if self._board is not None and not self._try(self._board_path, show):
            self._board = None  # its thread has ended

    def _try(self, path: Path, action: Callable[[], None]) -> bool:
        """Whether ``action`` could write to ``path``."""
        try:
            action()
        except (OSError, CodecError) as error:
            self._warn(path, error)
            return False
        return True

    def _warn(self, path: Path, error: BaseException) -> None:
        if path not in self._warned:
            self._warned.add(path)
            reason = getattr(error, "strerror", None) or error
            tqdm.write(
                f"warning: {path}: cannot be written ({reason}); training continues without it",
                file=sys.stderr,
            )

    def _thread_failed(self, failure: threading.ExceptHookArgs) -> None:
        """Warn if TensorBoard's thread cannot write; without this it prints a traceback."""
        of_board = type(failure.thread).__module__.startswith("tensorboard")
        if of_board and isinstance(failure.exc_value, OSError):
            self._warn(self._board_path, failure.exc_value)
        else:
            self._thread_hook(failure)


class SilentMonitor(Monitor):
    """Writes nothing, as if nothing could be opened: that of a process that is not rank 0."""

    def __init__(self) -> None:
        self._log = self._board = None
        self._thread_hook = threading.excepthook

    def watch(self, step: int, usage: Sequence[float]) -> None:
        pass


def open_monitor(folder: Path, step: int, processes: Processes, notes: list[str]) -> Monitor:
    """The log of a run, which rank 0 writes. It takes the ``notes`` that were made before."""
    monitor = Monitor(folder, step) if processes.leads else SilentMonitor()
    for note in notes:
        monitor.note(step, note)
    notes.clear()
    return monitor


def show_numbers(step: int, numbers: Mapping[str, float]) -> None:
    """Print the scores of a validation, unless there are none or progress is hidden."""
    if numbers and not progress_hidden():
        shown = "  ".join(f"{name.split('/')[1]} {value:.3f}" for name, value in numbers.items())
        tqdm.write(f"step {step}: {shown}", file=sys.stderr)


def run_bar(pace: Pace, show: bool = True) -> tqdm:  # type: ignore[type-arg]
    """The progress bar of a run, in steps or in seconds of its budget."""
    return tqdm(
        total=round(pace.length),
        initial=round(pace.done),
        unit=pace.unit,
        mininterval=0.5 if sys.stderr.isatty() else 30,
        disable=progress_hidden() or not show,
    )


def _drop_after(path: Path, step: int) -> None:
    """Drop log lines later than ``step``: the resumed run writes them again."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # the last line of a killed run
        if entry["step"] <= step:
            kept.append(line + "\n")
    with replacing(path) as temporary, writing(path):
        temporary.write_text("".join(kept), encoding="utf-8")
