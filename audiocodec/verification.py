"""Checks that a model is unchanged and keeps the token contract on this machine.

The contract: the same audio has the same codes in pieces of any length, in any batch, and on any
number of threads. In float64 all codes must be equal; in float32, where rounding may turn a near
tie, the share of equal codes is reported.

A model folder may hold ``golden.tok``, the recorded exact codes of a bundled clip. Every machine
and every version of PyTorch must reproduce them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from audiocodec.audio import AudioReader, find_audio, load_audio
from audiocodec.bundled import CLIPS, GOLDEN_CLIP, GOLDEN_NAME
from audiocodec.checkpoint import find_model, load_codec, state_fingerprint, stated_fingerprint
from audiocodec.errors import CodecError
from audiocodec.files import encode_file
from audiocodec.runtime import RuntimeCodec
from audiocodec.streaming import StreamEncoder
from audiocodec.tokens import TokenFile
from audiocodec.tokens.header import FIXED

SECONDS = 10.0
"""Used of each file, at most."""
BATCH = 8
"""Clips in a batch: ten seconds of one take 160 MB in float64."""


@dataclass(frozen=True)
class Check:
    """One promise. ``float32`` and ``float64``: shares of equal codes, where codes were compared.

    ``failure``: what is wrong, in one line; empty if nothing is.
    """

    name: str
    detail: str = ""
    float32: float | None = None
    float64: float | None = None
    failure: str = ""


def verify(
    model: str | Path,
    files: Sequence[str | Path] = (),
    device: str = "cpu",
    threads: int = 2,
) -> list[Check]:
    """Check a model with the first :data:`SECONDS` of some audio files; by default bundled clips.

    Codes of one thread are compared with those of ``threads``. Meanwhile the number of PyTorch's
    threads changes for the whole process; it is restored afterwards.

    Raises:
        CodecError: a model that cannot be loaded, above all one that has changed since it was
            saved; an audio file that cannot be read.
    """
    folder = find_model(model)
    fast = load_codec(folder, device)
    exact = load_codec(folder, device, torch.float64)
    paths = [path for given in files for path in find_audio(given)] or find_audio(CLIPS)
    clips = [item for path in paths for item in _clips(path, fast)]
    stated = "as stated" if stated_fingerprint(folder) else "not recorded; --record does it"
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = {codec: [codec.encode(audio) for audio in clips] for codec in (fast, exact)}
        return [
            Check("fingerprint", f"{fast.fingerprint}, {stated}"),
            _lengths(fast, clips),
            *_contract(fast, exact, clips, alone, threads),
            Check(
                "float32 against float64",
                float32=_share(alone[fast], alone[exact]),
            ),
            _golden(folder, fast, exact),
        ]
    finally:
        torch.set_num_threads(before)


def record(model: str | Path) -> Path:
    """Write a model's fingerprint and golden codes into its folder, as the model is now.

    Raises:
        CodecError: no such model, a damaged one, or a folder that cannot be written.
    """
    folder = find_model(model)
    state_fingerprint(folder)
    exact = load_codec(folder, dtype=torch.float64)
    encode_file(GOLDEN_CLIP, folder / GOLDEN_NAME, exact, coding=FIXED)
    return folder


def _clips(path: Path, codec: RuntimeCodec) -> list[Tensor]:
    """The channels of a file's beginning, each ``[1, 1, T]``, on the codec's device."""
    with AudioReader(path, codec.sample_rate) as reader:
        block = next(reader.blocks(SECONDS), None)
    if block is None:
        raise CodecError(f"{path}: holds no audio to verify with")
    return list(torch.from_numpy(block.copy()).to(codec.device).unsqueeze(1).split(1))


def _lengths(codec: RuntimeCodec, clips: list[Tensor]) -> Check:
    """What is decoded is as long as what was encoded."""
    hop = codec.hop_length
    wrong = []
    cuts = [clips[0][..., :length] for length in (0, 1, hop - 1, hop, hop + 1)]
    for audio in cuts + clips:
        length = audio.shape[-1]
        codes = codec.encode(audio)
        if codes.shape[-1] != -(-length // hop) or codec.decode(codes, length).shape != audio.shape:
            wrong.append(length)
    failure = f"clips of {wrong} samples come back with another length" if wrong else ""
    return Check("lengths", f"{len(cuts + clips)} clips encoded and decoded", failure=failure)


def _contract(
    fast: RuntimeCodec,
    exact: RuntimeCodec,
    clips: list[Tensor],
    alone: dict[RuntimeCodec, list[Tensor]],
    threads: int,
) -> list[Check]:
    """The codes of each clip by three other paths, against those of the clip alone."""
    checks = []
    for name, encode in (
        ("streams against whole", _streamed),
        ("batches against alone", _batched),
        (f"{threads} threads against 1", partial(_threaded, threads)),
    ):
        shares = {codec: _share(encode(codec, clips), alone[codec]) for codec in (fast, exact)}
        checks.append(_compared(name, shares[fast], shares[exact]))
    return checks


def _streamed(codec: RuntimeCodec, clips: list[Tensor]) -> list[Tensor]:
    """In pieces of random lengths up to ten frames."""
    generator = torch.Generator("cpu").manual_seed(0)
    found = []
    for audio in clips:
        encoder, codes, start = StreamEncoder(codec), [], 0
        while start < audio.shape[-1]:
            size = int(
                torch.randint(1, 10 * codec.hop_length, (), generator=generator, device="cpu")
            )
            codes.append(encoder.push(audio[..., start : start + size]))
            start += size
        found.append(torch.cat([*codes, encoder.flush()], dim=-1))
    return found


def _batched(codec: RuntimeCodec, clips: list[Tensor]) -> list[Tensor]:
    """Side by side, :data:`BATCH` at a time, the shorter ones padded with noise."""
    starts = range(0, len(clips), BATCH)
    return [codes for at in starts for codes in _batch(codec, clips[at : at + BATCH])]


def _batch(codec: RuntimeCodec, clips: list[Tensor]) -> list[Tensor]:
    lengths = [audio.shape[-1] for audio in clips]
    generator = torch.Generator("cpu").manual_seed(0)
    shape = len(clips), 1, max(lengths) + codec.hop_length
    batch = torch.rand(shape, generator=generator, dtype=torch.float32, device="cpu")
    batch = batch.to(clips[0])
    for row, audio in zip(batch, clips, strict=True):
        row[:, : audio.shape[-1]] = audio[0]
    codes = codec.encode(batch, lengths=lengths)
    ends = [-(-length // codec.hop_length) for length in lengths]
    return [row[None, :, :end] for row, end in zip(codes, ends, strict=True)]


def _threaded(threads: int, codec: RuntimeCodec, clips: list[Tensor]) -> list[Tensor]:
    torch.set_num_threads(threads)
    try:
        return [codec.encode(audio) for audio in clips]
    finally:
        torch.set_num_threads(1)


def _golden(folder: Path, fast: RuntimeCodec, exact: RuntimeCodec) -> Check:
    """The codes that the model gave for a bundled clip when they were recorded."""
    if not (folder / GOLDEN_NAME).is_file():
        return Check("golden codes", "none in the model's folder; --record makes them")
    with TokenFile(folder / GOLDEN_NAME) as tokens:
        made_by = tokens.header.fingerprint
        if made_by != fast.fingerprint:
            failure = f"{tokens.path}: of model {made_by}, not of {fast.fingerprint}; --record anew"
            return Check("golden codes", failure=failure)
        golden = torch.from_numpy(tokens.read())
    audio, _ = load_audio(GOLDEN_CLIP, fast.sample_rate)
    audio = audio.unsqueeze(1).to(fast.device)
    shares = [_share([codec.encode(audio).cpu()], [golden]) for codec in (fast, exact)]
    return _compared("golden codes", *shares)


def _compared(name: str, float32: float, float64: float) -> Check:
    failure = "" if float64 == 1 else f"only {float64:.4%} of the codes are equal in float64"
    return Check(name, float32=float32, float64=float64, failure=failure)


def _share(found: list[Tensor], expected: list[Tensor]) -> float:
    """Of all codes, how many are equal; 0 where even the shapes differ."""
    if any(a.shape != b.shape for a, b in zip(found, expected, strict=True)):
        return 0.0
    equal = sum(int((a == b).sum()) for a, b in zip(found, expected, strict=True))
    return equal / max(1, sum(b.numel() for b in expected))
