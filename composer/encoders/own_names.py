"""The fields of a config.json under the names of a config block: transformers reads some by others, too."""

from __future__ import annotations

from ..schemas import EncoderConfig
from .aliases import JsonObject

_ROPE = {"rope_theta", "rope_scaling", "rope_parameters"}


def own_names(fields: JsonObject, block: type[EncoderConfig]) -> JsonObject:
    """Return the fields of an encoder's config.json with aliases replaced by the names that they stand for.

    As in transformers, an alias wins over the field. ``rope_theta`` and ``rope_scaling``, which transformers
    wrote until version 5, become ``rope_parameters``.

    Args:
        fields: What the config.json holds.
        block: The config block of its family.
    """
    named = dict(fields)
    for alias, name in block.aliases.items():
        if alias in fields and alias not in block.model_fields:
            named[name] = named.pop(alias)
    if "rope_parameters" in block.model_fields and "rope_theta" not in block.model_fields:
        given = {key: named.pop(key) for key in _ROPE if named.get(key) is not None}
        parameters = given.get("rope_scaling") or given.get("rope_parameters")
        if isinstance(parameters, dict | None) and given:
            theta = {"rope_theta": given["rope_theta"]} if "rope_theta" in given else {}
            parameters = theta | (parameters or {})
            if "type" in parameters:
                parameters = {"rope_type": parameters.pop("type")} | parameters
        if parameters is not None:
            named["rope_parameters"] = parameters
    return named
