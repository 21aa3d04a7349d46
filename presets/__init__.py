"""The catalogue of presets: the YAML files that lie beside this module, found by looking. Loads no torch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from ..errors import ConfigError, Problem
from ..schemas import AnyConfig, ConfigSource
from ..schemas import load_config as load_from
from ..text import did_you_mean

_FOLDER = Path(__file__).parent


@cache
def _files() -> dict[str, Path]:
    return {f"{path.parent.name}/{path.stem}": path for path in sorted(_FOLDER.glob("*/*.yaml"))}


def preset_names() -> list[str]:
    """The name of every preset, such as ``clip-vit-large-patch14-336``, sorted."""
    return sorted(name.replace("/", "-") for name in _files())


def is_preset(name: str) -> bool:
    """Whether there is a preset of that name, in either spelling."""
    return name in _files() or name in preset_names()


def preset_path(name: str) -> Path:
    """The YAML file of a preset.

    Args:
        name: ``clip-vit-large-patch14-336``, or by folder ``clip/vit-large-patch14-336``.

    Raises:
        ConfigError: If there is no such preset; suggests the closest.
    """
    files = _files()
    named = files if "/" in name else {key.replace("/", "-"): path for key, path in files.items()}
    if name not in named:
        hint = did_you_mean(name, named) or "; `vision-composer presets list` names them all"
        raise ConfigError(Problem("VC010", f"there is no preset {name!r}{hint}"))
    return named[name]


def load_config(
    source: ConfigSource,
    *,
    overrides: Iterable[str] = (),
    root: str | os.PathLike[str] | None = None,
) -> AnyConfig:
    """A validated config from a preset, a YAML file, a saved tower's folder, a mapping, or a config.

    Args:
        source: A preset's name in either spelling, a path, a mapping with a config's keys (an OmegaConf one,
            too), or a config. A string that names an existing file or saved tower means that, even where a
            preset has the same name: the preset's other spelling then still means the preset.
        overrides: Applied in order on top: ``compile.mode=max-autotune``, ``select_layers=[-2,-9]``,
            ``select_layers[0]=-3``, and ``~weights.revision`` to remove a key. Values are YAML.
        root: The folder that holds every file it may extend, besides presets; None for the folder of the
            file itself, or the current directory for a mapping.

    Raises:
        ConfigError: If anything is wrong with it; holds every problem, each at its position.
    """
    return load_from(source, overrides=overrides, find_preset=preset_path, root=root)


__all__ = ["is_preset", "load_config", "preset_names", "preset_path"]
