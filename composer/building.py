"""Build what runs a plan: attention, preprocessor, and the towers with the connector behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import nn

from .attention import AttentionChoice, register_attention
from .connectors import AnyConnector
from .connectors.base import parts
from .encoders import family_of
from .fusion.inputs import FusedInput, PerTower, Shared, Stacked
from .fusion.module import FusedTowers
from .fusion.naming import naming
from .fusion.preprocess import FusedPreprocessor
from .images.preprocess import ImagePreprocessor, Preprocessor, dense_preprocessor
from .images.preprocess_tiles import TiledPreprocessor
from .images.settings import ProcessorSettings
from .planning import AnyPlan, FusedPlan, Plan, plan_any
from .running.attention import plan_attention
from .running.quantization import quantize_linears
from .running.training import prepare_training
from .running.widths import pad_widths
from .schemas import AnyConfig, WeightsConfig
from .schemas.weights import SourceConfig
from .tower.half import VisionHalf
from .tower.module import VisionTower
from .weights import fill, load_connector, load_model, read_scales, stored_dtype

Vision: TypeAlias = VisionTower | VisionHalf | FusedTowers
"""What runs batches: a tower, the vision half around it, or several towers."""


def planned(
    config: AnyConfig, processors: Sequence[ProcessorSettings], where: torch.device
) -> tuple[AnyPlan, dict[str, AttentionChoice], Preprocessor]:
    """Plan an encoder, choose every tower's attention backend for a device, and make its preprocessor.

    Raises:
        ConfigError: If the config cannot work.
        BackendError: If an attention backend that the config names cannot work there.
        WeightsError: If an image processor's values do not work.
    """
    plan = plan_any(config, processors)
    return plan, attention_of(plan, where), preprocessor_of(plan)


def attention_of(plan: AnyPlan, where: torch.device) -> dict[str, AttentionChoice]:
    """Choose every tower's attention backend for a device; names and errors as in :func:`planned`."""
    found = {}
    for name, tower in plan.towers.items():
        with naming(name):
            found[name] = plan_attention(tower, where)
    return found


def vision_of(
    plan: AnyPlan, attention: Mapping[str, AttentionChoice], where: torch.device, *, reads: bool = True
) -> Vision:
    """Build what this process runs; arguments and errors as those of :func:`vision_half`."""
    if isinstance(plan, FusedPlan):
        return fused_towers(plan, attention, where, reads=reads)
    return vision_half(plan, attention[""], where, reads=reads)


def fused_towers(
    plan: FusedPlan, attention: Mapping[str, AttentionChoice], where: torch.device, *, reads: bool = True
) -> FusedTowers:
    """Build several towers, what joins their tokens, and the connector behind them.

    Arguments and errors are those of :func:`vision_half`; errors name the tower.
    """
    towers = {}
    for name, tower in plan.towers.items():
        with naming(name):
            towers[name] = _tower(tower, attention[name], where, reads=reads)
    dtype: torch.dtype = getattr(torch, plan.dtype)
    project = nn.ModuleDict()
    for part in plan.fusion.towers:
        if part.projected is not None:
            block = plan.config.project[part.name]
            layer = nn.Linear(part.own_width, part.projected, bias=block.bias, dtype=dtype, device=where)
            project[part.name] = layer
            named = parts(project=nn.ModuleDict({part.name: layer}))
            key = f"project.{part.name}.weights"
            with torch.no_grad():
                fill(named, block.weights if reads else SourceConfig(), what=f"project.{part.name}", key=key)
    module = None
    if plan.connector is not None:
        weights = plan.connector.config.weights or plan.config.weights
        module = _connector(plan.connector, weights if reads else SourceConfig(), plan, where)
    fused = FusedTowers(towers, plan.fusion, _inputs(plan), project, plan.connector, module)
    return fused.to(where).eval()


def _inputs(plan: FusedPlan) -> FusedInput:
    infos = {name: tower.info for name, tower in plan.towers.items()}
    shared = plan.config.shared
    if shared is not None:
        return Shared(infos, shared.resample, shared.align_corners)
    return Stacked(infos) if plan.config.input == "stacked" else PerTower(infos)


def preprocessor_of(plan: AnyPlan) -> Preprocessor:
    """Make what turns images into an encoder's inputs.

    Raises:
        WeightsError: If an image processor's values do not work; of several towers, names the tower.
    """
    if isinstance(plan, FusedPlan):
        return _fused_preprocessor(plan)
    encoder, processor = plan.config.encoder, plan.processor
    preprocessor: ImagePreprocessor = family_of(encoder).preprocessor(encoder, processor)
    if plan.tiling is not None:
        preprocessor = TiledPreprocessor(preprocessor, plan.tiling, processor)
    return preprocessor


def _fused_preprocessor(plan: FusedPlan) -> Preprocessor:
    if plan.processor is not None and plan.shared_rule is not None:
        channels = next(iter(plan.towers.values())).info.num_channels
        return dense_preprocessor(plan.processor, plan.shared_rule, channels, None)
    made = {}
    for name, tower in plan.towers.items():
        with naming(name):
            made[name] = preprocessor_of(tower)
    return FusedPreprocessor(made, _inputs(plan))


def vision_half(
    plan: Plan, attention: AttentionChoice, where: torch.device, *, reads: bool = True
) -> VisionTower | VisionHalf:
    """Build what this process runs: the tower, or with another ``output`` or ``reduce`` the vision half.

    With ``reads`` the weights come from where the config says; without, they are random, and on the device
    ``meta`` there are none.

    Raises:
        WeightsError: If the checkpoint is missing, is broken, or belongs to another encoder.
        BackendError: If transformers cannot build it.
    """
    tower = _tower(plan, attention, where, reads=reads)
    if plan.config.output == "features" and plan.reduction is None:
        return tower
    module = None
    if plan.connector is not None and plan.connector_weights is not None:
        module = _connector(plan.connector, plan.connector_weights if reads else SourceConfig(), plan, where)
    half = VisionHalf(tower, plan.tiling, plan.connector, module, plan.reduction)
    return half.to(where).eval()


def _connector(
    connector: AnyConnector, weights: SourceConfig, plan: AnyPlan, where: torch.device
) -> nn.Module:
    """Build a connector with its weights, and quantise them if the config asks for it."""
    quantize = plan.config.quantize
    module = load_connector(
        connector,
        weights,
        dtype=getattr(torch, plan.dtype),
        device=where,
        stored=stored_dtype(quantize, weights.source),
    )
    if quantize != "none":
        quantize_linears(module, [module], quantize, read_scales(weights.source, where))
        module.requires_grad_(False)
    return module


def _tower(plan: Plan, attention: AttentionChoice, where: torch.device, *, reads: bool = True) -> VisionTower:
    weights = plan.config.weights if reads else WeightsConfig()
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
        device=where,
        stored=stored_dtype(plan.config.quantize, weights.source),
    )
    tower = VisionTower(
        model,
        family,
        plan.info,
        plan.readout,
        block_masks=attention.implementation == "flex_attention",
    )
    tower.to(where).eval()
    if plan.config.quantize != "none":
        scales = read_scales(weights.source, where)
        quantize_linears(model, tower.blocks, plan.config.quantize, scales)
        tower.requires_grad_(False)
    else:
        pad_widths(model)
    if where.type != "meta":
        family.prove(model, plan.info)
    prepare_training(tower, plan.config.training)
    return tower
