"""The README is true: its Python and its commands run, its links lead somewhere."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from shell import Shell

from audiocodec import load_audio, save_audio
from audiocodec.bundled import MODELS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_python_block_runs_in_the_order_of_the_page(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, "in.wav")
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 8
    names: dict[str, object] = {}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"README.md, Python block {number}", "exec"), names)
    original, rate = load_audio("in.wav")
    restored, restored_rate = load_audio("out.wav")
    assert (restored.shape, restored_rate) == (original.shape, rate)
    second, codes = torch.as_tensor(names["second"]), torch.as_tensor(names["codes"])
    assert second.shape == (1, 3, 50)
    assert second.equal(codes[:, :3, 50:100].to(second.dtype))
    received = torch.as_tensor(names["received"].codes)  # type: ignore[attr-defined]
    assert received.equal(codes[:, :, :1])


def test_every_link_and_picture_is_there() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    local = [target for target in targets if "://" not in target]
    assert local
    missing = [target for target in local if not (ROOT / target).exists()]
    assert not missing


NEEDS_A_SOUND_CARD = {"codec stream"}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    """A copy of the repository with nothing beside it, and the recordings that the README names."""
    clone = tmp_path_factory.mktemp("alone") / "audiocodec"
    tracked = ["README.md", "constraints.txt", "recipes", "examples", "docs/evaluation_clips.csv"]
    for name in tracked:
        source, target = ROOT / name, clone / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    audio, rate = load_audio(clip)
    save_audio(clone / "in.wav", audio[:, : 2 * rate], rate)
    for folder in ("corpus", "held_out", "my_recordings"):
        (clone / folder).mkdir()
        for number in range(5):
            start = number * rate
            save_audio(clone / folder / f"{number}.wav", audio[:, start : start + rate], rate)
    (clone / "samples.s16").write_bytes(bytes(64000))
    shutil.copytree(MODELS / "speech_16khz", clone / "runs" / "mine" / "model")
    return clone


@pytest.fixture(scope="module")
def shell(clone: Path) -> Shell:
    return Shell(clone, MODELS / "speech_16khz")


def _commands() -> list[str]:
    """The README's bash blocks, then the commands in its table, in the order of the page."""
    section = README.split("## The command `codec`")[1].split("\n## ")[0]
    table = re.findall(r"^\| `[a-z-]+` \| (.*) \|$", section, re.MULTILINE)
    inline = [command for row in table for command in re.findall(r"`([^`]+)`", row)]
    return re.findall(r"```bash\n(.*?)```", README, re.DOTALL) + inline


@pytest.mark.parametrize("command", [c for c in _commands() if c not in NEEDS_A_SOUND_CARD])
def test_every_command_runs_in_a_copy_with_nothing_beside_it(command: str, shell: Shell) -> None:
    shell.run(command)


DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS += [*sorted((ROOT / "recipes").rglob("*.yaml")), ROOT / "benchmarks" / "README.md"]


def test_every_command_in_the_documents_exists_with_those_options() -> None:
    from click import Context

    from audiocodec_cli.main import COMMANDS, codec

    for document in DOCUMENTS:
        if document.name == "log.md":  # what was done at the time
            continue
        text = document.read_text(encoding="utf-8")
        if document.suffix == ".md":
            lines = "\n".join(_code(text))
        else:
            lines = "\n".join(re.findall(r"^# +(codec .*)", text, re.MULTILINE))
        lines = lines.replace("\\\n", " ")
        for verb, rest in re.findall(r"(?<![./_-])\bcodec ([a-z][a-z-]*)\b([^\n`#&]*)", lines):
            assert verb in COMMANDS, f"{document.name}: codec {verb}"
            command = codec.get_command(Context(codec), verb)
            assert command is not None
            known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
            asked = set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest))
            assert asked <= known | {"--help"}, f"{document.name}: codec {verb}: {asked - known}"


def test_the_readme_has_an_example_of_every_command() -> None:
    from audiocodec_cli.main import COMMANDS

    assert {verb for verb in COMMANDS if f"`codec {verb}" in README} == set(COMMANDS)


def test_nothing_that_ships_names_a_path_outside_the_repository() -> None:
    names = [*DOCUMENTS, *(ROOT / "audiocodec").rglob("*.md"), *(ROOT / "benchmarks").glob("*.py")]
    names += (ROOT / "tools").glob("*.py")
    outside = [path.name for path in names if "../shared" in path.read_text(encoding="utf-8")]
    assert not outside


def test_recipes_named_in_the_readme_are_there() -> None:
    recipes = set(re.findall(r"recipes/[\w/]+\.yaml", README))
    assert recipes
    assert all((ROOT / recipe).is_file() for recipe in recipes)


def test_no_placeholder_is_left() -> None:
    assert "TODO" not in README


def _code(text: str) -> list[str]:
    return re.findall(r"```bash\n(.*?)```", text, re.DOTALL) + re.findall(r"`(codec [^`]+)`", text)
