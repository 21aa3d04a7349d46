"""Every problem and every warning of config files, as CI wants to know them. Loads no torch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from .errors import ConfigError, InputError, Problem
from .presets import preset_path
from .schemas import load_tree, load_yaml, validate_tree
from .schemas.project import ProjectSettings, project_settings
from .schemas.yaml.warnings import warnings_of


def validate(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    error: Iterable[str] = (),
    root: str | os.PathLike[str] | None = None,
) -> list[Problem]:
    """Check config files: ``assert vision_composer.validate("configs") == []``.

    The settings of a team, in ``pyproject.toml`` or ``vision-composer.toml`` at or above the current folder,
    say which problems count; arguments are laid over them.

    Args:
        paths: YAML files, and folders that are searched for them.
        select: Codes to report, or what they begin with (``VC1``), instead of the team's.
        ignore: Codes not to report, besides the team's.
        error: Warnings to count as errors, besides the team's.
        root: The folder that holds every file they may extend; None for the folder of each.

    Returns:
        Problems and warnings (``problem.warning``) in the order of the files. Empty if all is well.

    Raises:
        InputError: If a path leads nowhere, or a folder holds no YAML file.
        SettingsError: If the settings or the codes cannot be used.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    settings = project_settings().laid_under(select=select, ignore=ignore, error=error)
    return problems_of_files(config_files(given), settings, root=root)


def problems_of_files(
    files: Iterable[Path | bytes], settings: ProjectSettings, *, root: str | os.PathLike[str] | None = None
) -> list[Problem]:
    """Return the problems that count, each once: files that extend the same broken file share its own.

    Args:
        files: Files, or the text of one that is read from standard input.
        settings: What counts.
        root: As of :func:`validate`.
    """
    found = (problem for file in files for problem in _problems(file, root))
    return settings.judged(dict.fromkeys(found))


def config_files(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return every config file once, in the order given; those of a folder sorted.

    Raises:
        InputError: If a path leads nowhere, or a folder holds no YAML file or cannot be read.
    """
    files: dict[Path, None] = {}
    for path in (os.fspath(path) for path in paths):
        if os.path.isdir(path):
            found = sorted(_below(path))
            if not found:
                raise InputError(f"no .yaml or .yml file in {path!r}")
            files.update(dict.fromkeys(found))
        elif os.path.exists(path):
            files[Path(path)] = None
        else:
            raise InputError(f"no such file or folder: {path!r}")
    return list(files)


def _problems(file: Path | bytes, root: str | os.PathLike[str] | None) -> Iterable[Problem]:
    """Return the problems of a config, or else its warnings."""
    try:
        source = load_yaml(file, "<stdin>", Path.cwd()) if isinstance(file, bytes) else file
        tree = load_tree(source, find_preset=preset_path, root=root)
        return warnings_of(validate_tree(tree), tree)
    except ConfigError as error:
        return error.problems


def _below(folder: str) -> Iterable[Path]:
    for parent, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if name.endswith((".yaml", ".yml")))


def _unreadable(error: OSError) -> None:
    raise InputError(f"the folder {error.filename!r} cannot be read: {error.strerror}") from None
