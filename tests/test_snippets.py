"""Every command and snippet of the documentation is run, or says why not and is well formed."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import soundfile
import yaml
from contexts import random_context
from documents import PAGES, ROOT, Block, blocks_of
from shell import Shell, check_extras, lines_of

from audiocodec import (
    Codec,
    CodecConfig,
    TokenFile,
    TokenHeader,
    TokenWriter,
    encode_file,
    find_audio,
    load_audio,
    load_codec,
    save_audio,
    save_codec,
)
from audiocodec.bundled import CLIPS
from audiocodec_cli.main import COMMANDS, codec

# Pages whose blocks other tests run.
ELSEWHERE = {
    "README.md": "tests/test_readme.py",
    "CONTRIBUTING.md": "tests/test_contributing.py",
}
# Pages that are run here from top to bottom, and the optional packages that they need.
RUN_HERE: dict[str, tuple[str, ...]] = {
    "corpora.md": (),
    "evaluating.md": (),
    "format.md": (),
    "index.md": (),
    "installing.md": (),
    "language_models.md": (),
    "listening.md": (),
    "packets.md": (),
    "quantization.md": (),
    "simvq.md": (),
    "tokenising.md": ("pyarrow",),
    "training.md": (),
    "transformers.md": ("transformers",),
    "tutorial_language_model.md": ("pyarrow",),
    "tutorial_stream.md": (),
    "tutorial_train.md": (),
}
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
RECORDINGS = ["corpus", "held_out", "my_recordings", "recordings", "speech"]
LANGUAGES = {"", "bash", "python", "text", "json", "yaml", "dockerfile", "js"}
GROUP = click.Context(codec)


def test_every_block_is_run_by_a_test_or_says_why_not() -> None:
    missing = [
        block.place
        for block in BLOCKS
        if block.language in {"bash", "python"}
        and not block.reason
        and block.page.name not in {*ELSEWHERE, *RUN_HERE}
    ]
    assert not missing


def test_the_language_of_every_block_is_known() -> None:
    assert {block.language for block in BLOCKS if not block.language.startswith("{")} <= LANGUAGES


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.reason], ids=lambda block: block.place)
def test_a_block_that_is_not_run_is_well_formed(block: Block) -> None:
    """Python compiles, commands exist with these options and choices, and so do scripts."""
    if block.language == "python":
        compile(block.text, block.place, "exec")
    elif block.language == "bash":
        for line in lines_of(block.text):
            check_extras(line)
            check_line(line)


def test_data_in_blocks_can_be_read() -> None:
    for block in BLOCKS:
        if block.language == "json":
            for line in block.text.splitlines():
                json.loads(line)
        elif block.language == "yaml":
            assert yaml.safe_load(block.text), block.place


@pytest.fixture(scope="module")
def material(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages take for granted: recordings of a second under all of their names."""
    folder = tmp_path_factory.mktemp("material")
    audio, rate = load_audio(clip)
    save_audio(folder / "in.wav", audio[:, : 2 * rate], rate)
    for name in RECORDINGS:
        (folder / name).mkdir()
        for number in range(3):
            start = number * rate
            save_audio(folder / name / f"{number}.wav", audio[:, start : start + rate], rate)
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    return folder


