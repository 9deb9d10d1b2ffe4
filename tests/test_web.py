"""`codec web`: the page in a browser, its reader of .tok files against ours, and its server."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from contexts import random_context
from safetensors.numpy import save

from audiocodec import Codec, CodecError, load_codec, save_codec
from audiocodec.tokens import BlockReader, TokenHeader, TokenWriter
from audiocodec.tokens.context import ContextModel
from audiocodec.web import onnxruntime, server, site
from audiocodec_cli.main import run

ROOT = Path(__file__).resolve().parents[1]
WEB = ROOT / "web"
NODE = shutil.which("node")
INSTALLED = [WEB / "node_modules" / "onnxruntime-web" / "dist", onnxruntime.cache_folder()]
RUNTIME = next((folder for folder in INSTALLED if (folder / onnxruntime.FILES[1]).is_file()), None)

sys.path.append(str(ROOT / "benchmarks"))
from browser import CHROMIUM, Page  # noqa: E402

# --- the reader of .tok files


def written(header: TokenHeader, codes: Any, num_samples: int, context: ContextModel) -> bytes:
    memory = io.BytesIO()
    with TokenWriter(memory, header, context=context) as writer:
        writer.write(codes)
        writer.finish(num_samples)
    return memory.getvalue()


def case(data: bytes, context: ContextModel, what: str, whole: bool = False) -> dict[str, Any]:
    """What Python says of a file; of a whole one also its header."""
    found: dict[str, Any] = {"what": what, "bytes": base64.b64encode(data).decode()}
    try:
        reader = BlockReader(io.BytesIO(data), context=context)
        parts = list(reader.pieces())
    except CodecError as error:
        text = str(error)
        number = text.partition("(block ")[2].partition(")")[0]
        return found | {"error": text, "block": int(number) if number else None}
    header = reader.header
    codes = np.concatenate(
        [np.zeros((header.channels, header.num_codebooks, 0), np.int64), *parts], axis=2
    )
    found |= {
        "codes": codes.ravel().tolist(),
        "numSamples": reader.num_samples,
        "truncated": reader.truncated,
    }
    if whole:
        found["header"] = {
            "model": header.model,
            "fingerprint": header.fingerprint,
            "sampleRate": header.sample_rate,
            "hopLength": header.hop_length,
            "originalSampleRate": header.original_sample_rate,
            "channels": header.channels,
            "codebookSizes": list(header.codebook_sizes),
            "blockFrames": header.block_frames,
            "coding": header.coding,
            "context": header.context,
        }
    return found


def cases(coding: str) -> dict[str, Any]:
    """Files of a coding: whole ones, and one that is cut or damaged at many places."""
    context = random_context((5, 300, 1000), seed=3)
    random = np.random.default_rng(0)
    name = "an ünusual name"
    used = {"coding": coding, "context": context.fingerprint if coding == "context" else ""}
    files = []
    for channels, num_codebooks, frames, rate in [
        *[(1, 3, 7, 16_000), (2, 3, 200, 44_100), (3, 1, 6, 8000), (1, 2, 0, 16_000)],
    ]:
        sizes = context.codebook_sizes[:num_codebooks]
        fields = (name, "00112233445566ff", 16_000, 320, rate, channels, sizes)
        header = TokenHeader(*fields, block_frames=0 if frames == 200 else 3, **used)
        codes = random.integers(0, np.array(sizes)[:, None], (channels, num_codebooks, frames))
        samples = header.num_samples(frames) - (3 if frames else 0)
        what = f"{channels} channels, {num_codebooks} codebooks, {frames} frames"
        files.append(case(written(header, codes, samples, context), context, what, whole=True))
    data = base64.b64decode(files[0]["bytes"])
    for place in range(0, len(data), 2):
        files.append(case(data[:place], context, f"cut at {place}"))
        damaged = bytearray(data)
        damaged[place] ^= 1 << place // 2 % 8
        files.append(case(bytes(damaged), context, f"damaged at {place}"))
    tensors = save({name: np.ascontiguousarray(value) for name, value in context.tensors.items()})
    encoded = base64.b64encode(tensors).decode()
    return {"name": f"{coding} coding as in Python", "context": encoded, "files": files}


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_javascript_reads_and_writes_token_files_as_python_does(tmp_path: Path) -> None:
    found = [cases("fixed"), cases("context")]
    for each in found:  # the cases hold what they are meant to hold
        files = each["files"]
        assert {file.get("block") for file in files} >= {None, 0, 1, 2}
        assert {file.get("truncated") for file in files} == {None, True, False}
        assert any(file.get("truncated") and file["codes"] for file in files)
    (tmp_path / "cases.json").write_text(json.dumps(found))
    assert NODE is not None
    result = subprocess.run(
        [NODE, "--test", *map(str, sorted((WEB / "test").glob("*.test.js")))],
        env={**os.environ, "TOK_CASES": str(tmp_path / "cases.json")},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert all(each["name"] in result.stdout for each in found)


# --- the site


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ONNX Runtime for browsers, or files of its names."""
    if RUNTIME is not None:
        return RUNTIME
    folder = tmp_path_factory.mktemp("runtime")
    for name in onnxruntime.FILES:
        (folder / name).write_text(name)
    return folder


