"""The core works alone, a missing extra is named, and transformers imports beside us."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from audiocodec import CodecError
from audiocodec.cores import available_cores
from audiocodec.extras import import_extra

CORE = {"torch", "numpy", "soundfile", "soxr", "safetensors", "pydantic", "PyYAML", "click", "tqdm"}

# Hide what the core does not install, as in an environment without the extras.
WITHOUT_EXTRAS = """
import sys
EXTRAS = {"pesq", "pystoi", "librosa", "numba", "sklearn", "scipy", "joblib", "matplotlib", "av",
          "tensorboard", "torchaudio", "pooch", "onnx", "onnxruntime", "sounddevice", "distillmos",
          "resemblyzer", "faster_whisper", "speechmos", "visqol", "huggingface_hub",
          "transformers", "pyarrow", "pandas", "ray", "lightning_fabric"}
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def find_core(name, path=None, target=None):
    return None if name.partition(".")[0] in EXTRAS else find(name, path, target)
PathFinder.find_spec = staticmethod(find_core)  # dill calls it on an instance
from audiocodec_cli.main import run
"""


def without_extras(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS + program],
        cwd=folder,
        capture_output=True,
        text=True,
    )


def requirements(name: str, extra: str = "") -> set[str]:
    """All packages that ``name[extra]`` installs, by name in lower case."""
    found: set[str] = set()
    waiting = [(name, extra)]
    seen = set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for line in distribution(name).requires or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is None or marker.evaluate({"extra": extra}):
                found.add(requirement.name.lower())
                waiting += [(requirement.name, e) for e in ("", *requirement.extras)]
    return found


def test_the_core_needs_these_packages_and_no_more() -> None:
    lines = [Requirement(line) for line in distribution("audiocodec").requires or ()]
    assert {line.name for line in lines if line.marker is None} == CORE
    upper_bounds = [str(line) for line in lines if re.search("<|==|~=", str(line.specifier))]
    assert not upper_bounds


def test_the_core_brings_nothing_that_is_compiled_on_the_users_machine() -> None:
    assert not requirements("audiocodec") & {"pesq", "librosa", "numba", "scikit-learn", "scipy"}


def test_the_extra_all_leaves_out_torchaudio() -> None:
    """Its wheel does not load beside another torch, and then transformers does not import."""
    assert "torchaudio" not in requirements("audiocodec", "all")


def test_every_command_of_the_core_works_without_the_extras(clip: Path, tmp_path: Path) -> None:
    """Encode, decode, stream, verify and info."""
    program = f"""
for arguments in (
    ["encode", {str(clip)!r}, "a.tok", "-n", "3"],
    ["decode", "a.tok", "a.wav"],
    ["stream", "--input", "a.wav", "--output", "b.wav"],
    ["info", "a.tok"],
    ["verify", "a.wav"],
):
    assert run(arguments) == 0, arguments
"""
    result = without_extras(program, tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "b.wav").stat().st_size == (tmp_path / "a.wav").stat().st_size


@pytest.mark.parametrize(
    ("arguments", "package", "extra"),
    [
        (["demo"], "pesq", "eval"),
        (["plot", "a.wav"], "matplotlib", "eval"),
        (["evaluate", "a.wav", "--report", "a.html"], "matplotlib", "eval"),
        (["evaluate", "a.wav"], "pesq", "eval"),
        (["evaluate", "a.wav", "--mos"], "pesq", "eval"),
        (["train", "tiny", "--set", "data.root=."], "tensorboard", "train"),
        (["export", "--onnx", "graphs"], "onnx", "onnx"),
        (["encode", "a.wav", "b.tok", "--engine", "onnx"], "onnx", "onnx"),
        (["stream"], "sounddevice", "live"),
        (["tokenize", "a.wav", "out"], "pyarrow", "parquet"),
        (["tokenize", "a.wav", "out", "--format", "npy", "--runner", "ray"], "pandas", "ray"),
    ],
)
def test_a_missing_extra_is_one_line_with_the_command_that_installs_it(
    arguments: list[str], package: str, extra: str, clip: Path, tmp_path: Path
) -> None:
    from audiocodec import load_audio, save_audio

    save_audio(tmp_path / "a.wav", *load_audio(clip))
    result = without_extras(f"sys.exit(run({arguments!r}))", tmp_path)
    assert result.returncode == 1, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert package in line
    assert f"pip install 'audiocodec[{extra}]'" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav"]


def test_an_error_inside_an_installed_package_is_not_taken_for_a_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_package.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        import_extra("broken_package", "eval", "a test")
    with pytest.raises(CodecError, match=r"a test needs the package absent.*audiocodec\[eval\]"):
        import_extra("absent.module", "eval", "a test")


def test_transformers_models_import_beside_audiocodec() -> None:
    """Where torchaudio is installed beside another torch, they do not, with or without us."""
    try:
        distribution("torchaudio")
    except ModuleNotFoundError:
        pass
    else:
        pytest.skip("torchaudio is installed here; it is in none of the extras `all` and `test`")
    program = "import audiocodec; from transformers import LlamaForCausalLM, MimiModel"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_cores_are_those_that_the_process_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audiocodec import cores

    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "_CGROUP_QUOTA", tmp_path / "cpu.max")
    assert available_cores() == 8
    for text, expected in (("max 100000", 8), ("250000 100000", 3), ("5000 100000", 1), ("x", 8)):
        (tmp_path / "cpu.max").write_text(text)
        assert available_cores() == expected
