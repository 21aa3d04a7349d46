"""What every family's config block has in common: the torch-free facts that the cross-field rules need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args, get_origin

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from ..base import ConfigModel, invalid, problem

RopeType = Literal["none", "rope_2d", "rope_3d"]

Activation = Literal[
    "gelu",
    "gelu_10",
    "gelu_accurate",
    "gelu_fast",
    "gelu_new",
    "gelu_python",
    "gelu_pytorch_tanh",
    "hardswish",
    "laplace",
    "leaky_relu",
    "linear",
    "mish",
    "quick_gelu",
    "relu",
    "relu2",
    "relu6",
    "sigmoid",
    "silu",
    "swish",
    "tanh",
]
"""The stateless activations of ``transformers.activations.ACT2FN``."""


def _square(value: object) -> object:
    """Transformers saves some square sizes as pairs; ``[448, 448]`` means 448."""
    if isinstance(value, (list, tuple)) and len(value) == 2 and value[0] == value[1]:
        return value[0]
    if isinstance(value, (list, tuple, dict)):
        raise PydanticCustomError("VC103", "expected one side in pixels, such as 224; only squares are taken")
    return value


# No config may ask for work without end. Each limit lies far above the largest value of a released encoder,
# which stands beside it.
MAX_BLOCKS = 1_024  # 48
MAX_SIDE = 65_536  # 2,016 pixels
Count = Annotated[int, Field(ge=1, le=131_072)]  # 13,696, the width of an MLP
"""A width, or another number that has no type of its own."""
Depth = Annotated[int, Field(ge=1, le=MAX_BLOCKS)]
"""A number of blocks."""
Few = Annotated[int, Field(ge=1, le=1_024)]  # 4
"""Frames, tiles, patches along a merged square: what encoders have a handful of."""
Extra = Annotated[int, Field(ge=0, le=1_024)]  # 10
"""Tokens beside the patches."""
Rows = Annotated[int, Field(ge=1, le=1 << 24)]  # 131,072
"""Rows of a position table."""
Blocks = Annotated[
    tuple[Annotated[int, Field(ge=0, lt=MAX_BLOCKS)], ...], Field(strict=False, max_length=MAX_BLOCKS)
]
"""Blocks of the encoder, counted from 0."""
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
"""Pixels along one side."""
_SIDE = {"type": "integer", "minimum": 1, "maximum": MAX_SIDE}
SquareSize = Annotated[
    Side,
    BeforeValidator(_square),
    WithJsonSchema({"anyOf": [_SIDE, {"type": "array", "items": _SIDE, "minItems": 2, "maxItems": 2}]}),
]
Epsilon = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class EncoderConfig(ConfigModel):
    """The facts about an encoder that the cross-field rules need; families of packed inputs start here.

    A family is a subclass with ``model_type: Literal["..."]``, its own fields under transformers' names,
    and the facts below: as fields where transformers names them so, as properties where it does not. A
    variant, another model_type with the same tower, is one more name in the ``Literal``.
    """

    rope_type: ClassVar[RopeType] = "none"
    generic: ClassVar[bool] = False
    """Whether the generic adapter runs the encoder: transformers' own forward, whatever it does."""
    packed: ClassVar[bool] = False
    """Whether images of any size share one sequence, at their own resolution."""
    deepstack: ClassVar[bool] = False
    """Whether the family merges hidden states of inner blocks too."""
    tiled: ClassVar[bool] = False
    """Whether images are cut into tiles, each with a class token that the encoder's own output keeps."""
    merger: ClassVar[bool] = False
    """Whether the encoder's own output goes through a merger behind its last block."""
    feeds_language_model: ClassVar[bool] = False
    """Whether a language model reads the encoder's own output, without a connector behind it."""
    width_key: ClassVar[str] = "hidden_size"
    """The field that holds the width of a token inside the encoder."""
    heads_key: ClassVar[str] = "num_attention_heads"
    """The field that holds the attention heads per block."""
    depth_fields: ClassVar[frozenset[str]] = frozenset({"num_hidden_layers"})
    """Fields that say how much of the encoder there is: a saved tower may hold less than the checkpoint."""
    aliases: ClassVar[Mapping[str, str]] = {}
    """Other names that transformers reads a field by -> the field."""
    inert_fields: ClassVar[frozenset[str]] = frozenset(
        {
            "attention_dropout",
            "attention_probs_dropout_prob",
            "drop_path_rate",
            "hidden_dropout_prob",
            "initializer_factor",
            "initializer_range",
            "layer_scale_init_value",
            "layerscale_value",
            "projection_dim",
            "use_mask_token",
        }
    )
    """Fields that do not change what the tower computes in inference; families add theirs."""
    foreign_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields of transformers' config that a block lacks because they say nothing of the tower: transformers
    works them out of others, or they are about what stands behind it."""
    fixed_fields: ClassVar[Mapping[str, object]] = {}
    """Fields of published configs that a block lacks as its encoder knows one value only -> the value."""

    model_type: str
    """The encoder's model_type in transformers; decides which other keys this block takes."""

    if TYPE_CHECKING:  # At run time a property would become the default of the field that takes its place.

        @property
        def hidden_size(self) -> int: ...
        @property
        def num_hidden_layers(self) -> int: ...
        @property
        def num_attention_heads(self) -> int: ...
        @property
        def num_channels(self) -> int: ...
        @property
        def image_size(self) -> int: ...
        @property
        def patch_size(self) -> int: ...

    @classmethod
    def model_types(cls) -> tuple[str, ...]:
        """The names that ``model_type`` takes, the family's own first; none where it takes any string."""
        annotation = cls.model_fields["model_type"].annotation
        return get_args(annotation) if get_origin(annotation) is Literal else ()

    @classmethod
    def is_inert(cls, field: str) -> bool:
        """Whether ``field`` does not change what the tower computes in inference."""
        return field in cls.inert_fields

    @property
    def width(self) -> int:
        """Width of a token inside the encoder."""
        return self.hidden_size

    @property
    def merged_width(self) -> int:
        """Width of a token behind the merger; inside the encoder where there is none."""
        return self.width

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens in front of the patches: the class token, then registers."""
        return 0

    @property
    def num_suffix_tokens(self) -> int:
        """Tokens behind the patches; the last is the class token of an encoder that keeps it there."""
        return 0

    @property
    def has_class_token(self) -> bool:
        """Whether there is a class token: the first prefix token, or without one the last suffix token."""
        return self.num_prefix_tokens > 0

    @property
    def has_post_norm(self) -> bool:
        """Whether the family carries a norm behind its last block."""
        return True

    @property
    def has_head(self) -> bool:
        """Whether the checkpoint carries a pooling head behind the post-norm."""
        return False

    @property
    def deepstack_layers(self) -> tuple[int, ...]:
        """Blocks whose outputs are merged beside the last one's, counted from 0."""
        return ()

    def without_deepstack(self) -> Self:
        """The same encoder without the levels that its blocks add to the merged output."""
        return self

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.width // self.num_attention_heads

    def _check(self) -> list[InitErrorDetails]:
        """The rules between fields; families add theirs to ``super()._check()``."""
        problems = []
        if self.width % self.num_attention_heads:
            problems.append(
                problem(
                    "VC208",
                    f"{self.num_attention_heads} heads do not divide {self.width_key} {self.width}",
                    self.heads_key,
                    value=self.num_attention_heads,
                )
            )
        return problems

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if problems := self._check():
            raise invalid(type(self).__name__, *problems)
        return self