@pytest.fixture(scope="module")
def small(trainable: Codec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small random codec with a random context model."""
    folder = tmp_path_factory.mktemp("models") / "small"
    save_codec(trainable, folder)
    sizes = tuple(stage.codebook.size for stage in trainable.quantizer.stages)
    random_context(sizes).save(folder / "context.safetensors")
    return folder


@pytest.fixture(scope="module")
def written_site(small: Path, runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "site"
    words = ["--model", str(small), "--runtime", str(runtime), "--no-serve", "-q"]
    assert run(["web", "--out", str(folder), *words]) == 0
    return folder


@pytest.fixture
def served(written_site: Path) -> Iterator[server.Server]:
    with server.open_server(written_site, 0) as found:
        threading.Thread(target=found.serve_forever, args=(0.05,), daemon=True).start()
        yield found
        found.shutdown()


def test_a_site_is_whole_and_says_what_it_holds(written_site: Path, small: Path) -> None:
    about = json.loads((written_site / "site.json").read_text())
    there = {
        path.relative_to(written_site).as_posix()
        for path in written_site.rglob("*")
        if path.is_file()
    }
    assert set(about["files"]) == there - {"site.json"}
    sources = {path.relative_to(WEB).as_posix() for path in (WEB / "src").rglob("*.js")}
    assert sources <= there
    codec = load_codec(small)
    assert codec.context is not None
    assert (about["fingerprint"], about["context"]) == (
        codec.fingerprint,
        codec.context.fingerprint,
    )
    assert ContextModel.load(written_site / "model").fingerprint == about["context"]


def test_only_an_earlier_site_is_replaced(
    here: Path, small: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    Path("mine").mkdir()
    Path("mine", "thesis.txt").touch()
    words = ["web", "--model", str(small), "--runtime", str(runtime), "--no-serve"]
    assert run([*words, "--out", "mine"]) == 1
    assert "mine: is there already and is no site; name another folder" in capsys.readouterr().err
    Path("mine", "site.json").touch()
    assert run([*words, "--out", "mine"]) == 1
    assert "mine: holds thesis.txt too" in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == ["mine"]


def test_the_server_names_types_that_browsers_take(served: server.Server) -> None:
    address = server.address(served)
    types = {
        "": "text/html",
        "src/main.js": "text/javascript",
        "runtime/ort.wasm.bundle.min.mjs": "text/javascript",
        "runtime/ort-wasm-simd-threaded.wasm": "application/wasm",
        "model/model.json": "application/json",
        "model/encoder.onnx": "application/octet-stream",
    }
    for name, kind in types.items():
        with urllib.request.urlopen(urllib.request.Request(address + name, method="HEAD")) as found:
            assert found.headers["Content-Type"] == kind
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(address + "../site.json/none")


def test_the_command_prints_an_address_and_ends_with_ctrl_c(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: object) -> None:
        raise KeyboardInterrupt

    def wrote(codec: object, folder: Path, runtime: object) -> site.Site:
        return site.Site(folder, 80_000_000, 1.0)

    monkeypatch.setattr(server.Server, "serve_forever", interrupted)
    monkeypatch.setattr(site, "write_site", wrote)
    monkeypatch.setattr("audiocodec.checkpoint.load_codec", lambda model: None)
    with server.open_server(here) as other:
        taken = other.server_address[1]
        assert run(["web", "--port", str(taken)]) == 1
        assert f"--port {taken}: cannot be used" in capsys.readouterr().err
        assert run(["web", "-q"]) == 0
    found = capsys.readouterr()
    assert found.out.startswith("http://localhost:")
    assert found.out.endswith("/: site, 80.0 MB; Ctrl-C ends\n\n")
    assert found.err == ""
    assert run(["web", "--port", "1", "--no-serve"]) == 2


# --- ONNX Runtime for browsers


def test_the_version_and_its_checksum_are_those_of_the_lock_file() -> None:
    package = json.loads((WEB / "package.json").read_text())
    locked = json.loads((WEB / "package-lock.json").read_text())["packages"]
    assert package["dependencies"] == {"onnxruntime-web": onnxruntime.VERSION}
    assert locked["node_modules/onnxruntime-web"]["integrity"] == onnxruntime.INTEGRITY


def archive(folder: Path) -> Path:
    """An archive as npm's, with the two files."""
    path = folder / "package.tgz"
    with tarfile.open(path, "w:gz") as tar:
        for name in onnxruntime.FILES:
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    return path


def test_npm_fetches_it_once_and_its_checksum_is_checked(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = archive(here)
    digest = base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
    cached = onnxruntime.unpack(packed, here / "cache", f"sha512-{digest}")
    assert cached is None
    assert {path.name for path in (here / "cache").iterdir()} == set(onnxruntime.FILES)

    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "user"))
    monkeypatch.setenv("PATH", str(here))
    with pytest.raises(CodecError, match="there is no npm to fetch it; install npm"):
        onnxruntime.find_runtime(here)
    npm = here / "npm"
    npm.write_text(f"#!/bin/sh\nshift 5\n/bin/cp {packed} $1/onnxruntime-web.tgz\n")
    npm.chmod(0o755)
    with pytest.raises(CodecError, match="its checksum differs"):
        onnxruntime.find_runtime(here)
    monkeypatch.setattr(onnxruntime.unpack, "__defaults__", (f"sha512-{digest}",))
    found = onnxruntime.find_runtime(here)
    assert found == here / "user" / "audiocodec" / f"onnxruntime-web-{onnxruntime.VERSION}"
    npm.write_text("#!/bin/sh\necho 'npm error network down' >&2\nexit 1\n")
    assert onnxruntime.find_runtime(here) == found
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "other"))
    with pytest.raises(
        CodecError, match=r"cannot fetch .* \(network down\); check the network, or"
    ):
        onnxruntime.find_runtime(here)
    assert onnxruntime.find_runtime(here, given=found) == found
    with pytest.raises(CodecError, match=r"holds no ort.wasm.bundle.min.mjs and"):
        onnxruntime.find_runtime(here, given=here)


