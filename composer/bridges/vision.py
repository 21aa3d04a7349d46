"""A composed encoder as a ``PreTrainedModel`` of transformers, with a config that rebuilds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..building import Vision, attention_of, preprocessor_of, vision_of
from ..errors import InputError
from ..fusion.module import FusedTowers
from ..images.settings import ProcessorSettings
from ..planning import FusedPlan, plan_any
from ..running.compilation import compile_as_asked
from ..schemas import AnyConfig, FusedConfig, TowerConfig
from ..tower.module import VisionTower
from .flags import without_flags

if TYPE_CHECKING:
    from torch import Tensor

    from ..planning import AnyPlan

DTYPES = ("float32", "float16", "bfloat16")


class VisionComposerConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]  # a hook of transformers
    """The config of a composed encoder: its whole vision-composer config, and what a VLM reads of a tower.

    Attributes:
        tower: The config as a mapping, of one tower or of several, without where weights came from.
        processor: The image processor with its values, as text; of several towers, name and processor of
            each, in the order of the output, which a config.json does not keep in a mapping.
        image_inputs: Names of the tensors that its image processor makes; None if it takes no images.
        hidden_size: Width of the output.
        image_size: Side of the encoder's own image in pixels.
        patch_size: Side of a patch in pixels; of several towers, the first one's.
        num_hidden_layers: Blocks that are built.
    """

    model_type = "vision_composer"

    tower: dict[str, Any] | None = None
    processor: str | list[list[str]] | None = None
    image_inputs: list[str] | None = None
    hidden_size: int = 0
    image_size: int = 0
    patch_size: int = 0
    num_hidden_layers: int = 0

    @classmethod
    def of_plan(cls, plan: AnyPlan, dtype: torch.dtype) -> Self:
        """Return the config of a planned encoder.

        Raises:
            InputError: If transformers has no form for its output, or for how it runs.
        """
        if plan.config.parallel != "none":
            raise InputError(
                "an encoder that spreads images over processes does not run inside a model of transformers, "
                "whose trainers spread the data: compose it with parallel: none"
            )
        if plan.separate_levels:
            raise InputError("deepstack: separate gives levels, not tokens; set deepstack to concat or none")
        if plan.reduces:
            raise InputError(
                "a model of transformers does not know how many tokens reduce keeps: leave reduce out"
            )
        if plan.config.quantize != "none":
            raise InputError(
                "a quantised encoder is no model of transformers, which would neither train nor save it: "
                "compose it with quantize: none"
            )
        processors = [[name, tower.processor.to_text()] for name, tower in plan.towers.items()]
        return cls(
            tower=_without_sources(plan),
            processor=processors if isinstance(plan, FusedPlan) else processors[0][1],
            image_inputs=_image_inputs(plan),
            hidden_size=plan.output_width,
            image_size=plan.image_size,
            patch_size=next(iter(plan.towers.values())).info.patch_size,
            num_hidden_layers=plan.num_blocks,
            dtype=dtype,
        )

    def tower_config(self) -> AnyConfig:
        """Return the vision-composer config.

        Raises:
            InputError: If there is none.
        """
        if self.tower is None or self.processor is None:
            raise InputError("this config holds no encoder; encoder.as_transformers() makes one that does")
        config: AnyConfig
        if isinstance(self.processor, str):
            config = TowerConfig.model_validate(self.tower)
        else:
            towers = {name: self.tower["towers"][name] for name, _ in self.processor}
            config = FusedConfig.model_validate(self.tower | {"towers": towers})
        dtype = str(self.dtype).removeprefix("torch.")
        if dtype not in DTYPES:
            return config
        weights = config.weights.model_copy(update={"dtype": dtype})
        return config.model_copy(update={"weights": weights})

    def processor_settings(self) -> list[ProcessorSettings]:
        """Return the image processor of every tower, and its values."""
        processor = self.processor or "null"
        texts = [processor] if isinstance(processor, str) else [text for _, text in processor]
        return list(map(ProcessorSettings.of_text, texts))


class VisionComposerModel(PreTrainedModel):  # type: ignore[no-untyped-call]  # a hook of transformers
    """A composed encoder as transformers runs a vision tower.

    Its only hidden state is what the encoder returns, with everything that its config says: layers, norms,
    tokens, connector. A VLM reads it with ``vision_feature_layer: -1`` and strategy ``full``. The parameters
    are those of transformers' own module, ``model``, and of ``connector`` if there is one; of several towers,
    those of every module in ``towers``, and of the linear layers in ``project``.

    Args:
        config: The config.
        vision: What runs it, with its weights; None builds it, with random weights.
    """

    config_class = VisionComposerConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    input_modalities = "image"
    supports_gradient_checkpointing = True
    # The language model's attention is chosen by these, the tower's by attn_backend in its config.
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    config: VisionComposerConfig
    vision: Vision

    def __init__(self, config: VisionComposerConfig, vision: Vision | None = None) -> None:
        super().__init__(config)
        if vision is None:
            vision = _built(config)
        else:
            _keep_values(vision)
        if isinstance(vision, FusedTowers):
            self.towers = nn.ModuleDict({name: tower.model for name, tower in vision.parts.items()})
            self.project = vision.project
        else:
            self.model: nn.Module = vision.tower.model
        self.connector = vision.connector_module
        # Not a submodule, which would give every parameter a second name beside that of transformers' module.
        self.__dict__["vision"] = vision
        self.post_init()  # type: ignore[no-untyped-call]  # transformers leaves it untyped

    def forward(
        self,
        pixel_values: Tensor | None = None,
        output_hidden_states: bool | int | list[int] | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> BaseModelOutputWithPooling | tuple[Any, ...]:
        """Encode images.

        Args:
            pixel_values: The pixels, as the encoder's image processor makes them.
            output_hidden_states: Which hidden states a VLM wants: the only one is 0 or -1.
            return_dict: False returns a tuple.
            **inputs: The image processor's other tensors. Names that it does not make are passed over,
                because a VLM passes on whatever it is called with.

        Returns:
            ``last_hidden_state``, also the only one of ``hidden_states``: (images, tokens, width), or where
            images may differ in tokens, (1, tokens of all images, width).

        Raises:
            InputError: If a hidden state is asked for that does not come out, or as the encoder.
        """
        self._check_layers(output_hidden_states)
        inputs = without_flags(inputs)
        names = self.config.image_inputs
        own = inputs if names is None else {name: inputs[name] for name in names if name in inputs}
        features = self.encode(pixel_values=pixel_values, **own)
        states = features if isinstance(features, torch.Tensor) else torch.cat(features).unsqueeze(0)
        output = BaseModelOutputWithPooling(last_hidden_state=states, hidden_states=(states,))
        return output.to_tuple() if return_dict is False else output

    def encode(self, **inputs: Tensor | None) -> Tensor | tuple[Tensor, ...]:
        """Return features as the encoder does: a batch, or one (tokens, width) tensor per image."""
        features: Tensor | tuple[Tensor, ...] = self.vision(self.vision.read(inputs))
        return features

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Fill what no file holds: buffers of the connector, which a whole VLM of transformers would fill."""
        super()._init_weights(module)  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        vision = self.vision
        if isinstance(vision, VisionTower) or vision.connector is None or vision.connector_module is None:
            return
        for name, part in vision.connector_module.named_modules():
            if part is module:
                with torch.device("cpu"):
                    fresh = vision.connector.build().get_submodule(name)
                for key in {key for key, _ in fresh.named_buffers()} - fresh.state_dict().keys():
                    part.get_buffer(key).copy_(fresh.get_buffer(key))

    def _check_layers(self, asked: object) -> None:
        layers = asked if isinstance(asked, (list, tuple)) else [asked]
        wrong = [k for k in layers if isinstance(k, int) and not isinstance(k, bool) and k not in (0, -1)]
        if wrong:
            raise InputError(
                f"hidden state {wrong[0]} is asked for, but a composed encoder returns one, with the layers "
                "that its own config selects. In the VLM's config, set vision_feature_layer to -1, "
                "vision_feature_select_strategy to 'full', and vision_config to the tower's config"
            )


