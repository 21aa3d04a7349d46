"""What an encoder family tells the rest: its facts, and where its stages live in transformers' module.

Importing a family loads no torch. The methods that build or run something import it themselves, so that
``plan`` can ask any family for its facts.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar

from ..errors import BackendError
from ..images.resize import ResizeRule
from ..schemas import EncoderConfig
from .aliases import BlockInputs, FromTransformers, Norm, Reads, RunBlock
from .batch import Batch
from .facts import Grid, VisionEncoderInfo
from .reading import Reading
from .reference import B, L, ReferenceFamily
from .shapes import Shapes, conv_patches, layer_norm, linear, num_positions

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ..images.preprocess import ImagePreprocessor

C = TypeVar("C", bound=EncoderConfig)

IMAGENET_MEAN_STD = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
"""How images are normalised by ImageNet's statistics, as arguments of an image processor."""


class EncoderFamily(ReferenceFamily[B, L], Generic[C, B, L]):
    """The adapter of one model_type: a subclass per family, without state, one instance in the registry.

    A subclass is of :class:`~vision_composer.encoders.dense.DenseFamily` (images of one size, as a batch), of
    :class:`~vision_composer.encoders.packed.PackedFamily` (images of any size, in one sequence), or of this
    class itself. The type parameters are the family's config block, its batch, and its layout: what
    :meth:`layout` makes of a batch for all blocks.
    """

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
    runs_own_forward: ClassVar[bool] = False
    """Whether :meth:`run` calls transformers' forward, which calls the blocks itself."""
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
    tiny: ClassVar[Mapping[str, object]] = MappingProxyType({})
    """Fields of a small encoder that ``vision_composer.testing`` builds, where its own do not fit."""
    vlm: ClassVar[str] = ""
    """model_type of the vision-language model in whose checkpoints the tower's tensors have other names,
    which only that model's conversion mapping in transformers knows."""
    other_names: ClassVar[tuple[str, ...]] = ()
    """Names that some config.json has for the tower's model_type in its vision_config: the whole model's."""
    read_by: ClassVar[Mapping[str, Reading]] = MappingProxyType({})
    """model_type of a model that has this tower if its vision_config names none -> how it reads it."""

    # --- facts ----------------------------------------------------------------------------------------

    @abstractmethod
    def info(self, encoder: C, resize: ResizeRule | None = None) -> VisionEncoderInfo:
        """The encoder's facts.

        Args:
            encoder: The config block.
            resize: How images are resized, for a family that takes them at their own size; default: as the
                family's image processor does if nothing else is said.
        """

    @abstractmethod
    def stem_shapes(self, encoder: C) -> Shapes:
        """Tensors of everything before the first block, under the names of a checkpoint of the tower."""

    @abstractmethod
    def block_shapes(self, encoder: C) -> Shapes:
        """Tensors of one block, named from the block on."""

    def norm_shapes(self, encoder: C) -> Shapes:
        """Tensors of the post-norm, named from it on."""
        return layer_norm("", encoder.hidden_size)

    def head_shapes(self, encoder: C) -> Shapes:
        """Tensors of the head, named from it on; for a family with a :attr:`head`."""
        return {}

    def head_flops(self, encoder: C, num_tokens: int) -> int:
        """Floating-point operations of the head's matrix products for one image."""
        return 0

    def attention_pairs(
        self, encoder: C, num_blocks: int, info: VisionEncoderInfo, size: tuple[int, int]
    ) -> int:
        """Pairs of tokens that attend to each other, summed over the blocks, in an image (width, height)."""
        return num_blocks * info.sequence_length(*size) ** 2

    def extra_flops(self, encoder: C, num_blocks: int, info: VisionEncoderInfo, size: tuple[int, int]) -> int:
        """Floating-point operations of the blocks beside those of their linear layers and of attention."""
        return 0

    def head_modules(self) -> tuple[str, ...]:
        """Paths of what stands behind the post-norm: the pooling head, or the merger's modules."""
        return (self.head,) if self.head else ()

    def block_name(self, index: int) -> str:
        """Name of block ``index`` in a checkpoint of the tower."""
        return f"{self.blocks}.{index}"

    def shapes(self, encoder: C, num_blocks: int, *, post_norm: bool, head: bool) -> Shapes | None:
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

    def transformers_config(self, encoder: C, num_blocks: int, *, head: bool) -> FromTransformers:
        """transformers' config of the tower, cut to ``num_blocks`` and without a head that is not used."""
        # As JSON, because transformers takes some lists only as lists.
        fields = encoder.model_dump(mode="json", exclude={"model_type"}) | {"num_hidden_layers": num_blocks}
        if self.head_field:
            fields[self.head_field] = head
        return self._from_transformers(self.config_class)(**fields)

    def transformers_class(self, config: FromTransformers) -> FromTransformers:
        """transformers' class of the tower."""
        return self._from_transformers(self.model_class)

    def _from_transformers(self, name: str) -> FromTransformers:
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

    def compared_fields(self, encoder: C, config: FromTransformers) -> set[str]:
        """Fields of a checkpoint's own config that must say what ``encoder`` says.

        Args:
            encoder: The config block.
            config: transformers' config of it.
        """
        return set(type(encoder).model_fields)

    def image_processor_class(self) -> FromTransformers:
        """Class of the image processor, on Pillow."""
        return getattr(import_module("transformers"), self.image_processor)

    def image_processor_defaults(self, encoder: C) -> dict[str, object]:
        """Arguments of the image processor for a checkpoint that brings no processor config of its own."""
        square = {"height": encoder.image_size, "width": encoder.image_size}
        return {"size": {"shortest_edge": encoder.image_size}, "crop_size": square}

    def image_processor_settings(self, encoder: C) -> dict[str, object]:
        """Arguments of the image processor that follow from the encoder, whatever a checkpoint says."""
        return {}

    @abstractmethod
    def preprocessor(self, encoder: C, folder: Path | None) -> ImagePreprocessor:
        """What turns images into the inputs of the tower.

        Args:
            encoder: The config block.
            folder: The checkpoint's, whose processor config counts; None when there is none.

        Raises:
            WeightsError: The folder's processor config is broken, or its values do not work.
            MissingDependencyError: The installed transformers has the processor for another library only.
        """

    # --- running --------------------------------------------------------------------------------------

    @abstractmethod
    def read(self, model: FromTransformers, info: VisionEncoderInfo, inputs: Mapping[str, object]) -> B:
        """The batch that the tower was called with.

        Args:
            model: transformers' module.
            info: The encoder's facts.
            inputs: What the image processor of the family returns, by the same names.

        Raises:
            InputError: Inputs that are missing, unknown, of another shape or dtype, or do not fit together.
        """

    @abstractmethod
    def blank(self, info: VisionEncoderInfo, device: torch.device) -> B:
        """A batch of the smallest image there can be: what a process runs that has no image of its own."""

    def layout(self, model: FromTransformers, batch: B, device: torch.device, dtype: torch.dtype) -> L:
        """What all blocks need to know about the batch; kept for batches of one ``layout_key``.

        Args:
            model: transformers' module.
            batch: On the tower's device, or still on the CPU: only its grids are looked at by families that
                keep their layouts.
            device: The tower's.
            dtype: The tower's.
        """
        return None  # type: ignore[return-value]  # a family whose blocks need nothing has L = None

    @abstractmethod
    def embed(self, model: FromTransformers, batch: B, layout: L) -> tuple[Tensor, BlockInputs]:
        """Everything before the first block.

        Returns:
            Hidden state 0 as the blocks take it, and keyword arguments that are the same for all blocks.
        """

    def block_inputs(self, block: int, layout: L) -> BlockInputs:
        """Further keyword arguments of a block, counted from 0."""
        return {}

    def run(
        self, model: FromTransformers, batch: B, layout: L, reads: Reads, run_block: RunBlock
    ) -> dict[int, Tensor]:
        """Run the blocks: the only loop over them.

        Args:
            model: transformers' module.
            batch: The images, on the tower's device.
            layout: Their layout.
            reads: The hidden states that are wanted, and what is made of each as soon as it is there, so that
                no state is kept longer than it is needed.
            run_block: Runs one block.

        Returns:
            What ``reads`` made, by hidden state.
        """
        hidden_states, inputs = self.embed(model, batch, layout)
        found = {0: reads[0](hidden_states)} if 0 in reads else {}
        for k, block in enumerate(self.block_list(model), start=1):
            hidden_states = run_block(block, hidden_states, **inputs, **self.block_inputs(k - 1, layout))
            if k in reads:
                found[k] = reads[k](hidden_states)
        return found

    def tokens(self, model: FromTransformers, hidden_states: Tensor, layout: L) -> Tensor:
        """A hidden state as (..., tokens, hidden_size), images and their tokens in the order of the input."""
        return hidden_states

    def block_list(self, model: nn.Module) -> nn.ModuleList:
        """The blocks, in order."""
        blocks: nn.ModuleList = model.get_submodule(self.blocks)  # type: ignore[assignment]  # a family names one
        return blocks

    def join(self, images: Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
        """Features of single images, in the form of those of a batch, each in memory of its own."""
        import torch

        return tuple(image.clone(memory_format=torch.contiguous_format) for image in images)

    # --- the tower's own output -----------------------------------------------------------------------

    def own_states(self, encoder: C) -> tuple[int, ...]:
        """Hidden states that the tower's own output is made of: the last one, and inner ones that join it."""
        return (encoder.num_hidden_layers,)

    def own_state(self, model: FromTransformers, layer: int, hidden_states: Tensor, layout: L) -> Tensor:
        """What the own output needs of inner hidden state ``layer``, made as soon as the state is there."""
        return hidden_states

    def own_output(
        self, model: FromTransformers, states: Mapping[int, Tensor], norm: Norm, batch: B, layout: L
    ) -> list[Tensor]:
        """The tower's own output, as parts of one form that belong together.

        Args:
            model: transformers' module.
            states: What :meth:`own_state` made of the inner ones of :meth:`own_states`, and the last hidden
                state as it is.
            norm: The post-norm, where the output has it; else it changes nothing.
            batch: The images.
            layout: Their layout.

        Returns:
            The merger's output, or the last hidden state, as :meth:`tokens` has it; further parts follow for
            what the encoder adds from inner hidden states.
        """
        return [self.merged(model, norm(states[max(states)]), layout)]

    def merged(self, model: FromTransformers, hidden_states: Tensor, layout: L) -> Tensor:
        """What the merger makes of the last hidden state, images in input order; without one, its tokens."""
        return self.tokens(model, hidden_states, layout)

    def own_prefix_and_suffix(self, info: VisionEncoderInfo) -> tuple[int, int]:
        """Non-patch tokens in front of and behind the patches of the own output: a merger leaves none."""
        return (0, 0) if info.merges else (info.num_prefix_tokens, info.num_suffix_tokens)

    def pooled(self, model: FromTransformers, hidden_states: Tensor, layout: L) -> Tensor:
        """The pooling head's one token of every image, as :meth:`tokens` has them.

        Args:
            model: transformers' module.
            hidden_states: The last hidden state, post-normed.
            layout: That of the batch.
        """
        pooled: Tensor = model.get_submodule(self.head)(hidden_states)
        return pooled.unsqueeze(1)

    def prove(self, model: FromTransformers, info: VisionEncoderInfo) -> None:
        """Find out by running whether the model fits its adapter, where nothing else can tell.

        Raises:
            BackendError: It does not fit.
        """


AnyFamily: TypeAlias = EncoderFamily[Any, Any, Any]
"""A family of whatever config block, batch and layout."""

__all__ = [
    "IMAGENET_MEAN_STD",
    "AnyFamily",
    "Batch",
    "BlockInputs",
    "EncoderFamily",
    "FromTransformers",
    "Grid",
    "Norm",
    "Reading",
    "Reads",
    "RunBlock",
    "Shapes",
    "VisionEncoderInfo",
    "conv_patches",
    "layer_norm",
    "linear",
    "num_positions",
]
