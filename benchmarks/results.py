"""Draw the pictures of docs/results.md: quality against bitrate, and against computing time.

    python benchmarks/results.py TEST_CLEAN_52 --mos

Evaluates the model beside the classical codecs that are installed, as
`codec evaluate TEST_CLEAN_52 --baseline "..." --published benchmarks/published.csv` does, with the
published figures of other neural codecs, whose times were measured on a similar machine (2 virtual
cores of an AMD EPYC, one thread, 10 s clips) with other work on it.
"""

from __future__ import annotations

from pathlib import Path

import click

from audiocodec import load_codec
from audiocodec.evaluation import compare
from audiocodec.evaluation.baselines import parse_baselines
from audiocodec.evaluation.charts import draw_cost, draw_quality
from audiocodec.evaluation.published import read_published

HERE = Path(__file__).parent
BASELINES = "opus:6k opus:9k opus:12k speex:0 speex:1 speex:2 speex:3 "
BASELINES += "codec2:700C codec2:1600 codec2:3200"


@click.command()
@click.argument("clips", type=click.Path(exists=True, path_type=Path))
@click.option("--model", default="speech_16khz", show_default=True)
@click.option("-n", "counts", default="1,2,3,4,6,8,12,16", show_default=True)
@click.option("--mos", is_flag=True, help="Add DistillMOS (extra `mos`).")
@click.option("--jobs", default=2, show_default=True, help="Processes that score.")
@click.option("--out", default=HERE.parent / "docs", type=click.Path(path_type=Path))
def main(clips: Path, model: str, counts: str, mos: bool, jobs: int, out: Path) -> None:
    """Compare a model with other codecs on CLIPS; draw quality.png and cost.png."""
    others = parse_baselines(BASELINES.split())
    comparison = compare(
        [load_codec(model)],
        clips,
        [int(count) for count in counts.split(",")],
        metrics=("distill_mos",) if mos else (),
        jobs=jobs,
        baselines=[each for each in others if not each.missing],
        progress=True,
    )
    print(comparison.table())
    published = read_published(HERE / "published.csv")
    draw_quality(comparison.evaluations, published).savefig(out / "quality.png")
    draw_cost(comparison.evaluations, published).savefig(out / "cost.png")


if __name__ == "__main__":
    main()
