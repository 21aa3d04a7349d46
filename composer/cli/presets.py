"""``vision-composer presets``: the configs that come with the package."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from ..text import printable
from .output import echo

app = typer.Typer(help="List, show and copy the presets.", no_args_is_help=True, rich_markup_mode=None)

_Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A preset's name, such as llava-1.5-7b or llava/1.5-7b.")
]
_EDITOR_LINE = "# yaml-language-server:"


@app.command("list")
def list_() -> None:
    """Print every preset's name and what it is."""
    from ..presets import preset_names, preset_path
    from ..schemas.yaml.reading import read_yaml

    names = preset_names()
    width = max(map(len, names), default=0)
    for name in names:
        summary = read_yaml(preset_path(name), name).child("summary")
        echo(f"{name:{width}}  {summary.value if summary else ''}".rstrip())


@app.command()
def show(name: _Name) -> None:
    """Print a preset's YAML."""
    from ..presets import preset_path

    echo(preset_path(name).read_text(encoding="utf-8"), nl=False)


@app.command()
def copy(
    name: _Name,
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="A new file, or a folder to put it in.")],
) -> None:
    """Copy a preset, with the weights it brings along, to a file of your own."""
    from ..presets import load_config, preset_path

    preset = preset_path(name)
    target = dest / preset.name if dest.is_dir() else dest
    files = {target: preset}
    weights = load_config(preset).weights.source
    if weights is not None and os.path.dirname(weights) == str(preset.absolute().parent):
        files[target.parent / os.path.basename(weights)] = Path(weights)
    for file in files:
        if file.exists() or not file.parent.is_dir():
            reason = "it is there already" if file.exists() else f"there is no folder {str(file.parent)!r}"
            raise typer.BadParameter(f"cannot write {str(file)!r}: {reason}", param_hint="DEST")
    try:
        for file, original in files.items():
            shutil.copyfile(original, file)
        _drop_editor_line(target)
    except OSError as error:
        raise typer.BadParameter(printable(str(error)), param_hint="DEST") from None
    echo("\n".join(map(str, files)))


def _drop_editor_line(file: Path) -> None:
    """The line that tells an editor where the schema lies is right in the package only."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.startswith(_EDITOR_LINE)), encoding="utf-8")
