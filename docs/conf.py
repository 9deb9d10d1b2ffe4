"""Sphinx builds this folder, with the API from the docstrings: sphinx-build -W docs docs/_build."""

from __future__ import annotations

import pkgutil
from importlib import metadata
from pathlib import Path

from sphinx.application import Sphinx

import audiocodec

project = "audiocodec"
author = "the audiocodec developers"
copyright = "2026, the audiocodec developers"
release = metadata.version("audiocodec")

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser"]
exclude_patterns = ["_build"]
default_role = "code"  # `x` in a docstring is code
html_theme = "furo"
html_title = f"audiocodec {release}"
html_static_path = ["audio"]  # for the players of choosing_a_bitrate.md
# A public name has two targets, audiocodec.X and X in its module. Links to files outside this
# folder are text in the built pages; tests/test_docs.py checks that the files exist.
suppress_warnings = ["ref.python", "myst.xref_missing"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_use_type_comments = False  # there are none, and looking for them takes a tenth of the time
autodoc_default_options = {"members": True, "show-inheritance": True}

PAGES = Path(__file__).parent / "api" / "packages"


def write_page(name: str, title: str, modules: list[str]) -> None:
    """Write ``api/packages/NAME.rst``, which documents the modules, unless it is there already."""
    lines = [title, "=" * len(title)]
    for module in modules:
        lines += ["", module, "-" * len(module), "", f".. automodule:: {module}"]
        lines += ["   :ignore-module-all:"]  # each name is documented where it is defined
    text = "\n".join(lines) + "\n"
    page = PAGES / f"{name}.rst"
    if not page.is_file() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")


def write_pages() -> None:
    """Write a page for the top-level modules and one for each package, as they are now."""
    PAGES.mkdir(exist_ok=True)
    packages: dict[str, list[str]] = {}
    modules = []
    for module in pkgutil.iter_modules(audiocodec.__path__, "audiocodec."):
        if module.ispkg:
            path = [str(Path(str(audiocodec.__file__)).parent / module.name.split(".")[1])]
            inside = pkgutil.walk_packages(path, f"{module.name}.")
            packages[module.name] = [module.name, *(found.name for found in inside)]
        elif module.name != "audiocodec.__main__":
            modules.append(module.name)
    for page in PAGES.glob("*.rst"):
        if page.stem not in {"modules", *packages}:
            page.unlink()
    write_page("modules", "Top-level modules", modules)
    for name, inside_names in packages.items():
        write_page(name, name, inside_names)


def mark_literal_blocks(*arguments: object) -> None:
    """Read an indented block after a paragraph that ends in ":" as it is printed in the source."""
    lines = arguments[-1]
    assert isinstance(lines, list)
    for index, line in enumerate(lines[:-2]):
        indent = len(line) - len(line.lstrip())
        block = lines[index + 2]
        introduced = line.endswith(":") and not line.endswith("::") and not lines[index + 1].strip()
        if introduced and block.startswith(" " * (indent + 2)):
            lines[index] = line + ":"


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", mark_literal_blocks, priority=100)  # before napoleon


write_pages()
