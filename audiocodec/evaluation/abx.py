"""An ABX listening test as one HTML page, with its audio in it: no other file, no network.

In a trial a listener hears A, B and X, which is one of both, and says which. Who hears no
difference is right half of the time; the page tests against that (Clark 1982, "High-resolution
subjective testing using a double-blind comparator", JAES 30).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocodec.audio import AudioReader
from audiocodec.errors import CodecError
from audiocodec.evaluation.embedding import audio_address
from audiocodec.evaluation.listening import Clips, Systems
from audiocodec.extras import import_extra
from audiocodec.paths import replacing, writing
from audiocodec.progress import progress_bar

TEMPLATE = Path(__file__).with_name("abx.html")
COMPRESSION = 0.4  # 160 kbps of Opus at 16 kHz: more than any codec that is worth a test


def write_abx(
    path: str | Path,
    systems: Systems,
    *,
    trials: int = 16,
    seconds: float = 10.0,
    seed: int | None = None,
    title: str = "Listening test",
    progress: bool = False,
) -> None:
    """Write the page. It appears whole or not at all.

    Args:
        path: of the page, by custom ``.html``.
        systems: each of the others is compared with the base.
        trials: of each comparison. Of more clips than trials, as many are used, evenly spread.
        seconds: how much of each clip is heard, from its beginning.
        seed: of the order and of what A, B and X are; ``None`` has each listener's browser draw
            one. It is stored with the answers.
        title: of the page. Listeners see it before they are asked, unlike the systems' names.
        progress: show a progress bar on stderr.

    Raises:
        CodecError: a file cannot be read or is empty, the page cannot be written, or jinja2 (extra
            ``eval``) is missing.
    """
    jinja2 = import_extra("jinja2", "eval", "a listening test")
    count = min(trials, len(systems.clips))
    clips = [systems.clips[index * len(systems.clips) // count] for index in range(count)]
    signals = {systems.base: systems.base_clips, **systems.others}
    audio: dict[str, list[str]] = {name: [] for name in signals}
    with progress_bar(count, "clips", "listen", progress) as bar:
        for clip in clips:
            for name, address in _addresses(signals, clip, systems.base, seconds).items():
                audio[name].append(address)
            bar.update()
    test: dict[str, Any] = {
        "title": title,
        "seed": seed,
        "trials": trials,
        "pairs": [[systems.base, name] for name in systems.others],
        "clips": clips,
        "audio": audio,
    }
    # Answers are stored under it: another test, even in the same file, does not find them.
    test["id"] = hashlib.sha256(json.dumps(test).encode()).hexdigest()[:16]
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(test=test)
    # File names that are not UTF-8 hold surrogates, which have no UTF-8.
    data = page.encode("utf-8", "replace")
    with replacing(Path(path)) as temporary, writing(Path(path)):
        temporary.write_bytes(data)


def _addresses(signals: dict[str, Clips], clip: str, base: str, seconds: float) -> dict[str, str]:
    """A clip of each system, of equal rates and lengths: neither may say which system it is."""
    with AudioReader(signals[base][clip]) as reader:
        rate = reader.sample_rate
    loaded = {name: _load(clips[clip], rate, seconds) for name, clips in signals.items()}
    length = min(map(len, loaded.values()))
    return {name: audio_address(s[:length], rate, COMPRESSION) for name, s in loaded.items()}


def _load(file: Path, sample_rate: int, seconds: float) -> NDArray[np.float32]:
    """The beginning of a file's first channel ``[T]``."""
    with AudioReader(file, sample_rate) as reader:
        block = next(reader.blocks(seconds), None)
    if block is None or not block.size:
        raise CodecError(f"{file}: has no audio; remove it from each system")
    return block[0]
