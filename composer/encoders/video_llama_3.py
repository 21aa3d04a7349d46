"""VideoLLaMA 3 (``VideoLlama3VisionModel``): SigLIP's blocks with a rope, images at their own size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ..errors import InputError, WeightsError
from ..images.resize import ResizeRule
from ..images.settings import ProcessorSettings
from ..schemas.encoders.video_llama_3 import VideoLlama3VisionEncoderConfig
from .aliases import FromTransformers
from .clip import clip_block
from .facts import VisionEncoderInfo
from .inputs import check_integers
from .layout import RopeLayout
from .patch_rows import RopeRowsFamily
from .reading import Reading
from .shapes import Shapes, conv_patches

if TYPE_CHECKING:
    from torch import Tensor

    from .packed import PackedBatch


class VideoLlama3(RopeRowsFamily[VideoLlama3VisionEncoderConfig, RopeLayout]):
    """The family of video_llama_3_vision. Patches are in raster order; those of images are not merged."""

    model_type = "video_llama_3_vision"
    module = "transformers.models.video_llama_3.modeling_video_llama_3"
    model_class = "VideoLlama3VisionModel"
    config_class = "VideoLlama3VisionConfig"
    read_by: ClassVar = {"video_llama_3": Reading()}
    post_norm = "post_layernorm"
    max_frames = 1
    image_processor = "VideoLlama3ImageProcessor"

    # --- facts ----------------------------------------------------------------------------------------

    def image_processor_settings(self, encoder: VideoLlama3VisionEncoderConfig) -> dict[str, object]:
        return {"do_resize": True, "patch_size": encoder.patch_size, "temporal_patch_size": 1}

    def resize_rule(self, encoder: VideoLlama3VisionEncoderConfig, settings: ProcessorSettings) -> ResizeRule:
        if settings.values["merge_size"] != 1:
            merge = settings.values["merge_size"]
            raise WeightsError(f"{settings.name}: merge_size is {merge!r}; images are not merged here")
        return super().resize_rule(encoder, settings)

    def stem_shapes(self, encoder: VideoLlama3VisionEncoderConfig) -> Shapes:
        return conv_patches(self.patch_projection, encoder)

    def block_shapes(self, encoder: VideoLlama3VisionEncoderConfig) -> Shapes:
        return clip_block(encoder.hidden_size, encoder.intermediate_size)

    # --- running --------------------------------------------------------------------------------------

    def read(
        self, model: FromTransformers, info: VisionEncoderInfo, inputs: Mapping[str, object]
    ) -> PackedBatch:
        """Read ``pixel_values`` and ``image_grid_thw``; ``image_merge_sizes`` may be there, all of them 1."""
        rest = dict(inputs)
        sizes = rest.pop("image_merge_sizes", None)
        if sizes is not None and bool((check_integers("image_merge_sizes", sizes) != 1).any()):
            raise InputError("image_merge_sizes must be 1: images are not merged here")
        return super().read(model, info, rest)

    def reference_inputs(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        import torch

        grids = inputs["image_grid_thw"]
        ones = torch.ones(len(grids), dtype=torch.long, device=grids.device)
        return {"pixel_values": inputs["pixel_values"], "grid_thw": grids, "merge_sizes": ones}
