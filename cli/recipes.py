"""The recipe and the folder that the words of `codec train` name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import remark

if TYPE_CHECKING:
    from audiocodec.training.recipe import Recipe


def new_run(
    recipe: str | None, overrides: tuple[str, ...], out: Path | None
) -> tuple[Recipe, Path]:
    """The recipe of a new run, and its folder."""
    from audiocodec.errors import CodecError
    from audiocodec.training.recipe import Recipe

    if recipe is None:
        raise click.UsageError(
            "name a recipe, e.g. codec train tiny, or a run: codec train --resume runs/tiny"
        )
    if find_recipe(recipe).is_dir():
        raise CodecError(
            f"{recipe}: is a folder, not a recipe; to continue the run in it: "
            f"codec train --resume {recipe}"
        )
    settings = Recipe.from_yaml(find_recipe(recipe), overrides).with_absolute_paths()
    return settings, out or Path("runs") / settings.name


def resumed_run(
    recipe: str | None, overrides: tuple[str, ...], out: Path | None
) -> tuple[Recipe, Path]:
    """The recipe in the folder of the run to be resumed, and the folder.

    If a recipe file is given as well, it serves to find the folder. A line on stderr says what
    differs in it; the run's own recipe is used.
    """
    from audiocodec.errors import CodecError
    from audiocodec.training.recipe import Recipe
    from audiocodec.training.runfolder import (
        changed_keys,
        has_run,
        read_run_recipe,
        recipe_changes,
    )

    if recipe is None and out is None:
        raise click.UsageError("--resume: name the run's folder: codec train --resume runs/NAME")
    if recipe is None or find_recipe(recipe).is_dir() or has_run(Path(recipe)):
        if recipe and out and Path(recipe).resolve() != out.resolve():
            raise click.UsageError(
                f"--resume: {recipe} and --out {out} are different folders; give one of them"
            )
        folder = out or Path(str(recipe))
        return read_run_recipe(folder, overrides).with_absolute_paths(), folder
    if not find_recipe(recipe).is_file():
        raise CodecError(f"{recipe}: no run to resume; name a run's folder, e.g. runs/tiny")
    named = Recipe.from_yaml(find_recipe(recipe), overrides).with_absolute_paths()
    folder = out or Path("runs") / named.name
    settings = read_run_recipe(folder, overrides).with_absolute_paths()
    for change in recipe_changes(named, settings):
        if change.partition(":")[0] not in changed_keys(overrides):
            remark(f"the run's own recipe is used, not {recipe}: {change}")
    return settings, folder


def find_recipe(recipe: str) -> Path:
    """The file of this path, or the recipe of this name in the package."""
    from importlib.resources import files

    packaged = Path(str(files("audiocodec_recipes"))) / f"{recipe}.yaml"
    return packaged if packaged.is_file() and not Path(recipe).is_file() else Path(recipe)
