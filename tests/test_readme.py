"""The README keeps its word: its Python runs, its links lead somewhere, its verbs exist."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

from audiocodec import load_audio

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_python_block_runs_in_the_order_of_the_page(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, "in.wav")
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"README.md, Python block {number}", "exec"), names)
    original, rate = load_audio("in.wav")
    restored, restored_rate = load_audio("out.wav")
    assert (restored.shape, restored_rate) == (original.shape, rate)
    second, codes = torch.as_tensor(names["second"]), torch.as_tensor(names["codes"])
    assert second.shape == (1, 3, 50)
    assert second.equal(codes[:, :3, 50:100].to(second.dtype))


def test_every_link_and_picture_is_there() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    local = [target for target in targets if "://" not in target]
    assert local
    missing = [target for target in local if not (ROOT / target).exists()]
    assert not missing


def test_every_command_in_the_readme_is_a_verb_with_those_options() -> None:
    from click import Context

    from audiocodec_cli.main import VERBS, codec

    lines = re.findall(r"\bcodec ([a-z]+)\b([^\n`#&]*)", "\n".join(_code(README)))
    assert {verb for verb, _ in lines} == set(VERBS)
    for verb, rest in lines:
        command = codec.get_command(Context(codec), verb)
        assert command is not None
        known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        asked = set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest))
        assert asked <= known | {"--help"}, f"codec {verb}: {asked - known}"


def test_recipes_named_in_the_readme_are_there() -> None:
    recipes = set(re.findall(r"recipes/[\w/]+\.yaml", README))
    assert recipes
    assert all((ROOT / recipe).is_file() for recipe in recipes)


def test_no_placeholder_is_left() -> None:
    assert "TODO" not in README


def _code(text: str) -> list[str]:
    return re.findall(r"```bash\n(.*?)```", text, re.DOTALL) + re.findall(r"`(codec [^`]+)`", text)
