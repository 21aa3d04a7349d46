"""The base class of packed families that take rows of patches, with a grid for each image or clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Generic, cast

from ..attention.sending import Parcel
from ..errors import InputError
from ..images.resize import ResizeRule
from ..images.settings import ProcessorSettings
from ..schemas import EncoderConfig
from .aliases import BlockInputs, FromTransformers
from .facts import Grid, VisionEncoderInfo
from .inputs import check_pixels, refuse_unknown, rows_of_integers
from .layout import LayoutT, RopeLayout, RopeLayoutT, TableLayout, clip_segments, frame_segments
from .packed import PackedBatch, PackedFamily, PatchPadding
from .patch_embedding import embed_patches
from .places import Patches
from .position_taps import Mode, PositionTaps
from .processing import C
from .reference import Sample
from .rope import Rope, on_halves, rope_base, rope_frequencies

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..images.preprocess import ImagePreprocessor
    from .reference import Preprocess

_INPUTS = {"pixel_values": "image_grid_thw", "pixel_values_videos": "video_grid_thw"}
"""Name of the patches among the inputs -> name of their grids."""


class PatchRowsFamily(PackedFamily[C, LayoutT], Generic[C, LayoutT]):
    """A packed family that takes images and clips as rows of patches.

    Its config block says in ``spatial_merge_size`` how many patches stand along a side of the squares that
    are merged, in the tower or behind it, and in ``temporal_patch_size`` how many frames are in a patch;
    without such a field it is one.
    """

    patch_projection: ClassVar[str] = "embeddings.patch_embedding"
    """Path of the layer that embeds a patch."""
    depth_field: ClassVar[str] = "num_hidden_layers"
    """The config field with the number of blocks."""
    by_squares: ClassVar[bool] = False
    """Whether patches come by the squares that are merged: the squares row by row, and the patches row by row
    inside each; else a frame's patches come row by row."""
    max_frames: ClassVar[int] = 0
    """Most frames of a clip that the tower takes; 0 for any number."""
    attends_across_frames: ClassVar[bool] = False
    """Whether the frames of a clip attend to each other."""

    # --- facts ----------------------------------------------------------------------------------------

    def info(self, encoder: C, resize: ResizeRule | None = None) -> VisionEncoderInfo:
        side = _merge_size(encoder)
        return replace(
            super().info(encoder, resize),
            grid_multiple=side,
            patch_square=side if self.by_squares else 1,
            temporal_patch_size=_frames(encoder),
            max_frames=self.max_frames,
            attends_across_frames=self.attends_across_frames,
            merge_size=side if encoder.merger else 1,
            out_hidden_size=encoder.merged_width if encoder.merger else 0,
        )

    def image_processor_settings(self, encoder: C) -> dict[str, object]:
        return {
            "do_resize": True,
            "patch_size": encoder.patch_size,
            "merge_size": _merge_size(encoder),
            "temporal_patch_size": _frames(encoder),
        }

    def preprocessor(self, encoder: C, settings: ProcessorSettings) -> ImagePreprocessor:
        made = super().preprocessor(encoder, settings)
        if self.max_frames == 1:
            return made
        from ..images.preprocess_clips import ClipPreprocessor

        return ClipPreprocessor(made, _frames(encoder))

    # --- building -------------------------------------------------------------------------------------

    def transformers_config(self, encoder: C, num_blocks: int, *, head: bool) -> FromTransformers:
        fields = self.transformers_fields(encoder) | {self.depth_field: num_blocks}
        return self._from_transformers(self.config_class)(**fields)

    def transformers_fields(self, encoder: C) -> dict[str, object]:
        """Return the encoder block as arguments of transformers' config."""
        fields: dict[str, object] = encoder.model_dump(mode="json", exclude={"model_type"}, exclude_none=True)
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
        return {"cu_seqlens": layout.whole, "segments": layout.segments(block)}

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


class RopeRowsFamily(PatchRowsFamily[C, RopeLayoutT], Generic[C, RopeLayoutT]):
    """A family that takes rows of patches and has a rope, by default over rows and columns."""

    def padding(self, info: VisionEncoderInfo) -> PatchPadding[RopeLayoutT] | None:
        return PatchPadding(info)

    def rope(self, model: FromTransformers, grids: Sequence[Grid], parcel: Parcel) -> Rope:
        """Return the rope, which has the same frequencies for rows and columns."""
        config = model.config
        head = model.get_parameter(f"{self.patch_projection}.weight").shape[0] // config.num_attention_heads
        frequencies = rope_frequencies(head // 2, rope_base(config))
        return Rope(on_halves(frequencies, frequencies), grids, parcel)

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> RopeLayoutT:
        grids, parcel = batch.grids, Parcel(device)
        frames = (clip_segments if self.attends_across_frames else frame_segments)(grids, parcel)
        patches, rope = self.patches(model, grids, parcel), self.rope(model, grids, parcel)
        made = RopeLayout(grids, frames=frames, rope=rope.at(patches.positions))
        return cast("RopeLayoutT", made)  # a family with another layout makes its own

    def table_layout(
        self, model: FromTransformers, grids: tuple[Grid, ...], device: torch.device, side: int, mode: Mode
    ) -> TableLayout:
        """Return the layout of a family that has a position table of ``side`` x ``side`` beside the rope."""
        parcel = Parcel(device)
        frames = frame_segments(grids, parcel)
        patches, rope = self.patches(model, grids, parcel), self.rope(model, grids, parcel)
        taps = PositionTaps(grids, parcel, side, mode)
        return TableLayout(
            grids, frames=frames, rope=rope.at(patches.positions), position_taps=taps.at(patches)
        )

    def patches(self, model: FromTransformers, grids: Sequence[Grid], parcel: Parcel) -> Patches:
        """Return where the patches are."""
        return Patches(grids, parcel, model.config.spatial_merge_size if self.by_squares else 1)

    def block_inputs(self, block: int, layout: RopeLayoutT) -> BlockInputs:
        return super().block_inputs(block, layout) | {"position_embeddings": layout.rope}


def _merge_size(encoder: EncoderConfig) -> int:
    return getattr(encoder, "spatial_merge_size", 1)


def _frames(encoder: EncoderConfig) -> int:
    return getattr(encoder, "temporal_patch_size", 1)
