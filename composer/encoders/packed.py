"""What a family of native-resolution encoders tells the rest, beside the facts of every family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import InputError
from ..images.resize import ResizeRule
from ..schemas import EncoderConfig
from .base import EncoderFamily, VisionEncoderInfo, not_given

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .layout import Grid, Layout


class PackedFamily(EncoderFamily):
    """The adapter of one model_type whose images share one sequence, each at its own resolution."""

    head: ClassVar[str] = ""
    """Path of the merger or the pooling head; empty for a family without."""
    post_norm: ClassVar[str] = ""

    def any_size(self, encoder: EncoderConfig) -> bool:
        return True

    def info(self, encoder: EncoderConfig) -> VisionEncoderInfo:
        return self.info_with(encoder, self.resize_rule(encoder))

    def info_with(self, encoder: Any, resize: ResizeRule) -> VisionEncoderInfo:
        """The encoder's facts where pictures are resized by ``resize``."""
        return VisionEncoderInfo(
            model_type=encoder.model_type,
            hidden_size=encoder.width,
            num_hidden_layers=encoder.num_hidden_layers,
            num_attention_heads=encoder.num_attention_heads,
            head_size=encoder.head_size,
            num_channels=encoder.num_channels,
            image_size=resize.largest_side,
            patch_size=encoder.patch_size,
            num_prefix_tokens=0,
            has_class_token=False,
            has_post_norm=encoder.has_post_norm,
            has_head=encoder.has_head,
            rope_type=encoder.rope_type,
            any_size=True,
            packed=True,
            resize=resize,
        )

    def resize_rule(self, encoder: Any, processor: Any = None) -> ResizeRule:
        """How pictures are resized: as ``processor`` says, or as the family's processor does by default."""
        raise not_given(self, "resize_rule")

    def image_processor_settings(self, encoder: Any) -> dict[str, Any]:
        """Arguments of the image processor that follow from the encoder, whatever a checkpoint says."""
        raise not_given(self, "image_processor_settings")

    # --- running --------------------------------------------------------------------------------------

    def read(self, info: VisionEncoderInfo, inputs: Mapping[str, Any]) -> tuple[Tensor, tuple[Grid, ...]]:
        """The pixels and the grids of a batch.

        Args:
            info: The encoder's facts.
            inputs: What the module was called with.

        Returns:
            The pixels, a row a patch or (images, channels, height, width), and a grid an image or clip.

        Raises:
            InputError: Inputs that are missing, unknown, of another shape or dtype, or do not fit together.
        """
        raise not_given(self, "read")

    def take(
        self, info: VisionEncoderInfo, inputs: Mapping[str, Any], images: Sequence[int]
    ) -> dict[str, Any]:
        """Some images of a batch: of inputs with a row per patch theirs, and their rows of the others."""
        import torch

        sizes = [t * h * w for t, h, w in self.read(info, inputs)[1]]

        def some(value: Tensor) -> Tensor:
            if len(value) == len(sizes):  # also where every image is one patch
                return value[list(images)]
            pieces = torch.split(value, sizes)
            return torch.cat([pieces[i] for i in images])

        return {name: value if value is None else some(value) for name, value in inputs.items()}

    def layout(self, model: Any, grids: tuple[Grid, ...], device: torch.device, dtype: torch.dtype) -> Layout:
        """Where the tokens of the grids stand."""
        raise not_given(self, "layout")

    def embed(self, model: Any, pixels: Tensor, layout: Layout) -> Tensor:
        """Hidden state 0, in the order in which the blocks take it."""
        raise not_given(self, "embed")

    def block_inputs(self, block: int, layout: Layout) -> dict[str, Any]:
        """Keyword arguments of a block, counted from 0."""
        raise not_given(self, "block_inputs")

    def tokens(self, hidden_states: Tensor, layout: Layout) -> Tensor:
        """A hidden state as (tokens, width), images and their patches in the order of the input."""
        return hidden_states

    def merged(self, model: Any, hidden_states: Tensor, layout: Layout) -> Tensor:
        """The tower's own output for the last hidden state, post-normed if there is a norm.

        Returns:
            (merged tokens, width), images in the order of the input.
        """
        raise not_given(self, "merged")

    def pooled(self, model: Any, hidden_states: Tensor, layout: Layout) -> Tensor:
        """The pooling head's output for the post-normed last hidden state, (images, width)."""
        raise not_given(self, "pooled")

    def merged_level(self, model: Any, layer: int, hidden_states: Tensor) -> Tensor:
        """The tower's output for hidden state ``layer``, one of its DeepStack levels."""
        raise not_given(self, "merged_level")

    def reference_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs of one image as transformers' class takes them, for ``vision_composer.testing``."""
        return dict(inputs)

    def reference_tokens(self, model: Any, hidden_states: Tensor, layout: Layout) -> Tensor:
        """:meth:`tokens` of a hidden state of transformers' class, for ``vision_composer.testing``."""
        return self.tokens(hidden_states, layout)


