"""What a run tells of itself: TensorBoard and a JSONL log, with the use of every codebook."""

import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from audiocodec.errors import CodecError
from audiocodec.extras import import_extra
from audiocodec.paths import replacing, writing
from audiocodec.pictures import draw_spectrograms

COLLAPSED_USAGE = 0.1


class UsageMeter:
    """Counts how often each entry of each stage is chosen."""

    def __init__(self, sizes: Sequence[int], device: torch.device) -> None:
        self.sizes = sizes
        self.counts = torch.zeros(len(sizes), max(sizes), dtype=torch.long, device=device)

    def add(self, codes: Tensor, valid: Tensor) -> None:
        """Count codes ``[B, K, F]`` if ``valid``, a boolean scalar."""
        stages = torch.arange(codes.shape[1], device=codes.device).unsqueeze(1)
        places = (codes + stages * self.counts.shape[1]).flatten()
        self.counts.view(-1).index_add_(0, places, valid.to(torch.long).expand(len(places)))

    @property
    def enough(self) -> bool:
        """Whether so many codes were counted that each stage could have used all its entries."""
        counted = self.counts.sum(dim=1).tolist()
        return all(n >= size for n, size in zip(counted, self.sizes, strict=True))

    def read(self) -> tuple[list[float], list[float]]:
        """Usage (share of entries seen) and perplexity of each stage since the last reading."""
        shares = self.counts / self.counts.sum(dim=1, keepdim=True).clamp(min=1)
        perplexity = torch.exp(torch.special.entr(shares).sum(dim=1)).tolist()
        used = (self.counts > 0).sum(dim=1).tolist()
        self.counts.zero_()
        return [n / size for n, size in zip(used, self.sizes, strict=True)], perplexity


class MeanMeter:
    """Means of numbers that stay on their device until they are read."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], Tensor] = {}

    def add(self, values: Mapping[str, Tensor], valid: Tensor) -> None:
        """Take in scalars if ``valid``, a boolean scalar; names may differ from call to call."""
        names = tuple(values)
        numbers = torch.stack([valid, *(value.detach().float() for value in values.values())])
        if names not in self._sums:
            self._sums[names] = torch.zeros_like(numbers)
        self._sums[names] += numbers.where(valid, 0.0)

    def read(self) -> dict[str, float]:
        """The mean of each name since the last reading; waits for a GPU."""
        totals: dict[str, float] = {}
        counts: dict[str, float] = {}
        for names, sums in self._sums.items():
            count, *values = sums.tolist()
            sums.zero_()
            for name, value in zip(names, values, strict=True):
                totals[name] = totals.get(name, 0.0) + value
                counts[name] = counts.get(name, 0.0) + count
        return {name: total / counts[name] for name, total in totals.items() if counts[name]}


class Monitor:
    """Writes numbers, audio and pictures of a run under its folder.

    A log that cannot be written (the disk is full) is told once on stderr; training goes on.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.log_path = folder / "log.jsonl"
        self._board_path = folder / "tensorboard"
        self._told: set[Path] = set()
        self._log: Any = None
        self._board: Any = None
        self._thread_hook = threading.excepthook
        threading.excepthook = self._thread_failed
        import_extra("tensorboard", "train", "training")
        tensorboard = import_extra("torch.utils.tensorboard", "train", "training")

        def open_log() -> None:
            _forget_after(self.log_path, step)
            self._log = self.log_path.open("a", encoding="utf-8")

        def open_board() -> None:
            self._board = tensorboard.SummaryWriter(self._board_path, purge_step=step + 1)

        self._try(self.log_path, open_log)
        self._try(self._board_path, open_board)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """One line of the log, and one point of every curve."""
        self._write({"step": step, **{name: float(f"{v:.6g}") for name, v in values.items()}})
        for name, value in values.items():
            self._show("add_scalar", name, value, step)

    def note(self, step: int, text: str) -> None:
        """A line of words: a start, a skipped step, an alarm."""
        self._write({"step": step, "note": text})
        self._show("add_text", "notes", text, step)

    def watch(self, step: int, usage: Sequence[float]) -> None:
        """Warn, here and on stderr, when a stage in use leaves most of its entries unused."""
        low = [f"{stage}: {u:.0%}" for stage, u in enumerate(usage) if 0 < u < COLLAPSED_USAGE]
        if low:
            text = f"step {step}: codebooks collapse, usage of stage {', '.join(low)}"
            self.note(step, text)
            tqdm.write(f"warning: {text}", file=sys.stderr)

    def audio(self, step: int, clips: Mapping[str, Tensor], sample_rate: int) -> None:
        """Clips ``[T]`` to listen to and their spectrograms side by side."""
        for name, audio in clips.items():
            self._show("add_audio", name, audio.clamp(-1, 1).unsqueeze(0), step, sample_rate)
        canvas: Any = draw_spectrograms(
            {name: audio.numpy() for name, audio in clips.items()}, sample_rate
        ).canvas
        canvas.draw()
        picture = np.asarray(canvas.buffer_rgba())[..., :3]
        self._show("add_image", "spectrograms", picture, step, dataformats="HWC")

    def close(self) -> None:
        """Write everything out."""
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
            self._tell(path, error)
            return False
        return True

    def _tell(self, path: Path, error: BaseException) -> None:
        if path not in self._told:
            self._told.add(path)
            reason = getattr(error, "strerror", None) or error
            tqdm.write(
                f"warning: {path}: cannot be written ({reason}); training goes on without it",
                file=sys.stderr,
            )

    def _thread_failed(self, failure: threading.ExceptHookArgs) -> None:
        """TensorBoard writes in a thread, whose traceback nobody needs to see."""
        of_board = type(failure.thread).__module__.startswith("tensorboard")
        if of_board and isinstance(failure.exc_value, OSError):
            self._tell(self._board_path, failure.exc_value)
        else:
            self._thread_hook(failure)


def _forget_after(path: Path, step: int) -> None:
    """Drop log lines later than ``step``: the resumed run will write them again."""
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
