"""The site: the page's own files, a model as ONNX graphs, ONNX Runtime and two clips.

Everything is a file beside the others, addressed relative to the page, so that any server of files
will do. The page itself is in ``web/`` of the repository, installed as ``audiocodec_web``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from audiocodec.bundled import CLIPS
from audiocodec.errors import CodecError
from audiocodec.onnx.export import export_onnx
from audiocodec.paths import replacing_folder
from audiocodec.runtime import RuntimeCodec
from audiocodec.tokens.context import CONTEXT_NAME
from audiocodec.web.onnxruntime import FILES, find_runtime

ABOUT = "site.json"
PAGE = ("index.html", "style.css", "sw.js", "src")
NAMES = (*PAGE, "clips", "model", "runtime", ABOUT)
"""What a site holds. A folder with these and nothing else is an earlier site."""


@dataclass(frozen=True)
class Site:
    """What was written: ``equal_codes`` is the share of codes of a clip that are PyTorch's."""

    folder: Path
    num_bytes: int
    equal_codes: float


def page_folder() -> Path:
    """Where the page's own files are."""
    return Path(str(files("audiocodec_web")))


def write_site(codec: RuntimeCodec, folder: str | Path, runtime: Path | None = None) -> Site:
    """Write the page with a model in it. The folder appears whole, or not at all.

    Args:
        codec: as for :func:`~audiocodec.onnx.export.export_onnx`.
        folder: new, empty, or an earlier site, which is replaced.
        runtime: the folder of the npm package ``onnxruntime-web``; by default it is found or
            fetched (:func:`~audiocodec.web.onnxruntime.find_runtime`).

    Raises:
        CodecError: a folder that holds something else, no ONNX Runtime for browsers, packages that
            are missing (the extra ``onnx``), or a codec that cannot be exported.
    """
    folder = Path(folder)
    check_replaceable(folder)
    page = page_folder()
    runtime = find_runtime(page, runtime)
    with replacing_folder(folder, NAMES) as temporary:
        for name in PAGE:
            source = page / name
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            copy(source, temporary / name)
        shutil.copytree(CLIPS, temporary / "clips", ignore=shutil.ignore_patterns("*.md"))
        (temporary / "runtime").mkdir()
        for name in FILES:
            shutil.copyfile(runtime / name, temporary / "runtime" / name)
        export = export_onnx(codec, temporary / "model")
        if codec.context is not None:
            codec.context.save(temporary / "model" / CONTEXT_NAME)
        written = sorted(path for path in temporary.rglob("*") if path.is_file())
        names = [path.relative_to(temporary).as_posix() for path in written]
        about = {
            "version": version("audiocodec"),
            "model": codec.name,
            "fingerprint": codec.fingerprint,
            "context": codec.context.fingerprint if codec.context else "",
            "clips": [name for name in names if name.startswith("clips/")],
            "files": names,
            "digest": _digest(written),
        }
        (temporary / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        num_bytes = sum(path.stat().st_size for path in temporary.rglob("*") if path.is_file())
    return Site(folder, num_bytes, export.equal_codes)


def check_replaceable(folder: Path) -> None:
    """Raise :class:`CodecError` if a folder is there that is neither empty nor an earlier site."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / ABOUT).is_file():
        raise CodecError(
            f"{folder}: is there already and is no site; name another folder with --out"
        )


def _digest(paths: list[Path]) -> str:
    """16 hex digits that change with any of these files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