def check_pixels(name: str, value: Any) -> Tensor:
    """``value`` as the tensor of floats that it must be.

    Raises:
        InputError: It is something else.
    """
    import torch

    if not isinstance(value, torch.Tensor):
        raise InputError(f"{name} must be a tensor, not {type(value).__name__}")
    if not value.is_floating_point():
        raise InputError(
            f"{name} are {value.dtype}: they must be normalised floats, as encoder.preprocess(images) makes "
            "them"
        )
    return value


def check_integers(name: str, value: Any) -> Tensor:
    """``value`` as the tensor of integers that it must be.

    Raises:
        InputError: It is something else.
    """
    import torch

    if not isinstance(value, torch.Tensor):
        raise InputError(f"{name} must be a tensor, not {type(value).__name__}")
    if value.dtype not in (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8):
        raise InputError(f"{name} is {value.dtype}; it must be integers")
    return value.long()


def rows_of_integers(name: str, value: Any, columns: int, meaning: str) -> list[tuple[int, ...]]:
    """A (images, columns) tensor of integers as numbers.

    Raises:
        InputError: Something else.
    """
    rows = check_integers(name, value)
    if rows.dim() != 2 or rows.shape[1] != columns:
        raise InputError(f"{name} must be (images, {columns}), {meaning}, not {tuple(rows.shape)}")
    return [tuple(row) for row in rows.tolist()]


def check_mask(name: str, value: Any, shape: tuple[int, ...]) -> Tensor:
    """A mask as booleans.

    Raises:
        InputError: It is no tensor of integers or booleans, or of another shape.
    """
    import torch

    if not isinstance(value, torch.Tensor):
        raise InputError(f"{name} must be a tensor, not {type(value).__name__}")
    if value.is_floating_point() or value.is_complex():
        raise InputError(f"{name} is {value.dtype}; it must be booleans or integers")
    if tuple(value.shape) != shape:
        raise InputError(f"{name} must be {shape} to fit pixel_values, not {tuple(value.shape)}")
    return value != 0


def embed_patches(convolution: Any, images: Tensor, grids: Sequence[Grid]) -> Tensor:
    """Patches of images that are padded at the bottom and the right, embedded: (tokens, width).

    Args:
        convolution: Conv2d that cuts an image into patches.
        images: (images, channels, height, width).
        grids: Their patches; what lies beyond is not touched.
    """
    import torch
    from torch.nn.functional import linear

    weight = convolution.weight
    width, channels, side, _ = weight.shape
    patches = [
        image[:, : rows * side, : columns * side]
        .reshape(channels, rows, side, columns, side)
        .permute(1, 3, 0, 2, 4)
        .reshape(rows * columns, -1)
        for image, (_, rows, columns) in zip(images, grids, strict=True)
    ]
    # Patches do not overlap: the convolution is a projection of each.
    return linear(torch.cat(patches), weight.view(width, -1), convolution.bias)


def refuse_unknown(model_type: str, inputs: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Refuse inputs of other names."""
    if unexpected := sorted(set(inputs) - set(known)):
        raise InputError(
            f"unexpected input {', '.join(unexpected)}: a {model_type} tower takes {', '.join(known)}"
        )