class DenseEncoderConfig(EncoderConfig):
    """The fields that every dense encoder has: one that takes images of one size as a batch."""

    hidden_size: Count = 768
    """Width of a token inside the encoder."""
    num_hidden_layers: Depth = 12
    """Blocks in the checkpoint, all of them; negative select_layers count from here."""
    num_attention_heads: Count = 12
    """Attention heads per block; must divide hidden_size."""
    num_channels: Count = 3
    """Colour channels of the input."""
    image_size: SquareSize = 224
    """Side in pixels of the square image the encoder was trained on."""
    patch_size: SquareSize = 16
    """Side in pixels of a square patch."""

    def _check(self) -> list[InitErrorDetails]:
        return [*super()._check(), *check_patch(self)]


class PackedEncoderConfig(EncoderConfig):
    """The fields that most packed encoders have: those of images of any size, which share one sequence."""

    packed: ClassVar[bool] = True

    hidden_size: Count = 1152
    """Width of a token inside the encoder."""
    num_hidden_layers: Depth = 27
    """Blocks in the checkpoint, all of them; negative select_layers count from here."""
    num_attention_heads: Count = 16
    """Attention heads per block; must divide hidden_size."""
    num_channels: Count = 3
    """Colour channels of the input."""
    patch_size: SquareSize = 16
    """Side in pixels of a square patch."""


