"""VisionEncoderBuilder: the config that YAML makes, made by method calls."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .errors import InputError
from .presets import load_config
from .schemas import AnyConfig

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh

    from .vision_encoder import VisionEncoder


@dataclass(frozen=True)
class VisionEncoderBuilder:
    """Makes a config step by step. Immutable: every step returns a new builder.

    Every key of a config has a step of its name; ``schema`` is set from the start.

    No value is checked before :meth:`to_config` or :meth:`build`, as none is checked in half a YAML file.

    Example::

        encoder = (
            VisionEncoderBuilder.from_preset("clip-vit-large-patch14-336")
            .select_layers(-2, -9)
            .feature_select_strategy("default")
            .build()
        )
    """

    keys: Mapping[str, Any] = field(default_factory=lambda: {"schema": 1})

    def __post_init__(self) -> None:
        # A copy: what the caller does to its dicts and lists later is no step of this builder.
        object.__setattr__(self, "keys", deepcopy(dict(self.keys)))

    @classmethod
    def from_preset(cls, name: str) -> Self:
        """Start from a preset, or from any source that ``load_config`` takes.

        Raises:
            ConfigError: If there is no such preset, or the source is no valid config.
        """
        return cls(load_config(name).to_dict())

    def encoder(self, model_type: str, **fields: Any) -> Self:
        """Set the encoder; takes the place of one that was set before.

        Args:
            model_type: transformers' model_type.
            **fields: The family's own config fields, under transformers' names.
        """
        return self._with("encoder", {"model_type": model_type, **fields})

    def towers(self, **towers: str | Path | Mapping[str, Any]) -> Self:
        """Set several encoders in place of one, by name: a preset's name, a path, or a config's keys."""
        return self._with(
            "towers",
            {name: str(tower) if isinstance(tower, Path) else tower for name, tower in towers.items()},
        )

    def input(self, kind: str, **options: Any) -> Self:
        """Set what several towers are called with: ``per_tower``, ``stacked``, or ``shared`` with options.

        Args:
            kind: Which of them.
            **options: Of ``shared``: ``resample``, ``align_corners``.
        """
        return self._with("input", {"type": kind, **options} if options else kind)

    def align(self, *grid: int, **options: Any) -> Self:
        """Set the rows and columns that every tower's patch tokens are resampled to.

        Args:
            *grid: Rows and columns; none to leave the tokens as they are.
            **options: ``resample``, ``align_corners``.
        """
        return self._with("align", {"grid": list(grid) or None, **options})

    def project(self, **widths: int | Mapping[str, Any]) -> Self:
        """Set linear layers on the tokens of towers, by name: a width, or the keys of the block."""
        return self._with(
            "project",
            {name: {"width": each} if isinstance(each, int) else each for name, each in widths.items()},
        )

    def fuse(self, how: str) -> Self:
        """Set how the towers' tokens are joined: ``channel``, ``sequence`` or ``sum``."""
        return self._with("fuse", how)

    def image_processor(self, **options: Any) -> Self:
        """Set how images become pixels: ``type``, ``size``, ``min_pixels``, ``max_pixels``, ``patch_size``,
        ``resample``, ``mean``, ``std``, ``crop``, ``pad``.
        """
        return self._with("image_processor", options)

    def weights(
        self,
        source: str | Path | None,
        *,
        revision: str | None = None,
        dtype: str | None = None,
        prefix: str | None = None,
        format: str | None = None,
        adapter: str | Path | None = None,
        adapter_revision: str | None = None,
    ) -> Self:
        """Set where the weights come from: hub id, folder or file; None for random weights.

        ``adapter`` is the folder or hub id of a LoRA adapter that is merged into them, and
        ``adapter_revision`` the branch, tag or commit of such a hub id.
        """
        given = {
            "revision": revision,
            "dtype": dtype,
            "prefix": prefix,
            "format": format,
            "adapter": None if adapter is None else str(adapter),
            "adapter_revision": adapter_revision,
        }
        block = {"source": None if source is None else str(source)}
        return self._with(
            "weights", block | {key: value for key, value in given.items() if value is not None}
        )

    def select_layers(self, *layers: int) -> Self:
        """Set the hidden states to return, in this order; without any, the tower's own output."""
        return self._with("select_layers", list(layers) or None)

    def feature_select_strategy(self, strategy: str) -> Self:
        """Set which tokens to keep: ``class``, ``default``, ``full``, or a registered name."""
        return self._with("feature_select_strategy", strategy)

    def post_norm(self, policy: str) -> Self:
        """Set which hidden states are normed: ``auto``, ``none``, ``last`` or ``each``."""
        return self._with("post_norm", policy)

    def deepstack(self, levels: str) -> Self:
        """Set what becomes of DeepStack's levels: ``concat``, ``separate`` or ``none``."""
        return self._with("deepstack", levels)

    def head(self, use: bool = True) -> Self:
        """Return the pooling head's output instead of features per patch."""
        return self._with("head", use)

    def rope_type(self, rope_type: str | None) -> Self:
        """Say how packed inputs are read, which must be the encoder's own way; None takes that."""
        return self._with("rope_type", rope_type)

    def connector(self, type: str, *, hidden_size: int, **fields: Any) -> Self:
        """Set what stands between the tower and the language model; built with :meth:`output` ``embeds``.

        Args:
            type: Which connector.
            hidden_size: Width of the language model's embeddings.
            **fields: The connector's own fields, and ``weights``.
        """
        return self._with("connector", {"type": type, "hidden_size": hidden_size, **fields})

    def tiling(self, type: str = "none", **fields: Any) -> Self:
        """Set how an image is cut into tiles.

        Args:
            type: Which tiling; ``none`` takes an image whole.
            **fields: The tiling's own fields.

        Raises:
            InputError: If there are fields with ``none``.
        """
        if type == "none":
            _refuse('tiling("none")', fields)
        return self._with("tiling", type if type == "none" else {"type": type, **fields})

    def output(self, output: str) -> Self:
        """Set what comes out: ``features``, ``tiles`` or ``embeds``."""
        return self._with("output", output)

    def reduce(self, type: str, **fields: Any) -> Self:
        """Set how the tokens of an image or clip become fewer: ``pool``, ``evs`` or ``vidcom2``.

        Args:
            type: Which reduction.
            **fields: ``keep``, the share of tokens that stay.
        """
        return self._with("reduce", {"type": type, **fields})

    def attn_backend(self, name: str) -> Self:
        """Set the attention backend: ``auto``, or the one to insist on."""
        return self._with("attn_backend", name)

    def quantize(self, kind: str) -> Self:
        """Set how linear layers are quantised: ``int8``, ``int8-dynamic``, ``float8`` or ``none``."""
        return self._with("quantize", kind)

    def compile(self, enable: bool = True, **options: Any) -> Self:
        """Set torch.compile on or off, or give its options: ``mode``, ``dynamic``, ``backend``, ``scope``.

        Raises:
            InputError: If there are options with ``False``.
        """
        if not enable:
            _refuse("compile(False)", options)
        return self._with("compile", options or enable)

    def parallel(self, mode: str = "data", **options: Any) -> Self:
        """Spread images over processes: ``inputs``, ``balance``, ``cost_table``, ``gather``, ``weights``.

        Args:
            mode: ``data``, or ``none`` to take it back.
            **options: The other keys of the block.

        Raises:
            InputError: If there are options with ``none``.
        """
        if mode == "none":
            _refuse('parallel("none")', options)
        return self._with("parallel", mode if mode == "none" else {"mode": mode, **options})

    def training(self, **options: Any) -> Self:
        """Set what is trained, and how: ``freeze``, ``gradient_checkpointing``."""
        return self._with("training", options)

    def name(self, name: str, *, summary: str | None = None) -> Self:
        """Set the config's name, and its one-line summary."""
        named = self._with("name", name)
        return named if summary is None else named.summary(summary)

    def summary(self, summary: str) -> Self:
        """Set the one line on what the config is."""
        return self._with("summary", summary)

    def source(self, source: str) -> Self:
        """Say where the config's values were taken from; the weights' place is a key of :meth:`weights`."""
        return self._with("source", source)

    def license(self, license: str) -> Self:
        """Set the licence of the weights: an SPDX identifier, or the licence's own name."""
        return self._with("license", license)

    def to_config(self) -> AnyConfig:
        """The config.

        Raises:
            ConfigError: If the config cannot work; says why.
        """
        return load_config(self.keys)

    def build(
        self,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        process_group: ProcessGroup | DeviceMesh | None = None,
    ) -> VisionEncoder:
        """Compose the config; see :func:`vision_composer.compose`."""
        from .composing import compose

        return compose(self.to_config(), device=device, dtype=dtype, process_group=process_group)

    def _with(self, key: str, value: Any) -> Self:
        return type(self)({**self.keys, key: value})


def _refuse(step: str, options: Mapping[str, Any]) -> None:
    """Refuse options of what is switched off: one of the two was not meant."""
    if options:
        raise InputError(
            f"{step} takes no options, and was given {', '.join(options)}: leave out one or the other"
        )
