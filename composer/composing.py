"""compose(): a config in, a running vision encoder out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .attention import plan_attention, register_attention
from .encoder import ComposedVisionEncoder
from .encoders import family_of
from .encoders.generic import Generic
from .encoders.mllama import Mllama
from .encoders.packed import PackedFamily
from .errors import InputError
from .images.packed_images import PackedImagePreprocessor, try_out
from .images.preprocess import ImagePreprocessor, load_image_processor
from .packed_tower import PackedVisionEncoder
from .parallel import compose_on_ranks, join_group
from .planning import Plan, plan
from .running.compilation import compile_tower, should_torch_compile_mm_vit
from .running.training import prepare_training
from .schemas import CompileConfig, TowerConfig, WeightsConfig
from .tiled_tower import TiledVisionEncoder
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
    """Build the vision encoder that a config describes.

    Args:
        source: A preset's name, a YAML file, the folder of a saved tower, a mapping (an OmegaConf
            DictConfig too), or a validated config.
        overrides: ``key=value`` strings laid over it, such as ``select_layers=[-2,-9]``; ``~key`` deletes.
        device: Where the tower goes; default: torch's default device.
        dtype: Takes the place of ``weights.dtype``.
        process_group: The ranks to spread images over with ``parallel: {mode: data}``, which it stands for
            where the config says ``none``: a group, or a device mesh of one dimension. Default: all
            processes. Every rank must call this.

    Returns:
        The tower in evaluation mode, with ``plan``, ``config``, ``info``, ``encode``, ``save``.

    Raises:
        ConfigError: The config cannot be read or cannot work; says where.
        WeightsError: The checkpoint is missing, broken, or not of this encoder; names file and tensor.
        BackendError: The attention or compile backend asked for cannot work here.
        DistributedError: Another rank failed, is gone, or has another config.
    """
    given = [overrides] if isinstance(overrides, str) else overrides
    planned = plan(source, overrides=[*given, *_dtype_override(dtype)])
    if process_group is not None and planned.config.parallel == "none":
        planned = plan(planned.config, overrides=["parallel={mode: data}"])
    config, where = planned.config, _usable(device)
    build = partial(_build, planned, where)
    group = None if config.parallel == "none" else join_group(process_group)
    if config.parallel == "none" or group is None:
        tower = build(config.weights)
    else:
        tower = compose_on_ranks(build, config, config.parallel, group)
    if should_torch_compile_mm_vit(config):
        compile_tower(tower, config.compile if isinstance(config.compile, CompileConfig) else CompileConfig())
    return tower


def _build(planned: Plan, where: torch.device, weights: WeightsConfig) -> ComposedVisionEncoder:
    """The tower on one process, with weights from where ``weights`` says."""
    config, encoder, family = planned.config, planned.encoder, family_of(planned.encoder)
    parameter_dtype: torch.dtype = getattr(torch, planned.dtype)
    attention = plan_attention(planned, where)

    model = load_model(
        family,
        encoder,
        weights,
        num_blocks=planned.num_blocks,
        post_norm=bool(planned.norm_layers),
        head=config.head or config.merges,
        dtype=parameter_dtype,
        attn_implementation=register_attention(attention, packed=planned.info.packed),
    )
    preprocessor = _preprocessor(config, weights)
    if isinstance(preprocessor, PackedImagePreprocessor) and isinstance(family, PackedFamily):
        planned = replace(planned, info=family.info_with(encoder, preprocessor.resize))
    tower = _tower(model, planned)
    tower.plan = planned
    tower.attention = attention
    tower.preprocessor = preprocessor
    tower.to(where).eval()
    if isinstance(family, Generic):
        family.prove(model, planned.info)
    prepare_training(tower, config.training)
    return tower


def _tower(model: nn.Module, planned: Plan) -> ComposedVisionEncoder:
    config, family = planned.config, family_of(planned.encoder)
    if isinstance(family, PackedFamily):
        return PackedVisionEncoder(
            model,
            family,
            planned.info,
            select_layers=planned.select_layers,
            norm_layers=planned.norm_layers,
            head=config.head,
            merge=config.merges,
            deepstack_layers=planned.deepstack_layers,
            deepstack=config.deepstack,
        )
    if isinstance(family, Mllama):
        return TiledVisionEncoder(
            model,
            family,
            planned.info,
            select_layers=planned.select_layers,
            norm_layers=planned.norm_layers,
            feature_select_strategy=config.feature_select_strategy,
            inner_layers=getattr(planned.encoder, "inner_layers", ()) if config.merges else (),
        )
    return ComposedVisionEncoder(
        model,
        family,
        planned.info,
        select_layers=planned.select_layers,
        norm_layers=planned.norm_layers,
        feature_select_strategy=config.feature_select_strategy,
        head=config.head,
        merge=config.merges,
        last_hidden_state=planned.generic and config.select_layers is None,
    )


def _usable(device: torch.device | str | None) -> torch.device:
    try:
        where = torch.get_default_device() if device is None else torch.device(device)
        torch.zeros(1, device=where).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # A build without CUDA asserts, and the meta device holds no values.
        name = "meta" if device is None else str(device)
        raise InputError(f"device {name!r} cannot be used here: {str(error)[:80]}") from error
    return where


def _dtype_override(dtype: torch.dtype | None) -> list[str]:
    if dtype is None:
        return []
    name = str(dtype).removeprefix("torch.")
    if name not in ("float32", "float16", "bfloat16"):
        raise InputError(f"dtype must be torch.float32, torch.float16 or torch.bfloat16, not {dtype}")
    return [f"weights.dtype={name}"]


def _preprocessor(config: TowerConfig, weights: WeightsConfig) -> ImagePreprocessor:
    family = family_of(config.encoder)
    folder = None if weights.source is None else local_folder(weights.source, weights.revision)
    defaults = family.image_processor_defaults(config.encoder)
    if isinstance(family, (PackedFamily, Mllama)):
        rule = partial(family.resize_rule, config.encoder)
        processor = load_image_processor(
            family.image_processor_class(),
            defaults,
            folder,
            settings=family.image_processor_settings(config.encoder),
            try_out=try_out(rule),
        )
        return PackedImagePreprocessor(processor, rule(processor), num_channels=config.encoder.num_channels)
    settings = family.image_processor_settings(config.encoder)
    processor = load_image_processor(family.image_processor_class(), defaults, folder, settings=settings)
    info = family.info(config.encoder)
    return ImagePreprocessor(
        processor, num_channels=info.num_channels, size=None if info.any_size else info.image_size
    )