def as_transformers(plan: AnyPlan, vision: Vision) -> VisionComposerModel:
    """Return an encoder as a model of transformers; they share their parameters.

    Raises:
        InputError: As :meth:`VisionComposerConfig.of_plan`.
    """
    model = VisionComposerModel(VisionComposerConfig.of_plan(plan, vision.dtype), vision)
    model.train(any(tower.model.training for tower in vision.parts.values()))
    return model


def _without_sources(plan: AnyPlan) -> dict[str, Any]:
    """Return a config as a mapping that says nothing of where weights are, because they come with it."""
    written = plan.config.to_dict()
    towers, project, connector = (written.get(key) or {} for key in ("towers", "project", "connector"))
    for block in (*towers.values(), *project.values(), connector):
        block.pop("weights", None)
    return written | {"weights": {"dtype": plan.dtype}}


def _built(config: VisionComposerConfig) -> Vision:
    """Build what a config describes on torch's default device, where from_pretrained puts no values."""
    encoder = config.tower_config()
    plan, where = plan_any(encoder, config.processor_settings()), torch.get_default_device()
    # Where the weights will be is not known yet. What runs everywhere is chosen, unless a backend is named.
    named = any(tower.config.attn_backend != "auto" for tower in plan.towers.values())
    runs_on = torch.device("cuda" if named and torch.cuda.is_available() else "cpu")
    vision = vision_of(plan, attention_of(plan, runs_on if where.type == "meta" else where), where)
    compile_as_asked(vision, encoder)
    return vision


def _keep_values(vision: nn.Module) -> None:
    """Tell transformers that weights are there, so that it does not draw new ones."""
    for module in vision.modules():
        module._is_hf_initialized = True  # type: ignore[assignment]  # a module takes any flag


def _image_inputs(plan: AnyPlan) -> list[str] | None:
    side = plan.image_size
    try:
        return list(preprocessor_of(plan)([np.zeros((side, side, 3), np.uint8)]))
    except InputError:  # its channels are not colours
        return None
