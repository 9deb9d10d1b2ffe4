"""The pages of the documentation and their fenced blocks, for the tests that run them.

A block is run by a test, or a comment before it says why it is not:

    <!-- not run: needs a GPU -->
    ```bash
    codec train ...

`<!-- not run on this page: ... -->` says so for all blocks of a page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
PAGES += sorted((ROOT / "docs").glob("*.md"))
REASON = re.compile(r"<!-- not run: (.+?) -->", re.DOTALL)
PAGE_REASON = re.compile(r"<!-- not run on this page: (.+?) -->", re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its page, first line, language, text, and why no test runs it, if so."""

    page: Path
    line: int
    language: str
    text: str
    reason: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    whole = PAGE_REASON.search(text)
    found = []
    for match in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        before = text[: match.start()].rstrip()
        comment = REASON.match(before[before.rfind("<!--") :]) if before.endswith("-->") else None
        reason = comment[1] if comment else whole[1] if whole else ""
        line = text.count("\n", 0, match.start()) + 2
        found.append(Block(page, line, match[1].strip(), match[2], " ".join(reason.split())))
    return found
