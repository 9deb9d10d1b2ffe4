"""Draw spectrograms of some clips and of what is decoded of them, for docs/results.md.

python benchmarks/spectrograms.py TEST_CLEAN_52
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from PIL import Image

from audiocodec import find_audio, load_audio, load_codec
from audiocodec.evaluation.probes import coded
from audiocodec.pictures import draw_spectrograms

PICTURE = Path(__file__).parents[1] / "docs" / "spectrograms.png"


@click.command()
@click.argument("clips", type=click.Path(exists=True, path_type=Path))
@click.option("--model", default="speech_16khz", show_default=True)
@click.option("-n", "counts", multiple=True, type=int, default=(3, 12), show_default=True)
@click.option("--rows", default=5, show_default=True, help="Clips, evenly spread over CLIPS.")
@click.option("--picture", default=PICTURE, type=click.Path(path_type=Path))
def main(clips: Path, model: str, counts: tuple[int, ...], rows: int, picture: Path) -> None:
    """Draw the first four seconds of some CLIPS, as recorded and decoded."""
    codec = load_codec(model)
    files = find_audio(clips)
    drawn = []
    for file in files[:: max(1, len(files) // 20)][:rows]:
        cut = load_audio(file, codec.sample_rate)[0][0, : 4 * codec.sample_rate].numpy()
        shown = {"original": cut}
        for count in counts:
            shown[f"{codec.bitrate(count) / 1000:g} kbps"] = coded(codec, cut, count)
        canvas = draw_spectrograms(shown, codec.sample_rate).canvas
        canvas.draw()
        drawn.append(np.asarray(canvas.buffer_rgba())[..., :3])  # type: ignore[attr-defined]
    Image.fromarray(np.concatenate(drawn)).quantize(64).save(picture, optimize=True)


if __name__ == "__main__":
    main()
