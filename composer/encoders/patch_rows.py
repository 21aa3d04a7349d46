"""The base class of packed families that take rows of patches, with a grid for each image or clip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Generic

from ..errors import InputError
from .aliases import BlockInputs, FromTransformers
from .facts import VisionEncoderInfo
from .inputs import check_pixels, refuse_unknown, rows_of_integers
from .layout import LayoutT, RopeLayout
from .packed import PackedBatch, PackedFamily
from .patch_embedding import embed_patches
from .processing import C
from .reference import Sample

if TYPE_CHECKING:
    from torch import Tensor

    from .reference import Preprocess

_INPUTS = {"pixel_values": "image_grid_thw", "pixel_values_videos": "video_grid_thw"}
"""Name of the patches among the inputs -> name of their grids."""


class PatchRowsFamily(PackedFamily[C, LayoutT], Generic[C, LayoutT]):
    """A packed family that takes images and clips as rows of patches."""

    blocks = "blocks"
    patch_projection: ClassVar[str] = "patch_embed.proj"
    """Path of the convolution that embeds a patch."""
    depth_field: ClassVar[str] = "depth"
    """The config field with the number of blocks."""

    # --- building -------------------------------------------------------------------------------------

    def transformers_config(self, encoder: C, num_blocks: int, *, head: bool) -> FromTransformers:
        fields = self.transformers_fields(encoder) | {self.depth_field: num_blocks}
        return self._from_transformers(self.config_class)(**fields)

    def transformers_fields(self, encoder: C) -> dict[str, object]:
        """Return the encoder block as arguments of transformers' config."""
        fields: dict[str, object] = encoder.model_dump(exclude={"model_type"}, exclude_none=True)
        return fields

    # --- running --------------------------------------------------------------------------------------

    def read(
        self, model: FromTransformers, info: VisionEncoderInfo, inputs: Mapping[str, object]
    ) -> PackedBatch:
        """Read ``pixel_values`` and ``image_grid_thw``, or ``pixel_values_videos`` and ``video_grid_thw``.

        Pixels are (patches, channels x frames x height x width of a patch), image after image. Grids are
        (images, 3): frames, rows and columns of patches.
        """
        videos = "pixel_values_videos" in inputs or "video_grid_thw" in inputs
        name = "pixel_values_videos" if videos else "pixel_values"
        refuse_unknown(info.model_type, inputs, (name, _INPUTS[name]))
        pixels = check_pixels(name, inputs.get(name))
        shape, patch = tuple(pixels.shape), self.patch_shape(info)
        if shape[1:] != patch or not shape:
            raise InputError(f"{name} must be (patches, {', '.join(map(str, patch))}), not {shape}")
        grids = rows_of_integers(_INPUTS[name], inputs.get(_INPUTS[name]), 3, "frames, rows and columns")
        for i, (frames, rows, columns) in enumerate(grids):
            if min(frames, rows, columns) < 1:
                raise InputError(
                    f"{_INPUTS[name]}[{i}] is {frames, rows, columns}; all three must be at least 1"
                )
            if rows % info.grid_multiple or columns % info.grid_multiple:
                raise InputError(
                    f"{_INPUTS[name]}[{i}] is {frames, rows, columns}; rows and columns must be multiples of "
                    f"{info.grid_multiple}, the side of the squares that are merged"
                )
            info.checked(f"{_INPUTS[name]}[{i}]", (frames, rows, columns))
        total = sum(t * h * w for t, h, w in grids)
        if total != shape[0]:
            raise InputError(f"{_INPUTS[name]} stands for {total} patches, but {name} has {shape[0]}")
        return PackedBatch(pixels, tuple((t, h, w) for t, h, w in grids))

    def stem(self, model: FromTransformers, pixels: Tensor, layout: LayoutT) -> Tensor:
        return embed_patches(model.get_submodule(self.patch_projection), pixels)

    def block_inputs(self, block: int, layout: LayoutT) -> BlockInputs:
        rope = {"position_embeddings": layout.rope} if isinstance(layout, RopeLayout) else {}
        return {"cu_seqlens": layout.whole, "segments": layout.frames, **rope}

    def reference_inputs(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"pixel_values": inputs["pixel_values"], "grid_thw": inputs["image_grid_thw"]}

    def samples(self, info: VisionEncoderInfo, preprocess: Preprocess) -> list[Sample]:
        import torch

        images = super().samples(info, preprocess)
        if info.max_frames == 1:
            return images
        frame = images[1].inputs
        clip = {
            "pixel_values": torch.cat([frame["pixel_values"]] * 2),
            "image_grid_thw": frame["image_grid_thw"] * torch.tensor([2, 1, 1]),
        }
        width, height, _ = images[1].size
        return [*images, Sample(clip, (width, height, 2 * info.temporal_patch_size))]
