"""The composed tower: transformers' stages, run one after the other, keeping what was selected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .encoders import EncoderFamily
from .encoders.generic import Generic
from .errors import InputError
from .tower.selection import (
    VisionFeatureSelectStrategy,
    get_num_selected_vision_tokens,
    get_vision_feature_selector,
)

if TYPE_CHECKING:
    from .attention import AttentionChoice
    from .encoders import VisionEncoderInfo
    from .encoders.layout import Grid
    from .images.decode import ImageLike
    from .images.preprocess import ImagePreprocessor
    from .parallel import DataParallel
    from .planning import Plan
    from .running.warmup import BatchOfSizes
    from .schemas import TowerConfig


def run_block(block: nn.Module, hidden_states: Tensor, **inputs: Any) -> Tensor:
    """Run one block; compilation puts another function in the place of this one."""
    output = block(hidden_states, **inputs)
    result: Tensor = output[0] if isinstance(output, tuple) else output
    return result


class ComposedVisionEncoder(nn.Module):
    """A vision encoder that returns the features that were selected.

    :func:`vision_composer.compose` makes one from a config. Its parameters are those of transformers' own
    module, kept as ``model``; blocks, norms and heads that the selection does not need are not there.

    Args:
        model: transformers' module, cut to the blocks that are needed.
        family: Where that module's stages are.
        info: The encoder's facts.
        select_layers: Hidden states to return, 0 to N, concatenated in this order.
        norm_layers: Those of them that go through the post-norm.
        feature_select_strategy: Which tokens to keep.
        head: Return the pooling head's one token instead.
        merge: Return the tower's own, merged output instead.
        last_hidden_state: Return transformers' own last_hidden_state; for the generic adapter, whose
            norm cannot be told apart.

    Raises:
        InputError: A hidden state that the encoder does not have, or none at all.
    """

    plan: Plan
    """What the config amounts to; set by ``compose``."""
    attention: AttentionChoice
    """Which attention backend runs the blocks, and why; set by ``compose``."""
    preprocessor: ImagePreprocessor
    """Pictures to pixel batches; set by ``compose``."""
    parallel: DataParallel | None = None
    """Runs the images on several processes; set by ``compose``."""

    def __init__(
        self,
        model: nn.Module,
        family: EncoderFamily,
        info: VisionEncoderInfo,
        *,
        select_layers: Sequence[int],
        norm_layers: frozenset[int] = frozenset(),
        feature_select_strategy: VisionFeatureSelectStrategy = "full",
        head: bool = False,
        merge: bool = False,
        last_hidden_state: bool = False,
    ) -> None:
        super().__init__()
        depth = info.num_hidden_layers
        if not select_layers or not all(0 <= k <= depth for k in select_layers):
            raise InputError(f"select_layers must name hidden states 0 to {depth}, not {list(select_layers)}")
        self.model = model
        self.family = family
        self.info = info
        self.select_layers = tuple(select_layers)
        self.norm_layers = norm_layers
        self.uses_head = head
        self.merge = merge
        self.returns_last_hidden_state = last_hidden_state
        self.feature_select_strategy = feature_select_strategy
        self.select_tokens: Callable[[Tensor], Tensor] = get_vision_feature_selector(
            feature_select_strategy, **self._other_tokens
        )
        self.run_block: Callable[..., Tensor] = run_block

    def __getstate__(self) -> dict[str, Any]:
        # As nn.Module does with what compile() made: a copy is not compiled.
        return {**super().__getstate__(), "run_block": run_block}  # type: ignore[no-untyped-call]  # torch leaves it untyped

    @property
    def _other_tokens(self) -> dict[str, int]:
        """How many tokens of an output are no patches: a merger leaves none."""
        names = ("num_prefix_tokens", "num_suffix_tokens")
        return {name: 0 if self.merge else getattr(self.info, name) for name in names}

    @property
    def config(self) -> TowerConfig:
        """The config this tower was composed from."""
        return self.plan.config

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks, in order."""
        return self.family.block_list(self.model)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """dtype of the parameters, and of the output."""
        return next(self.parameters()).dtype

    def forward(self, pixel_values: Tensor | None = None, **unexpected: Any) -> Tensor:
        """Encode a batch.

        Args:
            pixel_values: (images, channels, height, width), floating point, as the family's image
                processor returns it; cast to the parameters' dtype.
            **unexpected: Refused by name.

        Returns:
            (images, tokens, width) in the parameters' dtype, contiguous.

        Raises:
            InputError: Anything that the encoder cannot take.
        """
        pixels = self._check(pixel_values, unexpected)
        if not len(pixels):
            return self._nothing(width=pixels.shape[3], height=pixels.shape[2])
        features = self._features(pixels)
        if self.uses_head:
            pooled: Tensor = self.model.get_submodule(self.family.head)(features[0])
            return pooled.unsqueeze(1)
        selected = [self._select(state) for state in features]
        return torch.cat(selected, dim=-1) if len(selected) > 1 else selected[0].contiguous()

    def _select(self, state: Tensor) -> Tensor:
        tokens = self.select_tokens(state)
        if tokens.dim() != 3 or tokens.shape[::2] != state.shape[::2]:
            raise InputError(
                f"feature_select_strategy {self.feature_select_strategy!r} made {tuple(tokens.shape)} of "
                f"{tuple(state.shape)}; a selector keeps (images, tokens, width) and only takes tokens away"
            )
        return tokens

    def _nothing(self, width: int, height: int) -> Tensor:
        """The output for a batch without images, which attention kernels refuse."""
        info = self.info
        features = info.out_hidden_size if self.merge else info.hidden_size
        tokens = get_num_selected_vision_tokens(
            info.num_tokens(width, height) if self.merge else info.sequence_length(width, height),
            self.feature_select_strategy,
            hidden_size=features,
            **self._other_tokens,
        )
        shape = (0, 1 if self.uses_head else tokens, features * len(self.select_layers))
        return torch.empty(shape, dtype=self.dtype, device=self.device)

    def _features(self, pixels: Tensor) -> list[Tensor]:
        """The selected hidden states, normed where asked, in the order of selection."""
        if isinstance(self.family, Generic):
            if self.returns_last_hidden_state:
                return [self.family.last_hidden_state(self.model, pixels)]
            states = self.family.hidden_states(self.model, pixels, frozenset(self.select_layers))
        else:
            states = self._run_blocks(pixels)
        if self.norm_layers:
            norm = self.model.get_submodule(self.family.post_norm)
            states |= {k: norm(states[k]) for k in self.norm_layers}
        if self.merge:
            return [self.family.merge(self.model, states[k]) for k in self.select_layers]
        return [self.family.as_tokens(states[k]) for k in self.select_layers]

    def _run_blocks(self, pixels: Tensor) -> dict[int, Tensor]:
        keep = frozenset(self.select_layers)
        hidden_states, block_kwargs = self.family.stem(self.model, pixels)
        states = {0: hidden_states} if 0 in keep else {}
        for k, block in enumerate(self.blocks, start=1):
            hidden_states = self.run_block(block, hidden_states, **block_kwargs)
            if k in keep:
                states[k] = hidden_states
        return states

    def _check(self, pixel_values: Tensor | None, unexpected: Mapping[str, Any]) -> Tensor:
        if unexpected:
            raise InputError(
                f"unexpected input {', '.join(sorted(unexpected))}: "
                f"a {self.info.model_type} tower takes pixel_values"
            )
        if not isinstance(pixel_values, Tensor):
            raise InputError(f"pixel_values must be a tensor, not {type(pixel_values).__name__}")
        shape = tuple(pixel_values.shape)
        if len(shape) != 4 or shape[1] != self.info.num_channels:
            raise InputError(
                f"pixel_values must be (images, {self.info.num_channels}, height, width), not {shape}"
            )
        if not pixel_values.is_floating_point():
            raise InputError(
                f"pixel_values are {pixel_values.dtype}: they must be normalised floats, "
                "as encoder.preprocess(images) makes them"
            )
        side = self.info.image_size
        if not self.info.any_size and shape[2:] != (side, side):
            raise InputError(
                f"pixel_values are {shape[3]}x{shape[2]} pixels and this encoder takes {side}x{side} only"
            )
        if pixel_values.device != self.device:
            raise InputError(f"pixel_values are on {pixel_values.device}, and the tower is on {self.device}")
        self.info.num_tokens(shape[3], shape[2])  # raises for less than one patch
        return pixel_values.to(self.dtype)

    def image_grids(self, inputs: Mapping[str, Any]) -> tuple[Grid, ...]:
        """Frames, patch rows and patch columns of every image in a batch.

        Raises:
            InputError: As :meth:`forward`.
        """
        others = {name: value for name, value in inputs.items() if name != "pixel_values"}
        pixels = self._check(inputs.get("pixel_values"), others)
        rows, columns = (side // self.info.patch_size for side in pixels.shape[2:])
        return ((1, rows, columns),) * len(pixels)

    def rows_per_image(self, grids: Sequence[Grid]) -> list[int]:
        """Rows of the output that each image takes: one, of a batch."""
        return [1] * len(grids)

    def preprocess(self, images: Sequence[ImageLike], *, first: int = 0) -> dict[str, Tensor]:
        """Pictures to the tower's inputs, on its device.

        Args:
            images: Paths, PIL images, or uint8 arrays (height, width[, channels]).
            first: What the first picture without a path counts as in errors.

        Raises:
            ImageError: A picture that cannot be read; names it.
        """
        batch = self.preprocessor(images, first=first)
        return {name: tensor.to(self.device) for name, tensor in batch.items()}

    def encode(self, images: ImageLike | Sequence[ImageLike], *, batch_size: int = 8) -> list[Tensor]:
        """Features of pictures, without gradients and without dropout.

        Args:
            images: Paths, PIL images, or uint8 arrays (height, width[, channels]); one or many.
            batch_size: Pictures per forward, and process where there are several.

        Returns:
            One (tokens, width) tensor per picture, in order, each owning its memory.

        Raises:
            ImageError: A picture that cannot be read; names it.
            InputError: A batch size below 1.
        """
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it must be at least 1")
        pictures = [images] if isinstance(images, str) or not isinstance(images, Sequence) else list(images)
        features: list[Tensor] = []
        step = batch_size if self.parallel is None else batch_size * self.parallel.size
        with self.evaluating():
            for start in range(0, len(pictures), step):
                some = pictures[start : start + step]
                if self.parallel is None:
                    output = self(**self.preprocess(some, first=start))
                else:
                    output = self.parallel.encode_images(some, first=start)
                features.extend(row.clone() for row in output)
        return features

    def warmup(self, batches: Iterable[BatchOfSizes]) -> float:
        """Run random pictures, so that what is compiled or cached on first use is there, and check it.

        A compiled tower runs every batch uncompiled too, and the features are compared.

        Args:
            batches: The batches to expect. Each is a number of pictures of the encoder's own size, one
                ``(width, height)`` in pixels, or a list of them for pictures that come together.

        Returns:
            The largest difference of a token's features, relative to their norm; 0.0 for a tower that is not
            compiled.

        Raises:
            CompiledDifferenceError: The difference is larger than rounding explains.
            InputError: Something else than sizes.
        """
        from .running.warmup import warm_up

        return warm_up(self, batches)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode without gradients; afterwards every module is in the mode it was in."""
        modes = {module: module.training for module in self.modules()}
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module, training in modes.items():
                module.training = training

    def save(self, folder: str | Path) -> None:
        """Write the tower as ``tower.yaml``, ``model.safetensors`` and the image processor's config.

        ``compose(folder)`` reads it back. Tensors keep the names that transformers' own class saves under.
        Of several processes the first one writes; nobody waits for it.

        Args:
            folder: Made if it does not exist.

        Raises:
            WeightsError: It cannot be written, or the tower's dtype is not one that a config can name.
        """
        from .weights import save_tower

        if self.parallel is not None and self.parallel.rank > 0:
            return
        save_tower(self, Path(folder).expanduser())
