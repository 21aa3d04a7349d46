"""``vision-composer init``: a full config to start from, every key with its default and what it means."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Plugins
from .output import echo

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ..schemas import TowerConfig

_WIDTH = 100


def init(
    model_type: Annotated[
        str | None,
        typer.Argument(metavar="MODEL_TYPE", help="An encoder family, such as siglip_vision_model."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="The config.json of an encoder or a VLM, or open_clip's: the file, its folder, or a hub id.",
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id.")] = None,
    plugin: Plugins = None,
) -> None:
    """Print a commented config with every key: the defaults of a family, or what a checkpoint says.

    What a checkpoint's files say and no key does is named on standard error and in comments.
    """
    from ..config_json import config_from
    from ..errors import LeftOutWarning
    from ..presets import load_config
    from ..schemas import one_tower
    from ..text import printable

    if (model_type is None) == (source is None):
        raise typer.BadParameter("name a family, or --from a config.json", param_hint="MODEL_TYPE")
    if source is None:
        config = one_tower(load_config({"schema": 1, "encoder": {"model_type": model_type}}))
        echo(commented(config).encode(), nl=False)
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LeftOutWarning)
        config = config_from(source, revision=revision)
    left_out = [printable(str(w.message), line=True) for w in caught if w.category is LeftOutWarning]
    for message in left_out:
        echo(f"warning: {message}", err=True)
    echo(commented(config, left_out).encode(), nl=False)


def commented(config: TowerConfig, left_out: Sequence[str] = ()) -> str:
    """Return ``config`` as YAML with every key, each below a comment that says what it means.

    Args:
        config: The config.
        left_out: What it does not say, for comments at its head.
    """
    from ..schemas.json_schema import SCHEMA_ID

    lines = [f"# yaml-language-server: $schema={SCHEMA_ID}"]
    lines += [f"# {message}" for message in left_out]
    lines += _block(config, config.resolved(), "")
    return "\n".join(lines) + "\n"


def _block(model: BaseModel, values: Mapping[str, Any], indent: str) -> list[str]:
    from pydantic import BaseModel

    from ..schemas.yaml.dump import inline

    lines = []
    names = {field.alias or name: name for name, field in type(model).model_fields.items()}
    for key, value in values.items():
        name = names.get(key, key)
        lines += _comment(model, name, indent)
        child = getattr(model, name)
        if isinstance(child, BaseModel):
            lines += [f"{indent}{key}:", *_block(child, value, indent + "  ")]
        else:
            lines.append(f"{indent}{inline(key)}: {inline(value)}")
    return lines


def _comment(model: BaseModel, name: str, indent: str) -> list[str]:
    from ..schemas.descriptions import field_descriptions

    text = field_descriptions(type(model)).get(name, "")
    prefix = f"{indent}# "
    plain = " ".join(text.replace("``", "").split())
    return textwrap.wrap(plain, _WIDTH, initial_indent=prefix, subsequent_indent=prefix)
