"""What ships in the package: models and clips of speech."""

from pathlib import Path

MODELS = Path(__file__).parent / "models"
CLIPS = Path(__file__).parent / "clips"
GOLDEN_CLIP = CLIPS / "female.flac"
"""The clip whose exact codes a model folder may record, in :data:`GOLDEN_NAME`."""
GOLDEN_NAME = "golden.tok"


def bundled_models() -> list[str]:
    """Names of the models that ship in the package."""
    return sorted(path.name for path in MODELS.iterdir() if (path / "config.json").is_file())
