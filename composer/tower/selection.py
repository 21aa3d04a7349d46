"""Select features from hidden states: layers, their norms, and tokens. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..errors import InputError
from ..schemas import FEATURE_SELECT_STRATEGIES, FEATURE_SELECTOR_PLUGINS
from ..text import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor, nn

VisionFeatureSelectStrategyStr = Literal["class", "default", "full"]
VisionFeatureSelectStrategy: TypeAlias = "VisionFeatureSelectStrategyStr | str | Callable[[Tensor], Tensor]"
"""A strategy's name, or a callable from (images, tokens, width) to (images, fewer tokens, width)."""


def register_feature_selector(name: str, selector: Callable[[Tensor], Tensor]) -> None:
    """Make ``feature_select_strategy: name`` call ``selector``, in YAML too.

    Args:
        name: The name to use in configs.
        selector: A function from features (images, tokens, width) to (images, selected tokens, width).

    Raises:
        InputError: If the name is taken, or ``selector`` is not callable.
    """
    FEATURE_SELECTOR_PLUGINS.register(name, selector)


def get_vision_feature_selector(
    strategy: VisionFeatureSelectStrategy, *, num_prefix_tokens: int = 1, num_suffix_tokens: int = 0
) -> Callable[[Tensor], Tensor]:
    """Return the function that a strategy stands for.

    Args:
        strategy: ``class`` keeps the class token: the first token, or the last one if there are no prefix
            tokens. ``default`` drops prefix and suffix tokens, ``full`` keeps all tokens. A registered name
            stands for its function, and a callable is returned as it is.
        num_prefix_tokens: Tokens in front of the patches. The default is CLIP's one class token.
        num_suffix_tokens: Tokens after the patches.

    Raises:
        InputError: If the name is unknown, or ``class`` is asked for without prefix and suffix tokens.
        PluginError: If the plugin that offers the name cannot be used.
    """
    if callable(strategy):
        return strategy
    if strategy == "class":
        if num_prefix_tokens > 0:
            return partial(_tokens, start=0, stop=1)
        if num_suffix_tokens > 0:
            return partial(_tokens, start=-1, stop=None)
        raise InputError(
            "feature_select_strategy 'class' needs a class token, and there is none; use 'default' or 'full'"
        )
    if strategy == "default":
        return partial(_tokens, start=num_prefix_tokens, stop=-num_suffix_tokens or None)
    if strategy == "full":
        return partial(_tokens, start=0, stop=None)
    if selector := FEATURE_SELECTOR_PLUGINS.get(strategy):
        return selector
    known = [*FEATURE_SELECT_STRATEGIES, *FEATURE_SELECTOR_PLUGINS.names()]
    hint = did_you_mean(strategy, known)
    raise InputError(f"unknown feature_select_strategy {strategy!r}{hint}; known: {', '.join(known)}")


def _tokens(features: Tensor, start: int, stop: int | None) -> Tensor:
    return features[:, start:stop]


def get_num_selected_vision_tokens(
    num_vision_tokens: int,
    strategy: VisionFeatureSelectStrategy,
    *,
    num_prefix_tokens: int = 1,
    num_suffix_tokens: int = 0,
    hidden_size: int = 64,
) -> int:
    """Count the tokens that a strategy keeps; never negative.

    Args:
        num_vision_tokens: Tokens of one image, with prefix and suffix tokens.
        strategy: As in :func:`get_vision_feature_selector`.
        num_prefix_tokens: Tokens in front of the patches.
        num_suffix_tokens: Tokens after the patches.
        hidden_size: Width of the tensor that a callable is tried on; give the real width if it matters to it.

    Raises:
        InputError: If the count is negative, the name is unknown, or ``class`` is asked for without prefix
            and suffix tokens.
    """
    if num_vision_tokens < 0:
        raise InputError(f"num_vision_tokens is {num_vision_tokens}; it cannot be negative")
    selector = get_vision_feature_selector(
        strategy, num_prefix_tokens=num_prefix_tokens, num_suffix_tokens=num_suffix_tokens
    )
    if strategy == "class":
        return min(1, num_vision_tokens)
    if strategy == "default":
        return max(0, num_vision_tokens - num_prefix_tokens - num_suffix_tokens)
    if strategy == "full":
        return num_vision_tokens
    import torch

    return int(selector(torch.zeros(1, num_vision_tokens, hidden_size)).shape[1])


