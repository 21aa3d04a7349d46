"""The interface of an encoder family: its facts, and how its stages run in transformers' module.

Importing a family loads no torch, so that ``plan`` can ask any family for its facts. Methods that build or
run something import torch themselves.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias

from ..errors import BackendError
from ..images.resize import ResizeRule
from .aliases import BlockInputs, FromTransformers, Norm, Reads, RunBlock
from .facts import Grid as Grid
from .facts import VisionEncoderInfo
from .processing import C, ProcessorFamily
from .reading import Reading
from .reference import B, L, ReferenceFamily
from .shapes import Part, Shapes, below, expanded, layer_norm
from .shapes import conv_patches as conv_patches  # this and the like: plugins of 0.1 import them from here
from .shapes import linear as linear
from .shapes import num_positions as num_positions

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from .padding import Padding

IMAGENET_MEAN_STD = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
"""Mean and standard deviation of ImageNet, as arguments of an image processor."""


class EncoderFamily(ProcessorFamily[C], ReferenceFamily[B, L], Generic[C, B, L]):
    """One encoder family: everything that is particular to one model_type. It keeps no state.

    Subclass :class:`~vision_composer.encoders.dense.DenseFamily` for an encoder that takes images of one size
    as a batch, :class:`~vision_composer.encoders.packed.PackedFamily` for one that takes images of any size
    in one sequence, and this class for anything else. The type parameters are the family's config block, its
    batch, and its layout: what :meth:`layout` computes once per batch for all blocks.
    """

    model_type: ClassVar[str]
    module: ClassVar[str] = "transformers"
    """The module that has the two classes; transformers does not export all towers at its top."""
    since: ClassVar[str] = ""
    """The first version of transformers that runs the family as here; empty if every supported one does."""
    model_class: ClassVar[str]
    """Name of the tower's class."""
    config_class: ClassVar[str]
    """Name of the class of the tower's config."""
    blocks: ClassVar[str] = "encoder.layers"
    """Path of the ModuleList of blocks."""
    post_norm: ClassVar[str] = "post_layernorm"
    """Path of the norm after the last block; empty if there is none."""
    norms_last_hidden_state: ClassVar[bool] = True
    """Whether transformers applies the post-norm to its last_hidden_state."""
    head: ClassVar[str] = ""
    """Path of the pooling head or of the merger; empty if there is none."""
    head_field: ClassVar[str] = ""
    """The config field that says whether the head is there."""
    buffers: ClassVar[frozenset[str]] = frozenset()
    """Checkpoint tensors that are buffers, not parameters: the last parts of their names."""
    optional: ClassVar[tuple[str, ...]] = ()
    """Parts of tensors' names in transformers' module, such as ``layer_scale``. A checkpoint may leave out
    all tensors of such a part, which then keep the values that transformers initialises them with."""
    attention_backends: ClassVar[tuple[str, ...]] = ()
    """The attention backends that can run the blocks, the best first; empty if all can."""
    tiny: ClassVar[Mapping[str, object]] = MappingProxyType({})
    """Fields of the small encoder that ``vision_composer.testing`` builds, where its defaults do not fit."""
    vlm: ClassVar[str] = ""
    """model_type of the vision-language model whose checkpoints name the tower's tensors in a way that only
    that model's conversion mapping in transformers knows; empty if there is none."""
    vlm_module: ClassVar[str] = "vision_tower"
    """Where transformers' model of that VLM has the tower."""
    vlm_root: ClassVar[str] = "vision_tower"
    """What the tower is called in the VLM's checkpoints."""
    other_names: ClassVar[tuple[str, ...]] = ()
    """Other names of this tower in the vision_config of some config.json, which repeats the whole model's."""
    read_by: ClassVar[Mapping[str, Reading]] = MappingProxyType({})
    """model_type of a VLM -> how it reads this tower, which it has if its vision_config names no other."""

    # --- facts ----------------------------------------------------------------------------------------

    @abstractmethod
    def info(self, encoder: C, resize: ResizeRule | None = None) -> VisionEncoderInfo:
        """Return the encoder's facts.

        Args:
            encoder: The config block.
            resize: How images are resized. Default: as for a checkpoint without a processor config.
        """

    @abstractmethod
    def stem_shapes(self, encoder: C) -> Shapes:
        """Return the tensors of everything before the first block, named as in a checkpoint of the tower."""

    @abstractmethod
    def block_shapes(self, encoder: C) -> Shapes:
        """Return the tensors of one block, with names relative to the block."""

    def norm_shapes(self, encoder: C) -> Shapes:
        """Return the tensors of the post-norm, with names relative to it."""
        return layer_norm("", encoder.hidden_size)

    def head_shapes(self, encoder: C) -> Shapes:
        """Return the tensors of the :attr:`head`, with names relative to it."""
        return {}

    def head_width(self, encoder: C) -> int:
        """Return the width of the token that the pooling head makes of an image."""
        return encoder.width

    def head_flops(self, encoder: C, num_tokens: int) -> int:
        """Count the floating-point operations of the head's matrix products for one image."""
        return 0

    def attention_pairs(
        self, encoder: C, num_blocks: int, info: VisionEncoderInfo, size: tuple[int, int]
    ) -> int:
        """Count the pairs of tokens that attend to each other in one image (width, height), in all blocks."""
        return num_blocks * info.sequence_length(*size) ** 2

    def extra_flops(self, encoder: C, num_blocks: int, info: VisionEncoderInfo, size: tuple[int, int]) -> int:
        """Count the floating-point operations of the blocks outside their linear layers and attention."""
        return 0

    def head_modules(self) -> tuple[str, ...]:
        """Return the paths of the modules after the post-norm: the pooling head, or the merger's modules."""
        return (self.head,) if self.head else ()

    def block_name(self, index: int) -> str:
        """Return the name of block ``index`` in a checkpoint of the tower."""
        return f"{self.blocks}.{index}"

    def parts(self, encoder: C, num_blocks: int, *, post_norm: bool, head: bool) -> list[Part] | None:
        """Return the parts of a tower cut to ``num_blocks``; None if the family cannot know them."""
        parts = [
            Part(self.stem_shapes(encoder)),
            Part(self.block_shapes(encoder), self.block_name, range(num_blocks)),
        ]
        if post_norm:
            parts.append(Part(below(self.post_norm, self.norm_shapes(encoder))))
        if head:
            parts.append(Part(below(self.head, self.head_shapes(encoder))))
        return parts

    def shapes(self, encoder: C, num_blocks: int, *, post_norm: bool, head: bool) -> Shapes | None:
        """Return every tensor that a tower cut to ``num_blocks`` reads; None if the family cannot know."""
        parts = self.parts(encoder, num_blocks, post_norm=post_norm, head=head)
        return None if parts is None else expanded(parts)

    # --- building -------------------------------------------------------------------------------------

    def transformers_config(self, encoder: C, num_blocks: int, *, head: bool) -> FromTransformers:
        """Make transformers' config of the tower, cut to ``num_blocks``, with a pooling head if ``head``."""
        # Dumped as JSON, because transformers accepts some lists only as lists.
        fields = encoder.model_dump(mode="json", exclude={"model_type"}) | {"num_hidden_layers": num_blocks}
        if self.head_field:
            fields[self.head_field] = head
        return self._from_transformers(self.config_class)(**fields)

    def transformers_class(self, config: FromTransformers) -> FromTransformers:
        """Return transformers' class of the tower."""
        return self._from_transformers(self.model_class)

    def _from_transformers(self, name: str) -> FromTransformers:
        """Import a class from :attr:`module`.

        Raises:
            BackendError: If the installed transformers lacks the class, or is older than :attr:`since`.
        """
        from packaging.version import Version
        from transformers import __version__

        if self.since and Version(__version__) < Version(self.since):
            raise BackendError(
                f"{self.model_type} needs transformers {self.since} or newer, but {__version__} is installed"
            )
        try:
            return getattr(import_module(self.module), name)
        except (ImportError, AttributeError) as error:
            raise BackendError(
                f"{self.model_type} cannot be built: transformers {__version__} has no {self.module}.{name}; "
                "install a newer one"
            ) from error

    def unused(self, num_blocks: int) -> tuple[str, ...]:
        """Return the parameters of transformers' module that a tower of ``num_blocks`` never uses."""
        return ()

    def compared_fields(self, encoder: C, config: FromTransformers) -> set[str]:
        """Return the fields in which a checkpoint's own config must agree with ``encoder``.

        Args:
            encoder: The config block.
            config: transformers' config of the same encoder.
        """
        return set(type(encoder).model_fields)

    # --- running --------------------------------------------------------------------------------------

    @abstractmethod
    def read(self, model: FromTransformers, info: VisionEncoderInfo, inputs: Mapping[str, object]) -> B:
        """Check what the tower was called with and return it as a batch.

        Args:
            model: transformers' module.
            info: The encoder's facts.
            inputs: What the family's image processor returns, by the same names; none is None.

        Raises:
            InputError: If inputs are missing, unknown, of a wrong shape or dtype, or do not fit together.
        """

    @abstractmethod
    def blank(self, info: VisionEncoderInfo, device: torch.device) -> B:
        """Return a batch of one image of the smallest size, for a process that has no image of its own."""

    def layout(self, model: FromTransformers, batch: B, device: torch.device, dtype: torch.dtype) -> L:
        """Compute what all blocks need to know about the batch. It is kept for batches of one ``layout_key``.

        Args:
            model: transformers' module.
            batch: The images. If the batch has a ``layout_key``, only its grids may be used.
            device: The tower's device.
            dtype: The tower's dtype.
        """
        return None  # type: ignore[return-value]  # a family whose blocks need nothing has L = None

    @abstractmethod
    def embed(self, model: FromTransformers, batch: B, layout: L) -> tuple[Tensor, BlockInputs]:
        """Run everything before the first block.

        Returns:
            Hidden state 0 as the blocks take it, and keyword arguments that are the same for all blocks.
        """

    def block_inputs(self, block: int, layout: L) -> BlockInputs:
        """Return keyword arguments of one block, counted from 0, beside those of :meth:`embed`."""
        return {}

    def run(
        self, model: FromTransformers, batch: B, layout: L, reads: Reads, run_block: RunBlock
    ) -> dict[int, Tensor]:
        """Run the blocks.

        Args:
            model: transformers' module.
            batch: The images, on the tower's device.
            layout: The batch's layout.
            reads: The hidden states to keep, with a function that is applied to each as soon as it is
                computed, so that no state is kept longer than needed.
            run_block: Runs one block.

        Returns:
            The results of the functions of ``reads``, by hidden state.
        """
        hidden_states, inputs = self.embed(model, batch, layout)
        found = {0: reads[0](hidden_states)} if 0 in reads else {}
        for k, block in enumerate(self.block_list(model), start=1):
            hidden_states = run_block(block, hidden_states, **inputs, **self.block_inputs(k - 1, layout))
            if k in reads:
                found[k] = reads[k](hidden_states)
        return found

    def tokens(self, model: FromTransformers, hidden_states: Tensor, layout: L) -> Tensor:
        """Return a hidden state as (..., tokens, hidden_size), with images and tokens in input order."""
        return hidden_states

    def block_list(self, model: nn.Module) -> nn.ModuleList:
        """Return the blocks, in order.

        Raises:
            BackendError: If nothing tells which modules they are.
        """
        blocks: nn.ModuleList = model.get_submodule(self.blocks)  # type: ignore[assignment]  # a family names one
        return blocks

    def has_fixed_shapes(self, info: VisionEncoderInfo) -> bool:
        """Return whether what blocks are called with differs in the number of images only."""
        return not info.any_size

    def padding(self, info: VisionEncoderInfo) -> Padding[B, L] | None:
        """Return how batches are padded to a number of patches, to be recorded for it.

        None, as here, if more than that number decides which shapes there are on the device, or if the host
        reads anything from there.
        """
        return None

    def compile_blocks(self, model: nn.Module, compile_block: Callable[[nn.Module], None]) -> None:
        """Compile, in place, the blocks that :meth:`run` does not leave to ``run_block``: none."""

    def join(self, images: Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
        """Join features of single images into the form of a batch's, each in memory of its own."""
        import torch

        return tuple(image.clone(memory_format=torch.contiguous_format) for image in images)

    # --- the tower's own output -----------------------------------------------------------------------

    def own_states(self, encoder: C) -> tuple[int, ...]:
        """Return the hidden states that the tower's own output is made of: the last, and any inner ones."""
        return (encoder.num_hidden_layers,)

    def own_state(self, model: FromTransformers, layer: int, hidden_states: Tensor, layout: L) -> Tensor:
        """Compute what the own output needs of inner hidden state ``layer``, as soon as it is computed."""
        return hidden_states

    def own_output(
        self,
        model: FromTransformers,
        states: Mapping[int, Tensor],
        norm: Norm,
        batch: B,
        layout: L,
        run_block: RunBlock,
    ) -> list[Tensor]:
        """Compute the tower's own output, as a list of parts.

        Args:
            model: transformers' module.
            states: The last hidden state as it is, and the results of :meth:`own_state` for the inner ones of
                :meth:`own_states`.
            norm: The post-norm if the output is normed; otherwise a function that changes nothing.
            batch: The images.
            layout: The batch's layout.
            run_block: Runs one block, if the encoder has some behind its last hidden state.

        Returns:
            First the merger's output, or without a merger the last hidden state in the form of
            :meth:`tokens`; then a part for each thing that the encoder adds from inner hidden states.
        """
        return [self.merged(model, norm(states[max(states)]), layout)]

    def merged(self, model: FromTransformers, hidden_states: Tensor, layout: L) -> Tensor:
        """Merge the last hidden state, images in input order; without a merger, return its tokens."""
        return self.tokens(model, hidden_states, layout)

    def own_prefix_and_suffix(self, info: VisionEncoderInfo) -> tuple[int, int]:
        """Count the non-patch tokens before and after the patches of the own output; a merger leaves none."""
        return (0, 0) if info.merges else (info.num_prefix_tokens, info.num_suffix_tokens)

    def pooled(self, model: FromTransformers, hidden_states: Tensor, layout: L) -> Tensor:
        """Run the pooling head, which makes one token of every image, in the form of :meth:`tokens`.

        Args:
            model: transformers' module.
            hidden_states: The last hidden state, post-normed.
            layout: The batch's layout.
        """
        pooled: Tensor = model.get_submodule(self.head)(hidden_states)
        return pooled.unsqueeze(1)

    def prove(self, model: FromTransformers, info: VisionEncoderInfo) -> None:
        """Check by running whether the model fits its family, if nothing else can tell.

        Raises:
            BackendError: If it does not fit.
        """


AnyFamily: TypeAlias = EncoderFamily[Any, Any, Any]
"""A family with any config block, batch and layout."""
