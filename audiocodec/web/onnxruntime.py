"""ONNX Runtime for browsers: where its two files come from.

It is a package of npm, ``onnxruntime-web``, of one version and one checksum. 14 MB of WebAssembly
are too much to carry in a Python package that most people use without a browser.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from audiocodec.errors import CodecError
from audiocodec.paths import replacing_folder

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
"""Also in ``web/package.json``."""
INTEGRITY = (
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8p"
    "ZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
"""Of the archive that npm serves, as in ``web/package-lock.json``."""
FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
SECONDS = 600
"""The longest that npm may take."""
REMEDY = (
    f"install npm (Node.js), or bring the folder of the package {PACKAGE} {VERSION} from elsewhere "
    "and name it with --runtime"
)


def find_runtime(page: Path, given: Path | None = None) -> Path:
    """The folder with :data:`FILES`, the first of: ``given``; what ``npm ci`` installed beside the
    page's own files; the user's cache; else npm fetches it into the cache.

    Args:
        page: the folder with the page's own files.
        given: the folder of the package, or its ``dist``.

    Raises:
        CodecError: ``given`` lacks the files, npm is missing or fails, or a wrong checksum.
    """
    if given is not None:
        for folder in (given, given / "dist"):
            if _complete(folder):
                return folder
        raise CodecError(f"{given}: holds no {FILES[0]} and {FILES[1]}; name a folder that does")
    installed = page / "node_modules" / PACKAGE
    if _version(installed) == VERSION and _complete(installed / "dist"):
        return installed / "dist"
    cached = cache_folder()
    if not _complete(cached):
        _fetch(cached)
    return cached


def cache_folder() -> Path:
    """Where this user's copy is: in ``$XDG_CACHE_HOME``, or in ``~/.cache`` without one."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache, "audiocodec", f"{PACKAGE}-{VERSION}")


def _complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in FILES)


def _version(package: Path) -> str | None:
    try:
        version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
        return str(version)
    except (OSError, ValueError, KeyError):
        return None


def _fetch(target: Path) -> None:
    """Have npm fetch the package, from its own cache where it is there, and keep two files."""
    npm = shutil.which("npm")
    if npm is None:
        raise CodecError(f"the page needs {PACKAGE}, and there is no npm to fetch it; {REMEDY}")
    with tempfile.TemporaryDirectory() as folder:
        words = [npm, "pack", f"{PACKAGE}@{VERSION}", "--prefer-offline", "--silent"]
        words += ["--pack-destination", folder]
        try:
            result = subprocess.run(
                words, cwd=folder, capture_output=True, text=True, timeout=SECONDS
            )
            failure = "" if result.returncode == 0 else _reason(result.stderr)
        except (OSError, subprocess.TimeoutExpired) as error:
            failure = str(error)
        archives = list(Path(folder).glob("*.tgz"))
        if failure or not archives:
            raise CodecError(
                f"npm cannot fetch {PACKAGE} {VERSION} ({failure or 'it wrote no archive'}); "
                f"check the network, or {REMEDY}"
            )
        unpack(archives[0], target)


def _reason(text: str) -> str:
    lines = [line.removeprefix("npm error ").strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "no reason given"


def unpack(archive: Path, target: Path, integrity: str = INTEGRITY) -> None:
    """Write the two files of a package's archive into the folder ``target``, both or none.

    Raises:
        CodecError: another checksum, files that are missing, or a folder that cannot be written.
    """
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != integrity:
        raise CodecError(
            f"npm served another {PACKAGE} {VERSION} than the one that this program was tested "
            "with: its checksum differs; check npm's registry (npm config get registry)"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CodecError(
            f"{target}: cannot be made ({error.strerror}); name another place with XDG_CACHE_HOME"
        ) from None
    with replacing_folder(target, FILES) as temporary, tarfile.open(archive) as tar:
        for name in FILES:
            try:
                member = tar.extractfile(f"package/dist/{name}")
            except KeyError:
                member = None
            if member is None:
                raise CodecError(f"{PACKAGE} {VERSION} holds no dist/{name}; use --runtime")
            with (temporary / name).open("wb") as file:
                shutil.copyfileobj(member, file)
