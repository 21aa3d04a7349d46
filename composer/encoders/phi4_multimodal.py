"""Phi-4-multimodal (``Phi4MultimodalVisionModel``): SigLIP's blocks on tiles that may be partly padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from ..attention.sending import to_device
from ..images.settings import ProcessorSettings
from ..schemas.encoders.phi4_multimodal import Phi4MultimodalVisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .clip import clip_block
from .dense import DenseBatch, DenseFamily
from .facts import VisionEncoderInfo
from .inputs import check_mask
from .reading import Reading
from .reference import Sample
from .shapes import Shapes, conv_patches, num_positions

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..images.preprocess import ImagePreprocessor
    from .reference import Preprocess

_MASK = "patch_attention_mask"


@dataclass(frozen=True, eq=False)
class MaskedBatch(DenseBatch):
    """Tiles with a mask.

    Attributes:
        mask: The patches that are not padding, (tiles, rows, columns), booleans; None if none is padding.
    """

    mask: Tensor | None = None

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        moved = super().to(device, dtype)
        return moved if self.mask is None else replace(moved, mask=to_device(self.mask, device))

    def take(self, images: Sequence[int]) -> Self:
        taken = super().take(images)
        return taken if self.mask is None else replace(taken, mask=self.mask[list(images)])


class Phi4Multimodal(DenseFamily[Phi4MultimodalVisionEncoderConfig]):
    """The family of phi4_multimodal_vision.

    Patches of padding are no keys, but they have features, which count where patches are averaged.
    """

    model_type = "phi4_multimodal_vision"
    module = "transformers.models.phi4_multimodal.modeling_phi4_multimodal"
    model_class = "Phi4MultimodalVisionModel"
    config_class = "Phi4MultimodalVisionConfig"
    read_by: ClassVar = {"phi4_multimodal": Reading(-2, chooses=False)}
    attention_backends = ("sdpa", "eager")  # the mask is one of numbers that are added
    image_processor = "Phi4MultimodalImageProcessor"

    def stem_shapes(self, encoder: Phi4MultimodalVisionEncoderConfig) -> Shapes:
        return {
            **conv_patches("embeddings.patch_embedding", encoder),
            "embeddings.position_embedding.weight": (num_positions(encoder), encoder.hidden_size),
        }

    def block_shapes(self, encoder: Phi4MultimodalVisionEncoderConfig) -> Shapes:
        return clip_block(encoder.hidden_size, encoder.intermediate_size)

    def head_modules(self) -> tuple[str, ...]:
        return ("head",)  # the model does not read it

    def transformers_config(
        self, encoder: Phi4MultimodalVisionEncoderConfig, num_blocks: int, *, head: bool
    ) -> FromTransformers:
        fields = encoder.model_dump(exclude={"model_type"}) | {"num_hidden_layers": num_blocks}
        return self._from_transformers(self.config_class)(**fields | {"crop_size": encoder.image_size})

    def image_processor_settings(self, encoder: Phi4MultimodalVisionEncoderConfig) -> dict[str, object]:
        return {"patch_size": encoder.patch_size}

    def preprocessor(
        self, encoder: Phi4MultimodalVisionEncoderConfig, settings: ProcessorSettings
    ) -> ImagePreprocessor:
        from ..images.preprocess import ragged_preprocessor

        return ragged_preprocessor(settings, self.resize_rule(encoder, settings), encoder.num_channels)

    # --- running --------------------------------------------------------------------------------------

    def read(
        self, model: FromTransformers, info: VisionEncoderInfo, inputs: Mapping[str, object]
    ) -> MaskedBatch:
        """Read ``pixel_values`` (tiles, channels, height, width), and ``patch_attention_mask``.

        The mask, (tiles, rows, columns), says which patches are not padding; without it none is.
        """
        pixels = super().read(model, info, {key: inputs[key] for key in inputs if key != _MASK}).pixels
        side = info.patch_grid_length
        mask = None
        if _MASK in inputs:
            mask = check_mask(_MASK, inputs[_MASK], (len(pixels), side, side))
        return MaskedBatch(pixels, info.patch_size, mask)

    def blank(self, info: VisionEncoderInfo, device: torch.device) -> MaskedBatch:
        return MaskedBatch(super().blank(info, device).pixels, info.patch_size)

    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        return self.embed(model, MaskedBatch(pixel_values, model.config.patch_size), None)

    def embed(self, model: FromTransformers, batch: DenseBatch, layout: None) -> tuple[Tensor, BlockInputs]:
        import torch

        mask = batch.mask if isinstance(batch, MaskedBatch) else None
        _, rows, columns = batch.grid
        # Not len(batch): it would fix the number of images where torch.export traces this.
        shape = (batch.pixels.shape[0], rows, columns)
        valid = batch.pixels.new_ones(shape, dtype=torch.bool) if mask is None else mask
        hidden_states = model.embeddings(pixel_values=batch.pixels, patch_attention_mask=valid)
        # Said to the blocks, because transformers' would hide later patches where there is no mask.
        inputs: BlockInputs = {"attention_mask": None, "is_causal": False}
        if mask is not None:
            added = hidden_states.new_zeros(valid.flatten(1).shape)
            lowest = torch.finfo(added.dtype).min
            inputs["attention_mask"] = added.masked_fill(~valid.flatten(1), lowest)[:, None, None]
        return hidden_states, inputs

    def samples(self, info: VisionEncoderInfo, preprocess: Preprocess) -> list[Sample]:
        import torch

        side = info.patch_grid_length
        mask = torch.ones(1, side, side, dtype=torch.bool)
        mask[:, side - side // 3 :] = False
        samples = super().samples(info, preprocess)
        return [sample._replace(inputs={**sample.inputs, _MASK: mask}) for sample in samples]
