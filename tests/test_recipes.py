"""The recipes agree with each other and with the bundled model, and need only your recordings."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiocodec.bundled import MODELS
from audiocodec.checkpoint import codec_config
from audiocodec.codec import CodecConfig
from audiocodec.complexity import gigamacs
from audiocodec.config import read_yaml
from audiocodec.training import Recipe
from audiocodec.training.growth import check_growth

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))


def bundled() -> CodecConfig:
    """The configuration of the bundled model."""
    values = read_yaml(MODELS / "speech_16khz" / "config.json")  # JSON is YAML
    return codec_config(values, source="speech_16khz")


def recipe(name: str) -> Recipe:
    return Recipe.from_yaml(ROOT / "recipes" / f"{name}.yaml")


@pytest.mark.parametrize(
    "name", ["speech_16khz", "speech_16khz_adversarial", "speech_16khz_phases", "librispeech"]
)
def test_full_recipes_have_the_shape_of_the_bundled_model(name: str) -> None:
    assert recipe(name).codec == bundled()


def test_the_next_recipe_grows_the_bundled_model_within_the_limit() -> None:
    next_codec = recipe("speech_16khz_next").codec
    check_growth(bundled().seanet, next_codec.seanet)
    assert next_codec.quantizer == bundled().quantizer
    assert gigamacs(bundled()) == pytest.approx(1.04, abs=0.01)
    assert gigamacs(next_codec) < 1.3


def test_one_large_codebook_of_eight_dimensions_has_the_network_of_the_bundled_model() -> None:
    codec = recipe("librispeech_65k").codec
    assert codec.seanet == bundled().seanet
    assert [(stage.size, stage.dim) for stage in codec.quantizer.stages] == [(65536, 8)]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_needs_no_path_outside_the_repository(path: Path) -> None:
    data = Recipe.from_yaml(path).data
    assert data.root == ("bundled_clips" if path.stem == "tiny" else None)
    assert (data.validation, data.cache) == (None, None)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_lines_of_a_recipe_fit_100_columns(path: Path) -> None:
    assert max(map(len, path.read_text(encoding="utf-8").splitlines())) <= 100
