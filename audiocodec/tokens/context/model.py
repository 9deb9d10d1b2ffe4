"""ContextModel: the integer network, read from a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from audiocodec.errors import CodecError
from audiocodec.paths import replacing, writing
from audiocodec.tokens.context.frequencies import Doubles, to_frequencies
from audiocodec.tokens.context.layer import Floats, Ints, Layer, TensorFile, Tensors
from audiocodec.tokens.context.predictor import Predictor

CONTEXT_NAME = "context.safetensors"
SUM_LIMIT = 255
"""Sums of embeddings are clipped to this on either side, as inputs of a layer."""
GATE = 256
"""1.0 of the memory's gates and of its candidate."""
STATE_STEPS = 64
"""The memory's state is this much finer than what a layer sees of it."""
CARRIED_LIMIT = 32_767
"""Greatest magnitude of what the state adds to the candidate, before the reset gate."""
HIDDEN_LIMIT = 255
"""Greatest output of a hidden unit."""
PIECE = 256
"""Codes per matrix product in :meth:`ContextModel.intervals`, so that logits stay in cache."""


class ContextModel:
    """Frequencies of codes from the codes before them.

    For ``K`` codebooks in use, the state ``h`` begins at ``start.state[K - 1]``. In each frame the
    sum ``s`` begins at ``start.sum[K - 1]``; stage ``k`` adds its code's embedding to it after

        hidden = clip(layer(h // 64, clip(s, -255, 255)), 0, 255)
        logits = layer(hidden)

    gave that code's frequencies. After the last stage the memory takes a step:

        update, reset = clip(layer(h // 64, clip(s, -255, 255)), 0, 256)
        carried = clip(layer(h // 64), -32767, 32767)
        candidate = clip(layer(clip(s, -255, 255)) + reset * carried // 256, -256, 256)
        h += update * (64 * candidate - h) // 256

    which is a gated recurrent unit (Cho et al. 2014; the reset gate as in cuDNN) in integers.

    ``layer`` is :class:`~audiocodec.tokens.context.layer.Layer`; ``//`` rounds down.

    Attributes:
        fingerprint: 16 hex digits of the tensors.
        codebook_sizes: of the codec that it predicts the codes of.
        precision: frequencies of a code sum to ``2**precision``, each at least 1.
        table: int ``[T]`` as float64: see :func:`to_frequencies`.
        start_state, start_sum: float32 ``[K, H]``, ``[K, D]``: initial values for each ``K``.
        embeddings: float32 ``[size, D]`` of each stage.

    Args:
        tensors: the content of ``context.safetensors``.
        path: its name, for messages.

    Raises:
        CodecError: they are not a context model, or one whose arithmetic would not be exact.
    """

    precision: ClassVar[int] = 16

    def __init__(self, tensors: Tensors, path: Path = Path(CONTEXT_NAME)) -> None:
        file = TensorFile(tensors, path)
        stages = sorted(int(found[1]) for name in tensors if (found := _EMBEDDING.fullmatch(name)))
        count = len(stages)
        if not count or stages != list(range(count)):
            raise file.error("`stages.N.embedding` are not numbered from 0")
        table = file.get("table", np.int32, (None,))
        if table[0] < 1 or table.min() < 0 or (np.diff(table) > 0).any() or len(table) >= 2**16:
            raise file.error("`table` does not fall from at least 1 to at least 0")
        self.table: Doubles = table.astype(np.float64)
        start_sum = file.get("start.sum", np.int8, (count, None))
        start_state = file.get("start.state", np.int16, (count, None))
        if np.abs(start_state.astype(np.int64)).max() > GATE * STATE_STEPS:
            raise file.error(f"`start.state` is not within {GATE * STATE_STEPS}")
        self.start_sum: Floats = start_sum.astype(np.float32)
        self.start_state: Floats = start_state.astype(np.float32)
        dim, width = start_sum.shape[1], start_state.shape[1]
        sum_bounds, state_bounds = np.full(dim, SUM_LIMIT), np.full(width, GATE)
        bounds = np.concatenate([state_bounds, sum_bounds])
        self._memory = Layer(file, "memory", 3 * width, bounds)
        self._hidden, self._logits = [], []
        self.embeddings: list[Floats] = []
        for stage in stages:
            embedding = file.get(f"stages.{stage}.embedding", np.int8, (None, dim))
            if len(embedding) > 2 ** (self.precision - 2):
                raise file.error(f"a codebook of {len(embedding)} entries, more than 16,384")
            self.embeddings.append(embedding.astype(np.float32))
            hidden = Layer(file, f"stages.{stage}.hidden", None, bounds)
            units = np.full(len(hidden.bias), HIDDEN_LIMIT)
            self._hidden.append(hidden)
            self._logits.append(Layer(file, f"stages.{stage}.logits", len(embedding), units))
        self._width = width
        self._recall = np.concatenate([layer.matrix[:width] for layer in self._hidden], axis=1)
        self._ends = np.cumsum([0, *(len(layer.bias) for layer in self._hidden)])
        self.codebook_sizes = tuple(len(embedding) for embedding in self.embeddings)
        self.tensors = dict(tensors)
        self.fingerprint = file.fingerprint()

    @classmethod
    def load(cls, path: str | Path) -> ContextModel:
        """The context model in a file, or in a model's folder.

        Raises:
            CodecError: missing, damaged, or not a context model.
        """
        path = Path(path)
        path = path / CONTEXT_NAME if path.is_dir() else path
        try:
            return cls(load(path.read_bytes()), path)
        except FileNotFoundError:
            raise CodecError(f"{path}: no such file; `codec train-context` makes one") from None
        except OSError as error:
            raise CodecError(f"{path}: cannot be read ({error.strerror})") from None
        except (SafetensorError, ValueError, KeyError) as error:
            raise CodecError(f"{path}: damaged or not a safetensors file ({error})") from None

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            CodecError: the place is not writable.
        """
        path = Path(path)
        data = save({name: np.ascontiguousarray(value) for name, value in self.tensors.items()})
        with replacing(path) as temporary, writing(path):
            temporary.write_bytes(data)

    def intervals(self, codes: Any) -> tuple[Ints, Ints]:
        """Where each of these codes lies among the frequencies of its codebook's codes.

        Args:
            codes: int64 ``[R, K, F]``; ``K`` may be fewer than all codebooks. Each row starts from
                the initial state.

        Returns:
            starts and frequencies, int64 ``[R, K, F]``: the sum of the frequencies of all lower
            codes, and that of the code itself.

        Raises:
            CodecError: more codebooks than the model has, or a code outside its codebook.
        """
        rows, num_codebooks, frames = codes.shape
        self._check(num_codebooks)
        for stage, size in enumerate(self.codebook_sizes[:num_codebooks]):
            values = codes[:, stage]
            if values.size and not 0 <= values.min() <= values.max() < size:
                raise CodecError(
                    f"codes of codebook {stage + 1} are not all within 0 and {size - 1}"
                )
        embedded = [self.embeddings[k][codes[:, k]] for k in range(num_codebooks)]
        states = np.empty((rows, frames, self._width), np.float32)
        sums = np.empty((num_codebooks, rows, frames, self.start_sum.shape[1]), np.float32)
        running = np.broadcast_to(self.start_sum[num_codebooks - 1], sums.shape[1:])
        for k in range(num_codebooks):
            sums[k] = running
            running = running + embedded[k]
        state = np.repeat(self.start_state[num_codebooks - 1][None], rows, axis=0)
        for frame in range(frames):
            states[:, frame] = state
            state = self.remember(state, running[:, frame])
        starts = np.empty((num_codebooks, rows * frames), np.int64)
        counts = np.empty_like(starts)
        flat = states.reshape(-1, self._width)
        for begin in range(0, rows * frames, PIECE):
            piece = slice(begin, begin + PIECE)
            memory = self.recalled(flat[piece], num_codebooks)
            for k in range(num_codebooks):
                total = sums[k].reshape(rows * frames, -1)[piece]
                logits = self.logits(k, memory[k], total)
                frequencies = to_frequencies(logits, self.table, self.precision)
                chosen = codes[:, k].reshape(-1)[piece, None]
                before = np.cumsum(frequencies, axis=1)
                counts[k, piece] = np.take_along_axis(frequencies, chosen, 1)[:, 0]
                starts[k, piece] = np.take_along_axis(before, chosen, 1)[:, 0] - counts[k, piece]
        shape = num_codebooks, rows, frames
        return (
            np.ascontiguousarray(starts.reshape(shape).swapaxes(0, 1)),
            np.ascontiguousarray(counts.reshape(shape).swapaxes(0, 1)),
        )

    def bits(self, codes: Any) -> Doubles:
        """Bits that codes ``[R, K, F]`` take, as float64 of that shape; see :meth:`intervals`."""
        return self.precision - np.log2(self.intervals(codes)[1])

    def predictor(self, rows: int, num_codebooks: int) -> Predictor:
        """Frequencies code by code, for ``rows`` sequences in lockstep.

        Raises:
            CodecError: more codebooks than the model has.
        """
        self._check(num_codebooks)
        return Predictor(self, rows, num_codebooks)

    def _check(self, num_codebooks: int) -> None:
        known = len(self.codebook_sizes)
        if not 1 <= num_codebooks <= known:
            raise CodecError(f"the context model has 1 to {known} codebooks, not {num_codebooks}")

    def remember(self, state: Floats, total: Floats) -> Floats:
        """The state ``[R, H]`` after a frame whose embeddings sum to ``total`` ``[R, D]``."""
        width, matrix = self._width, self._memory.matrix
        recurrent, sums = _seen(state) @ matrix[:width], _clipped(total) @ matrix[width:]
        sums[:, : 2 * width] += recurrent[:, : 2 * width]
        gates = self._memory.finish(sums)
        update, reset, candidate = (gates[:, k * width : (k + 1) * width] for k in range(3))
        np.clip(gates[:, : 2 * width], 0, GATE, out=gates[:, : 2 * width])
        carried = np.clip(np.floor(recurrent[:, 2 * width :]), -CARRIED_LIMIT, CARRIED_LIMIT)
        candidate = np.clip(candidate + np.floor(reset * carried / GATE), -GATE, GATE)
        return state + np.floor(update * (candidate * STATE_STEPS - state) / GATE)

    def recalled(self, state: Floats, num_codebooks: int) -> list[Floats]:
        """What each stage's hidden layer takes from the state ``[R, H]``: each ``[R, units]``."""
        ends = self._ends
        whole = _seen(state) @ self._recall[:, : ends[num_codebooks]]
        return [whole[:, ends[k] : ends[k + 1]] for k in range(num_codebooks)]

    def logits(self, stage: int, memory: Floats, total: Floats) -> Floats:
        """Integer logits ``[R, size]`` of the next code of ``stage``.

        Args:
            memory: of this stage, from :meth:`recalled`.
            total: sum of the embeddings of the stages before it, ``[R, D]``.
        """
        layer, last = self._hidden[stage], self._logits[stage]
        hidden = layer.finish(memory + _clipped(total) @ layer.matrix[self._width :])
        np.clip(hidden, 0, HIDDEN_LIMIT, out=hidden)
        return last.finish(hidden @ last.matrix)


_EMBEDDING = re.compile(r"stages\.(\d{1,3})\.embedding")


def _seen(state: Floats) -> Floats:
    """What a layer sees of the state: integers up to ``GATE``."""
    return np.floor(state / STATE_STEPS)


def _clipped(total: Floats) -> Floats:
    return np.clip(total, -SUM_LIMIT, SUM_LIMIT)
