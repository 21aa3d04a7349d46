"""Which library named a checkpoint's tensors, and the checkpoint under transformers' names."""

from __future__ import annotations

import re
from collections.abc import Collection

from ...encoders import AnyFamily
from ...errors import WeightsError
from ...schemas import EncoderConfig
from ...text import shortened
from ..names import TensorNames, meant, names_under, prefixes_before
from ..source import Checkpoint
from .checkpoint import TranslatedCheckpoint
from .open_clip import OPEN_CLIP
from .opengvlab import OPENGVLAB
from .recipe import Library, Recipe, Table
from .timm import TIMM

_LIBRARIES = (TIMM, OPEN_CLIP, OPENGVLAB)
_TOWERS = 8
"""Most towers of one checkpoint that are looked at to find the one that fits."""


def translated(
    checkpoint: Checkpoint, names: TensorNames, family: AnyFamily, encoder: EncoderConfig, asked: str | None
) -> Checkpoint:
    """Return a checkpoint under transformers' names, if another library named its tensors; else as it is.

    Of several towers those stay that are of this family: their tensors are all known and none is missing.

    Args:
        checkpoint: The checkpoint.
        names: The tower's tensors.
        family: The encoder's family.
        encoder: The encoder's config block.
        asked: The prefix that the user named; None to find it.

    Raises:
        WeightsError: If the library is known, and its tower is none of this family.
    """
    library, prefixes = _library(checkpoint.files)
    if library is None:
        return checkpoint
    table = library.tables.get(family.model_type)
    if table is None:
        raise WeightsError(
            f"{checkpoint.label}: its tensors have {library.title}'s names, which are known for "
            f"{', '.join(library.tables)}, and not for {encoder.model_type}"
        )
    prefixes = meant(prefixes, asked) or prefixes
    if len(prefixes) > _TOWERS:
        raise WeightsError(
            f"{checkpoint.label}: holds {len(prefixes):,} towers with {library.title}'s names; say which "
            "with weights.prefix"
        )
    needed = names.checkpoint_names()
    recipes: dict[str, Recipe] = {}
    reasons: list[str] = []
    for prefix in prefixes:
        try:
            recipes |= _recipes(checkpoint, library, *table(encoder), family, prefix, needed)
        except _OtherTowerError as error:
            reasons.append(f"{checkpoint.label}: its tensors have {library.title}'s names, but {error}")
    if not recipes:
        raise WeightsError(reasons[0])
    files = {
        name: checkpoint.files[recipe.sources[0]]
        for name, recipe in recipes.items()
        if all(source in checkpoint.files for source in recipe.sources)
    }
    return TranslatedCheckpoint(
        checkpoint.label,
        files,
        checkpoint.fetch,
        checkpoint.file_format,
        checkpoint.known,
        original=checkpoint,
        recipes=recipes,
    )


class _OtherTowerError(Exception):
    """What stands under a prefix is a tower of another family."""


def foreign_prefixes(files: Collection[str]) -> list[str]:
    """What stands before the names of towers that another library named."""
    return _library(files)[1]


def _library(files: Collection[str]) -> tuple[Library | None, list[str]]:
    """Return whose names the files have, and what stands before them."""
    for library in _LIBRARIES:
        prefixes = [
            prefix
            for prefix in sorted(prefixes_before(files, library.marks[0]))
            if all(any(prefix + name in files for name in group) for group in library.marks)
        ]
        if prefixes:
            return library, prefixes
    return None, []


def _recipes(
    checkpoint: Checkpoint,
    library: Library,
    stem: Table,
    block: Table,
    family: AnyFamily,
    prefix: str,
    needed: Collection[str],
) -> dict[str, Recipe]:
    """Return what our tensors under ``prefix`` are made of, also those that are missing there.

    Raises:
        _OtherTowerError: If a tensor there is not known, or one of those outside the blocks is missing.
    """
    present = {name.removeprefix(prefix) for name in names_under(checkpoint, prefix)}
    pattern = re.compile(rf"{re.escape(library.block)}(\d{{1,6}})\.")
    indices = sorted({int(found[1]) for found in map(pattern.match, present) if found})
    recipes = _chosen(stem, present)
    for index in indices:
        source = f"{library.block}{index}."
        within = {name.removeprefix(source) for name in present if name.startswith(source)}
        chosen = _chosen(block, within)
        name = family.block_name(index)
        recipes |= {f"{name}.{target}": recipe.under(source) for target, recipe in chosen.items()}
    left = present - {source for recipe in recipes.values() for source in recipe.sources}
    left = {name for name in left if not name.startswith(library.unused)}
    if left:
        raise _OtherTowerError(
            f"tensor {shortened(prefix + min(left))} has no place in this {family.model_type}"
        )
    for target, _ in stem:
        missing = [source for source in recipes[target].sources if source not in present]
        if missing and target in needed:
            raise _OtherTowerError(f"tensor {prefix}{missing[0]} of a {family.model_type} is missing")
    return {prefix + target: recipe.under(prefix) for target, recipe in recipes.items()}


def _chosen(table: Table, present: Collection[str]) -> dict[str, Recipe]:
    """Return the first recipe for each name that can be followed, or else the first."""

    def can(recipe: Recipe) -> bool:
        return all(source in present for source in recipe.sources)

    chosen: dict[str, Recipe] = {}
    for target, recipe in table:
        if target not in chosen or (can(recipe) and not can(chosen[target])):
            chosen[target] = recipe
    return chosen
