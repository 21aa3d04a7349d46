"""Pixtral (``PixtralVisionModel``): images of any size in one sequence, and a rope over rows and columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ..attention.sending import Parcel
from ..errors import InputError
from ..schemas.encoders.pixtral import PixtralVisionEncoderConfig
from ..schemas.processor_class import square
from .aliases import BlockInputs, FromTransformers
from .facts import VisionEncoderInfo
from .inputs import check_pixels, refuse_unknown, rows_of_integers
from .layout import RopeLayout, frame_segments
from .packed import PackedBatch, PackedImagesFamily
from .places import Patches
from .reading import Reading
from .rope import Rope, on_halves, rope_base, rope_frequencies
from .shapes import Shapes, conv_patches, gated_mlp, linears

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Pixtral(PackedImagesFamily[PixtralVisionEncoderConfig, RopeLayout]):
    """The family of pixtral. Patches of an image are in raster order."""

    model_type = "pixtral"
    model_class = "PixtralVisionModel"
    config_class = "PixtralVisionConfig"
    read_by: ClassVar = {
        **dict.fromkeys(("mistral3", "mistral_large4"), Reading(-1, chooses=False)),
        "lighton_ocr": Reading(),
    }
    vlm = "mistral_large4"
    vlm_root = "vision_encoder"
    blocks = "transformer.layers"
    image_processor = "PixtralImageProcessor"

    def stem_shapes(self, encoder: PixtralVisionEncoderConfig) -> Shapes:
        return {
            **conv_patches("patch_conv", encoder, bias=False),
            "ln_pre.weight": (encoder.hidden_size,),
        }

    def block_shapes(self, encoder: PixtralVisionEncoderConfig) -> Shapes:
        width = encoder.hidden_size
        return {
            "attention_norm.weight": (width,),
            "ffn_norm.weight": (width,),
            **linears("attention", ("q_proj", "k_proj", "v_proj", "o_proj"), width, width, bias=False),
            **gated_mlp("feed_forward", width, encoder.intermediate_size, bias=False),
        }

    def image_processor_defaults(self, encoder: PixtralVisionEncoderConfig) -> dict[str, object]:
        return {"size": {"longest_edge": encoder.image_size}, "patch_size": square(encoder.patch_size)}

    def image_processor_settings(self, encoder: PixtralVisionEncoderConfig) -> dict[str, object]:
        return {"do_resize": True, "do_center_crop": False}

    # --- running --------------------------------------------------------------------------------------

    def read(
        self, model: FromTransformers, info: VisionEncoderInfo, inputs: Mapping[str, object]
    ) -> PackedBatch:
        """Read ``pixel_values`` and ``image_sizes``.

        ``pixel_values`` are (images, channels, height, width), padded at the bottom and the right.
        ``image_sizes`` (images, 2) are heights and widths without the padding; without them no image has
        padding. Pixels that do not fill a patch are cut off.
        """
        refuse_unknown(info.model_type, inputs, ("pixel_values", "image_sizes"))
        pixels = check_pixels("pixel_values", inputs.get("pixel_values"))
        shape, patch = tuple(pixels.shape), info.patch_size
        if len(shape) != 4 or shape[1] != info.num_channels:
            raise InputError(
                f"pixel_values must be (images, {info.num_channels}, height, width), not {shape}"
            )
        if "image_sizes" not in inputs:
            sizes: list[tuple[int, ...]] = [shape[2:]] * shape[0]
        else:
            sizes = rows_of_integers("image_sizes", inputs["image_sizes"], 2, "heights and widths")
        if len(sizes) != shape[0]:
            raise InputError(f"image_sizes has {len(sizes)} rows for {shape[0]} images in pixel_values")
        for i, (height, width) in enumerate(sizes):
            if height < patch or width < patch:
                raise InputError(
                    f"image {i} of {width}x{height} pixels is smaller than one patch of {patch}x{patch}"
                )
            if height > shape[2] or width > shape[3]:
                raise InputError(
                    f"image {i} of {width}x{height} pixels does not fit into pixel_values of "
                    f"{shape[3]}x{shape[2]}"
                )
        return PackedBatch(pixels, tuple((1, height // patch, width // patch) for height, width in sizes))

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> RopeLayout:
        grids, config, parcel = batch.grids, model.config, Parcel(device)
        frequencies = rope_frequencies(config.hidden_size // config.num_attention_heads, rope_base(config))
        # Rows and columns have frequencies in turn.
        rope = Rope(on_halves(frequencies[0::2], frequencies[1::2]), grids, parcel)
        frames, patches = frame_segments(grids, parcel), Patches(grids, parcel)
        return RopeLayout(grids, frames=frames, rope=rope.at(patches.positions, dtype))

    def stem(self, model: FromTransformers, pixels: Tensor, layout: RopeLayout) -> Tensor:
        embedded = self.patch_tokens(model.patch_conv, pixels, layout.grids)
        normed: Tensor = model.ln_pre(embedded.unsqueeze(0))
        return normed

    def block_inputs(self, block: int, layout: RopeLayout) -> BlockInputs:
        return {"attention_mask": None, "position_embeddings": layout.rope, "segments": layout.frames}
