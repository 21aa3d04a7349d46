"""The root of a config: one vision encoder as a vision-language model uses it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PrivateAttr, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from ..errors import ConfigError
from ..registry import Registry
from ..text import did_you_mean
from .base import ConfigModel, Origin, escape_references, invalid, problem, whole_number
from .connectors import AnyConnectorConfig
from .encoders import AnyEncoderConfig, RopeType
from .encoders.base import MAX_BLOCKS
from .image_processor import ImageProcessorConfig
from .running import CompileConfig, ParallelConfig, TrainingConfig
from .tiling import AnyTilingConfig
from .weights import WeightsConfig

PostNorm = Literal["auto", "none", "last", "each"]
Output = Literal["features", "tiles", "embeds"]

SCHEMA_VERSION = 1
"""The version of the format that this package reads and writes."""

FEATURE_SELECT_STRATEGIES: tuple[str, ...] = ("class", "default", "full")
"""Names that feature_select_strategy takes; plugins add to them."""

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_LLAVA_STRATEGIES = {"patch": "default", "cls_patch": "full"}

ATTN_BACKENDS: tuple[str, ...] = (
    "eager",
    "sdpa",
    "varlen",
    "flex_attention",
    "flash_attention_2",
    "flash_attention_3",
    "flash_attention_4",
)
"""Names that attn_backend takes besides ``auto``; plugins add to them."""


def _check_function(name: str, function: object) -> Callable[..., Any]:
    if not callable(function):
        raise TypeError(f"expected a function, not {function!r}")
    return function


def _check_attention(name: str, function: object) -> Callable[..., Any]:
    # transformers takes a name with a slash for a kernel to download, and one with "flash" for flash-attn.
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or "flash" in name:
        raise TypeError('a backend\'s name is letters, digits and _ . -, without "flash" in it')
    return _check_function(name, function)


FEATURE_SELECTOR_PLUGINS = Registry[Callable[..., Any]](
    "feature selector", "feature_selectors", FEATURE_SELECT_STRATEGIES, _check_function
)
"""Name -> selector, of those that plugins add."""

ATTENTION_BACKEND_PLUGINS = Registry[Callable[..., Any]](
    "attention backend", "attention_backends", ("auto", *ATTN_BACKENDS), _check_attention
)
"""Name -> attention function, of those that plugins add."""


def newer_schema(version: int) -> str:
    """What to say of a config whose version this package does not know."""
    return f"version {version} is newer than this vision-composer, which reads {SCHEMA_VERSION}; upgrade it"


def _known_version(value: object) -> object:
    value = whole_number(value)
    if isinstance(value, int) and value > SCHEMA_VERSION:
        raise PydanticCustomError("VC104", newer_schema(value))
    return value


class TowerConfig(ConfigModel):
    """A vision encoder as a VLM uses it: which encoder, which weights, which features of it, run how."""

    schema_version: Annotated[Literal[1], BeforeValidator(_known_version), Field(alias="schema")]
    """Version of this format."""
    name: Annotated[
        Annotated[str, Field(pattern=_NAME)] | None,
        Field(examples=["clip-336-penultimate"]),
    ] = None
    """Name of the config."""
    summary: Annotated[str | None, Field(examples=["CLIP at 336 px, layer -2, patch tokens."])] = None
    """One line on what it is."""
    source: Annotated[str | None, Field(examples=["config.json of openai/clip-vit-large-patch14-336"])] = None
    """Where the values were taken from."""
    license: Annotated[str | None, Field(examples=["MIT", "Llama 2 Community License"])] = None
    """Licence of the weights: an SPDX identifier, or the licence's own name."""
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
    attn_backend: Annotated[str, Field(examples=["auto", "sdpa"])] = "auto"
    """``auto``, or the attention backend to insist on."""
    compile: Annotated[bool | CompileConfig, Field(examples=[True, {"mode": "max-autotune"}])] = False
    """``true``, or how torch.compile is applied."""
    parallel: Annotated[Literal["none"] | ParallelConfig, Field(examples=["none", {"mode": "data"}])] = "none"
    """``none``, or how images are spread over processes: ``{mode: data}``."""
    training: Annotated[TrainingConfig, Field(examples=[{"freeze": "all"}])] = TrainingConfig()
    """What is trained, and how."""

    _origin: Origin = PrivateAttr(default=Origin())

    @field_validator("name", mode="before")
    @classmethod
    def _plain_name(cls, value: object) -> object:
        if isinstance(value, str) and not re.fullmatch(_NAME, value):
            message = f"must be letters, digits and . _ - alone, the first a letter or a digit, got {value!r}"
            raise invalid("name", problem("VC104", message, value=value))
        return value

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

    @field_validator("compile", mode="before")
    @classmethod
    def _compile_block(cls, value: object) -> object:
        # Validated here, so that an error's location is a YAML path without the union's branch names.
        return CompileConfig.model_validate(value) if isinstance(value, Mapping) else value

    @field_validator("parallel", mode="before")
    @classmethod
    def _parallel_block(cls, value: object) -> object:
        if value == "none" or isinstance(value, ParallelConfig):
            return value
        if not isinstance(value, Mapping):
            message = "expected none, or a mapping such as {mode: data}"
            raise invalid("parallel", problem("VC103", message, value=value))
        return ParallelConfig.model_validate(value)

    @model_validator(mode="after")
    def _rules(self) -> Self:
        problems = [
            *self._layer_rules(),
            *self._strategy_rules(),
            *self._norm_rules(),
            *self._head_rules(),
            *self._deepstack_rules(),
            *self._output_rules(),
            *self._run_rules(),
            *self._training_rules(),
        ]
        if problems:
            raise invalid(type(self).__name__, *problems)
        return self

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

    def _run_rules(self) -> list[InitErrorDetails]:
        problems = []
        if self.rope_type is not None and self.rope_type != self.encoder.rope_type:
            message = (
                f"{self.encoder.model_type} has rope_type {self.encoder.rope_type}, not {self.rope_type}"
            )
            problems.append(problem("VC203", message, "rope_type", value=self.rope_type))
        backend, built_in = self.attn_backend, ("auto", *ATTN_BACKENDS)
        if backend not in built_in and backend not in ATTENTION_BACKEND_PLUGINS:
            known = [*built_in, *ATTENTION_BACKEND_PLUGINS.names()]
            hint = did_you_mean(backend, known)
            message = f"unknown backend {backend!r}{hint}; `vision-composer backends` lists them"
            problems.append(problem("VC207", message, "attn_backend", value=self.attn_backend))
        return problems

    def _training_rules(self) -> list[InitErrorDetails]:
        problems = []
        depth, generic = self.encoder.num_hidden_layers, self.encoder.generic
        if self.training.frozen_blocks > depth:
            message = f"an encoder of {depth} layers has no {self.training.frozen_blocks} blocks to freeze"
            problems.append(problem("VC201", message, "training", "freeze", value=list(self.training.freeze)))
        if generic and not set(self.training.freeze) <= {"all"}:
            message = "the generic adapter does not know the parts of the encoder; freeze all, or nothing"
            problems.append(problem("VC104", message, "training", "freeze", value=list(self.training.freeze)))
        if (
            self.parallel != "none"
            and isinstance(self.compile, CompileConfig)
            and self.compile.scope == "tower"
        ):
            message = "a tower that is spread over processes is compiled by its blocks; use scope: blocks"
            problems.append(problem("VC104", message, "compile", "scope", value="tower"))
        return problems

    @contextmanager
    def locating(self) -> Iterator[None]:
        """Give problems that are found later, beside other files, the positions of the values in the text."""
        try:
            yield
        except ConfigError as error:
            located = [self._origin.locate(each) for each in error.problems]
            raise ConfigError(located) from error.__cause__

    @property
    def merges(self) -> bool:
        """Whether the output goes through the encoder's merger: hidden states that were selected do not."""
        return self.encoder.merger and self.select_layers is None and not self.head

    @property
    def resolved_layers(self) -> tuple[int, ...]:
        """The selected hidden states as indices 0 to N; ``(N,)`` for null."""
        depth = self.encoder.num_hidden_layers
        return tuple(k if k >= 0 else depth + 1 + k for k in self.select_layers or (depth,))

    def to_dict(self) -> dict[str, Any]:
        r"""The keys that were set, as a YAML file would have them; what ``load_config`` takes back.

        In a string, ``${`` is written ``\${``: it would begin a reference.
        """
        return self._written(self.model_dump(mode="json", by_alias=True, exclude_unset=True))

    def resolved(self) -> dict[str, Any]:
        """Every key, with its default where it was not set: what ``to_dict`` leaves open is written out."""
        dumped = self.model_dump(mode="json", by_alias=True)
        blocks = {"encoder": self.encoder, "connector": self.connector, "tiling": self.tiling}
        whole = {
            key: block.model_dump(mode="json")
            for key, block in blocks.items()
            if isinstance(block, ConfigModel)
        }
        return self._written({**dumped, **whole})

    @staticmethod
    def _written(values: dict[str, Any]) -> dict[str, Any]:
        written: dict[str, Any] = escape_references(values)
        return written
