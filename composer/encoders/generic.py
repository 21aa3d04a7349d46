"""Every other vision encoder of transformers: its own forward, asked for the selected hidden states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import BackendError
from ..schemas import GenericEncoderConfig
from .base import BlockInputs, FromTransformers, Norm, Reads, RunBlock, Shapes, VisionEncoderInfo
from .dense import DenseBatch, DenseFamily

if TYPE_CHECKING:
    from torch import Tensor


class GenericFamily(DenseFamily[GenericEncoderConfig]):
    """Every model_type without a family file. Depth is cut through the config; nothing else is taken out."""

    model_type = "generic"
    post_norm = ""
    norms_last_hidden_state = False
    runs_own_forward = True

    def stem_shapes(self, encoder: GenericEncoderConfig) -> Shapes:
        return {}

    def block_shapes(self, encoder: GenericEncoderConfig) -> Shapes:
        return {}

    def shapes(
        self, encoder: GenericEncoderConfig, num_blocks: int, *, post_norm: bool, head: bool
    ) -> Shapes | None:
        return None

    def transformers_config(
        self, encoder: GenericEncoderConfig, num_blocks: int, *, head: bool
    ) -> FromTransformers:
        from transformers import AutoConfig

        fields = encoder.transformers_fields() | {"num_hidden_layers": max(num_blocks, 1)}
        try:
            config = AutoConfig.for_model(**fields)
        except Exception as error:  # values of any type reach transformers' code
            raise BackendError(
                f"transformers makes no config of model_type {encoder.model_type!r}: {_first_line(error)}"
            ) from error
        # Hidden state N means the last block's output here; by default transformers would put the
        # normed last_hidden_state in its place.
        config.tie_last_hidden_states = False
        return config

    def transformers_class(self, config: FromTransformers) -> FromTransformers:
        from transformers import MODEL_MAPPING

        try:
            return MODEL_MAPPING[type(config)]
        except KeyError as error:
            raise BackendError(
                f"transformers' AutoModel does not cover model_type {config.model_type!r}, so the generic "
                "adapter cannot build it"
            ) from error

    def compared_fields(self, encoder: GenericEncoderConfig, config: FromTransformers) -> set[str]:
        """All that the encoder's config adds to that of any model."""
        from transformers import PretrainedConfig

        return set(config.to_dict()) - set(PretrainedConfig().to_dict()) - {"tie_last_hidden_states"}

    def prove(self, model: FromTransformers, info: VisionEncoderInfo) -> None:
        """Run one image, since nothing but running shows whether a model fits this adapter.

        Raises:
            BackendError: It does not: not an encoder of patches, not of that many prefix tokens, or one whose
                output is random.
        """
        import torch

        pixels = next(model.parameters()).new_zeros(1, info.num_channels, info.image_size, info.image_size)
        expected = (1, info.num_tokens(info.image_size, info.image_size), info.hidden_size)
        try:
            with torch.no_grad():
                first, second = (_last_hidden_state(model, pixels) for _ in range(2))
        except Exception as error:  # any model of transformers may be here
            raise BackendError(
                f"the generic adapter cannot run a {info.model_type}: {_first_line(error)}"
            ) from error
        if tuple(first.shape) != expected:
            raise BackendError(
                f"the generic adapter cannot run this {info.model_type}: one image gives "
                f"{tuple(first.shape)}, and {info.num_prefix_tokens} prefix tokens before its patches would "
                f"give {expected}"
            )
        if not torch.equal(first, second):
            raise BackendError(f"a {info.model_type} gives random features: two runs on one image differ")

    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        """Return hidden state 0; what the blocks are called with is the affair of transformers' forward."""
        output = model(pixel_values=pixel_values, output_hidden_states=True)
        return output.hidden_states[0], {}

    def run(
        self, model: FromTransformers, batch: DenseBatch, layout: None, reads: Reads, run_block: RunBlock
    ) -> dict[int, Tensor]:
        """The hidden states as transformers' own forward returns them."""
        if not reads:
            return {}
        states = model(pixel_values=batch.pixels, output_hidden_states=True).hidden_states
        return {k: read(states[k]) for k, read in reads.items()}

    def own_states(self, encoder: GenericEncoderConfig) -> tuple[int, ...]:
        return ()

    def own_output(
        self,
        model: FromTransformers,
        states: Mapping[int, Tensor],
        norm: Norm,
        batch: DenseBatch,
        layout: None,
    ) -> list[Tensor]:
        """transformers' last_hidden_state, with whatever norm the model applies to it."""
        return [_last_hidden_state(model, batch.pixels)]


def _last_hidden_state(model: FromTransformers, pixels: Tensor) -> Tensor:
    features: Tensor = model(pixel_values=pixels).last_hidden_state
    return features


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
