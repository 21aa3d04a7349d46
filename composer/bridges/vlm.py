"""Build a vision-language model of a composed encoder and a language model."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Protocol

import torch
from pydantic import ValidationError
from torch import nn
from transformers import LlavaConfig, LlavaForConditionalGeneration
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from ..encoders.aliases import FromTransformers
from ..errors import InputError
from ..schemas.connectors.llava import LlavaConnectorConfig
from ..weights.quiet import quiet_transformers
from .llava import VisionComposerLlavaConfig, VisionComposerLlavaForConditionalGeneration
from .processor import IMAGE_TOKEN, VisionComposerImageProcessor, VisionComposerProcessor
from .registration import register_transformers
from .vision import VisionComposerConfig, VisionComposerModel

if TYPE_CHECKING:
    from ..planning import VisionPlan


class Encoder(Protocol):
    """What an encoder has for a VLM to be built of it."""

    @property
    def plan(self) -> VisionPlan:
        """Its plan."""

    def as_transformers(self) -> VisionComposerModel:
        """Return it as a model of transformers."""


def build_vlm(
    encoder: Encoder,
    language_model: FromTransformers,
    tokenizer: FromTransformers,
    connector: Mapping[str, Any] | None = None,
) -> tuple[LlavaForConditionalGeneration, VisionComposerProcessor]:
    """Build a VLM in the manner of LLaVA, and a processor that fits it.

    The model takes the encoder's and the language model's modules as they are, and shares their parameters.
    The projector is new, and drawn by torch's generator. A tokenizer without ``<image>`` gets it as a special
    token, and the language model rows for it if it needs any.

    Args:
        encoder: What :func:`vision_composer.compose` returns.
        language_model: A causal language model of transformers with a plain ``lm_head``, in the encoder's
            dtype and on its device.
        tokenizer: Its tokenizer.
        connector: LLaVA's projector: ``{"type": "llava"}``, with ``act`` and ``bias`` if they are not its
            defaults. None: the same; or nothing for an encoder with ``output: embeds``, whose own connector
            must make rows of the language model's width.

    Returns:
        The model, in the language model's mode, and the processor. The model is transformers' own
        ``LlavaForConditionalGeneration`` if it can call the encoder: one that takes ``pixel_values`` alone
        and has no connector. Else it is a subclass. Load both with ``from_pretrained``, after
        :func:`vision_composer.register_transformers`.

    Raises:
        InputError: If the parts do not fit together, a LLaVA cannot compute what the language model does, or
            the connector's fields are wrong.
    """
    register_transformers()
    tower = encoder.as_transformers()
    if tower.config.image_inputs is None:
        raise InputError("the encoder takes no images, because its channels are not colours")
    plan, embeds = encoder.plan, encoder.plan.config.output == "embeds"
    projector = _projector(tower.config, language_model, connector, embeds=embeds)
    _check_parts(tower, language_model)
    if IMAGE_TOKEN not in tokenizer.get_vocab():
        tokenizer.add_tokens([IMAGE_TOKEN], special_tokens=True)
    if len(tokenizer) > language_model.get_input_embeddings().num_embeddings:
        with quiet_transformers():
            language_model.resize_token_embeddings(len(tokenizer))
    fields = {
        "vision_config": tower.config,
        "text_config": deepcopy(language_model.config),
        "image_token_index": tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        "image_seq_length": plan.num_tokens(plan.image_size, plan.image_size),
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
        "projector_hidden_act": projector.act,
        "multimodal_projector_bias": projector.bias,
        "dtype": language_model.dtype,
    }
    one_tensor = "pixel_values" in tower.config.image_inputs and not plan.ragged
    plain = one_tensor and plan.config.output == "features"
    model: FromTransformers
    with torch.device("meta"):
        if plain:
            model = LlavaForConditionalGeneration(LlavaConfig(**fields))
        else:
            config = VisionComposerLlavaConfig(**fields, has_projector=not embeds)
            model = VisionComposerLlavaForConditionalGeneration(config)
    if type(model.model.language_model) is not type(language_model.base_model):
        raise _unlike(language_model, f"its layers are a {type(language_model.base_model).__name__}")
    model.model.vision_tower = tower
    model.model.language_model = language_model.base_model
    model.lm_head = language_model.get_output_embeddings()
    if not embeds:
        module = LlavaMultiModalProjector(model.config)
        model.model.multi_modal_projector = module.to(language_model.device, language_model.dtype)
    model.generation_config = deepcopy(language_model.generation_config)
    model.train(language_model.training)
    _prove(model, language_model)
    image_processor = VisionComposerImageProcessor(tower.config.tower or {}, tower.config.processor or "")
    template = getattr(tokenizer, "chat_template", None)
    return model, VisionComposerProcessor(image_processor, tokenizer, chat_template=template)


def _projector(
    tower: VisionComposerConfig,
    language_model: FromTransformers,
    connector: Mapping[str, Any] | None,
    *,
    embeds: bool,
) -> LlavaConnectorConfig:
    width = language_model.get_input_embeddings().embedding_dim
    if embeds and connector is not None:
        raise InputError("the encoder has a connector of its own, because its output is embeds; leave it out")
    if embeds and tower.hidden_size != width:
        raise InputError(
            f"the encoder's rows have {tower.hidden_size} features, and the language model reads {width}"
        )
    given = {"type": "llava"} if connector is None else dict(connector)
    if given.get("type") != "llava":
        raise InputError(
            f"a LLaVA's projector is {{'type': 'llava'}}, not {given}; for another connector, compose the "
            "encoder with it and output: embeds"
        )
    if given.setdefault("hidden_size", width) != width:
        raise InputError(f"connector.hidden_size is {given['hidden_size']}, and the language model's {width}")
    try:
        return LlavaConnectorConfig.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"connector.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _check_parts(tower: VisionComposerModel, language_model: FromTransformers) -> None:
    head = language_model.get_output_embeddings()
    if type(head) is not nn.Linear or getattr(head, "bias", None) is not None:
        raise _unlike(language_model, "its head is no linear layer without bias")
    for what, ours, theirs in (
        ("dtype", tower.dtype, language_model.dtype),
        ("device", tower.device, language_model.device),
    ):
        if ours != theirs:
            raise InputError(
                f"the encoder's {what} is {ours}, and the language model's {theirs}: give compose "
                f"{what}={theirs!r}, or move one of them"
            )


def _prove(model: FromTransformers, language_model: FromTransformers) -> None:
    """Run a few tokens through both, because some language models do more than LLaVA has a place for.

    Raises:
        InputError: If their logits differ.
    """
    modes = {module: module.training for module in (model, language_model) for module in module.modules()}
    model.eval()
    language_model.eval()
    tokens = torch.arange(3, device=language_model.device).unsqueeze(0)
    try:
        with torch.no_grad():
            ours, theirs = (part(input_ids=tokens).logits.float() for part in (model, language_model))
    finally:
        for module, mode in modes.items():
            module.training = mode
    if float((ours - theirs).abs().max()) > 1e-2 * float(theirs.abs().max()):
        raise _unlike(language_model, "its logits are not those of its layers and its head alone")


def _unlike(language_model: FromTransformers, why: str) -> InputError:
    return InputError(f"a LLaVA cannot be built of a {type(language_model).__name__}: {why}")
