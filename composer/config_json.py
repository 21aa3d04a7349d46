"""transformers' ``config.json`` as a config of ours, read as JSON: loads neither torch nor transformers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .connectors import CONNECTORS
from .encoders import FAMILIES, Reading, encoder_from_transformers, family_of
from .encoders.reading import seeing_part
from .errors import ConfigError, InputError, LeftOutWarning, Problem, WeightsError
from .files import exists, read_json
from .foreign_json import OPEN_CLIP_CONFIG, foreign_config
from .images.settings import PROCESSOR_FILES, SavedProcessor, to_config
from .images.tiling import TILINGS
from .left_out import Recorded, left_out
from .presets import load_config
from .schemas import TowerConfig, one_tower
from .schemas.paths import TOWER_FILE, near_miss
from .schemas.tiling import TILING_CONFIGS
from .schemas.weights import is_commit
from .text import did_you_mean

CONFIG_JSON = "config.json"
"""What transformers and timm call their config."""
_NAME = 80
"""The most characters that the name of a model has, and that a message shows of anything else."""
_DTYPES = ("float32", "float16", "bfloat16")
_NOT_ARCHITECTURE = {
    "_name_or_path",
    "architectures",
    "dtype",
    "id2label",
    "label2id",
    "torch_dtype",
    "transformers_version",
}
"""Keys of a config.json that say nothing of how its encoder computes."""

_READERS = {
    name: (family.model_type, reading)
    for family in FAMILIES.values()
    for name, reading in family.read_by.items()
}
"""model_type of a model with a vision_config -> that of its tower if it does not say, and how it reads it."""


_CONNECTORS = {name: connector for connector in CONNECTORS.values() for name in connector.read_by}
"""model_type of a VLM -> its connector."""
_TILINGS = {name: tiling for tiling in TILINGS.values() for name in tiling.read_by}
"""model_type of a VLM -> how it cuts images into tiles."""


def tower_from_transformers(
    fields: Mapping[str, Any], processor: Mapping[str, Any] | None = None, *, generic: bool = False
) -> dict[str, Any]:
    """Return the keys of a config that mean the vision half of a transformers config, as its model reads it.

    A config of timm or of open_clip means its tower, with the images prepared as there.

    Args:
        fields: What ``config.json`` of a vision encoder or a vision-language model holds, or what timm's or
            ``open_clip_config.json`` does.
        processor: What its image processor's JSON holds, as far as there is one.
        generic: Take the encoder's fields as they are, for the generic adapter, which lacks
            ``encoder.prefix_tokens`` then; nothing is said of how a VLM reads it.

    Raises:
        ConfigError: If no family is known for the encoder, no rule for the model, or no config for a choice.
    """
    fields = seeing_part(fields)
    if (foreign := foreign_config(dict(fields))) is not None:
        for line in foreign.left_out:
            _warn(f"the config says {line}, and no key of a config does")
        return foreign.keys
    if generic:
        return _generic(fields)
    recorded = Recorded(fields)
    made = _vision_half(recorded, processor or {})
    for line in left_out(recorded, encoder_from_transformers(made["encoder"])):
        _warn(f"config.json says {line}, which a config cannot say; if the model uses it, features differ")
    return made


def _generic(fields: Mapping[str, Any]) -> dict[str, Any]:
    vision = fields.get("vision_config")
    encoder = vision if isinstance(vision, Mapping) else fields
    _model_type(encoder, "model_type")
    own = {key: value for key, value in encoder.items() if key not in _NOT_ARCHITECTURE}
    return {"schema": 1, "encoder": own, **_weights(fields, encoder)}


def _vision_half(recorded: Recorded, processor: Mapping[str, Any]) -> dict[str, Any]:
    fields = recorded.plain()
    vision = fields.get("vision_config")
    if vision is None:
        _model_type(fields, "model_type")
        return {"schema": 1, "encoder": _encoder(fields), **_weights(fields)}
    if not isinstance(vision, Mapping):
        raise _error("vision_config", "expected an object")
    model_type = _model_type(fields, "model_type")
    if model_type not in _READERS:
        message = (
            f"how {model_type!r} reads its tower is not known{did_you_mean(model_type, _READERS)}; "
            "for the encoder alone, save the vision_config as a file of its own"
        )
        raise _error("model_type", message)
    tower, reading = _READERS[model_type]
    _model_type(vision, "vision_config.model_type")
    # On the hub some name the whole model here, and the oldest transformers leaves it empty.
    if vision.get("model_type") in (model_type, "", None):
        vision = {**vision, "model_type": tower}
    encoder = _encoder(vision)
    selection = _selection(recorded, reading)
    if reading.layer is not None and selection.get("feature_select_strategy") == "default":
        _check_first_token(encoder)
    behind = _connector(recorded, processor, model_type) | _tiling({**fields, **processor}, model_type)
    if "connector" in behind:
        recorded.ask(*_CONNECTORS[model_type].implied)
    if "tiling" in behind:
        recorded.ask("do_image_splitting", *TILING_CONFIGS[behind["tiling"]["type"]].model_fields)
    if "connector" not in behind and _needs_connector(encoder, model_type):
        _warn(f"the connector of {model_type!r} is not known, so that the config has none")
    weights = _weights(fields, vision, prefix=reading.prefix)
    return {"schema": 1, "encoder": encoder, **weights, **selection, **behind}


def config_from(source: str | Path, *, revision: str | None = None) -> TowerConfig:
    """Return the config of a checkpoint, for the whole vision half of a vision-language model.

    What the checkpoint's files say and no key of a config does is named in a :class:`LeftOutWarning`.

    Args:
        source: A checkpoint of transformers, timm or open_clip: its folder, its config.json or
            open_clip_config.json, or its hub id, whose commit is pinned. Or the folder of an encoder that
            was saved, whose config is then read.
        revision: Branch, tag or commit of a hub id.

    Raises:
        ConfigError: If no family is known for the encoder, no rule for the model, or no config for a choice.
        InputError: If there is no such file, or it is not a JSON object of sensible size.
        WeightsError: If the processor config beside it is broken.
    """
    return one_tower(load_config(tower_of_config_json(os.fspath(source), revision)))


def tower_of_config_json(
    source: str, revision: str | None = None, *, generic: bool = False
) -> dict[str, Any]:
    """Return the keys of :func:`config_from`, which are checked there.

    Args:
        source: As for :func:`config_from`.
        revision: As for :func:`config_from`.
        generic: As for :func:`tower_from_transformers`.
    """
    path = Path(os.path.expanduser(source))
    weights: dict[str, Any] = {}
    try:
        is_local = exists(path)
    except OSError as error:  # a name too long for a file, and for a hub id
        raise InputError(f"{source[:80]}...: neither a path nor a hub id: {error.strerror}") from error
    if (path / TOWER_FILE).exists():  # a saved encoder: its config.json tells of the blocks that were built
        return load_config(path).to_dict()
    if is_local:
        file = _config_in(path) if path.is_dir() else path
        if any(any(file.parent.glob(f"*{suffix}")) for suffix in (".safetensors", ".bin")):
            weights = {"source": str(file.parent.absolute())}
    else:
        file = _from_hub(source, revision)
        commit = file.parent.name  # the hub's cache keeps a snapshot by its commit
        weights = {"source": source, "revision": commit if is_commit(commit) else revision}
    try:
        fields = read_json(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{file}: cannot be read as JSON: {error}") from error
    tower = tower_from_transformers(fields, SavedProcessor.read(file.parent).values, generic=generic)
    weights = weights | tower.pop("weights", {})
    if not generic and "image_processor" not in tower:
        tower |= image_processor_block(tower["encoder"], file.parent)
    return {**tower, "source": f"{file.name} of {source}", "weights": weights}


def _config_in(folder: Path) -> Path:
    """Return the config of a checkpoint's folder: open_clip's only where there is no other."""
    own, other = folder / CONFIG_JSON, folder / OPEN_CLIP_CONFIG
    return other if other.exists() and not own.exists() else own


def image_processor_block(encoder: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return ``image_processor`` of a config, with what a checkpoint's processor config sets differently.

    That is its class, if it is not the family's, and the values that a config can name and that are not the
    defaults of the class. What a config cannot name stays with the checkpoint. Of a processor config that is
    broken or not for this encoder, which ``compose`` refuses, a warning says why it is left out.
    """
    fields = encoder_from_transformers(encoder)
    family = family_of(fields)
    try:
        settings = family.processor_settings(fields, folder=folder)
    except WeightsError as error:
        _warn(f"image_processor is left out: {error}")
        return {}
    if settings.file is None:
        return {}
    named = {"type": settings.type} if settings.type != family.image_processor else {}
    return {"image_processor": block} if (block := named | to_config(settings)) else {}


