"""The catalogue of presets: the YAML files that lie beside this module, found by looking. Loads no torch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from ..errors import ConfigError, PluginError, Problem
from ..schemas import AnyConfig, ConfigSource
from ..schemas import load_config as load_from
from ..schemas.project import project_settings
from ..text import did_you_mean

_FOLDER = Path(__file__).parent
_GROUP = "vision_composer.presets"


@cache
def _files() -> dict[str, Path]:
    return _below(_FOLDER)


def _below(folder: Path) -> dict[str, Path]:
    return {f"{path.parent.name}/{path.stem}": path for path in sorted(folder.glob("*/*.yaml"))}


def _own_files() -> dict[str, Path]:
    """The presets of installed packages and of the team's settings, which none of ours hides."""
    found: dict[str, Path] = {}
    for folder in (*_installed_folders(), *project_settings().preset_paths):
        for name, path in _below(folder).items():
            other = found.get(name) or _files().get(name)
            if other is not None and other != path:
                raise ConfigError(Problem("VC010", f"two presets are called {name!r}: {other} and {path}"))
            found[name] = path
    return found


@cache
def _installed_folders() -> tuple[Path, ...]:
    from importlib.metadata import entry_points
    from importlib.util import find_spec

    folders: list[Path] = []
    for point in entry_points(group=_GROUP):
        spec = find_spec(point.module)
        places = spec.submodule_search_locations if spec is not None else None
        if not places:
            raise PluginError(f"{_GROUP}: {point.name} = {point.value}: there is no such package")
        folders += map(Path, places)
    return tuple(folders)


def preset_names() -> list[str]:
    """The name of every preset, such as ``clip-vit-large-patch14-336``, sorted.

    Besides those of this package there are those of installed packages that name theirs under the entry point
    group ``vision_composer.presets``, and those below the ``preset_paths`` of the team's settings.

    Raises:
        SettingsError: If the team's settings cannot be used.
        PluginError: If an entry point names no package.
        ConfigError: If two presets have one name.
    """
    return sorted(name.replace("/", "-") for name in _files() | _own_files())


def is_preset(name: str) -> bool:
    """Whether there is a preset of that name, in either spelling."""
    return _find(name) is not None


def preset_path(name: str) -> Path:
    """The YAML file of a preset.

    Args:
        name: ``clip-vit-large-patch14-336``, or by folder ``clip/vit-large-patch14-336``.

    Raises:
        ConfigError: If there is no such preset; suggests the closest.
    """
    if path := _find(name):
        return path
    files = _files() | _own_files()
    names = files if "/" in name else (key.replace("/", "-") for key in files)
    hint = did_you_mean(name, names) or "; `vision-composer presets list` names them all"
    raise ConfigError(Problem("VC010", f"there is no preset {name!r}{hint}"))


def _find(name: str) -> Path | None:
    for files in (_files, _own_files):  # what others add takes time to look up
        for key, path in files().items():
            if name in (key, key.replace("/", "-")):
                return path
    return None


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
