"""Build a vision encoder that runs from a config: the function ``compose``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .attention import AttentionChoice, register_attention
from .encoder import ComposedVisionEncoder
from .encoders import family_of
from .errors import InputError
from .images.preprocess import ImagePreprocessor
from .parallel import Startup, join_group, tell_ranks
from .planning import Plan, plan_config
from .presets import load_config
from .running.attention import plan_attention
from .running.compilation import compile_tower, should_torch_compile_mm_vit
from .running.training import prepare_training
from .schemas import CompileConfig, TowerConfig, WeightsConfig
from .tower.module import VisionTower
from .weights import load_model, local_folder

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh


def compose(
    source: str | Path | Mapping[str, Any] | TowerConfig,
    *,
    overrides: Iterable[str] = (),
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    process_group: ProcessGroup | DeviceMesh | None = None,
) -> ComposedVisionEncoder:
    """Build the vision encoder that a config describes, with its weights.

    The config is checked first. Only the tensors that the selected layers need are then read from the
    checkpoint. With ``weights: {source: null}`` the weights are random.

    Args:
        source: The name of a preset, the path of a YAML file or of a saved tower's folder, a mapping (also
            OmegaConf's DictConfig), or a TowerConfig.
        overrides: Strings that change the config: ``key=value`` sets a value, as in
            ``select_layers=[-2,-9]``, and ``~key`` deletes a key.
        device: Where to put the tower. Default: torch's default device.
        dtype: The dtype of the parameters, in place of the config's ``weights.dtype``.
        process_group: The processes that share the images: a group, or a device mesh of one dimension. A
            config with ``parallel: none`` then runs as with ``parallel: {mode: data}``. Default: all
            processes, if the config asks for data parallelism. Every process must call ``compose``.

    Returns:
        The encoder, in evaluation mode.

    Raises:
        ConfigError: If the config cannot be read or its values do not work together; the message says where.
        InputError: If the device cannot be used, or the dtype is not float32, float16 or bfloat16.
        WeightsError: If the checkpoint is missing, is broken, or belongs to another encoder; the message
            names the file and the tensor.
        BackendError: If the attention or compile backend that the config names cannot work here.
        DistributedError: If another process fails, is gone, or has another config.
    """
    given = [overrides] if isinstance(overrides, str) else overrides
    config, where = _settled(source, [*given, *_dtype_override(dtype)], device, process_group)
    group = None if config.parallel == "none" else join_group(process_group)
    if config.parallel == "none" or group is None:
        preprocessor = _preprocessor(config)
        plan, attention = _planned(config, preprocessor, where)
        tower, spread = _tower(plan, config.weights, attention, where), None
    else:
        ranks = Startup(group, config, config.parallel)
        preprocessor = ranks.preprocessor(lambda: _preprocessor(config))
        plan, attention = ranks.together(lambda: _planned(config, preprocessor, where))
        weights = config.weights if ranks.reads_weights else _random(config.weights)
        tower = ranks.tower(lambda: _tower(plan, weights, attention, where))
        spread = ranks.spread(tower, preprocessor, plan)
    if should_torch_compile_mm_vit(config):
        compile_tower(tower, config.compile if isinstance(config.compile, CompileConfig) else CompileConfig())
    return ComposedVisionEncoder(plan, tower, preprocessor, attention, parallel=spread).eval()


def _settled(
    source: str | Path | Mapping[str, Any] | TowerConfig,
    overrides: Iterable[str],
    device: torch.device | str | None,
    process_group: ProcessGroup | DeviceMesh | None,
) -> tuple[TowerConfig, torch.device]:
    """Check config and device before anything is read or downloaded, and tell other ranks of a failure."""
    spreads = process_group is not None
    try:
        config = load_config(source, overrides=overrides)
        if spreads and config.parallel == "none":
            config = load_config(config, overrides=["parallel={mode: data}"])
        spreads = config.parallel != "none"
        plan_config(config)
        return config, usable_device(device)
    except Exception as error:
        if spreads:
            tell_ranks(process_group, error)
        raise


def _planned(
    config: TowerConfig, preprocessor: ImagePreprocessor, where: torch.device
) -> tuple[Plan, AttentionChoice]:
    plan = plan_config(config, resize=preprocessor.resize)
    return plan, plan_attention(plan, where)


def _tower(
    plan: Plan, weights: WeightsConfig, attention: AttentionChoice, where: torch.device
) -> VisionTower:
    """Build this process's tower, with the weights that ``weights`` names."""
    family = family_of(plan.encoder)
    parameter_dtype: torch.dtype = getattr(torch, plan.dtype)
    model = load_model(
        family,
        plan.encoder,
        weights,
        num_blocks=plan.num_blocks,
        post_norm=bool(plan.norm_layers),
        head=plan.readout.needs_head,
        dtype=parameter_dtype,
        attn_implementation=register_attention(attention, packed=plan.info.packed),
    )
    tower = VisionTower(
        model,
        family,
        plan.info,
        plan.readout,
        block_masks=attention.implementation == "flex_attention",
    )
    tower.to(where).eval()
    family.prove(model, plan.info)
    prepare_training(tower, plan.config.training)
    return tower


def _preprocessor(config: TowerConfig) -> ImagePreprocessor:
    weights = config.weights
    folder = None if weights.source is None else local_folder(weights.source, weights.revision)
    preprocessor: ImagePreprocessor = family_of(config.encoder).preprocessor(config.encoder, folder)
    return preprocessor


def _random(weights: WeightsConfig) -> WeightsConfig:
    return weights.model_copy(update={"source": None, "revision": None})


def usable_device(device: torch.device | str | None) -> torch.device:
    """The device of that name; default: torch's default device.

    Raises:
        InputError: If this machine or this build of torch cannot compute on it.
    """
    wanted = torch.get_default_device() if device is None else device
    try:
        where = torch.device(wanted)
        torch.zeros(1, device=where).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        # torch has no one class for this. A build without CUDA asserts; the module of hpu, which an extension
        # brings, cannot be imported; an unknown name or number, and meta, are a RuntimeError.
        raise InputError(f"device {str(wanted)!r} cannot be used here: {str(error)[:80]}") from error
    return where


def _dtype_override(dtype: torch.dtype | None) -> list[str]:
    if dtype is None:
        return []
    name = str(dtype).removeprefix("torch.")
    if name not in ("float32", "float16", "bfloat16"):
        raise InputError(f"dtype must be torch.float32, torch.float16 or torch.bfloat16, not {dtype}")
    return [f"weights.dtype={name}"]
