"""The config of several vision encoders that are one: their towers, and how their tokens are joined."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core import InitErrorDetails

from ..errors import ConfigError, Problem
from ..text import did_you_mean
from .base import ConfigModel, Origin, invalid, problem
from .config import TowerConfig
from .connectors import CONNECTOR_CONFIGS, AnyConnectorConfig
from .encoders.base import Count
from .image_processor import ImageProcessorConfig
from .root import RootConfig
from .running import CompileConfig, ParallelConfig, Quantize, TrainingConfig
from .weights import DType, SourceConfig, WeightsConfig

MAX_TOWERS = 16
Resample = Literal["nearest", "bilinear", "bicubic"]
_INPUTS = ("per_tower", "stacked", "shared")
Cells = Annotated[int, Field(ge=1, le=1_024)]

TOWER_NAME = r"^[a-z][a-z0-9]{0,31}$"


class ResampleConfig(ConfigModel):
    """How torch resamples a grid of values."""

    resample: Resample = "bilinear"
    """``nearest``, ``bilinear`` or ``bicubic``, of torch.nn.functional.interpolate."""
    align_corners: bool = False
    """Whether the corners of both grids lie on each other; for ``bilinear`` and ``bicubic``."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.align_corners and self.resample == "nearest":
            message = "nearest takes no align_corners; leave this out"
            raise invalid("resample", problem("VC104", message, "align_corners", value=True))
        return self


class SharedInputConfig(ResampleConfig):
    """One tensor of pixels for all towers."""

    type: Literal["shared"]
    """``shared``: the pixels are resampled to the size that each tower's own image processor makes."""


class AlignConfig(ResampleConfig):
    """How the patch tokens of every tower come onto one grid."""

    grid: Annotated[
        Annotated[tuple[Cells, ...], Field(strict=False, min_length=2, max_length=2)] | None,
        Field(examples=[[32, 32]]),
    ] = None
    """Rows and columns. null: the towers have equal grids already."""


class ProjectConfig(ConfigModel):
    """A linear layer on the tokens of one tower."""

    width: Annotated[Count, Field(examples=[1024])]
    """Features that come out."""
    bias: bool = True
    """Whether it has a bias."""
    weights: Annotated[SourceConfig, Field(examples=[{"source": "./project.safetensors"}])] = SourceConfig()
    """Where ``project.<tower>.weight`` and ``project.<tower>.bias`` come from; random without a source."""


def _tower(value: object) -> object:
    if isinstance(value, Mapping) and not {"schema", "schema_version"} & value.keys():
        return {"schema": 1, **value}
    return value