# --- the page

SEES = "(id) => document.getElementById(id)"


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.skipif(RUNTIME is None, reason="no onnxruntime-web: cd web && npm ci")
def test_a_recording_in_a_browser(
    served: server.Server, small: Path, speech: torch.Tensor, here: Path
) -> None:
    audio = speech[0, 0, 16_000 : 16_000 + 24_100].numpy()
    soundfile.write("in.wav", audio, 16_000, subtype="PCM_16")
    assert run(["encode", "in.wav", "out.tok", "--model", str(small), "-q"]) == 0
    with Page(server.address(served), here / "profile") as page:
        page.run(f"globalThis.at = {SEES}; 0")
        page.wait("at('status').textContent === 'Ready.'")
        page.choose("#file", Path("in.wav"))
        page.wait("at('save-context').href && !document.querySelector('.waiting')")
        assert page.fetch("at('save-context').href") == Path("out.tok").read_bytes()
        assert page.run("at('time').textContent") == "0.0 / 1.5 s"
        assert "encoding" in page.run("at('speed').textContent")
        # A picture has many colours.
        colours = """[...document.querySelectorAll('canvas')].map((canvas) => {
            const context = canvas.getContext('2d');
            const image = context.getImageData(0, 0, canvas.width, canvas.height);
            return new Set(new Uint32Array(image.data.buffer)).size;
        })"""
        assert min(page.run(colours)) > 20
        page.run("at('loop').click(); at('play').click()")
        page.wait("parseFloat(at('time').textContent) > 0.1")
        page.press("a")
        assert page.run("document.querySelector('input[name=version]:checked').value") == "original"
        page.choose("#file", Path("out.tok"))
        page.wait("at('name').textContent === 'out.tok' && at('save-fixed').href")
        assert page.run("at('original').hidden")
        assert page.run("at('error').textContent") == ""
        assert page.problems == []
