"""The repository itself: style, types, layers, a quick command, and a tree of all files."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import audiocodec

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = [
    "encode",
    "decode",
    "info",
    "verify",
    "plot",
    "export",
    "stream",
    "demo",
    "evaluate",
    "score",
    "compare",
    "listen",
    "train",
    "train-context",
    "transcode",
    "tokenize",
    "detokenize",
    "trim",
    "cat",
    "export-codes",
    "import-codes",
    "web",
]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def check(*command: str) -> None:
    result = run(sys.executable, *command)
    assert result.returncode == 0, result.stdout + result.stderr


def test_ruff_finds_nothing() -> None:
    check("-m", "ruff", "check", ".")


def test_every_file_is_formatted() -> None:
    check("-m", "ruff", "format", "--check", ".")


def test_mypy_finds_nothing() -> None:
    check("-m", "mypy")


def test_imports_run_down_the_house_only() -> None:
    check("-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache")


HELP = [["--help"], ["--version"], *([command, "--help"] for command in COMMANDS)]


@pytest.mark.parametrize("arguments", HELP)
def test_help_answers_without_anything_heavy(arguments: list[str]) -> None:
    program = f"""
import sys
from audiocodec_cli.main import run
status = run({arguments!r})
heavy = {{"torch", "torchaudio", "numpy", "scipy", "librosa", "pydantic", "matplotlib"}}
heavy |= {{"pyarrow", "datasets", "transformers", "ray"}}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
sys.exit(status)
"""
    result = run(sys.executable, "-c", program)
    assert result.returncode == 0, result.stderr
    assert result.stderr.strip() == "[]"
    assert result.stdout.strip()


def test_a_verb_that_does_not_exist_is_wrong_usage() -> None:
    result = run(sys.executable, "-m", "audiocodec_cli", "transmogrify")
    assert result.returncode == 2
    assert "No such command 'transmogrify'" in result.stderr


def test_an_error_is_one_line_and_exit_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from audiocodec_cli import main

    def raises(error: BaseException) -> int:
        def command(**_: object) -> None:
            raise error

        monkeypatch.setattr(main.codec, "main", command)
        return main.run([])

    assert raises(audiocodec.CodecError("a.wav: not there; check the path")) == 1
    assert capsys.readouterr().err == "error: a.wav: not there; check the path\n"
    assert raises(PermissionError(13, "Permission denied", "out.tok")) == 1
    assert capsys.readouterr().err == "error: out.tok: Permission denied\n"
    assert raises(KeyboardInterrupt()) == 130


def test_a_pipe_that_closes_early_is_quiet() -> None:
    codec = f"{sys.executable} -m audiocodec_cli --help"
    result = run("bash", "-c", f"{codec} | true; {codec} | head -n 1")
    assert result.stderr == ""


def test_the_same_option_is_spelt_the_same_in_every_verb() -> None:
    shared = {
        "encode": ["--model", "-n", "--overwrite", "--device", "--threads", "--engine", "--json"],
        "decode": ["--model", "-n", "--overwrite", "--device", "--threads", "--engine", "--json"],
        "tokenize": ["--model", "-n", "--device", "--engine", "--jobs", "--json"],
        "detokenize": ["--model", "-n", "--overwrite", "--device", "--engine", "--jobs", "--json"],
        "evaluate": ["--model", "-n", "--device", "--threads", "--json"],
        "score": ["--csv", "--jobs", "--mos", "--json"],
        "train": ["--device", "--threads"],
        "info": ["--json"],
        "verify": ["--model", "--device", "--threads", "--json"],
        "export": ["--model", "--threads", "--overwrite", "--json"],
        "stream": ["--model", "-n", "--device", "--threads", "--engine", "--overwrite"],
        "demo": ["--model", "--device", "--threads", "--json"],
    }
    for verb, options in shared.items():
        text = run(sys.executable, "-m", "audiocodec_cli", verb, "--help").stdout
        missing = [o for o in options if not re.search(rf"(^|[ ,]){o}\b", text, re.MULTILINE)]
        assert not missing, f"{verb} lacks {missing}"


def test_the_public_names_are_there_and_importing_the_package_is_light() -> None:
    for name in audiocodec.__all__:
        assert getattr(audiocodec, name) is not None
    assert set(audiocodec.__all__) <= set(dir(audiocodec))
    from audiocodec.training import Recipe, Trainer

    assert Recipe.__name__ == "Recipe"
    assert Trainer.__name__ == "Trainer"
    with pytest.raises(AttributeError, match="no attribute 'load_codek'"):
        audiocodec.load_codek  # type: ignore[attr-defined]  # noqa: B018
    check(
        "-c", "import sys, audiocodec; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )


def test_every_package_and_every_data_file_is_installed() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {
        ".".join(init.parent.relative_to(ROOT).parts)
        for init in (ROOT / "audiocodec").rglob("__init__.py")
    }
    assert packages | {"audiocodec_cli", "audiocodec_recipes", "audiocodec_web"} == set(
        setuptools["packages"]
    )

    installed = Path(audiocodec.__file__).parent
    for folder in ("models", "clips"):
        for path in (ROOT / "audiocodec" / folder).rglob("*"):
            copy = installed / path.relative_to(ROOT / "audiocodec")
            assert copy.exists(), f"{path} is not in the installed package"


def test_the_tree_in_contributing_has_a_line_for_every_file() -> None:
    tree = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## The tree", 1)[1]
    listed, folder = set(), ""
    for line in tree.split("```")[1].splitlines():
        if name := line.split("  ")[1 if line.startswith("  ") else 0]:
            if line.startswith("  "):
                listed.add(f"{folder}{name}")
            else:
                folder = name
    there = {
        str(path.relative_to(ROOT))
        for top in ("audiocodec", "cli", "recipes", "tools")
        for path in (ROOT / top).rglob("*")
        if path.suffix in {".py", ".yaml"} and path.name != "__init__.py"
    }
    assert there
    missing = [f"{path}: {_first_line(path)}" for path in sorted(there - listed)]
    assert not missing, "lines to add to the tree in CONTRIBUTING.md:\n" + "\n".join(missing)
    stale = sorted(path for path in listed if not (ROOT / path).exists())
    assert not stale, f"the tree in CONTRIBUTING.md has lines for files that are gone: {stale}"


def _first_line(path: str) -> str:
    """What a file says that it is."""
    return (ROOT / path).read_text(encoding="utf-8").splitlines()[0].strip('"# ')


def test_standard_streams_may_be_closed() -> None:
    """As cron and daemons have them; Python has `None` for each then."""
    codec = f"{sys.executable} -m audiocodec_cli"
    result = run("bash", "-c", f"{codec} --version >&- && {codec} --version 2>&- <&-")
    assert (result.returncode, result.stderr) == (0, "")
    program = "from audiocodec_cli.main import open_closed_streams as o; o(); import sys"
    program += "; sys.exit(sys.stderr.isatty() or sys.stdin.isatty())"
    assert run("bash", "-c", f"{sys.executable} -c '{program}' 2>&- <&-").returncode == 0
