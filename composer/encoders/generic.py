"""The generic adapter: runs vision encoders without a family of their own by transformers' own forward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ..errors import BackendError
from ..schemas import GenericEncoderConfig
from .aliases import BlockInputs, FromTransformers, Norm, Reads, RunBlock
from .dense import DenseBatch, DenseFamily
from .facts import VisionEncoderInfo
from .shapes import Part, Shapes

if TYPE_CHECKING:
    from torch import Tensor, nn


class GenericFamily(DenseFamily[GenericEncoderConfig]):
    """The family of every other model_type: it cuts the depth through the config and removes nothing else."""

    model_type = "generic"
    post_norm = ""
    norms_last_hidden_state = False

    def stem_shapes(self, encoder: GenericEncoderConfig) -> Shapes:
        return {}

    def block_shapes(self, encoder: GenericEncoderConfig) -> Shapes:
        return {}

    def parts(
        self, encoder: GenericEncoderConfig, num_blocks: int, *, post_norm: bool, head: bool
    ) -> list[Part] | None:
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
                f"transformers cannot make a config of model_type {encoder.model_type!r}: "
                f"{_first_line(error)}"
            ) from error
        # Hidden state N is the last block's output here. By default, transformers would return the normed
        # last_hidden_state instead.
        config.tie_last_hidden_states = False
        return config

    def transformers_class(self, config: FromTransformers) -> FromTransformers:
        from transformers import MODEL_MAPPING

        try:
            return MODEL_MAPPING[type(config)]
        except KeyError as error:
            raise BackendError(
                f"the generic adapter cannot build model_type {config.model_type!r}, because transformers' "
                "AutoModel does not know it"
            ) from error

    def compared_fields(self, encoder: GenericEncoderConfig, config: FromTransformers) -> set[str]:
        """Return the fields that the encoder's config adds to those of any model."""
        from transformers import PretrainedConfig

        return set(config.to_dict()) - set(PretrainedConfig().to_dict()) - {"tie_last_hidden_states"}

    def prove(self, model: FromTransformers, info: VisionEncoderInfo) -> None:
        """Run one image, because only a run shows whether a model fits this adapter.

        Raises:
            BackendError: If the model is no encoder of patches, has another number of prefix tokens, or gives
                random output.
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
                f"{tuple(first.shape)}, but its patches and {info.num_prefix_tokens} prefix tokens would "
                f"give {expected}; correct encoder.prefix_tokens if it is wrong"
            )
        if not torch.equal(first, second):
            raise BackendError(
                f"the generic adapter cannot run a {info.model_type}, because its features are random: two "
                "runs on one image differ"
            )

    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        """Return hidden state 0; transformers' own forward decides what the blocks are called with."""
        output = model(pixel_values=pixel_values, output_hidden_states=True)
        return output.hidden_states[0], {}

    def run(
        self, model: FromTransformers, batch: DenseBatch, layout: None, reads: Reads, run_block: RunBlock
    ) -> dict[int, Tensor]:
        """Return the hidden states as transformers' own forward returns them."""
        if not reads:
            return {}
        states = model(pixel_values=batch.pixels, output_hidden_states=True).hidden_states
        return {k: read(states[k]) for k, read in reads.items()}

    def block_list(self, model: nn.Module) -> nn.ModuleList:
        """Return the one ModuleList of the model that is as long as the model is deep."""
        from torch import nn

        config: FromTransformers = model.config
        depth = config.num_hidden_layers
        found = [part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part) == depth]
        if len(found) != 1:
            raise BackendError(
                f"the generic adapter cannot tell the blocks of this {config.model_type}: it has "
                f"{len(found)} lists of {depth} modules, not one"
            )
        return found[0]

    def has_fixed_shapes(self, info: VisionEncoderInfo) -> bool:
        return False  # transformers' own forward decides what blocks are called with

    def compile_blocks(self, model: nn.Module, compile_block: Callable[[nn.Module], None]) -> None:
        for block in self.block_list(model):
            compile_block(block)

    def own_states(self, encoder: GenericEncoderConfig) -> tuple[int, ...]:
        return ()

    def own_output(
        self,
        model: FromTransformers,
        states: Mapping[int, Tensor],
        norm: Norm,
        batch: DenseBatch,
        layout: None,
        run_block: RunBlock,
    ) -> list[Tensor]:
        """Return transformers' last_hidden_state, with any norm that the model applies to it."""
        return [_last_hidden_state(model, batch.pixels)]


def _last_hidden_state(model: FromTransformers, pixels: Tensor) -> Tensor:
    features: Tensor = model(pixel_values=pixels).last_hidden_state
    return features


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
