"""What a checkpoint's ``config.json`` says and no key of a config does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .encoders.own_names import own_names
from .schemas import EncoderConfig

_LONGEST = 80
_ELSEWHERE = re.compile(
    r"""
      _?\w*token_(id|index|ids)      # places of images in the text
    | im_\w+_id | \w+_seq_length | image_patch_id | max_image_size
    | _name_or_path | transformers_version | architectures | auto_map | model_type | dtype | torch_dtype
    | (text|audio|vq|talker|code2wav|token2wav|decoder|generation|qformer|perceiver)_config
    | initializer_\w+ | \w*dropout\w* | layerdrop | use_cache | tie_\w+ | output_\w+ | return_dict\w*
    | is_\w*decoder | is_composition | problem_type | id2label | label2id | chunk_size_feed_forward
    | vocab_size | apply_layernorm | reshape_hidden_states | stage_names | _?out_(features|indices)
    | add_cross_attention | cross_attention_hidden_size | pruned_heads | torchscript | use_bfloat16
    | \w+_pdrop | gradient_checkpointing | label_smoothing | attn_implementation
    | _attn_implementation\w* | tf_\w+ | finetuning_task
    | (max|min)_length | do_sample | early_stopping | num_beams | num_beam_groups | diversity_penalty
    | temperature | top_k | top_p | typical_p | repetition_penalty | length_penalty | no_repeat_ngram_size
    | encoder_no_repeat_ngram_size | bad_words_ids | num_return_sequences | exponential_decay_length_penalty
    | suppress_tokens | begin_suppress_tokens | forced_\w+ | remove_invalid_values | prefix | sep_token
    | task_specific_params | tokenizer_class
    """,
    re.VERBOSE,
)
"""Keys that say nothing of what a tower computes in inference."""
_LANGUAGE = re.compile(
    r"""
      hidden_size | intermediate_size | num_hidden_layers | num_attention_heads | hidden_act
    | num_key_value_heads | head_dim | max_position_embeddings | max_window_layers | sliding_window
    | use_sliding_window | layer_types | rms_norm_eps | layer_norm_eps | attention_bias | mlp_bias
    | rope_theta | rope_scaling | rope_parameters | partial_rotary_factor | projection_dim | \w*logit_\w+
    | image_text_hidden_size | use_decoder_only_language_model | position_id_per_seconds | seconds_per_chunk
    | pad_vocab_size_multiple_of | bos_token | eos_token | pad_token | num_experts\w* | moe_\w+
    | original_max_position_embeddings | norm_topk_prob | canvas_length | label_smoothing
    | decoder_sparse_step | mlp_only_layers | shared_expert\w* | router_\w+ | ignore_index
    """,
    re.VERBOSE,
)
"""Keys of a language model, which older files have beside ``vision_config``."""


class Recorded(Mapping[str, Any]):
    """A JSON object that remembers which of its keys were asked for.

    Args:
        fields: The object. Its ``vision_config`` is recorded, too.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        vision = fields.get("vision_config")
        self.asked: set[str] = set()
        self.vision = Recorded(vision) if isinstance(vision, Mapping) else None
        self._fields = {**fields, "vision_config": self.vision} if self.vision is not None else fields

    def __getitem__(self, key: str) -> Any:
        self.asked.add(key)
        return self._fields[key]

    def __contains__(self, key: object) -> bool:
        self.asked.add(str(key))
        return key in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def ask(self, *keys: str) -> None:
        """Count keys as asked for, here and in ``vision_config``."""
        self.asked.update(keys)
        if self.vision is not None:
            self.vision.ask(*keys)

    def plain(self) -> dict[str, Any]:
        """The object itself, which may be asked without being recorded."""
        whole = dict(self._fields)
        return whole if self.vision is None else whole | {"vision_config": self.vision.plain()}


def left_out(fields: Recorded, encoder: EncoderConfig) -> list[str]:
    """Return the keys with their values that no key of a config says, and that may change what comes out.

    Args:
        fields: A ``config.json``, from which a config was made.
        encoder: The encoder block that was made of it.
    """
    whole = fields.plain()
    if fields.vision is None:
        return [_line(key, value) for key, value in _of_tower(whole, encoder, asked=set()).items()]
    own = {
        key: value
        for key, value in whole.items()
        if key != "vision_config"
        and key not in fields.asked
        and not _LANGUAGE.fullmatch(key)
        and not _is_so(key, value, encoder)
    }
    vision = _of_tower(whole["vision_config"], encoder, asked=fields.vision.asked)
    return [
        *(_line(key, value) for key, value in own.items() if _means_something(key, value)),
        *(_line(f"vision_config.{key}", value) for key, value in vision.items()),
    ]


def _of_tower(fields: Mapping[str, Any], encoder: EncoderConfig, asked: set[str]) -> dict[str, Any]:
    """Return the fields of a tower's config that its block does not have."""
    block = type(encoder)
    return {
        key: value
        for key, value in own_names(fields, block).items()
        if key not in block.model_fields
        and key not in asked | block.foreign_fields
        and not encoder.is_inert(key)
        and not _is_so(key, value, encoder)
        and _means_something(key, value)
    }


def _is_so(key: str, value: Any, encoder: EncoderConfig) -> bool:
    """Whether the encoder does as a field says, though no key of a config has it."""
    block = type(encoder)
    match key:
        case "head_dim":
            return bool(value == encoder.head_size)
        case "vision_feature_layer":
            return bool(value == -1)  # what is read if nothing is said
        case "vision_feature_select_strategy":
            return not (encoder.num_prefix_tokens or encoder.num_suffix_tokens)  # both keep all tokens
    if key in block.__class_vars__:
        return bool(value == getattr(block, key))
    return key in block.fixed_fields and bool(value == block.fixed_fields[key])


def _means_something(key: str, value: Any) -> bool:
    return value is not None and value not in ({}, []) and not _ELSEWHERE.fullmatch(key)


def _line(key: str, value: Any) -> str:
    text = repr(value)
    return f"{key[:_LONGEST]}: {text if len(text) <= _LONGEST else text[: _LONGEST - 3] + '...'}"
