"""A whole run: codes, network, training, and the finished model in its place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from audiocodec.checkpoint import find_model, load_codec, load_trainable
from audiocodec.errors import CodecError
from audiocodec.paths import writing
from audiocodec.tokens.context import CONTEXT_NAME, ContextModel
from audiocodec.training.context.data import Sampler, blocks, read_recordings, split_recordings
from audiocodec.training.context.entries import projected_entries
from audiocodec.training.context.network import ContextNetwork
from audiocodec.training.context.settings import ContextSettings
from audiocodec.training.context.trainer import ContextTrainer
from audiocodec.training.context.validation import Bits

MAX_SIZE = 16_384
"""Entries of a codebook; with more, frequencies of 16 bits would not tell codes apart."""


@dataclass(frozen=True)
class ContextResult:
    """What a run has made.

    Attributes:
        path: the context model.
        model: it.
        step: updates done.
        finished: the end was reached; else the run can be resumed.
        bits: on held-out speech, for some numbers of codebooks.
        training_frames, held_out_frames: that the run had.
    """

    path: Path
    model: ContextModel
    step: int
    finished: bool
    bits: list[Bits]
    training_frames: int
    held_out_frames: int


def train_context(
    model: str | Path,
    data: str | Path,
    settings: ContextSettings,
    folder: str | Path,
    out: str | Path | None = None,
    held_out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> ContextResult:
    """Train a context model for the codec ``model``.

    Args:
        model: name of a bundled model, or its folder.
        data: folder of token files of this model with all codebooks, or of audio.
        settings: of the run.
        folder: of the run: checkpoint, log, tokens of audio, and the model so far.
        out: folder that the finished ``context.safetensors`` is written into; ``None`` for the
            codec's own. It is written when the end was reached.
        held_out: as ``data``; ``None`` to hold out every 50th file.
        resume: continue the run in ``folder``.
        overwrite: replace a context model that is in ``out``.

    Raises:
        CodecError: unusable data, a codebook of more than 16,384 entries, ``out`` has a context
            model already, or a file cannot be written.
    """
    folder, target = Path(folder), Path(out) if out is not None else find_model(model)
    if (target / CONTEXT_NAME).exists() and not overwrite:
        raise CodecError(
            f"{target / CONTEXT_NAME}: is there already, and token files coded with it need it; "
            "--out DIR writes elsewhere, --overwrite replaces it"
        )
    codec = load_codec(model)
    if max(codec.codebook_sizes) > MAX_SIZE:
        raise CodecError(
            f"{model}: a codebook of {max(codec.codebook_sizes)} entries; context coding needs "
            f"{MAX_SIZE} at most"
        )
    recordings = read_recordings(data, codec, folder / "tokens")
    if held_out is None:
        recordings, held = split_recordings(recordings)
    else:
        held = read_recordings(held_out, codec, folder / "tokens-held-out")
    with writing(target):
        target.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    entries = projected_entries(load_trainable(model).quantizer, settings.network.dim)
    network = ContextNetwork(settings.network, codec.codebook_sizes, entries, fast_products())
    rows = blocks(held, settings.segment_frames)
    sampler = Sampler(recordings, settings.segment_frames)
    trainer = ContextTrainer(settings, network, sampler, rows, folder, resume)
    finished = trainer.train()
    path = (target if finished else folder) / CONTEXT_NAME
    context = trainer.model()
    context.save(path)
    bits = trainer.measured()
    frames = sampler.num_frames, rows.shape[0] * rows.shape[2]
    return ContextResult(path, context, trainer.step, finished, bits, *frames)


def fast_products() -> bool:
    """Whether this CPU multiplies matrices of bfloat16 much faster than of float32."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(supported and supported())
