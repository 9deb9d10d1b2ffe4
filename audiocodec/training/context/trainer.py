"""The training loop of a context model: steps, checkpoints, the log, the finished file."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from audiocodec.errors import CodecError
from audiocodec.paths import replacing, writing
from audiocodec.progress import progress_hidden
from audiocodec.tokens.context import CONTEXT_NAME, ContextModel
from audiocodec.training.context.data import Rows, Sampler
from audiocodec.training.context.network import ContextNetwork
from audiocodec.training.context.settings import ContextSettings
from audiocodec.training.context.validation import Bits, measure, spread, table
from audiocodec.training.signals import stop_requests

STATE_NAME, LOG_NAME = "context.pt", "context.jsonl"
BITS = 1 / math.log(2)
CHECKED_ROWS = 20
"""Held-out blocks that a checkpoint is measured on; at the end it is all."""
MAX_NORM = 1.0
FINAL_RATE = 0.01
"""Last learning rate, as a share of the greatest."""


class ContextTrainer:
    """One run. Stopped at a checkpoint and resumed, it goes on as if it had not stopped.

    Args:
        settings: of the run.
        network: what is trained.
        sampler: of segments of codes.
        held_out: blocks to measure on, ``[R, K, F]``.
        folder: for checkpoints, log, and the model; created.
        resume: continue from the folder's checkpoint.

    Attributes:
        step: updates done.

    Raises:
        CodecError: the folder holds a run and ``resume`` is off, or none and it is on.
    """

    def __init__(
        self,
        settings: ContextSettings,
        network: ContextNetwork,
        sampler: Sampler,
        held_out: Rows,
        folder: Path,
        resume: bool = False,
    ) -> None:
        self.settings, self.network, self.sampler = settings, network, sampler
        self.held_out, self.folder = held_out, folder
        self.step, self._seconds = 0, 0.0
        self._optimizer = torch.optim.AdamW(
            network.parameters(), settings.learning_rate, (0.9, 0.99), weight_decay=0.0, fused=True
        )
        self._losses = np.zeros((2, len(network.sizes)))  # bits and codes, by stage
        path = folder / STATE_NAME
        if resume and not path.is_file():
            raise CodecError(f"{folder}: no run to resume; leave out --resume")
        if not resume and path.is_file():
            raise CodecError(f"{folder}: holds a run already; --resume continues it, or --run")
        if resume:
            self._load(path)

    def train(self) -> bool:
        """Train to the end, or until Ctrl-C or SIGTERM; returns whether the end was reached.

        The last checkpoint and the model of it are saved in either case.

        Raises:
            CodecError: a file cannot be written.
        """
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        bar = tqdm(
            total=self.settings.steps or round(60 * (self.settings.minutes or 0)),
            initial=round(self._progress() * self._length),
            unit="step" if self.settings.steps else "s",
            mininterval=0.5 if sys.stderr.isatty() else 30,
            disable=progress_hidden(),
        )
        saved, last = time.monotonic(), time.monotonic()
        with stop_requests() as stopped, bar:
            while self._progress() < 1 and not stopped:
                self._update()
                now = time.monotonic()
                self._seconds, last = self._seconds + now - last, now
                bar.update(min(round(self._progress() * self._length), bar.total) - bar.n)
                if now - saved >= self.settings.checkpoint_seconds:
                    bits = self._checkpoint()
                    bar.set_postfix_str(f"{bits.stages.sum():.2f} bits a frame", refresh=False)
                    saved = last = time.monotonic()
            finished = self._progress() >= 1
            self._checkpoint()
        return finished

    def measured(self) -> list[Bits]:
        """Bits on held-out blocks, of a finished run on all, for some numbers of codebooks."""
        model, rows = self.model(), self.held_out if self._progress() >= 1 else self._few_rows()
        return [measure(model, rows, count) for count in spread(len(self.network.sizes))]

    def model(self) -> ContextModel:
        """The context model as it is now."""
        return ContextModel(self.network.tensors(), self.folder / CONTEXT_NAME)

    @property
    def _length(self) -> float:
        return self.settings.steps or 60 * (self.settings.minutes or 0)

    def _progress(self) -> float:
        """Share of the run that is done."""
        return (self.step if self.settings.steps else self._seconds) / self._length

    def _update(self) -> None:
        """One step on one batch, which depends on seed and step alone."""
        settings = self.settings
        draw = np.random.default_rng((settings.seed, self.step))
        codes = self.sampler.batch(settings.batch_size, draw)
        counts = drawn_counts(settings, len(self.network.sizes), draw)
        fall = 0.5 + 0.5 * math.cos(math.pi * min(self._progress(), 1))
        warmth = min(1.0, (self.step + 1) / (settings.warmup_steps + 1))
        rate = settings.learning_rate * warmth * (FINAL_RATE + (1 - FINAL_RATE) * fall)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        losses = self.network(codes, counts)
        self._optimizer.zero_grad(set_to_none=True)
        (losses.sum() / (codes.shape[0] * codes.shape[2])).backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), MAX_NORM)
        if torch.isfinite(norm):
            self._optimizer.step()
        self.step += 1
        used = (counts[:, None] > torch.arange(len(losses))).sum(dim=0) * codes.shape[2]
        self._losses[0, : len(losses)] += losses.detach().numpy() * BITS
        self._losses[1, : len(losses)] += used.numpy()

    def _few_rows(self) -> Rows:
        return self.held_out[:: max(1, len(self.held_out) // CHECKED_ROWS)]

    def _checkpoint(self) -> Bits:
        """Save the state and the model, and log bits by stage."""
        target = self.folder / STATE_NAME
        state = {
            "step": self.step,
            "seconds": self._seconds,
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        with replacing(target) as path, writing(target):
            torch.save(state, path)
        model = self.model()
        model.save(self.folder / CONTEXT_NAME)
        measured = [measure(model, self._few_rows(), k) for k in spread(len(self.network.sizes))]
        bits = measured[-1]
        trained = self._losses[0] / np.maximum(self._losses[1], 1)
        self._losses[:] = 0
        savings = {str(len(each.stages)): round(each.saving, 4) for each in measured}
        self._log(
            savings=savings,
            bits=bits.stages.round(3).tolist(),
            bits_train=trained.round(3).tolist(),
        )
        if not progress_hidden():
            tqdm.write(f"step {self.step}:\n{table(measured)}", file=sys.stderr)
        return bits

    def _log(self, **values: object) -> None:
        path = self.folder / LOG_NAME
        line = json.dumps({"step": self.step, "seconds": round(self._seconds, 1), **values})
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _load(self, path: Path) -> None:
        try:
            state: dict[str, Any] = torch.load(path, weights_only=True)
            self.network.load_state_dict(state["network"])
            self._optimizer.load_state_dict(state["optimizer"])
            self.step, self._seconds = int(state["step"]), float(state["seconds"])
        except (RuntimeError, ValueError, KeyError, EOFError, OSError, UnpicklingError) as error:
            reason = (str(error).splitlines() or [""])[0]
            raise CodecError(f"{path}: damaged, or of another network ({reason})") from None


def drawn_counts(settings: ContextSettings, stages: int, draw: np.random.Generator) -> Tensor:
    """How many codebooks each row of a batch uses: int64 ``[batch_size]``, falling."""
    frequent = [count for count in settings.frequent if count < stages] + [stages]
    anything = draw.integers(1, stages + 1, settings.batch_size)
    chosen = draw.choice(frequent, settings.batch_size)
    counts = np.where(draw.random(settings.batch_size) < 2 / 3, chosen, anything)
    return torch.from_numpy(np.sort(counts)[::-1].astype(np.int64))
