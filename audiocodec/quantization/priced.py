"""A search for codes that weighs distortion against bits, under a context model of the codes.

Context coding writes a likely code in few bits. So a code that is slightly worse but much more
likely may be the better choice: where speech pauses, almost every bit is saved. Each stage takes
the code with the least

    |r - g|^2 / |latents|^2 + price * bits

(Lagrangian rate-distortion optimisation: Sullivan and Wiegand, "Rate-distortion optimization for
video compression", 1998). ``r`` is the residual in the latents' space and ``g`` what the code
stands for. |latents|^2 is the mean energy of a frame's latents around their center when the
codebooks were initialised, so ``price`` is the share of it that one bit is worth.

The bits depend on all earlier codes. So frames are searched one after the other, and the blocks of
a file, which are coded independently, side by side. Within a frame the ``beam`` best paths are
kept.

Shapes: ``R`` blocks, ``M`` paths, ``K`` stages in use, ``D`` latent_dim, ``F`` frames.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from audiocodec.quantization.search import InferenceTables, Step, best_path
from audiocodec.tokens.context import ContextModel
from audiocodec.tokens.context.frequencies import to_frequencies


class PricedSearch:
    """Codes of blocks that cost few bits under ``context``.

    Args:
        tables: of the codec whose codes ``context`` predicts.
        price: what one bit is worth, as a share of the energy of a frame's latents; 0 or more.
        beam: paths that are kept from stage to stage.
    """

    def __init__(
        self, tables: InferenceTables, context: ContextModel, price: float, beam: int = 1
    ) -> None:
        self.tables, self.context, self.beam = tables, context, beam
        self._price_of_a_bit = price * tables.energy

    def encode(self, latents: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Latents ``[R, D, F]`` of blocks of equal length -> codes int64 ``[R, K, F]``.

        The context starts anew in each block.
        """
        rows, _, frames = latents.shape
        count = num_codebooks or len(self.tables.stages)
        projected = self.tables.project(latents, count).unflatten(0, (rows, frames))
        state = np.repeat(self.context.start_state[count - 1][None], rows, axis=0)
        codes = torch.empty(rows, count, frames, dtype=torch.long, device=latents.device)
        for frame in range(frames):
            codes[:, :, frame] = self._frame(projected[:, frame], state, count)
            total = np.repeat(self.context.start_sum[count - 1][None], rows, axis=0)
            for stage, chosen in enumerate(codes[:, :, frame].cpu().numpy().T):
                total += self.context.embeddings[stage][chosen]
            state = self.context.remember(state, total)
        return codes

    def _frame(self, projected: Tensor, state: np.ndarray, count: int) -> Tensor:
        """What the stages see of one frame, ``[R, d of all stages]`` -> codes ``[R, K]``."""
        rows = len(projected)
        memory = self.context.recalled(state, count)
        seen = projected.unsqueeze(1)  # [R, M, d of this and of later stages]
        cost = projected.new_zeros(rows, 1)
        total = np.repeat(self.context.start_sum[count - 1][None, None], rows, axis=0)
        steps: list[Step] = []
        for stage, tables in enumerate(self.tables.stages[:count]):
            own, later = seen[..., : tables.dim], seen[..., tables.dim :]
            paths = total.shape[1]
            recalled = np.repeat(memory[stage], paths, axis=0)
            logits = self.context.logits(stage, recalled, total.reshape(rows * paths, -1))
            frequencies = to_frequencies(logits, self.context.table, self.context.precision)
            bits = self.context.precision - np.log2(frequencies.astype(np.float32))
            price = torch.from_numpy(bits).to(projected) * self._price_of_a_bit
            codes, parents, cost = tables.extend_by_energy(own, cost, self.beam, price)
            steps.append((codes, parents))
            gathered = np.take_along_axis(total, parents.cpu().numpy()[..., None], axis=1)
            total = gathered + self.context.embeddings[stage][codes.cpu().numpy()]
            width = later.shape[-1]
            if width:
                later = later.gather(1, parents.unsqueeze(2).expand(-1, -1, width))
                seen = later - tables.taken(codes, width)
        return best_path(steps)
