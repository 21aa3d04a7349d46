"""What ``compose`` and ``plan`` are given: a config wherever it is, or a checkpoint. Loads no torch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from .config_json import CONFIG_JSON, tower_of_config_json
from .errors import InputError
from .foreign_json import OPEN_CLIP_CONFIG
from .locks.holding import pinned
from .presets import is_preset, load_config, preset_names
from .schemas import AnyConfig, ConfigSource
from .schemas.paths import TOWER_FILE, is_hub_id, looks_like_path
from .text import did_you_mean

_CONFIGS = (CONFIG_JSON, OPEN_CLIP_CONFIG)
_GENERIC = "encoder.prefix_tokens="


def config_of(source: ConfigSource, *, overrides: Iterable[str] = ()) -> AnyConfig:
    """Return the config that a source means.

    A source that is neither a config nor a preset is a checkpoint, whose config is derived from its own: that
    of transformers, timm or open_clip. An override of ``encoder.prefix_tokens`` asks for the generic adapter
    there.

    Args:
        source: What :func:`vision_composer.load_config` takes; or a folder with a checkpoint's config.json or
            open_clip_config.json, that file, or a hub id with a slash.
        overrides: ``key=value`` and ``~key``, applied in order on top.

    Raises:
        ConfigError: If the config cannot be read or cannot work, or nothing is known of the checkpoint.
        InputError: If there is no such checkpoint.
        LockError: If ``vision-composer.lock`` lies beside the config's file, and does not hold its sources.
    """
    overrides = [overrides] if isinstance(overrides, str) else list(overrides)
    checkpoint = _checkpoint(source)
    if checkpoint is None:
        return pinned(load_config(source, overrides=overrides))
    generic = any(override.startswith(_GENERIC) for override in overrides)
    try:
        derived = tower_of_config_json(checkpoint, generic=generic)
    except InputError as error:
        if Path(os.path.expanduser(checkpoint)).exists():
            raise
        hint = did_you_mean(checkpoint, preset_names())
        raise InputError(f"{error}; there is no preset of that name{hint}") from error
    if derived["weights"].get("source") is None:  # a checkpoint without weights is not one of random weights
        folder = Path(os.path.expanduser(checkpoint)).absolute()
        derived["weights"]["source"] = str(folder if folder.is_dir() else folder.parent)
    return load_config(derived, overrides=overrides)


def _checkpoint(source: ConfigSource) -> str | None:
    """Return the source as the path or the hub id of a checkpoint; None if it is none."""
    if not isinstance(source, str | os.PathLike):
        return None
    text = os.fspath(source)
    path = os.path.expanduser(text)
    if os.path.isdir(path):
        is_tower, *is_checkpoint = (
            os.path.exists(os.path.join(path, name)) for name in (TOWER_FILE, *_CONFIGS)
        )
        return text if any(is_checkpoint) and not is_tower else None
    if os.path.exists(path):
        return text if os.path.basename(path) in _CONFIGS else None
    could_be = isinstance(source, str) and "/" in text and not looks_like_path(text) and is_hub_id(text)
    return text if could_be and not is_preset(text) else None
