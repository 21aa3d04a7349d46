"""Any other vision encoder of transformers: its own forward, asked for the selected hidden states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import BackendError
from ..schemas import EncoderConfig, GenericEncoderConfig
from .base import EncoderFamily, Shapes, VisionEncoderInfo

if TYPE_CHECKING:
    from torch import Tensor


class Generic(EncoderFamily):
    """Every model_type without a family file. Depth is cut through the config; nothing else is taken out."""

    model_type = "generic"
    norms_last_hidden_state = False

    def any_size(self, encoder: EncoderConfig) -> bool:
        return False

    def shapes(
        self, encoder: EncoderConfig, num_blocks: int, *, post_norm: bool, head: bool
    ) -> Shapes | None:
        return None

    def transformers_config(self, encoder: EncoderConfig, num_blocks: int, *, head: bool) -> Any:
        from transformers import AutoConfig

        if not isinstance(encoder, GenericEncoderConfig):
            raise TypeError(f"the generic adapter needs a GenericEncoderConfig, not {type(encoder).__name__}")
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

    def transformers_class(self, config: Any) -> Any:
        from transformers import MODEL_MAPPING

        try:
            return MODEL_MAPPING[type(config)]
        except KeyError as error:
            raise BackendError(
                f"transformers' AutoModel does not cover model_type {config.model_type!r}, so the generic "
                "adapter cannot build it"
            ) from error

    def prove(self, model: Any, info: VisionEncoderInfo) -> None:
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
                first, second = (self.last_hidden_state(model, pixels) for _ in range(2))
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

    def hidden_states(self, model: Any, pixel_values: Tensor, keep: frozenset[int]) -> dict[int, Tensor]:
        """The hidden states in ``keep``, as transformers returns them."""
        output = model(pixel_values=pixel_values, output_hidden_states=True)
        return {k: output.hidden_states[k] for k in keep}

    def last_hidden_state(self, model: Any, pixel_values: Tensor) -> Tensor:
        """transformers' last_hidden_state, with whatever norm the model applies to it."""
        features: Tensor = model(pixel_values=pixel_values).last_hidden_state
        return features


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