def _model_type(fields: Mapping[str, Any], path: str) -> str:
    """Return the name of a model, or "None" for one without.

    Raises:
        ConfigError: If it is no name.
    """
    name = fields.get("model_type")
    if name is not None and not (isinstance(name, str) and len(name) <= _NAME):
        raise _error(path, f"expected the name of a model, got {repr(name)[:_NAME]}")
    return str(name)


def _encoder(fields: Mapping[str, Any]) -> dict[str, Any]:
    return encoder_from_transformers(fields).model_dump(mode="json", exclude_unset=True)


def _needs_connector(encoder: Mapping[str, Any], model_type: str) -> bool:
    """Whether a model whose connector is not known has one: not if its tower feeds a text encoder's twin."""
    twin = encoder["model_type"] == f"{model_type}_vision_model"
    return not twin and not encoder_from_transformers(encoder).feeds_language_model


def _warn(message: str) -> None:
    warnings.warn(message, LeftOutWarning, stacklevel=2)


def _weights(*parts: Mapping[str, Any], prefix: str | None = None) -> dict[str, Any]:
    """Return the ``weights`` block, with the dtype of the first part that says one."""
    said_dtypes = (part.get(key) for part in parts for key in ("dtype", "torch_dtype"))
    dtype = next(filter(None, said_dtypes), None)
    if dtype is not None and dtype not in _DTYPES:
        _warn(f"config.json says dtype: {repr(dtype)[:_NAME]}, and a config knows {', '.join(_DTYPES)}")
    said = {"dtype": dtype if dtype in _DTYPES else None, "prefix": prefix}
    known = {key: value for key, value in said.items() if value is not None}
    return {"weights": known} if known else {}


