"""LLaVA for the encoders that transformers' own LLaVA cannot call, such as packed and tiled ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import LlavaConfig, LlavaForConditionalGeneration

from ..errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from .vision import VisionComposerConfig, VisionComposerModel


class VisionComposerLlavaConfig(LlavaConfig):  # type: ignore[no-untyped-call]  # a hook of transformers
    """LLaVA's config.

    Attributes:
        has_projector: Whether LLaVA's projector stands behind the encoder; not where the encoder has a
            connector of its own.
    """

    model_type = "vision_composer_llava"

    has_projector: bool = True


# transformers leaves the hook that runs for a subclass untyped.
class VisionComposerLlavaForConditionalGeneration(LlavaForConditionalGeneration):  # type: ignore[no-untyped-call]
    """LLaVA, except that the encoder takes all that its image processor makes, and images differ in rows.

    Modules and parameters have LLaVA's names: ``model.vision_tower``, ``model.multi_modal_projector``,
    ``model.language_model`` and ``lm_head``.
    """

    config_class = VisionComposerLlavaConfig
    config: VisionComposerLlavaConfig

    def __init__(self, config: VisionComposerLlavaConfig) -> None:
        super().__init__(config)
        if not config.has_projector:
            self.model.multi_modal_projector = nn.Identity()

    def get_image_rows(self, **inputs: Tensor) -> tuple[Tensor, ...]:
        """Return what the language model reads of every image: one (rows, width) tensor each.

        Args:
            **inputs: What the image processor makes.
        """
        tower: VisionComposerModel = self.model.vision_tower
        features = list(tower.encode(**inputs))
        rows: Tensor = self.model.multi_modal_projector(torch.cat(features))
        return torch.split(rows, [len(image) for image in features])

    def embed(self, input_ids: Tensor | None, **inputs: Tensor) -> Tensor:
        """Return input embeddings, those of image tokens being the images' rows: (texts, tokens, width).

        Args:
            input_ids: The tokens, (texts, tokens).
            **inputs: What the image processor makes.

        Raises:
            InputError: If there are no tokens, or not as many image tokens as rows.
        """
        if input_ids is None:
            raise InputError("images need input_ids, which say where they stand")
        embeds: Tensor = self.get_input_embeddings()(input_ids)
        places = input_ids == self.config.image_token_id
        rows = torch.cat(self.get_image_rows(**inputs)).to(embeds.device, embeds.dtype)
        if (count := int(places.sum())) != len(rows):
            raise InputError(
                f"there are {count} image tokens, and the images have {len(rows)} rows; make both with the "
                "processor of this model"
            )
        return embeds.masked_scatter(places.unsqueeze(-1), rows)

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run the model; arguments and output as for transformers' LLaVA, with the image processor's tensors.

        Raises:
            InputError: As :meth:`embed`.
        """
        images = self._images(kwargs, pixel_values)
        if images:
            inputs_embeds, input_ids = self.embed(input_ids, **images), None
        return super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            labels=labels,
            **kwargs,
        )

    @torch.no_grad()
    def generate(self, inputs: Tensor | None = None, **kwargs: Any) -> Any:
        """Generate text, as transformers' models do, from tokens and the image processor's tensors.

        Raises:
            InputError: As :meth:`embed`.
        """
        images = self._images(kwargs, kwargs.pop("pixel_values", None))
        if images:
            input_ids = kwargs.get("input_ids") if inputs is None else inputs
            kwargs["inputs_embeds"] = self.embed(input_ids, **images)
        return super().generate(inputs, **kwargs)

    def _images(self, kwargs: dict[str, Any], pixel_values: Tensor | None) -> dict[str, Tensor]:
        """Take the encoder's inputs out of ``kwargs``; empty without pixels."""
        vision: VisionComposerConfig = self.model.vision_tower.config
        names = vision.image_inputs or ()
        taken = {name: kwargs.pop(name, None) for name in names} | {"pixel_values": pixel_values}
        given = {name: tensor for name, tensor in taken.items() if tensor is not None}
        # Each of several towers has pixels under its own name.
        return given if any(name.endswith("pixel_values") for name in given) else {}
