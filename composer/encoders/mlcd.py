"""MLCD (``MLCDVisionModel``): CLIP's tower with an axial rope instead of a position table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..schemas.encoders.mlcd import MLCDVisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .clip import clip_block
from .dense import DenseFamily
from .shapes import Part, Shapes, conv_patches, layer_norm

if TYPE_CHECKING:
    from torch import Tensor


class MLCD(DenseFamily[MLCDVisionEncoderConfig]):
    """The family of mlcd_vision_model."""

    model_type = "mlcd_vision_model"
    model_class = "MLCDVisionModel"
    config_class = "MLCDVisionConfig"
    norms_last_hidden_state = False

    def any_size(self, encoder: MLCDVisionEncoderConfig) -> bool:
        return True

    def stem_shapes(self, encoder: MLCDVisionEncoderConfig) -> Shapes:
        width = encoder.hidden_size
        return {
            "class_pos_emb": (1, encoder.head_size // 2),
            "embeddings.class_embedding": (width,),
            **conv_patches("embeddings.patch_embedding", encoder, bias=False),
            **layer_norm("pre_layrnorm", width),
        }

    def block_shapes(self, encoder: MLCDVisionEncoderConfig) -> Shapes:
        return clip_block(encoder.hidden_size, encoder.intermediate_size)

    def parts(
        self, encoder: MLCDVisionEncoderConfig, num_blocks: int, *, post_norm: bool, head: bool
    ) -> list[Part]:
        stem, *others = super().parts(encoder, num_blocks, post_norm=post_norm, head=head) or []
        unused = self.unused(num_blocks)
        return [Part({name: shape for name, shape in stem.shapes.items() if name not in unused}), *others]

    def unused(self, num_blocks: int) -> tuple[str, ...]:
        # The class token's rope angles are used inside attention only.
        return () if num_blocks else ("class_pos_emb",)

    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        import torch

        hidden_states = model.pre_layrnorm(model.embeddings(pixel_values))
        if model.class_pos_emb is None:
            return hidden_states, {}
        patch_size = model.config.patch_size
        rows, columns = pixel_values.shape[-2] // patch_size, pixel_values.shape[-1] // patch_size
        position_ids = torch.cartesian_prod(
            torch.arange(rows, device=pixel_values.device), torch.arange(columns, device=pixel_values.device)
        )
        patches = model.vision_rotary_embedding(hidden_states, position_ids)
        class_angles = torch.cat([model.class_pos_emb, model.class_pos_emb], dim=-1)
        position_embeddings = [
            torch.cat([class_part, patch_part])
            for class_part, patch_part in zip((class_angles.cos(), class_angles.sin()), patches, strict=True)
        ]
        return hidden_states, {"position_embeddings": position_embeddings, "attention_mask": None}
