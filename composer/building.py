"""Build what runs a plan: attention, preprocessor, and the tower with the connector behind it."""

from __future__ import annotations

import torch

from .attention import AttentionChoice, register_attention
from .encoders import family_of
from .images.preprocess import ImagePreprocessor
from .images.preprocess_tiles import TiledPreprocessor
from .images.settings import ProcessorSettings
from .planning import Plan, plan_config
from .running.attention import plan_attention
from .running.training import prepare_training
from .schemas import TowerConfig, WeightsConfig
from .schemas.weights import SourceConfig
from .tower.half import VisionHalf
from .tower.module import VisionTower
from .weights import load_connector, load_model


def planned(
    config: TowerConfig, processor: ProcessorSettings, where: torch.device
) -> tuple[Plan, AttentionChoice, ImagePreprocessor]:
    """Plan a tower, choose its attention backend for a device, and make its preprocessor.

    Raises:
        ConfigError: If the config cannot work.
        BackendError: If the attention backend that the config names cannot work there.
        WeightsError: If the image processor's values do not work.
    """
    plan = plan_config(config, processor)
    return plan, plan_attention(plan, where), preprocessor_of(plan)


def preprocessor_of(plan: Plan) -> ImagePreprocessor:
    """Make what turns images into a tower's inputs.

    Raises:
        WeightsError: If the image processor's values do not work.
    """
    encoder, processor = plan.config.encoder, plan.processor
    preprocessor: ImagePreprocessor = family_of(encoder).preprocessor(encoder, processor)
    if plan.tiling is not None:
        preprocessor = TiledPreprocessor(preprocessor, plan.tiling, processor)
    return preprocessor


def vision_half(
    plan: Plan, attention: AttentionChoice, where: torch.device, *, reads: bool = True
) -> VisionTower | VisionHalf:
    """Build what this process runs: the tower, or with another ``output`` the vision half around it.

    With ``reads`` the weights come from where the config says; without, they are random, and on the device
    ``meta`` there are none.

    Raises:
        WeightsError: If the checkpoint is missing, is broken, or belongs to another encoder.
        BackendError: If transformers cannot build it.
    """
    tower = _tower(plan, attention, where, reads=reads)
    if plan.config.output == "features":
        return tower
    module = None
    if plan.connector is not None and plan.connector_weights is not None:
        dtype: torch.dtype = getattr(torch, plan.dtype)
        module = load_connector(
            plan.connector, plan.connector_weights if reads else SourceConfig(), dtype=dtype
        )
    return VisionHalf(tower, plan.tiling, plan.connector, module).to(where).eval()


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
    )
    tower = VisionTower(
        model,
        family,
        plan.info,
        plan.readout,
        block_masks=attention.implementation == "flex_attention",
    )
    tower.to(where).eval()
    if where.type != "meta":
        family.prove(model, plan.info)
    prepare_training(tower, plan.config.training)
    return tower
