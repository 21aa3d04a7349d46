"""What an encoder family tells the rest: its facts, and where its stages live in transformers' module.

Importing a family loads no torch. The methods that build or run something import it themselves, so that
``plan`` can ask any family for its facts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import BackendError, InputError
from ..images.resize import ResizeRule
from ..schemas import EncoderConfig, RopeType

if TYPE_CHECKING:
    from torch import Tensor, nn

IMAGENET_MEAN_STD = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
"""How pictures are normalised by ImageNet's statistics, as arguments of an image processor."""

Shapes = dict[str, tuple[int, ...]]
"""Tensor names of a checkpoint -> shapes."""


def not_given(family: EncoderFamily, method: str) -> NotImplementedError:
    """For a method that only some families need, called of one that needs it and has none."""
    return NotImplementedError(f"{type(family).__name__} must give {method}")


@dataclass(frozen=True)
class VisionEncoderInfo:
    """Facts about an encoder that hold without its weights. Sizes are in pixels, widths in features.

    Attributes:
        model_type: transformers' name of the family.
        hidden_size: Width of a token.
        num_hidden_layers: Blocks of the full encoder.
        num_attention_heads: Attention heads of a block.
        head_size: Width of one head.
        num_channels: Colour channels of the input.
        image_size: Side of the square image the encoder was trained on.
        patch_size: Side of a square patch.
        num_prefix_tokens: Non-patch tokens in front of the patches.
        has_class_token: Whether the first prefix token, or else the last suffix token, is a class token.
        has_post_norm: Whether a norm stands behind the last block.
        has_head: Whether the checkpoint carries a pooling head.
        rope_type: How packed inputs are read; ``none`` for a dense encoder.
        any_size: Whether images of other sizes than ``image_size`` are encoded at their own size.
        packed: Whether images of different sizes share one sequence instead of a batch.
        merge_size: Patches along one side of the square that the merger makes one token of; 1: no merger.
        temporal_patch_size: Frames in a patch.
        out_hidden_size: Width of a merged token; 0 without a merger.
        pools_frames: Whether the merger makes one frame of all of a clip's.
        attends_across_frames: Whether the frames of a clip attend to each other.
        grid_multiple: What rows and columns of a packed image's patches must be multiples of.
        resize: How the image processor sizes a picture that is packed; None for a dense encoder.
        num_suffix_tokens: Non-patch tokens behind the patches.
        tiled: Whether a picture is cut into tiles of ``image_size``, each with prefix tokens of its own,
            which the encoder's own output keeps.
    """

    model_type: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    head_size: int
    num_channels: int
    image_size: int
    patch_size: int
    num_prefix_tokens: int
    has_class_token: bool
    has_post_norm: bool
    has_head: bool
    rope_type: RopeType
    any_size: bool
    packed: bool = False
    merge_size: int = 1
    temporal_patch_size: int = 1
    out_hidden_size: int = 0
    pools_frames: bool = False
    attends_across_frames: bool = False
    grid_multiple: int = 1
    resize: ResizeRule | None = None
    num_suffix_tokens: int = 0
    tiled: bool = False

    @property
    def ragged(self) -> bool:
        """Whether images come out apart, a tensor each, since they need not have as many tokens."""
        return self.packed or self.tiled

    @property
    def patch_grid_length(self) -> int:
        """Patches along one side of an image of ``image_size``; what does not fill a patch is cut off."""
        return self.image_size // self.patch_size

    def grid(self, width: int, height: int, frames: int = 1) -> tuple[int, int, int]:
        """Frames (or tiles), rows and columns of an image's patches, by the rule of :meth:`num_tokens`."""
        if width < 1 or height < 1:
            raise InputError(f"an image of {width}x{height} pixels is empty")
        if frames < 1:
            raise InputError(f"a clip of {frames} frames is empty")
        if self.resize is not None:
            width, height = self.resize(width, height)
            if self.tiled:
                tiles = (height // self.image_size) * (width // self.image_size)
                return tiles, self.patch_grid_length, self.patch_grid_length
            depth = -(-frames // self.temporal_patch_size)
            return depth, height // self.patch_size, width // self.patch_size
        if not self.any_size:
            return 1, self.patch_grid_length, self.patch_grid_length
        columns, rows = width // self.patch_size, height // self.patch_size
        if not columns or not rows:
            raise InputError(
                f"an image of {width}x{height} pixels is smaller than one patch of "
                f"{self.patch_size}x{self.patch_size}"
            )
        return 1, rows, columns

    def num_patches(self, width: int, height: int, frames: int = 1) -> int:
        """Patches of an image, by the rule of :meth:`num_tokens`; frames count in temporal patches."""
        return prod(self.grid(width, height, frames))

    def num_tiles(self, width: int, height: int) -> int:
        """Tiles that a picture is cut into; 1 for an encoder that cuts none."""
        return self.grid(width, height)[0] if self.tiled else 1

    def num_merged_tokens(self, grid: tuple[int, int, int]) -> int:
        """Tokens that the merger makes of patches in (frames, rows, columns)."""
        frames, rows, columns = grid
        return (1 if self.pools_frames else frames) * rows * columns // self.merge_size**2

    def sequence_length(self, width: int, height: int, frames: int = 1) -> int:
        """Tokens of one image in the blocks: its patches, prefix and suffix tokens."""
        other = self.num_prefix_tokens + self.num_suffix_tokens
        return self.num_tiles(width, height) * other + self.num_patches(width, height, frames)

    def num_tokens(self, width: int, height: int, frames: int = 1) -> int:
        """Tokens that the encoder makes of one image: all of them, or as many as its merger leaves.

        A packed encoder takes the picture's own size and resizes by :attr:`resize`. A dense encoder of any
        size floors ``width`` and ``height``, those of its ``pixel_values``, to whole patches. The others
        get every picture resized to ``image_size``, so their count does not vary, or cut into tiles of that
        size, of which the padding tiles do not count.

        Args:
            width: Image width in pixels, at least 1.
            height: Image height in pixels, at least 1.
            frames: Frames of a clip, at least 1; only packed encoders with a temporal patch tell them apart.

        Raises:
            InputError: An empty image, or one smaller than a patch where the size matters.
        """
        if self.packed or (self.out_hidden_size and not self.tiled):
            return self.num_merged_tokens(self.grid(width, height, frames))
        return self.sequence_length(width, height, frames)


class EncoderFamily:
    """The adapter of one model_type: a subclass per family, without state, one instance in the registry."""

    model_type: ClassVar[str]
    module: ClassVar[str] = "transformers"
    """Where the two classes are imported from; some towers are not exported at the top."""
    since: ClassVar[str] = ""
    """First version of transformers with this family as it is here; empty if every supported one has it."""
    model_class: ClassVar[str]
    """Class of the tower."""
    config_class: ClassVar[str]
    """Class of its config."""
    blocks: ClassVar[str] = "encoder.layers"
    """Path of the ModuleList of blocks."""
    post_norm: ClassVar[str] = "post_layernorm"
    """Path of the norm behind the last block; empty for a family without."""
    norms_last_hidden_state: ClassVar[bool] = True
    """Whether transformers' last_hidden_state has gone through the post-norm."""
    head: ClassVar[str] = ""
    """Path of the pooling head or of the merger; empty for a family without."""
    head_field: ClassVar[str] = ""
    """The config field that says whether the head is there."""
    buffers: ClassVar[frozenset[str]] = frozenset()
    """Last parts of the names of checkpoint tensors that are no parameters."""
    optional: ClassVar[tuple[str, ...]] = ()
    """Parts of tensors' names in transformers' module, such as ``layer_scale``. Checkpoints may leave out
    all tensors of a part; then they keep the values that transformers gives them."""
    attention_backends: ClassVar[tuple[str, ...]] = ()
    """Names of the only attention backends that run the blocks, the best first; empty: all do."""
    image_processor: ClassVar[str] = "CLIPImageProcessorPil"
    """Class of the image processor in ``transformers``."""
    tiny: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Fields of a small encoder that ``vision_composer.testing`` builds, where its own do not fit."""
    vlm: ClassVar[str] = ""
    """model_type of the vision-language model in whose checkpoints the tower's tensors have other names,
    which only that model's conversion mapping in transformers knows."""

    # --- facts ----------------------------------------------------------------------------------------

    def any_size(self, encoder: EncoderConfig) -> bool:
        """Whether images of other sizes than ``image_size`` are encoded at their own size."""
        return False

    def info(self, encoder: EncoderConfig) -> VisionEncoderInfo:
        """The encoder's facts."""
        return VisionEncoderInfo(
            model_type=encoder.model_type,
            hidden_size=encoder.hidden_size,
            num_hidden_layers=encoder.num_hidden_layers,
            num_attention_heads=encoder.num_attention_heads,
            head_size=encoder.head_size,
            num_channels=encoder.num_channels,
            image_size=encoder.image_size,
            patch_size=encoder.patch_size,
            num_prefix_tokens=encoder.num_prefix_tokens,
            has_class_token=encoder.has_class_token,
            has_post_norm=encoder.has_post_norm,
            has_head=encoder.has_head,
            rope_type=encoder.rope_type,
            any_size=self.any_size(encoder),
            num_suffix_tokens=encoder.num_suffix_tokens,
        )

    def stem_shapes(self, encoder: Any) -> Shapes:
        """Tensors of everything before the first block, under the names of a checkpoint of the tower."""
        raise not_given(self, "stem_shapes")

    def block_shapes(self, encoder: Any) -> Shapes:
        """Tensors of one block, named from the block on."""
        raise not_given(self, "block_shapes")

    def norm_shapes(self, encoder: Any) -> Shapes:
        """Tensors of the post-norm, named from it on."""
        return layer_norm("", encoder.hidden_size)

    def head_shapes(self, encoder: Any) -> Shapes:
        """Tensors of the head, named from it on."""
        raise not_given(self, "head_shapes")

    def head_flops(self, encoder: Any, num_tokens: int) -> int:
        """Floating-point operations of the head's matrix products for one image."""
        raise not_given(self, "head_flops")

    def attention_pairs(
        self, encoder: Any, num_blocks: int, info: VisionEncoderInfo, size: tuple[int, int]
    ) -> int:
        """Pairs of tokens that attend to each other, summed over the blocks, in an image (width, height)."""
        return num_blocks * info.sequence_length(*size) ** 2

    def extra_flops(
        self, encoder: Any, num_blocks: int, info: VisionEncoderInfo, size: tuple[int, int]
    ) -> int:
        """Floating-point operations of the blocks beside those of their linear layers and of attention."""
        return 0

    def head_modules(self) -> tuple[str, ...]:
        """Paths of what stands behind the post-norm: the pooling head, or the merger's modules."""
        return (self.head,) if self.head else ()

    def block_name(self, index: int) -> str:
        """Name of block ``index`` in a checkpoint of the tower."""
        return f"{self.blocks}.{index}"

    def shapes(
        self, encoder: EncoderConfig, num_blocks: int, *, post_norm: bool, head: bool
    ) -> Shapes | None:
        """Every tensor that a tower cut to ``num_blocks`` reads; None when the family cannot know."""
        shapes = self.stem_shapes(encoder)
        block = self.block_shapes(encoder)
        for i in range(num_blocks):
            shapes |= {f"{self.block_name(i)}.{name}": shape for name, shape in block.items()}
        if post_norm:
            shapes |= {f"{self.post_norm}.{name}": shape for name, shape in self.norm_shapes(encoder).items()}
        if head:
            shapes |= {f"{self.head}.{name}": shape for name, shape in self.head_shapes(encoder).items()}
        return shapes

    # --- building -------------------------------------------------------------------------------------

    def transformers_config(self, encoder: EncoderConfig, num_blocks: int, *, head: bool) -> Any:
        """transformers' config of the tower, cut to ``num_blocks`` and without a head that is not used."""
        # As JSON, because transformers takes some lists only as lists.
        fields = encoder.model_dump(mode="json", exclude={"model_type"}) | {"num_hidden_layers": num_blocks}
        if self.head_field:
            fields[self.head_field] = head
        return self._from_transformers(self.config_class)(**fields)

    def transformers_class(self, config: Any) -> Any:
        """transformers' class of the tower."""
        return self._from_transformers(self.model_class)

    def _from_transformers(self, name: str) -> Any:
        """A class of :attr:`module`.

        Raises:
            BackendError: The installed transformers lacks it, or has an older state of the family.
        """
        from packaging.version import Version
        from transformers import __version__

        if self.since and Version(__version__) < Version(self.since):
            raise BackendError(
                f"{self.model_type} needs transformers {self.since} or newer, and {__version__} is installed"
            )
        try:
            return getattr(import_module(self.module), name)
        except (ImportError, AttributeError) as error:
            raise BackendError(
                f"{self.model_type}: transformers {__version__} has no {self.module}.{name}"
            ) from error

    def unused(self, num_blocks: int) -> tuple[str, ...]:
        """Parameters of transformers' module that no forward of a tower of ``num_blocks`` touches."""
        return ()

    def image_processor_class(self) -> Any:
        """Class of the image processor, on Pillow."""
        return getattr(import_module("transformers"), self.image_processor)

    def image_processor_defaults(self, encoder: EncoderConfig) -> dict[str, Any]:
        """Arguments of the image processor for a checkpoint that brings no processor config of its own."""
        square = {"height": encoder.image_size, "width": encoder.image_size}
        return {"size": {"shortest_edge": encoder.image_size}, "crop_size": square}

    def image_processor_settings(self, encoder: Any) -> dict[str, Any]:
        """Arguments of the image processor that follow from the encoder, whatever a checkpoint says."""
        return {}

    # --- running --------------------------------------------------------------------------------------

    def stem(self, model: Any, pixel_values: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Everything before the first block.

        Args:
            model: transformers' module.
            pixel_values: (images, channels, height, width), in the dtype of the parameters.

        Returns:
            Hidden state 0 as the blocks take it, usually (images, tokens, hidden_size), and the keyword
            arguments of every block.
        """
        raise not_given(self, "stem")

    def as_tokens(self, hidden_states: Tensor) -> Tensor:
        """A hidden state as (images, tokens, hidden_size), for blocks that keep it in another shape."""
        return hidden_states

    def merge(self, model: Any, hidden_states: Tensor) -> Tensor:
        """The tower's own output for the last hidden state, (images, merged tokens, width).

        Called for a family with ``out_hidden_size``, with what the post-norm made of that state.
        """
        raise not_given(self, "merge")

    def take(
        self, info: VisionEncoderInfo, inputs: Mapping[str, Any], images: Sequence[int]
    ) -> dict[str, Any]:
        """Some images of a batch, as a batch of their own.

        Args:
            info: The encoder's facts.
            inputs: What the module was called with.
            images: Their indices, ascending; at least one.
        """
        return {name: value if value is None else value[list(images)] for name, value in inputs.items()}

    def block_list(self, model: nn.Module) -> nn.ModuleList:
        """The blocks, in order."""
        blocks: nn.ModuleList = model.get_submodule(self.blocks)  # type: ignore[assignment]  # a family names one
        return blocks


# --- shapes of the layers that every family is made of ------------------------------------------------


def linear(name: str, inputs: int, outputs: int, *, bias: bool = True) -> Shapes:
    """A torch.nn.Linear."""
    return {f"{name}.weight": (outputs, inputs)} | ({f"{name}.bias": (outputs,)} if bias else {})


def layer_norm(name: str, width: int) -> Shapes:
    """A torch.nn.LayerNorm; an empty ``name`` leaves the bare parameter names."""
    prefix = f"{name}." if name else ""
    return {f"{prefix}weight": (width,), f"{prefix}bias": (width,)}


def conv_patches(name: str, encoder: EncoderConfig, *, bias: bool = True) -> Shapes:
    """The Conv2d that cuts an image into patches."""
    weight = (encoder.hidden_size, encoder.num_channels, encoder.patch_size, encoder.patch_size)
    return {f"{name}.weight": weight} | ({f"{name}.bias": (encoder.hidden_size,)} if bias else {})


def num_positions(encoder: EncoderConfig) -> int:
    """Patches of an image of the encoder's own size: rows of its position table, prefix tokens aside."""
    return (encoder.image_size // encoder.patch_size) ** 2
