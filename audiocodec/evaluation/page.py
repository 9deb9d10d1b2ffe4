"""An evaluation as one HTML page, with its pictures and audio in it: no other file, no network."""

from __future__ import annotations

import io
import platform
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocodec.cores import available_cores
from audiocodec.evaluation.charts import (
    draw_bits,
    draw_codebooks,
    draw_cost,
    draw_distributions,
    draw_quality,
)
from audiocodec.evaluation.comparison import Comparison
from audiocodec.evaluation.embedding import audio_address, data_address
from audiocodec.evaluation.examples import Example, Examples
from audiocodec.evaluation.metrics import METRICS
from audiocodec.evaluation.published import Published, published_lines
from audiocodec.evaluation.report import mean_legend, mean_lines, title_line
from audiocodec.extras import import_extra, require_extra
from audiocodec.paths import replacing, writing
from audiocodec.pictures import draw_spectrograms

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).with_name("page.html")
PACKAGES = (
    "audiocodec",
    "torch",
    "numpy",
    "scipy",
    "soundfile",
    "soxr",
    "librosa",
    "pesq",
    "pystoi",
)


def check_page(purpose: str) -> None:
    """Raise :class:`CodecError` if a package that the page needs is missing."""
    for package in ("jinja2", "matplotlib", "librosa"):
        require_extra(package, "eval", purpose)


def write_page(
    path: str | Path,
    comparison: Comparison,
    examples: Examples | None = None,
    command: Sequence[str] = (),
    published: Sequence[Published] = (),
) -> None:
    """Write the page. It appears whole or not at all.

    Args:
        path: of the page, by custom ``.html``.
        comparison: the evaluation of one model or of several.
        examples: files to hear and to see, from
            :func:`~audiocodec.evaluation.examples.find_examples`.
        command: what made the evaluation, for the reader to repeat; the parts of a command line.
        published: scores of other systems, from
            :func:`~audiocodec.evaluation.published.read_published`.

    Raises:
        CodecError: the page cannot be written, or a package of the extra ``eval`` is missing.
    """
    jinja2 = import_extra("jinja2", "eval", "a report")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    page = template.render(_content(comparison, examples, command, published))
    # File names that are not UTF-8 hold surrogates, which have no UTF-8.
    data = page.encode("utf-8", "replace")
    with replacing(Path(path)) as temporary, writing(Path(path)):
        temporary.write_bytes(data)


def _content(
    comparison: Comparison,
    examples: Examples | None,
    command: Sequence[str],
    published: Sequence[Published],
) -> dict[str, Any]:
    """What the template shows."""
    shown = comparison.equal_files() if len(comparison.evaluations) > 1 else comparison.evaluations
    models = [each for each in comparison.evaluations if not each.is_baseline]
    head, *rows = mean_lines(shown)
    return {
        "models": [title_line(each) for each in models],
        "title": "Evaluation of " + ", ".join(each.model for each in models),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(command),
        "head": head,
        "rows": rows,
        "legend": mean_legend(comparison.evaluations[0]),
        "remarks": comparison.remarks(),
        "quality": _picture(draw_quality(shown, published)),
        "published": published_lines(published, shown[0].metrics) if published else [],
        "cost": _picture(draw_cost(shown, published)) if published else "",
        "distributions": _picture(draw_distributions(shown)),
        "codebooks": _picture(draw_codebooks(shown)),
        "bits": [(each.model, _picture(draw_bits(each))) for each in models],
        "ranking": _ranking(examples) if examples else "",
        "examples": _examples(examples) if examples else [],
        "failures": comparison.failures,
        "versions": _versions(),
        "machine": f"{platform.platform()}, {_processor()}, cores: {available_cores()}",
    }


def _ranking(examples: Examples) -> str:
    title = METRICS[examples.metric].title
    return f"{title} of {examples.model} with {examples.num_codebooks} codebooks"


def _examples(examples: Examples) -> list[tuple[str, list[dict[str, Any]]]]:
    form, title = METRICS[examples.metric].format, METRICS[examples.metric].title

    def shown(example: Example) -> dict[str, Any]:
        picture = draw_spectrograms(example.signals, example.sample_rate)
        return {
            "file": example.file,
            "score": f"{title} {example.score:{form}}",
            "seconds": f"{example.seconds:.1f} s",
            "picture": _picture(picture, "webp"),
            "players": [
                (name, audio_address(signal, example.sample_rate))
                for name, signal in example.signals.items()
            ],
        }

    lists = (("Worst", examples.worst), ("Best", examples.best))
    return [(name, [shown(each) for each in found]) for name, found in lists if found]


def _picture(figure: Figure, form: str = "svg") -> str:
    """A figure as the address of an image that holds it. Equal figures have equal addresses."""
    matplotlib = import_extra("matplotlib", "eval", "a report")
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "codec"}):
        metadata = {"Date": None} if form == "svg" else None
        figure.savefig(file, format=form, dpi=80, metadata=metadata)
    return data_address(file.getvalue(), "image/svg+xml" if form == "svg" else f"image/{form}")


def _versions() -> str:
    """The versions of Python and of the packages that results depend on."""
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
