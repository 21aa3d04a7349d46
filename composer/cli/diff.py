"""``vision-composer diff``: what differs between two configs, two folders, or now and a git revision."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError
from .options import Plugins, Root
from .output import echo
from .revisions import lay_out, repository_of
from .show import leaves

if TYPE_CHECKING:
    from ..planning import VisionPlan

_ABSENT = "(absent)"


def diff(
    configs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="A B",
            help="Two presets, YAML files, saved towers' folders, or folders of configs. "
            "With --git: files and folders; without any, the current folder.",
        ),
    ] = None,
    git: Annotated[
        str | None,
        typer.Option(
            "--git", metavar="REV", help="Compare with what they were at a revision: main, v1.2, HEAD~3."
        ),
    ] = None,
    root: Root = None,
    plugin: Plugins = None,
) -> None:
    """Print what differs between configs: values, defaults included, and what they amount to."""
    if git is not None:
        _print_since(git, configs or ["."], root)
    elif configs is None or len(configs) != 2:
        raise typer.BadParameter("name two configs or folders, or --git REV", param_hint="A B")
    elif all(map(_is_folder_of_configs, configs)):
        _print_folders(Path(configs[0]), Path(configs[1]), root)
    else:
        for line in _changes(_plan(configs[0], root), _plan(configs[1], root)):
            echo(line)


def _is_folder_of_configs(path: str) -> bool:
    from ..schemas.paths import config_file

    return os.path.isdir(path) and config_file(path) is None


@dataclass(frozen=True)
class _Sides:
    """Two folders that hold the same files, once older and once newer.

    Attributes:
        old: The older.
        new: The newer.
        old_name: What the older is called in messages.
    """

    old: Path
    new: Path
    old_name: str

    def compare(self, name: Path, root: Path | None) -> list[str]:
        """Return what changed in a file; a file that is broken on one side is said to be."""
        old, new = self.old / name, self.new / name
        if not (old.exists() and new.exists()):
            return ["added" if new.exists() else "removed"]
        before = root and self.old / os.path.relpath(os.path.realpath(root), self.new)
        try:
            plans = _plan(old, before), _plan(new, root)
        except ConfigError as error:
            message = str(error).replace(f"{self.old}{os.sep}", self.old_name)
            return [f"cannot be compared: {message}"]
        # Paths of weights are absolute: the same place on both sides is no change.
        return _changes(*plans, moved=(str(self.old), str(self.new)))


def _print_folders(old: Path, new: Path, root: Path | None) -> None:
    sides = _Sides(Path(os.path.realpath(old)), Path(os.path.realpath(new)), f"{old}{os.sep}")
    _print(sides, sorted(_names(sides.old, sides.old) | _names(sides.new, sides.new)), root, sides.new)


def _print_since(revision: str, paths: Iterable[str], root: Path | None) -> None:
    here = Path.cwd()
    repository = repository_of(here)
    with TemporaryDirectory() as scratch:
        sides = _Sides(Path(os.path.realpath(scratch)), repository, f"{revision}:")
        left_out = lay_out(repository, revision, sides.old)
        names: set[Path] = set()
        for path in paths:
            place = Path(os.path.realpath(path))
            if not place.is_relative_to(repository):
                raise typer.BadParameter(f"{path!r} is outside of the repository {str(repository)!r}")
            below = place.relative_to(repository)
            found = _names(sides.old / below, sides.old) | _names(place, repository)
            if not found:
                raise typer.BadParameter(f"no config at {path!r}, neither now nor at {revision}")
            names |= found
        for name in sorted(names & left_out):
            shown = os.path.relpath(repository / name, here)
            echo(f"{shown}: passed over, since it is a link that leads out of the repository", err=True)
        names -= left_out
        _print(sides, sorted(names), root, here)


def _names(place: Path, base: Path) -> set[Path]:
    """The config files at or below a place, relative to a folder; none if there is no such place."""
    if place.is_dir():
        files = (*place.rglob("*.yaml"), *place.rglob("*.yml"))
        names = {file.relative_to(base) for file in files}
        return {name for name in names if not any(part.startswith(".") for part in name.parts)}
    return {place.relative_to(base)} if place.exists() else set()


def _print(sides: _Sides, names: Iterable[Path], root: Path | None, here: Path) -> None:
    for name in names:
        changes = sides.compare(name, root)
        if len(changes) == 1 and changes[0] in ("added", "removed"):
            echo(f"{os.path.relpath(sides.new / name, here)}: {changes[0]}")
        elif changes:
            echo(f"{os.path.relpath(sides.new / name, here)}:")
            for change in changes:
                echo("\n".join(f"  {line}" for line in change.splitlines()))


def _plan(config: str | Path, root: Path | None) -> VisionPlan:
    from ..planning import plan
    from ..presets import load_config

    return plan(load_config(config, root=root))


def _changes(old: VisionPlan, new: VisionPlan, *, moved: tuple[str, str] = ("", "")) -> list[str]:
    before = {path: value.replace(*moved) for path, value in _values(old).items()}
    found = _differences(before, _values(new))
    if facts := _differences(_facts(old), _facts(new)):
        found += ["plan:", *(f"  {line}" for line in facts)]
    return found


def _values(plan: VisionPlan) -> dict[str, str]:
    from ..schemas.yaml.dump import inline

    return {path: inline(value) for path, value in leaves(plan.config.resolved(), lists=False)}


def _facts(plan: VisionPlan) -> dict[str, str]:
    side = plan.image_size
    numbers = {
        "width": plan.output_width,
        "tokens": plan.num_tokens(side, side),
        "blocks": plan.num_blocks,
        "parameters": plan.num_parameters,
        "bytes": plan.num_bytes,
    }
    return {name: "unknown" if number is None else f"{number:,}" for name, number in numbers.items()}


def _differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    return [
        f"{path}: {old.get(path, _ABSENT)} -> {new.get(path, _ABSENT)}"
        for path in dict.fromkeys((*old, *new))
        if old.get(path) != new.get(path)
    ]