@pytest.fixture(scope="module")
def small_model(trainable: Codec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random codec like that of recipes/tiny.yaml, with as many codebooks as the bundled one."""
    config = trainable.config.model_dump()
    config["quantizer"]["num_codebooks"] = 16
    folder = tmp_path_factory.mktemp("models") / "small"
    save_codec(Codec(CodecConfig.model_validate(config)), folder)
    return folder


def prepare_evaluating(folder: Path, model: Path) -> None:
    shutil.copy(folder / "in.wav", folder / "speech.wav")
    encode_file(folder / "speech.wav", folder / "speech.tok", load_codec("speech_16khz"))
    lecture = np.random.default_rng(0).normal(0, 0.05, 71 * 16000)
    soundfile.write(folder / "lecture.flac", lecture, 16000)
    for name in ("by_opus", "by_speex"):
        shutil.copytree(folder / "recordings", folder / name)


def prepare_language_models(folder: Path, model: Path) -> None:
    codec = load_codec("speech_16khz")
    (folder / "tokens").mkdir()
    for clip in find_audio(CLIPS):
        encode_file(clip, folder / "tokens" / f"{clip.stem}.tok", codec)
    shutil.copy(folder / "tokens" / "female.tok", folder / "in.tok")
    with TokenFile(folder / "in.tok") as tokens:
        codes = tokens.read(0, 100)
    np.save(folder / "sampled.npy", codes)


def prepare_tokenising(folder: Path, model: Path) -> None:
    lines = [f'{{"path": "speech/{number}.wav"}}' for number in range(3)]
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n")


PREPARE: dict[str, Callable[[Path, Path], None]] = {
    "evaluating.md": prepare_evaluating,
    "language_models.md": prepare_language_models,
    "tokenising.md": prepare_tokenising,
}


@pytest.mark.parametrize("name", RUN_HERE)
def test_the_blocks_of_a_page_run_from_top_to_bottom(
    name: str, material: Path, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in RUN_HERE[name]:
        pytest.importorskip(package)
    folder = tmp_path / "here"
    shutil.copytree(material, folder)
    PREPARE.get(name, lambda *_: None)(folder, small_model)
    shell = Shell(folder, small_model)
    monkeypatch.chdir(folder)
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks_of(ROOT / "docs" / name):
        if block.language == "bash" and not block.reason:
            shell.run(block.text)
        elif block.language == "python" and not block.reason:
            exec(compile(block.text, block.place, "exec"), names)


def test_the_reader_on_the_page_of_the_format_reads_what_the_package_writes(tmp_path: Path) -> None:
    """Both codings, two channels, and a block that is not the last."""
    reader: dict[str, Any] = {}
    for block in blocks_of(ROOT / "docs" / "format.md"):
        if block.language == "python":
            exec(compile(block.text, block.place, "exec"), reader)
    sizes = (32, 20, 1)
    context = random_context(sizes)
    context.save(tmp_path / "context.safetensors")
    generator = np.random.default_rng(0)
    codes = np.stack([generator.integers(0, size, (2, 7)) for size in sizes], axis=1)
    for coding in ("fixed", "context"):
        header = TokenHeader(
            "ä", "0" * 16, 16000, 320, 44100, 2, sizes, 5, coding, context.fingerprint
        )
        if coding == "fixed":
            header = dataclasses.replace(header, context="")
        file = io.BytesIO()
        with TokenWriter(file, header, context=context) as writer:
            writer.write(codes)
            writer.finish(header.num_samples(7))
        found, read, samples = reader["read_tok"](file.getvalue(), tmp_path / "context.safetensors")
        np.testing.assert_array_equal(read, codes)
        assert samples == header.num_samples(7)
        assert (found["name"], found["coding"], found["sizes"]) == ("ä", coding, list(sizes))


def check_line(line: str) -> None:
    """Raise unless every `codec` and every script of this repository is called as it can be."""
    for words in calls(line):
        names = [Path(word).name for word in words]
        if "codec" in names and len(names) > names.index("codec") + 1:
            check_command(words[names.index("codec") + 1 :], line)
        scripts = [word for word in words if re.match(r"(benchmarks|examples|tools)/.*\.py$", word)]
        for script in scripts:
            source = (ROOT / script).read_text(encoding="utf-8")
            options = [word for word in words if re.match(r"--?[a-z]", word)]
            assert not [o for o in options if f'"{o}"' not in source and f"'{o}'" not in source], (
                line
            )


def calls(line: str) -> Iterator[list[str]]:
    """The words of each call in a line, without redirections; of quoted lines too."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    skip = False
    for word in lexer:
        if set(word) <= set("();|&"):
            found.append([])
        elif set(word) <= set("<>"):
            skip = True
        elif skip:
            skip = False
        else:
            found[-1].append(word)
            if re.search(r"\bcodec [a-z]+ ", word):
                yield from calls(word)
    yield from found


def check_command(words: list[str], line: str) -> None:
    """Raise unless the command takes these options, values and arguments."""
    verb, *rest = words
    assert verb in COMMANDS or verb in {"-h", "--help", "-V", "--version"}, line
    if verb not in COMMANDS or {"-h", "--help"} & set(rest):
        return
    command = codec.get_command(GROUP, verb)
    assert command is not None
    context = click.Context(command, info_name=verb, parent=GROUP)
    try:
        values, left, _ = command.make_parser(context).parse_args(list(rest))
        assert not left, f"{line}: too much: {left}"
        for parameter in command.params:
            given = values.get(parameter.name or "")
            absent = given is None or given == () or type(given).__name__ == "Sentinel"
            if absent or repr(given) == "Sentinel.UNSET":
                assert not parameter.required, f"{line}: {parameter.name} is missing"
            elif not isinstance(parameter.type, click.Path):
                parameter.type_cast_value(context, given)
    except click.UsageError as error:
        pytest.fail(f"{line}: {error.format_message()}")
