"""The stable code of every problem a config can have; ``docs/errors.md`` explains each with an example."""

from __future__ import annotations

CODES: dict[str, str] = {
    "VC001": "The file cannot be read or written, or is not UTF-8.",
    "VC002": "The text is not one YAML document.",
    "VC003": "A mapping has the same key twice.",
    "VC004": "A key is not a string, is empty, or contains a dot.",
    "VC005": "A YAML tag, such as !!python/name or !!str.",
    "VC006": "A limit on the size, depth or number of values, or of problems that are reported.",
    "VC007": "What extends names does not exist, leads in a circle, or is not a name or path.",
    "VC008": "A ${...} that is not a plain reference, or refers to nothing or to itself.",
    "VC009": "An override that cannot be read or applied.",
    "VC010": "There is no such preset, file or saved tower.",
    "VC101": "A key that this block does not have.",
    "VC102": "A key that this block needs is missing, or its value is still ???.",
    "VC103": "A value of the wrong type.",
    "VC104": "A value of the right type that is not allowed here.",
    "VC105": "An encoder.model_type that is neither a family nor asks for the generic adapter.",
    "VC201": "select_layers or training.freeze names layers that the encoder does not have.",
    "VC202": "feature_select_strategy asks for tokens that the encoder does not have or cannot pick.",
    "VC203": "rope_type is not the encoder's.",
    "VC204": "head asks for a pooling head that the weights do not carry, or beside options it excludes.",
    "VC205": "post_norm asks for a norm that the encoder does not have.",
    "VC206": "feature_select_strategy is not a known strategy.",
    "VC207": "attn_backend is not a known attention backend.",
    "VC208": "The encoder's sizes do not fit each other.",
    "VC209": "deepstack asks for levels that the encoder or the selection does not have.",
    "VC210": "compile asks for a mode that its backend or scope does not have.",
    "VC211": "output, connector and tiling do not fit together, or do not fit the encoder.",
    "VC212": "image_processor names a class or a key that cannot make the tower's pixels.",
    "VC301": "Warning: no weights.source, so the weights are random.",
    "VC302": "Warning: the weights, or their adapter, come from a hub without a commit that pins them.",
    "VC303": "Warning: post_norm has no effect.",
    "VC304": "Warning: select_layers names a hidden state twice.",
    "VC305": "Warning: prefix_tokens asks for the generic adapter, and the encoder has a family.",
}
"""Code -> what it stands for."""