class FusedConfig(RootConfig):
    """Several vision encoders as one: their towers see the same image, and their tokens are joined."""

    towers: Annotated[
        dict[str, Annotated[TowerConfig, BeforeValidator(_tower)]],
        Field(examples=[{"dino": "dinov2-with-registers/large", "siglip": "siglip/so400m-patch14-224"}]),
    ]
    """Name -> tower, in the order of the output: a preset's name, a path, or a config of its own. Names are
    lower-case letters and digits."""
    input: Annotated[
        Literal["per_tower", "stacked", "shared"] | SharedInputConfig,
        Field(examples=["stacked", {"type": "shared", "resample": "bilinear", "align_corners": True}]),
    ] = "per_tower"
    """What the encoder is called with: ``per_tower`` (what each tower's image processor makes, under
    ``<tower>_pixel_values`` and so on), ``stacked`` (the channels of all towers' pixels one after another),
    or ``shared`` (one tensor of pixels, resampled for each tower)."""
    image_processor: Annotated[ImageProcessorConfig, Field(examples=[{"size": 1024}])] = (
        ImageProcessorConfig()
    )
    """How images become the pixels of ``input: shared``, where not as the first tower's processor says."""
    align: Annotated[AlignConfig, Field(examples=[{"grid": [32, 32], "align_corners": True}])] = AlignConfig()
    """How the towers' patch tokens come onto one grid."""
    project: Annotated[
        dict[str, ProjectConfig], Field(default_factory=dict, examples=[{"dino": {"width": 1024}}])
    ]
    """Name of a tower -> a linear layer on its tokens, behind ``align``."""
    fuse: Literal["channel", "sequence", "sum"] = "channel"
    """``channel`` (on the feature axis), ``sequence`` (one tower's tokens after another's), or ``sum``."""
    weights: Annotated[
        WeightsConfig, Field(examples=[{"source": "openvla/openvla-7b", "dtype": "bfloat16"}])
    ] = WeightsConfig()
    """Where the weights of towers come from that name no source of their own. Its dtype is that of all."""
    connector: Annotated[
        AnyConnectorConfig | None,
        Field(examples=[{"type": "steps", "hidden_size": 64, "steps": [{"type": "linear", "width": 64}]}]),
    ] = None
    """What stands between the fused tokens and the language model; built with ``output: embeds``."""
    output: Literal["features", "embeds"] = "features"
    """What comes out: ``features`` (the fused tokens), or ``embeds`` (what the language model reads)."""
    attn_backend: Annotated[str, Field(examples=["auto", "sdpa"])] = "auto"
    """The attention backend of towers that name none of their own."""
    quantize: Annotated[Quantize, Field(examples=["int8", "none"])] = "none"
    """Weights of the linear layers of blocks and connector: ``int8``, ``int8-dynamic`` (activations, too), or
    ``float8`` (both; on CUDA). ``none``: as they are."""
    compile: Annotated[bool | CompileConfig, Field(examples=[True, {"mode": "max-autotune"}])] = False
    """``true``, or how torch.compile is applied to every tower."""
    parallel: Annotated[Literal["none"] | ParallelConfig, Field(examples=["none", {"mode": "data"}])] = "none"
    """``none``, or how images are spread over processes: ``{mode: data}``."""
    training: Annotated[TrainingConfig, Field(examples=[{"freeze": "all"}])] = TrainingConfig()
    """What is trained of towers that do not say it themselves, and how."""

    @field_validator("towers", mode="before")
    @classmethod
    def _named_towers(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            raise invalid("towers", problem("VC103", "expected a mapping of names to towers", value=value))
        if not 2 <= len(value) <= MAX_TOWERS:
            message = f"{len(value)} of the 2 to {MAX_TOWERS} towers; for a single one write encoder instead"
            raise invalid("towers", problem("VC104", message, value=value))
        message = "a tower's name is a lower-case letter, then lower-case letters and digits"
        wrong = [problem("VC104", message, name) for name in value if not re.fullmatch(TOWER_NAME, str(name))]
        wrong += [
            problem("VC103", "expected a preset's name, a path, or a config", name, value=tower)
            for name, tower in value.items()
            if not isinstance(tower, Mapping | TowerConfig)
        ]
        if wrong:
            raise invalid("towers", *wrong)
        return dict(value)

    @field_validator("input", mode="before")
    @classmethod
    def _input_block(cls, value: object) -> object:
        if isinstance(value, SharedInputConfig) or value in _INPUTS:
            return value
        if isinstance(value, str):
            message = f"expected {', '.join(_INPUTS)}, got {value!r}{did_you_mean(value, _INPUTS)}"
            raise invalid("input", problem("VC104", message, value=value))
        if not isinstance(value, Mapping):
            message = "expected per_tower, stacked, shared, or a mapping such as {type: shared}"
            raise invalid("input", problem("VC103", message, value=value))
        return SharedInputConfig.model_validate(value)

    @model_validator(mode="after")
    def _rules(self) -> Self:
        problems = [
            *self._run_rules(),
            *self._tower_rules(),
            *self._key_rules(),
            *self._dtype_rules(),
            *self._training_rules(),
        ]
        if problems:
            raise invalid(type(self).__name__, *problems)
        return self

    def _tower_rules(self) -> list[InitErrorDetails]:
        problems = []
        for name, tower in self.towers.items():
            encoder = tower.encoder
            # What belongs to all towers together.
            for key, default in (("output", "features"), ("parallel", "none"), ("compile", False)):
                if getattr(tower, key) != default:
                    message = "belongs to all towers together; write it at the root"
                    problems.append(problem("VC213", message, "towers", name, key, value=default))
            if tower.quantize not in ("none", self.quantize):  # a saved tower says it, too
                message = f"is {self.quantize} for all towers together; write it at the root"
                problems.append(problem("VC213", message, "towers", name, "quantize", value=tower.quantize))
            if tower.deepstack == "separate":
                message = "levels on an axis of their own cannot be fused; use concat or none"
                problems.append(problem("VC213", message, "towers", name, "deepstack", value="separate"))
            if tower.reduce is not None:
                message = "tokens of several towers are not reduced; leave this out"
                problems.append(problem("VC213", message, "towers", name, "reduce", value=tower.reduce.type))
            if encoder.tiled:
                message = f"{encoder.model_type} takes images as tiles, and its tokens form no one grid"
                problems.append(problem("VC213", message, "towers", name, "encoder", value=None))
            elif encoder.packed and self.input != "per_tower":
                message = f"{encoder.model_type} takes pixels of its own form; use input: per_tower"
                problems.append(problem("VC213", message, "towers", name, "encoder", value=None))
        return problems

    def _key_rules(self) -> list[InitErrorDetails]:
        problems = [
            problem("VC213", f"there is no tower of that name; there are {', '.join(self.towers)}",
                    "project", name, value=name)
            for name in self.project
            if name not in self.towers
        ]  # fmt: skip
        if self.shared is None and self.image_processor != ImageProcessorConfig():
            message = "is for input: shared; with others every tower has an image_processor of its own"
            problems.append(problem("VC213", message, "image_processor", value=None))
        if self.output == "embeds" and self.connector is None:
            message = "fused tokens reach a language model through a connector; write the connector block"
            problems.append(problem("VC211", message, "output", value=self.output))
        if self.connector is not None and not self.connector.behind_several:
            known = ", ".join(name for name, block in CONNECTOR_CONFIGS.items() if block.behind_several)
            message = f"reads more of a tower than its tokens; behind several there can be {known}"
            problems.append(problem("VC213", message, "connector", "type", value=self.connector.type))
        if self.weights.prefix is not None:
            message = "is of one tower; write it in the weights of that tower"
            problems.append(problem("VC213", message, "weights", "prefix", value=self.weights.prefix))
        if self.parallel != "none" and self.parallel.cost_table is not None:
            message = "is of one tower; leave it out to deal by operations"
            problems.append(problem("VC213", message, "parallel", "cost_table", value=None))
        return problems

    def _dtype_rules(self) -> list[InitErrorDetails]:
        if self._says_dtype or len({tower.dtype for tower in self.towers.values()}) == 1:
            return []
        named = ", ".join(f"{name} {tower.dtype}" for name, tower in self.towers.items())
        message = f"the towers differ in dtype: {named}; write one for all in weights.dtype"
        return [problem("VC213", message, "towers", value=None)]

    def _training_rules(self) -> list[InitErrorDetails]:
        found: dict[str, InitErrorDetails] = {}
        for tower in self.towers.values():
            if "training" not in tower.model_fields_set:
                faults = tower.model_copy(update={"training": self.training}).training_faults()
                found |= {str(fault["type"]): fault for fault in faults}
        return list(found.values())

    @property
    def shared(self) -> SharedInputConfig | None:
        """How the pixels of ``input: shared`` are resampled; None with another input."""
        if isinstance(self.input, SharedInputConfig):
            return self.input
        return SharedInputConfig(type="shared") if self.input == "shared" else None

    @property
    def dtype(self) -> DType:
        return self.weights.dtype if self._says_dtype else next(iter(self.towers.values())).dtype

    @property
    def weights_beside(self) -> list[tuple[str, tuple[str, ...], SourceConfig]]:
        projections = [(f"projection of {n}", ("project", n), p.weights) for n, p in self.project.items()]
        return [*projections, *self._connector_weights()]

    @property
    def _says_dtype(self) -> bool:
        return "dtype" in self.weights.model_fields_set

    @property
    def towers_by_name(self) -> dict[str, TowerConfig]:
        """Every tower with what it has of the root: dtype, and weights, attention and training for want of
        its own.
        """
        return {name: self._whole(name, tower) for name, tower in self.towers.items()}

    def _whole(self, name: str, tower: TowerConfig) -> TowerConfig:
        weights = tower.weights
        if "source" not in weights.model_fields_set and self.weights.source is not None:
            weights = self.weights.model_copy(update={"prefix": weights.prefix})
        update: dict[str, Any] = {"weights": weights.model_copy(update={"dtype": self.dtype})}
        if self.quantize != "none":
            update["quantize"] = self.quantize
        for key in ("attn_backend", "training"):
            if key not in tower.model_fields_set and key in self.model_fields_set:
                update[key] = getattr(self, key)
        whole = tower.model_copy(update=update)

        def locate(problem: Problem) -> Problem:
            return self._origin.locate(replace(problem, path=f"towers.{name}.{problem.path}".rstrip(".")))

        whole._origin = Origin(locate)
        return whole

    def _whole_blocks(self) -> dict[str, Any]:
        connector = self.connector
        return {
            # `written` escapes references once, for all.
            "towers": {
                name: tower.model_dump(mode="json", by_alias=True) | tower._whole_blocks()
                for name, tower in self.towers.items()
            },
            "connector": None if connector is None else connector.model_dump(mode="json"),
        }


AnyConfig: TypeAlias = TowerConfig | FusedConfig
"""A config of either shape."""


def one_tower(config: AnyConfig) -> TowerConfig:
    """Return a config of one tower, for what knows one only.

    Raises:
        ConfigError: If it is of several.
    """
    if isinstance(config, FusedConfig):
        message = f"this is for one tower, and the config has several: {', '.join(config.towers)}"
        with config.locating():
            raise ConfigError(Problem("VC213", message, "towers"))
    return config