def _selection(fields: Mapping[str, Any], reading: Reading) -> dict[str, Any]:
    if reading.layer is None:
        return {} if reading.strategy == "full" else {"feature_select_strategy": reading.strategy}
    # VipLlava's older files have the plural.
    layer = fields.get("vision_feature_layers") or fields.get("vision_feature_layer", reading.layer)
    layers = [*layer] if isinstance(layer, (list, tuple)) else [layer]
    strategy = reading.strategy
    if reading.chooses:
        strategy = fields.get("vision_feature_select_strategy", strategy)
    if strategy not in ("default", "full"):
        message = f"expected 'default' or 'full', got {repr(strategy)[:_NAME]}"
        raise _error("vision_feature_select_strategy", message)
    if reading.last_is_normed and layers == [-1]:
        return {"feature_select_strategy": strategy}
    return {"select_layers": layers, "feature_select_strategy": strategy, "post_norm": "none"}


def _connector(fields: Mapping[str, Any], processor: Mapping[str, Any], model_type: str) -> dict[str, Any]:
    connector = _CONNECTORS.get(model_type)
    if connector is None:
        return {}
    beside = {name: processor[name] for name in connector.of_processor if name in processor}
    said = {"type": connector.type, **connector.fields_of(fields), **beside}
    return {"connector": {key: value for key, value in said.items() if value is not None}}


def _tiling(fields: Mapping[str, Any], model_type: str) -> dict[str, Any]:
    tiling = _TILINGS.get(model_type)
    values = None if tiling is None else tiling.fields_of(fields)
    return {} if tiling is None or values is None else {"tiling": {"type": tiling.type, **values}}


def _check_first_token(encoder: Mapping[str, Any]) -> None:
    """transformers drops the first token, whatever it is; here, ``default`` drops the prefix tokens."""
    prefix = encoder_from_transformers(encoder).num_prefix_tokens
    if prefix != 1:
        message = (
            f"'default' makes transformers drop the first token, but {encoder['model_type']} has {prefix} "
            "prefix tokens: no config says that; 'full' keeps all"
        )
        raise _error("vision_feature_select_strategy", message)


def _from_hub(repo: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    failures = (EntryNotFoundError, HfHubHTTPError, OSError)
    try:
        file = Path(hf_hub_download(repo, CONFIG_JSON, revision=revision))
    except HFValidationError as error:
        raise InputError(f"{repo}: neither a file, a folder, nor a hub id") from error
    except failures as error:
        if isinstance(error, EntryNotFoundError):
            # A hub that could not be reached is not waited for again: what was fetched before is here.
            unreachable = isinstance(error, LocalEntryNotFoundError)
            with suppress(*failures):
                return Path(
                    hf_hub_download(repo, OPEN_CLIP_CONFIG, revision=revision, local_files_only=unreachable)
                )
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{repo}: no such file or folder{near_miss(repo)}, and no config.json from the hub: {reason}"
        ) from error
    for name in PROCESSOR_FILES:  # beside it, where there are any
        with suppress(*failures):
            hf_hub_download(repo, name, revision=revision)
    return file


def _error(path: str, message: str) -> ConfigError:
    return ConfigError(Problem("VC104", message, path))
