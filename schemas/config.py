"""The config of one vision encoder as a vision-language model uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import InitErrorDetails

from ..registry import Registry
from ..text import did_you_mean
from .base import ConfigModel, invalid, problem
from .connectors import AnyConnectorConfig
from .encoders import AnyEncoderConfig, RopeType
from .encoders.base import MAX_BLOCKS
from .image_processor import ImageProcessorConfig
from .reduce import AnyReduceConfig
from .root import RootConfig, check_function
from .running import CompileConfig, ParallelConfig, Quantize, TrainingConfig
from .tiling import AnyTilingConfig
from .weights import DType, SourceConfig, WeightsConfig

PostNorm = Literal["auto", "none", "last", "each"]
Output = Literal["features", "tiles", "embeds"]

FEATURE_SELECT_STRATEGIES: tuple[str, ...] = ("class", "default", "full")
"""Names that feature_select_strategy takes; plugins add to them."""

_LLAVA_STRATEGIES = {"patch": "default", "cls_patch": "full"}

FEATURE_SELECTOR_PLUGINS = Registry[Callable[..., Any]](
    "feature selector", "feature_selectors", FEATURE_SELECT_STRATEGIES, check_function
)
"""Name -> selector, of those that plugins add."""


class TowerConfig(RootConfig):
    """A vision encoder as a VLM uses it: which encoder, which weights, which features of it, run how."""

    encoder: Annotated[AnyEncoderConfig, Field(examples=[{"model_type": "clip_vision_model"}])]
    """The encoder's architecture: model_type, then that family's own fields under transformers' names."""
    image_processor: Annotated[
        ImageProcessorConfig, Field(examples=[{"size": 448}, {"type": "LlavaNextImageProcessor"}])
    ] = ImageProcessorConfig()
    """How images become pixels, where that is not what the checkpoint's own processor config says."""
    weights: Annotated[
        WeightsConfig,
        Field(examples=[{"source": "openai/clip-vit-large-patch14-336", "dtype": "float16"}]),
    ] = WeightsConfig()
    """Where the weights come from."""
    select_layers: Annotated[
        Annotated[tuple[int, ...], Field(strict=False, max_length=MAX_BLOCKS)] | None,
        Field(examples=[[-2], [-2, -5, -8]]),
    ] = None
    """Hidden states to return, concatenated on the feature axis in this order: 0 is the input of the first
    block, k the output of block k, negative counts from the full depth. null: last_hidden_state."""
    feature_select_strategy: Annotated[str, Field(examples=["full", "default"])] = "full"
    """``class`` (the class token), ``default`` (drop the prefix tokens), ``full``, or a registered name."""
    post_norm: PostNorm = "auto"
    """``auto`` (as the transformers model: last_hidden_state as it is, selected hidden states un-normed),
    ``none``, ``last`` (norm the last hidden state wherever selected), ``each``."""
    deepstack: Literal["concat", "separate", "none"] = "concat"
    """Levels of a DeepStack encoder beside its merged output: ``concat`` (on the feature axis, behind it),
    ``separate`` (on an axis of their own, in front), ``none`` (not built). Other encoders have none."""
    head: bool = False
    """Return the pooling head's output, one token per image, instead of features per patch."""
    rope_type: Annotated[RopeType | None, Field(examples=["none"])] = None
    """How packed inputs and their grids are read; must be the encoder's own. null takes the encoder's."""
    connector: Annotated[
        AnyConnectorConfig | None, Field(examples=[{"type": "llava", "hidden_size": 4096}])
    ] = None
    """What stands between the tower and the language model; built and read only with ``output: embeds``."""
    tiling: Annotated[AnyTilingConfig, Field(examples=["none", {"type": "llava_next"}])] = "none"
    """How an image is cut into tiles; with ``output: features`` it is taken whole."""
    output: Output = "features"
    """What comes out: ``features`` (the tower's, of the image whole), ``tiles`` (the tower's, tile after
    tile), or ``embeds`` (the rows that the language model reads)."""
    reduce: Annotated[AnyReduceConfig, Field(examples=[{"type": "evs", "keep": 0.25}, None])] = None
    """How the tokens of an image or clip become fewer, behind connector or tower; null: all stay."""
    attn_backend: Annotated[str, Field(examples=["auto", "sdpa"])] = "auto"
    """``auto``, or the attention backend to insist on."""
    quantize: Annotated[Quantize, Field(examples=["int8", "none"])] = "none"
    """Weights of the linear layers of blocks and connector: ``int8``, ``int8-dynamic`` (activations, too), or
    ``float8`` (both; on CUDA). ``none``: as they are."""
    compile: Annotated[bool | CompileConfig, Field(examples=[True, {"mode": "max-autotune"}])] = False
    """``true``, or how torch.compile is applied."""
    parallel: Annotated[Literal["none"] | ParallelConfig, Field(examples=["none", {"mode": "data"}])] = "none"
    """``none``, or how images are spread over processes: ``{mode: data}``."""
    training: Annotated[TrainingConfig, Field(examples=[{"freeze": "all"}])] = TrainingConfig()
    """What is trained, and how."""

    @field_validator("select_layers", mode="before")
    @classmethod
    def _list_of_layers(cls, value: object) -> object:
        if value is None or (isinstance(value, (list, tuple)) and value):
            return value
        if value in ([], ()):
            message = "an empty list selects nothing; name a layer, or write null for the tower's own output"
            raise invalid("select_layers", problem("VC104", message, value=value))
        hint = (
            f": write [{value}]"
            if isinstance(value, int) and not isinstance(value, bool)
            else ", such as [-2]"
        )
        raise invalid("select_layers", problem("VC103", f"expected a list of layers{hint}", value=value))

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if problems := self.faults():
            raise invalid(type(self).__name__, *problems)
        return self

    def faults(self) -> list[InitErrorDetails]:
        """What does not work together."""
        return [
            *self._layer_rules(),
            *self._strategy_rules(),
            *self._norm_rules(),
            *self._head_rules(),
            *self._deepstack_rules(),
            *self._output_rules(),
            *self._reduce_rules(),
            *self._run_rules(),
            *self.training_faults(),
        ]

    def _layer_rules(self) -> list[InitErrorDetails]:
        depth = self.encoder.num_hidden_layers
        return [
            problem(
                "VC201",
                f"layer {layer} does not exist: an encoder of {depth} layers has hidden states 0 to {depth} "
                f"(or -{depth + 1} to -1)",
                "select_layers",
                i,
                value=layer,
            )
            for i, layer in enumerate(self.select_layers or ())
            if not -depth - 1 <= layer <= depth
        ]

    def _strategy_rules(self) -> list[InitErrorDetails]:
        strategy = self.feature_select_strategy
        if strategy not in FEATURE_SELECT_STRATEGIES and strategy not in FEATURE_SELECTOR_PLUGINS:
            known = [*FEATURE_SELECT_STRATEGIES, *FEATURE_SELECTOR_PLUGINS.names()]
            hint = did_you_mean(_LLAVA_STRATEGIES.get(strategy, strategy), known)
            message = (
                f"unknown strategy {strategy!r}{hint}; take {', '.join(FEATURE_SELECT_STRATEGIES)}, "
                "or one that `vision-composer plugins` lists"
            )
            return [problem("VC206", message, "feature_select_strategy", value=strategy)]
        if strategy == "class" and not self.encoder.has_class_token:
            message = f"{self.encoder.model_type} has no class token; use default or full"
            return [problem("VC202", message, "feature_select_strategy", value=strategy)]
        if strategy == "class" and self.merges and not self.encoder.tiled:
            message = "the tower's own output is merged and holds no class token; name select_layers"
            return [problem("VC202", message, "feature_select_strategy", value=strategy)]
        if self.encoder.packed and strategy not in ("full", "default"):
            message = (
                f"{self.encoder.model_type} returns images of different sizes, all patch tokens; use full"
            )
            return [problem("VC202", message, "feature_select_strategy", value=strategy)]
        return []

    def _norm_rules(self) -> list[InitErrorDetails]:
        if self.encoder.generic and self.post_norm != "auto":
            message = "the generic adapter returns transformers' hidden states as they are; use auto"
            return [problem("VC205", message, "post_norm", value=self.post_norm)]
        if self.post_norm in ("last", "each") and not self.encoder.has_post_norm:
            message = f"this {self.encoder.model_type} has no post-norm; use none or auto"
            return [problem("VC205", message, "post_norm", value=self.post_norm)]
        if self.post_norm == "none" and self.encoder.has_post_norm and self.merges:
            message = (
                f"the merger of {self.encoder.model_type} takes the normed last hidden state; use auto, or "
                "select_layers: [-1] for the hidden state as it is"
            )
            return [problem("VC205", message, "post_norm", value=self.post_norm)]
        return []

    def _head_rules(self) -> list[InitErrorDetails]:
        if not self.head:
            return []
        if not self.encoder.has_head:
            message = f"these {self.encoder.model_type} weights carry no pooling head"
            return [problem("VC204", message, "head", value=True)]
        clashes = {
            "select_layers": self.select_layers is not None,
            "feature_select_strategy": self.feature_select_strategy != "full",
            "post_norm": self.post_norm not in ("auto", "last"),
        }
        message = (
            "the head pools the post-normed last hidden state into one token; leave this out with head: true"
        )
        return [
            problem("VC204", message, key, value=getattr(self, key))
            for key, clash in clashes.items()
            if clash
        ]

    def _deepstack_rules(self) -> list[InitErrorDetails]:
        if self.deepstack != "separate":  # the others go without levels where there are none
            return []
        if not self.encoder.deepstack:
            message = f"{self.encoder.model_type} has no deepstack levels; leave this out"
        elif self.select_layers is not None:
            message = "the levels belong to the merged output; leave this out with select_layers"
        elif self.output == "embeds" and self.connector is not None:
            message = "the connector takes the merged output alone; leave this out"
        else:
            return []
        return [problem("VC209", message, "deepstack", value=self.deepstack)]

    def _output_rules(self) -> list[InitErrorDetails]:
        if self.tiling != "none" and not self.tiling.masked and (self.encoder.packed or self.encoder.tiled):
            message = f"{self.encoder.model_type} takes no tiles of one size; leave this out"
            return [problem("VC211", message, "tiling", value=self.tiling.type)]
        if self.output != "embeds":
            return []
        own_is_read = self.select_layers is None and self.encoder.feeds_language_model
        if self.head:
            message = "the pooling head's token is not what a language model reads; leave head out"
        elif self.connector is None and not own_is_read:
            message = (
                f"the output of {self.encoder.model_type} reaches a language model through a connector, and "
                "this config has none; write the connector block"
            )
        else:
            return []
        return [problem("VC211", message, "output", value=self.output)]

    def _reduce_rules(self) -> list[InitErrorDetails]:
        if self.reduce is None:
            return []
        if self.output == "tiles":
            message = "tokens of tiles are not reduced; leave this out, or take output: features or embeds"
        elif self.deepstack == "separate":
            message = "takes tokens, and deepstack: separate gives levels of them; take concat or none"
        elif self.head:
            message = "the pooling head returns one token; leave this out with head: true"
        else:
            return []
        return [problem("VC211", message, "reduce", value=self.reduce.type)]

    def _run_rules(self) -> list[InitErrorDetails]:
        problems = super()._run_rules()
        if self.rope_type is not None and self.rope_type != self.encoder.rope_type:
            message = (
                f"{self.encoder.model_type} has rope_type {self.encoder.rope_type}, not {self.rope_type}"
            )
            problems.append(problem("VC203", message, "rope_type", value=self.rope_type))
        return problems

    def training_faults(self) -> list[InitErrorDetails]:
        """What ``training`` asks for that the encoder does not have."""
        problems = []
        depth, generic = self.encoder.num_hidden_layers, self.encoder.generic
        if self.training.frozen_blocks > depth:
            message = f"an encoder of {depth} layers has no {self.training.frozen_blocks} blocks to freeze"
            problems.append(problem("VC201", message, "training", "freeze", value=list(self.training.freeze)))
        if generic and not set(self.training.freeze) <= {"all"}:
            message = "the generic adapter does not know the parts of the encoder; freeze all, or nothing"
            problems.append(problem("VC104", message, "training", "freeze", value=list(self.training.freeze)))
        return problems

    @property
    def towers_by_name(self) -> dict[str, TowerConfig]:
        """The tower under an empty name, as a config of several has each under its own."""
        return {"": self}

    @property
    def dtype(self) -> DType:
        return self.weights.dtype

    @property
    def weights_beside(self) -> list[tuple[str, tuple[str, ...], SourceConfig]]:
        return self._connector_weights()

    @property
    def merges(self) -> bool:
        """Whether the output goes through the encoder's merger: hidden states that were selected do not."""
        return self.encoder.merger and self.select_layers is None and not self.head

    @property
    def resolved_layers(self) -> tuple[int, ...]:
        """The selected hidden states as indices 0 to N; ``(N,)`` for null."""
        depth = self.encoder.num_hidden_layers
        return tuple(k if k >= 0 else depth + 1 + k for k in self.select_layers or (depth,))

    def _whole_blocks(self) -> dict[str, Any]:
        blocks = {
            "encoder": self.encoder,
            "connector": self.connector,
            "tiling": self.tiling,
            "reduce": self.reduce,
        }
        return {
            key: block.model_dump(mode="json")
            for key, block in blocks.items()
            if isinstance(block, ConfigModel)
        }
