"""A context model learns what can be learned, and its training can be stopped anywhere."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from audiocodec import CodecConfig, load_codec, save_codec, save_codes
from audiocodec.codec import Codec
from audiocodec.errors import CodecError
from audiocodec.tokens.context import CONTEXT_NAME, ContextModel
from audiocodec.training.context.data import Recording, Sampler, blocks, split_recordings
from audiocodec.training.context.entries import projected_entries
from audiocodec.training.context.layer import floor
from audiocodec.training.context.loss import stage_loss
from audiocodec.training.context.network import ContextConfig, ContextNetwork
from audiocodec.training.context.recurrence import recurrence
from audiocodec.training.context.settings import ContextSettings
from audiocodec.training.context.trainer import ContextTrainer, drawn_counts
from audiocodec.training.context.validation import measure, spread
from audiocodec_cli.main import run

SIZES = (8, 4)
SMALL = ContextConfig(dim=8, state=16, hidden=(24,))


def source(frames: int, seed: int) -> Recording:
    """Two codebooks with 1 bit per frame: the first steps by 0 or 1, the second follows it.

    Without context the codes have log2(8) + log2(4) = 5 bits.
    """
    random = np.random.default_rng(seed)
    first = random.integers(0, 2, frames).cumsum() % 8
    return Recording(Path(f"{seed}.tok"), np.stack([first, (first * 3 + 1) % 4]).astype(np.int32))


def trainer(folder: Path, steps: int, resume: bool = False) -> ContextTrainer:
    torch.manual_seed(0)
    settings = ContextSettings(
        steps=steps,
        batch_size=8,
        segment_frames=20,
        learning_rate=2e-2,
        warmup_steps=10,
        frequent=(1, 2),
        network=SMALL,
    )
    held_out = blocks([source(400, 1)], 20)
    sampler = Sampler([source(3000, 0)], 20)
    network = ContextNetwork(SMALL, SIZES)
    return ContextTrainer(settings, network, sampler, held_out, folder, resume)


def test_bits_fall_to_the_entropy_of_the_source(tmp_path: Path) -> None:
    training = trainer(tmp_path, steps=250)
    before = measure(training.model(), training.held_out, 2)
    assert training.train()
    for count, bits in zip((1, 2), training.measured(), strict=True):
        first = (math.log2(8) + 19) / 20  # a segment's first code is unknown
        assert bits.stages[0] == pytest.approx(first, abs=0.15)
        assert bits.stages[1:].sum() < 0.15
        assert bits.fixed.sum() == [3, 5][count - 1]
        assert bits.saving == 1 - bits.stages.sum() / bits.fixed.sum()
    assert before.stages.sum() > 4.5
    last = json.loads((tmp_path / "context.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 250 and len(last["bits"]) == len(last["bits_train"]) == 2
    assert ContextModel.load(tmp_path).fingerprint == training.model().fingerprint


def test_a_resumed_run_equals_one_that_was_not_stopped(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", steps=12)
    assert whole.train()
    stopped = trainer(tmp_path / "parts", steps=12)
    whole_end = whole.model().fingerprint
    stopped.folder.mkdir()
    for _ in range(5):
        stopped._update()
    stopped._checkpoint()
    assert stopped.model().fingerprint != whole_end
    resumed = trainer(tmp_path / "parts", steps=12, resume=True)
    assert resumed.step == 5
    assert resumed.train()
    assert resumed.model().fingerprint == whole_end


def test_a_run_is_not_overwritten_and_a_damaged_one_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="no run to resume"):
        trainer(tmp_path, steps=1, resume=True)
    assert trainer(tmp_path, steps=1).train()
    with pytest.raises(CodecError, match="holds a run already"):
        trainer(tmp_path, steps=1)
    (tmp_path / "context.pt").write_bytes(b"PK")
    with pytest.raises(CodecError, match="damaged, or of another network"):
        trainer(tmp_path, steps=1, resume=True)


def test_the_recurrence_has_the_gradient_of_its_formula() -> None:
    """Autograd through the formula, step by step, with roundings that pass gradients."""
    weight = (20 * torch.randn(12, 4)).round().div(16).requires_grad_()
    inputs = (100 * torch.randn(6, 3, 12)).round().requires_grad_()
    start = (3000 * torch.randn(3, 4)).round().requires_grad_()
    state, states = start, []
    for frame in inputs:
        states.append(state)
        own = floor(state / 64) @ weight.T
        gates = floor(frame[:, :8] + own[:, :8]).clamp(0, 256)
        carried = floor(own[:, 8:]).clamp(-32767, 32767)
        candidate = floor(frame[:, 8:]) + floor(gates[:, 4:] * carried / 256)
        state = state + floor(gates[:, :4] * (64 * candidate.clamp(-256, 256) - state) / 256)
    expected, found = torch.stack(states), recurrence(inputs, weight, start)
    assert torch.equal(expected, found)
    direction = torch.randn_like(found)
    pairs = (
        torch.autograd.grad((values * direction).sum(), (inputs, weight, start))
        for values in (expected, found)
    )
    for one, other in zip(*pairs, strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6 * float(one.abs().max()))


@pytest.mark.parametrize("fast", [False, True])
def test_the_loss_has_the_gradient_of_a_cross_entropy(fast: bool) -> None:
    """In bfloat16, whose sums have 8 bits, nearly."""
    inputs = torch.randint(-255, 256, (600, 6)).float().requires_grad_()
    layers: list[Tensor] = [
        torch.randint(-40, 41, (9, 6)).float().div(32).requires_grad_(),
        (torch.randint(-20, 21, (9,)) + 0.5).requires_grad_(),  # no sum is at a kink
        torch.randint(-40, 41, (11, 9)).float().div(64).requires_grad_(),
        torch.randint(-20, 21, (11,)).float().requires_grad_(),
    ]
    codes = torch.randint(0, 11, (600,))
    hidden = (floor(inputs @ layers[0].T) + layers[1]).clamp(0, 255)
    logits = (floor(hidden @ layers[2].T) + layers[3]) / 32
    expected = torch.nn.functional.cross_entropy(logits, codes, reduction="sum")
    weights = (layers[0], layers[1]), (layers[2], layers[3])
    found = stage_loss(inputs, *weights, codes, unit=32, fast=fast)
    torch.testing.assert_close(found, expected, rtol=1e-2 if fast else 1e-5, atol=0)
    one = torch.autograd.grad(expected, [inputs, *layers])
    other = torch.autograd.grad(found, [inputs, *layers])
    for a, b in zip(one, other, strict=True):
        assert (a - b).norm() < (0.1 if fast else 1e-4) * a.norm()


def test_segments_are_drawn_evenly_and_never_across_two_recordings() -> None:
    recordings = [
        Recording(Path(name), np.arange(start, start + length, dtype=np.int32)[None])
        for name, start, length in (("a", 0, 50), ("b", 1000, 7), ("c", 2000, 100))
    ]
    sampler = Sampler(recordings, 10)
    assert sampler.num_frames == 157
    batch = sampler.batch(500, np.random.default_rng(0))
    assert batch.shape == (500, 1, 10) and batch.dtype == torch.int64
    for segment in batch[:, 0].numpy():
        if segment[0] < 1000 or segment[0] >= 2000:
            assert (np.diff(segment) == 1).all()
        else:  # shorter than a segment: repeated
            assert segment.tolist() == [1000 + i % 7 for i in range(10)]
    assert len(np.unique(batch)) == 157


def test_every_fiftieth_file_is_held_out() -> None:
    recordings = [Recording(Path(f"{n}.tok"), np.zeros((1, 9), np.int32)) for n in range(120)]
    training, held_out = split_recordings(recordings)
    assert [recording.path.stem for recording in held_out] == ["0", "50", "100"]
    assert len(training) == 117
    assert [len(part) for part in split_recordings(recordings[:2])] == [1, 1]
    with pytest.raises(CodecError, match="a single file"):
        split_recordings(recordings[:1])


def test_every_number_of_codebooks_is_trained() -> None:
    settings = ContextSettings(steps=1, batch_size=99)
    counts = drawn_counts(settings, 12, np.random.default_rng(0))
    assert set(counts.tolist()) == set(range(1, 13))
    assert (counts.diff() <= 0).all()
    assert (counts == 12).sum() > (counts == 11).sum()
    assert spread(12) == [1, 3, 6, 12] and spread(16) == [1, 3, 6, 12, 16] and spread(1) == [1]


def test_embeddings_begin_with_the_entries_of_the_codebooks(trainable: Codec) -> None:
    """Equal sums of entries have equal sums of embeddings; 8 bits hold them."""
    quantizer = trainable.quantizer
    tables = projected_entries(quantizer, 6)
    assert all(
        table.shape == (stage.codebook.size, 6)
        for table, stage in zip(tables, quantizer.stages, strict=True)
    )
    assert max(float(table.abs().max()) for table in tables) == pytest.approx(1.9)
    first = quantizer.stages[0]
    entries = first.decode(torch.arange(first.codebook.size)[None])[0].T
    axes = torch.linalg.lstsq(entries, tables[0]).solution
    torch.testing.assert_close(entries @ axes, tables[0], atol=1e-4, rtol=1e-4)


@pytest.fixture
def clips(tmp_path: Path, clip: Path) -> Path:
    folder = tmp_path / "speech"
    shutil.copytree(clip.parent, folder)
    return folder


def test_the_command_trains_from_audio_and_from_tokens_alike(
    clips: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train-context", model, "--steps", "2", "--hidden", "16,8", "--json"]
    first = ["--data", str(clips), "--run", str(tmp_path / "run"), "--out", str(tmp_path / "one")]
    assert run([*arguments, *first]) == 0
    result = json.loads(capsys.readouterr().out)
    context = ContextModel.load(tmp_path / "one")
    sizes = load_codec(model).codebook_sizes
    assert context.codebook_sizes == sizes
    assert result["path"] == str(tmp_path / "one" / CONTEXT_NAME)
    assert result["fingerprint"] == context.fingerprint and result["finished"]
    assert result["num_bytes"] == Path(result["path"]).stat().st_size
    assert list(result["savings"]) == [str(count) for count in spread(len(sizes))]

    second = ["--data", str(tmp_path / "run" / "tokens"), "--run", str(tmp_path / "again")]
    assert run([*arguments, *second, "--out", str(tmp_path / "two")]) == 0
    assert json.loads(capsys.readouterr().out)["fingerprint"] == context.fingerprint
    assert run([*arguments, *second]) == 1
    assert "holds a run already" in capsys.readouterr().err
    assert run([*arguments, *first, "--resume"]) == 1
    assert "token files coded with it need it" in capsys.readouterr().err
    assert run([*arguments, *first, "--resume", "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--data", "nowhere"], 1, "nowhere: no such file or folder"),
        (["--data", "empty"], 1, "empty: neither .tok files nor audio in this folder"),
        (["--data", "other"], 1, "codes of the model other"),
        (["--data", "fewer"], 1, "codebooks of"),
        (["--data", "single"], 1, "a single file"),
        (["--data", "good", "--held-out", "empty"], 1, "empty: neither"),
        (["--data", "good", "--resume"], 1, "no run to resume"),
        (["--data", "good", "--minutes", "1"], 2, "one of --minutes and --steps"),
        (["--data", "good", "--hidden", "8,x"], 2, "is not a list"),
        (["--data", "good", "--hidden", "0"], 1, "hidden"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    status: int,
    words: str,
    here: Path,
    model: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    codec = load_codec(model)
    (here / "empty").mkdir()
    for folder, count, files in (("good", None, 2), ("fewer", 1, 2), ("single", None, 1)):
        (here / folder).mkdir()
        shape = (count or len(codec.codebook_sizes), 40)
        for number in range(files):
            save_codes(here / folder / f"{number}.tok", np.zeros(shape, np.int64), codec)
    (here / "other").mkdir()
    other: Any = load_codec(model)
    other.name, other.fingerprint = "other", "0123456789abcdef"
    shape = (len(codec.codebook_sizes), 40)
    save_codes(here / "other" / "a.tok", np.zeros(shape, np.int64), other)
    assert run(["train-context", model, "--steps", "1", "--run", "run", *arguments]) == status
    error = capsys.readouterr().err
    assert words in error
    assert status == 2 or len(error.strip().splitlines()) == 1


def test_a_codebook_of_32768_entries_is_refused(
    trainable: Codec, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = trainable.config.model_dump()
    config["quantizer"]["num_codebooks"] = 1
    config["quantizer"]["codebook"]["size"] = 32_768
    save_codec(Codec(CodecConfig.from_mapping(config)), "big")
    assert run(["train-context", "big", "--data", "nowhere"]) == 1
    words = "big: a codebook of 32768 entries; context coding needs 16384 at most"
    assert words in capsys.readouterr().err
