"""CONTRIBUTING.md is true: its examples run, one after the other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(
    r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL
)
USE = """
import torch

from audiocodec import Codec, load_codec, save_codec

tiny = {"channels": [4, 8, 12, 16], "residual_units": [1, 1, 1, 1], "latent_dim": 16}
config = recipe.codec.from_mapping({"seanet": tiny, **recipe.codec.model_dump(exclude={"seanet"})})
codec = Codec(config)
codec.quantizer.initialise(torch.randn(300, 16), torch.Generator().manual_seed(0))
save_codec(codec, "model")
codes = load_codec("model").encode(torch.randn(1, 1, 3200))
assert codes.shape == (1, 12, 10)
assert torch.allclose(codec.quantizer.stages[0].codebook.table().norm(dim=1), torch.ones(256))

from audiocodec import load_audio
from audiocodec.evaluation.metrics.selection import select_metrics

assert Recipe.from_mapping({"name": "x", "losses": {"offset": 2}, "schedule": {"steps": 9}})
assert "snr" in select_metrics()
with open("x.s16", "wb") as file:
    file.write(b"S16 " + (16000).to_bytes(4, "little") + bytes(6400))
audio, _ = load_audio("x.s16")
import numpy as np

from audiocodec import TokenFile, save_codes
from audiocodec.codefiles.conversion import export_codes, import_codes
from audiocodec.patterns import Vocabulary

save_codes("x.tok", codes, load_codec("model"))
export_codes("x.tok", "x.csv")
import_codes("x.csv", "y.tok")
assert open("x.tok", "rb").read() == open("y.tok", "rb").read()
vocabulary = Vocabulary.of(TokenFile("x.tok").header, "partial_delay")
tokens = vocabulary.encode(codes[0])
assert tokens.shape == (12, 11) and vocabulary.decode(tokens).equal(codes[0])
assert load_codec("model", engine="bfloat16").encode(audio[None]).shape == (1, 12, 10)

from pathlib import Path

from audiocodec.corpus.opening import open_corpus
from audiocodec.tokenising.rewriting import TokenCorpus
from audiocodec.tokenising.run import tokenize
from audiocodec.tokenising.settings import Settings

Path("wav.scp").write_text("ann-1 x.s16\\n")
codec, corpus = load_codec("model"), open_corpus(Path("wav.scp"))
tokenize(corpus, Settings.of(codec, corpus, "lines"), codec, Path("lines"))
from audiocodec.training.data.files import DataConfig

assert DataConfig(corpora=["librispeech/train-clean-5"]).corpora
rows = list(TokenCorpus(Path("lines")).rows(0))
assert [(row.id, row.codes.shape) for row in rows] == [("ann-1", (12, 10))]
"""


def test_the_examples_run_and_can_be_used(tmp_path: Path) -> None:
    """In a process of their own, because they register what the other tests must not see."""
    assert len(BLOCKS) >= 10
    result = subprocess.run(
        [sys.executable, "-c", "\n".join([*BLOCKS, USE])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