class RopedEncoderConfig(PackedEncoderConfig):
    """A packed encoder with a rope over rows and columns."""

    rope_type: ClassVar[RopeType] = "rope_2d"

    rope_parameters: dict[str, Any] | None = None
    """The rope's parameters in transformers' form; null for the family's own."""

    def _check(self) -> list[InitErrorDetails]:
        return [*super()._check(), *check_rope(self)]


def check_patch(encoder: EncoderConfig) -> list[InitErrorDetails]:
    """The rule of an encoder of images of one size: a patch fits into them."""
    if encoder.patch_size <= encoder.image_size:
        return []
    message = f"{encoder.patch_size} is larger than image_size {encoder.image_size}: no patch fits"
    return [problem("VC208", message, "patch_size", value=encoder.patch_size)]


def check_ratio(encoder: EncoderConfig, mlp_width: int, mlp_ratio: float) -> list[InitErrorDetails]:
    """The rule of an encoder whose MLP is ``mlp_ratio`` times as wide as a token: it has a width."""
    if mlp_width >= 1:
        return []
    message = f"{mlp_ratio} leaves no width for the MLP beside {encoder.width_key} {encoder.width}"
    return [problem("VC208", message, "mlp_ratio", value=mlp_ratio)]


def check_blocks(encoder: EncoderConfig, key: str) -> list[InitErrorDetails]:
    """The rule of the field ``key`` that names blocks: they exist.

    Its default may name others, too, because every config.json of a model with fewer blocks has it.
    """
    blocks, depth = getattr(encoder, key), encoder.num_hidden_layers
    if blocks == type(encoder).model_fields[key].default:
        return []
    return [
        problem("VC208", missing_block(block, depth), key, i, value=block)
        for i, block in enumerate(blocks)
        if block >= depth
    ]


def missing_block(block: int, depth: int) -> str:
    """Say that an encoder has no such block."""
    return f"block {block} does not exist: the encoder has blocks 0 to {depth - 1}"


def check_table(rows: int, key: str) -> list[InitErrorDetails]:
    """The rule of a position table that is resized to images, of the field ``key``: it is a square."""
    if isqrt(rows) ** 2 == rows:
        return []
    message = f"{rows} is no square: the position table is a grid of as many rows as columns"
    return [problem("VC208", message, key, value=rows)]


def check_square(height: int, width: int) -> list[InitErrorDetails]:
    """The rule of a position table of ``pos_emb_height`` rows and ``pos_emb_width`` columns."""
    if height == width:
        return []
    message = f"{width} is not pos_emb_height {height}: transformers reads a square table"
    return [problem("VC208", message, "pos_emb_width", value=width)]


def check_layer_types(encoder: EncoderConfig, layer_types: Sequence[str] | None) -> list[InitErrorDetails]:
    """The rule of ``layer_types``, where it is not null: it says what every block is."""
    if layer_types is None or len(layer_types) == encoder.num_hidden_layers:
        return []
    message = f"{len(layer_types)} entries for {encoder.num_hidden_layers} blocks"
    return [problem("VC208", message, "layer_types", value=list(layer_types))]


def check_key_value_heads(encoder: EncoderConfig, heads: int) -> list[InitErrorDetails]:
    """The rule of ``num_key_value_heads``: each of them serves as many heads of queries."""
    if encoder.num_attention_heads % heads == 0:
        return []
    message = f"{heads} do not divide {encoder.heads_key} {encoder.num_attention_heads}"
    return [problem("VC208", message, "num_key_value_heads", value=heads)]


def check_rope(encoder: EncoderConfig) -> list[InitErrorDetails]:
    """The rule of an axial rope: rows and columns each rotate pairs of features of a head."""
    heads = encoder.num_attention_heads
    if encoder.width % heads == 0 and encoder.head_size % 4:
        message = (
            f"the rope needs a head size divisible by 4, not {encoder.head_size} "
            f"({encoder.width_key} {encoder.width} / {heads} heads)"
        )
        return [problem("VC208", message, encoder.heads_key, value=heads)]
    return []
