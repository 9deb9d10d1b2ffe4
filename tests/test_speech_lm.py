"""The example that trains a language model of speech tokens: it learns, samples and decodes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from audiocodec import load_audio
from audiocodec.patterns import Vocabulary
from audiocodec.tokendata import Collator, TokenSegments

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "speech_lm.py"


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("speech_lm", EXAMPLE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_trains_samples_and_decodes(
    example: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--steps", "2", "--seconds", "0.4", "--codebooks", "2", "--out", f"{tmp_path}/lm"]
    example.main(arguments)
    audio, rate = load_audio(tmp_path / "lm" / "sample.wav")
    assert (rate, audio.shape) == (16000, (1, 6400))
    vocabulary = Vocabulary.load(tmp_path / "lm" / "vocabulary.json")
    assert vocabulary.pattern == "delay" and vocabulary.num_codebooks == 2
    model = example.SpeechLM(vocabulary, 2 + 21)
    model.load_state_dict(load_file(tmp_path / "lm" / "model.safetensors"))
    assert "step 2: loss" in capsys.readouterr().out
    assert len(list((tmp_path / "lm" / "tokens").glob("*.tok"))) == 2


class Ramp:
    """One utterance, whose codes count up."""

    model, fingerprint, codebook_sizes, place = "m", "0" * 16, (16, 16), Path("memory")

    def __len__(self) -> int:
        return 1

    def read(self, shard: int) -> Any:
        from audiocodec.tokendata.sources import TokenFileUtterance

        yield TokenFileUtterance(
            "ramp", np.stack([np.arange(12), np.arange(12)[::-1]]).astype("u2")
        )


def test_it_learns_one_utterance_by_heart(example: Any) -> None:
    """Its loss falls to nearly nothing, and what it samples is the utterance."""
    torch.manual_seed(0)
    vocabulary = Vocabulary(
        model="m", fingerprint="0" * 16, codebook_sizes=(16, 16), pattern="delay"
    )
    dataset = TokenSegments(Ramp())
    model = example.SpeechLM(vocabulary, 15, dim=32, layers=1, heads=2)
    assert example.train(model, dataset, vocabulary, 150, rate=1e-2) < 0.05
    np.testing.assert_array_equal(example.sample(model.eval(), vocabulary, 12), dataset[0].codes)


def test_the_future_is_not_seen(example: Any) -> None:
    torch.manual_seed(0)
    vocabulary = Vocabulary(
        model="m", fingerprint="0" * 16, codebook_sizes=(16, 16), pattern="delay"
    )
    model = example.SpeechLM(vocabulary, 15, dim=32, layers=1, heads=2).eval()
    batch = Collator(vocabulary)([TokenSegments(Ramp())[0]])
    tokens = batch["input_ids"]
    changed = tokens.clone()
    changed[..., 8:] = 5
    torch.testing.assert_close(model(tokens)[..., :8, :], model(changed)[..., :8, :])
