"""What transformers passes to every module beside its inputs: flags, which mostly ask for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError

_ASKED = {
    "output_hidden_states": "the hidden states that its config names come out: set select_layers",
    "output_attentions": "attention weights are not computed",
    "interpolate_pos_encoding": "images are resized to what the encoder takes",
}


def without_flags(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return inputs without the flags that ask for nothing.

    ``return_dict`` asks for a form, which an encoder's features do not have: it counts as nothing.

    Raises:
        InputError: If a flag asks for something.
    """
    rest = {name: value for name, value in inputs.items() if name != "return_dict"}
    for name, answer in _ASKED.items():
        if rest.pop(name, None):
            raise InputError(f"{name} asks for more than this encoder returns: {answer}")
    return rest
