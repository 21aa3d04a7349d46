"""What every config has at its root: what it is called, and how it is dumped and located."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from ..errors import ConfigError
from ..registry import Registry
from ..text import did_you_mean
from .base import ConfigModel, Origin, escape_references, invalid, problem, whole_number
from .running import CompileConfig, ParallelConfig, Quantize
from .summary import as_html, as_text

if TYPE_CHECKING:
    from .connectors import ConnectorConfig
    from .weights import DType, SourceConfig, WeightsConfig

SCHEMA_VERSION = 1
"""The version of the format that this package reads and writes."""

_OFF = {"reduce": None, "quantize": "none"}
"""Keys that are written only if they do something -> their value if they do nothing."""

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"

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


def check_function(name: str, function: object) -> Callable[..., Any]:
    """Return a function that a plugin registers.

    Raises:
        TypeError: If it is none.
    """
    if not callable(function):
        raise TypeError(f"expected a function, not {function!r}")
    return function


def _check_attention(name: str, function: object) -> Callable[..., Any]:
    # transformers takes a name with a slash for a kernel to download, and one with "flash" for flash-attn.
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or "flash" in name:
        raise TypeError('a backend\'s name is letters, digits and _ . -, without "flash" in it')
    return check_function(name, function)


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


class RootConfig(ConfigModel):
    """A config: of one tower, or of several that are fused."""

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

    _origin: Origin = PrivateAttr(default=Origin())

    if TYPE_CHECKING:  # fields of every config, in the place where each has them

        @property
        def towers_by_name(self) -> Mapping[str, Any]: ...
        @property
        def weights(self) -> WeightsConfig: ...
        @property
        def connector(self) -> ConnectorConfig | None: ...
        @property
        def output(self) -> Literal["features", "tiles", "embeds"]: ...
        @property
        def attn_backend(self) -> str: ...
        @property
        def quantize(self) -> Quantize: ...
        @property
        def compile(self) -> bool | CompileConfig: ...
        @property
        def parallel(self) -> Literal["none"] | ParallelConfig: ...

    @field_validator("name", mode="before")
    @classmethod
    def _plain_name(cls, value: object) -> object:
        if isinstance(value, str) and not re.fullmatch(_NAME, value):
            message = f"must be letters, digits and . _ - alone, the first a letter or a digit, got {value!r}"
            raise invalid("name", problem("VC104", message, value=value))
        return value

    @field_validator("compile", mode="before", check_fields=False)
    @classmethod
    def _compile_block(cls, value: object) -> object:
        # Validated here, so that an error's location is a YAML path without the union's branch names.
        return CompileConfig.model_validate(value) if isinstance(value, Mapping) else value

    @field_validator("parallel", mode="before", check_fields=False)
    @classmethod
    def _parallel_block(cls, value: object) -> object:
        if value == "none" or isinstance(value, ParallelConfig):
            return value
        if not isinstance(value, Mapping):
            message = "expected none, or a mapping such as {mode: data}"
            raise invalid("parallel", problem("VC103", message, value=value))
        return ParallelConfig.model_validate(value)

    @property
    @abstractmethod
    def dtype(self) -> DType:
        """dtype of parameters and output."""

    @property
    @abstractmethod
    def weights_beside(self) -> list[tuple[str, tuple[str, ...], SourceConfig]]:
        """What has weights beside the towers and says from where: a word for it, its key, and the block."""

    def _connector_weights(self) -> list[tuple[str, tuple[str, ...], SourceConfig]]:
        own = None if self.connector is None else self.connector.weights
        return [] if own is None else [("connector", ("connector",), own)]

    def _run_rules(self) -> list[InitErrorDetails]:
        problems = []
        backend, built_in = self.attn_backend, ("auto", *ATTN_BACKENDS)
        if backend not in built_in and backend not in ATTENTION_BACKEND_PLUGINS:
            known = [*built_in, *ATTENTION_BACKEND_PLUGINS.names()]
            hint = did_you_mean(backend, known)
            message = f"unknown backend {backend!r}{hint}; `vision-composer backends` lists them"
            problems.append(problem("VC207", message, "attn_backend", value=backend))
        if (
            self.parallel != "none"
            and isinstance(self.compile, CompileConfig)
            and self.compile.scope == "tower"
        ):
            message = "a tower that is spread over processes is compiled by its blocks; use scope: blocks"
            problems.append(problem("VC104", message, "compile", "scope", value="tower"))
        return problems + ([] if self.quantize == "none" else self._quantize_rules())

    def _quantize_rules(self) -> list[InitErrorDetails]:
        found: list[tuple[str, tuple[str, ...]]] = []
        towers = self.towers_by_name.values()
        if self.quantize == "float8" and self.dtype != "bfloat16":
            message = f"float8 is made of bfloat16, not of {self.dtype}; write bfloat16, or quantize: int8"
            found.append((message, ("weights", "dtype")))
        if isinstance(self.compile, CompileConfig) and self.compile.mode == "max-performance":
            message = "mode max-performance freezes float weights into code; take another mode"
            found.append((message, ("compile", "mode")))
        if self.parallel != "none" and self.parallel.weights == "broadcast":
            message = "quantised weights are not sent: every process reads them; use weights: node"
            found.append((message, ("parallel", "weights")))
        elif self.parallel != "none" and any(tower.weights.source is None for tower in towers):
            message = "random weights are sent to the other processes, quantised ones are not; give a source"
            found.append((message, ("weights", "source")))
        if any(tower.training.trains_some for tower in towers):
            message = "quantised weights have no gradients: freeze all, or leave training out"
            found.append((message, ("training",)))
        return [problem("VC214", f"with quantize: {message}", *path, value=None) for message, path in found]

    @model_serializer(mode="wrap")
    def _without_what_is_off(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Jobs compare whole configs, and those from before there were these keys have none.
        values: dict[str, Any] = handler(self)
        return {key: value for key, value in values.items() if key not in _OFF or value != _OFF[key]}

    @property
    def file(self) -> Path | None:
        """The YAML file that was loaded, absolute; None for a config that came from no file."""
        return self._origin.file

    @contextmanager
    def locating(self) -> Iterator[None]:
        """Give problems that are found later, beside other files, the positions of the values in the text."""
        try:
            yield
        except ConfigError as error:
            located = [self._origin.locate(each) for each in error.problems]
            raise ConfigError(located) from error.__cause__

    def to_dict(self) -> dict[str, Any]:
        r"""The keys that were set, as a YAML file would have them; what ``load_config`` takes back.

        In a string, ``${`` is written ``\${``: it would begin a reference.
        """
        return written(self.model_dump(mode="json", by_alias=True, exclude_unset=True))

    def resolved(self) -> dict[str, Any]:
        """Every key, with its default where it was not set: what ``to_dict`` leaves open is written out.

        ``reduce`` and ``quantize`` are there only if something is reduced or quantised.
        """
        return written({**self.model_dump(mode="json", by_alias=True), **self._whole_blocks()})

    def rows(self) -> list[tuple[str, str]]:
        """What a summary says of it: each tower, what is read of it, and where its weights are."""
        rows = []
        for name, tower in self.towers_by_name.items():
            layers, weights = tower.select_layers, tower.weights
            read = "its own output" if layers is None else f"hidden states {[*layers]}"
            commit = f" at {weights.hub_revision}" if weights.hub_revision else ""
            rows.append((f"tower {name}".rstrip(), f"{tower.encoder.model_type}, {read}, {self.dtype}"))
            rows.append(("weights", f"{weights.source}{commit}" if weights.source else "random"))
        return rows

    def __str__(self) -> str:
        return as_text(self.name, self.rows())

    def _repr_html_(self) -> str:
        return as_html(self.name, self.rows())

    @abstractmethod
    def _whole_blocks(self) -> dict[str, Any]:
        """The blocks that dump what was set alone, with everything."""


def written(values: dict[str, Any]) -> dict[str, Any]:
    """``values`` as a config writes them."""
    escaped: dict[str, Any] = escape_references(values)
    return escaped