def resolve_layer(layer: int, num_hidden_layers: int) -> int:
    """Return hidden state ``layer`` as an index from 0 to N. Negative ones count from the end: -1 is N.

    Raises:
        InputError: If an encoder of that depth has no such hidden state.
    """
    index = layer if layer >= 0 else num_hidden_layers + 1 + layer
    if not 0 <= index <= num_hidden_layers:
        raise InputError(
            f"layer {layer} does not exist: an encoder of {num_hidden_layers} layers has hidden states 0 to "
            f"{num_hidden_layers} (or -{num_hidden_layers + 1} to -1)"
        )
    return index


def resolve_visual_encoder_outputs(
    encoder_outputs: Tensor | Sequence[Tensor],
    post_layer_norm: nn.Module | None,
    *,
    select_layers: Sequence[int] | None = None,
    max_possible_layers: int | None = None,
    last_hs_proc: Callable[[Tensor], Tensor] | None = None,
    feature_select_strategy: VisionFeatureSelectStrategy | None = None,
    num_prefix_tokens: int = 1,
    num_suffix_tokens: int = 0,
) -> Tensor:
    """Select hidden states of an encoder, and process, norm and concatenate them.

    Only hidden state N, the last block's output, goes through ``last_hs_proc`` and then
    ``post_layer_norm``, however it was selected and however often.

    Args:
        encoder_outputs: Without ``select_layers``, the last hidden state (images, tokens, width), or a tensor
            of any shape if ``feature_select_strategy`` is None. With ``select_layers``, the list of all
            hidden states that were computed, from the input of block 0 on.
        post_layer_norm: Norm for hidden state N, or None.
        select_layers: Hidden states to return, concatenated in this order on the feature axis.
            Negative ones count from the full depth.
        max_possible_layers: Blocks of the full encoder, N, if fewer were loaded. Default: as many as
            ``encoder_outputs`` shows.
        last_hs_proc: Applied to hidden state N before the norm and the selection of tokens.
        feature_select_strategy: Which tokens to keep; None keeps all.
        num_prefix_tokens: Tokens in front of the patches.
        num_suffix_tokens: Tokens after the patches.

    Returns:
        (images, selected tokens, width x number of selected layers), in the dtype of the hidden states.

    Raises:
        InputError: If a selected layer does not exist or was not computed, or if arguments do not fit
            together.
    """
    import torch

    def finish(hidden_state: Tensor) -> Tensor:
        processed = hidden_state if last_hs_proc is None else last_hs_proc(hidden_state)
        return processed if post_layer_norm is None else post_layer_norm(processed)

    def select(features: Tensor) -> Tensor:
        if feature_select_strategy is None:  # tensors of any shape are left alone
            return features
        selector = get_vision_feature_selector(
            feature_select_strategy,
            num_prefix_tokens=num_prefix_tokens,
            num_suffix_tokens=num_suffix_tokens,
        )
        return selector(features)

    if select_layers is None:
        if not isinstance(encoder_outputs, torch.Tensor):
            raise InputError(
                "without select_layers, encoder_outputs must be the last hidden state, not a list"
            )
        return select(finish(encoder_outputs))
    if isinstance(encoder_outputs, torch.Tensor):
        raise InputError("select_layers needs encoder_outputs to be the list of all hidden states")
    if not select_layers:
        raise InputError("select_layers is empty; name at least one layer")

    if not encoder_outputs:
        raise InputError("encoder_outputs is empty; give the hidden states, from the input of block 0 on")
    computed = len(encoder_outputs) - 1
    depth = computed if max_possible_layers is None else max_possible_layers
    if depth < computed:
        raise InputError(
            f"max_possible_layers is {depth}, but encoder_outputs has the hidden states of {computed} "
            "layers; give the depth of the full encoder"
        )
    features: dict[int, Tensor] = {}
    order = [resolve_layer(layer, depth) for layer in select_layers]
    for layer, index in zip(select_layers, order, strict=True):
        if index > computed:
            raise InputError(
                f"layer {layer} is hidden state {index} of {depth}, but only 0 to {computed} were computed"
            )
        if index not in features:
            state = encoder_outputs[index]
            features[index] = select(finish(state) if index == depth else state)
    return torch.cat([features[index] for index in order], dim=-1)
