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
"""


def test_the_examples_run_and_the_new_codebook_is_used_by_a_codec(tmp_path: Path) -> None:
    """In a process of their own, because they register what the other tests must not see."""
    assert len(BLOCKS) >= 3
    result = subprocess.run(
        [sys.executable, "-c", "\n".join([*BLOCKS, USE])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
